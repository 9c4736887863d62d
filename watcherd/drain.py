"""Waiting for retired revisions: deadlines, and cancelling what is late.

Owns every revision that the route table names no more, until nothing is in flight on it. A swap
hands a revision over and goes on: no swap ever waits here.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial

import structlog

from watcherd import events
from watcherd.errors import HeldElsewhereError, StoreError
from watcherd.revision import InFlight, Revision

Loosen = Callable[[], Awaitable[None]]
Elsewhere = Callable[[Revision], Awaitable[None]]
"""Waits until no other process holds a retired revision."""

HELD_SECONDS = 1.0
"""What another process still holds is asked for again after this long."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a request on a retired revision may take, in seconds.

    `idle` is without a byte in or out, `total` since it entered; at most `revisions` of one model
    drain at once, over that the oldest is cut short.
    """

    idle: float = 30.0
    total: float = 600.0
    revisions: int = 64


class Drains:
    """The retired revisions that still have requests in flight, each with a task of its own."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        publish: events.Publish,
        deadlines: Deadlines,
        *,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._tasks = tasks
        self._publish = publish
        self._deadlines = deadlines
        self._elsewhere = elsewhere
        self._running: set[asyncio.Task[None]] = set()
        self._log = structlog.stdlib.get_logger("watcherd.drain")
        self._draining: dict[str, dict[Revision, asyncio.Event]] = defaultdict(dict)
        self._afterwards: dict[str, list[Loosen]] = defaultdict(list)

    def draining(self, model: str) -> tuple[Revision, ...]:
        """The revisions of a (folded) model that still drain, oldest first."""
        return tuple(self._draining.get(model, ()))

    def revisions(self) -> list[Revision]:
        """All retired revisions that still drain."""
        return [revision for model in self._draining.values() for revision in model]

    def in_flight(self) -> list[InFlight]:
        """All requests in flight on retired revisions."""
        return [request for model in self._draining.values() for revision in model for request in revision.in_flight]

    def hold(self, revision: Revision) -> None:
        """Count a revision among those that drain, from the swap on; `retire` is to follow.

        What a swap leads to takes a while before that: what is in flight on it must be known to a stop, and to other
        processes, in between as well.
        """
        self._draining[revision.model].setdefault(revision, asyncio.Event())

    def retire(self, revision: Revision) -> None:
        """Take over a revision that the route table names no more."""
        self.hold(revision)
        revision.retire()
        queue = self._draining[revision.model]
        cut_short = queue[revision]
        held = [other for other in queue if other.in_flight]
        for oldest in held[: max(0, len(held) - self._deadlines.revisions)]:
            queue[oldest].set()
        self._start(partial(self._drain, revision, cut_short), f"drain {revision.model} {revision.number}")

    def after(self, model: str, loosen: Loosen) -> None:
        """Take something away from a model's tables, once no retired revision of it is in use."""
        self._afterwards[model].append(loosen)
        if model not in self._draining:
            self._start(partial(self._loosen, model), f"loosen {model}")

    async def close(self) -> None:
        """Wait for nothing any more; what was not loosened is planned again by the next start."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _start(self, work: Callable[[], Coroutine[None, None, None]], name: str) -> None:
        task = self._tasks.create_task(self._survive(work), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _survive(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Whatever goes wrong with what is retired must not end what serves."""
        try:
            await work()
        except Exception:  # noqa: BLE001 - whatever nobody thought of, with its traceback
            self._log.exception("drain.failed")

    async def _drain(self, revision: Revision, cut_short: asyncio.Event) -> None:
        started = time.monotonic()
        try:
            await self._wait(revision, cut_short)
            if self._elsewhere is not None:
                await self._elsewhere(revision)
        finally:
            queue = self._draining[revision.model]
            del queue[revision]
            if not queue:
                del self._draining[revision.model]
        revision.on_drained()
        self._publish(
            events.ModelDrained(revision.domain, revision.number, round((time.monotonic() - started) * 1000, 2))
        )
        if revision.model not in self._draining:
            await self._loosen(revision.model)

    async def _loosen(self, model: str) -> None:
        held = []
        for loosen in self._afterwards.pop(model, ()):
            try:
                await loosen()
            except HeldElsewhereError as error:
                self._log.debug("schema.loosen_waits", model=model, reason=str(error))
                held.append(loosen)
            except StoreError as error:
                # Nothing is lost by it: the next plan of this model has the same steps again.
                self._log.warning("schema.loosen_failed", model=model, error=str(error))
        if held:
            self._afterwards[model] = [*held, *self._afterwards.get(model, ())]
            await asyncio.sleep(HELD_SECONDS)
            if model not in self._draining:
                await self._loosen(model)

    async def _wait(self, revision: Revision, cut_short: asyncio.Event) -> None:
        """Return when nothing is in flight; cancel what is over its deadline on the way."""
        while revision.in_flight:
            due = min(self._due(request) for request in revision.in_flight)
            timeout = None if due == math.inf else max(0.0, due - time.monotonic())
            await _first(revision.idle(), cut_short.wait(), seconds=timeout)
            if cut_short.is_set():
                cut_short.clear()
                self._cut(revision, list(revision.in_flight), "too many older revisions were still in use")
            else:
                now = time.monotonic()
                late = [request for request in revision.in_flight if self._due(request) <= now]
                self._cut(revision, late, "the model has changed and the request took too long")

    def _due(self, request: InFlight) -> float:
        """When to cut a request; one that is cut already leaves by itself, at its next await."""
        if request.cut is not None:
            return math.inf
        return min(request.progressed + self._deadlines.idle, request.entered + self._deadlines.total)

    def _cut(self, revision: Revision, late: list[InFlight], reason: str) -> None:
        if not late:
            return
        now = time.monotonic()
        holders = tuple(request.describe(now) for request in late)
        cut(late, reason)
        self._publish(events.ModelDrainTimeout(revision.domain, revision.number, reason, holders))


def cut(requests: list[InFlight], reason: str) -> None:
    """Cancel requests; each tells its client `reason` where its answer has not begun."""
    for request in requests:
        if request.cut is None:
            request.cut = reason
            request.task.cancel()


async def _first(*waits: Awaitable[object], seconds: float | None) -> None:
    """Wait until one of several things happens, or the time is over; leave no task behind."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
