"""What becomes of stored values when an attribute gets another type, and what an older revision reads then.

Owns the conversions that lose nothing: each value has exactly one counterpart, or it is in the way
of the change. They are SQL over a column, the same on every database, since the stored forms are
(see `codecs`); a `Conversion` made elsewhere, of an expression, is carried out in the same way. How
two columns are kept in step is in `sync`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from watcherd.store.codecs import TEXT_KINDS

Sql = Callable[[str], str]
"""SQL of a value made from the SQL of a value; it may name other columns of the row as well."""

_MAX_INTEGER: Final = 2**63 - 1
_MAX_EXACT_FLOAT: Final = 2**53
_DECIMAL: Final = re.compile(r"decimal\((\d+),(\d+)\)")
_MIDNIGHT: Final = "T00:00:00.000000Z"
_FORMS: Final = {
    "uuid": "________-____-____-____-____________",
    "date": "____-__-__",
    "time": "__:__:__.______",
    "datetime": "____-__-__T__:__:__.______Z",
}
"""The stored forms of text that are always of one length, as patterns of LIKE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """How stored values of one type become those of another.

    `forward` is the new value of an old one, for which `violation` (None: of none) is not true.
    `backward` is what revisions that know the old type read of a new value: null where it is none
    of theirs; of a value that they wrote it is that value again. `demand` says what the rows in the
    way are, as in `Scan`. Where `exact`, the new column says everything that the old one said; else
    the old one is parked as what the attribute was.
    """

    forward: Sql
    backward: Sql
    demand: str
    violation: Sql | None = None
    exact: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed(Conversion):
    """A conversion by an expression over the row, which has no way back: see `using`.

    `of_row` is the new value over columns behind a prefix, such as `NEW.`. `reads` are the columns
    that it is made of. `refused` is true for a row (of columns without a prefix) whose new value
    fails, or breaks a limit of the new attribute.
    """

    of_row: Sql
    refused: str
    reads: tuple[str, ...]


def widening(old: str, new: str) -> Conversion | None:
    """The conversion between two signatures (see `codecs.signature`); None where values could mean something else.

    Numbers become decimals, integers also floats, and back where no digit is lost; a date becomes
    its midnight in UTC; what has one form as text becomes text.
    """
    if new in TEXT_KINDS:
        return _to_text(old)
    before, after = _scale(old), _scale(new)
    if before is not None and after is not None:
        return Conversion(
            forward=_shifted(before[1], after[1]),
            backward=_or_null(_shifted(after[1], before[1]), _does_not_shift(after, before)),
            violation=_does_not_shift(before, after),
            demand=f"cannot be kept exactly as {new}",
        )
    return _OTHERS.get((old, new))


def _to_text(old: str) -> Conversion | None:
    if old == "integer":
        return Conversion(forward=lambda value: f"CAST({value} AS TEXT)", backward=integer_of_text, demand="")
    if old not in _FORMS:
        return None
    form = _FORMS[old]
    return Conversion(
        forward=_same, backward=lambda value: f"CASE WHEN {value} LIKE '{form}' THEN {value} END", demand=""
    )


def _scale(signature: str) -> tuple[int | None, int] | None:
    """Precision and places of what is stored as a whole number; None of what is not."""
    if signature == "integer":
        return None, 0
    found = _DECIMAL.fullmatch(signature)
    return None if found is None else (int(found[1]), int(found[2]))


def _same(value: str) -> str:
    return value


def _shifted(before: int, after: int) -> Sql:
    if after >= before:
        # As a number without bounds: what does not fit is only looked for, never stored.
        factor = 10 ** (after - before)
        return _same if factor == 1 else lambda value: f"CAST({value} AS NUMERIC) * {factor}"
    return lambda value: f"{value} / {10 ** (before - after)}"


def _does_not_shift(before: tuple[int | None, int], after: tuple[int | None, int]) -> Sql:
    """Whether a value has too many digits, before or after the point; precision counts both."""
    precision, places = after
    most = _MAX_INTEGER if precision is None else min(_MAX_INTEGER, 10**precision - 1)
    gained = places - before[1]
    if gained >= 0:
        bound = most // 10**gained
        return lambda value: f"({value} > {bound} OR {value} < -{bound})"
    divisor = 10**-gained
    return lambda value: f"({value} % {divisor} <> 0 OR {value} / {divisor} > {most} OR {value} / {divisor} < -{most})"


def _or_null(sql: Sql, violation: Sql) -> Sql:
    return lambda value: f"CASE WHEN NOT {violation(value)} THEN {sql(value)} END"


def _integer_of_float(value: str) -> str:
    whole = f"{value} BETWEEN -{_MAX_EXACT_FLOAT} AND {_MAX_EXACT_FLOAT} AND round({value}) = {value}"
    return f"CASE WHEN {whole} THEN CAST({value} AS BIGINT) END"


def integer_of_text(value: str) -> str:
    """The number in a text; null where it is not written as an integer is, or not within 64 bits."""
    rest = f"substr({value}, 2)"
    negative = f"substr({value}, 1, 1) = '-' AND {rest} <> '0' AND {_is_digits(rest, _MAX_INTEGER + 1)}"
    return f"CASE WHEN {_is_digits(value, _MAX_INTEGER)} OR ({negative}) THEN CAST({value} AS BIGINT) END"


def _is_digits(value: str, most: int) -> str:
    canonical = f"({value} = '0' OR substr({value}, 1, 1) <> '0')"
    # Of as many digits as the bound has, the order of texts is that of numbers.
    digits = len(str(most))
    bounded = f"(length({value}) < {digits} OR (length({value}) = {digits} AND {value} <= '{most}'))"
    return f"({value} <> '' AND rtrim({value}, '0123456789') = '' AND {canonical} AND {bounded})"


_OTHERS: Final = {
    ("integer", "float"): Conversion(
        forward=_same,
        backward=_integer_of_float,
        violation=lambda value: f"({value} > {_MAX_EXACT_FLOAT} OR {value} < -{_MAX_EXACT_FLOAT})",
        demand="cannot be kept exactly as float",
    ),
    ("date", "datetime"): Conversion(
        forward=lambda value: f"{value} || '{_MIDNIGHT}'",
        backward=lambda value: f"CASE WHEN {value} LIKE '%{_MIDNIGHT}' THEN substr({value}, 1, 10) END",
        demand="",
    ),
}
