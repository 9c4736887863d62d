"""How many requests one process on one processor answers, and how late the slowest hundredth; beside peers.

In each round every system begins with a fresh copy of its data, pinned to one processor, with wrk on
another; then they take turns (A B C, A B C, ...): GET by id, a list of 20, an update and a create, on
10,000 rows over 16 connections. Ratios are formed within a round, between neighbours in time, and
their median is told: so a noisy machine is noisy for all. Beside the throughput stands the processor's time that a
request took, which hardly moves when the machine is shared.

    python benchmarks/throughput.py [--rounds 5] [--seconds 2] [--systems watcherd,handwritten,...]

`--results FILE` adds the rounds to those that the file has, so that a long measurement can be done
in pieces. The table (Markdown) and the plots (SVG) go to `build/bench`. Owns the measurement and its
tables; the systems are in `_peers`, the load in `_wrk`. Peers that are missing are installed into
the virtual environment, and left out where they cannot be. wrk comes from the system (Debian:
`apt install wrk`).
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _peers import OPERATIONS, PREPARE, Peer, Running, ask, prepare_all, run_peer
from _plots import bars
from _process import REPOSITORY
from _tables import markdown
from _wrk import Load, find_wrk, run_wrk

TITLES = {"get": "GET by id", "list": "list of 20", "update": "update", "create": "create"}
BASIS = "FastAPI by hand"
WARM_SECONDS = 1.0

Rounds = list[dict[str, Any]]
"""Of each round, by the name of the system and the operation, what `measure` found."""


def main() -> int:
    """Measure and print."""
    options = parse_options()
    if find_wrk() is None:
        print("throughput: skipped, wrk is not installed (Debian, Ubuntu: apt install wrk).")
        return 0
    stored = json.loads(options.results.read_text()) if options.results and options.results.exists() else []
    server, client = processors()
    with tempfile.TemporaryDirectory(prefix="throughput-") as workspace:
        peers, missing = prepare_all(options.systems, Path(workspace), options.tools, options.rows)
        for _ in range(options.rounds):
            stored.append(measure(peers, options, server, client))
            if options.results:
                options.results.write_text(json.dumps(stored, indent=1))
    text = report(stored, options, missing)
    print(text)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "throughput.md").write_text(text + "\n")
    for operation in options.operations:
        (options.output / f"throughput-{operation}.svg").write_text(plot(stored, operation))
    print(f"\nTable and plots: {options.output}")
    return 0


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the throughput of watcherd beside its peers.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all systems (default 5)")
    parser.add_argument("--seconds", type=int, default=2, help="of load for each operation (default 2)")
    parser.add_argument("--connections", type=int, default=16, help="that send at the same time (default 16)")
    parser.add_argument("--rows", type=int, default=10_000, help="that each system has (default 10000)")
    parser.add_argument("--operations", type=_names(OPERATIONS), default=OPERATIONS, help=f"of {', '.join(OPERATIONS)}")
    parser.add_argument("--systems", type=_names(PREPARE), default=tuple(PREPARE), help=f"of {', '.join(PREPARE)}")
    parser.add_argument("--results", type=Path, help="a JSON file to which the rounds are added")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "bench", help="for table and plots")
    parser.add_argument("--tools", type=Path, default=Path(sys.prefix) / "peers", help="where peers are installed")
    return parser.parse_args()


def _names(known: Sequence[str] | dict[str, Any]) -> Any:
    def read(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        if wrong := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"there is no {', '.join(wrong)}")
        return names

    return read


def processors() -> tuple[int | None, int | None]:
    """One for the server and one for the load; None, None where there is but one, or none can be chosen."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    first, *others = sorted(os.sched_getaffinity(0))
    return (first, others[0]) if others else (None, None)


def measure(peers: Sequence[Peer], options: argparse.Namespace, server: int | None, client: int | None) -> Any:
    """One round: of each operation each system once, in turn; those that wait for theirs are idle."""
    found: dict[str, dict[str, Any]] = {peer.name: {"durability": peer.durability} for peer in peers}
    with contextlib.ExitStack() as stack:
        systems = [stack.enter_context(run_peer(peer, processor=server)) for peer in peers]
        for running in systems:
            check(running)
            for operation in running.peer.operations[:2]:
                warm(running, operation, options, client)
        for operation in options.operations:
            for running in systems:
                if operation in running.peer.operations:
                    found[running.peer.name][operation] = load(running, operation, options, client)
    return found


def warm(running: Running, operation: str, options: argparse.Namespace, client: int | None) -> None:
    """Let a system compile and cache what it compiles and caches."""
    run_wrk(running.target, operation, "", seconds=WARM_SECONDS, connections=options.connections, processor=client)


