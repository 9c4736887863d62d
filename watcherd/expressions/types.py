"""The types of expressions, and the values that wire values become: one reader per type.

A value outside of expressions is a wire value: what JSON carries, decimals and times as text, a
row as a mapping of them. Inside it is an `int`, `Decimal`, `float`, `str`, `bool`, `datetime`
(UTC, naive), `date`, `time`, `timedelta`, a list of these, or None. Objects stay mappings of wire
values: a field is read when it is selected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from watcherd.errors import EvaluationError


@dataclass(frozen=True, slots=True)
class Type:
    """The type of a value; `item` is that of a list's items, `fields` those of an object.

    `members` are the only texts that an enum can be; for everything else an enum is a string.
    `own` is the name of an object, as messages show it.
    """

    name: str
    item: Type | None = None
    fields: tuple[tuple[str, Type], ...] = ()
    members: tuple[str, ...] = ()
    own: str = ""

    def __str__(self) -> str:
        """As messages name it."""
        return f"list of {self.item}" if self.item is not None else self.name

    def field(self, name: str) -> Type | None:
        """The type of a field, None where there is none of this name."""
        return next((type_ for known, type_ in self.fields if known == name), None)


Scope = Mapping[str, Type]
"""The names that an expression may use, and their types."""

NULL: Final = Type("null")
BOOL: Final = Type("bool")
INT: Final = Type("int")
DECIMAL: Final = Type("decimal")
FLOAT: Final = Type("float")
STRING: Final = Type("string")
TIMESTAMP: Final = Type("timestamp")
DATE: Final = Type("date")
TIME: Final = Type("time")
DURATION: Final = Type("duration")
ANY: Final = Type("any")
"""Free-form JSON: checked when it is evaluated."""

NUMBERS: Final = frozenset({"int", "decimal", "float"})
MOMENTS: Final = frozenset({"timestamp", "date"})

Read = Callable[[Any], Any]


def list_of(item: Type) -> Type:
    """The type of a list."""
    return Type("list", item)


def enum_of(members: Iterable[str]) -> Type:
    """The type of a text that is one of a few."""
    return Type("string", members=tuple(members))


def object_of(name: str, fields: Mapping[str, Type]) -> Type:
    """The type of a row, or of anything else with named parts."""
    return Type("object", fields=tuple(sorted(fields.items())), own=name)


def fields_of(type_: Type) -> tuple[str, ...]:
    """The names of an object's fields."""
    return tuple(name for name, _ in type_.fields)


def named(type_: Type) -> str:
    """A type as messages name it: an object by its own name."""
    return type_.own or str(type_)


def reader(type_: Type) -> Read | None:
    """What makes a wire value (never None) of a type the value inside; None: it is one already."""
    if type_.item is not None:
        item = reader(type_.item)
        return None if item is None else lambda values: [None if one is None else item(one) for one in values]
    return _READERS.get(type_.name)


def read_decimal(value: Any) -> Decimal:
    """A decimal of its wire text, or of a JSON number; a float by its shortest text."""
    try:
        return Decimal(value if isinstance(value, str | int) else getattr(value, "text", None) or repr(value))
    except (InvalidOperation, ValueError) as error:
        raise EvaluationError(f"{value!r} is not a decimal") from error


def read_moment(value: Any) -> datetime:
    """A timestamp as naive UTC."""
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise EvaluationError(f"{value!r} is not a timestamp") from error
    return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)


def read_date(value: Any) -> date:
    """A calendar date."""
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise EvaluationError(f"{value!r} is not a date") from error


def read_time(value: Any) -> time:
    """A time of day."""
    try:
        return time.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise EvaluationError(f"{value!r} is not a time") from error


_DURATION: Final = re.compile(r"-?(?:\d+(?:\.\d+)?(?:h|ms|us|m|s))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|m|s)")
_MICROSECONDS: Final = {"h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000, "us": 1}


def read_duration(value: Any) -> timedelta:
    """A duration as CEL writes it: `24h`, `1h30m`, `-2.5s`."""
    if not isinstance(value, str) or _DURATION.fullmatch(value) is None:
        raise EvaluationError(f"{value!r} is not a duration such as 1h30m")
    total = sum(Decimal(number) * _MICROSECONDS[unit] for number, unit in _PART.findall(value))
    try:
        return timedelta(microseconds=int(-total if value.startswith("-") else total))
    except OverflowError as error:
        raise EvaluationError(f"{value!r} is too long a duration") from error


_READERS: Final[Mapping[str, Read]] = {
    "decimal": read_decimal,
    "float": float,
    "timestamp": read_moment,
    "date": read_date,
    "time": read_time,
    "duration": read_duration,
}


def wire(value: Any) -> Any:
    """A value from inside as a wire value; a duration as seconds, `90s`."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds") + "Z"
    if isinstance(value, time):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        whole, rest = divmod(value // timedelta(microseconds=1), 1_000_000)
        return f"{whole + Decimal(rest) / 1_000_000:f}s" if rest else f"{whole}s"
    return [wire(one) for one in value] if isinstance(value, list) else value
