"""The watchdog: a sign of life while the loop, a request to ourselves and the watcher are well."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator

import pytest

from watcherd import watchdog

INTERVAL = 0.2


class Web:
    """Something that answers on a socket, well or not."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.status = b"200 OK"
        self.answers = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if self.answers:
            writer.write(b"HTTP/1.1 " + self.status + b"\r\ncontent-length: 0\r\n\r\n")
        else:
            await reader.read()  # until the other side has had enough
        writer.close()


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    web = Web()
    server = await asyncio.start_server(web.serve, sock=web.listener)
    yield web
    server.close()
    await server.wait_closed()


@contextlib.asynccontextmanager
async def watched(web: Web, beat_at: float | None = None) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()

    def beat() -> float:
        return loop.time() if beat_at is None else beat_at

    task = asyncio.create_task(watchdog.keep_telling(INTERVAL, web.listener, beat))
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def message(manager: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(manager, 4096)


async def looked(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[str | None]:
    """Every verdict about the request to ourselves, as it is reached."""
    verdicts: asyncio.Queue[str | None] = asyncio.Queue()
    judge = watchdog._no_answer

    async def judged(*arguments: object) -> str | None:
        verdict = await judge(*arguments)  # type: ignore[arg-type]
        verdicts.put_nowait(verdict)
        return verdict

    monkeypatch.setattr(watchdog, "_no_answer", judged)
    return verdicts


def pending(manager: socket.socket) -> list[bytes]:
    messages = []
    with contextlib.suppress(BlockingIOError):
        while True:
            messages.append(manager.recv(4096))
    return messages


async def test_it_tells_again_and_again_while_all_is_well(web: Web, manager: socket.socket) -> None:
    async with watched(web):
        assert [await message(manager) for _ in range(3)] == [b"WATCHDOG=1"] * 3


async def test_a_blocked_event_loop_makes_the_messages_stop(web: Web, manager: socket.socket) -> None:
    async with watched(web):
        await message(manager)
        pending(manager)
        time.sleep(5 * INTERVAL)  # the block itself, on the event loop
        assert pending(manager) == []
        assert await message(manager) == b"WATCHDOG=1"


@pytest.mark.parametrize("status", [b"503 Service Unavailable", b"500 Internal Server Error"])
async def test_a_bad_answer_to_ourselves_is_silence(
    web: Web, manager: socket.socket, monkeypatch: pytest.MonkeyPatch, status: bytes
) -> None:
    verdicts = await looked(monkeypatch)
    web.status = status
    async with watched(web):
        seen = 0
        while seen < 2:
            verdict = await verdicts.get()
            assert verdict is not None
            seen += status.decode() in verdict  # a busy machine answers too late now and then, which is silence, too
        assert pending(manager) == []
        web.status = b"200 OK"
        assert await message(manager) == b"WATCHDOG=1"


async def test_an_answer_that_there_are_too_many_connections_is_a_sign_of_life(
    web: Web, manager: socket.socket
) -> None:
    web.status = b"503 Service Unavailable\r\nx-detail: 768 connections are open already"
    async with watched(web):
        assert await message(manager) == b"WATCHDOG=1"


async def test_no_answer_to_ourselves_is_silence(
    web: Web, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = await looked(monkeypatch)
    web.answers = False
    async with watched(web):
        assert "not answered within" in (await verdicts.get() or "")
        assert pending(manager) == []


async def test_a_refused_connection_to_ourselves_is_silence(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = await looked(monkeypatch)
    web = Web()
    web.listener.close()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as web.listener:
        web.listener.bind(("127.0.0.1", 0))  # bound, and nobody listens
        async with watched(web):
            assert "failed" in (await verdicts.get() or "")
            assert pending(manager) == []


async def test_a_watcher_without_a_heartbeat_is_silence(
    web: Web, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()
    silence = watchdog._silence

    def noted(beat_at: float, most: float) -> str | None:
        asked.set()
        return silence(beat_at, most)

    monkeypatch.setattr(watchdog, "_silence", noted)
    async with watched(web, beat_at=asyncio.get_running_loop().time() - watchdog.BEAT_SECONDS - 1):
        for _ in range(2):
            await asked.wait()
            asked.clear()
        assert pending(manager) == []
