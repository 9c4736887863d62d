"""Writes that come together, and are committed together where the database has one writer: each is judged alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Reply, Walk, model_text, serving
from tests.postgres import Postgres
from watcherd.store.cursor import Cursor

ON_BOTH_DATABASES = True

MODEL = model_text(
    "shop", "id: {type: string, primary_key: true}", "sku: {type: string, unique: true}", "stock: integer"
)
ITEMS = "/api/shop/items"

Together = Callable[..., Coroutine[None, None, list[Reply]]]


@pytest.fixture
async def walk(tmp_path: Path, database_url: str) -> AsyncIterator[Walk]:
    async with serving(tmp_path, {"shop.yaml": MODEL}, database_url=database_url) as walk:
        await walk.post(ITEMS, {"id": "a", "name": "a", "sku": "A", "stock": 0})
        yield walk


@pytest.fixture
def together(walk: Walk, database_url: str, request: pytest.FixtureRequest) -> Together:
    """Sends requests while nobody can write, lets them go at once, and answers what came back, in order."""
    if database_url.startswith("postgresql"):
        server: Postgres = request.getfixturevalue("postgres")
        return lambda *calls: _send(calls, _locked(server, request.getfixturevalue("schema")), lambda: len(calls))
    return lambda *calls: _send(calls, _held(walk), lambda: walk.store.usage().waiting)


async def _send(calls: tuple[Coroutine[None, None, Reply], ...], held: Any, waiting: Callable[[], int]) -> list[Reply]:
    async with held:
        tasks = [asyncio.create_task(call) for call in calls]
        while sum(task.done() for task in tasks) + waiting() < len(tasks):
            await asyncio.sleep(0)
    return await asyncio.gather(*tasks)


@asynccontextmanager
async def _held(walk: Walk) -> AsyncIterator[None]:
    """The writer is in a write that does not end; what comes meanwhile is one group."""
    entered, leave = threading.Event(), threading.Event()

    def stay(_: Cursor) -> None:
        entered.set()
        assert leave.wait(120)

    staying = asyncio.create_task(walk.store._database.write(stay))
    await asyncio.to_thread(entered.wait, 120)
    try:
        yield
    finally:
        leave.set()
        await staying


@asynccontextmanager
async def _locked(server: Postgres, schema: str) -> AsyncIterator[None]:
    """Another process keeps everybody from writing to the table."""
    connection = await server.connect(schema)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE shop__item IN EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def test_of_writes_that_are_based_on_the_same_version_exactly_one_is_done(walk: Walk, together: Together) -> None:
    path = f"{ITEMS}/a"
    for round_ in range(3):
        tag = (await walk.get(path)).headers["etag"]
        replies = await together(
            *(walk.call("PATCH", path, {"stock": round_ * 10 + number}, if_match=tag) for number in range(4)),
            walk.call("PUT", path, {"name": "put", "sku": "A", "stock": 99}, if_match=tag),
        )
        done = [reply for reply in replies if reply.status == 200]
        assert sorted(reply.status for reply in replies) == [200, 412, 412, 412, 412]
        now = await walk.get(path)
        assert (now.json, now.headers["etag"]) == (done[0].json, done[0].headers["etag"])


async def test_a_change_and_a_removal_that_are_based_on_the_same_version_exclude_each_other(
    walk: Walk, together: Together
) -> None:
    path = f"{ITEMS}/a"
    tag = (await walk.get(path)).headers["etag"]
    replies = await together(
        walk.call("DELETE", path, if_match=tag),
        walk.call("PATCH", path, {"stock": 1}, if_match=tag),
        walk.call("DELETE", path, if_match=tag),
    )
    won = [reply.status for reply in replies if reply.status < 400]
    lost = [reply.status for reply in replies if reply.status >= 400]
    assert len(won) == 1
    # Who comes after a removal finds no row.
    assert lost == ([404, 404] if won == [204] else [412, 412])
    assert (await walk.get(path)).status == (404 if won == [204] else 200)


async def test_of_two_that_take_the_same_value_one_is_refused_and_the_others_are_unharmed(
    walk: Walk, together: Together
) -> None:
    replies = await together(
        walk.call("POST", ITEMS, {"id": "b", "name": "b", "sku": "B"}),
        walk.call("POST", ITEMS, {"id": "c", "name": "c", "sku": "SAME"}),
        walk.call("PATCH", f"{ITEMS}/a", {"stock": 7}),
        walk.call("POST", ITEMS, {"id": "d", "name": "d", "sku": "SAME"}),
        walk.call("POST", ITEMS, [{"id": "e", "name": "e", "sku": "E"}, {"id": "f", "name": "f", "sku": "A"}]),
        walk.call("POST", ITEMS, {"id": "g", "name": "g", "sku": "G"}),
    )
    assert [reply.status for reply in replies[:1] + replies[2:3] + replies[4:]] == [201, 200, 409, 201]
    assert sorted((replies[1].status, replies[3].status)) == [201, 409]
    refused = next(reply for reply in (replies[1], replies[3]) if reply.status == 409)
    assert refused.json["errors"][0]["pointer"] == "#/sku"
    assert replies[4].json["errors"][0]["pointer"] == "#/1/sku"
    rows = {row["id"]: row["sku"] for row in (await walk.get(f"{ITEMS}?limit=50")).json["items"]}
    assert sorted(rows.values()) == ["A", "B", "G", "SAME"]
    assert (await walk.get(f"{ITEMS}/a")).json["stock"] == 7


async def test_a_row_that_is_made_twice_under_one_key_is_there_once(walk: Walk, together: Together) -> None:
    replies = await together(*(walk.call("POST", ITEMS, {"id": "z", "name": str(number)}) for number in range(5)))
    assert sorted(reply.status for reply in replies) == [201, 409, 409, 409, 409]
    made = next(reply for reply in replies if reply.status == 201)
    assert (await walk.get(f"{ITEMS}/z")).json == made.json


async def test_a_key_that_is_used_twice_at_once_writes_once(walk: Walk, together: Together) -> None:
    body: dict[str, Any] = {"id": "k", "name": "k"}
    replies = await together(*(walk.call("POST", ITEMS, body, idempotency_key="one") for _ in range(4)))
    assert {reply.status for reply in replies} <= {201, 409}
    assert sum(reply.status == 201 for reply in replies) >= 1
    again = await walk.call("POST", ITEMS, body, idempotency_key="one")
    assert (again.status, again.headers["idempotency-replayed"]) == (201, "true")
    assert (await walk.get(f"{ITEMS}?name=k")).json["total"] == 1
