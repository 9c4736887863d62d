"""A task that lasts as long as its process: whatever ends it is told, and it begins again; who cancels it ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from watcherd import events, lasting
from watcherd.lasting import NobodyCancelledError, Troubles, not_cancelled
from watcherd.lasting import lasting as runs_on


class Work:
    """Something that ends once in each of these ways, and then waits."""

    def __init__(self, *ends: BaseException) -> None:
        self.waits = asyncio.Event()
        self.ends = list(ends)

    async def __call__(self) -> None:
        if self.ends:
            raise self.ends.pop(0)
        self.waits.set()
        await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "PAUSES_SECONDS", (0.0, 0.001))


async def test_whatever_ends_it_is_told_and_it_begins_again() -> None:
    both = ExceptionGroup("a group", [OSError("no more files"), OSError("nor memory")])
    work, told = Work(both, asyncio.CancelledError(), MemoryError()), list[events.Event]()
    task = asyncio.create_task(runs_on("reads", work, told.append))
    await work.waits.wait()
    assert told == [
        events.TaskFailed("reads", "no more files", 0.0),
        events.TaskFailed("reads", "what it waited for was cancelled, though nobody had cancelled the task", 0.001),
        events.TaskFailed("reads", "MemoryError", 0.001),
    ]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_after_a_long_life_it_is_waited_for_as_short_as_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "LASTS_SECONDS", 0.0)
    work, told = Work(OSError("a"), OSError("b"), OSError("c")), list[events.Event]()
    task = asyncio.create_task(runs_on("reads", work, told.append))
    await work.waits.wait()
    assert told == [events.TaskFailed("reads", reason, 0.0) for reason in "abc"]
    task.cancel()


async def test_what_returns_is_done() -> None:
    async def returns() -> None:
        await asyncio.sleep(0)

    told: list[events.Event] = []
    await runs_on("looks once", returns, told.append)
    assert told == []


@pytest.mark.parametrize("in_time", [False, True])
async def test_a_cancellation_is_passed_on_when_somebody_asked_for_it(in_time: bool) -> None:
    async def waits() -> None:
        if in_time:
            async with asyncio.timeout(None):
                await asyncio.Event().wait()
        await asyncio.Event().wait()

    task = asyncio.create_task(not_cancelled(waits()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_of_what_is_waited_for_is_an_error() -> None:
    future = asyncio.get_running_loop().create_future()

    async def waits() -> None:
        await future

    async def in_a_group(work: Callable[[], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(not_cancelled(work()))

    group = asyncio.create_task(in_a_group(waits))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    future.cancel()
    with pytest.raises(ExceptionGroup) as caught:
        await group
    assert [type(error) for error in caught.value.exceptions] == [NobodyCancelledError]


def test_a_trouble_is_named_until_the_task_has_gone_on_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    troubles = Troubles()
    troubles.heard(events.TaskFailed("reads", "no more files", 0.0))
    troubles.heard(events.DatabaseRecovered())
    assert troubles.reasons == ("the task 'reads' failed and began again: no more files",)
    monkeypatch.setattr(lasting, "LASTS_SECONDS", -1.0)
    troubles.heard(events.TaskFailed("reads", "no more files", 0.0))
    assert troubles.reasons == ()
