"""A database for a moment: rows that are nobody's, tried out on the tables of a model.

Owns what it takes to begin anew without making the tables anew. SQLite alone: such a database is a
file of its own, opened with durability `off`, and deleted when it has served.
"""

from __future__ import annotations

from collections.abc import Iterable

from watcherd.store.cursor import Cursor
from watcherd.store.names import quoted


def empty(cursor: Cursor, tables: Iterable[str]) -> None:
    """Delete all rows of tables, which refer to no others, and let the numbers of rows begin with 1 again."""
    cursor.execute("PRAGMA defer_foreign_keys=ON")  # until the commit: in whatever order they go
    for table in tables:
        cursor.execute(f"DELETE FROM {quoted(table)}")  # noqa: S608 - quoted names
    if cursor.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone() is not None:
        cursor.execute("DELETE FROM sqlite_sequence")
