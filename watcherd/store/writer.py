"""The one writer of the database: a thread, its connection, and a queue.

Owns the transactions of all writes. What waits is taken together: one BEGIN IMMEDIATE, each write
in a savepoint of its own, one COMMIT (one fsync), one look whether the file is where it was (see
`place`), and only then are the callers answered, all with one wake-up of the event loop. A write
that fails is rolled back alone; a COMMIT that fails, fails the group. A write that rebuilds tables
runs apart: on a connection of its own, foreign keys off. What follows from the model files is told
before the disk has it, see `late_sync`; the least of it is written by the event loop's thread while
this one has nothing to do, see `write_at_once`. Whoever uses the connection has the turn, and gives it
with no statement unfinished: cursors are closed, and what is no transaction is read to its end.

A thread that ends of what nobody has thought of leaves nobody waiting: it is in the log, what waits is
refused, and the next write begins another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from watcherd.errors import StoreError, StoreUnavailableError
from watcherd.store import late_sync
from watcherd.store.at_once import AtOnce, TooMuchError
from watcherd.store.cursor import Cursor, SqliteCursor, is_of_the_medium, refused
from watcherd.store.interrupt import interrupt_until_done
from watcherd.store.jobs import Job, Signal, Write, attempt, deliver, refuse
from watcherd.store.place import Place
from watcherd.store.turn import LAST_SHARE, Turn
from watcherd.store.write_at_once import write_at_once

MAX_GROUP: Final = 64
"""Writes in one transaction: more would make the first of them wait for nothing."""

MOST_NOT_MOVED: Final = 100
"""Writes of the event loop's thread, which leave the log as it is, before it is moved to the database here."""

_STILL_SECONDS: Final = 0.2

T = TypeVar("T")


