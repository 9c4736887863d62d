"""Stopping: the stages, their bounds, and the exit status.

watch (no new change) -> drain (requests in flight end) -> cut (those that did not are cancelled)
-> server (connections close) -> store.

Each stage has its time; one that runs over it, or fails, is logged with what held it, and the exit
status is 1. A second signal skips to the end. Deadlines are on the monotonic clock. What cannot be
cancelled, such as a thread that a dead file system holds, is left behind by the last resort.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Protocol

from watcherd import events, sdnotify
from watcherd.drain import Drains, cut
from watcherd.gateway import Gateway
from watcherd.revision import InFlight
from watcherd.store import Store

REASON = "the server is stopping"
"""What requests in flight are told, and their clients."""

CUT_SECONDS = 1.0
"""How long requests that were cancelled may take to end."""

SPARE_SECONDS = 5.0
"""What a stage has beyond its time: to cancel what held it, and to tell."""


class LastResort:
    """Ends the process, with exit status 1, when a stop itself does not get on.

    A thread of its own, since what hangs may be the event loop, or what Python waits for after it.
    """

    def __init__(self, publish: events.Publish, flush: Callable[[], None]) -> None:
        self._publish = publish
        self._flush = flush
        self._timer: threading.Timer | None = None

    def end_within(self, seconds: float) -> None:
        """End the process after this time, instead of what was said before."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.name = "watcherd-last-resort"
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        held_by = tuple(sorted(thread.name for thread in threading.enumerate() if not thread.daemon))
        self._publish(events.ShutdownAbandoned(held_by))
        self._flush()
        os._exit(1)


class Requests:
    """What is in flight in this process, on live revisions and on retired ones, as its end sees it."""

    def __init__(self, gateway: Gateway, drains: Drains) -> None:
        self._gateway = gateway
        self._drains = drains
        self._asked: list[InFlight] = []
        self._all_ended = False

    def refuse_new(self, *, last_call: bool) -> None:
        """Let no new request in; at the `last_call` one more to models of each connection that is open."""
        self._gateway.stopping, self._gateway.last_call = True, last_call

    def ask_to_leave(self) -> int:
        """Ask all of them for their end; how many they are."""
        self._asked = self._in_flight()
        for request in self._asked:
            request.ask_to_leave(REASON)
        return len(self._asked)

    async def end(self, seconds: float | None = None) -> None:
        """Return when those that were asked have ended, or after this time; at the last call, who came since, too."""
        await _wait_for(self._asked, seconds)
        while self._gateway.last_call and self.ask_to_leave():
            await _wait_for(self._asked, None)
        self._all_ended = not self._in_flight()

    async def cut(self) -> None:
        """Cancel and await what has not ended, those that came later included.

        Where all had, those few that came at the last call since then end with their connections.
        """
        if self._all_ended and self._gateway.last_call:
            return
        self._gateway.last_call = False
        late = self._in_flight()
        cut(late, REASON)
        await _wait_for(late, CUT_SECONDS)

    def holders(self) -> tuple[str, ...]:
        """What is in flight still, one line each."""
        now = time.monotonic()
        return tuple(request.describe(now) for request in self._in_flight())

    def _in_flight(self) -> list[InFlight]:
        return [*self._gateway.in_flight(), *self._drains.in_flight()]


class Others(Protocol):
    """Processes that serve beside this one, and do in each stage what it does."""

    async def stop(self, *, stop_accepting: bool) -> int:
        """Refuse new requests; how many are in flight."""

    async def requests_end(self) -> None:
        """Return when these have ended."""

    async def cut(self) -> None:
        """Cancel those that have not."""

    async def holders(self) -> tuple[str, ...]:
        """Say which these are."""


class Front(Protocol):
    """Who takes connections: a server, or the processes that do."""

    should_exit: bool
    """Set, to have it close all of them and end."""

    @property
    def started(self) -> bool:
        """Whether it has begun."""

    def stop_accepting(self) -> None:
        """Take no new connection."""


