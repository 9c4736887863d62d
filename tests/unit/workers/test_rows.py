"""Row events over several processes: told in one order, to all who listen, wherever they come back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from watcherd.feeds import EMITTED, Reader
from watcherd.workers.channel import Channel
from watcherd.workers.rows import RowHub, RowMirror

SHAPE = ("id", "name")


class Crew:
    """A hub and two workers' mirrors, in one process."""

    def __init__(self) -> None:
        self.hub = RowHub()
        self.mirrors: list[RowMirror] = []
        self.channels: list[Channel] = []
        self._reading: list[asyncio.Task[None]] = []

    async def join(self) -> RowMirror:
        ours, theirs = [await Channel.over(end) for end in socket.socketpair()]
        self._reading += [asyncio.create_task(end.run()) for end in (ours, theirs)]
        mirror = RowMirror(10, theirs)
        await self.hub.attach(ours)
        self.channels.append(ours)
        self.mirrors.append(mirror)
        return mirror

    async def close(self) -> None:
        for channel in self.channels:
            channel.close()
        await asyncio.gather(*self._reading)


@pytest.fixture
async def crew() -> AsyncIterator[Crew]:
    crew = Crew()
    await crew.join()
    await crew.join()
    yield crew
    await crew.close()


async def listen(mirror: RowMirror, last: str | None = None, shape: tuple[str, ...] = SHAPE) -> Reader:
    reader = await mirror.listen("shop", "Item", shape, last)
    assert await anext(reader) == b": welcome\n\n" if last is None else True
    return reader


async def told(reader: Reader, count: int) -> list[str]:
    """The data of so many events."""
    found: list[str] = []
    while len(found) < count:
        found += [line[6:].decode() for line in (await anext(reader)).split(b"\n") if line.startswith(b"data: ")]
    return found


def write(mirror: RowMirror, name: str) -> None:
    mirror.publish("shop", "Item", "created", {"id": 1, "name": name, "secret": "x"})


async def test_all_readers_hear_of_all_writes_in_one_order_and_of_no_secret(crew: Crew) -> None:
    readers = [await listen(mirror) for mirror in crew.mirrors]
    for number in range(10):
        write(crew.mirrors[number % 2], str(number))
    first, second = [await told(reader, 10) for reader in readers]
    assert first == second
    assert sorted(first) == [f'{{"id":1,"name":"{number}"}}' for number in range(10)]


async def test_what_nobody_listens_to_is_not_passed_on(crew: Crew) -> None:
    heard: list[object] = []
    crew.channels[0].tells["row"] = heard.append
    write(crew.mirrors[0], "unheard")
    crew.mirrors[0].reset("shop", "Item")
    await crew.channels[0].call("rows wanted", model="other", entity="Item", shape=SHAPE)
    assert not heard


async def test_a_reader_comes_back_to_another_worker_and_gets_what_it_has_missed(crew: Crew) -> None:
    one, other = crew.mirrors
    reader = await listen(one)
    write(one, "a")
    text = await anext(reader)
    last = text.split(b"\n", 1)[0].removeprefix(b"id: ").decode()
    await reader.aclose()
    write(other, "b")
    write(one, "c")
    again = await listen(other, last)
    assert sorted(await told(again, 2)) == ['{"id":1,"name":"b"}', '{"id":1,"name":"c"}']
    write(other, "d")
    assert await told(again, 1) == ['{"id":1,"name":"d"}']


async def test_a_worker_that_joins_later_tells_of_its_writes_too(crew: Crew) -> None:
    reader = await listen(crew.mirrors[0])
    write(await crew.join(), "late")
    assert await told(reader, 1) == ['{"id":1,"name":"late"}']


async def test_when_a_worker_is_gone_all_are_told_to_read_again(crew: Crew) -> None:
    reader = await listen(crew.mirrors[0])
    write(crew.mirrors[0], "a")
    text = await anext(reader)
    crew.hub.detach(crew.channels[1])
    assert b"event: reset" in await anext(reader)
    again = await listen(crew.mirrors[0], text.split(b"\n", 1)[0].removeprefix(b"id: ").decode())
    assert b"event: reset" in await anext(again)


async def test_another_shape_lets_go_of_what_was_kept(crew: Crew) -> None:
    one, other = crew.mirrors
    reader = await listen(one)
    write(one, "a")
    last = (await anext(reader)).split(b"\n", 1)[0].removeprefix(b"id: ").decode()
    await reader.aclose()
    slim = await listen(other, last, ("id",))
    assert b"event: reset" in await anext(slim)
    write(one, "b")
    assert await told(slim, 1) == ['{"id":1}']


async def test_an_unloaded_model_sends_its_readers_away_everywhere(crew: Crew) -> None:
    readers = [await listen(mirror) for mirror in crew.mirrors]
    crew.hub.forget("shop")
    for reader in readers:
        assert b"unloaded" in await anext(reader)
    write(crew.mirrors[0], "nobody hears this")
    assert not crew.mirrors[0]._wanted


async def test_what_methods_emit_goes_the_same_way(crew: Crew) -> None:
    reader = await crew.mirrors[0].listen("shop", EMITTED, (), None)
    await anext(reader)
    crew.mirrors[1].announce("shop", "order.created", {"total": "1.20"})
    assert b'event: order.created\ndata: {"total":"1.20"}' in await anext(reader)


async def test_more_changes_than_are_told_reset_every_reader(crew: Crew) -> None:
    readers = [await listen(mirror) for mirror in crew.mirrors]
    crew.mirrors[1].reset("shop", "Item")
    for reader in readers:
        assert b"event: reset" in await anext(reader)
