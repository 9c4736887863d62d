"""Giving tables of SQLite another definition without touching what is in them.

Owns the procedure: that of SQLite's documentation of ALTER TABLE for changes that do not concern
the content ("Making Other Kinds Of Table Schema Changes"). The text in `sqlite_schema` is written
over, and all connections, this one too, are made to read it anew. All of it is in the caller's
transaction, and before that can be committed, SQLite has read the new text, found the same columns,
keys and indexes in it, and compiled what the checks demand. Does not own the text (`definition`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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


def reword(cursor: Cursor, changed: Sequence[Definition], triggers: Iterable[int] = ()) -> None:
    """Give tables definitions of which the checks alone are others, and drop triggers, by their rows.

    NotAsWantedError; sqlite3.DatabaseError where SQLite does not understand a text.
    """
    if not changed:
        return
    before = [_content(cursor, one.table) for one in changed]
    (version,) = cursor.execute("PRAGMA schema_version").fetchone()
    try:
        cursor.execute("PRAGMA writable_schema=ON")
        cursor.executemany("UPDATE sqlite_schema SET sql = ? WHERE rowid = ?", [(one.text, one.row) for one in changed])
        cursor.executemany("DELETE FROM sqlite_schema WHERE rowid = ?", [(row,) for row in triggers])
        cursor.execute(f"PRAGMA schema_version={version + 1}")
    finally:
        # SQLite reads definitions leniently as long as it is on.
        cursor.execute("PRAGMA writable_schema=OFF")
    for one, content in zip(changed, before, strict=True):
        _verify(cursor, one, content)


def _verify(cursor: Cursor, wanted: Definition, content: object) -> None:
    table = quoted(wanted.table)
    # A read notices that the definitions are others; what only compiles does not.
    cursor.execute(f"SELECT 1 FROM {table} LIMIT 0").fetchall()  # noqa: S608 - quoted names
    cursor.execute(f"EXPLAIN INSERT INTO {table} DEFAULT VALUES").fetchall()
    found = cursor.execute("SELECT name, sql FROM sqlite_schema WHERE rowid = ?", (wanted.row,)).fetchone()
    if found != (wanted.table, wanted.text) or _content(cursor, wanted.table) != content:
        raise NotAsWantedError(f"the definition of {wanted.table} has become another one than was meant")


def _content(cursor: Cursor, table: str) -> object:
    """What a table has beside its checks, as SQLite says."""
    pragmas = ("table_xinfo", "foreign_key_list", "index_list")
    return [cursor.execute(f"PRAGMA {pragma}({quoted(table)})").fetchall() for pragma in pragmas]
