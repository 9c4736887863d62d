"""PostgreSQL: a pool of connections, and the transactions on them.

Owns the pool, when a transaction is tried again, the lock that lets one process at a time change
the schema, and what a lost connection means. The functions that run on a connection are the same as
on SQLite; they run in a greenlet, on the event loop, and step aside while the server answers (see
`postgres_cursor`).

Many write at the same time here, also from other hosts: who reads a row in order to change it locks
it (`FOR UPDATE`), and what the server rolls back for another's sake is run again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from sqlalchemy.util import greenlet_spawn

from watcherd.errors import ContendedError, StoreError, StoreUnavailableError
from watcherd.store.cursor import Cursor, ServerError, refused
from watcherd.store.dialect import POSTGRESQL
from watcherd.store.postgres_cursor import DRIVER_ERRORS, Connection, PostgresCursor, translated
from watcherd.store.postgres_session import SESSIONS, PostgresSession
from watcherd.store.postgres_stream import PostgresStream
from watcherd.store.session import RETRIES, Body, interact
from watcherd.store.stream import opened
from watcherd.store.usage import MAX_WAITING, Usage

MAX_CONNECTIONS: Final = 10
CONNECT_TIMEOUT: Final = 5.0
"""Seconds, also for a connection of the pool to become free."""

STATEMENT_TIMEOUT: Final = 30.0
"""Seconds that one statement may take, but for those of a schema change."""

CHANGE_STATEMENT_TIMEOUT: Final = 86_400.0
"""Those may: a table of any size is read through and indexed. The driver would take None for the bound above."""

_KEEP_ALIVE: Final = {socket.TCP_KEEPIDLE: 10, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 4}
"""The system asks whether a silent server is still there after 10 seconds, and takes 20 without an answer for a no."""

CHANGE_TIMEOUT: Final = 10.0
"""Seconds for which a schema change is tried again while others hold the tables."""

LOCK_TIMEOUT_MS: Final = 150
"""What a schema change waits for a table; whoever comes after it waits as long, readers too."""

SCHEMA_LOCK: Final = 0x77617463
"""The first half of the advisory lock of the one who changes the schema: "watc"."""

_TRIES: Final = 10
_CACHED_STATEMENTS: Final = 1024
_HEALTH_TIMEOUT: Final = 2.0
_PAUSE: Final = 0.02

_HOLD_SCHEMA: Final = (
    f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_MS}ms'; "
    f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK}, hashtext(current_schema()))"
)

T = TypeVar("T")


class PostgresDatabase:
    """An open pool; made by `open`."""

    dialect = POSTGRESQL
    at_once = None

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], shown: str, *, max_waiting: int) -> None:
        self.shown = shown
        self._max_waiting = max_waiting
        self._pool = pool
        self._waiting = 0
        self._streams: set[PostgresStream] = set()
        self._closing = False
        self._sessions = asyncio.Semaphore(SESSIONS)

    @classmethod
    async def open(
        cls, url: str, *, max_connections: int = MAX_CONNECTIONS, max_waiting: int = MAX_WAITING
    ) -> PostgresDatabase:
        """Connect to `postgresql+asyncpg://user:password@host:port/database`; StoreError when that fails.

        What follows a `?` are settings of the connection, such as `sslmode` or `search_path`.
        """
        parts = urlsplit(url)
        shown = f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"
        try:
            pool = await asyncpg.create_pool(
                urlunsplit(("postgresql", *parts[1:])),
                min_size=1,
                max_size=max_connections,
                timeout=CONNECT_TIMEOUT,
                command_timeout=STATEMENT_TIMEOUT,
                statement_cache_size=_CACHED_STATEMENTS,
                reset=_keep,
                init=_notice_its_end,
            )
        except (*DRIVER_ERRORS, ValueError) as error:
            raise StoreError(f"cannot open the database {shown}: {translated(error)}") from error
        return cls(pool, shown, max_waiting=max_waiting)

    async def awake(self) -> bool:
        """There is nothing to wait for: nothing is read at once."""
        return False

    async def fetch_row(self, sql: str, parameters: tuple[Any, ...]) -> Any:
        """The first row of a read by key, in a transaction of its own."""

        async def fetch() -> Any:
            async with self._connection() as connection:
                cursor = PostgresCursor(connection)
                await cursor.run(sql, parameters)
                return cursor.fetchone()

        return await _again(fetch, _TRIES, reads=True)

    async def read(self, read: Callable[[Cursor], T]) -> T:
        """Run a read in one transaction that sees one state of the database."""

        async def begin(cursor: PostgresCursor) -> None:
            await cursor.begin("repeatable_read", readonly=True)

        async def end(cursor: PostgresCursor) -> None:
            await cursor.abandon()

        return await _again(partial(self._transact, begin, read, end), _TRIES, reads=True)

    async def stream(self, sql: str, parameters: tuple[Any, ...]) -> PostgresStream:
        """The rows of a query as of one moment, a slice at a time; whoever asks for it closes it."""
        return await opened(
            lambda: PostgresStream(self._connection(), self._streams.discard), self._streams, sql, parameters
        )

    async def write(self, write: Callable[[Cursor], T]) -> T:
        """Run a write in a transaction; again, when the server rolled it back for another's sake."""
        return await _again(partial(self._transact, PostgresCursor.begin, write, PostgresCursor.commit), _TRIES)

    async def transact(self, write: Callable[[Cursor], T]) -> T:
        """Run a write as if nobody else were there; ContendedError when it was undone at every try."""

        async def begin(cursor: PostgresCursor) -> None:
            await cursor.begin("serializable")

        attempt = partial(self._transact, begin, write, PostgresCursor.commit)
        try:
            return await _again(attempt, RETRIES + 1)
        except StoreUnavailableError as error:
            if isinstance(error.__cause__, ServerError) and error.__cause__.repeatable:
                raise ContendedError(f"others changed the same rows at the same time, {RETRIES + 1} times") from error
            raise

    async def interact(self, body: Body[T]) -> T:
        """Run a transaction of many steps, SERIALIZABLE."""

        def open_session(_: int) -> PostgresSession:
            return PostgresSession(self._connection())

        async with self._sessions:
            return await interact(open_session, body, tries=RETRIES + 1)

    async def change(
        self,
        change: Callable[[Cursor], T],
        *,
        apart: bool = False,  # noqa: ARG002 - tables are altered here, not made again
        from_files: bool = False,  # noqa: ARG002 - every commit waits here
        at_once: Callable[[Cursor], T] | None = None,  # noqa: ARG002 - and every statement
    ) -> T:
        """Run a schema change, one at a time over all processes.

        It waits shortly for each table, and begins again with others let through in between: who
        waits for a table makes all wait who come later.
        """

        async def begin(cursor: PostgresCursor) -> None:
            await cursor.begin()
            await cursor.run(_HOLD_SCHEMA, ())

        tries = round(CHANGE_TIMEOUT * 1000 / LOCK_TIMEOUT_MS)
        attempt = partial(self._transact, begin, change, PostgresCursor.commit, timeout=CHANGE_STATEMENT_TIMEOUT)
        return await _again(attempt, tries)

    def usage(self) -> Usage:
        """Who waits for a connection of the pool, and how many are in use."""
        used = self._pool.get_size() - self._pool.get_idle_size()
        return Usage(self._waiting, self._max_waiting, used, self._pool.get_max_size())

    async def back_up(self) -> Path | None:
        """Not as a whole, which is the work of pg_dump: whoever drops something saves it."""
        return None

    async def health(self) -> str | None:
        """Why the server does not answer now; None when it does."""
        try:
            async with asyncio.timeout(_HEALTH_TIMEOUT):
                await self.fetch_row("SELECT 1", ())
        except StoreError as error:
            return str(error)
        except TimeoutError:
            return f"the database did not answer within {_HEALTH_TIMEOUT:g} s"
        return None

    async def close(self, timeout: float = 10) -> None:  # noqa: ASYNC109 - a deadline for what runs, not for the caller
        """Let what runs finish within `timeout` seconds, then end all connections."""
        if self._closing:
            return
        self._closing = True
        try:
            async with asyncio.timeout(timeout):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()
        except DRIVER_ERRORS:
            self._pool.terminate()  # the server is gone: there is nobody to say goodbye to

    async def _transact(
        self,
        begin: Callable[[PostgresCursor], Awaitable[None]],
        work: Callable[[Cursor], T],
        end: Callable[[PostgresCursor], Awaitable[None]],
        timeout: float | None = None,  # noqa: ASYNC109 - of each statement, and the driver's
    ) -> T:
        async with self._connection() as connection:
            cursor = PostgresCursor(connection, timeout=timeout)
            after = cursor.after_commit = {}
            try:
                await begin(cursor)
                result = await greenlet_spawn(work, cursor)
                await end(cursor)
            except BaseException:
                await cursor.abandon()
                raise
            for tell in after.values():
                tell()
            return result

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """A connection of the pool."""
        if self._closing:
            raise StoreUnavailableError("the database is being closed")
        if self._waiting >= self._max_waiting:
            raise StoreUnavailableError(f"{self._max_waiting} requests are waiting for the database already")
        self._waiting += 1
        try:
            connection = await self._pool.acquire(timeout=CONNECT_TIMEOUT)
        except DRIVER_ERRORS as error:
            raise translated(error) from error
        finally:
            self._waiting -= 1
        try:
            yield connection
        finally:
            try:
                await self._pool.release(connection)
            except DRIVER_ERRORS:
                # It was lost, which whoever used it knows; so does the pool, where that has ended it already.
                with contextlib.suppress(asyncpg.InterfaceError):
                    connection.terminate()


