"""What is asked of one entity's table: the shape of a list query, and the text of all statements.

Owns `Select`, and what is kept of it: a shape (which attributes, operators and order, not which
values) is compiled once and kept in a bounded cache of its entity; values go in by position. How a
statement is made is in `clauses`, what an operator means in `operators`.

The order is the same on every database: null comes before every value, text goes by code points,
and the key breaks ties, so that every row has its place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, NamedTuple, TypeVar

from watcherd.errors import StoreError
from watcherd.store.clauses import LIMIT, SKIP, WHERE, Clauses, Order, Statement
from watcherd.store.codecs import Codec
from watcherd.store.conditions import Conditions
from watcherd.store.dialect import Dialect
from watcherd.store.names import quoted
from watcherd.store.operators import OPERATORS, padded
from watcherd.store.tables import VERSION_COLUMN

MAX_KEYS: Final = 8192
"""How many keys one statement looks for; SQLite binds four times as many values, PostgreSQL too."""

_MAX_SHAPES: Final = 128
_NO_LIMIT: Final = 2**63 - 1

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition; several are joined by AND. `value` is what the operator takes, in wire form.

    With the operator `WHERE` it is an expression about the row, and `attribute` is empty; `now` is
    the time of day for it.
    """

    attribute: str
    operator: str
    value: Any = None
    now: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """A list query. `sort` holds (attribute, descending); the key breaks ties. `limit` None: all rows.

    `after` are the wire values of the row that the page follows, one for each entry of `ordering`;
    that row need not be there any more.
    """

    filters: tuple[Filter, ...] = ()
    sort: Order = ()
    skip: int = 0
    limit: int | None = None
    count: bool = True
    after: tuple[Any, ...] | None = None


def ordering(sort: Order, key: str) -> Order:
    """The whole order of a query: what follows the key in `sort` says nothing, and without it there are ties."""
    names = [name for name, _ in sort]
    return sort[: names.index(key) + 1] if key in names else (*sort, (key, False))


class Bound(NamedTuple):
    """SQL text and its values, stored forms, in the order of its `?`."""

    sql: str
    parameters: tuple[Any, ...]


