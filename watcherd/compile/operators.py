"""Which operators an attribute knows in a query string, and how their values are read.

Owns the operators by type, `in` lists, and the bounds of what one request may ask. Does not own
what an operator finds (store) nor how a query string is taken apart (query).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from watcherd.compile import values
from watcherd.compile.remembering import Remembered
from watcherd.compile.validators import Targets
from watcherd.compile.values import Reader
from watcherd.pim.operators import MEMBERSHIP, ORDER, TEXT, TEXTS, operators_of
from watcherd.pim.spec import Attribute, Kind
from watcherd.store import Filter

MAX_TEXT = 4000
MAX_VALUES = 1000

# One value of a list: in quotes it may hold commas, and a quote that is written twice.
_ITEM = re.compile(r'"((?:[^"]|"")*)"(?=,|$)|([^,]*)')


@dataclass(frozen=True, slots=True)
class Filterable:
    """What a query may say of one attribute.

    `read` reads one value, of a list one item; None where there is nothing to compare. `read_text`
    reads what is compared with it as text: a part, a bound, or where a page begins. `why` says why
    there is no equality.
    """

    name: str
    operators: tuple[str, ...]
    read: Reader | None
    read_text: Reader
    is_list: bool
    why: str


def filterable(attribute: Attribute, targets: Targets) -> Filterable:
    """What a query may say of an attribute."""
    return _filterable(attribute, values.resolve(attribute, targets))


@Remembered
def _filterable(attribute: Attribute, actual: Attribute) -> Filterable:
    """The same, given what its values are."""
    operators = operators_of(attribute)
    read = None
    if attribute.kind is not Kind.JSON:
        read = _query_reader(replace(actual, is_list=False) if actual.is_list else actual)
    as_text = is_text(attribute, actual)
    return Filterable(
        name=attribute.name,
        operators=operators,
        read=read,
        read_text=values.plain_text if as_text or read is None else read,
        is_list=attribute.is_list,
        why=f"{attribute.name} is {'a list' if attribute.is_list else 'free-form JSON'}, "
        "it cannot be compared with a value"
        if "eq" not in operators
        else "",
    )


def is_text(attribute: Attribute, actual: Attribute) -> bool:
    """Whether what an attribute is ordered by and searched for is any text; `actual` is what its values are."""
    return not attribute.is_list and (actual.kind in TEXTS or bool(attribute.members))


def read_filter(item: Filterable, operator: str, text: str) -> Filter:
    """The condition that a parameter states. ValueError for a value that its operator does not take."""
    if operator == "isnull":
        return Filter(item.name, "is_null" if values.boolean(text) else "is_not_null")
    assert item.read is not None  # noqa: S101 - an attribute without a reader knows `isnull` alone
    if operator in MEMBERSHIP:
        return Filter(item.name, operator, tuple(item.read(_bounded(part)) for part in split_list(text)))
    if item.is_list:
        return Filter(item.name, "has_item", item.read(_bounded(text)))
    read = item.read_text if operator in ORDER or operator in TEXT else item.read
    return Filter(item.name, operator, read(_bounded(text)))


def split_list(text: str) -> list[str]:
    """`a,b` and `"a,b",c`: the values. ValueError when there are too many."""
    parts: list[str] = []
    place = 0
    while True:
        found = _ITEM.match(text, place)
        assert found is not None  # noqa: S101 - its second form matches everything
        parts.append(found[2] if found[1] is None else found[1].replace('""', '"'))
        if len(parts) > MAX_VALUES:
            raise ValueError(f"expected at most {MAX_VALUES} values")
        place = found.end() + 1
        if place > len(text):
            return parts


def value_count(filters: Collection[Filter]) -> int:
    """How many values a request compares with in all."""
    return sum(len(one.value) if isinstance(one.value, tuple) else 1 for one in filters)


def _bounded(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError(f"expected at most {MAX_TEXT} characters")
    return values.plain_text(text)


def _query_reader(actual: Attribute) -> Reader:
    read = values.text_reader(actual, {})
    if actual.kind is Kind.DATETIME:
        # A `+` that nobody escaped arrives as a space: no date and time has one before its offset.
        return lambda text: read(text[:-6] + "+" + text[-5:] if text[-6:-5] == " " and ":" in text[-5:] else text)
    return read
