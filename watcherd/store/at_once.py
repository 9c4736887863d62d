"""SQLite's reader on the event loop's thread: for what takes less time than asking a thread for it.

Owns what may be read there, and the memory of counts. A read is bounded by steps of SQLite's virtual
machine, not by what it looks like: one that goes over the bound is stopped, and its caller asks a
thread, as it does the next times without trying here. It waits for nobody either: readers of a
write-ahead log need not, but for moments such as the recovery after a process that died while it
wrote; then its caller asks a thread, which may wait. So it does whatever SQLite refuses here, since
that does not always say that it would have to wait: a table that another connection has just made
is a missing one as long as the schema cannot be read. Where another process has changed tables, as the
parent of a worker does, their definitions would be read here, of all tables: that is stopped by how
long it takes, and done in a thread, while reads are left to others. Counting a table is a single step whatever its
size, so it is done here only where the number was known to be small. A number is remembered together
with the version of the data: as long as nobody, in whatever process, has written anything, it is the
number.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from watcherd.errors import StoreError
from watcherd.store.cursor import Cursor, SqliteCursor, read_one_state, run
from watcherd.store.readers import LOOK_AGAIN, TABLES

MAX_STEPS: Final = 20_000
"""Of the virtual machine, for one read: about half a millisecond."""

MAX_COUNTED: Final = 20_000
"""Rows that are counted here: about a tenth of a millisecond."""

_STEPS_A_TICK: Final = 500
MAX_TICKS: Final = MAX_STEPS // _STEPS_A_TICK

SLOW_SECONDS: Final = 0.0001
"""From one tick to the next: several times what so many steps take, unless they read definitions."""

_MAX_REMEMBERED: Final = 256
_SMALL: Final = 1_000
"""Characters in all values of what is remembered."""

_NOT_TRIED: Final = 100
"""How often a statement that was too much is left to the threads before it is tried here again."""

_VERSION: Final = "PRAGMA data_version"

T = TypeVar("T")
Query = tuple[str, tuple[Any, ...]]
"""SQL text and its values."""


class TooMuchError(StoreError):
    """A read is not for the event loop's thread: it is long, would have to wait, or is refused. Ask another thread."""


class RestingError(TooMuchError):
    """The tables are being changed, or have been: they are read by others until their definitions are known again."""


class _Known(NamedTuple):
    """A number, and the version of the data that it is true of; None: it is but a guess by now."""

    number: int
    version: int | None


