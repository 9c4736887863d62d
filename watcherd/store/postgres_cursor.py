"""A DBAPI-like cursor over one connection of asyncpg, and what its errors mean.

Owns the translation: `?` to `$1`, statements that answer rows or a count, and errors to those of
`cursor`. It is used in a greenlet: `execute` looks synchronous, and the event loop goes on
meanwhile. Transactions as a whole are in `postgres`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, Self, TypeAlias, TypeGuard

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from asyncpg.transaction import Transaction
from sqlalchemy.util import await_only

from watcherd.errors import StoreError
from watcherd.store.cursor import AfterCommit, ServerError, ServerIntegrityError
from watcherd.store.dialect import POSTGRESQL

DRIVER_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""All that the driver raises when the server refuses, is gone, or does not answer in time."""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

Isolation = Literal["repeatable_read", "serializable"]

_UNDO_TIMEOUT: Final = 5.0
"""Seconds to cancel and undo what failed: it takes no time, or the server does not answer and finds out itself."""

SLICE: Final = 500
"""Rows of a stream that are fetched together: few enough for others to have their turn in between."""

_SERIALIZATION: Final = frozenset({"40001", "40P01"})
_LOCK_NOT_AVAILABLE: Final = "55P03"
_READ_ONLY: Final = "25006"
_PASSING_CLASSES: Final = ("08", "53", "57", "58")
"""Connection lost, no resources, operator intervention, system error."""

_TOO_LONG: Final = "index row "
"""How the server begins to say that a value is too long for an index: of a limit that no other row breaks."""

