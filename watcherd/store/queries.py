"""What is asked of one entity's table: the shape of a list query, and the text of all statements.

Owns `Select` and its compilation: filters, order, and where a page begins. A shape (which
attributes, operators and order, not which values) is compiled once and kept in a bounded cache of
its entity; values go in by position. What an operator means is in `operators`.

The order is the same on every database: null comes before every value, text goes by code points,
and the key breaks ties, so that every row has its place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.sql.compiler import SQLCompiler

from watcherd.errors import StoreError
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
_LIMIT: Final = "limit"
_SKIP: Final = "skip"

WHERE: Final = "where"

V = TypeVar("V")
Order = tuple[tuple[str, bool], ...]


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


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text and, in the order of its parameters, what each of them is."""

    sql: str
    binds: tuple[str, ...]


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
        self._columns = {name: _column(column) for name, column in columns.items()}
        self._table = sa.table(sa.sql.quoted_name(table, quote=True), *self._columns.values(), _column(VERSION_COLUMN))
        self._key = key
        self._codecs = codecs
        self._selects: _Recent[tuple[Statement, Statement]] = _Recent()
        self._related: _Recent[Statement] = _Recent()
        self._referring: _Recent[Statement] = _Recent()
        self._updates: _Recent[Statement] = _Recent()
        row = (*self._columns.values(), self._table.c[VERSION_COLUMN])
        self._row = row
        values = {name: dialect.parameter(place) for place, name in enumerate(columns.values(), 1)}
        if numbered:
            name = columns[key]
            values[name] = dialect.numbered(table, name, values[name])
        if chosen:
            # Another one than every version of a row that had this key before.
            values[VERSION_COLUMN] = dialect.first_version
        # The simple ones by hand: SQLAlchemy takes a millisecond for them, and an edit makes them anew.
        shown = ", ".join(quoted(column.name) for column in row)
        one = f"FROM {quoted(table)} WHERE {quoted(self._columns[key].name)} = {dialect.parameter(1)}"
        self.get = f"SELECT {shown} {one}"
        self.get_to_change = self.get + dialect.locked
        self.version = f"SELECT {quoted(VERSION_COLUMN)} {one}{dialect.locked}"
        self.delete = f"DELETE {one}"
        named = ", ".join(quoted(name) for name in values)
        self.insert_only = f"INSERT INTO {quoted(table)} ({named}) VALUES ({', '.join(values.values())})"  # noqa: S608 - quoted names
        self.insert = f"{self.insert_only} RETURNING {shown}"

    def update(self, names: tuple[str, ...]) -> Statement:
        """UPDATE of some attributes of one row: the values in the order of `names`, then the key."""
        return self._updates.get(names, lambda: self._update(names))

    def select(self, query: Select) -> tuple[Bound, Bound]:
        """The rows of a query, and their count. StoreError for what the entity does not have."""
        limit = _NO_LIMIT if query.limit is None else query.limit
        values: dict[str, Any] = {_LIMIT: limit, _SKIP: query.skip}
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
        statement = self._related.get((attribute, len(values)), lambda: self._select_related(attribute, len(values)))
        named = {f"f{number}": value for number, value in enumerate(values)}
        return _filled(statement, {**named, _LIMIT: limit, _SKIP: 0})

    def referring(self, attribute: str, keys: Sequence[Any], after: Any, limit: int) -> Bound:
        """The rows whose attribute has one of these values, in order of the key, locked to be changed.

        `keys` are at most `MAX_KEYS`; `after` is the stored key that they follow, None: from the first on.
        """
        wanted = padded([self._codecs[attribute].stored(key) for key in keys])
        shape = (attribute, len(wanted), after is not None)
        statement = self._referring.get(shape, lambda: self._select_referring(*shape))
        named = {f"f{number}": value for number, value in enumerate(wanted)}
        return _filled(statement, {**named, "after": after, _LIMIT: limit, _SKIP: 0})

    def emptying(self, attribute: str, keys: Sequence[Any], values: Mapping[str, Any], limit: int) -> Bound:
        """UPDATE of some of the rows whose attribute has one of these values: that becomes null, and `values` are set.

        Answers the rows as they are then; `limit` of them at most.
        """
        wanted = padded([self._codecs[attribute].stored(key) for key in keys])
        names = tuple(values)
        shape = ("emptying", attribute, len(wanted), names)
        statement = self._referring.get(shape, lambda: self._update_referring(attribute, len(wanted), names))
        named = {f"f{number}": value for number, value in enumerate(wanted)}
        stored = {f"v{place}": self._codecs[name].stored(values[name]) for place, name in enumerate(names)}
        return _filled(statement, {**named, **stored, _LIMIT: limit, _SKIP: 0})

    def _bound(self, one: Filter) -> tuple[Any, ...]:
        self._attribute(one.attribute)
        if one.operator not in OPERATORS:
            raise StoreError(f"cannot filter by {one.attribute} with the operator {one.operator!r}")
        return OPERATORS[one.operator].bind(self._codecs[one.attribute], one.value)

    def _update(self, names: tuple[str, ...]) -> Statement:
        version = self._table.c[VERSION_COLUMN]
        values: dict[str, Any] = {
            self._columns[name].name: sa.bindparam(f"v{place}") for place, name in enumerate(names)
        }
        identified = self._columns[self._key] == sa.bindparam("key")
        statement = sa.update(self._table).values({**values, VERSION_COLUMN: version + sa.literal_column("1")})
        return self._compiled(statement.where(identified).returning(*self._row))

    def _select(
        self, filters: tuple[tuple[str, str, int], ...], order: Order, after: tuple[bool, ...] | None
    ) -> tuple[Statement, Statement]:
        where = [self._condition(place, *one) for place, one in enumerate(filters)]
        page = where if after is None else [*where, self._follows(order, after)]
        rows = sa.select(*self._row).where(*page).order_by(*(self._ordered(*one) for one in order))
        rows = rows.limit(sa.bindparam(_LIMIT)).offset(sa.bindparam(_SKIP))
        count = sa.select(sa.func.count()).select_from(self._table).where(*where)
        return self._compiled(rows), self._compiled(count)

    def _condition(self, place: int, attribute: str, operator: str, length: int) -> sa.ColumnElement[bool]:
        if operator == WHERE:
            return sa.literal_column(attribute, sa.Boolean)
        values: list[sa.BindParameter[Any]] = [sa.bindparam(f"f{place}_{number}") for number in range(length)]
        return OPERATORS[operator].condition(self._dialect, self._columns[attribute], values)

    def _select_related(self, attribute: str, length: int) -> Statement:
        column = self._attribute(attribute)
        among = column.in_([sa.bindparam(f"f{number}") for number in range(length)])
        rows = sa.select(*self._row).where(among).order_by(self._columns[self._key].asc())
        return self._compiled(rows.limit(sa.bindparam(_LIMIT)).offset(sa.bindparam(_SKIP)))

    def _select_referring(self, attribute: str, length: int, follows: bool) -> Statement:  # noqa: FBT001 - of a shape
        key = self._columns[self._key]
        among = self._attribute(attribute).in_([sa.bindparam(f"f{number}") for number in range(length)])
        where = [among, key > sa.bindparam("after")] if follows else [among]
        rows = sa.select(*self._row).where(*where).order_by(key.asc())
        compiled = self._compiled(rows.limit(sa.bindparam(_LIMIT)).offset(sa.bindparam(_SKIP)))
        return Statement(compiled.sql + self._dialect.locked, compiled.binds)

    def _update_referring(self, attribute: str, length: int, names: tuple[str, ...]) -> Statement:
        """Of the rows that are found, each still has to refer when it is locked."""
        key, column = self._columns[self._key], self._attribute(attribute)
        among = column.in_([sa.bindparam(f"f{number}") for number in range(length)])
        found = sa.select(key).where(among).limit(sa.bindparam(_LIMIT)).offset(sa.bindparam(_SKIP))
        values: dict[str, Any] = {
            self._columns[name].name: sa.bindparam(f"v{place}") for place, name in enumerate(names)
        }
        version = self._table.c[VERSION_COLUMN]
        values |= {column.name: sa.null(), VERSION_COLUMN: version + sa.literal_column("1")}
        statement = sa.update(self._table).values(values).where(among, key.in_(found))
        return self._compiled(statement.returning(*self._row))

    def _ordered(self, name: str, descending: bool) -> sa.ColumnElement[Any]:  # noqa: FBT001 - a pair of `sort`
        column = self._attribute(name)
        if name == self._key:
            return column.desc() if descending else column.asc()
        return column.desc().nulls_last() if descending else column.asc().nulls_first()

    def _follows(self, order: Order, nulls: tuple[bool, ...]) -> sa.ColumnElement[bool]:
        """A row comes later if it is beyond in the first attribute in which it differs."""
        later: list[sa.ColumnElement[bool]] = []
        same: list[sa.ColumnElement[bool]] = []
        for place, ((name, descending), is_null) in enumerate(zip(order, nulls, strict=True)):
            column = self._attribute(name)
            value: sa.BindParameter[Any] = sa.bindparam(f"a{place}")
            beyond: sa.ColumnElement[bool] | None = column < value if descending else column > value
            if is_null:
                beyond = None if descending else column.is_not(None)
            elif descending and name != self._key:
                beyond = sa.or_(column < value, column.is_(None))
            if beyond is not None:
                later.append(sa.and_(*same, beyond))
            same.append(column.is_(None) if is_null else column == value)
        (first, descending), *_ = order
        if descending or nulls[0] or len(order) == 1:
            return sa.or_(*later)
        # Says nothing new, but an index on the first attribute can begin there.
        return sa.and_(self._columns[first] >= sa.bindparam("a0"), sa.or_(*later))

    def _attribute(self, name: str) -> sa.ColumnClause[Any]:
        if name not in self._columns:
            raise StoreError(f"cannot query by {name}: the entity has no such attribute")
        return self._columns[name]

    def _compiled(self, statement: sa.ClauseElement) -> Statement:
        compiled = cast("SQLCompiler", statement.compile(dialect=self._dialect.compiler))
        return Statement(str(compiled), tuple(compiled.positiontup or ()))


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


def _column(name: str) -> sa.ColumnClause[Any]:
    return sa.column(sa.sql.quoted_name(name, quote=True))
