"""What it costs to have many models: start, memory, requests, reloads, the document.

For each number of models the daemon is started on a new database and again on the one that it has
left: how long it took until its smallest model served, until all did, and until it said that it is
ready; and the processor's time, which is more where two processors worked. Then
files are saved, 1, 10 and 100 at once, and `/openapi.json` is asked for, while another connection
asks for a row every millisecond: the slowest of its answers is the longest that anybody had to wait.
Part of that is the machine's and the client's: for how long the daemon's own event loop did one thing
it tells itself, by its own processor time, in `watcherd_event_loop_hold_seconds`. Last, all daemons
are asked for a row of their last model, in turns.

    python benchmarks/scale.py [--models 1,1000] [--reloads 5] [--requests 2000] [--references]
                               [--tables] [--markdown]
    python benchmarks/scale.py --models 10000 --reloads 0 --requests 0    # the starts alone

Everything happens in a temporary directory; every process that was started is ended. Owns the
measurement and the table; what counts as a failed request is in `_client`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from _client import Connection, Count, SteadyTraffic, count_get, wait_for
from _process import end, free_port, start
from _tables import aligned, markdown

START_SECONDS = 600.0
SAVE_SECONDS = 60.0
STOP_SECONDS = 30.0
BATCHES = (1, 10, 100)
PACE_SECONDS = 0.001
REST_SECONDS = 0.3
LOOK_SECONDS = 6.0
"""At rest: longer than anything that happens by itself keeps quiet."""

AT_REST = "rest"
HOLDS = r'watcherd_event_loop_hold_seconds_bucket{{during="{during}",le="([^"]+)"}} (\S+)'

MODEL = """\
domain: sample-{number}
version: 1.0.{version}
description: One of many small models
entities:
  - name: Item
    attributes:
      name: {{type: string, required: true, max_length: 80}}
      quantity: {{type: integer, default: 0, minimum: 0}}
      price: {{type: decimal, scale: 2}}
{more}    constraints:
      - name cannot be empty
"""
REFERENCE = "      other: {{type: reference, reference: sample-{number}.Item}}\n"


@dataclass(slots=True)
class Daemon:
    """One daemon over so many models, and what was measured of it. Seconds, megabytes."""

    models: int
    directory: Path
    port: int
    references: bool = False
    tables: bool = False
    version: int = 0
    firsts: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    readies: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    gets: list[float] = field(default_factory=list)
    reloads: dict[int, list[float]] = field(default_factory=dict)
    waits: dict[str, float] = field(default_factory=dict)
    holds: dict[str, str] = field(default_factory=dict)
    documents: list[float] = field(default_factory=list)
    count: Count = field(default_factory=Count)
    process: subprocess.Popen[bytes] | None = None

    @property
    def last(self) -> str:
        """The path of the last model."""
        return f"/api/sample-{self.models - 1}"

    @property
    def rows(self) -> str:
        """The path of a row of it."""
        return f"{self.last}/items?limit=1&count=none"

    def write(self, number: int, more: str = "") -> None:
        """Save a model under the next version, by renaming over it."""
        if self.references and number:
            more += REFERENCE.format(number=number - 1)
        if self.tables and self.version % 2:
            more += f"      extra_{self.version}: text\n"
        fresh = self.directory / "pim_models" / f".sample_{number}.new"
        fresh.write_text(MODEL.format(number=number, version=self.version, more=more), encoding="utf-8")
        fresh.replace(fresh.with_name(f"sample_{number}.yaml"))

    def start(self) -> None:
        """Start the process and wait until its first model serves, until all do, and until it says so."""
        command = [sys.executable, "-m", "watcherd", "serve", "--models", "pim_models", "--data-dir", "data",
                   "--port", str(self.port), "--log-format", "json"]  # fmt: skip
        began = time.perf_counter()
        self.process = start(command, self.directory, self.directory / "output.log")
        with contextlib.closing(Connection(self.port)) as connection:
            for path, shown, seconds in (
                ("/api/sample-0", b'"version"', self.firsts),
                (self.last, b'"version"', self.starts),
                ("/readyz", b'"ok"', self.readies),
            ):
                wait_for(connection, path, shown, Count(), seconds=START_SECONDS, pause=0.01)
                seconds.append(time.perf_counter() - began)
        self.work.append(processor_seconds(self.process.pid))
        time.sleep(REST_SECONDS)
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines()
        self.memory += [int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS")]

    def stop(self) -> None:
        """End it and what it has started."""
        process, self.process = self.process, None
        if process is not None:
            end(process, STOP_SECONDS)


def processor_seconds(pid: int) -> float:
    """What a process has had of the processors so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def held(daemon: Daemon, during: str) -> list[tuple[str, int]]:
    """How often the daemon's event loop did one thing for how long (at most, in seconds), as it counts itself."""
    with contextlib.closing(Connection(daemon.port)) as connection:
        _, text = connection.get("/metrics")
    bucket = re.compile(HOLDS.format(during=during))
    return [(bound, int(float(count))) for bound, count in bucket.findall(text.decode())]


