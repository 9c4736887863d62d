from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from watcherd.keys import Keys, make_key
from watcherd.pim.spec import Attribute, Kind, Method, Service
from watcherd.store import Answers, Cursor, ModelTables

PRODUCT = {"sku": "A1", "price": "12.5"}


async def skus(shop: Any) -> list[str]:
    return [row["sku"] for row in (await shop.get("/products")).json["items"]]


async def test_a_request_that_is_sent_again_is_answered_as_before_and_writes_nothing(shop: Any) -> None:
    first = await shop.post("/products", PRODUCT, idempotency_key="k1")
    again = await shop.post("/products", PRODUCT, idempotency_key="k1")
    assert (first.status, again.status) == (201, 201)
    assert again.body == first.body
    assert again.headers == first.headers | {"idempotency-replayed": "true"}
    assert "idempotency-replayed" not in first.headers
    assert await skus(shop) == ["A1"]


async def test_an_array_is_written_once(shop: Any) -> None:
    rows = [PRODUCT, PRODUCT | {"sku": "A2"}]
    replies = [await shop.post("/products", rows, idempotency_key="k1") for _ in range(3)]
    assert [item.body for item in replies] == [replies[0].body] * 3
    assert await skus(shop) == ["A1", "A2"]


async def test_another_body_under_the_same_key_is_refused(shop: Any) -> None:
    await shop.post("/products", PRODUCT, idempotency_key="k1")
    refused = await shop.post("/products", PRODUCT | {"sku": "A2"}, idempotency_key="k1")
    assert (refused.status, refused.slug) == (422, "key-reused")
    assert await skus(shop) == ["A1"]


async def test_keys_of_other_paths_and_other_callers_are_other_keys(shop: Any) -> None:
    made = await shop.post("/products", PRODUCT, idempotency_key="k1")
    review = await shop.post("/reviews", {"product": made.json["id"]}, idempotency_key="k1")
    theirs = await shop.post("/products", PRODUCT | {"sku": "A2"}, idempotency_key="k1", authorization="Bearer b")
    ours = await shop.post("/products", PRODUCT | {"sku": "A3"}, idempotency_key="k1", authorization="Bearer c")
    assert [item.status for item in (made, review, theirs, ours)] == [201] * 4


async def test_callers_are_told_apart_by_their_api_keys_however_those_are_sent(shop: Any) -> None:
    ours, one = make_key("one", ["*"], ["*"])
    their, two = make_key("two", ["*"], ["*"])
    keys = Keys(None, f"{one};{two}")
    shop.callers = keys

    mine = await shop.post("/products", PRODUCT, idempotency_key="k1", x_api_key=ours)
    theirs = await shop.post("/products", PRODUCT | {"sku": "A2"}, idempotency_key="k1", x_api_key=their)
    again = await shop.post("/products", PRODUCT, idempotency_key="k1", authorization=f"Bearer {ours}")

    assert [item.status for item in (mine, theirs, again)] == [201] * 3
    assert again.body == mine.body
    assert again.headers["idempotency-replayed"] == "true"
    assert await skus(shop) == ["A1", "A2"]


async def test_a_key_is_the_same_with_and_without_quotes(shop: Any) -> None:
    await shop.post("/products", PRODUCT, idempotency_key="k1")
    assert (await shop.post("/products", PRODUCT, idempotency_key='"k1"')).headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("key", ["", " ", '""', "a b", "k1, k2", "é", "a" * 256])
async def test_a_malformed_key_is_refused(shop: Any, key: str) -> None:
    refused = await shop.post("/products", PRODUCT, idempotency_key=key)
    assert (refused.status, refused.slug) == (400, "bad-request")
    assert "1 to 255 visible ASCII" in refused.json["detail"]
    assert (await shop.post("/products", PRODUCT, idempotency_key="a" * 255)).status == 201


async def test_a_refused_request_has_used_up_nothing(shop: Any) -> None:
    assert (await shop.post("/products", {"sku": "A1"}, idempotency_key="k1")).status == 422
    made = await shop.post("/products", PRODUCT, idempotency_key="k1")
    assert (made.status, "idempotency-replayed" in made.headers) == (201, False)
    assert (await shop.post("/products", PRODUCT, idempotency_key="k2")).status == 409
    assert (await shop.post("/products", PRODUCT | {"sku": "A2"}, idempotency_key="k2")).status == 201


