"""One connection, many requests, and a swap in between: each is answered once, in order, by one revision."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Walk, drained, listening, model_text, serving

KEY = "id: {type: string, primary_key: true}"
OLD, NEW = model_text("shop", KEY), model_text("shop", KEY, "color")
ITEMS = "/api/shop/items"


@dataclass(frozen=True)
class Answer:
    status: int
    revision: int | None
    closes: bool
    json: Any


class Line:
    """A raw connection to the walk's gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> Answer:
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        body = await self._reader.readexactly(int(length[1])) if length else b""
        revision = re.search(rb"watcherd-revision: (\d+)", head)
        return Answer(
            int(head.split()[1]),
            None if revision is None else int(revision[1]),
            b"connection: close" in head,
            json.loads(body) if body else None,
        )

    async def ended(self) -> bool:
        return await self._reader.read() == b""


@pytest.fixture
async def walk(tmp_path: Path) -> AsyncIterator[Walk]:
    async with serving(tmp_path, {"shop.yaml": OLD}) as walk:
        await walk.post(ITEMS, {"id": "a", "name": "a"})
        await walk.get(ITEMS)
        yield walk


@pytest.fixture
async def address(walk: Walk) -> AsyncIterator[tuple[str, int]]:
    async with listening(walk.gateway) as address:
        yield address


@asynccontextmanager
async def connected(address: tuple[str, int]) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield Line(reader, writer)
    finally:
        writer.close()


def get(path: str = f"{ITEMS}/a", *headers: str, version: str = "1.1", method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "host: a", *headers, "", ""]).encode()


def post(name: str) -> tuple[bytes, bytes]:
    """A request in two halves: the second is the end of its body."""
    body = json.dumps({"id": name, "name": name}).encode()
    head = f"POST {ITEMS} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body[:5], body[5:]


async def in_flight(walk: Walk, count: int) -> None:
    while len(walk.revision("shop").in_flight) != count:
        await asyncio.sleep(0)


async def test_a_half_sent_body_ends_where_it_began_and_what_waits_behind_it_sees_the_new_revision(
    walk: Walk, address: tuple[str, int]
) -> None:
    begin, rest = post("b")
    async with connected(address) as line, connected(address) as other:
        line.send(get() + get(ITEMS) + begin)
        assert [(await line.answer()).revision for _ in range(2)] == [1, 1]
        await in_flight(walk, 1)
        await walk.save("shop.yaml", NEW)
        assert [one.number for one in walk.drains.revisions()] == [1]
        other.send(get())
        assert (await other.answer()).revision == 2
        line.send(rest + get() + get(f"{ITEMS}/b") + get(ITEMS))
        made = await line.answer()
        assert (made.status, made.revision, "color" in made.json) == (201, 1, False)
        after = [await line.answer() for _ in range(3)]
        assert [(one.status, one.revision) for one in after] == [(200, 2)] * 3
        assert (after[1].json["name"], after[1].json["color"]) == ("b", None)
        assert after[2].json["total"] == 2
        await drained(walk, "shop")
        assert not list(walk.drains.revisions())


async def test_a_half_sent_head_is_answered_by_what_serves_when_it_ends(walk: Walk, address: tuple[str, int]) -> None:
    async with connected(address) as line:
        whole = get()
        line.send(get() + whole[:20])
        assert (await line.answer()).revision == 1
        await walk.save("shop.yaml", NEW)
        line.send(whole[20:])
        answer = await line.answer()
        assert (answer.revision, answer.json["color"]) == (2, None)


async def test_a_long_row_of_requests_is_answered_in_order_whatever_happens_meanwhile(
    walk: Walk, address: tuple[str, int]
) -> None:
    for name in range(50):
        await walk.post(ITEMS, {"id": f"n{name}", "name": str(name)})
    async with connected(address) as line:
        for text, revision in ((NEW, 1), (OLD, 2), (NEW, 3)):
            line.send(b"".join(get(f"{ITEMS}/n{name}") for name in range(50)))
            answers = [await line.answer() for _ in range(50)]
            assert [answer.json["name"] for answer in answers] == [str(name) for name in range(50)]
            assert {answer.revision for answer in answers} == {revision}
            await walk.save("shop.yaml", text)
        # And with the swaps in the middle: never an older revision after a newer one.
        saving = asyncio.create_task(walk.save("shop.yaml", OLD))
        seen = []
        while not saving.done():
            line.send(b"".join(get(f"{ITEMS}/n{name}") for name in range(20)))
            answers = [await line.answer() for _ in range(20)]
            assert [answer.json["name"] for answer in answers] == [str(name) for name in range(20)]
            assert all(("color" in answer.json) == (answer.revision == 4) for answer in answers)
            seen += [answer.revision or 0 for answer in answers]
        await saving
        assert seen == sorted(seen)


async def test_what_stands_behind_a_request_that_closes_is_not_answered(walk: Walk, address: tuple[str, int]) -> None:
    for closing in (
        get(f"{ITEMS}/a", "connection: close"),
        get(f"{ITEMS}/a", version="1.0"),
        get(ITEMS, "connection: close"),
        get(f"{ITEMS}/nobody", "connection: close"),
        get(f"{ITEMS}/a", "connection: close", method="OPTIONS"),
    ):
        async with connected(address) as line:
            line.send(get() + closing + get() + get())
            assert not (await line.answer()).closes
            assert (await line.answer()).closes
            assert await line.ended()


async def test_an_older_client_gets_one_answer_a_connection_and_is_told_so(
    walk: Walk, address: tuple[str, int]
) -> None:
    for revision in (1, 2):
        async with connected(address) as line:
            line.send(get(f"{ITEMS}/a", "connection: keep-alive", version="1.0") * 2)
            answer = await line.answer()
            assert (answer.status, answer.revision, answer.closes) == (200, revision, True)
            assert await line.ended()
        await walk.save("shop.yaml", NEW)


async def test_a_client_that_goes_in_the_middle_of_anything_leaves_nothing(
    walk: Walk, address: tuple[str, int]
) -> None:
    begin, _ = post("b")
    for sent in (get()[:20], get() + begin, begin + get() * 30, get() * 30):
        async with connected(address) as line:
            line.send(sent)
            if sent.startswith(b"GET") and len(sent) > 100:
                await line.answer()
    await in_flight(walk, 0)
    await walk.save("shop.yaml", NEW)
    await drained(walk, "shop")
    assert not list(walk.drains.revisions())
    assert (await walk.get(f"{ITEMS}/b")).status == 404
