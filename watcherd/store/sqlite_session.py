"""An interactive transaction on SQLite: a connection of its own, reading as of one moment.

Owns when the write lock is taken: with the first step that writes, in turn with all other writers
of the process, for `HOLD_SECONDS` at most. If somebody else has written since the transaction's
first read, SQLite refuses the lock; the next try takes it before it reads, and cannot be refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Final, TypeVar

from watcherd.errors import StoreError, StoreUnavailableError
from watcherd.store.cursor import AfterCommit, Cursor, SqliteCursor, refused
from watcherd.store.place import Place
from watcherd.store.session import HOLD_SECONDS, StaleError, in_savepoint
from watcherd.store.turn import Turn

T = TypeVar("T")

SESSIONS: Final = 16
"""Interactive transactions at once; more wait."""

_NOT_NOW: Final = frozenset({sqlite3.SQLITE_BUSY_SNAPSHOT, sqlite3.SQLITE_BUSY})
"""Somebody has written since the first read, or another process writes now: SQLite does not wait for it then."""


class Connections:
    """The connections that sessions use, kept for the next ones; for several threads."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], place: Place) -> None:
        self.place = place
        self._connect = connect
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()

    def take(self) -> sqlite3.Connection:
        """One that nobody uses."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def give(self, connection: sqlite3.Connection) -> None:
        """Have one back, its transaction ended; one that is not well is let go."""
        if connection.in_transaction:
            connection.close()
            return
        with self._lock:
            self._idle.append(connection)

    def close(self) -> None:
        """End those that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class SqliteSession:
    """One transaction. Its steps run in the threads of `threads`, or in the caller's."""

    def __init__(self, connections: Connections, turn: Turn, threads: Executor, *, at_once: bool) -> None:
        """With `at_once` the write lock is taken before the first step, whatever it is."""
        self.stale = False
        self.after_commit: AfterCommit = {}
        self._connections = connections
        self._turn = turn
        self._threads = threads
        self._at_once = at_once
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._has_turn = False
        self._used = self._ended = False
        self._late: str | None = None
        self._clock: asyncio.TimerHandle | None = None

    async def run(self, step: Callable[[Cursor], T], *, writes: bool = False) -> T:
        """A step, in a thread."""
        return await self._loop.run_in_executor(self._threads, lambda: self.run_here(step, writes=writes))

    def run_here(self, step: Callable[[Cursor], T], *, writes: bool = False) -> T:
        """A step, in this thread."""
        with self._lock:
            self._check_open()
            self._used = True
            try:
                cursor = self._begun(writes=writes)
                if not writes:
                    return step(cursor)
                result: T = in_savepoint(cursor, step, self.after_commit)
            except sqlite3.Error as error:
                if not self._at_once and getattr(error, "sqlite_errorcode", None) in _NOT_NOW:
                    self.stale = True
                    raise StaleError("what was read was changed by another") from error
                raise refused(error) from error
            return result

    async def commit(self) -> None:
        """Keep everything."""
        await self._loop.run_in_executor(self._threads, self._commit)

    async def abandon(self) -> None:
        """Take everything back, unless it is committed."""
        if self._clock is not None:
            self._clock.cancel()
        self._ended = True
        if self._used:
            connection = self._connection
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.interrupt()  # a step that nobody waits for any more
            await self._loop.run_in_executor(self._threads, self._let_go)

    def _begun(self, *, writes: bool) -> Cursor:
        if writes and self._connections.place.is_lost:
            self._connections.place.check()
        if self._connection is None:
            if self._at_once:
                self._take_turn()
            self._connection = self._connections.take()
            self._connection.execute("BEGIN IMMEDIATE" if self._at_once else "BEGIN")
        if writes and not self._has_turn:
            self._take_turn()
        cursor: SqliteCursor = self._connection.cursor(SqliteCursor)
        cursor.after_commit = self.after_commit
        return cursor

    def _check_open(self) -> None:
        if self._late is not None:
            raise StoreUnavailableError(self._late)
        if self._ended:
            raise StoreError("the transaction has ended")

    def _take_turn(self) -> None:
        if not self._turn.take_to_write(HOLD_SECONDS):
            raise StoreUnavailableError(f"the database did not take a write within {HOLD_SECONDS:g} seconds")
        self._has_turn = True
        self._check_open()  # it may have taken a while
        self._loop.call_soon_threadsafe(self._start_clock)

    def _start_clock(self) -> None:
        if not self._ended:
            self._clock = self._loop.call_later(HOLD_SECONDS, self._expire)

    def _expire(self) -> None:
        """Others have waited long enough."""
        self._late = f"the transaction was taken back: it kept others from writing for {HOLD_SECONDS:g} seconds"
        self._ended = True
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.interrupt()
        self._threads.submit(self._let_go)

    def _commit(self) -> None:
        with self._lock:
            self._check_open()
            if self._connection is None:
                return
            has_written = self._has_turn
            try:
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise refused(error) from error
        self._let_go()
        if has_written:
            self._connections.place.check()

    def _let_go(self) -> None:
        """Give back the connection and the turn, once no step is running."""
        with self._lock:
            connection, self._connection = self._connection, None
            has_turn, self._has_turn = self._has_turn, False
            try:
                if connection is not None:
                    if connection.in_transaction:
                        _roll_back(connection)
                    self._connections.give(connection)
            finally:
                if has_turn:
                    self._turn.give()


def _roll_back(connection: sqlite3.Connection) -> Any:
    with contextlib.suppress(sqlite3.Error):
        connection.execute("ROLLBACK")
