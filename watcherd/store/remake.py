"""Foreign keys that come, go and change on tables that are there, and columns that are dropped or filled.

Owns the choice: PostgreSQL alters a table, SQLite makes it again (`rebuild`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence

from watcherd.store import sync
from watcherd.store.cursor import Cursor
from watcherd.store.layout import StoredAttribute, StoredEntity
from watcherd.store.names import quoted
from watcherd.store.plan import Step
from watcherd.store.rebuild import rebuild
from watcherd.store.tables import foreign_key_name


class DanglingError(sqlite3.IntegrityError):
    """A row refers to what does not exist, after all: everything is to be rolled back."""


class ApartError(Exception):
    """What is to be done has to run apart (see `Database.change`), and does not."""


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


def rewrite(cursor: Cursor, entity: StoredEntity, steps: Sequence[Step]) -> None:
    """Fill columns with values made from others, as the rewrites of one table say; `entity` is what it will be.

    Where a table is made again for it, its foreign keys are brought to what the entity says as well.
    """
    filled = {column: sql for step in steps for column, sql in step.filled}
    if cursor.dialect.references_in_tables:
        bare = {column for step in steps for column in step.columns}
        rebuild(cursor, entity.table, entity.attributes, filled=filled, bare=bare)
        return
    values = ", ".join(f"{quoted(column)} = {sql}" for column, sql in filled.items())
    cursor.execute(f"UPDATE {quoted(entity.table)} SET {values}")  # noqa: S608 - quoted names


def drop_defaults(cursor: Cursor, table: str, columns: Iterable[str]) -> None:
    """Take the defaults from columns; where the table was made again it is done."""
    if cursor.dialect.references_in_tables:
        return
    for column in columns:
        # Only where there is one: readers wait from here to the end of the transaction.
        found = cursor.execute(
            "SELECT 1 FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = ? "
            "AND column_name = ? AND column_default IS NOT NULL",
            (table, column),
        ).fetchone()
        if found is not None:
            cursor.execute(f"ALTER TABLE {quoted(table)} ALTER COLUMN {quoted(column)} DROP DEFAULT")


def drop_columns(cursor: Cursor, before: StoredEntity, columns: Collection[str]) -> None:
    """Drop columns, with the indexes and checks on them and what keeps them in step with others."""
    entity = before.without(columns)
    pairs = [one.name for one in before.constraints if one.kind == "sync" and one not in entity.constraints]
    if cursor.dialect.references_in_tables:
        rebuild(cursor, entity.table, entity.attributes, without=columns)
        return
    for pair in pairs:
        for statement in sync.drop(cursor.dialect, pair, entity.table):
            cursor.execute(statement)
    for column in columns:
        cursor.execute(f"ALTER TABLE {quoted(entity.table)} DROP COLUMN {quoted(column)}")


def drop_checks(cursor: Cursor, entity: StoredEntity, names: Collection[str]) -> None:
    """Drop checks with a copy of their table, where nothing else can. ApartError where that cannot be made."""
    _refuse_unless_apart(cursor, f"{entity.table} has to be copied without the checks {', '.join(names)}")
    rebuild(cursor, entity.table, entity.attributes, without_checks=names)
    check_references(cursor, [entity.table])


def add_references(cursor: Cursor, entity: StoredEntity) -> None:
    """Add the foreign keys that a table of SQLite lacks with a copy of it, where nothing else can. Raises the same."""
    _refuse_unless_apart(cursor, f"{entity.table} has to be copied with its foreign keys")
    rebuild(cursor, entity.table, entity.attributes)
    check_references(cursor, [entity.table])


def refuse_orphans(cursor: Cursor, table: str, column: StoredAttribute) -> None:
    """DanglingError when a row refers to what does not exist, by a column that has no foreign key yet."""
    name, target = quoted(column.column), quoted(str(column.target_table))
    keys = f"SELECT {quoted(str(column.target_column))} FROM {target}"  # noqa: S608 - quoted names
    orphans = f"SELECT 1 FROM {quoted(table)} WHERE {name} IS NOT NULL AND {name} NOT IN ({keys}) LIMIT 1"  # noqa: S608 - as above
    if cursor.execute(orphans).fetchone() is not None:
        raise DanglingError(f"FOREIGN KEY constraint failed in {table}")


def _refuse_unless_apart(cursor: Cursor, why: str) -> None:
    if cursor.execute("PRAGMA foreign_keys").fetchone()[0]:
        raise ApartError(why)


def check_references(cursor: Cursor, tables: Iterable[str]) -> None:
    """DanglingError when a row of these tables refers to what does not exist; PostgreSQL has looked itself."""
    if not cursor.dialect.references_in_tables:
        return
    for table in tables:
        if cursor.execute(f"PRAGMA foreign_key_check({quoted(table)})").fetchone() is not None:
            raise DanglingError(f"FOREIGN KEY constraint failed in {table}")
