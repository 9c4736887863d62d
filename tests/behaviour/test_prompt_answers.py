"""What is answered at once is what the usual way answers, to the byte; and what cannot be, takes that way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Client, Walk, model_text, serving
from watcherd.cors import Cors
from watcherd.keys import Keys, make_key
from watcherd.prompt import Reply

MODEL = model_text(
    "shop",
    "id: {type: string, primary_key: true}",
    "price: float",
    "many: 'string[]'",
    "secret: {type: string, write_only: true}",
)
IDS = [f"item-{number:02d}" for number in range(30)]


@pytest.fixture
async def walk(tmp_path: Path) -> AsyncIterator[Walk]:
    """A model with some rows, whose number is known."""
    async with serving(tmp_path, {"shop.yaml": MODEL}) as walk:
        rows = [{"id": key, "name": f"n{place}", "secret": "s", "many": ["a"]} for place, key in enumerate(IDS)]
        assert (await walk.call("POST", "/api/shop/items", rows)).status == 201
        await walk.get("/api/shop/items?limit=1")
        yield walk


def at_once(walk: Walk, path: str, **headers: str) -> Reply | None:
    client = Client(walk, "GET", path, {name.replace("_", "-"): value for name, value in headers.items()})
    return walk.gateway.answer_at_once(client.scope)


def headers_of(reply: Reply) -> dict[str, str]:
    lines = [line.partition(b": ") for line in reply.lines.split(b"\r\n") if line]
    found = {name.decode(): value.decode() for name, _, value in lines}
    return found | {name.decode(): value.decode() for name, value in reply.answer.headers}


@pytest.mark.parametrize(
    "path",
    [
        f"/api/shop/items/{IDS[3]}",
        f"/api/shop/items/{IDS[3]}/",
        "/api/shop/items?limit=1",
        "/api/shop/items?limit=5&skip=2",
        "/api/shop/items?limit=5&sort=-name&fields=name,id",
        "/api/shop/items?name=n3",
        "/api/shop/items?name__in=n3,n4&count=none",
        "/api/shop/items",
    ],
)
async def test_the_answer_is_the_same_either_way(walk: Walk, path: str) -> None:
    usual = await walk.get(path, x_request_id="r1")
    reply = at_once(walk, path, x_request_id="r1")

    assert reply is not None
    assert (reply.answer.status, reply.answer.body) == (usual.status, usual.body)
    own = {"content-type", "content-length"}
    assert headers_of(reply) == {name: value for name, value in usual.headers.items() if name not in own}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/healthz",
        "/api/nobody/items",
        "/api/shop",
        "/api/shop/nothing",
        f"/api/shop/items/{IDS[3]}?fields=name",
        "/api/shop/items/nobody",
        "/api/shop/items?limit=none",
        "/api/shop/items?limit=1000",
        "/api/shop/items?skip=1000000",
        "/api/shop/items?name__contains=a",
        "/api/shop/items/-/export",
    ],
)
async def test_what_is_refused_or_may_take_long_takes_the_usual_way(walk: Walk, path: str) -> None:
    assert at_once(walk, path) is None


async def test_a_row_that_the_client_has_is_a_304_at_once(walk: Walk) -> None:
    tag = (await walk.get(f"/api/shop/items/{IDS[0]}")).headers["etag"]
    reply = at_once(walk, f"/api/shop/items/{IDS[0]}", if_none_match=tag)
    assert reply is not None
    assert (reply.answer.status, reply.answer.body) == (304, b"")


async def test_rows_that_are_large_are_left_to_the_threads_from_the_first_page_on(walk: Walk) -> None:
    assert (await walk.call("PATCH", f"/api/shop/items/{IDS[0]}", {"name": "x" * 5000})).status == 200
    assert at_once(walk, "/api/shop/items?limit=2") is not None
    assert at_once(walk, "/api/shop/items?limit=2") is None
    assert at_once(walk, f"/api/shop/items/{IDS[0]}") is not None


async def test_the_total_is_true_after_each_write(walk: Walk) -> None:
    for number in range(5):
        reply = at_once(walk, "/api/shop/items?limit=1")
        assert reply is not None
        assert json.loads(reply.answer.body)["total"] == 30 + number
        await walk.post("/api/shop/items", {"id": f"more-{number}", "name": "more"})


async def test_a_swap_is_seen_by_the_next_request(walk: Walk) -> None:
    before = at_once(walk, f"/api/shop/items/{IDS[0]}")
    await walk.save("shop.yaml", model_text("shop", "id: {type: string, primary_key: true}", "color"))
    # Until the reader has seen how the tables are now, which it does before the next write, the usual way answers.
    assert (await walk.call("POST", "/api/shop/items", {"id": "later", "name": "n"})).status == 201
    after = at_once(walk, f"/api/shop/items/{IDS[0]}")
    assert before is not None
    assert after is not None
    assert (headers_of(before)["watcherd-revision"], headers_of(after)["watcherd-revision"]) == ("1", "2")
    assert "color" not in json.loads(before.answer.body)
    assert "color" in json.loads(after.answer.body)
    await walk.unload("shop")
    assert at_once(walk, f"/api/shop/items/{IDS[0]}") is None


async def test_nobody_is_let_in_who_has_to_wait_at_the_door(walk: Walk) -> None:
    gateway: Any = walk.gateway
    path = f"/api/shop/items/{IDS[0]}"
    key, line = make_key("reader", ["shop"], [])
    gateway._keys = Keys(None, line)
    assert at_once(walk, path) is None
    assert at_once(walk, path, x_api_key="wk_wrong") is None
    assert at_once(walk, path, x_api_key=key) is not None
    gateway._keys = None
    gateway._cors = Cors.of("https://app.example")
    shared = at_once(walk, path, origin="https://app.example")
    assert shared is not None
    assert headers_of(shared)["access-control-allow-origin"] == "https://app.example"
    gateway.stopping = True
    assert at_once(walk, path) is None


async def test_while_too_many_are_in_flight_nothing_is_answered_at_once_either(walk: Walk) -> None:
    gateway: Any = walk.gateway
    gateway._busy = gateway._limits.max_in_flight
    assert at_once(walk, f"/api/shop/items/{IDS[0]}") is None
    gateway._busy = 0
    await asyncio.sleep(0)
    assert at_once(walk, f"/api/shop/items/{IDS[0]}") is not None


async def test_what_was_asked_is_remembered_within_a_bound_and_means_the_same(walk: Walk) -> None:
    for number in range(300):
        for _ in range(2):
            reply = at_once(walk, f"/api/shop/items?limit=5&skip={number}")
            assert reply is not None
            assert json.loads(reply.answer.body)["skip"] == number
    long = "/api/shop/items?limit=3&name__in=" + ",".join(f"n{number}" for number in range(100))
    for _ in range(2):
        assert [row["name"] for row in (await walk.get(long)).json["items"]] == ["n0", "n1", "n2"]
