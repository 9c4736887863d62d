"""From the catalog's layout to SQLAlchemy tables and the text of DDL.

Owns what a table, a column, an index and a trigger look like. Types are wide, nothing but the key
and the row version is NOT NULL, and unique is an index of its own: limits live elsewhere, so that
they can change without a rewrite of the table.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.schema import CreateColumn, CreateTable
from sqlalchemy.types import TypeEngine

from watcherd.store.layout import StoredAttribute, StoredEntity
from watcherd.store.names import quoted

DIALECT: Final = SQLiteDialect_pysqlite(paramstyle="qmark")
VERSION_COLUMN: Final = "_version"

# A restriction is checked at the end of the statement, not row by row: with RESTRICT, a row that
# refers to itself, or a tree that cascades, could never be deleted.
_ON_DELETE: Final = {"restrict": "NO ACTION", "cascade": "CASCADE", "set_null": "SET NULL"}
_INTEGERS: Final = ("integer", "boolean", "decimal")


def table_of(entity: StoredEntity) -> sa.Table:
    """The table with its live columns; statements are made from lighter clauses, see `queries`."""
    columns: list[sa.Column[Any]] = [
        _column(attribute, with_reference=True) for attribute in entity.attributes if not attribute.parked
    ]
    version = sa.Column(VERSION_COLUMN, sa.INTEGER, nullable=False, server_default=sa.text("1"))
    return sa.Table(
        sa.sql.quoted_name(entity.table, quote=True), sa.MetaData(), *columns, version, sqlite_autoincrement=True
    )


def create_table(entity: StoredEntity) -> str:
    """CREATE TABLE with its foreign keys."""
    return str(CreateTable(table_of(entity)).compile(dialect=DIALECT)).strip()


def add_column(entity: StoredEntity, attribute: StoredAttribute, default: str | None) -> str:
    """ALTER TABLE ... ADD COLUMN; `default` is an SQL literal, never together with a reference."""
    column = CreateColumn(_column(attribute, with_reference=False)).compile(dialect=DIALECT)
    text = f"ALTER TABLE {quoted(entity.table)} ADD COLUMN {column}"
    if default is not None:
        text += f" DEFAULT {default}"
    if attribute.target_table is not None:
        target = f"{quoted(attribute.target_table)} ({quoted(str(attribute.target_column))})"
        text += f" REFERENCES {target} ON DELETE {_on_delete(attribute)}"
    return text


def create_index(name: str, table: str, columns: tuple[str, ...], *, unique: bool) -> str:
    """CREATE INDEX, unique or not."""
    listed = ", ".join(quoted(column) for column in columns)
    return f"CREATE {'UNIQUE ' if unique else ''}INDEX {quoted(name)} ON {quoted(table)} ({listed})"


def create_check(name: str, table: str, columns: tuple[str, ...], violation: str) -> tuple[str, ...]:
    """The pair of triggers that refuse a row for which `violation` (over NEW) is true."""
    refusal = f"BEGIN SELECT RAISE(ABORT, 'watcherd:check:{name}'); END"
    listed = ", ".join(quoted(column) for column in columns)
    insert, update = trigger_names(name)
    return (
        f"CREATE TRIGGER {quoted(insert)} BEFORE INSERT ON {quoted(table)} WHEN {violation} {refusal}",
        f"CREATE TRIGGER {quoted(update)} BEFORE UPDATE OF {listed} ON {quoted(table)} WHEN {violation} {refusal}",
    )


def drop_index(name: str) -> tuple[str, ...]:
    """The opposite of `create_index`."""
    return (f"DROP INDEX IF EXISTS {quoted(name)}",)


def drop_check(name: str) -> tuple[str, ...]:
    """The opposite of `create_check`."""
    return tuple(f"DROP TRIGGER IF EXISTS {quoted(trigger)}" for trigger in trigger_names(name))


def trigger_names(name: str) -> tuple[str, str]:
    """What the triggers of a check on insert and on update are called."""
    return f"{name}_i", f"{name}_u"


def _column(attribute: StoredAttribute, *, with_reference: bool) -> sa.Column[Any]:
    references = []
    if with_reference and attribute.target_table is not None:
        # By column, in a table of its own: as text the name would be split at a dot.
        target: sa.Column[Any] = sa.Column(sa.sql.quoted_name(str(attribute.target_column), quote=True))
        references = [sa.ForeignKey(target, ondelete=_on_delete(attribute))]
        sa.Table(sa.sql.quoted_name(attribute.target_table, quote=True), sa.MetaData(), target)
    name = sa.sql.quoted_name(attribute.column, quote=True)
    return sa.Column(name, _sql_type(attribute), *references, primary_key=attribute.is_key, autoincrement="auto")


def _sql_type(attribute: StoredAttribute) -> type[TypeEngine[Any]]:
    base = attribute.type.rpartition(":")[2]
    if base.endswith("[]"):
        return sa.TEXT
    if base.startswith(_INTEGERS):
        return sa.INTEGER
    return sa.REAL if base == "float" else sa.TEXT


def _on_delete(attribute: StoredAttribute) -> str:
    return _ON_DELETE[str(attribute.facts.get("on_delete", "restrict"))]
