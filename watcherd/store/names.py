"""Physical names: what a table or a column is called when it is first made.

Owns the conversion of the model's names into names that every database takes. Does not own what
is in use: once made, a name is looked up in the catalog and never computed again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Container, Iterable

MAX_BYTES = 63
"""The longest identifier of PostgreSQL in UTF-8; SQLite has no limit of its own."""

_HASH_DIGITS = 8
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_RESERVED_PREFIXES = ("sqlite_", "watcherd_")
_SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
"""What every table of PostgreSQL has; a bounding box has some of them, too."""


class Names(set[str]):
    """Names in use, held folded: a name is among them in any case."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        super().__init__(name.casefold() for name in names)

    def __contains__(self, name: object) -> bool:
        """Whether the name, in any case, is in use."""
        return super().__contains__(str(name).casefold())

    def add(self, name: str) -> None:
        """Use a name."""
        super().add(name.casefold())


def table_name(model: str, entity: str, *taken: Container[str]) -> str:
    """`{model}__{entity}` in snake_case; `taken` are the table names in use (see `Names`)."""
    name = f"{snake_case(model)}__{snake_case(entity)}"
    if name.startswith(_RESERVED_PREFIXES):
        # SQLite keeps `sqlite_` for itself, and the catalog has `watcherd_`.
        name = f"x_{name}"
    return _free(name, *taken)


def column_name(attribute: str, taken: Collection[str]) -> str:
    """The attribute's name in snake_case; `taken` are the column names of its table, in any case."""
    return _free(snake_case(attribute), taken if isinstance(taken, Names) else Names(taken), _SYSTEM_COLUMNS)


def constraint_name(prefix: str, table: str, columns: Collection[str], definition: str, *, room_for: str = "") -> str:
    """The name of an index or trigger: readable, and another one for each definition.

    A changed definition is another object, so that old and new can be there at the same time.
    `room_for` is a suffix that the caller will add.
    """
    text = f"{prefix}__{table}__{'__'.join(columns)}"
    return shortened(text, f"{table} {definition}", max_bytes=MAX_BYTES - len(room_for))


def snake_case(name: str) -> str:
    """`OrderItem` -> `order_item`, `HTTPServer` -> `http_server`; letters of other scripts stay."""
    return _WORD_START.sub("_", name).replace("-", "_").lower()


def shortened(name: str, distinguished_by: str, max_bytes: int = MAX_BYTES) -> str:
    """The name with a hash of what distinguishes it, cut to `max_bytes` of UTF-8."""
    digest = hashlib.sha256(distinguished_by.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
    room = max_bytes - _HASH_DIGITS - 1
    return f"{name.encode()[:room].decode('utf-8', 'ignore')}_{digest}"


def alias(attribute: str) -> str:
    """What an attribute is called in a subselect, quoted: never a word, nor cut.

    SQLite takes no `true` or `false` for the name of such a column, and reads a text in quotes instead;
    in `json_each("value")` it finds the function's own; PostgreSQL cuts long names, which may be one then.
    """
    return quoted(shortened(attribute, attribute))


def quoted(name: str) -> str:
    """The name as SQL writes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def _free(name: str, *taken: Container[str]) -> str:
    wanted = name if len(name.encode()) <= MAX_BYTES else shortened(name, name)
    candidate, number = wanted, 1
    while any(candidate in names for names in taken):
        number += 1
        candidate = f"{wanted}_{number}"
        if len(candidate.encode()) > MAX_BYTES:
            candidate = shortened(wanted, candidate)
    return candidate
