"""Foreign keys that come, go and change on tables that are there, and columns that are dropped.

Owns the choice: PostgreSQL alters a table, SQLite makes it again (`rebuild`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable

from watcherd.store.cursor import Cursor
from watcherd.store.layout import StoredEntity
from watcherd.store.names import quoted
from watcherd.store.rebuild import rebuild
from watcherd.store.tables import foreign_key_name


class DanglingError(sqlite3.IntegrityError):
    """A row refers to what does not exist, after all: everything is to be rolled back."""


def refer(cursor: Cursor, entity: StoredEntity, columns: Iterable[str]) -> None:
    """Bring the foreign keys of some columns to what the entity says.

    Where they are constraints of their own, the old ones go here and the new ones come with
    `foreign_keys.complete`, once the catalog says the same.
    """
    if cursor.dialect.references_in_tables:
        rebuild(cursor, entity.table, entity.attributes)
        return
    for column in columns:
        name = quoted(foreign_key_name(entity.table, column))
        cursor.execute(f"ALTER TABLE {quoted(entity.table)} DROP CONSTRAINT IF EXISTS {name}")


def drop_columns(cursor: Cursor, entity: StoredEntity, columns: Collection[str]) -> None:
    """Drop columns, and the indexes and checks on them; `entity` is what remains."""
    if cursor.dialect.references_in_tables:
        rebuild(cursor, entity.table, entity.attributes, without=columns)
        return
    for column in columns:
        cursor.execute(f"ALTER TABLE {quoted(entity.table)} DROP COLUMN {quoted(column)}")


def check_references(cursor: Cursor, tables: Iterable[str]) -> None:
    """DanglingError when a row of these tables refers to what does not exist; PostgreSQL has looked itself."""
    if not cursor.dialect.references_in_tables:
        return
    for table in tables:
        if cursor.execute(f"PRAGMA foreign_key_check({quoted(table)})").fetchone() is not None:
            raise DanglingError(f"FOREIGN KEY constraint failed in {table}")
