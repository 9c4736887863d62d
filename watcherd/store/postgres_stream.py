"""A stream of rows from PostgreSQL: a cursor of the server, in a transaction of its own.

It holds a connection of the pool until it is closed. One whose client takes nothing is ended by the
server, which closes the connection of a transaction that stands idle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, TypeVar

from asyncpg.cursor import Cursor as ServerCursor

from watcherd.store.cursor import ServerError, refused
from watcherd.store.postgres_cursor import DRIVER_ERRORS, Connection, PostgresCursor, numbered, translated
from watcherd.store.stream import IDLE_SECONDS

T = TypeVar("T")


class PostgresStream:
    """One open read, on a connection that it gives back."""

    def __init__(
        self, connection: AbstractAsyncContextManager[Connection], ended: Callable[[PostgresStream], None]
    ) -> None:
        self._held = AsyncExitStack()
        self._held.callback(ended, self)
        self._connecting = connection
        self._cursor: ServerCursor | None = None

    async def open(self, sql: str, parameters: tuple[Any, ...]) -> None:
        """Begin the snapshot. StoreError, StoreUnavailableError."""
        try:
            connection = await self._held.enter_async_context(self._connecting)
            cursor = PostgresCursor(connection)
            await cursor.begin("repeatable_read", readonly=True)
            self._held.push_async_callback(cursor.abandon)
            idle = round(IDLE_SECONDS * 1000)
            await connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = {idle}")
            self._cursor = await connection.cursor(numbered(sql), *parameters)
        except ServerError as error:
            raise refused(error) from error
        except DRIVER_ERRORS as error:
            raise refused(translated(error)) from error

    async def slice(self, most: int, convert: Callable[[list[tuple[Any, ...]]], T]) -> T | None:
        """What `convert` makes of the next rows, in a thread; None at the end."""
        assert self._cursor is not None  # noqa: S101 - a stream is read after it is opened
        try:
            rows = [tuple(record) for record in await self._cursor.fetch(most)]
        except DRIVER_ERRORS as error:
            raise refused(translated(error)) from error
        return await asyncio.to_thread(convert, rows) if rows else None

    async def aclose(self) -> None:
        """Undo the transaction and give the connection back."""
        await self._held.aclose()
