"""A channel carries calls, answers and tells, both ways and in order, until one end goes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from watcherd.errors import WatcherdError
from watcherd.workers.channel import CallFailedError, Channel, ChannelClosedError, Said


@asynccontextmanager
async def ends() -> AsyncIterator[tuple[Channel, Channel]]:
    """Both ends of one channel, each being read."""
    one, other = [await Channel.over(end) for end in socket.socketpair()]
    reading = [asyncio.create_task(end.run()) for end in (one, other)]
    try:
        yield one, other
    finally:
        one.close()
        other.close()
        await asyncio.gather(*reading)


class Endless:
    """A call that goes on until it is cancelled, and tells both."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def wait(self, _said: Said) -> None:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


async def test_a_call_is_answered_with_values_and_bytes() -> None:
    async def double(said: Said) -> Said:
        return Said({"number": 2 * said.fields["number"]}, said.body * 2)

    async with ends() as (one, other):
        one.calls["double"] = other.calls["double"] = double
        assert await one.call("double", b"ab", number=3) == Said({"number": 6}, b"abab")
        large = bytes(3_000_000)
        assert (await other.call("double", large, number=0)).body == large * 2


async def test_calls_are_answered_when_they_are_done_and_tells_are_heard_in_order() -> None:
    heard: list[int] = []
    go = asyncio.Event()

    async def wait(_said: Said) -> None:
        await go.wait()

    async def at_once(_said: Said) -> None:
        pass

    async with ends() as (one, other):
        other.calls |= {"wait": wait, "at once": at_once}
        other.tells["number"] = lambda said: heard.append(said.fields["number"])
        waiting = asyncio.create_task(one.call("wait"))
        for number in range(100):
            one.tell("number", number=number)
        await one.call("at once")
        assert heard == list(range(100))
        assert not waiting.done()
        go.set()
        assert await waiting == Said()


@pytest.mark.parametrize(
    ("error", "message"), [(WatcherdError("it is taken"), "it is taken"), (ValueError("bad"), "ValueError: bad")]
)
async def test_who_calls_hears_why_it_failed_and_the_channel_goes_on(error: Exception, message: str) -> None:
    async def fail(_said: Said) -> None:
        raise error

    async with ends() as (one, other):
        other.calls["fail"] = fail
        for _ in range(2):
            with pytest.raises(CallFailedError, match=f"^{message}$"):
                await one.call("fail")


async def test_what_the_other_end_does_not_understand_is_a_failed_call() -> None:
    async with ends() as (one, _other):
        with pytest.raises(CallFailedError):
            await one.call("unheard of")


async def test_a_call_that_is_given_up_is_cancelled_at_the_other_end() -> None:
    endless = Endless()
    async with ends() as (one, other):
        other.calls["wait"] = endless.wait
        calling = asyncio.create_task(one.call("wait"))
        await endless.entered.wait()
        calling.cancel()
        await endless.cancelled.wait()
        assert not one._waiting


@pytest.mark.parametrize("gone", ["closed", "killed"])
async def test_when_one_end_goes_nobody_waits_any_more_and_what_ran_for_it_is_cancelled(gone: str) -> None:
    endless = Endless()
    ours, theirs = socket.socketpair()
    one, other = await Channel.over(ours), await Channel.over(theirs)
    reading = [asyncio.create_task(end.run()) for end in (one, other)]
    other.calls["wait"] = endless.wait
    calling = asyncio.create_task(one.call("wait"))
    await endless.entered.wait()
    if gone == "closed":
        one.close()
    else:
        theirs.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ChannelClosedError):
        await calling
    await endless.cancelled.wait()
    await asyncio.gather(*reading)
    with pytest.raises(ChannelClosedError):
        await one.call("wait")
    one.tell("nobody hears this")
