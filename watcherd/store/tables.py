"""From the catalog's layout to SQLAlchemy tables and the text of DDL.

Owns what a table, a column, an index and a trigger look like. Types are wide, nothing but the key
and the row version is NOT NULL, and unique is an index of its own: limits live elsewhere, so that
they can change without a rewrite of the table.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn, CreateTable

from watcherd.store.dialect import Dialect
from watcherd.store.layout import StoredAttribute, StoredEntity
from watcherd.store.names import constraint_name, quoted

VERSION_COLUMN: Final = "_version"

# A restriction is checked at the end of the statement, not row by row: with RESTRICT, a row that
# refers to itself, or a tree that cascades, could never be deleted.
_ON_DELETE: Final = {"restrict": "NO ACTION", "cascade": "CASCADE", "set_null": "SET NULL"}


def table_of(dialect: Dialect, entity: StoredEntity) -> sa.Table:
    """The table with its live columns; statements are made from lighter clauses, see `queries`."""
    columns: list[sa.Column[Any]] = [
        _column(dialect, attribute, with_reference=dialect.references_in_tables)
        for attribute in entity.attributes
        if not attribute.parked
    ]
    version = sa.Column(VERSION_COLUMN, dialect.column_type("integer"), nullable=False, server_default=sa.text("1"))
    return sa.Table(
        sa.sql.quoted_name(entity.table, quote=True), sa.MetaData(), *columns, version, sqlite_autoincrement=True
    )


def create_table(dialect: Dialect, entity: StoredEntity) -> str:
    """CREATE TABLE; with its foreign keys where they may come before what they refer to."""
    return str(CreateTable(table_of(dialect, entity)).compile(dialect=dialect.compiler)).strip()


def add_column(dialect: Dialect, entity: StoredEntity, attribute: StoredAttribute, default: str | None) -> str:
    """ALTER TABLE ... ADD COLUMN; `default` is an SQL literal, never together with a reference."""
    column = CreateColumn(_column(dialect, attribute, with_reference=False)).compile(dialect=dialect.compiler)
    text = f"ALTER TABLE {quoted(entity.table)} ADD COLUMN {column}"
    if default is not None:
        text += f" DEFAULT {default}"
    if attribute.target_table is not None and dialect.references_in_tables:
        text += f" {reference_clause(attribute)}"
    return text


def drop_column(table: str, column: str) -> str:
    """The opposite of `add_column`."""
    return f"ALTER TABLE {quoted(table)} DROP COLUMN {quoted(column)}"


def reference_clause(attribute: StoredAttribute) -> str:
    """REFERENCES of a column whose attribute has a target."""
    target = f"{quoted(str(attribute.target_table))} ({quoted(str(attribute.target_column))})"
    return f"REFERENCES {target} ON DELETE {_on_delete(attribute)}"


def foreign_key_name(table: str, column: str) -> str:
    """What the foreign key of a column is called where it has a name."""
    return constraint_name("fk", table, (column,), "foreign key")


def add_foreign_key(table: str, attribute: StoredAttribute) -> str:
    """The same reference as a constraint of its own, once both tables are there."""
    name = quoted(foreign_key_name(table, attribute.column))
    key = f"FOREIGN KEY ({quoted(attribute.column)}) {reference_clause(attribute)}"
    return f"ALTER TABLE {quoted(table)} ADD CONSTRAINT {name} {key}"


def create_index(dialect: Dialect, name: str, table: str, columns: tuple[str, ...], *, unique: bool) -> str:
    """CREATE INDEX, unique or not."""
    listed = ", ".join(dialect.indexed(quoted(column)) for column in columns)
    return f"CREATE {'UNIQUE ' if unique else ''}INDEX {quoted(name)} ON {quoted(table)} ({listed})"


def drop_index(name: str) -> tuple[str, ...]:
    """The opposite of `create_index`."""
    return (f"DROP INDEX IF EXISTS {quoted(name)}",)


def _column(dialect: Dialect, attribute: StoredAttribute, *, with_reference: bool) -> sa.Column[Any]:
    references = []
    if with_reference and attribute.target_table is not None:
        # By column, in a table of its own: as text the name would be split at a dot.
        target: sa.Column[Any] = sa.Column(sa.sql.quoted_name(str(attribute.target_column), quote=True))
        references = [sa.ForeignKey(target, ondelete=_on_delete(attribute))]
        sa.Table(sa.sql.quoted_name(attribute.target_table, quote=True), sa.MetaData(), target)
    identity = dialect.identity(attribute.type) if attribute.is_key else ()
    return sa.Column(
        sa.sql.quoted_name(attribute.column, quote=True),
        dialect.column_type(attribute.type),
        *references,
        *identity,
        primary_key=attribute.is_key,
        autoincrement="auto" if identity or dialect.references_in_tables else False,
    )


def _on_delete(attribute: StoredAttribute) -> str:
    return _ON_DELETE[str(attribute.facts.get("on_delete", "restrict"))]
