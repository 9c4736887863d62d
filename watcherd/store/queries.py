"""What is asked of one entity's table: the shape of a list query, and the text of all statements.

Owns `Select` and its compilation. A shape (which attributes, operators and order, not which values)
is compiled once and kept in a bounded cache of its entity; values go in by position.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.sql.compiler import SQLCompiler

from watcherd.errors import StoreError
from watcherd.store.codecs import Codec
from watcherd.store.dialect import Dialect
from watcherd.store.tables import VERSION_COLUMN

_MAX_SHAPES: Final = 128
_NO_LIMIT: Final = 2**63 - 1
_LIMIT: Final = "limit"
_SKIP: Final = "skip"

V = TypeVar("V")
Condition = Callable[[sa.ColumnClause[Any], sa.BindParameter[Any]], sa.ColumnElement[bool]]

OPERATORS: Final[Mapping[str, Condition]] = {
    "eq": lambda column, value: column == value,
}
"""Operator name to SQL, for values that are not null."""

NULL_OPERATORS: Final[Mapping[str, Callable[[sa.ColumnClause[Any]], sa.ColumnElement[bool]]]] = {
    "eq": lambda column: column.is_(None),
}
"""The same for null, which SQL compares with nothing."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition; several are joined by AND. `value` is a wire value, None means null."""

    attribute: str
    operator: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """A list query. `sort` holds (attribute, descending); the key breaks ties. `limit` None: all rows."""

    filters: tuple[Filter, ...] = ()
    sort: tuple[tuple[str, bool], ...] = ()
    skip: int = 0
    limit: int | None = None
    count: bool = True


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text and, in the order of its parameters, what each of them is."""

    sql: str
    binds: tuple[str, ...]


class Statements:
    """The statements of one entity; `columns` by attribute name, in attribute order.

    `numbered` says whether the database gives a key to rows that come without.
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
    ) -> None:
        self._dialect = dialect
        self._columns = {name: _column(column) for name, column in columns.items()}
        self._table = sa.table(sa.sql.quoted_name(table, quote=True), *self._columns.values(), _column(VERSION_COLUMN))
        self._key = key
        self._codecs = codecs
        self._selects: _Recent[tuple[Statement, Statement]] = _Recent()
        self._updates: _Recent[Statement] = _Recent()
        row = (*self._columns.values(), self._table.c[VERSION_COLUMN])
        self._row = row
        identified = self._columns[key] == sa.bindparam("key")
        values: dict[str, Any] = {
            column.name: sa.bindparam(f"v{place}") for place, column in enumerate(self._columns.values())
        }
        if numbered:
            name = self._columns[key].name
            values[name] = dialect.numbered(table, name, values[name])
        self.get = self._compiled(sa.select(*row).where(identified)).sql
        self.get_to_change = self._compiled(sa.select(*row).where(identified).with_for_update()).sql
        insert = sa.insert(self._table).values(values)
        self.insert = self._compiled(insert.returning(*row)).sql
        self.insert_only = self._compiled(insert).sql
        self.version = self._compiled(sa.select(self._table.c[VERSION_COLUMN]).where(identified).with_for_update()).sql
        self.delete = self._compiled(sa.delete(self._table).where(identified)).sql

    def update(self, names: tuple[str, ...]) -> Statement:
        """UPDATE of some attributes of one row: the values in the order of `names`, then the key."""
        return self._updates.get(names, lambda: self._update(names))

    def select(self, query: Select) -> tuple[Statement, Statement]:
        """The rows and their count for the shape of a query. StoreError for what the entity does not have."""
        shape = (
            tuple((one.attribute, one.operator, one.value is None) for one in query.filters),
            query.sort,
        )
        return self._selects.get(shape, lambda: self._select(query))

    def parameters(self, statement: Statement, query: Select) -> tuple[Any, ...]:
        """The values of a query, stored forms, in the order of the statement."""
        limit = _NO_LIMIT if query.limit is None else query.limit
        values: dict[str, Any] = {_LIMIT: limit, _SKIP: query.skip}
        for place, one in enumerate(query.filters):
            if one.value is not None:
                values[f"f{place}"] = self._codecs[one.attribute].stored(one.value)
        return tuple(values[name] for name in statement.binds)

    def _update(self, names: tuple[str, ...]) -> Statement:
        version = self._table.c[VERSION_COLUMN]
        values: dict[str, Any] = {
            self._columns[name].name: sa.bindparam(f"v{place}") for place, name in enumerate(names)
        }
        identified = self._columns[self._key] == sa.bindparam("key")
        statement = sa.update(self._table).values({**values, VERSION_COLUMN: version + sa.literal_column("1")})
        return self._compiled(statement.where(identified).returning(*self._row))

    def _select(self, query: Select) -> tuple[Statement, Statement]:
        where = [self._condition(place, one) for place, one in enumerate(query.filters)]
        order = [
            column.desc().nulls_last() if descending else column.asc().nulls_first()
            for column, descending in ((self._attribute(name), descending) for name, descending in query.sort)
        ]
        if all(name != self._key for name, _ in query.sort):
            order.append(self._columns[self._key].asc())
        rows = sa.select(*self._row).where(*where).order_by(*order)
        rows = rows.limit(sa.bindparam(_LIMIT)).offset(sa.bindparam(_SKIP))
        count = sa.select(sa.func.count()).select_from(self._table).where(*where)
        return self._compiled(rows), self._compiled(count)

    def _condition(self, place: int, one: Filter) -> sa.ColumnElement[bool]:
        column = self._attribute(one.attribute)
        if one.value is None and one.operator in NULL_OPERATORS:
            return NULL_OPERATORS[one.operator](column)
        if one.operator not in OPERATORS:
            raise StoreError(f"cannot filter by {one.attribute} with the operator {one.operator!r}")
        return OPERATORS[one.operator](column, sa.bindparam(f"f{place}"))

    def _attribute(self, name: str) -> sa.ColumnClause[Any]:
        if name not in self._columns:
            raise StoreError(f"cannot query by {name}: the entity has no such attribute")
        return self._columns[name]

    def _compiled(self, statement: sa.ClauseElement) -> Statement:
        compiled = cast("SQLCompiler", statement.compile(dialect=self._dialect.compiler))
        return Statement(str(compiled), tuple(compiled.positiontup or ()))


class _Recent(Generic[V]):
    """A bounded memory of what was made: what was not asked for longest goes first.

    Not for several threads: selects are made on the event loop, updates by the writer.
    """

    def __init__(self) -> None:
        self._made: dict[object, V] = {}

    def get(self, shape: object, make: Callable[[], V]) -> V:
        found = self._made.pop(shape, None)
        if found is None:
            found = make()
            while len(self._made) >= _MAX_SHAPES:
                del self._made[next(iter(self._made))]
        self._made[shape] = found
        return found


def _column(name: str) -> sa.ColumnClause[Any]:
    return sa.column(sa.sql.quoted_name(name, quote=True))
