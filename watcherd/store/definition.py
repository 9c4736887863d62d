"""The text of CREATE TABLE as SQLite keeps it: which checks it has, and the same text with others.

Owns the reading of that text, as far as it takes to tell one part of a table from the next; the rest
of it stays as it is, character by character. Pure; whether SQLite takes the result is for `rewording`.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_TOKEN: Final = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\] | --[^\n]* | /\*.*?\*/ | \w+ | \s+ | .""",
    re.VERBOSE | re.DOTALL,
)
_SAYS_NOTHING: Final = re.compile(r"\s|--|/\*")
_SEPARATOR: Final = ", \n\t"
_TURNS: Final = {"(": 1, ")": -1}
_QUOTES: Final = {'"': '"', "`": "`", "[": "]"}


class DefinitionError(ValueError):
    """A text is not that of a table as it is written here."""


@dataclass(frozen=True, slots=True)
class TableCheck:
    """A check of a table as a whole: its name, if it has one, and its words, as in CREATE TABLE."""

    name: str | None
    text: str


@dataclass(frozen=True, slots=True)
class _Part:
    """A column or a constraint: where its words begin and end, and they themselves without what says nothing."""

    start: int
    end: int
    tokens: tuple[str, ...]

    @property
    def check(self) -> str | None:
        """The name that is written here, '' where there is none; None: it is something else, or more than a check."""
        words = [token.upper() for token in self.tokens[:3]]
        named = words[0] == "CONSTRAINT" and words[2:] == ["CHECK"]
        if not (named or words[0] == "CHECK") or not _is_enclosed(self.tokens[3 if named else 1 :]):
            return None
        return self.tokens[1] if named else ""


def checks_of(sql: str) -> tuple[TableCheck, ...]:
    """The checks of a table, in order; those of single columns are words of these. DefinitionError."""
    if "CHECK" not in sql.upper():
        return ()
    named = ((part.check, sql[part.start : part.end]) for part in _parts(sql))
    return tuple(TableCheck(_plain(name) if name else None, text) for name, text in named if name is not None)


def with_constraints(sql: str, clauses: Iterable[str]) -> str:
    """The text of the table with more constraints, at the end. DefinitionError."""
    end = _parts(sql)[-1].end
    return sql[:end] + "".join(f"{_SEPARATOR}{clause}" for clause in clauses) + sql[end:]


def without_checks(sql: str, names: Container[str]) -> str:
    """The text of the table without the checks of these names. DefinitionError."""
    kept, at = [], 0
    for before, part in pairwise(_parts(sql)):  # the first is a column
        if part.check and _plain(part.check) in names:
            kept.append(sql[at : before.end])
            at = part.end
    return "".join((*kept, sql[at:]))


def of_stored(condition: str, prefix: str) -> str:
    """A condition over a row that is about to be written, as one over the columns of the table."""
    row, dot = prefix[:-1], prefix[-1]
    words = _TOKEN.findall(condition)
    kept = [
        word
        for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False)
        if not (word == row and after == dot) and not (word == dot and before == row)
    ]
    return "".join(kept)


def _parts(sql: str) -> list[_Part]:
    """What stands between the outermost brackets, at least one."""
    parts: list[_Part] = []
    tokens: list[str] = []
    depth = start = end = 0
    for found in _TOKEN.finditer(sql):
        word = found[0]
        if _SAYS_NOTHING.match(word):
            continue
        depth += _TURNS.get(word, 0)
        if (depth == 1 and word == ",") or (depth == 0 and word == ")"):
            parts.append(_Part(start, end, tuple(tokens)))
            tokens = []
            if depth == 0:
                return parts
        elif depth > 1 or (depth == 1 and word != "("):
            start = start if tokens else found.start()
            end = found.end()
            tokens.append(word)
    raise DefinitionError(f"no definition of a table: {sql}")


def _is_enclosed(tokens: tuple[str, ...]) -> bool:
    """Whether brackets are around all of it, and not only around parts."""
    depth = 0
    for place, word in enumerate(tokens, start=1):
        depth += _TURNS.get(word, 0)
        if depth == 0:
            return place == len(tokens) > 1
    return False


def _plain(name: str) -> str:
    """A name without its quotes."""
    end = _QUOTES.get(name[0])
    return name if end is None else name[1:-1].replace(2 * end, end)
