"""A stream of rows from SQLite: one query in one snapshot, on a connection of its own.

The slices are read by the threads that read lists: a stream occupies one of them only while it
reads, so that slow clients do not make lists wait.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final, Protocol, TypeVar

from watcherd.errors import StoreError, StoreUnavailableError
from watcherd.store.cursor import SqliteCursor, run
from watcherd.store.interrupt import interrupt_until_done
from watcherd.store.stream import IDLE_SECONDS

_PRAGMAS: Final = (
    "PRAGMA temp_store=FILE",  # a million rows that have to be sorted are not sorted in memory
    "PRAGMA cache_size=-2048",
)

T = TypeVar("T")


class Submit(Protocol):
    """Runs a function in a reader's thread; what it raises is a StoreError."""

    def __call__(self, work: Callable[[], T], /) -> Future[T]:
        """The future is the thread's own."""


class SqliteStream:
    """One open read; used by one task, on the event loop's thread."""

    def __init__(
        self,
        submit: Submit,
        connect: Callable[[], sqlite3.Connection],
        ended: Callable[[SqliteStream], None],
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """`ended` is told once the connection is closed; `connection` is there to be interrupted."""
        self._submit = submit
        self._connect = connect
        self._ended = ended
        self._idle_seconds = idle_seconds
        self.connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._reading: Future[Any] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._closed = False

    async def open(self, sql: str, parameters: Sequence[Any]) -> None:
        """Begin the snapshot, and find the first row. StoreError, StoreUnavailableError."""

        def begin() -> None:
            self.connection = self._connect()
            cursor = self.connection.cursor(SqliteCursor)
            for pragma in _PRAGMAS:
                cursor.execute(pragma)
            cursor.execute("BEGIN")
            run(cursor, sql, parameters)
            self._cursor = cursor

        await self._read(begin)

    async def slice(self, most: int, convert: Callable[[list[tuple[Any, ...]]], T]) -> T | None:
        """What `convert` makes of the next rows, in a reader's thread; None at the end.

        StoreUnavailableError when the client took nothing for too long, or the database is closing.
        """

        def fetch() -> T | None:
            assert self._cursor is not None  # noqa: S101 - a stream is read after it is opened
            rows = self._cursor.fetchmany(most)
            return convert(rows) if rows else None

        return await self._read(fetch)

    async def aclose(self) -> None:
        """End the read, also one that runs, and close the connection."""
        if self._reading is not None and not self._reading.done():
            waiting = asyncio.wrap_future(self._reading)
            ended = await interrupt_until_done([waiting], lambda: [self.connection] if self.connection else [])
            if not ended:
                raise StoreError("cannot end a read that is streamed: it does not react")
            if not waiting.cancelled():
                waiting.exception()  # whoever was waiting for the read has it, or is gone
        self.end()

    def end(self) -> None:
        """Close the connection at once; nothing must be reading."""
        self._stop_waiting()
        if self._closed:
            return
        self._closed = True
        self._cursor = None
        if self.connection is not None:
            self.connection.close()
        self._ended(self)

    async def _read(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise StoreUnavailableError(
                "the read was ended: its rows were not taken in time, or the database is closing"
            )
        self._stop_waiting()
        self._reading = future = self._submit(work)
        result = await asyncio.wrap_future(future)
        self._idle = asyncio.get_running_loop().call_later(self._idle_seconds, self.end)
        return result

    def _stop_waiting(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
