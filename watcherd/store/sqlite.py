"""SQLite: the connections to one file, who reads where, and who writes.

Owns the file, the PRAGMAs, one reader on the event loop's thread for what takes microseconds (see
`at_once`; readers of a write-ahead log hardly ever wait), a few reader threads for the rest (`readers`
has their connections), and the writer. Does not know any table. There is no engine and no pool of
SQLAlchemy in between: its Core makes the statements, and they run on raw connections, which costs a tenth.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from watcherd.errors import StoreError, StoreUnavailableError
from watcherd.store import backup, operators
from watcherd.store.at_once import AtOnce, RestingError, TooMuchError
from watcherd.store.cursor import Cursor, read_one_state, refused, run
from watcherd.store.dialect import SQLITE
from watcherd.store.hold import Hold, Tenure
from watcherd.store.interrupt import interrupt_until_done
from watcherd.store.place import Place
from watcherd.store.readers import Readers
from watcherd.store.session import Body, interact
from watcherd.store.sqlite_session import SESSIONS, Connections, SqliteSession
from watcherd.store.sqlite_stream import SqliteStream
from watcherd.store.stream import opened
from watcherd.store.turn import Turn
from watcherd.store.turnstile import Turnstile
from watcherd.store.usage import MAX_WAITING, Usage
from watcherd.store.writer import Writer

READERS: Final = 3
_CACHED_STATEMENTS: Final = 1024

_FREE_ENOUGH: Final = 2**20
"""Bytes on a disk that is not called full any more."""

_LOOK: Final = "SELECT 1 FROM sqlite_schema LIMIT 1"
"""A read of the file itself: one of constants alone is answered without it."""

Durability = Literal["full", "normal", "off"]
"""SQLite's `synchronous`; `off` is for what need not outlive the process."""

T = TypeVar("T")


