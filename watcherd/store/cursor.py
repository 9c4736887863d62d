"""What the store's functions run on: a DBAPI cursor with positional parameters.

Owns the one protocol that all SQL goes through, so that the same functions run on whatever driver
a database brings, and the reading of what went wrong there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol, Self, TypeVar

from watcherd.errors import StoreError, StoreUnavailableError
from watcherd.store.dialect import SQLITE, Dialect


class ServerError(Exception):
    """What the driver of a database server raised.

    `passing`: trying again later may help. `repeatable`: the server has undone the transaction for
    another's sake, and it can be run again at once.
    """

    def __init__(self, message: str, *, passing: bool, repeatable: bool = False) -> None:
        super().__init__(message)
        self.passing = passing
        self.repeatable = repeatable


class ServerIntegrityError(ServerError):
    """A constraint or an index of a server's table refuses a row; `constraint` is its name there, where it has one."""

    def __init__(self, message: str, *, sqlstate: str, constraint: str | None) -> None:
        super().__init__(message, passing=False)
        self.sqlstate = sqlstate
        self.constraint = constraint


AnyDatabaseError = sqlite3.Error | ServerError
DatabaseError: Final = (sqlite3.Error, ServerError)
"""Whatever a driver raises."""

IntegrityError: Final = (sqlite3.IntegrityError, ServerIntegrityError)
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

_OF_THE_MEDIUM: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    }
)
_PRIMARY_CODE: Final = 0xFF

_ROWS_A_STATEMENT: Final = 100
_VALUES_A_STATEMENT: Final = 500
"""SQLite and PostgreSQL take some thirty thousand values in a statement."""

T = TypeVar("T")

AfterCommit = dict[Any, Callable[[], None]]
"""What to do on the event loop once a transaction is committed, in this order; the keys are for who adds."""


class Moment(NamedTuple):
    """Two that are equal say that no other connection, in whatever process, has committed anything in between.

    What this connection itself has written is not told by it. Databases that cannot say so have None.
    """

    connection: sqlite3.Connection
    version: int


class Cursor(Protocol):
    """The part of a DBAPI cursor that is used, and in whose words its database is spoken to.

    `after_commit` is None where nothing is written.
    """

    after_commit: AfterCommit | None

    @property
    def dialect(self) -> Dialect:
        """What SQL has to look like here."""

    @property
    def moment(self) -> Moment | None:
        """The state of the database that this transaction began with, but for what its connection wrote."""

    @property
    def rowcount(self) -> int:
        """How many rows the last statement changed."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Self:
        """Run one statement; `?` are filled by position."""

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]], /) -> object:
        """Run one statement for each row of parameters; where one fails, others may have been run."""

    def fetchone(self) -> Any:
        """The next row as a tuple, or None."""

    def fetchall(self) -> list[Any]:
        """The remaining rows."""

    def __iter__(self) -> Iterator[Any]: ...

    def stream(self, sql: str, /) -> Iterator[Any]:
        """The rows of a statement that may be more than memory holds, fetched as they are asked for.

        One at a time, and read to its end: then the table can be altered in the same transaction.
        """


class SqliteCursor(sqlite3.Cursor):
    """SQLite's own cursor, which knows what it speaks."""

    dialect: Final[Dialect] = SQLITE
    after_commit: AfterCommit | None = None

    @property
    def moment(self) -> Moment:
        """As `Cursor`."""
        version: int = self.execute("PRAGMA data_version").fetchone()[0]
        return Moment(self.connection, version)

    def stream(self, sql: str, /) -> Iterator[Any]:
        """What iterating does already."""
        return self.execute(sql)


def read_one_state(connection: sqlite3.Connection, read: Callable[[Cursor], T]) -> T:
    """What a read of SQLite answers from one state of the database."""
    cursor = connection.cursor(SqliteCursor)
    try:
        cursor.execute("BEGIN")  # inside: a progress handler may stop it once it has begun
        return read(cursor)
    finally:
        # Some errors end the transaction by themselves; all else must not hold a snapshot.
        if connection.in_transaction:
            cursor.execute("ROLLBACK")


def is_passing(error: AnyDatabaseError) -> bool:
    """Whether trying again later may help."""
    if isinstance(error, ServerError):
        return error.passing
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & _PRIMARY_CODE in _PASSING


def is_of_the_medium(error: BaseException | None) -> bool:
    """Whether it is SQLite's files that cannot be written, whatever the statement: a full disk, a broken one."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & _PRIMARY_CODE in _OF_THE_MEDIUM


def refused(error: AnyDatabaseError) -> StoreError:
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


def run_many(cursor: Cursor, sql: str, rows: Sequence[Sequence[Any]]) -> None:
    """The same for many rows at once, to be called with a savepoint to go back to."""
    try:
        cursor.executemany(sql, rows)
    except (OverflowError, UnicodeEncodeError) as error:
        raise StoreError(f"the database cannot hold a value: {error}") from error


def insert(cursor: Cursor, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows, many with one statement; the names are our own."""
    one = f"({', '.join('?' * len(columns))})"
    for start in range(0, len(rows), _ROWS_A_STATEMENT):
        some = rows[start : start + _ROWS_A_STATEMENT]
        values = ", ".join([one] * len(some))
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values}",  # noqa: S608 - our own names
            [value for row in some for value in row],
        )


def put(table: str, columns: Sequence[str], *, key: int) -> str:
    """The statement that inserts a row, or overwrites the one that has the same first `key` columns."""
    named, marks = ", ".join(columns), ", ".join("?" * len(columns))
    new = ", ".join(f"{column} = excluded.{column}" for column in columns[key:])
    conflict = ", ".join(columns[:key])
    return f"INSERT INTO {table} ({named}) VALUES ({marks}) ON CONFLICT ({conflict}) DO UPDATE SET {new}"  # noqa: S608 - our own names


def any_among(cursor: Cursor, table: str, column: str, values: Sequence[str]) -> bool:
    """Whether a row has one of these values in a column; the names are our own."""
    for start in range(0, len(values), _VALUES_A_STATEMENT):
        some = values[start : start + _VALUES_A_STATEMENT]
        among = f"SELECT 1 FROM {table} WHERE {column} IN ({', '.join('?' * len(some))}) LIMIT 1"  # noqa: S608 - our own names
        if cursor.execute(among, some).fetchone() is not None:
            return True
    return False