async def _again(attempt: Callable[[], Awaitable[T]], tries: int, *, reads: bool = False) -> T:
    """What `attempt` answers; run again when the server undid it, and a read once when its connection was lost.

    Not where the server did not answer in time: who has waited once for that has waited long.
    """
    for number in range(1, tries + 1):
        try:
            return await attempt()
        except ServerError as error:
            lost = error.passing and not isinstance(error.__cause__, TimeoutError)
            again = error.repeatable or (reads and number == 1 and lost)
            if number == tries or not again:
                raise refused(error) from error
            await asyncio.sleep(random.uniform(0, _PAUSE * min(number, 10)))  # noqa: S311 - to part those who collided
    raise AssertionError("unreachable: the last try returns or raises")


async def _notice_its_end(connection: Connection) -> None:
    """Have a server that is gone without a word noticed: a change of tables would wait for it with the lock of reloads.

    The system's own bound of two hours is for lines that cost money.
    """
    driver: Any = connection
    line = driver._transport.get_extra_info("socket")  # noqa: SLF001 - it has no other name
    if line.family == socket.AF_UNIX:
        return
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEP_ALIVE.items():
        line.setsockopt(socket.IPPROTO_TCP, option, value)


async def _keep(_: Connection) -> None:
    """Before a connection goes back to the pool: transactions are ended by then, and settings are LOCAL."""
