"""What a second worker brings: the reads of `--workers 2` on two processors beside those of one on one.

The load generator needs a processor too, and here it gets the same as what it measures: with one
worker the daemon and wrk share one processor, with two they share two. So twice the processors are
compared with twice the workers, on a machine that has no more than two. The two take turns; the
ratio is formed within a round, and its median is told, with the processor's time that a request took.

    python benchmarks/workers.py [--rounds 5] [--seconds 3] [--workers 2]

wrk comes from the system (Debian: `apt install wrk`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from _wrk import Target, find_wrk, run_wrk

MODEL = Path(__file__).resolve().parent / "models" / "shop.yaml"
ROWS = 10_000
CONNECTIONS = 16
OPERATIONS = {"get": "GET by id", "list": "list of 20"}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what further workers bring.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of both (default 5)")
    parser.add_argument("--seconds", type=int, default=3, help="of load for each operation (default 3)")
    parser.add_argument("--workers", type=int, default=2, help="to compare with one (default 2)")
    options = parser.parse_args()
    processors = sorted(os.sched_getaffinity(0))
    if find_wrk() is None or len(processors) < options.workers:
        print("workers: skipped, it needs wrk (Debian: apt install wrk) and a processor for each worker.")
        return 0
    print(f"{'':12}" + "".join(f"{title:>30}" for title in OPERATIONS.values()))
    ratios: dict[str, list[float]] = {operation: [] for operation in OPERATIONS}
    for number in range(options.rounds):
        rates = {}
        for workers in (1, options.workers):
            rates[workers] = measure(workers, processors[:workers], options.seconds)
            shown = "".join(f"{rate:>16,.0f}/s {cpu:>6.0f} µs CPU" for rate, cpu in rates[workers].values())
            print(f"{workers} worker{'s' if workers > 1 else ' '}   {shown}", flush=True)
        for operation in OPERATIONS:
            ratios[operation].append(rates[options.workers][operation][0] / rates[1][operation][0])
        print(f"round {number + 1}     " + "".join(f"{found[-1]:>29.2f}x" for found in ratios.values()), flush=True)
    print("median      " + "".join(f"{statistics.median(found):>29.2f}x" for found in ratios.values()))
    return 0


def measure(workers: int, processors: list[int], seconds: int) -> dict[str, tuple[float, float]]:
    """Operation -> answers a second, and the processor's time of one in the daemon, in microseconds."""
    everybody, found = os.sched_getaffinity(0), {}
    os.sched_setaffinity(0, processors)  # whatever is started now stays on these
    try:
        with tempfile.TemporaryDirectory(prefix="workers-") as workspace, serving(Path(workspace), workers) as daemon:
            pid, port = daemon
            target = Target(port, "/api/shop/products", "?limit=20", fill(port, Path(workspace)))
            for operation in OPERATIONS:
                run_wrk(target, operation, "warm", seconds=1, connections=CONNECTIONS, processor=None)
                before = processor_seconds(pid)
                load = run_wrk(target, operation, "m", seconds=seconds, connections=CONNECTIONS, processor=None)
                if load.refused or load.broken:
                    print(f"{workers} workers, {operation}: {load}", file=sys.stderr)
                cpu = (processor_seconds(pid) - before) / max(load.requests, 1) * 1e6
                found[operation] = (load.per_second, cpu)
    finally:
        os.sched_setaffinity(0, everybody)
    return found


@contextlib.contextmanager
def serving(workspace: Path, workers: int) -> Iterator[tuple[int, int]]:
    """A daemon on a free port, without access lines; its pid and the port."""
    models = workspace / "models"
    models.mkdir()
    (models / MODEL.name).write_bytes(MODEL.read_bytes())
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WATCHERD_")}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    places = ("--models", str(models), "--data-dir", str(workspace / "data"), "--port", str(port))
    command = [sys.executable, "-m", "watcherd", "serve", *places, "--workers", str(workers), "--log-level", "warning"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=clean) as process:
        try:
            wait_until_ready(process, port)
            yield process.pid, port
        finally:
            process.send_signal(signal.SIGTERM)


def wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    """Ask until every model is served by every worker."""
    while process.poll() is None:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as ready,
        ):
            if json.load(ready)["status"] == "ok":
                return
        time.sleep(0.05)
    raise RuntimeError(f"the daemon ended with {process.returncode}")


def fill(port: int, workspace: Path) -> Path:
    """Store the rows; a file of their keys."""
    base = f"http://127.0.0.1:{port}/api/shop/products"
    rows = "".join(
        json.dumps({"name": f"Product {number}", "sku": f"SKU-{number}", "price": number}) + "\n"
        for number in range(1, ROWS + 1)
    )
    sent = urllib.request.Request(f"{base}/-/import", rows.encode(), {"content-type": "application/x-ndjson"})
    with urllib.request.urlopen(sent, timeout=60) as answer:
        answer.read()
    with urllib.request.urlopen(f"{base}/-/export?format=ndjson", timeout=60) as answer:
        keys = [str(json.loads(line)["id"]) for line in answer]
    ids = workspace / "ids"
    ids.write_text("\n".join(keys) + "\n")
    return ids


def processor_seconds(pid: int) -> float:
    """What a process and its children have used."""
    total = 0.0
    for one in [pid, *children(pid)]:
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(one) for one in found.split()]


if __name__ == "__main__":
    sys.exit(main())
