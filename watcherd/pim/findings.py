"""Where findings about one text are collected, and how offsets become lines and columns.

Everything inside `pim` speaks of places as spans of character offsets; only this module turns them
into positions. The number of findings that are kept is bounded, their counting is not: a hostile
file with a hundred thousand mistakes is rejected with the first few hundred of them.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from watcherd.pim.codes import CODES
from watcherd.pim.diagnostics import Diagnostic, Position, Related, Severity

if TYPE_CHECKING:
    from collections.abc import Collection

KEPT_PER_SEVERITY = 200
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_LONGEST_NAME = 80
_MOST_CANDIDATES = 1000
_LONGEST_QUOTE = 120


class Span(NamedTuple):
    """A piece of the text, as character offsets; `end` is exclusive."""

    start: int
    end: int


class SourceText:
    """The text of a file and where its lines begin; found out when first asked, as most files are good."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self._starts: list[int] | None = None

    def position(self, offset: int) -> Position:
        """Line and column, both from 1, of a character offset."""
        if self._starts is None:
            self._starts = [0, *(found.end() for found in _LINE_BREAK.finditer(self.text))]
        line = bisect_right(self._starts, max(offset, 0))
        return Position(line, offset - self._starts[line - 1] + 1)

    def related(self, span: Span, message: str) -> Related:
        """Another place in this file that belongs to a finding."""
        start, end_column = self.place(span)
        return Related(self.file, start.line, start.column, message, end_column)

    def place(self, span: Span) -> tuple[Position, int | None]:
        """Where a span begins, and the column after it where it ends in the same line."""
        start, end = self.position(span.start), self.position(span.end)
        return start, end.column if start.line == end.line and end.column > start.column else None


class Findings:
    """The findings of one file while they are gathered; the same finding at the same place counts once."""

    def __init__(self, source: SourceText) -> None:
        self.source = source
        self.errors = 0
        self._seen: set[tuple[str, int, str]] = set()
        self._kept: list[Diagnostic] = []
        self._counts = {Severity.ERROR: 0, Severity.WARNING: 0}

    @property
    def count(self) -> int:
        """How many there are, warnings too."""
        return sum(self._counts.values())

    def add(self, code: str, span: Span, message: str, hint: Hint = None, related: tuple[Related, ...] = ()) -> None:
        """Add a finding; its severity is that of its code."""
        severity = CODES[code].severity
        identity = (code, span.start, message)
        if identity in self._seen:
            return
        self.errors += severity is Severity.ERROR
        self._counts[severity] += 1
        if self._counts[severity] > KEPT_PER_SEVERITY:
            return
        self._seen.add(identity)
        start, end_column = self.source.place(span)
        self._kept.append(
            Diagnostic(
                code=code,
                severity=severity,
                file=self.source.file,
                line=start.line,
                column=start.column,
                message=message,
                hint=hint.find() if isinstance(hint, Nearest) else hint,
                end_column=end_column,
                related=related,
            ),
        )

    def sorted(self) -> tuple[Diagnostic, ...]:
        """All that was kept, by place."""
        return tuple(sorted(self._kept, key=lambda found: (found.line, found.column, found.code, found.message)))


def quote(text: str) -> str:
    """A name or value as messages show it: in backticks, on one line, of bounded length."""
    shown = " ".join(text.split()).replace("`", "'")
    return f"`{shown[:_LONGEST_QUOTE]}…`" if len(shown) > _LONGEST_QUOTE else f"`{shown}`"


@dataclass(frozen=True, slots=True)
class Nearest:
    """A hint that is looked for only if its finding is kept: looking is dear, and a file may have many."""

    word: str
    known: Collection[str]
    otherwise: str | None = None

    def find(self) -> str | None:
        """Name the known word that was probably meant; `otherwise` where there is none."""
        if len(self.word) > _LONGEST_NAME or len(self.known) > _MOST_CANDIDATES:
            return self.otherwise
        by_folded = {name.casefold(): name for name in self.known}
        close = get_close_matches(self.word.casefold(), by_folded, n=1, cutoff=0.6)
        return f"did you mean {quote(by_folded[close[0]])}?" if close else self.otherwise


Hint: TypeAlias = str | Nearest | None
