"""A body that comes in chunks -> its lines, with their numbers.

Owns where a line ends, in NDJSON and in CSV, whose quoted cells may hold line ends: such a line is
numbered as its first. Does not own what a line says (imports).
"""

from __future__ import annotations

from watcherd import problems
from watcherd.compile.csv_text import QUOTE
from watcherd.problems import Problem

Line = tuple[int, bytes]
"""The number of a line, from 1, and its bytes without the end."""

_BOM = b"\xef\xbb\xbf"


class Lines:
    """Takes chunks, gives lines; blank ones are left out. Holds no more than one line and one chunk."""

    def __init__(self, *, quoted: bool, most_bytes: int) -> None:
        """`quoted` is for CSV; a line over `most_bytes` is refused."""
        self._quoted = quoted
        self._most_bytes = most_bytes
        self._rest = b""
        self._number = 0
        self._open: list[bytes] = []
        self._open_bytes = 0

    def feed(self, chunk: bytes) -> list[Line]:
        """The lines that a chunk completes. Raises `Problem` 413 for one that is too long."""
        pieces = (self._rest + chunk).split(b"\n")
        self._rest = pieces.pop()
        lines = [line for piece in pieces if (line := self._line(piece)) is not None]
        if self._open_bytes + len(self._rest) > self._most_bytes:
            raise self._too_long(self._first_open() if self._open else self._number + 1)
        return lines

    def end(self) -> list[Line]:
        """What is left at the end of the body: a last line without an end, or within quotes."""
        last, self._rest = self._line(self._rest), b""
        if last is None and self._open:
            last = (self._first_open(), b"\n".join(self._open))
        return [] if last is None else [last]

    def _line(self, piece: bytes) -> Line | None:
        self._number += 1
        if self._number == 1:
            piece = piece.removeprefix(_BOM)
        if self._quoted and (self._open or piece.count(QUOTE) % 2):
            return self._continued(piece)
        if len(piece) > self._most_bytes:
            raise self._too_long(self._number)
        piece = piece.removesuffix(b"\r")
        return (self._number, piece) if piece.strip() else None

    def _continued(self, piece: bytes) -> Line | None:
        """A piece with a quote that is not closed, or one that follows: whole once the quotes are even."""
        begun = bool(self._open)
        self._open.append(piece)
        self._open_bytes += len(piece)
        if self._open_bytes > self._most_bytes:
            raise self._too_long(self._first_open())
        if not begun or piece.count(QUOTE) % 2 == 0:
            return None
        number, line = self._first_open(), b"\n".join(self._open).removesuffix(b"\r")
        self._open, self._open_bytes = [], 0
        return number, line

    def _first_open(self) -> int:
        """The number of the line that the open cell began in."""
        return self._number - len(self._open) + 1

    def _too_long(self, number: int) -> Problem:
        hint = "; is a quote not closed?" if self._open else ""
        detail = f"line {number} is over {self._most_bytes} bytes{hint}"
        return Problem(problems.BODY_TOO_LARGE, detail, headers={"connection": "close"})