def longest(before: Sequence[tuple[str, int]], after: Sequence[tuple[str, int]]) -> str:
    """The bound that nothing was longer than between two looks."""
    known = dict(before)
    new = [(bound, count - known.get(bound, 0)) for bound, count in after]
    return next((bound for bound, count in new if count == new[-1][1]), "")


@contextlib.contextmanager
def probed(daemon: Daemon, what: str) -> Iterator[None]:
    """Ask for a row again and again, beside what happens here; note how late the latest answer came."""
    count, during = Count(), what.split(maxsplit=1)[0]
    before = held(daemon, during)
    with SteadyTraffic(daemon.port, daemon.rows, count, pace=PACE_SECONDS):
        yield
    bound = longest(before, held(daemon, during))
    daemon.holds[what] = max(daemon.holds.get(what, "0"), bound or "0", key=float)
    daemon.waits[what] = max(daemon.waits.get(what, 0.0), count.slowest)
    daemon.count.add(count)


def main() -> None:
    """Measure and print."""
    options = parse_options()
    sys.setswitchinterval(0.0005)  # the thread that asks beside must not hold up the clock's
    with tempfile.TemporaryDirectory(prefix="scale-", dir=options.directory) as workspace:
        daemons = [
            prepare(Path(workspace), models, references=options.references, tables=options.tables)
            for models in options.models
        ]
        with ended(daemons):
            for daemon in daemons:
                daemon.start()
                daemon.stop()
                daemon.start()
                if options.reloads:
                    measure_rest(daemon)
                    measure_reloads(daemon, options.reloads)
                    measure_document(daemon, options.reloads)
            if options.requests:
                measure_requests(daemons, options.requests)
    print(report(daemons, as_markdown=options.markdown))


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure what it costs to have many models.")
    parser.add_argument("--models", type=_numbers, default=[1, 1000], help="how many models (default 1,1000)")
    parser.add_argument("--reloads", type=int, default=5, help="of each kind (default 5; 0: none)")
    parser.add_argument("--requests", type=int, default=2000, help="to the last model of each (default 2000; 0: none)")
    parser.add_argument("--references", action="store_true", help="each model refers to the one before")
    parser.add_argument("--tables", action="store_true", help="each save adds an attribute, or takes it away")
    parser.add_argument("--directory", type=Path, help="where to work (default: the system's temporary directory)")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def prepare(workspace: Path, models: int, *, references: bool = False, tables: bool = False) -> Daemon:
    """Write the models of a daemon; with `references` each refers to the one before."""
    directory = workspace / str(models)
    (directory / "pim_models").mkdir(parents=True)
    daemon = Daemon(models, directory, free_port(), references, tables)
    for number in range(models):
        daemon.write(number)
    return daemon


@contextlib.contextmanager
def ended(daemons: Sequence[Daemon]) -> Iterator[None]:
    """Stop them all, whatever happens."""
    try:
        yield
    finally:
        for daemon in daemons:
            daemon.stop()


def measure_rest(daemon: Daemon) -> None:
    """How slow the slowest answer is while nothing happens: what the machine itself adds."""
    with probed(daemon, AT_REST):
        time.sleep(LOOK_SECONDS)


