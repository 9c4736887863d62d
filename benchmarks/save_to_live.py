"""How long from saving a file to the first answer that shows the change; watcherd and a peer, in one run.

Each save is a rename over the file. The clock starts before the rename and ends with the first
answer that has the new version, asked for again and again on a keep-alive connection, while a second
connection keeps asking for rows. Between two questions is a short pause: without one the client
alone keeps a server busy, and what is measured is how the two share a processor. The systems take
turns, so that a noisy machine is noisy for all.

    python benchmarks/save_to_live.py [--saves 60] [--models 4,300] [--pause-ms 0.5] [--markdown]
    python benchmarks/save_to_live.py --only watcherd --models 4 --saves 1000 --seconds 900    # does any request fail?
    python benchmarks/save_to_live.py --only watcherd --models 4 --saves 100 --workers 2

Everything happens in a temporary directory; every process that was started is ended. Owns the
measurement and the table; the systems are in `_systems`, what counts as a failed request in `_client`.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from _client import Connection, SteadyTraffic, count_get, wait_for
from _systems import EDITS, INDEX, ROWS, System, edit_of, handwritten, watcherd
from _tables import aligned, markdown

SAVE_SECONDS = 20.0
"""A change that is not live after this long fails the run."""

REST_SECONDS = 0.05
"""Before each save and after it: for the steady traffic to meet all of the reload, and for its end."""


def main() -> None:
    """Measure and print."""
    options = parse_options()
    sys.setswitchinterval(0.0005)  # the steady traffic's thread must not hold up the clock's
    with tempfile.TemporaryDirectory(prefix="save-to-live-", dir=options.directory) as workspace:
        systems = [watcherd(Path(workspace), models, workers=options.workers) for models in options.models]
        if options.only is None:
            systems.append(handwritten(Path(workspace)))
        with running(systems):
            rounds = measure(systems, options)
    print(report(systems, rounds, as_markdown=options.markdown))


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the time from saving a file to the first changed answer.")
    parser.add_argument("--saves", type=_at_least_one, default=60, help="saves of each system (default 60)")
    parser.add_argument("--models", type=_numbers, default=[4, 300], help="models loaded by watcherd (default 4,300)")
    parser.add_argument("--only", choices=["watcherd"], help="without the peer")
    parser.add_argument("--workers", type=_at_least_one, default=1, help="of watcherd (default 1)")
    parser.add_argument("--pause-ms", type=float, default=0.5, help="between two questions; 0: none (default 0.5)")
    parser.add_argument("--seconds", type=float, default=120, help="begin no round after this long (default 120)")
    parser.add_argument("--directory", type=Path, help="where to work (default: the system's temporary directory)")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser.parse_args()


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one is needed")
    return number


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


@contextlib.contextmanager
def running(systems: Sequence[System]) -> Iterator[None]:
    """Start the systems one after the other; stop them all, whatever happens."""
    try:
        for system in systems:
            system.start()
        yield
    finally:
        for system in systems:
            system.stop()


def measure(systems: Sequence[System], options: argparse.Namespace) -> int:
    """Save in turns; returns how many rounds there was time for. The first round is not measured."""
    deadline = time.monotonic() + options.seconds
    for number in range(1, options.saves + 2):
        for system in systems:
            seconds = save(system, number, pause=options.pause_ms / 1000)
            if number > 1:
                system.saves.append((number, seconds))
        if number > 1 and time.monotonic() > deadline:
            return number - 1
    return int(options.saves)


def save(system: System, number: int, *, pause: float) -> float:
    """One save under traffic: seconds from the rename to the first answer that shows it."""
    fresh = system.prepare(number)
    shown = f'"version":"1.0.{number}"'.encode()
    connection = Connection(system.port)
    with contextlib.closing(connection), SteadyTraffic(system.port, ROWS, system.count):
        count_get(connection, INDEX, system.count)  # connected before the clock runs
        time.sleep(REST_SECONDS)
        began = time.perf_counter()
        fresh.replace(system.file)
        wait_for(connection, INDEX, shown, system.count, seconds=SAVE_SECONDS, pause=pause)
        seconds = time.perf_counter() - began
        time.sleep(REST_SECONDS)
    return seconds


HEADINGS = ("", "median", "p90", "p99", "max", "ratio", "failed requests", "slowest answer", "start to first answer")


def report(systems: Sequence[System], rounds: int, *, as_markdown: bool) -> str:
    """The tables, and what they were measured on."""
    best = _median(systems[0])
    table = markdown if as_markdown else aligned
    machine = (
        f"Python {platform.python_version()}, {os.cpu_count()} processors, {platform.system()} {platform.release()}"
    )
    return "\n".join(
        [
            f"Save to first changed answer: {rounds} saves of each, in turns, under steady reads ({machine}).",
            "",
            *table([HEADINGS, *(_row(system, best) for system in systems)]),
            "",
            "Ratio: of the medians, to the first row. Failed: refused, reset, closed before the answer, or 5xx.",
            *(_failures(system) for system in systems if system.count.failed),
            "",
            "The medians by what was changed:",
            "",
            *table(
                [("", *EDITS), *((system.name, *(_ms(_median(system, edit)) for edit in EDITS)) for system in systems)]
            ),
        ]
    )


def _row(system: System, best: float) -> tuple[str, ...]:
    ranked = sorted(seconds for _, seconds in system.saves)
    return (
        system.name,
        _ms(_median(system)),
        *(_ms(ranked[math.ceil(share * len(ranked)) - 1]) for share in (0.90, 0.99, 1.0)),
        f"{_median(system) / best:.1f}",
        f"{system.count.failed} of {system.count.requests}",
        _ms(system.count.slowest),
        f"{system.started_seconds:.2f} s",
    )


def _median(system: System, edit: str | None = None) -> float:
    """Of all saves, or of those of one kind; NaN where there was none."""
    saves = [seconds for number, seconds in system.saves if edit in {None, edit_of(number)}]
    return statistics.median(saves) if saves else math.nan


def _failures(system: System) -> str:
    reasons = ", ".join(f"{times} {reason}" for reason, times in sorted(system.count.reasons.items()))
    return f"Failed requests of {system.name}: {reasons}."


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


if __name__ == "__main__":
    main()
