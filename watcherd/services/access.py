"""What a method's code may do with the rows of an entity, and the Python types that values have there.

Owns the protocol, which `compile` implements on the same validators and rules as the public API,
and the way of values between the wire and Python: decimals are `Decimal` and never floats, times
are aware `datetime`s in UTC. All operations are functions over a cursor, run inside a transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID

from watcherd.pim.spec import Kind
from watcherd.store import Cursor, Row

T = TypeVar("T")
Step = Callable[[Cursor], T]
Plain = Callable[[Any], Any]
"""What makes a Python value of a wire value that is not null."""


class Found(dict[str, Any]):
    """One row: its values by attribute, and the version that it had when it was read."""

    __slots__ = ("version",)

    def __init__(self, values: Mapping[str, Any], version: int) -> None:
        super().__init__(values)
        self.version = version


class EntityAccess(Protocol):
    """One entity, in wire values. What is not valid raises `Problem`, what the database refuses `ConstraintError`."""

    @property
    def name(self) -> str:
        """The entity, as declared."""

    def found(self, row: Row) -> Found:
        """A row with its values in Python's types."""

    def get(self, key: Any) -> Step[Row | None]:
        """The row of this key, None where there is none."""

    def find(self, conditions: Mapping[str, Any], *, sort: str | None, limit: int | None, skip: int) -> Step[list[Row]]:
        """The rows that meet all conditions: `{"stock__gte": 1}`, operators as in the query language of lists."""

    def create(self, values: Mapping[str, Any]) -> Step[Row]:
        """A new row."""

    def update(self, key: Any, changes: Mapping[str, Any], *, version: int | None) -> Step[Row]:
        """A row with some values changed. `Problem` 404 where there is none, 412 where it is not at `version`."""

    def delete(self, key: Any, *, version: int | None) -> Step[None]:
        """A row less. `Problem` as for `update`."""


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


PYTHON: Final[Mapping[Kind, Plain]] = MappingProxyType(
    {Kind.DECIMAL: Decimal, Kind.DATETIME: _moment, Kind.DATE: date.fromisoformat, Kind.TIME: time.fromisoformat}
)
"""How values of these kinds come to Python; those of all others are what JSON makes of them."""


def plain(kind: Kind, *, is_list: bool) -> Plain | None:
    """How values of an attribute or parameter come to Python; None where they are so already."""
    one = PYTHON.get(kind)
    if one is None or not is_list:
        return one
    return lambda items: [None if item is None else one(item) for item in items]


def wire(value: Any) -> Any:  # noqa: PLR0911 - one return a type
    """A value of Python as a client would send it: what then still does not fit is for the validators to say."""
    if isinstance(value, Enum):
        return wire(value.value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        moment = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
        return moment.isoformat(timespec="microseconds") + "Z"
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): wire(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [wire(item) for item in value]
    raise TypeError(f"{type(value).__name__} is no value that an attribute or an answer can have: {value!r:.100}")
