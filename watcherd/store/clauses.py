"""One entity's table in SQLAlchemy's terms, for as long as a statement is made from it.

Owns the making of statements whose text depends on what is asked: filters, order, where a page begins,
which attributes are written. Does not own what was asked, the values, nor which statements are kept
(queries). SQLAlchemy's tables and columns refer to each other, which makes them garbage that has to be
looked for: so they go when the statement is made, and what is kept of it is text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.sql.compiler import SQLCompiler

from watcherd.store.dialect import Dialect
from watcherd.store.operators import OPERATORS
from watcherd.store.tables import VERSION_COLUMN

WHERE: Final = "where"
"""The operator of an expression about the row."""

LIMIT: Final = "limit"
SKIP: Final = "skip"

Order = tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text and, in the order of its parameters, what each of them is."""

    sql: str
    binds: tuple[str, ...]


class Clauses:
    """The table, its columns by attribute name, and what is made of them; not to be kept."""

    def __init__(self, dialect: Dialect, table: str, columns: Mapping[str, str], key: str) -> None:
        self._dialect = dialect
        self._key = key
        self._columns = {name: _column(column) for name, column in columns.items()}
        self._version = _column(VERSION_COLUMN)
        self._row = (*self._columns.values(), self._version)
        self._table = sa.table(sa.sql.quoted_name(table, quote=True), *self._row)

    def update(self, names: tuple[str, ...]) -> Statement:
        """UPDATE of some attributes of one row: the values in the order of `names`, then the key."""
        values: dict[str, Any] = {
            self._columns[name].name: sa.bindparam(f"v{place}") for place, name in enumerate(names)
        }
        identified = self._columns[self._key] == sa.bindparam("key")
        statement = sa.update(self._table).values({**values, VERSION_COLUMN: self._version + sa.literal_column("1")})
        return self._compiled(statement.where(identified).returning(*self._row))

    def select(
        self, filters: tuple[tuple[str, str, int], ...], order: Order, after: tuple[bool, ...] | None
    ) -> tuple[Statement, Statement]:
        """The rows of a query, and their count.

        `after` are, in order, whether each value that the page follows is null; None for a first page.
        """
        where = [self._condition(place, *one) for place, one in enumerate(filters)]
        page = where if after is None else [*where, self._follows(order, after)]
        rows = sa.select(*self._row).where(*page).order_by(*(self._ordered(*one) for one in order))
        rows = rows.limit(sa.bindparam(LIMIT)).offset(sa.bindparam(SKIP))
        count = sa.select(sa.func.count()).select_from(self._table).where(*where)
        return self._compiled(rows), self._compiled(count)

    def _condition(self, place: int, attribute: str, operator: str, length: int) -> sa.ColumnElement[bool]:
        if operator == WHERE:
            return sa.literal_column(attribute, sa.Boolean)
        values: list[sa.BindParameter[Any]] = [sa.bindparam(f"f{place}_{number}") for number in range(length)]
        return OPERATORS[operator].condition(self._dialect, self._columns[attribute], values)

    def select_related(self, attribute: str, length: int) -> Statement:
        """The rows whose attribute has one of so many values, in order of the key."""
        column = self._columns[attribute]
        among = column.in_([sa.bindparam(f"f{number}") for number in range(length)])
        rows = sa.select(*self._row).where(among).order_by(self._columns[self._key].asc())
        return self._compiled(rows.limit(sa.bindparam(LIMIT)).offset(sa.bindparam(SKIP)))

    def select_referring(self, attribute: str, length: int, follows: bool) -> Statement:  # noqa: FBT001 - of a shape
        """The same, locked to be changed; with `follows`, those after a key."""
        key = self._columns[self._key]
        among = self._columns[attribute].in_([sa.bindparam(f"f{number}") for number in range(length)])
        where = [among, key > sa.bindparam("after")] if follows else [among]
        rows = sa.select(*self._row).where(*where).order_by(key.asc())
        compiled = self._compiled(rows.limit(sa.bindparam(LIMIT)).offset(sa.bindparam(SKIP)))
        return Statement(compiled.sql + self._dialect.locked, compiled.binds)

    def update_referring(self, attribute: str, length: int, names: tuple[str, ...]) -> Statement:
        """UPDATE of the rows whose attribute has one of so many values, which becomes null.

        Of the rows that are found, each still has to refer when it is locked.
        """
        key, column = self._columns[self._key], self._columns[attribute]
        among = column.in_([sa.bindparam(f"f{number}") for number in range(length)])
        found = sa.select(key).where(among).limit(sa.bindparam(LIMIT)).offset(sa.bindparam(SKIP))
        values: dict[str, Any] = {
            self._columns[name].name: sa.bindparam(f"v{place}") for place, name in enumerate(names)
        }
        values |= {column.name: sa.null(), VERSION_COLUMN: self._version + sa.literal_column("1")}
        statement = sa.update(self._table).values(values).where(among, key.in_(found))
        return self._compiled(statement.returning(*self._row))

    def _ordered(self, name: str, descending: bool) -> sa.ColumnElement[Any]:  # noqa: FBT001 - a pair of `sort`
        column = self._columns[name]
        if name == self._key:
            return column.desc() if descending else column.asc()
        return column.desc().nulls_last() if descending else column.asc().nulls_first()

    def _follows(self, order: Order, nulls: tuple[bool, ...]) -> sa.ColumnElement[bool]:
        """A row comes later if it is beyond in the first attribute in which it differs."""
        later: list[sa.ColumnElement[bool]] = []
        same: list[sa.ColumnElement[bool]] = []
        for place, ((name, descending), is_null) in enumerate(zip(order, nulls, strict=True)):
            column = self._columns[name]
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

    def _compiled(self, statement: sa.ClauseElement) -> Statement:
        compiled = cast("SQLCompiler", statement.compile(dialect=self._dialect.compiler))
        return Statement(str(compiled), tuple(compiled.positiontup or ()))


def _column(name: str) -> sa.ColumnClause[Any]:
    return sa.column(sa.sql.quoted_name(name, quote=True))
