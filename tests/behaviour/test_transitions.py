"""Methods that change the state of a row, and rules about parameters: who may, when, and only once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Reply, Walk, serving

ON_BOTH_DATABASES = True

ORDERS = "/api/shop/orders"
SHOP = """
domain: shop
entities:
  - name: Order
    attributes:
      note: string
      total: {type: decimal, default: 0}
      secret: {type: string, write_only: true}
      status: {enum: [open, paid, shipped, cancelled], default: open}
    states: status
services:
  - name: OrdersService
    methods:
      - name: pay
        parameters: {orderId: uuid, amount: decimal}
        returns: Order
        rules: [enough, kind]
        transition: {entity: Order, from: open, to: paid}
      - name: ship
        parameters: {id: uuid}
        transition: {entity: Order, field: status, from: [paid], to: shipped}
      - name: cancel
        parameters: {order: uuid}
        returns: Order
        transition: {entity: Order, from: [], to: cancelled, key: order}
      - name: refund
        parameters: {orderId: uuid, lines: "Order[]"}
        rules: [few]
        flow: refunding
        transition: {entity: Order, from: paid, to: open}
flows:
  refunding: {steps: [{id: a, label: Give the money back}]}
rules:
  enough: {assert: amount > 0, message: pay something, code: too_little}
  few: {when: lines != null, assert: "lines.size() < 3 && lines.all(l, l.total >= 0)"}
  kind: Customers are thanked
  shipped_have_a_note: {on: Order, when: self.status == "shipped", assert: has(self.note), message: say where}