class SqliteDatabase:
    """Open connections; everything that runs on them is a function over a cursor."""

    dialect = SQLITE

    def __init__(  # noqa: PLR0913 - all that is to be said of a database, once
        self,
        path: Path,
        *,
        durability: Durability = "full",
        busy_timeout: float = 5.0,
        max_waiting: int = MAX_WAITING,
        tenure: Tenure = "shared",
        in_line: bool = False,
    ) -> None:
        """Opens the file and starts the writer; needs a running event loop. `busy_timeout` is in seconds.

        `in_line`: other processes write as much as this one does, and all stand in one line (see `turnstile`).
        StoreError where another process has it in a way that does not go with `tenure`.
        """
        self.path = path
        self._hold = Hold.take(path, tenure)
        self.shown = str(path)
        self._busy_timeout = busy_timeout
        self._pragmas = (
            f"PRAGMA synchronous={durability.upper()}",  # first: it holds for the change of the journal, too
            "PRAGMA journal_mode=WAL",
            "PRAGMA foreign_keys=ON",
            "PRAGMA temp_store=MEMORY",
            "PRAGMA cache_size=-16384",
            "PRAGMA journal_size_limit=67108864",
        )
        self._readers = Readers(self._connect_reader)
        self._waking: Future[None] | None = None
        self._reading: set[Future[Any]] = set()
        self._streams: set[SqliteStream] = set()
        self._closing = False
        self._abandoned = False
        self._place: Place | None = None
        self._turnstile: Turnstile | None = None
        try:
            if in_line:
                self._turnstile = Turnstile(path)
            self._turn = Turn(self._turnstile, busy_timeout)
            self.at_once = AtOnce(self._readers.connected(), self._wake_reader_soon, self._readers.learning)
            self._place = Place(path, saves=tenure == "leading")
            log = path.with_name(f"{path.name}-wal") if durability == "full" else None
            self._writer = Writer(
                self._connect,
                self._place,
                max_waiting=max_waiting,
                turn=self._turn,
                reader=self.at_once,
                renew_others=self._renew_readers,
                log=log,
            )
        except (sqlite3.Error, StoreError) as error:
            self._readers.close()
            self._leave()
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"cannot open the database {path}: {error}") from error
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="watcherd-reader")
        # A thread more for each: what ends a transaction must not wait for a step of another.
        self._steps = ThreadPoolExecutor(2 * SESSIONS, thread_name_prefix="watcherd-session")
        self._sessions = asyncio.Semaphore(SESSIONS)
        self._connections = Connections(self._connect, self._place)

    async def fetch_row(self, sql: str, parameters: tuple[Any, ...]) -> Any:
        """The first row of a read by key: at once, unless somebody has to be waited for. StoreError."""
        try:
            return self.at_once.fetch_row(sql, parameters)
        except TooMuchError:
            pass
        if await self.awake():
            with contextlib.suppress(TooMuchError):
                return self.at_once.fetch_row(sql, parameters)
        return await self.read(lambda cursor: run(cursor, sql, parameters).fetchone())

    async def awake(self) -> bool:
        """As `Database`: it takes as long as it would take another connection, once for all who wait."""
        if not self.at_once.is_behind:
            return False
        if self._waking is None or self._waking.done():
            self._waking = self._submit(self._wake_reader)
        # Whoever gives up waiting does so for itself alone.
        await asyncio.shield(asyncio.wrap_future(self._waking))
        return True

    async def read(self, read: Callable[[Cursor], T]) -> T:
        """Run a read in a thread, in one transaction: it sees one state of the database."""
        return await asyncio.wrap_future(self._submit(lambda: self._read_in_thread(read)))

    async def stream(self, sql: str, parameters: tuple[Any, ...]) -> SqliteStream:
        """The rows of a query as of one moment, a slice at a time; whoever asks for it closes it.

        StoreUnavailableError when too many are open already.
        """
        return await opened(
            lambda: SqliteStream(self._submit, self._connect_to_read, self._streams.discard),
            self._streams,
            sql,
            parameters,
        )

    async def write(self, write: Callable[[Cursor], T]) -> T:
        """Run a write in the writer's thread and answer when it is committed; see `Writer.write`."""
        result: T = await self._writer.write(write)
        return result

    async def transact(self, write: Callable[[Cursor], T]) -> T:
        """A write like any other: there is one writer at a time."""
        return await self.write(write)

    async def interact(self, body: Body[T]) -> T:
        """Run a transaction of many steps on a connection of its own; the second try cannot be refused."""
        if self._closing:
            raise StoreUnavailableError("the database is being closed")

        def open_session(number: int) -> SqliteSession:
            return SqliteSession(self._connections, self._turn, self._steps, at_once=number > 1)

        async with self._sessions:
            return await interact(open_session, body, tries=2)

    async def change(
        self,
        change: Callable[[Cursor], T],
        *,
        apart: bool = False,
        from_files: bool = False,
        at_once: Callable[[Cursor], T] | None = None,
    ) -> T:
        """A write like any other: there is one writer at a time anyway, over all processes.

        With `apart` it runs on a connection of its own, with foreign keys off; for `from_files` see `late_sync`.
        """
        if at_once is not None:
            with contextlib.suppress(TooMuchError):
                return self._writer.write_at_once(at_once)
        result: T = await self._writer.write(change, apart=apart, alters=True, from_files=from_files)
        return result

    async def back_up(self) -> Path:
        """Copy the file by SQLite's own means to `backups` beside it; StoreError when the copy is not whole."""
        return await asyncio.to_thread(backup.back_up, self.path)

    def usage(self) -> Usage:
        """The queue of the writer, and the reader threads."""
        writer = self._writer
        return Usage(writer.waiting, writer.max_waiting, len(self._reading), READERS, writer.failures)

    async def health(self) -> str | None:
        """Why a read fails now, or writes are refused; None when neither is so."""
        try:
            self.at_once.look(_LOOK)
        except RestingError:
            pass  # somebody is at work on the tables: it answers
        except TooMuchError as error:
            return f"the database {self.path} cannot be read now: {error}"
        lost = None if self._place is None else self._place.lost()
        return await self._why_not_written() if lost is None else lost

    async def _why_not_written(self) -> str | None:
        """Why the files take no write, after another try where they took none; None where they do."""
        said = self._writer.failure or self._writer.medium_refuses
        if said is None:
            return None
        try:
            # What is little may still find a place on a disk that is full for most writes.
            if _free_bytes(self.path) >= _FREE_ENOUGH:
                await self._writer.write(_write_little)
                self._writer.failure = self._writer.medium_refuses = None
                return None
        except (OSError, StoreError):
            pass  # it is as it was
        return f"the database {self.path} cannot be written now: {said}"

    async def close(self, timeout: float = 10) -> None:  # noqa: ASYNC109 - a deadline for the queue, not for the caller
        """Finish what is queued within `timeout` seconds, then end all threads and connections."""
        if self._closing:
            return
        self._closing = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        try:
            await self._writer.close(timeout)
        finally:
            try:
                await self._end_reads(max(deadline - loop.time(), 0))
            finally:
                self._leave()

    def _leave(self) -> None:
        """Be in nobody's way any more."""
        if self._turnstile is not None:
            self._turnstile.close()
        self._hold.release()

    async def _end_reads(self, timeout: float) -> None:  # noqa: ASYNC109 - a deadline for the readers, not for the caller
        """Let reads finish for `timeout` seconds, then interrupt them; StoreError when one does not end."""
        self._threads.shutdown(wait=False)
        waiting = [asyncio.wrap_future(future) for future in tuple(self._reading)]
        if waiting:
            await asyncio.wait(waiting, timeout=timeout)
        self._abandoned = True
        ended = await interrupt_until_done(waiting, self._reading_connections)
        for future in waiting:
            if future.done() and not future.cancelled():
                future.exception()  # its caller has it; this copy is for waiting only
        if not ended:
            raise StoreError("cannot close the database: a read does not end")
        self._threads.shutdown(wait=True)
        self._turn.hurry()  # steps that wait for other processes
        self._steps.shutdown(wait=True)
        self._connections.close()
        for stream in tuple(self._streams):
            stream.end()
        self._readers.close()

    def _reading_connections(self) -> list[sqlite3.Connection]:
        streams = [stream.connection for stream in self._streams if stream.connection is not None]
        return [*self._readers.connections, *streams]

    def _wake_reader_soon(self) -> None:
        """Have the event loop's reader read the definitions anew in a thread; refused by a pool that is closed."""
        with contextlib.suppress(RuntimeError):
            self._threads.submit(self._wake_reader)

    def _wake_reader(self) -> None:
        """What it cannot do now, its next read tries again."""
        with contextlib.suppress(sqlite3.Error):
            self.at_once.wake()
        self._renew_readers()

    def _renew_readers(self) -> None:
        """Have the other readers know the tables before anybody needs them: one after the other, between reads."""
        with contextlib.suppress(RuntimeError):
            self._threads.submit(self._renew_one)

    def _renew_one(self) -> None:
        """What it cannot do now, the next read does."""
        with contextlib.suppress(sqlite3.Error):
            if not self._abandoned and self._readers.renew():
                self._renew_readers()

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        """Run a read in a thread. The future is the thread's own: it lives on when its caller is cancelled."""
        if self._closing:
            raise StoreUnavailableError("the database is being closed")
        future = self._threads.submit(self._in_thread, work)
        self._reading.add(future)
        future.add_done_callback(self._reading.discard)
        return future

    def _in_thread(self, work: Callable[[], T]) -> T:
        if self._abandoned:
            raise StoreUnavailableError("the database was closed before this read began")
        try:
            return work()
        except sqlite3.Error as error:
            raise refused(error) from error

    def _read_in_thread(self, read: Callable[[Cursor], T]) -> T:
        with self._readers.lent() as connection:
            return read_one_state(connection, read)

    def _connect_reader(self) -> sqlite3.Connection:
        connection = self._connect_to_read()
        connection.execute(_LOOK).fetchall()  # opens all its files: they may be gone when it is first used
        return connection

    def _connect_to_read(self) -> sqlite3.Connection:
        connection = self._connect()
        connection.execute("PRAGMA query_only=ON")
        return connection

    def _connect(self) -> sqlite3.Connection:
        if self._place is not None:
            self._place.check()  # else an empty database would be made where ours was
        # Without an isolation level nothing begins a transaction but us: DDL can be rolled back.
        connection = sqlite3.connect(
            self.path,
            timeout=self._busy_timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_CACHED_STATEMENTS,
        )
        try:
            for pragma in self._pragmas:
                connection.execute(pragma).fetchall()  # to its end: see `Writer`
            operators.install(connection)
        except sqlite3.Error:
            connection.close()
            raise
        return connection


def _write_little(cursor: Cursor) -> None:
    """A write that changes nothing, and goes to the files as any other."""
    [(version,)] = cursor.execute("PRAGMA user_version").fetchall()
    cursor.execute(f"PRAGMA user_version={version:d}")


def _free_bytes(path: Path) -> int:
    found = os.statvfs(path.parent)
    return found.f_bavail * found.f_frsize