def measure_reloads(daemon: Daemon, times: int) -> None:
    """Save 1, 10 and 100 files at once; the clock ends when the last of them serves. The first save is not counted."""
    for size in [size for size in BATCHES if size <= daemon.models]:
        for time_ in range(times + 1):
            with contextlib.closing(Connection(daemon.port)) as connection, probed(daemon, f"reload of {size}"):
                time.sleep(REST_SECONDS / 3)
                daemon.version += 1
                shown = f'"version":"1.0.{daemon.version}"'.encode()
                began = time.perf_counter()
                for number in range(size):
                    daemon.write(number)
                for number in range(size):
                    path = f"/api/sample-{number}"
                    wait_for(connection, path, shown, daemon.count, seconds=SAVE_SECONDS, pause=0.0005)
                taken = time.perf_counter() - began
                time.sleep(REST_SECONDS / 3)
            if time_:
                daemon.reloads.setdefault(size, []).append(taken)


def measure_document(daemon: Daemon, times: int) -> None:
    """Ask for the whole document after a change."""
    for _ in range(times):
        daemon.version += 1
        shown = f'"version":"1.0.{daemon.version}"'.encode()
        with contextlib.closing(Connection(daemon.port)) as connection:
            daemon.write(0)
            wait_for(connection, "/api/sample-0", shown, daemon.count, seconds=SAVE_SECONDS, pause=0.0005)
            with probed(daemon, "document"):
                time.sleep(REST_SECONDS / 3)
                began = time.perf_counter()
                status, pieces = connection.get_pieces("/openapi.json")
                daemon.documents.append(time.perf_counter() - began)
            if status != 200 or len(json.loads(b"".join(pieces))["tags"]) < daemon.models:
                raise RuntimeError("the document is not whole")


def measure_requests(daemons: Sequence[Daemon], requests: int) -> None:
    """Ask each for rows of its last model, in turns; medians are told."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(contextlib.closing(Connection(daemon.port))) for daemon in daemons]
        for number in range(requests + 100):
            for daemon, connection in zip(daemons, connections, strict=True):
                began = time.perf_counter()
                count_get(connection, daemon.rows, daemon.count)
                if number >= 100:
                    daemon.gets.append(time.perf_counter() - began)


def report(daemons: Sequence[Daemon], *, as_markdown: bool) -> str:
    """One column a daemon."""
    rows = [("", *(f"{daemon.models:,} models" for daemon in daemons))]
    for place, kind in enumerate(("start on a new database", "start again")):
        for what, seconds in (
            (f"{kind}, until the first model serves", [daemon.firsts[place] for daemon in daemons]),
            (f"{kind}, until all do", [daemon.starts[place] for daemon in daemons]),
            (f"{kind}, until it is ready", [daemon.readies[place] for daemon in daemons]),
            ("processor's time of it", [daemon.work[place] for daemon in daemons]),
        ):
            rows.append((what, *(f"{one:.2f} s" for one in seconds)))
    rows.append(("memory after a start", *(f"{max(daemon.memory):.0f} MB" for daemon in daemons)))
    rows.append(("GET on the last model, median", *(_median(daemon.gets) for daemon in daemons)))
    rows += [
        (f"save of {size}, median", *(_median(daemon.reloads.get(size)) for daemon in daemons)) for size in BATCHES
    ]
    rows.append(("/openapi.json after a change, median", *(_median(daemon.documents) for daemon in daemons)))
    rows += [
        (f"slowest answer to others, {what}", *(_ms(daemon.waits.get(what)) for daemon in daemons))
        for what in dict.fromkeys(what for daemon in daemons for what in daemon.waits)
    ]
    rows += [
        (f"longest hold of the event loop, {what}, at most", *(_ms_of(daemon.holds.get(what)) for daemon in daemons))
        for what in dict.fromkeys(what for daemon in daemons for what in daemon.holds)
    ]
    rows.append(("failed requests", *(f"{daemon.count.failed} of {daemon.count.requests}" for daemon in daemons)))
    return "\n".join(markdown(rows) if as_markdown else aligned(rows))


def _median(seconds: Sequence[float] | None) -> str:
    return _ms(statistics.median(seconds) if seconds else None)


def _ms_of(bound: str | None) -> str:
    return "" if bound is None else f"{float(bound) * 1000:g} ms"


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.2f} ms"


if __name__ == "__main__":
    main()