"""


async def method(walk: Walk, name: str, body: Any, **headers: str) -> Reply:
    return await walk.call("POST", f"/api/shop/orders-service/{name}", body, **headers)


@pytest.fixture
def shop(tmp_path: Path) -> dict[str, str]:
    return {"shop.yaml": SHOP}


async def test_a_method_moves_a_row_from_state_to_state(tmp_path: Path, shop: dict[str, str]) -> None:
    async with serving(tmp_path, shop) as walk:
        row = await walk.post(ORDERS, {"note": "to Ada", "secret": "x"})
        paid = await method(walk, "pay", {"orderId": row["id"], "amount": "5"})
        assert (paid.status, paid.json["status"], "secret" in paid.json) == (200, "paid", False)
        assert paid.json["updated_at"] > row["updated_at"]
        assert paid.headers["etag"] == (await walk.get(f"{ORDERS}/{row['id']}")).headers["etag"]
        shipped = await method(walk, "ship", {"id": row["id"]})
        assert (shipped.status, shipped.body) == (204, b"")
        assert (await walk.get(f"{ORDERS}/{row['id']}")).json["status"] == "shipped"
        assert (await walk.call("PATCH", f"{ORDERS}/{row['id']}", {"status": "open"})).status == 409


async def test_a_row_in_another_state_is_a_conflict_that_says_in_which(tmp_path: Path, shop: dict[str, str]) -> None:
    async with serving(tmp_path, shop) as walk:
        row = await walk.post(ORDERS, {})
        reply = await method(walk, "ship", {"id": row["id"]})
        assert (reply.status, reply.json["type"], reply.json["state"]) == (409, "/problems/state", "open")
        assert reply.json["detail"] == "OrdersService.ship: the Order is open, expected paid"
        assert reply.json["errors"][0]["pointer"] == "#/id"


async def test_without_from_any_state_will_do(tmp_path: Path, shop: dict[str, str]) -> None:
    async with serving(tmp_path, shop) as walk:
        row = await walk.post(ORDERS, {})
        for _ in range(2):
            assert (await method(walk, "cancel", {"order": row["id"]})).json["status"] == "cancelled"


@pytest.mark.parametrize("key", ["00000000-0000-7000-8000-000000000000"])
async def test_a_row_that_is_not_there_is_404_and_a_key_that_is_none_422(
    tmp_path: Path, shop: dict[str, str], key: str
) -> None:
    async with serving(tmp_path, shop) as walk:
        reply = await method(walk, "ship", {"id": key})
        assert (reply.status, reply.json["type"]) == (404, "/problems/no-such-row")
        assert (await method(walk, "ship", {"id": "x"})).status == 422
        assert (await method(walk, "ship", {})).status == 422


async def test_if_match_is_honoured(tmp_path: Path, shop: dict[str, str]) -> None:
    async with serving(tmp_path, shop) as walk:
        row = await walk.post(ORDERS, {})
        tag = (await walk.get(f"{ORDERS}/{row['id']}")).headers["etag"]
        await walk.call("PATCH", f"{ORDERS}/{row['id']}", {"note": "a"})
        body = {"orderId": row["id"], "amount": "5"}
        assert (await method(walk, "pay", body, if_match=tag)).status == 412
        fresh = (await walk.get(f"{ORDERS}/{row['id']}")).headers["etag"]
        assert (await method(walk, "pay", body, if_match=fresh)).status == 200


async def test_of_calls_at_the_same_time_one_wins(tmp_path: Path, shop: dict[str, str], database_url: str) -> None:
    async with serving(tmp_path, shop, database_url=database_url) as walk:
        for _ in range(5):
            row = await walk.post(ORDERS, {})
            body = {"orderId": row["id"], "amount": "5"}
            replies = await asyncio.gather(*(method(walk, "pay", body) for _ in range(8)))
            assert sorted(reply.status for reply in replies) == [200] + [409] * 7


async def test_the_rules_of_the_entity_hold_for_the_row_in_its_new_state(tmp_path: Path, shop: dict[str, str]) -> None:
    async with serving(tmp_path, shop) as walk:
        row = await walk.post(ORDERS, {})
        await method(walk, "pay", {"orderId": row["id"], "amount": "5"})
        reply = await method(walk, "ship", {"id": row["id"]})
        assert (reply.status, reply.json["errors"]) == (
            422,
            [{"pointer": "#", "code": "shipped_have_a_note", "message": "say where"}],
        )
        assert (await walk.get(f"{ORDERS}/{row['id']}")).json["status"] == "paid"


async def test_the_rules_of_a_method_are_held_against_its_parameters_first(
    tmp_path: Path, shop: dict[str, str]
) -> None:
    async with serving(tmp_path, shop) as walk:
        row = await walk.post(ORDERS, {})
        reply = await method(walk, "pay", {"orderId": row["id"], "amount": "0"})
        assert (reply.status, reply.json["errors"]) == (
            422,
            [{"pointer": "#/amount", "code": "too_little", "message": "pay something"}],
        )
        lines = [{"total": "1"}] * 3
        reply = await method(walk, "refund", {"orderId": row["id"], "lines": lines})
        assert (reply.status, reply.json["errors"][0]["pointer"]) == (422, "#/lines")


async def test_a_method_with_a_flow_that_is_prose_does_not_pretend(tmp_path: Path, shop: dict[str, str]) -> None:
    async with serving(tmp_path, shop) as walk:
        row = await walk.post(ORDERS, {})
        reply = await method(walk, "refund", {"orderId": row["id"], "lines": []})
        assert reply.status == 501
        assert reply.json["lacks"] == ["a handler", "a binding of step a (Give the money back) of the flow refunding"]


async def test_transitions_and_rules_are_described(tmp_path: Path, shop: dict[str, str]) -> None:
    async with serving(tmp_path, shop) as walk:
        document = (await walk.get("/api/shop/-/openapi.json")).json
        operation = document["paths"]["/api/shop/orders-service/pay"]["post"]
        assert "Changes `status` of the Order from open to paid." in operation["description"]
        assert "Rules:\n- enough: pay something" in operation["description"]
        assert "Not enforced:\n- kind: Customers are thanked" in operation["description"]
        assert {"200", "409", "412", "422"} <= operation["responses"].keys()
        assert "501" not in operation["responses"]


async def test_code_behind_a_method_finds_the_row_in_its_new_state_and_takes_it_back_when_it_fails(
    tmp_path: Path, shop: dict[str, str]
) -> None:
    moves = "transition: {entity: Order, from: open, to: paid}"
    text = SHOP.replace(moves, f"handler: orders.py:pay\n        {moves}")
    code = (
        "async def pay(ctx, params):\n"
        "    if params['amount'] > 9:\n"
        "        raise ctx.refused('too_much', 'keep it')\n"
        "    return await ctx.get('Order', params['orderId'])\n"
    )
    async with serving(tmp_path, {"shop.yaml": text, "orders.py": code}, handlers=True) as walk:
        row = await walk.post(ORDERS, {})
        assert (await method(walk, "pay", {"orderId": row["id"], "amount": "10"})).status == 409
        assert (await walk.get(f"{ORDERS}/{row['id']}")).json["status"] == "open"
        reply = await method(walk, "pay", {"orderId": row["id"], "amount": "9"})
        assert (reply.status, reply.json["status"]) == (200, "paid")
        reply = await method(walk, "pay", {"orderId": row["id"], "amount": "9"})
        assert (reply.status, reply.json["type"]) == (409, "/problems/state")
