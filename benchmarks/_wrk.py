"""wrk as the load generator: one operation against one address, on a processor of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent / "peers" / "wrk.lua"


@dataclass(frozen=True, slots=True)
class Load:
    """What came of one run. `refused` were answered 4xx or 5xx, `broken` not at all; times in milliseconds."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    refused: int
    broken: int

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds

    def as_json(self) -> dict[str, float]:
        """For the file of results."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Target:
    """Where the rows are: `rows` is their path, `query` what a list of 20 adds to it, `ids` a file of keys."""

    port: int
    rows: str
    query: str
    ids: Path


def find_wrk() -> str | None:
    """The program, where it is installed."""
    return shutil.which("wrk")


def run_wrk(  # noqa: PLR0913 - what to send, where, how long, from where
    target: Target, operation: str, mark: str, *, seconds: float, connections: int, processor: int | None
) -> Load:
    """Send one operation for some seconds. `mark` makes what is created unlike what any other run creates."""
    pinned = [] if processor is None else ["taskset", "-c", str(processor)]
    found = subprocess.run(
        [*pinned, "wrk", "-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s", "-s", str(SCRIPT),
         f"http://127.0.0.1:{target.port}{target.rows}",
         "--", operation, target.rows, target.query, str(target.ids), mark],
        capture_output=True, text=True, check=True, timeout=seconds + 30,
    )  # fmt: skip
    return Load(**json.loads(found.stdout.splitlines()[-1]))