class Stop:
    """One stop of a daemon. Times are seconds.

    With `stop_accepting` new connections are left to whoever holds the socket too, from the first
    moment on, and those that are open get one more answer each; without it they are accepted to the
    end, and told to come again.
    """

    def __init__(  # noqa: PLR0913 - the parts that end, composed once by the daemon
        self,
        gateway: Gateway,
        drains: Drains,
        server: Front,
        store: Store,
        *,
        others: Others | None = None,
        publish: events.Publish,
        graceful_timeout: float,
        cleanup_timeout: float,
        hurry: asyncio.Event,
        stop_accepting: bool,
        last_resort: LastResort,
    ) -> None:
        self._gateway = gateway
        self._drains = drains
        self._requests = Requests(gateway, drains)
        self._server = server
        self._others = others
        self._store = store
        self._publish = publish
        self._graceful_timeout = graceful_timeout
        self._cleanup_timeout = cleanup_timeout
        self._hurry = hurry
        self._stop_accepting = stop_accepting
        self._last_resort = last_resort
        self._overran = False

    async def run(self, signal_name: str, working: list[asyncio.Task[None]], serving: asyncio.Task[None]) -> int:
        """Go through the stages; returns the exit status.

        `working` are the watcher and what reloads, `serving` is the server. A server that ended by
        itself is a failure.
        """
        started = time.monotonic()
        crashed = serving.done()
        self._requests.refuse_new(last_call=self._stop_accepting)
        if self._stop_accepting:
            self._server.stop_accepting()
        in_flight = self._requests.ask_to_leave()
        if self._others is not None:  # what is in flight here came from them
            in_flight = await self._others.stop(stop_accepting=self._stop_accepting)
        self._publish(events.ShutdownStarted(signal_name or "server ended", in_flight))
        await self._stage("watch", _end(working), self._cleanup_timeout, partial(_names, working))
        await self._stage("drain", self._requests_end(), self._graceful_timeout, self._holders)
        await self._stage("cut", self._cut_what_is_left(), self._cleanup_timeout, self._holders, skips=False)
        self._server.should_exit = True
        waits_still = not self._server.started  # it waits for the first scan, and has no connection to close
        await self._stage(
            "server", _end([serving], cancel=waits_still), self._cleanup_timeout, partial(_names, [serving])
        )
        await self._stage("store", self._store.close(self._cleanup_timeout), self._cleanup_timeout, _the_database)
        self._end_within(self._cleanup_timeout)
        for task in (*working, serving):
            task.cancel()  # whatever a stage left; nothing, where all went well
        exit_status = 1 if self._overran or crashed else 0
        self._publish(events.ShutdownFinished(_ms(started), exit_status))
        return exit_status

    async def _stage(
        self,
        name: str,
        work: Coroutine[None, None, None],
        seconds: float,
        holders: Callable[[], Awaitable[tuple[str, ...]]],
        *,
        skips: bool = True,
    ) -> None:
        """Run one stage within its time, or (if it `skips`) until a second signal; then say what held it."""
        started = time.monotonic()
        self._end_within(seconds)
        task = asyncio.create_task(work, name=f"stop: {name}")
        hurry = asyncio.create_task(self._hurry.wait(), name="stop: second signal")
        try:
            await asyncio.wait({task, hurry} if skips else {task}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            held_by = _failure(task) if task.done() else await holders()
            self._overran = self._overran or held_by is not None
            self._publish(events.ShutdownStage(name, _ms(started), held_by))
        finally:
            for waiting in (task, hurry):
                waiting.cancel()
            await asyncio.gather(task, hurry, return_exceptions=True)

    def _end_within(self, seconds: float) -> None:
        """Announce how long the next stage may take, to whoever would end us if it took longer."""
        sdnotify.extend(seconds + SPARE_SECONDS)
        self._last_resort.end_within(seconds + SPARE_SECONDS)

    async def _requests_end(self) -> None:
        if self._others is not None:
            await self._others.requests_end()
        await self._requests.end()

    async def _cut_what_is_left(self) -> None:
        """Cancel and await what did not finish in its time, then the drains that watched over it."""
        cuts = [self._requests.cut()]
        if self._others is not None:
            cuts.append(self._others.cut())
        await asyncio.gather(*cuts)
        await self._drains.close()

    async def _holders(self) -> tuple[str, ...]:
        elsewhere = () if self._others is None else await self._others.holders()
        return (*self._requests.holders(), *elsewhere)


def _failure(task: asyncio.Task[None]) -> tuple[str, ...] | None:
    """What a stage ended with, if not well: the stages after it are run all the same."""
    error = task.exception()
    return None if error is None else (f"{type(error).__name__}: {error}",)


async def _wait_for(requests: list[InFlight], seconds: float | None) -> None:
    if requests:
        await asyncio.wait({request.task for request in requests}, timeout=seconds)


async def _end(tasks: list[asyncio.Task[None]], *, cancel: bool = True) -> None:
    if cancel:
        for task in tasks:
            task.cancel()
    await asyncio.wait(tasks)


async def _the_database() -> tuple[str, ...]:
    return ("the database",)


async def _names(tasks: list[asyncio.Task[None]]) -> tuple[str, ...]:
    return tuple(task.get_name() for task in tasks if not task.done())


def _ms(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 1)