class AtOnce:
    """One connection that only reads; used on the event loop's thread alone, but while it rests.

    Never by two threads at once: SQLite has a lock of its own around a connection, which one of them would hold
    while it waits for Python's, and the other the other way round. Nothing in the process would go on.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        wake_soon: Callable[[], None] = lambda: None,
        learning: threading.Lock | None = None,
    ) -> None:
        """`wake_soon` has it woken in another thread, where it turns out that another process has changed tables.

        `learning` is held by whoever reads definitions; see `readers`.
        """
        self._connection = connection
        self._wake_soon = wake_soon
        self._tables: int | None = None  # the version of the definitions that are known
        self._ticks = 0
        self._ticked = 0.0
        self._patient = self._ending = False
        self._counts: dict[Query, _Known] = {}
        self._too_much: dict[str, int] = {}
        self._alone = threading.Lock()
        self._learning = learning or threading.Lock()
        self._noting = threading.Lock()
        self._waking = self._is_changing = False
        self._changes = 0
        self.resting = False
        """Whether reads are refused, for as long as tables are being changed."""
        self.used = False
        """Whether anybody has wanted to read since it was woken last."""
        connection.execute("PRAGMA busy_timeout=0")
        connection.set_progress_handler(self._tick, _STEPS_A_TICK)

    def fetch_row(self, sql: str, parameters: tuple[Any, ...]) -> Any:
        """The first row of a read by key, or None. TooMuchError; StoreError for a value that no database holds."""
        self._begin()
        try:
            return run(self._connection.cursor(SqliteCursor), sql, parameters).fetchone()
        except sqlite3.Error as error:
            return self._again(error, lambda: run(self._connection.cursor(SqliteCursor), sql, parameters).fetchone())
        finally:
            self._alone.release()

    def look(self, sql: str) -> None:
        """Read something for nobody, to see whether that can be done. The same errors."""
        used = self.used
        try:
            self.fetch_row(sql, ())
        finally:
            self.used = used

    def read(self, sql: str, read: Callable[[Cursor], T]) -> T:
        """Run a read that sees one state of the database; `sql` is what costs most in it. The same errors."""
        self._refuse_known(sql)
        self._begin()
        try:
            return self._read(read)
        except sqlite3.Error as error:
            return self._again(error, lambda: self._read(read), sql)
        finally:
            self._alone.release()

    def _read(self, read: Callable[[Cursor], T]) -> T:
        """One transaction, which has ended afterwards whatever has stopped it.

        A tick may come with its last statement as well: where that was stopped, every later read by key would see
        the database as it was then.
        """
        try:
            return read_one_state(self._connection, read)
        finally:
            if self._connection.in_transaction:
                self._ending = True
                try:
                    self._connection.execute("ROLLBACK")
                finally:
                    self._ending = False

    def rest(self) -> None:
        """Refuse every read from now on: the tables are about to change. For any thread; see `wake`."""
        with self._noting:
            self.resting = self._is_changing = True
            self._changes += 1

    def changed(self) -> None:
        """Note that the change is in the database, or will never be. For whoever has called `rest`."""
        self._is_changing = False

    @property
    def is_behind(self) -> bool:
        """Whether it rests, and nothing stands in the way of a `wake` but the time that it takes.

        Before the change is there, other connections know the tables: nobody has to wait for anything.
        """
        return self.resting and not self._is_changing

    def wake(self) -> None:
        """See how the tables are now, then read again. For any thread but the event loop's.

        A connection reads the definitions of all tables again when one of them has changed: with a
        thousand models that takes six milliseconds or more, and more steps than a read may have here.
        """
        with self._learning:
            if self.resting or self._tables is None:  # else another thread has done it while this one waited
                with self._alone:  # a read that has begun before the rest is over in half a millisecond
                    self._learn()

    def version(self) -> int:
        """Changes whenever anybody has written to the database. TooMuchError."""
        found: tuple[int] = self.fetch_row(_VERSION, ())
        return found[0]

    def count(self, cursor: Cursor, sql: str, parameters: tuple[Any, ...]) -> int:
        """The number that a query counts, inside a read. TooMuchError where it may take long."""
        query, (version,) = (sql, parameters), cursor.execute(_VERSION).fetchone()
        known = self._counts.get(query)
        if known is None or (known.version != version and known.number > MAX_COUNTED):
            raise TooMuchError
        if known.version == version:
            return known.number
        number: int = run(cursor, sql, parameters).fetchone()[0]
        self._keep(query, _Known(number, version))
        return number

    def remember(self, query: Query, number: int, before: int) -> None:
        """Keep what was counted in another thread since the version was `before`. TooMuchError."""
        # As long as that has not changed, the other one saw what is seen here.
        self._keep(query, _Known(number, before if self.version() == before else None))

    def _learn(self) -> None:
        self._waking, self.used = True, False
        changes = self._changes
        try:
            self._tables = self._version_of_tables()
            self._connection.execute(LOOK_AGAIN).fetchall()
        finally:
            with self._noting:
                self._waking = False
                # Else the next read would find what has changed meanwhile, on the event loop's thread.
                self.resting = self._is_changing or self._changes != changes

    def _keep(self, query: Query, known: _Known) -> None:
        self._counts.pop(query, None)
        if not is_small(query[1]):
            return
        while len(self._counts) >= _MAX_REMEMBERED:
            del self._counts[next(iter(self._counts))]
        self._counts[query] = known

    def _begin(self) -> None:
        """Have the connection for this thread; TooMuchError while another one has it, or is about to."""
        self.used = True
        if self.resting or not self._alone.acquire(blocking=False):
            raise RestingError("the tables are being changed")
        self._ticks = 0

    def _again(self, error: sqlite3.Error, read: Callable[[], T], sql: str | None = None) -> T:
        """What is to come of a read that failed: what it finds after all, or one of the errors."""
        if _was_stopped(error):
            few, self._ticks = self._ticks <= MAX_TICKS, 0
            self._rest_if_tables_changed()
            if few:  # it was slow for what it did, and not for the tables: so it may be
                self._patient = True
                try:
                    return read()
                except sqlite3.Error as later:
                    error = later
                finally:
                    self._patient = False
            if sql is not None and _was_stopped(error) and len(self._too_much) < _MAX_REMEMBERED:
                self._too_much[sql] = _NOT_TRIED
        raise TooMuchError(str(error)) from error

    def _rest_if_tables_changed(self) -> None:
        """What was stopped was the reading of definitions, which other processes may have changed: RestingError."""
        if self._tables != self._version_of_tables():
            self.resting = True
            self._wake_soon()
            raise RestingError("the tables have been changed")

    def _version_of_tables(self) -> int:
        version: int = self._connection.execute(TABLES).fetchone()[0]
        return version

    def _refuse_known(self, sql: str) -> None:
        """Raise TooMuchError for a statement that was too much not long ago."""
        times = self._too_much.pop(sql, 0)
        if times:
            self._too_much[sql] = times - 1
            raise TooMuchError

    def _tick(self) -> bool:
        """Called every so many steps; true stops the read."""
        if self._waking or self._ending:
            return False
        self._ticks += 1
        before, self._ticked = self._ticked, time.thread_time()
        is_slow = self._ticks > 1 and self._ticked - before > SLOW_SECONDS
        return (is_slow and not self._patient) or self._ticks > MAX_TICKS


def _was_stopped(error: sqlite3.Error) -> bool:
    """Whether a tick has ended the read."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT


def is_small(parameters: tuple[Any, ...]) -> bool:
    """Whether the values of a query are worth remembering: what is kept is bounded in number, so it has to be small."""
    return sum(len(value) for value in parameters if isinstance(value, str | bytes)) <= _SMALL