_PLACEHOLDER: Final = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\?""")
_ANSWERS: Final = re.compile(r"\s*(?:SELECT|WITH|VALUES)\b|.*\bRETURNING\b", re.IGNORECASE | re.DOTALL)
_SAVEPOINT: Final = re.compile(r"\s*(SAVEPOINT|RELEASE|ROLLBACK\s+TO)\s+(?:SAVEPOINT\s+)?(\w+)", re.IGNORECASE)


class PostgresCursor:
    """One connection, inside a transaction that somebody else began and ends.

    PostgreSQL takes no other statement after one that failed, but a refusal is explained with
    look-ups in the catalog. So a failed statement takes the transaction back to the last savepoint,
    or to its begin: then it can only be read from, and never committed.
    """

    dialect = POSTGRESQL
    moment: Final = None

    def __init__(self, connection: Connection, *, timeout: float | None = None) -> None:
        """`timeout` in seconds is for each statement; None: that of the connection."""
        self.rowcount = -1
        self.after_commit: AfterCommit | None = None
        self._connection = connection
        self._timeout = timeout
        self._rows: Iterator[tuple[Any, ...]] = iter(())
        self._savepoints: list[str] = []
        self._transaction: Transaction | None = None
        self._failed = False

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Self:
        """Run one statement; its rows are all fetched."""
        await_only(self.run(sql, parameters))
        return self

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]], /) -> None:
        """Run one statement for each row, without an answer between one and the next."""
        await_only(self._run_many(_read(sql)[0], rows))

    def fetchone(self) -> Any:
        """The next row, or None."""
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        """The remaining rows."""
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def stream(self, sql: str, /) -> Iterator[Any]:
        """The rows of a statement, fetched a slice at a time; the event loop goes on in between.

        By a cursor of SQL: the driver's own stays open to the end of the transaction, and the server
        does not alter a table that one of them is reading.
        """
        # The driver remembers what columns a FETCH has: each query has a name of its own.
        name = f"streamed_{zlib.crc32(sql.encode())}"
        self.execute(f"DECLARE {name} NO SCROLL CURSOR FOR {sql}")
        while rows := self._fetched(f"FETCH {SLICE} FROM {name}"):
            yield from rows
        self.execute(f"CLOSE {name}")

    def _fetched(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            return [tuple(one) for one in await_only(self._connection.fetch(sql, timeout=self._timeout))]
        except DRIVER_ERRORS as error:
            await_only(self._step_back())
            raise translated(error) from error

    async def run(self, sql: str, parameters: Sequence[Any]) -> None:
        """What `execute` does, outside of a greenlet."""
        text, answers = _read(sql)
        try:
            if answers:
                records = await self._connection.fetch(text, *parameters, timeout=self._timeout)
                self._rows, self.rowcount = iter([tuple(record) for record in records]), len(records)
            else:
                status = await self._connection.execute(text, *parameters, timeout=self._timeout)
                last = status.rpartition(" ")[2]
                self._rows, self.rowcount = iter(()), int(last) if last.isdigit() else -1
        except DRIVER_ERRORS as error:
            await self._step_back()
            if parameters and isinstance(error, asyncpg.DataError):
                # An integer beyond 64 bits, a lone surrogate in a text.
                raise StoreError(f"the database cannot hold a value: {error.args[0]}") from error
            raise translated(error) from error
        self._remember(sql)

    async def _run_many(self, text: str, rows: Sequence[Sequence[Any]]) -> None:
        try:
            await self._connection.executemany(text, rows, timeout=self._timeout)
        except DRIVER_ERRORS as error:
            await self._step_back()
            if isinstance(error, asyncpg.DataError):
                raise StoreError(f"the database cannot hold a value: {error.args[0]}") from error
            raise translated(error) from error

    async def begin(self, isolation: Isolation | None = None, *, readonly: bool = False) -> None:
        """Begin the transaction; without an isolation level it is READ COMMITTED."""
        transaction = self._connection.transaction(isolation=isolation, readonly=readonly)
        try:
            await transaction.start()
        except DRIVER_ERRORS as error:
            raise translated(error) from error
        self._transaction = transaction

    async def commit(self) -> None:
        """End the transaction; StoreError when a statement that failed has undone it."""
        if self._failed:
            raise StoreError("the database has undone the transaction after a statement that failed")
        if self._transaction is None:
            return
        try:
            await self._transaction.commit()
        except DRIVER_ERRORS as error:
            raise translated(error) from error

    async def abandon(self) -> None:
        """Undo the transaction, if there is still one; a lost connection has undone it."""
        if self._transaction is None or self._is_lost() or not self._connection.is_in_transaction():
            return
        try:
            await self._transaction.rollback()
        except DRIVER_ERRORS:
            self._give_up()

    def _is_lost(self) -> bool:
        """Whether the connection has ended; the pool has it back by then, and says so with an error."""
        try:
            return bool(self._connection.is_closed())
        except asyncpg.InterfaceError:
            return True

    def _give_up(self) -> None:
        """End a connection that cannot be brought back into a known state."""
        if not self._is_lost():
            self._connection.terminate()

    async def _step_back(self) -> None:
        """Make the transaction usable again after a statement that failed."""
        if self._is_lost():
            return
        if self._transaction is None:
            # A value that the driver cannot encode leaves the conversation in the middle.
            statements = "ROLLBACK"
        elif self._savepoints:
            statements = f"ROLLBACK TO SAVEPOINT {self._savepoints[-1]}"
        else:
            self._failed = True
            statements = "ROLLBACK; BEGIN READ ONLY"
        try:
            await self._connection.execute(statements, timeout=_UNDO_TIMEOUT)
        except DRIVER_ERRORS:
            self._give_up()

    def _remember(self, sql: str) -> None:
        """Which savepoints there are."""
        found = _SAVEPOINT.match(sql)
        if found is None:
            return
        verb, name = found[1].upper(), found[2]
        if verb == "SAVEPOINT":
            self._savepoints.append(name)
            return
        place = len(self._savepoints) - self._savepoints[::-1].index(name)
        del self._savepoints[place if verb != "RELEASE" else place - 1 :]


def translated(error: Exception) -> ServerError:
    """A driver's error as one of those that the store knows; details, which have values, are left out."""
    if isinstance(error, asyncpg.IntegrityConstraintViolationError) or _is_too_long(error):
        return ServerIntegrityError(str(error.args[0]), sqlstate=str(error.sqlstate), constraint=error.constraint_name)
    if isinstance(error, asyncpg.InvalidCachedStatementError | asyncpg.OutdatedSchemaCacheError):
        return ServerError("a table was changed meanwhile", passing=True, repeatable=True)
    if isinstance(error, asyncpg.PostgresError):
        state = str(error.sqlstate)
        repeatable = state in _SERIALIZATION or state == _LOCK_NOT_AVAILABLE
        passing = repeatable or state == _READ_ONLY or state.startswith(_PASSING_CLASSES)
        return ServerError(str(error.args[0]), passing=passing, repeatable=repeatable)
    if isinstance(error, TimeoutError):
        return ServerError("it did not answer in time", passing=True)
    if isinstance(error, OSError | asyncpg.InterfaceError):
        return ServerError("the connection is lost", passing=True)
    return ServerError(str(error), passing=False)


def _is_too_long(error: Exception) -> TypeGuard[asyncpg.ProgramLimitExceededError]:
    """Whether a value is too long for an index."""
    return isinstance(error, asyncpg.ProgramLimitExceededError) and str(error.args[0]).startswith(_TOO_LONG)


def numbered(sql: str) -> str:
    """The statement with numbered parameters."""
    return _read(sql)[0]


@lru_cache(maxsize=4096)
def _read(sql: str) -> tuple[str, bool]:
    """The statement with numbered parameters, and whether it answers rows."""
    number = 0

    def number_it(found: re.Match[str]) -> str:
        nonlocal number
        if found[0] != "?":
            return found[0]
        number += 1
        return f"${number}"

    return _PLACEHOLDER.sub(number_it, sql), _ANSWERS.match(sql) is not None
