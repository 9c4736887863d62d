"""Stopping: the stages, their bounds, and the exit status.

watch (no new change) -> drain (requests in flight end) -> server (connections close) -> store.
Each stage has its time; one that runs over it is logged with what held it, and the exit status is
1. A second signal skips to the end. Deadlines are on the monotonic clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable

from watcherd import events
from watcherd.drain import Drains, cut
from watcherd.gateway import Gateway
from watcherd.revision import InFlight
from watcherd.server import Server
from watcherd.store import Store

CUT_SECONDS = 1.0
"""How long requests that were cancelled may take to end."""


class Stop:
    """One stop of a daemon. Times are seconds."""

    def __init__(  # noqa: PLR0913 - the parts that end, composed once by the daemon
        self,
        gateway: Gateway,
        drains: Drains,
        server: Server,
        store: Store,
        *,
        publish: events.Publish,
        graceful_timeout: float,
        cleanup_timeout: float,
        hurry: asyncio.Event,
    ) -> None:
        self._gateway = gateway
        self._drains = drains
        self._server = server
        self._store = store
        self._publish = publish
        self._graceful_timeout = graceful_timeout
        self._cleanup_timeout = cleanup_timeout
        self._hurry = hurry
        self._overran = False

    async def run(self, signal_name: str, working: list[asyncio.Task[None]], serving: asyncio.Task[None]) -> int:
        """Go through the stages; returns the exit status.

        `working` are the watcher and what reloads, `serving` is the server. A server that ended by
        itself is a failure.
        """
        started = time.monotonic()
        crashed = serving.done()
        self._gateway.stopping = True
        requests = self._in_flight()
        self._publish(events.ShutdownStarted(signal_name or "server ended", len(requests)))
        await self._stage("watch", _end(working), self._cleanup_timeout, lambda: _names(working))
        await self._stage("drain", _wait_for(requests), self._graceful_timeout, self._holders)
        await self._cut_what_is_left()
        self._server.should_exit = True
        await self._stage("server", _end([serving], cancel=False), self._cleanup_timeout, lambda: _names([serving]))
        await self._stage(
            "store", self._store.close(self._cleanup_timeout), self._cleanup_timeout, lambda: ("the database",)
        )
        exit_status = 1 if self._overran or crashed else 0
        self._publish(events.ShutdownFinished(_ms(started), exit_status))
        return exit_status

    async def _stage(
        self,
        name: str,
        work: Coroutine[None, None, None],
        seconds: float,
        holders: Callable[[], tuple[str, ...]],
    ) -> None:
        """Run one stage within its time, or until a second signal; then say what held it."""
        started = time.monotonic()
        task = asyncio.create_task(work, name=f"stop: {name}")
        hurry = asyncio.create_task(self._hurry.wait(), name="stop: second signal")
        try:
            await asyncio.wait({task, hurry}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            held_by = None if task.done() else holders()
            self._overran = self._overran or held_by is not None
            self._publish(events.ShutdownStage(name, _ms(started), held_by))
        finally:
            for waiting in (task, hurry):
                waiting.cancel()
            await asyncio.gather(task, hurry, return_exceptions=True)

    async def _cut_what_is_left(self) -> None:
        """Cancel and await what did not finish in its time, then the drains that watched over it."""
        late = self._in_flight()
        cut(late, "the server is stopping")
        if late:
            await asyncio.wait({request.task for request in late}, timeout=CUT_SECONDS)
        await self._drains.close()

    def _in_flight(self) -> list[InFlight]:
        return [*self._gateway.in_flight(), *self._drains.in_flight()]

    def _holders(self) -> tuple[str, ...]:
        now = time.monotonic()
        return tuple(request.describe(now) for request in self._in_flight())


async def _wait_for(requests: Iterable[InFlight]) -> None:
    tasks = {request.task for request in requests}
    if tasks:
        await asyncio.wait(tasks)


async def _end(tasks: list[asyncio.Task[None]], *, cancel: bool = True) -> None:
    if cancel:
        for task in tasks:
            task.cancel()
    await asyncio.wait(tasks)


def _names(tasks: list[asyncio.Task[None]]) -> tuple[str, ...]:
    return tuple(task.get_name() for task in tasks if not task.done())


def _ms(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 1)
