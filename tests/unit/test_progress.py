"""How far a start is: told again and again until it is over, and more time asked for only by one that gets on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from watcherd import events
from watcherd.progress import Progress, tell_how_far


class Start:
    """One that is as far as a test says, and what is told of it."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.done = asyncio.Event()
        self.told: asyncio.Queue[events.Event] = asyncio.Queue()

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        telling = tell_how_far(lambda: self.progress, self.done, self.told.put_nowait, interval=0.01)
        task = asyncio.create_task(telling)
        try:
            yield
        finally:
            self.done.set()
            await task


def heard(manager: socket.socket) -> list[str]:
    messages = []
    with contextlib.suppress(BlockingIOError):
        while True:
            messages.append(manager.recv(4096).decode())
    return messages


async def test_a_start_that_gets_on_is_told_and_asks_for_more_time(manager: socket.socket) -> None:
    start = Start()
    start.progress = Progress(412, 1000)
    async with start.watched():
        assert await start.told.get() == events.DaemonStarting(412, 1000)
        start.progress = start.progress.one_more()
        while (await start.told.get()) != events.DaemonStarting(413, 1000):
            pass
        await start.told.get()  # so the one before is told in full
    messages = heard(manager)
    assert messages[:2] == ["STATUS=starting: 412 of 1000 models are built", "EXTEND_TIMEOUT_USEC=60000000"]
    assert "STATUS=starting: 413 of 1000 models are built" in messages
    assert messages.count("EXTEND_TIMEOUT_USEC=60000000") == 2


async def test_a_start_that_hangs_is_told_but_asks_for_no_more_time(manager: socket.socket) -> None:
    start = Start()
    async with start.watched():
        for _ in range(3):
            assert await start.told.get() == events.DaemonStarting(0, 0)
    assert set(heard(manager)) == {"STATUS=starting: the files are being read"}


async def test_a_start_that_is_over_soon_says_nothing(manager: socket.socket) -> None:
    start = Start()
    start.done.set()
    async with start.watched():
        pass
    assert start.told.empty()
    assert heard(manager) == []
