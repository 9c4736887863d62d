"""A PostgreSQL server that is gone without a word: the network drops everything, and nothing ends the connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import Postgres
from tests.unit.store.models import apply, attribute, entity, key, model, record
from watcherd.store import Row, Rows, Select, Store
from watcherd.store import postgres as module
from watcherd.store.postgres import PostgresDatabase

THING = model(entity("Thing", attribute("name")))
WIDER = model(entity("Thing", attribute("name"), attribute("colour")))
SECONDS = 3.0
"""Far more than any statement of these tests takes, and less than one would like to wait."""


class Line:
    """What lies between a client and the server; while it is `cut`, everything that comes is kept back."""

    def __init__(self, server: Postgres) -> None:
        self._server = f"{server.directory}/.s.PGSQL.5432"
        self._open = asyncio.Event()
        self._open.set()
        self._serving: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        await self._open.wait()
        to_server, from_server = await asyncio.open_unix_connection(self._server)
        try:
            await asyncio.gather(self._pass(reader, from_server), self._pass(to_server, writer))
        except (OSError, asyncio.CancelledError):
            pass  # one side has gone
        finally:
            for one in (writer, from_server):
                one.transport.abort()
            self._serving.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            await self._open.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError

    async def close(self) -> None:
        for task in tuple(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)


@asynccontextmanager
async def between(server: Postgres, directory: Path) -> AsyncIterator[tuple[Line, Postgres]]:
    """A line to a server, and the server as it looks through it."""
    line = Line(server)
    listener = await asyncio.start_unix_server(line.connect, directory / ".s.PGSQL.5432")
    seen: Any = object.__new__(Postgres)
    seen.directory = directory
    try:
        yield line, seen
    finally:
        listener.close()
        await line.close()


@pytest.fixture
async def line(
    postgres: Postgres, schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Line, Store, Rows]]:
    """A line, and a store at its end with four connections, on which no statement may take long."""
    monkeypatch.setattr(module, "STATEMENT_TIMEOUT", SECONDS)
    monkeypatch.setattr(module, "CONNECT_TIMEOUT", SECONDS)
    async with between(postgres, tmp_path) as (made, seen):
        store = await Store.open(seen.url(schema), tmp_path)
        rows = (await apply(store, THING))["Thing"]
        await rows.insert([{"id": key(1), "name": "a"}])
        streams = [await rows.stream(Select()) for _ in range(4)]
        for stream in streams:
            await stream.aclose()
        yield made, store, rows
        made.mend()
        await store.close()


async def test_whoever_asks_a_silent_server_hears_that_it_is_unavailable(line: tuple[Line, Store, Rows]) -> None:
    between_us, store, rows = line
    wider = await store.plan(WIDER)
    between_us.cut()
    asked = {
        "a row": rows.get(key(1)),
        "a list": rows.list(Select()),
        "an export": rows.stream(Select()),
        "a write": rows.insert([{"id": key(2), "name": "b"}]),
        "a plan": store.catalog(),
        "a change": store.expand(wider, record(WIDER, 2)),
    }
    answers = await asyncio.gather(*asked.values(), return_exceptions=True)
    said = {what: repr(answer) for what, answer in zip(asked, answers, strict=True)}
    unavailable = "StoreUnavailableError('the database is not available now: it did not answer in time')"
    assert said == dict.fromkeys(asked, unavailable)
    assert "did not answer" in str(await store.health())

    between_us.mend()
    while await store.health() is not None:
        await asyncio.sleep(0)
    assert await rows.get(key(1)) == Row(1, {"id": key(1), "name": "a"})


async def test_a_statement_of_a_change_may_take_longer_than_others(
    postgres: Postgres, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STATEMENT_TIMEOUT", SECONDS)
    database = await PostgresDatabase.open(postgres.url(schema))
    sleeps = f"SELECT pg_sleep({SECONDS + 0.5})"
    assert (await database.change(lambda cursor: cursor.execute(sleeps))).fetchall() == [(None,)]
    await database.close()


async def test_a_line_that_says_nothing_is_asked_whether_it_is_still_there(postgres: Postgres) -> None:
    """Over TCP, which the server itself does not take here."""
    line = Line(postgres)
    listener = await asyncio.start_server(line.connect, "127.0.0.1")
    port = listener.sockets[0].getsockname()[1]
    database = await PostgresDatabase.open(f"postgresql+asyncpg://postgres@127.0.0.1:{port}/postgres")
    async with database._pool.acquire() as connection:
        socket_of: Any = connection
        held = socket_of._transport.get_extra_info("socket")
        assert held.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        asked = {option: held.getsockopt(socket.IPPROTO_TCP, option) for option in module._KEEP_ALIVE}
        assert asked == module._KEEP_ALIVE
    await database.close()
    listener.close()
    await line.close()
