"""What an import has gathered: valid rows set aside in a file, refused lines in a bounded list.

Owns the file's format (a JSON array of rows in stored form on each line, the line's number first)
and the words about refused lines. Does not own what is valid (imports).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, Any

from pydantic_core import from_json, to_json

from watcherd import problems
from watcherd.errors import StoreUnavailableError
from watcherd.problems import Finding, Problem

MAX_REFUSED = 100
"""How many refused lines are listed; the rest is counted."""

_WRITTEN_TOGETHER = 500

Stored = tuple[int, Sequence[Any]]
"""The number of a line, and its row in stored form."""


class Refusals:
    """Which lines were refused, and why: a bounded list, and how many in all."""

    def __init__(self) -> None:
        self.count = 0
        self._listed: list[dict[str, Any]] = []

    def add(self, line: int, findings: Sequence[Finding]) -> None:
        """Note why a line is not imported."""
        self.count += 1
        if len(self._listed) < MAX_REFUSED:
            self._listed.append({"line": line, "errors": [one.as_json() for one in findings]})

    def copy(self) -> Refusals:
        """The same ones, to which more can be added."""
        other = Refusals()
        other.count = self.count
        other._listed = list(self._listed)
        return other

    def report(self) -> dict[str, Any]:
        """The members of an answer that tells of them."""
        return {"refused": self._listed, "refused_count": self.count}

    def problem(self) -> Problem:
        """422 that tells of them."""
        lines = "1 line is" if self.count == 1 else f"{self.count} lines are"
        return Problem(problems.IMPORT_REFUSED, f"{lines} not valid; nothing was imported", extra=self.report())


class Gathered:
    """The lines of one import; used by one thread at a time.

    `wanted_partly` says that valid rows are to be imported although others are refused. Without it,
    nothing is set aside any more once a line is refused.
    """

    def __init__(self, aside: IO[bytes], *, wanted_partly: bool) -> None:
        self.wanted_partly = wanted_partly
        self.refusals = Refusals()
        self._aside = aside
        self._waiting: list[Sequence[Any]] = []

    def accept(self, line: int, stored: Sequence[Any]) -> None:
        """Set a row aside. StoreUnavailableError when there is no room for it."""
        if self.wanted_partly or not self.refusals.count:
            self._waiting.append((line, *stored))
            if len(self._waiting) >= _WRITTEN_TOGETHER:
                self.flush()

    def flush(self) -> None:
        """Write what still waits to the file."""
        try:
            self._aside.write(to_json(self._waiting) + b"\n")
        except OSError as error:
            raise StoreUnavailableError(f"cannot set rows aside in a temporary file: {error.strerror}") from error
        self._waiting = []

    def batches(self) -> Iterator[list[Stored]]:
        """The rows that were set aside, in order, some hundred at a time."""
        self._aside.seek(0)
        for line in self._aside:
            yield [(number, stored) for number, *stored in from_json(line)]
