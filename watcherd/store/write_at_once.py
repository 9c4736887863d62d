"""A write on the event loop's thread: for what takes less time than asking the writer's thread for it.

Owns what makes sure that nobody is waited for. The lock is taken only if nobody has it, the commit is
not waited for by the disk (see `late_sync`), and no pages are moved from the log to the database; of the
log its first page alone is, when it is begun anew, once in a hundred writes. The connection is the
writer's own, which is lent with the turn to write: what it has not written itself can be told from its
`Moment`. Does not own who may write so, nor when the disk gets it (writer).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from watcherd.store import late_sync
from watcherd.store.at_once import TooMuchError
from watcherd.store.cursor import Cursor, SqliteCursor

T = TypeVar("T")

_WITHOUT_WAITING: Final = (("busy_timeout", 0), ("wal_autocheckpoint", 0))


def write_at_once(connection: sqlite3.Connection, write: Callable[[Cursor], T], *, waits_for_disk: bool) -> T:
    """What `write` answers, once it is committed; `waits_for_disk` says whether commits of the connection do.

    TooMuchError where the database refuses something, as it does where it would have to be waited for:
    then nothing has happened. What `write` itself raises is raised, and nothing has happened either.
    sqlite3.Error where the connection is no longer as it was: it is to be closed.
    """
    with _set(connection, waits_for_disk=waits_for_disk):
        try:
            return _transact(connection, write)
        except sqlite3.Error as error:
            raise TooMuchError(str(error)) from error


def _transact(connection: sqlite3.Connection, write: Callable[[Cursor], T]) -> T:
    with contextlib.closing(connection.cursor(SqliteCursor)) as cursor:
        cursor.execute("BEGIN IMMEDIATE")
        try:
            result = write(cursor)
            cursor.execute("COMMIT")
        finally:
            if connection.in_transaction:
                cursor.execute("ROLLBACK")
    return result


@contextlib.contextmanager
def _set(connection: sqlite3.Connection, *, waits_for_disk: bool) -> Iterator[None]:
    """Wait for nobody, for as long as this lasts."""
    if waits_for_disk and not late_sync.put_off(connection):
        raise TooMuchError("commits wait for the disk")
    before = [(name, _get(connection, name)) for name, _ in _WITHOUT_WAITING]
    try:
        for name, value in _WITHOUT_WAITING:
            connection.execute(f"PRAGMA {name}={value}").fetchall()
        yield
    finally:
        for name, value in before:
            connection.execute(f"PRAGMA {name}={value}").fetchall()
        if waits_for_disk:
            late_sync.restore(connection)


def _get(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]