class Statements:
    """The statements of one entity; `columns` by attribute name, in attribute order.

    `numbered` says whether the database gives a key to rows that come without, `chosen` whether
    clients may give one: then it may come again after its row was deleted. `conditions` translate
    the expressions that lists are filtered by.
    """

    def __init__(  # noqa: PLR0913 - what a table is, once for each entity of a revision
        self,
        dialect: Dialect,
        table: str,
        columns: Mapping[str, str],
        key: str,
        codecs: Mapping[str, Codec],
        *,
        numbered: bool,
        chosen: bool,
        conditions: Conditions,
    ) -> None:
        self._dialect = dialect
        self._conditions = conditions
        self._columns = columns
        self._table = table
        self._key = key
        self._codecs = codecs
        self._selects: _Recent[tuple[Statement, Statement]] = _Recent()
        self._related: _Recent[Statement] = _Recent()
        self._referring: _Recent[Statement] = _Recent()
        self._updates: _Recent[Statement] = _Recent()
        values = {name: dialect.parameter(place) for place, name in enumerate(columns.values(), 1)}
        if numbered:
            name = columns[key]
            values[name] = dialect.numbered(table, name, values[name])
        if chosen:
            # Another one than every version of a row that had this key before.
            values[VERSION_COLUMN] = dialect.first_version
        # The simple ones by hand: SQLAlchemy takes a millisecond for them, and an edit makes them anew.
        shown = ", ".join(quoted(name) for name in (*columns.values(), VERSION_COLUMN))
        one = f"FROM {quoted(table)} WHERE {quoted(columns[key])} = {dialect.parameter(1)}"
        self.get = f"SELECT {shown} {one}"
        self.get_to_change = self.get + dialect.locked
        self.version = f"SELECT {quoted(VERSION_COLUMN)} {one}{dialect.locked}"
        self.delete = f"DELETE {one}"
        named = ", ".join(quoted(name) for name in values)
        self.insert_only = f"INSERT INTO {quoted(table)} ({named}) VALUES ({', '.join(values.values())})"  # noqa: S608 - quoted names
        self.insert = f"{self.insert_only} RETURNING {shown}"

    def update(self, names: tuple[str, ...]) -> Statement:
        """UPDATE of some attributes of one row: the values in the order of `names`, then the key."""
        return self._updates.get(names, lambda: self._clauses().update(names))

    def select(self, query: Select) -> tuple[Bound, Bound]:
        """The rows of a query, and their count. StoreError for what the entity does not have."""
        limit = _NO_LIMIT if query.limit is None else query.limit
        values: dict[str, Any] = {LIMIT: limit, SKIP: query.skip}
        filters = []
        for place, one in enumerate(query.filters):
            if one.operator == WHERE:
                filters.append((self._conditions.sql(one.value, one.now), WHERE, 0))
                continue
            bound = self._bound(one)
            filters.append((one.attribute, one.operator, len(bound)))
            values.update({f"f{place}_{number}": value for number, value in enumerate(bound)})
        order = ordering(query.sort, self._key)
        after = None
        if query.after is not None:
            after = tuple(value is None for value in query.after)
            for place, ((name, _), wire) in enumerate(zip(order, query.after, strict=True)):
                values[f"a{place}"] = self._codecs[name].stored(wire)
        shape = (tuple(filters), order, after)
        rows, count = self._selects.get(shape, lambda: self._select(*shape))
        return _filled(rows, values), _filled(count, values)

    def related(self, attribute: str, wanted: Sequence[Any], limit: int) -> Bound:
        """The rows whose attribute has one of these values, at most `MAX_KEYS` of them, in order of the key."""
        codec = self._codecs[attribute]
        values = padded([codec.stored(value) for value in wanted])
        shape = (attribute, len(values))
        statement = self._related.get(shape, lambda: self._clauses().select_related(*shape))
        named = {f"f{number}": value for number, value in enumerate(values)}
        return _filled(statement, {**named, LIMIT: limit, SKIP: 0})

    def referring(self, attribute: str, keys: Sequence[Any], after: Any, limit: int) -> Bound:
        """The rows whose attribute has one of these values, in order of the key, locked to be changed.

        `keys` are at most `MAX_KEYS`; `after` is the stored key that they follow, None: from the first on.
        """
        wanted = padded([self._codecs[attribute].stored(key) for key in keys])
        shape = (attribute, len(wanted), after is not None)
        statement = self._referring.get(shape, lambda: self._clauses().select_referring(*shape))
        named = {f"f{number}": value for number, value in enumerate(wanted)}
        return _filled(statement, {**named, "after": after, LIMIT: limit, SKIP: 0})

    def emptying(self, attribute: str, keys: Sequence[Any], values: Mapping[str, Any], limit: int) -> Bound:
        """UPDATE of some of the rows whose attribute has one of these values: that becomes null, and `values` are set.

        Answers the rows as they are then; `limit` of them at most.
        """
        wanted = padded([self._codecs[attribute].stored(key) for key in keys])
        names = tuple(values)
        shape = (attribute, len(wanted), names)
        statement = self._referring.get(("emptying", *shape), lambda: self._clauses().update_referring(*shape))
        named = {f"f{number}": value for number, value in enumerate(wanted)}
        stored = {f"v{place}": self._codecs[name].stored(values[name]) for place, name in enumerate(names)}
        return _filled(statement, {**named, **stored, LIMIT: limit, SKIP: 0})

    def _bound(self, one: Filter) -> tuple[Any, ...]:
        self._refuse_unknown(one.attribute)
        if one.operator not in OPERATORS:
            raise StoreError(f"cannot filter by {one.attribute} with the operator {one.operator!r}")
        return OPERATORS[one.operator].bind(self._codecs[one.attribute], one.value)

    def _select(
        self, filters: tuple[tuple[str, str, int], ...], order: Order, after: tuple[bool, ...] | None
    ) -> tuple[Statement, Statement]:
        for name, _ in order:
            self._refuse_unknown(name)
        return self._clauses().select(filters, order, after)

    def _refuse_unknown(self, name: str) -> None:
        """StoreError for what the entity does not have."""
        if name not in self._columns:
            raise StoreError(f"cannot query by {name}: the entity has no such attribute")

    def _clauses(self) -> Clauses:
        return Clauses(self._dialect, self._table, self._columns, self._key)


class _Recent(Generic[V]):
    """A bounded memory of what was made: what was not asked for longest goes first.

    For several threads: the event loop's, the writer's, and those of handlers.
    """

    def __init__(self) -> None:
        self._made: dict[object, V] = {}
        self._lock = threading.Lock()

    def get(self, shape: object, make: Callable[[], V]) -> V:
        with self._lock:
            found = self._made.pop(shape, None)
            if found is None:
                found = make()
                while len(self._made) >= _MAX_SHAPES:
                    del self._made[next(iter(self._made))]
            self._made[shape] = found
            return found


def _filled(statement: Statement, values: Mapping[str, Any]) -> Bound:
    return Bound(statement.sql, tuple(values[name] for name in statement.binds))
