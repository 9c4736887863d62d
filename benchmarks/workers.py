"""What a second worker brings: the reads of `--workers 2` on two processors beside those of one on one.

The load generator needs a processor too, and here it gets the same as what it measures: with one
worker the daemon and wrk share one processor, with two they share two. So twice the processors are
compared with twice the workers, on a machine that has no more than two. The two take turns; the
ratio is formed within a round, and its median is told, with the processor's time that a request took.
What is asked is what workers bring where processors are free: so answers are counted against the
time that other programs left of these processors, idle time included, and what these took is told.
That makes good for the time alone, not for caches and clocks: a round in which others took over a
tenth of the processors is shown in brackets, and left out of the median.

    python benchmarks/workers.py [--rounds 5] [--seconds 3] [--workers 2]

wrk comes from the system (Debian: `apt install wrk`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from _process import environment, free_port, processor_seconds
from _wrk import Target, find_wrk, run_wrk

MODEL = Path(__file__).resolve().parent / "models" / "shop.yaml"
ROWS = 10_000
CONNECTIONS = 16
"""For each worker."""

MOST_OF_OTHERS = 0.1
"""The share of the processors that other programs may have in a round that counts."""

OPERATIONS = {"get": "GET by id", "list": "list of 20"}


@dataclass(frozen=True, slots=True)
class Seen:
    """Answers a second, the daemon's processor time of one in microseconds, and what share others had."""

    rate: float
    cpu: float
    others: float

    @property
    def alone(self) -> float:
        """Answers a second, had nobody else been there."""
        return self.rate / (1 - self.others)

    def __str__(self) -> str:
        return f"{self.rate:,.0f}/s {self.cpu:.0f} µs CPU (others {self.others:.0%})"


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
    ratios: dict[str, list[float]] = {operation: [] for operation in OPERATIONS}
    print(f"{'':10}" + "".join(f"{title:>42}" for title in OPERATIONS.values()))
    for number in range(1, options.rounds + 1):
        one = measure(1, processors[:1], options.seconds)
        more = measure(options.workers, processors[: options.workers], options.seconds)
        for name, seen in (("1 worker", one), (f"{options.workers} workers", more)):
            print(f"{name:10}" + "".join(f"{seen[operation]!s:>42}" for operation in OPERATIONS))
        shown = []
        for operation, found in ratios.items():
            ratio = more[operation].alone / one[operation].alone
            is_quiet = max(one[operation].others, more[operation].others) <= MOST_OF_OTHERS
            if is_quiet:
                found.append(ratio)
            shown.append(f"{ratio:.2f}x" if is_quiet else f"({ratio:.2f}x)")
        print(f"{f'round {number}':10}" + "".join(f"{text:>42}" for text in shown), flush=True)
    medians = [f"{statistics.median(found):.2f}x" if found else "no quiet round" for found in ratios.values()]
    print(f"{'median':10}" + "".join(f"{text:>42}" for text in medians))
    return 0


def measure(workers: int, processors: list[int], seconds: int) -> dict[str, Seen]:
    """Operation -> what was seen."""
    everybody, found, connections = os.sched_getaffinity(0), {}, CONNECTIONS * workers
    os.sched_setaffinity(0, processors)  # whatever is started now stays on these
    try:
        with tempfile.TemporaryDirectory(prefix="workers-") as workspace, serving(Path(workspace), workers) as daemon:
            pid, port = daemon
            target = Target(port, "/api/shop/products", "?limit=20", fill(port, Path(workspace)))
            for operation in OPERATIONS:
                run_wrk(target, operation, "warm", seconds=1, connections=connections, processor=None)
                daemon_before, wrk_before = seconds_of_all(pid), wrk_seconds()
                busy_before, began = busy_seconds(processors), time.monotonic()
                load = run_wrk(target, operation, "m", seconds=seconds, connections=connections, processor=None)
                took = time.monotonic() - began
                if load.refused or load.broken:
                    print(f"{workers} workers, {operation}: {load}", file=sys.stderr)
                used = seconds_of_all(pid) - daemon_before
                others = busy_seconds(processors) - busy_before - used - (wrk_seconds() - wrk_before)
                share = max(0.0, others / (took * len(processors)))
                found[operation] = Seen(load.per_second, used / max(load.requests, 1) * 1e6, share)
    finally:
        os.sched_setaffinity(0, everybody)
    return found


def busy_seconds(processors: list[int]) -> float:
    """How long some processors have done anything at all."""
    total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *times = line.split()
        if name in {f"cpu{one}" for one in processors}:
            user, nice, system, _idle, _waiting, *interrupts = map(int, times[:8])
            total += user + nice + system + sum(interrupts)
    return total / os.sysconf("SC_CLK_TCK")


def wrk_seconds() -> float:
    """What our ended children have used: wrk, each time."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def serving(workspace: Path, workers: int) -> Iterator[tuple[int, int]]:
    """A daemon on a free port, without access lines; its pid and the port."""
    models = workspace / "models"
    models.mkdir()
    (models / MODEL.name).write_bytes(MODEL.read_bytes())
    port = free_port()
    places = ("--models", str(models), "--data-dir", str(workspace / "data"), "--port", str(port))
    command = [sys.executable, "-m", "watcherd", "serve", *places, "--workers", str(workers), "--log-level", "warning"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment()) as process:
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


def seconds_of_all(pid: int) -> float:
    """What a process and its children have used."""
    return sum(processor_seconds(one) for one in [pid, *children(pid)])


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(one) for one in found.split()]


if __name__ == "__main__":
    sys.exit(main())
