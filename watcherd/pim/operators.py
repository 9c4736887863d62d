"""Which operators conditions on an attribute may have, by its type: in query strings and in flows."""

from __future__ import annotations

from collections.abc import Mapping

from watcherd.pim.spec import Attribute, Kind

EQUALITY = ("eq", "ne")
ORDER = ("gt", "gte", "lt", "lte")
MEMBERSHIP = ("in", "not_in")
TEXT = ("contains", "icontains", "startswith", "endswith")
NULL = ("isnull",)

TEXTS = frozenset({Kind.STRING, Kind.TEXT, Kind.EMAIL, Kind.URL})
_BY_KIND: Mapping[Kind, tuple[str, ...]] = {
    **dict.fromkeys(TEXTS, (*EQUALITY, *ORDER, *MEMBERSHIP, *TEXT, *NULL)),
    **dict.fromkeys(
        (Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL, Kind.DATETIME, Kind.DATE, Kind.TIME, Kind.UUID),
        (*EQUALITY, *ORDER, *MEMBERSHIP, *NULL),
    ),
    **dict.fromkeys((Kind.ENUM, Kind.REFERENCE), (*EQUALITY, *MEMBERSHIP, *NULL)),
    Kind.BOOLEAN: (*EQUALITY, *NULL),
    Kind.JSON: NULL,
}
_LIST = ("contains", *NULL)


def operators_of(attribute: Attribute) -> tuple[str, ...]:
    """The operators that an attribute knows; a key is never null."""
    if attribute.is_list:
        return NULL if attribute.kind is Kind.JSON else _LIST
    known = _BY_KIND[Kind.ENUM if attribute.members else attribute.kind]
    return tuple(name for name in known if name not in NULL) if attribute.primary_key else known