class Writer:
    """Runs writes one after another, in groups; made and closed on the event loop's thread."""

    def __init__(  # noqa: PLR0913 - what a writer works with, composed once by its database
        self,
        connect: Callable[[], sqlite3.Connection],
        place: Place,
        *,
        max_waiting: int,
        turn: Turn,
        reader: AtOnce | None = None,
        renew_others: Callable[[], None] = lambda: None,
        log: Path | None = None,
    ) -> None:
        """`reader` rests while the tables change, and is woken here, where nobody waits for it; then the others.

        `turn` is that of all who write. `log` is the write-ahead log that commits wait for; None: they do not wait for
        the disk.
        """
        self._connect = connect
        self._place = place
        self._reader = reader
        self._renew_others = renew_others
        self._log = log
        self._owes_sync = False
        self._not_moved = 0
        self._altered = self._has_woken = False
        self._is_behind = False
        self._connection: sqlite3.Connection | None = connect()
        self.max_waiting = max_waiting
        self.medium_refuses: str | None = None
        """What SQLite said of its files when they could not store a write; who has found them well again clears it."""
        self.failure: str | None = None
        """What the thread ended of, if another has not been found well since; who has, clears it."""
        self.failures = 0
        """How many threads have ended so."""
        self.turn = turn
        """Who writes now: this thread, or one of those that interact."""
        self._waiting: queue.SimpleQueue[Job | Signal] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._closing = False
        self._abandoned = threading.Event()
        self._in_hand: list[Job] = []
        self._is_settled = False
        self._runs = False
        self._start()

    @property
    def waiting(self) -> int:
        """How many writes are in the queue now."""
        return self._waiting.qsize()

    async def write(self, write: Write, *, apart: bool = False, alters: bool = False, from_files: bool = False) -> Any:
        """What `write(cursor)` answers, once it is committed.

        With `apart` it runs alone, on a fresh connection that does not enforce foreign keys. Only what
        `alters` may change tables. What is `from_files` alone need not be on the disk by then.

        StoreUnavailableError when too many wait, or when the database cannot take it now. The
        write of a cancelled caller happens wholly or not at all.
        """
        if self._closing:
            raise StoreUnavailableError("the database is being closed")
        if self.waiting >= self.max_waiting:
            raise StoreUnavailableError(f"{self.max_waiting} writes are waiting for the database already")
        if not self._runs:
            self._start()
        job = Job(write, self._loop.create_future(), apart=apart, alters=alters, from_files=from_files)
        self._waiting.put(job)
        return await job.future

    def write_at_once(self, write: Callable[[Cursor], T]) -> T:
        """What `write(cursor)` answers, committed by this thread: for what takes next to nothing, `from_files` alone.

        TooMuchError where somebody would have to be waited for, or where `write` says so: then nothing has happened.
        Where the connection broke right after it, everything may have: it has to be something that can be done again.
        """
        is_free = self._runs and not (self._closing or self.waiting or self._place.is_lost)
        if not (is_free and self.turn.take_to_write(0)):
            raise TooMuchError("others write now, or nobody can")
        try:
            if self._connection is None or self._is_behind:
                raise TooMuchError("there is no connection now, or it would have to read how the tables are")
            result = write_at_once(self._connection, write, waits_for_disk=self._log is not None)
        except sqlite3.Error as error:
            self._disconnect()  # else rows might not be waited for by the disk
            raise TooMuchError(str(error)) from error
        finally:
            self.turn.give()
        if (why := self._place.lost()) is not None:
            raise StoreUnavailableError(why)
        self._owes_sync = self._log is not None
        self._not_moved += 1
        if self._owes_sync or self._not_moved >= MOST_NOT_MOVED:
            self._loop.call_soon(self._waiting.put, Signal.LOOK)  # once the caller has gone on
        return result

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109 - a deadline for the queue, not for the caller
        """Finish what waits within `timeout` seconds, refuse the rest, end the thread.

        StoreError when a write cannot be made to end.
        """
        if self._closing:
            return
        self._closing = True
        if not self._runs:
            self._disconnect()
            return
        self._waiting.put(Signal.END)
        await asyncio.wait([self._ended], timeout=timeout)
        if not self._ended.done():
            self._abandoned.set()
            self.turn.hurry()
        if not await interrupt_until_done([self._ended], self._connections):
            raise StoreError("cannot close the database: a write does not end")
        self._thread.join()

    def _start(self) -> None:
        """Begin the thread. StoreUnavailableError where there is none to be had."""
        self._thread = threading.Thread(target=self._live, name="watcherd-writer", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise StoreUnavailableError(f"the database cannot be written now: {error}") from error
        self._runs = True

    def _live(self) -> None:
        """The thread: nobody waits for one that has ended, whatever it was."""
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 - nobody is above to hear of it: the loop is told
            self.turn.take()  # the event loop's thread may be using it
            try:
                self._disconnect()  # what is open is rolled back, and keeps no other from writing
            finally:
                self.turn.give()
                self._tell(self._has_died, error)

    def _has_died(self, error: BaseException) -> None:
        """On the loop: answer those who wait, and say what it was."""
        self._runs = False
        self.failures += 1
        self.failure = f"its writer ended of {type(error).__name__}: {error}"
        log = structlog.stdlib.get_logger("watcherd.store")
        log.error("store.writer_failed", hint="the next write begins another one", exc_info=error)
        if not self._is_settled:
            unknown = "whether this was written is not known: look before it is sent again"
            refuse(self._in_hand, f"the database: {self.failure}; {unknown}")
        waiting: list[Job] = []
        with contextlib.suppress(queue.Empty):
            while True:
                job = self._waiting.get_nowait()
                waiting += [job] if isinstance(job, Job) else []
        refuse(waiting, f"the database: {self.failure}; this was not written")
        deliver([*self._in_hand, *waiting])
        self._in_hand = []
        if self._closing:
            _finish(self._ended)

    def _run(self) -> None:
        """Groups until the end of the queue."""
        ending = False
        while not ending:
            group, ending = self._take()
            if group:
                self.turn.take_to_write()
                try:
                    self._settle(group)
                    self._is_settled = True
                finally:
                    self.turn.give()
                if not all(job.alters for job in group):
                    self._wake_reader()  # who writes rows is going to read them
                self._tell(deliver, group)
                self._in_hand = []
                if self._place.is_lost:
                    self._place.save(self._connection, lambda: not self._abandoned.is_set())
                if self._reader is not None and self._reader.used:
                    self._wake_reader()
            self._catch_up()
            self._renew()
            self._make_up()
        self._disconnect()
        self._tell(_finish, self._ended)

    def _take(self) -> tuple[list[Job], bool]:
        """All that waits, none where there is but something to make up for, and whether the queue has ended."""
        self._is_settled = False
        group = self._in_hand = []
        job = self._next()
        while job is not Signal.END:
            if isinstance(job, Job) and not job.future.cancelled():
                group.append(job)
            if len(group) >= MAX_GROUP:
                return group, False
            try:
                job = self._waiting.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _next(self) -> Job | Signal:
        """The next job or signal.

        A reader that nobody uses is woken once the tables stand still: a start with ten thousand models
        changes them hundreds of times, and each time the definitions of all would be read again.
        """
        if self._altered:
            try:
                return self._waiting.get(timeout=_STILL_SECONDS)
            except queue.Empty:
                self._wake_reader()
                self._renew()
        return self._waiting.get()

    def _settle(self, group: list[Job]) -> None:
        """Give each job its result or error, once it is certain what was committed."""
        if self._abandoned.is_set():
            for job in group:
                job.error = StoreUnavailableError("the database was closed before this write began")
            return
        if self._place.is_lost and refuse(group, self._place.lost()):
            return
        for apart, jobs in itertools.groupby(group, key=lambda job: job.apart):
            if apart:
                for job in jobs:
                    self._settle_apart(job)
            else:
                self._settle_together(list(jobs))
        # Only now, when it is in the files: before that, they could still be deleted unseen.
        refuse(group, self._place.lost())

    def _settle_together(self, group: list[Job]) -> None:
        try:
            connection = self._connected()
            if self._log is not None and all(job.from_files for job in group) and late_sync.put_off(connection):
                self._transact(connection, group)
                late_sync.restore(connection)
                self._owes_sync = True
            else:
                self._transact(connection, group)
        except (sqlite3.Error, StoreUnavailableError) as error:
            self._note(error)
            self._disconnect()  # whatever is wrong with it, the next group gets a fresh one
            for job in group:
                # One each: they are raised in different tasks, and collect different tracebacks.
                job.error = refused(error) if isinstance(error, sqlite3.Error) else StoreUnavailableError(str(error))

    def _settle_apart(self, job: Job) -> None:
        """Run one write alone. Inside a transaction the setting would be ignored, so it comes first."""
        self._disconnect()
        try:
            connection = self._connected()
            connection.execute("PRAGMA foreign_keys=OFF")
            self._transact(connection, [job])
        except sqlite3.Error as error:
            self._note(error)
            job.error = refused(error)
        except StoreUnavailableError as error:
            job.error = error
        finally:
            self._disconnect()

    def _transact(self, connection: sqlite3.Connection, group: list[Job]) -> None:
        with contextlib.closing(connection.cursor(SqliteCursor)) as cursor:
            self._transact_on(cursor, group)

    def _transact_on(self, cursor: SqliteCursor, group: list[Job]) -> None:
        connection = cursor.connection
        self._begin(cursor)
        tables = _tables(cursor) if any(job.alters for job in group) else None
        if len(group) == 1:
            job = group[0]
            attempt(job, cursor)
            if job.error is not None:
                self._note(job.error.__cause__)
                if connection.in_transaction:
                    cursor.execute("ROLLBACK")
                return
        else:
            for job in group:
                cursor.execute("SAVEPOINT one")
                attempt(job, cursor)
                if job.error is not None:
                    self._note(job.error.__cause__)
                if not connection.in_transaction:
                    # Full disk or broken I/O: the database has rolled back the whole group.
                    raise StoreUnavailableError(f"the database rolled back what was written together: {job.error}")
                if job.error is not None:
                    cursor.execute("ROLLBACK TO one")
                cursor.execute("RELEASE one")
        if tables is not None and tables != _tables(cursor):
            self._is_behind = True
            if self._reader is not None:
                self._reader.rest()
                self._altered = True
        self._commit(cursor)

    def _begin(self, cursor: Cursor) -> None:
        """Take SQLite's lock; who has waited in vain for his turn among all processes has little patience left."""
        if self.turn.is_first:
            cursor.execute("BEGIN IMMEDIATE")
            return
        [(patience,)] = cursor.execute("PRAGMA busy_timeout").fetchall()
        cursor.execute(f"PRAGMA busy_timeout={round(patience * LAST_SHARE)}").fetchall()
        try:
            cursor.execute("BEGIN IMMEDIATE")
        finally:
            cursor.execute(f"PRAGMA busy_timeout={patience}").fetchall()

    def _commit(self, cursor: Cursor) -> None:
        """End the transaction; whatever comes of it, nothing is about to change any more."""
        try:
            cursor.execute("COMMIT")
        finally:
            if self._reader is not None:
                self._reader.changed()

    def _note(self, error: BaseException | None) -> None:
        """Remember what is wrong with the files, if that is what the error is about."""
        if is_of_the_medium(error):
            self.medium_refuses = str(error)

    def _wake_reader(self) -> None:
        """What it cannot do now, the reader's next read does."""
        if self._reader is not None and self._altered:
            self._altered, self._has_woken = False, True
            with contextlib.suppress(sqlite3.Error):
                self._reader.wake()

    def _renew(self) -> None:
        """Have the other readers see the tables, too: after the two that requests wait for."""
        if self._has_woken:
            self._has_woken = False
            self._renew_others()

    def _make_up(self) -> None:
        """Have the disk get what was told before it had it, and the database what is long in the log."""
        if self._owes_sync and self._log is not None:
            self._owes_sync = False
            late_sync.make_up(self._log)
        if self._not_moved >= MOST_NOT_MOVED:
            self._not_moved = 0
            self._run_between("PRAGMA wal_checkpoint(PASSIVE)")  # what it cannot move now, a later one does

    def _catch_up(self) -> None:
        """See how the tables are now, before the next write has to: their definitions may have been edited, unread."""
        if self._is_behind:
            self._run_between("SELECT 1 FROM sqlite_schema LIMIT 0")  # of what is wrong, the next write is told
        self._is_behind = False

    def _run_between(self, sql: str) -> None:
        """Run a statement between two groups, whatever comes of it."""
        self.turn.take()
        try:
            if self._connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    # Read to its end: the cursor need not go with this line, since who looks for garbage in another
                    # thread holds all objects meanwhile, and a checkpoint in progress lets no transaction be committed.
                    self._connection.execute(sql).fetchall()
        finally:
            self.turn.give()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connections(self) -> list[sqlite3.Connection]:
        connection = self._connection
        return [] if connection is None else [connection]

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # What is open must be rolled back by hand: a close waits for statements that somebody
            # still holds, and the lock with it. A connection that cannot even do that is let go.
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _tell(self, callback: Callable[[Any], None], argument: object) -> None:
        # A loop that is closed has nobody left to be told.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, argument)


def _tables(cursor: Cursor) -> int:
    """The version of the definitions of all tables."""
    version: int = cursor.execute("PRAGMA schema_version").fetchone()[0]
    return version


def _finish(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
