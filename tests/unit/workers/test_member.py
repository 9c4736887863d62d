"""A worker as its parent knows it: how its life is told from a hang."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from watcherd.errors import WatcherdError
from watcherd.tally import Tally
from watcherd.workers import member as module
from watcherd.workers.channel import Channel, Said
from watcherd.workers.member import Member, WorkerEndedError


class Worker:
    """The other end of a member's channel; the answers to `survey` are what a test makes of them."""

    def __init__(self, parents: Channel, own: Channel) -> None:
        process = cast("asyncio.subprocess.Process", SimpleNamespace(pid=1, returncode=None))
        self.member = Member(1, process, parents)
        self.asked = 0
        self.news = asyncio.Condition()
        own.calls["survey"] = self._survey

    async def _survey(self, said: Said) -> Said:
        async with self.news:
            self.asked += 1
            self.news.notify_all()
        return await self.answer(said)

    async def answer(self, _said: Said) -> Said:
        return Said({"tally": Tally().as_json(), "database": None})

    async def was_asked(self, times: int) -> None:
        async with self.news:
            await self.news.wait_for(lambda: self.asked >= times)


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worker]:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    ours, theirs = socket.socketpair()
    ends = [await Channel.over(ours), await Channel.over(theirs)]
    reading = [asyncio.create_task(end.run()) for end in ends]
    yield Worker(*ends)
    for end in ends:
        end.close()
    await asyncio.gather(*reading)


async def test_one_that_answers_is_looked_after_for_ever(worker: Worker) -> None:
    looking = asyncio.create_task(worker.member.look_after())
    await worker.was_asked(5)
    assert not looking.done()
    looking.cancel()


async def test_one_that_says_why_it_cannot_answer_lives(worker: Worker) -> None:
    async def fails(_said: Said) -> Said:
        raise WatcherdError("no file can be opened")

    worker.answer = fails  # type: ignore[method-assign]  # what this worker does
    before = worker.member.answered_at
    looking = asyncio.create_task(worker.member.look_after())
    await worker.was_asked(5)
    assert not looking.done()
    assert worker.member.answered_at > before
    looking.cancel()


async def test_one_that_answers_nothing_is_ended_after_the_time(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(_said: Said) -> Said:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(module, "HUNG_SECONDS", 0.02)
    worker.answer = hangs  # type: ignore[method-assign]  # as above
    with pytest.raises(WorkerEndedError, match=r"gave no sign of life for 0.02 s"):
        await worker.member.look_after()


async def test_a_parent_that_stood_still_itself_asks_once_more(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    survey, first = worker.member.survey, True

    async def late_once(seconds: float) -> Any:
        nonlocal first
        if first:
            first = False
            raise TimeoutError  # the time was over when the parent went on, and nobody had read the answer
        return await survey(seconds)

    monkeypatch.setattr(worker.member, "survey", late_once)
    looking = asyncio.create_task(worker.member.look_after())
    await worker.was_asked(3)
    assert not looking.done()
    looking.cancel()
