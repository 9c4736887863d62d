"""An interactive transaction on PostgreSQL: SERIALIZABLE, on a connection of the pool.

Each step runs in a greenlet on the event loop, as every function over a cursor does here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeVar

from sqlalchemy.util import greenlet_spawn

from watcherd.errors import StoreError
from watcherd.store.cursor import AfterCommit, Cursor, ServerError, refused
from watcherd.store.postgres_cursor import Connection, PostgresCursor
from watcherd.store.session import StaleError, in_savepoint

T = TypeVar("T")

SESSIONS: Final = 6
"""Interactive transactions at once, fewer than there are connections; more wait."""


class PostgresSession:
    """One transaction, begun by its first step."""

    def __init__(self, connection: AbstractAsyncContextManager[Connection]) -> None:
        self.stale = False
        self.after_commit: AfterCommit = {}
        self._stack = contextlib.AsyncExitStack()
        self._opening = connection
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()
        self._cursor: PostgresCursor | None = None
        self._ended = False

    async def run(self, step: Callable[[Cursor], T], *, writes: bool = False) -> T:
        """A step."""
        async with self._lock:
            try:
                cursor = await self._begun()
                if not writes:
                    return await greenlet_spawn(step, cursor)
                return await greenlet_spawn(in_savepoint, cursor, step, self.after_commit)
            except ServerError as error:
                raise self._read(error) from error

    def run_here(self, step: Callable[[Cursor], T], *, writes: bool = False) -> T:
        """A step, asked for by a thread."""
        return asyncio.run_coroutine_threadsafe(self.run(step, writes=writes), self._loop).result()

    async def commit(self) -> None:
        """Keep everything."""
        async with self._lock:
            if self._ended:
                raise StoreError("the transaction has ended")
            self._ended = True
            if self._cursor is not None:
                try:
                    await self._cursor.commit()
                except ServerError as error:
                    raise self._read(error) from error

    async def abandon(self) -> None:
        """Take everything back, unless it is committed."""
        self._ended = True
        async with self._lock:
            if self._cursor is not None:
                await self._cursor.abandon()
            await self._stack.aclose()

    async def _begun(self) -> PostgresCursor:
        if self._ended:
            raise StoreError("the transaction has ended")
        if self._cursor is None:
            cursor = PostgresCursor(await self._stack.enter_async_context(self._opening))
            cursor.after_commit = self.after_commit
            self._cursor = cursor
            await cursor.begin("serializable")
        return self._cursor

    def _read(self, error: ServerError) -> StoreError:
        if error.repeatable:
            self.stale = True
            return StaleError("what was read was changed by another")
        return refused(error)
