"""From the catalog's layout to the text of DDL.

Owns what a table, a column and an index look like. Types are wide, nothing but the key and the row
version is NOT NULL, and unique is an index of its own: limits live elsewhere, so that they can
change without a rewrite of the table. So can the checks of sentences, see `checks`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn

from watcherd.store.checks import Check
from watcherd.store.dialect import Dialect
from watcherd.store.layout import StoredAttribute, StoredEntity
from watcherd.store.names import constraint_name, quoted

VERSION_COLUMN: Final = "_version"
_NUMBERED: Final = " PRIMARY KEY AUTOINCREMENT"

# A restriction is checked at the end of the statement, not row by row: with RESTRICT, a row that
# refers to itself, or a tree that cascades, could never be deleted.
_ON_DELETE: Final = {"restrict": "NO ACTION", "cascade": "CASCADE", "set_null": "SET NULL"}


def create_table(dialect: Dialect, entity: StoredEntity, checks: Iterable[Check] = ()) -> str:
    """CREATE TABLE with the live columns and the checks; with its foreign keys where they may come so early."""
    live = [attribute for attribute in entity.attributes if not attribute.parked]
    parts = [_column_text(dialect, one.column, one.type, is_key=one.is_key) for one in live]
    says_so = any(text.endswith(_NUMBERED) for one, text in zip(live, parts, strict=True) if one.is_key)
    parts.append(_version_text(dialect))
    if not says_so:
        parts.append(f"PRIMARY KEY ({quoted(entity.key.column)})")
    if dialect.references_in_tables:
        referring = (one for one in live if one.target_table is not None)
        parts += (foreign_key(one) for one in referring)
    parts += (check.clause for check in checks)
    listed = ", \n\t".join(parts)
    return f"CREATE TABLE {quoted(entity.table)} (\n\t{listed}\n)"


def add_column(dialect: Dialect, entity: StoredEntity, attribute: StoredAttribute, default: str | None) -> str:
    """ALTER TABLE ... ADD COLUMN; `default` is an SQL literal, never together with a reference."""
    column = CreateColumn(_column(dialect, attribute.column, attribute.type, is_key=attribute.is_key)).compile(
        dialect=dialect.compiler
    )
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
    return f"ALTER TABLE {quoted(table)} ADD CONSTRAINT {name} {foreign_key(attribute)}"


def foreign_key(attribute: StoredAttribute) -> str:
    """The same reference as a constraint of the table."""
    return f"FOREIGN KEY ({quoted(attribute.column)}) {reference_clause(attribute)}"


def create_index(dialect: Dialect, name: str, table: str, columns: tuple[str, ...], *, unique: bool) -> str:
    """CREATE INDEX, unique or not."""
    listed = ", ".join(dialect.indexed(quoted(column)) for column in columns)
    return f"CREATE {'UNIQUE ' if unique else ''}INDEX {quoted(name)} ON {quoted(table)} ({listed})"


def drop_index(name: str) -> tuple[str, ...]:
    """The opposite of `create_index`."""
    return (f"DROP INDEX IF EXISTS {quoted(name)}",)


@lru_cache(maxsize=4096)
def _column_text(dialect: Dialect, name: str, signature: str, *, is_key: bool) -> str:
    """A column of a new table; models have many of one kind, and SQLAlchemy takes its time over each.

    A key that the database numbers says itself that it is one.
    """
    column = _column(dialect, name, signature, is_key=is_key)
    sa.Table("made", sa.MetaData(), column, sqlite_autoincrement=True)
    return str(CreateColumn(column).compile(dialect=dialect.compiler))


@cache
def _version_text(dialect: Dialect) -> str:
    column = sa.Column(VERSION_COLUMN, dialect.column_type("integer"), nullable=False, server_default=sa.text("1"))
    return str(CreateColumn(column).compile(dialect=dialect.compiler))


def _column(dialect: Dialect, name: str, signature: str, *, is_key: bool = False) -> sa.Column[Any]:
    identity = dialect.identity(signature) if is_key else ()
    return sa.Column(
        sa.sql.quoted_name(name, quote=True),
        dialect.column_type(signature),
        *identity,
        primary_key=is_key,
        autoincrement="auto" if identity or dialect.references_in_tables else False,
    )


def _on_delete(attribute: StoredAttribute) -> str:
    return _ON_DELETE[str(attribute.facts.get("on_delete", "restrict"))]