async def test_a_request_that_still_runs_is_not_run_beside_itself(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    write = ModelTables.write

    async def wait_and_write(tables: ModelTables, work: Callable[[Cursor], Any]) -> Any:
        def hold(cursor: Cursor) -> Any:
            loop.call_soon_threadsafe(entered.set)
            assert go.wait(120)
            return work(cursor)

        return await write(tables, hold)

    monkeypatch.setattr(ModelTables, "write", wait_and_write)
    running = asyncio.create_task(shop.post("/products", PRODUCT, idempotency_key="k1"))
    await entered.wait()
    for body in (PRODUCT, PRODUCT | {"sku": "A2"}):
        refused = await shop.post("/products", body, idempotency_key="k1")
        assert (refused.status, refused.slug, refused.headers["retry-after"]) == (409, "still-running", "1")
    go.set()
    assert (await running).status == 201
    assert (await shop.post("/products", PRODUCT, idempotency_key="k1")).headers["idempotency-replayed"] == "true"


async def test_what_is_written_and_its_answer_are_one_transaction(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(Answers, "keep", fail)
        with pytest.raises(ZeroDivisionError):
            await shop.post("/products", PRODUCT, idempotency_key="k1")
    assert await skus(shop) == []
    assert (await shop.post("/products", PRODUCT, idempotency_key="k1")).status == 201


async def test_a_write_whose_caller_went_away_is_not_done_again(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def find_nothing(*_: object) -> None:
        """The look-up came before the other's commit."""

    monkeypatch.setattr(Answers, "find", find_nothing)
    await shop.post("/products", PRODUCT, idempotency_key="k1")
    refused = await shop.post("/products", PRODUCT | {"sku": "A2"}, idempotency_key="k1")
    assert (refused.status, refused.slug) == (409, "still-running")
    assert await skus(shop) == ["A1"]


async def test_an_answer_is_kept_for_a_day(shop: Any, clock: Any) -> None:
    await shop.post("/products", PRODUCT, idempotency_key="k1")
    clock.now += timedelta(hours=23, minutes=59)
    assert (await shop.post("/products", PRODUCT, idempotency_key="k1")).status == 201
    clock.now += timedelta(minutes=1)
    assert (await shop.post("/products", PRODUCT | {"sku": "A2"}, idempotency_key="k1")).status == 201
    assert await skus(shop) == ["A1", "A2"]


async def test_expired_answers_are_taken_away_by_later_ones(shop: Any, clock: Any, store: Any) -> None:
    for place in range(25):
        await shop.post("/products", PRODUCT | {"sku": f"A{place}"}, idempotency_key=f"k{place}")
    clock.now += timedelta(days=2)
    left = []
    for place in range(4):
        await shop.post("/products", PRODUCT | {"sku": f"B{place}"}, idempotency_key=f"l{place}")
        left.append(await store._database.read(count))
    assert left == [16, 7, 3, 4]


def count(cursor: Cursor) -> int:
    found: int = cursor.execute("SELECT COUNT(*) FROM watcherd_answer").fetchone()[0]
    return found


async def test_a_reload_and_another_spelling_forget_no_answer(
    serve: Callable[..., Awaitable[Any]], entity: Callable[..., Any]
) -> None:
    thing = entity("Thing", Attribute(name="name", kind=Kind.STRING))
    old = await serve(thing, domain="my-shop")
    first = await old.post("/things", {"name": "a"}, idempotency_key="k1")
    new = await serve(entity("Thing", *thing.attributes.values(), Attribute(name="n", kind=Kind.INTEGER)),
                      domain="my-shop")  # fmt: skip
    new.base = "/api/my_shop"
    again = await new.post("/things", {"name": "a"}, idempotency_key="k1")
    assert (again.body, again.headers["idempotency-replayed"]) == (first.body, "true")


async def test_a_method_refuses_a_malformed_key_and_keeps_nothing(
    serve: Callable[..., Awaitable[Any]], entity: Callable[..., Any], store: Any
) -> None:
    service = Service(name="Shop", path="shop", methods=(Method(name="open", path="open"),))
    shop = await serve(entity("Thing"), services={"Shop": service})
    assert (await shop.post("/shop/open", idempotency_key="a b")).status == 400
    assert [(await shop.post("/shop/open", idempotency_key="k1")).status for _ in range(2)] == [501, 501]
    assert await store._database.read(count) == 0
