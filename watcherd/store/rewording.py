"""Giving tables of SQLite another definition without touching what is in them.

Owns the procedure: that of SQLite's documentation of ALTER TABLE for changes that do not concern
the content ("Making Other Kinds Of Table Schema Changes"). The text in `sqlite_schema` is written
over in the caller's transaction, and all connections are made to read it anew. Does not own the
text (`definition`).

No text is written that SQLite has not read before, in a database in memory that has this table
alone: checks may differ there, or foreign keys come, and nothing else; and a column is added there by
SQLite itself, whose words are then taken over. So a connection need not read the definitions of all tables before a
change is committed, as it does for an ALTER TABLE of its own: with a thousand models that is most
of the time that a saved file waits for. What comes after it in a transaction would have to, so it
comes last.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from watcherd.store.cursor import Cursor
from watcherd.store.names import quoted


class NotAsWantedError(sqlite3.DatabaseError):
    """A table is not what its new definition should have made of it: everything is to be rolled back."""


@dataclass(frozen=True, slots=True)
class Definition:
    """The text of a table, and its row in `sqlite_schema`."""

    table: str
    row: int
    text: str


def read(cursor: Cursor, table: str) -> Definition | None:
    """The definition of a table, if it is there."""
    found = cursor.execute(
        "SELECT rowid, sql FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,)
    ).fetchone()
    return None if found is None else Definition(table, *found)


def is_allowed(cursor: Cursor) -> bool:
    """Whether SQLite lets definitions be written: not in "defensive" mode, in which the setting has no effect."""
    try:
        cursor.execute("PRAGMA writable_schema=ON")
        found = cursor.execute("PRAGMA writable_schema").fetchone()
    finally:
        cursor.execute("PRAGMA writable_schema=OFF")
    return bool(found == (1,))


def altered(there: Definition, statements: Iterable[str]) -> Definition:
    """The definition after ALTER TABLE ... ADD COLUMN. sqlite3.Error where SQLite does not take it, or the text."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as alone:
        alone.execute(there.text)
        for statement in statements:
            alone.execute(statement)
        (text,) = alone.execute("SELECT sql FROM sqlite_schema WHERE type = 'table'").fetchone()
    return replace(there, text=text)


def with_checks_of(there: Definition, text: str) -> Definition:
    """The definition with another text, of which the checks alone are others.

    NotAsWantedError for any other text; sqlite3.Error for one that SQLite does not take.
    """
    if _content(there.table, there.text) != _content(there.table, text):
        raise NotAsWantedError(f"the definition of {there.table} would become another one than is meant")
    return replace(there, text=text)


def with_references_of(there: Definition, text: str, columns: Collection[str]) -> Definition:
    """The definition with another text, which has foreign keys of some columns that had none, and else is the same.

    Raises as `with_checks_of`.
    """
    (before, old), (after, new) = _content(there.table, there.text), _content(there.table, text)
    had, has = ({column for column, *_ in references} for references in (old, new))
    if before != after or not old <= new or has - had != set(columns) or len(new) - len(old) != len(columns):
        raise NotAsWantedError(f"the definition of {there.table} would get other foreign keys than are meant")
    return replace(there, text=text)


def reword(cursor: Cursor, changed: Sequence[Definition], triggers: Iterable[int] = ()) -> None:
    """Give tables their new definitions, and drop triggers, by their rows. NotAsWantedError.

    To be called at the end of a transaction, see above.
    """
    if not changed:
        return
    (version,) = cursor.execute("PRAGMA schema_version").fetchone()
    try:
        cursor.execute("PRAGMA writable_schema=ON")
        cursor.executemany("UPDATE sqlite_schema SET sql = ? WHERE rowid = ?", [(one.text, one.row) for one in changed])
        cursor.executemany("DELETE FROM sqlite_schema WHERE rowid = ?", [(row,) for row in triggers])
    finally:
        # SQLite reads definitions leniently as long as it is on.
        cursor.execute("PRAGMA writable_schema=OFF")
    for one in changed:
        found = cursor.execute("SELECT type, name, sql FROM sqlite_schema WHERE rowid = ?", (one.row,)).fetchone()
        if found != ("table", one.table, one.text):
            raise NotAsWantedError(f"the definition of {one.table} has not become what it should be")
    cursor.execute(f"PRAGMA schema_version={version + 1}")


def _content(table: str, text: str) -> tuple[object, set[tuple[object, ...]]]:
    """What a table has beside its checks, as SQLite says; its foreign keys apart, each with its column first."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as alone:
        alone.execute(text)
        names = alone.execute("SELECT name FROM sqlite_schema ORDER BY name").fetchall()
        parts = [
            alone.execute(f"PRAGMA {pragma}({quoted(table)})").fetchall() for pragma in ("table_xinfo", "index_list")
        ]
        found = alone.execute(f"PRAGMA foreign_key_list({quoted(table)})").fetchall()
        return (names, parts), {(column, target, *rest) for _, _, target, column, *rest in found}
