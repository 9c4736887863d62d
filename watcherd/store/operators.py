"""What can be asked of a column: each operator as SQL, and the values that it binds.

Owns the operators and what it means that case does not matter. Does not own which attribute knows
which operator (compile), nor what databases say differently (dialect).

Text is compared by code points, on every database. `ne` and `not_in` are the opposites of `eq` and
`in`: a row without a value is in their answer. No other operator but `is_null` finds such a row.
"""

from __future__ import annotations

import sqlite3
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from watcherd.store.codecs import Codec
from watcherd.store.dialect import FOLD, Dialect

_LAST_BEFORE_SURROGATES, _FIRST_AFTER_SURROGATES = 0xD7FF, 0xE000

Column = sa.ColumnClause[Any]
Values = Sequence[sa.BindParameter[Any]]


@dataclass(frozen=True, slots=True)
class Operator:
    """`bind` makes stored values of a wire value, `condition` the SQL for as many of them.

    For one operator and one number of values the SQL is always the same: it is compiled once.
    """

    bind: Callable[[Codec, Any], tuple[Any, ...]]
    condition: Callable[[Dialect, Column, Values], sa.ColumnElement[bool]]


def install(connection: sqlite3.Connection) -> None:
    """Give a connection what `icontains` needs: SQLite itself folds the case of ASCII alone."""
    connection.create_function(FOLD, 1, folded, deterministic=True)


def folded(text: str | None) -> str | None:
    """A text without case, accents in their composed form: `Straße` and `STRASSE` become the same.

    Through capitals, which every database can make, while few can fold: `ı` becomes `I` as well.
    """
    if text is None or text.isascii():
        return text and text.upper()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower().upper())


def padded(values: Sequence[Any]) -> tuple[Any, ...]:
    """The values, the last one repeated up to a power of two: few lengths, so few statements."""
    length = 1 << max(len(values) - 1, 0).bit_length()
    return (*values, *(values[-1] for _ in range(length - len(values))))


def _one(codec: Codec, value: Any) -> tuple[Any, ...]:
    return (codec.stored(value),)


def _many(codec: Codec, values: Sequence[Any]) -> tuple[Any, ...]:
    return padded([codec.stored(value) for value in values])


def _prefix(codec: Codec, text: str) -> tuple[Any, ...]:
    """The first text with a prefix, and the first text after all of them, if there is one."""
    last = text.rstrip(chr(sys.maxunicode))
    if not last:
        return (codec.stored(text),)
    following = ord(last[-1]) + 1
    if following == _LAST_BEFORE_SURROGATES + 1:
        following = _FIRST_AFTER_SURROGATES
    return codec.stored(text), codec.stored(last[:-1] + chr(following))


def _begins(_: Dialect, column: Column, values: Values) -> sa.ColumnElement[bool]:
    # A range and no pattern: an index answers it, and no character means more than itself.
    return sa.and_(column >= values[0], *(column < end for end in values[1:]))


def _ends(_: Dialect, column: Column, values: Values) -> sa.ColumnElement[bool]:
    # Where the text is shorter than the ending, what is left of it is shorter too, so never equal.
    start = sa.func.length(column) - sa.func.length(values[0]) + sa.literal_column("1")
    return sa.func.substr(column, start) == values[0]


OPERATORS: Final[Mapping[str, Operator]] = {
    "eq": Operator(_one, lambda _, column, values: column == values[0]),
    "ne": Operator(_one, lambda _, column, values: column.is_distinct_from(values[0])),
    "gt": Operator(_one, lambda _, column, values: column > values[0]),
    "gte": Operator(_one, lambda _, column, values: column >= values[0]),
    "lt": Operator(_one, lambda _, column, values: column < values[0]),
    "lte": Operator(_one, lambda _, column, values: column <= values[0]),
    "in": Operator(_many, lambda _, column, values: column.in_(values)),
    "not_in": Operator(_many, lambda _, column, values: sa.or_(column.not_in(values), column.is_(None))),
    "contains": Operator(_one, lambda dialect, column, values: dialect.contains(column, values[0])),
    "icontains": Operator(
        lambda codec, text: (folded(codec.stored(text)),),
        lambda dialect, column, values: dialect.contains(sa.Function(FOLD, column), values[0]),
    ),
    "startswith": Operator(_prefix, _begins),
    "endswith": Operator(_one, _ends),
    "has_item": Operator(
        lambda codec, item: (codec.stored([item]),),
        lambda dialect, column, values: dialect.has_item(column, values[0]),
    ),
    "is_null": Operator(lambda _, __: (), lambda _, column, __: column.is_(None)),
    "is_not_null": Operator(lambda _, __: (), lambda _, column, __: column.is_not(None)),
}
"""By the name that a `Filter` gives; `in` and `not_in` take a sequence of at least one, `is_null` nothing."""
