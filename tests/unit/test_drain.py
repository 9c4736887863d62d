"""Drains: retired revisions are waited for, within bounds, and nobody waits for them."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator

import pytest

from watcherd import events
from watcherd.drain import Deadlines, Drains
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import ModelSpec
from watcherd.revision import InFlight, OpenApiFragment, Revision
from watcherd.wire import Answer, Call


async def answer(_call: Call) -> Answer:
    return Answer(200)


def a_revision(number: int = 1) -> Revision:
    linked = LinkedModel(spec=ModelSpec(domain="shop"), targets={})
    return Revision(linked, number, handle=answer, operations=(), openapi=OpenApiFragment())


class Held:
    """A request that stays in a revision until it is let go or cut."""

    def __init__(self, revision: Revision) -> None:
        self.go = asyncio.Event()
        self.cut = False
        self.entered = asyncio.Event()
        self.task = asyncio.create_task(self._run(revision))

    async def _run(self, revision: Revision) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.request = InFlight("GET", "/api/shop", task)
        revision.enter(self.request)
        self.entered.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cut = True
        finally:
            revision.leave(self.request)


class Recorder:
    """Collects events, and wakes who waits for one of a kind."""

    def __init__(self) -> None:
        self.all: list[events.Event] = []
        self._news = asyncio.Condition()
        self._queue: asyncio.Queue[events.Event] = asyncio.Queue()

    def __call__(self, event: events.Event) -> None:
        self.all.append(event)
        self._queue.put_nowait(event)

    async def wait_for(self, kind: type[events.Event]) -> events.Event:
        while True:
            event = await self._queue.get()
            if isinstance(event, kind):
                return event


@pytest.fixture
async def tasks() -> AsyncIterator[asyncio.TaskGroup]:
    async with asyncio.TaskGroup() as group:
        yield group


async def held_by(revision: Revision) -> Held:
    request = Held(revision)
    await request.entered.wait()
    return request


async def test_a_revision_drains_when_its_last_request_leaves() -> None:
    publish = Recorder()
    async with asyncio.TaskGroup() as group:
        drains = Drains(group, publish, Deadlines())
        revision = a_revision()
        request = await held_by(revision)
        drains.retire(revision)
        await asyncio.sleep(0)
        assert drains.draining("shop") == (revision,)
        assert not publish.all

        request.go.set()
        drained = await publish.wait_for(events.ModelDrained)
        assert isinstance(drained, events.ModelDrained)
        assert drained.model == "shop"
        assert drains.draining("shop") == ()
    assert not request.cut


async def test_a_request_over_its_deadline_is_cut_and_its_holder_named() -> None:
    publish = Recorder()
    async with asyncio.TaskGroup() as group:
        drains = Drains(group, publish, Deadlines(idle=0.01))
        revision = a_revision()
        request = await held_by(revision)
        drains.retire(revision)
        timed_out = await publish.wait_for(events.ModelDrainTimeout)
        assert isinstance(timed_out, events.ModelDrainTimeout)
        assert timed_out.holders[0].startswith("GET /api/shop")
        await publish.wait_for(events.ModelDrained)
    assert request.cut


async def test_a_request_that_makes_progress_is_not_cut_before_its_total_time() -> None:
    publish = Recorder()
    async with asyncio.TaskGroup() as group:
        drains = Drains(group, publish, Deadlines(idle=0.05, total=600))
        revision = a_revision()
        request = await held_by(revision)
        drains.retire(revision)
        for _ in range(10):
            request.request.progressed = asyncio.get_running_loop().time() + 600
            await asyncio.sleep(0)
        request.go.set()
        await publish.wait_for(events.ModelDrained)
    assert not request.cut


async def test_over_the_bound_the_oldest_revision_is_cut_short() -> None:
    publish = Recorder()
    async with asyncio.TaskGroup() as group:
        drains = Drains(group, publish, Deadlines(revisions=2))
        revisions = [a_revision(number) for number in range(3)]
        requests = [await held_by(revision) for revision in revisions]
        for revision in revisions:
            drains.retire(revision)
        drained = await publish.wait_for(events.ModelDrained)
        assert isinstance(drained, events.ModelDrained)
        assert drained.revision == 0
        assert [request.cut for request in requests] == [True, False, False]
        assert drains.draining("shop") == (revisions[1], revisions[2])
        for request in requests:
            request.go.set()


async def test_tables_are_loosened_only_when_no_older_revision_is_in_use() -> None:
    publish = Recorder()
    loosened = asyncio.Event()

    async def loosen() -> None:
        loosened.set()

    async with asyncio.TaskGroup() as group:
        drains = Drains(group, publish, Deadlines())
        oldest, older = a_revision(1), a_revision(2)
        request = await held_by(oldest)
        drains.retire(oldest)
        drains.retire(older)
        drains.after("shop", loosen)
        await publish.wait_for(events.ModelDrained)
        assert not loosened.is_set()
        request.go.set()
        await loosened.wait()


async def test_nothing_holds_a_drained_revision() -> None:
    publish = Recorder()
    async with asyncio.TaskGroup() as group:
        drains = Drains(group, publish, Deadlines())
        revision = a_revision()
        watched = weakref.ref(revision)
        drains.retire(revision)
        del revision
        await publish.wait_for(events.ModelDrained)
    gc.collect()
    assert watched() is None


async def test_closing_ends_the_waiting() -> None:
    publish = Recorder()
    async with asyncio.TaskGroup() as group:
        drains = Drains(group, publish, Deadlines())
        revision = a_revision()
        request = await held_by(revision)
        drains.retire(revision)
        await asyncio.sleep(0)
        await drains.close()
        request.go.set()
    assert not any(isinstance(event, events.ModelDrained) for event in publish.all)
