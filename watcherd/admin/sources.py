"""A model file as an editor shows it: numbered lines, colours, and each finding under its line.

Owns which lines of a long file are shown, and the marks. The colours are those of Pygments' YAML
lexer. Does not own the findings (pim, store).
"""

from __future__ import annotations

import difflib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pygments.lexers.data import YamlLexer
from pygments.token import Comment, Literal, Name, Number, Punctuation, String

from watcherd.pim.diagnostics import Diagnostic

WHOLE_LINES = 400
"""A file up to this long is shown whole; of a longer one the lines around each finding."""

AROUND = 4
COLOURED_BYTES = 200_000
LONGEST_LINE = 2_000
"""Characters of a line that are shown."""

_CLASSES = ((Comment, "c"), (Name.Tag, "k"), (Number, "n"), (String, "s"), (Literal, "s"), (Punctuation, "p"))


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a line: its text, its colour's class, and the severity of the finding that marks it, if any."""

    text: str
    kind: str
    mark: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line, by its number, with the findings about it; `skipped` lines before it are not shown."""

    number: int
    pieces: tuple[Piece, ...]
    findings: tuple[Diagnostic, ...]
    skipped: int

    @property
    def found(self) -> str:
        """The weight of the gravest finding: `error`, `warning`, or nothing."""
        if not self.findings:
            return ""
        return "error" if any(item.is_error for item in self.findings) else "warning"


@dataclass(frozen=True, slots=True)
class Source:
    """The lines that are shown; `skipped` lines after them are not."""

    lines: tuple[Line, ...]
    skipped: int


def annotated(content: bytes, findings: Iterable[Diagnostic]) -> Source:
    """The lines of a file with its findings; those beyond its end are at its last line."""
    text = content.decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")
    raw = text.split("\n")
    if len(raw) > 1 and not raw[-1]:
        raw.pop()
    by_line: dict[int, list[Diagnostic]] = defaultdict(list)
    for item in findings:
        by_line[min(max(item.line, 1), len(raw))].append(item)
    coloured = _coloured(text, len(raw)) if len(content) <= COLOURED_BYTES else [[("", line)] for line in raw]
    shown = _shown(len(raw), by_line)
    lines = []
    last = 0
    for number in shown:
        about = tuple(sorted(by_line.get(number, ()), key=lambda item: (item.column, item.code)))
        pieces = tuple(_marked(coloured[number - 1], raw[number - 1], about))
        lines.append(Line(number, pieces, about, number - last - 1))
        last = number
    return Source(tuple(lines), len(raw) - last)


def difference(old: bytes, new: bytes) -> list[tuple[str, str]]:
    """A unified diff of two texts, as (`added`, `removed`, `hunk` or nothing; line)."""
    before, after = (text.decode("utf-8", "replace").splitlines() for text in (old, new))
    kinds = {"+": "added", "-": "removed", "@": "hunk"}
    return [
        (kinds.get(line[:1], ""), line[:LONGEST_LINE])
        for line in difflib.unified_diff(before, after, lineterm="", n=2)
        if not line.startswith(("+++", "---"))
    ]


def _shown(count: int, by_line: Iterable[int]) -> list[int]:
    if count <= WHOLE_LINES:
        return list(range(1, count + 1))
    near = {line for found in by_line for line in range(found - AROUND, found + AROUND + 1)}
    return sorted(line for line in near or range(1, WHOLE_LINES + 1) if 1 <= line <= count)


def _coloured(text: str, count: int) -> list[list[tuple[str, str]]]:
    """For each line its stretches as (class, text)."""
    lines: list[list[tuple[str, str]]] = [[]]
    for token, value in YamlLexer(stripnl=False, ensurenl=False).get_tokens(text):
        kind = next((name for known, name in _CLASSES if token is known or known in token.split()), "")
        first, *rest = value.split("\n")
        lines[-1].append((kind, first))
        lines += [[(kind, part)] for part in rest]
    lines += [[] for _ in range(count - len(lines))]
    return lines[:count]


def _marked(stretches: Sequence[tuple[str, str]], whole: str, findings: Sequence[Diagnostic]) -> Iterator[Piece]:
    """Cut the stretches where a mark begins or ends."""
    marks = [_span(item, whole) for item in findings]
    cuts = sorted({edge for start, end, _ in marks for edge in (start, end)} | {LONGEST_LINE})
    place = 0
    for kind, value in stretches:
        end = place + len(value)
        edges = [place, *(cut for cut in cuts if place < cut < end), end]
        for start, stop in itertools.pairwise(edges):
            if start == stop or start >= LONGEST_LINE:
                continue
            severities = [severity for first, last, severity in marks if first <= start and stop <= last]
            mark = "error" if "error" in severities else severities[0] if severities else ""
            yield Piece(value[start - place : stop - place], kind, mark)
        place = end
    if place > LONGEST_LINE:
        yield Piece("…", "c", "")


def _span(item: Diagnostic, whole: str) -> tuple[int, int, str]:
    """What a finding marks of its line: what it says, else the word that begins there."""
    start = min(max(item.column - 1, 0), len(whole))
    if item.end_column is not None and item.end_column - 1 > start:
        return start, min(item.end_column - 1, len(whole)), item.severity.value
    end = start
    while end < len(whole) and not whole[end].isspace():
        end += 1
    return start, max(end, start + 1), item.severity.value
