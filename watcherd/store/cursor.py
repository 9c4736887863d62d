"""What the store's functions run on: a DBAPI cursor with positional parameters.

Owns the one protocol that all SQL goes through, so that the same functions run on whatever driver
a database brings, and the reading of what went wrong there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol, Self

from watcherd.errors import StoreError, StoreUnavailableError

DatabaseError = sqlite3.Error
"""Whatever a driver raises."""

IntegrityError = sqlite3.IntegrityError
"""What a driver raises when a constraint refuses a row."""

_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
"""Conditions that may be over when one tries again; the rest is broken or wrong."""

_PRIMARY_CODE: Final = 0xFF


class Cursor(Protocol):
    """The part of a DBAPI cursor that is used."""

    @property
    def rowcount(self) -> int:
        """How many rows the last statement changed."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Self:
        """Run one statement; `?` are filled by position."""

    def fetchone(self) -> Any:
        """The next row as a tuple, or None."""

    def fetchall(self) -> list[Any]:
        """The remaining rows."""

    def __iter__(self) -> Iterator[Any]: ...


def is_passing(error: DatabaseError) -> bool:
    """Whether trying again later may help."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & _PRIMARY_CODE in _PASSING


def refused(error: DatabaseError) -> StoreError:
    """A driver's error as ours, chained to it."""
    mine: StoreError
    if is_passing(error):
        mine = StoreUnavailableError(f"the database is not available now: {error}")
    else:
        mine = StoreError(f"the database refused: {error}")
    mine.__cause__ = error
    return mine


def run(cursor: Cursor, sql: str, parameters: Sequence[Any]) -> Cursor:
    """Execute with values that come from outside; StoreError for one that the driver cannot bind."""
    try:
        return cursor.execute(sql, parameters)
    except (OverflowError, UnicodeEncodeError) as error:
        # An integer beyond 64 bits, a lone surrogate in a text.
        raise StoreError(f"the database cannot hold a value: {error}") from error
