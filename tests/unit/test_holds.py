"""What keeps the event loop to itself is seen, by what went on meanwhile, and is no longer than this thread worked."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator

import pytest

from watcherd import holds
from watcherd.holds import AT_REST, DOCUMENT, RELOAD, Holds
from watcherd.tally import Histogram


@pytest.fixture
async def loop(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Holds]:
    """Looked at, and long ago enough not to linger over anything."""
    monkeypatch.setattr(holds, "LINGER_SECONDS", 0.0)
    looked_at = Holds()
    gc.disable()  # a look through all that other tests have left would be a hold, too
    looked_at.start()
    yield looked_at
    looked_at.stop()
    gc.enable()


def longest(found: Histogram) -> float:
    """The lower bound of the last bucket that has any."""
    last = max(number for number, count in enumerate(found.counts) if count)
    return (0.0, *found.bounds)[last]


def work(seconds: float) -> None:
    """Have the processor for so long."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


async def looks(loop: Holds, during: str, count: int = 1) -> None:
    """Wait until it was looked so many times."""
    while during not in loop.holds or sum(loop.holds[during].counts) < count:
        await asyncio.sleep(0)


async def test_what_has_the_loop_for_long_is_seen_and_called_by_its_name(loop: Holds) -> None:
    with loop.closely(RELOAD):
        work(0.02)
        await looks(loop, RELOAD)
    with loop.closely(DOCUMENT):
        await looks(loop, DOCUMENT)
    assert longest(loop.holds[RELOAD]) >= 0.015
    assert longest(loop.holds[DOCUMENT]) < 0.015


async def test_many_short_pieces_are_no_long_one(loop: Holds) -> None:
    with loop.closely(RELOAD):
        for _ in range(100):
            work(0.0005)
            await asyncio.sleep(0)
        await looks(loop, RELOAD)
    assert longest(loop.holds[RELOAD]) < 0.015, "fifty milliseconds in a hundred pieces"


async def test_what_keeps_the_process_from_the_processor_is_no_hold_of_its_own(loop: Holds) -> None:
    with loop.closely(RELOAD):
        time.sleep(0.05)  # as if another process had the processor
        await looks(loop, RELOAD)
    assert longest(loop.holds[RELOAD]) < 0.025


async def test_afterwards_it_is_at_rest_again_and_its_lag_is_told(loop: Holds) -> None:
    with loop.closely(RELOAD), loop.closely(DOCUMENT):
        await looks(loop, DOCUMENT)
    await looks(loop, AT_REST)
    assert sum(loop.lag.counts) == sum(loop.holds[AT_REST].counts) == 1


async def test_where_nobody_looks_nothing_is_counted() -> None:
    loop = Holds()
    with loop.closely(RELOAD):
        work(0.002)
        await asyncio.sleep(0.01)
    assert not loop.holds