def load(running: Running, operation: str, options: argparse.Namespace, client: int | None) -> dict[str, float]:
    """One operation of one system: what wrk saw, and the processor's time of a request."""
    mark = uuid.uuid4().hex[:8]
    before = running.processor_seconds()
    seen: Load = run_wrk(
        running.target, operation, mark, seconds=options.seconds, connections=options.connections, processor=client
    )
    used = running.processor_seconds() - before
    if seen.requests == 0 or seen.refused or seen.broken > seen.requests / 100:
        print(f"{running.peer.name}, {operation}: {seen}", file=sys.stderr)
    return seen.as_json() | {"per_second": seen.per_second, "cpu_us": used / max(seen.requests, 1) * 1e6}


def check(running: Running) -> None:
    """See with own eyes that what is measured is what it is said to be."""
    peer = running.peer
    first = peer.ids.read_text().partition("\n")[0]
    status, row = ask(running.port, "GET", f"{peer.rows}/{first}")
    if status != 200 or row["name"] != "Product 1":
        raise RuntimeError(f"{peer.name} answers {status} {row}")
    if "list" in peer.operations:
        status, page = ask(running.port, "GET", f"{peer.rows}{peer.query}")
        rows = page.get("data") or page.get("items")
        if status != 200 or len(rows) != 20:
            raise RuntimeError(f"{peer.name} lists {status}: {str(page)[:500]}")


# -- what it comes to ----------------------------------------------------------------------------


def report(rounds: Rounds, options: argparse.Namespace, missing: Sequence[str]) -> str:
    """The tables in Markdown, and what they were measured on."""
    names = list(dict.fromkeys(name for one in rounds for name in one))
    today = dt.datetime.now(dt.UTC).date()
    lines = [
        f"One process on one processor, {options.connections} connections, {options.rows:,} rows; medians of",
        f"{len(rounds)} interleaved rounds of {options.seconds} s. {today}, {machine()}.",
        "",
        "Requests a second, and how many times that is what FastAPI by hand answers (median of the rounds):",
        "",
        *markdown([["", "durability", *TITLES.values()], *([name, durability(rounds, name),
               *(throughput(rounds, name, operation) for operation in OPERATIONS)] for name in names)]),
        "",
        "99th percentile of the latency in milliseconds, and the processor's time of a request in microseconds",
        "(with the ratio: how many times as much FastAPI by hand takes):",
        "",
        *markdown([["", *TITLES.values()],
                   *([name, *(lateness(rounds, name, operation) for operation in OPERATIONS)] for name in names)]),
    ]  # fmt: skip
    return "\n".join([*lines, *([""] if missing else ()), *missing])


def machine() -> str:
    """What kind of machine this is."""
    processor = platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        models = [line for line in information.read_text().splitlines() if line.startswith("model name")]
        processor = models[0].partition(":")[2].strip() if models else processor
    return f"{os.cpu_count()} processors ({processor}), {platform.system()}, Python {platform.python_version()}"


def durability(rounds: Rounds, name: str) -> str:
    """What a write survives there."""
    return next(str(one[name]["durability"]) for one in rounds if name in one)


def throughput(rounds: Rounds, name: str, operation: str) -> str:
    """The median, and the median of the ratios to the basis, round by round."""
    found = values(rounds, name, operation, "per_second")
    if not found:
        return ""
    rates = ratios(rounds, name, operation)
    return f"{statistics.median(found):,.0f}" + (f" ({statistics.median(rates):.1f})" if rates else "")


def lateness(rounds: Rounds, name: str, operation: str) -> str:
    """The medians of the 99th percentile and of the processor's time, and of the ratio of the latter."""
    late, used = values(rounds, name, operation, "p99_ms"), values(rounds, name, operation, "cpu_us")
    if not late:
        return ""
    rates = ratios(rounds, name, operation, "cpu_us")
    ratio = f" ({1 / statistics.median(rates):.1f})" if rates else ""
    return f"{statistics.median(late):.1f} · {statistics.median(used):.0f}{ratio}"


def values(rounds: Rounds, name: str, operation: str, what: str) -> list[float]:
    """What was measured in the rounds that had it."""
    return [one[name][operation][what] for one in rounds if operation in one.get(name, {})]


def ratios(rounds: Rounds, name: str, operation: str, what: str = "per_second") -> list[float]:
    """In units of what the basis has in the same round."""
    return [
        one[name][operation][what] / one[BASIS][operation][what]
        for one in rounds
        if operation in one.get(name, {}) and operation in one.get(BASIS, {})
    ]


def plot(rounds: Rounds, operation: str) -> str:
    """The throughput of all systems as bars."""
    names = dict.fromkeys(name for one in rounds for name in one)
    found = {name: values(rounds, name, operation, "per_second") for name in names}
    medians = {name: statistics.median(rates) for name, rates in found.items() if rates}
    shown = {name: f"{value:,.0f}/s" for name, value in medians.items() if not math.isnan(value)}
    ours = [name for name in medians if name.startswith("watcherd")]
    return bars(f"{TITLES[operation]}: requests a second", medians, shown, ours)


if __name__ == "__main__":
    sys.exit(main())
