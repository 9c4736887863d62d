"""Rules on entities and states of rows: held on every way to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.test_checks import every_way
from tests.helpers import Walk, serving

ORDERS = "/api/shop/orders"
RULED = """
domain: shop
entities:
  - name: Order
    attributes:
      note: string
      total: decimal
      paid: {type: decimal, default: 0}
      due: date
rules:
  total_positive:
    on: Order
    when: has(self.total)
    assert: self.total > 0
    message: nothing to pay
    code: nothing_to_pay
  not_refunded:
    on: Order
    assert: old == null || self.paid >= old.paid
  not_late: {on: Order, when: "self.due != null", assert: "self.due >= date(now)", message: too late}
  polite: Customers are thanked
"""
STATED = """
domain: shop
entities:
  - name: Order
    attributes:
      note: string
      status: {enum: [open, paid, shipped, cancelled], default: open}
    states: {field: status, initial: [open, paid], transitions: {open: [cancelled]}}
"""


async def told(walk: Walk, method: str, path: str, body: Any) -> tuple[int, list[tuple[str, str, str]]]:
    reply = await walk.call(method, path, body)
    errors = reply.json.get("errors", [])
    return reply.status, [(one["pointer"], one["code"], one["message"]) for one in errors]


async def test_a_rule_on_an_entity_is_held_on_every_way_to_write(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": RULED}) as walk:
        row = await walk.post(ORDERS, {"total": "1"})
        finding = ("nothing_to_pay", "nothing to pay")
        assert await every_way(walk, ORDERS, row["id"], {"total": "0"}) == {
            "create": (422, [("#/total", *finding)]),
            "array": (422, [("#/1/total", *finding)]),
            "replace": (422, [("#/total", *finding)]),
            "patch": (422, [("#/total", *finding)]),
            "batch": (422, [("#/0/body/total", *finding)]),
            "import": (422, [("#/total", *finding)]),
        }
        assert (await walk.get(ORDERS)).json["items"] == [row]


async def test_a_rule_compares_a_row_with_what_it_was_and_with_the_clock(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": RULED}) as walk:
        row = await walk.post(ORDERS, {"paid": "5", "due": "9999-12-31"})
        one = f"{ORDERS}/{row['id']}"
        assert (await walk.call("PATCH", one, {"paid": "6"})).status == 200
        broken = ("#/paid", "not_refunded", "old == null || self.paid >= old.paid")
        assert await told(walk, "PATCH", one, {"paid": "5.99"}) == (422, [broken])
        assert await told(walk, "PATCH", one, {"due": "2020-01-01"}) == (422, [("#/due", "not_late", "too late")])


async def test_a_rule_demands_what_is_unknown_unless_it_says_when(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": RULED}) as walk:
        assert (await walk.call("POST", ORDERS, {"total": None})).status == 201
        broken = ("#/paid", "not_refunded", "old == null || self.paid >= old.paid")
        row = await walk.post(ORDERS, {})
        assert await told(walk, "PATCH", f"{ORDERS}/{row['id']}", {"paid": None}) == (422, [broken])


async def test_all_that_is_wrong_is_told_at_once_but_no_rule_about_what_is_no_value(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": RULED}) as walk:
        status, found = await told(walk, "POST", ORDERS, {"total": "0", "due": "2020-01-01", "paid": "x"})
        assert (status, sorted(pointer for pointer, *_ in found)) == (422, ["#/due", "#/paid", "#/total"])
        assert {pointer: code for pointer, code, _ in found}["#/paid"] != "not_refunded"


async def test_rules_are_described_and_prose_is_said_to_be_prose(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": RULED}) as walk:
        document = (await walk.get("/api/shop/-/openapi.json")).json
        assert "Rules:\n- not_late: too late" in document["components"]["schemas"]["shop_Order"]["description"]
        assert "Not enforced:\n- polite: Customers are thanked" in document["tags"][0]["description"]


async def test_a_rule_that_changes_is_held_from_then_on_and_rows_that_break_it_stay(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": RULED}) as walk:
        row = await walk.post(ORDERS, {"total": "5"})
        await walk.save("shop.yaml", RULED.replace("self.total > 0", "self.total > 10"))
        assert await walk.state("shop.yaml") == "live"
        status, _ = await told(walk, "PATCH", f"{ORDERS}/{row['id']}", {"note": "a"})
        assert (status, (await walk.get(ORDERS)).json["total"]) == (422, 1)


async def test_a_state_is_changed_only_as_the_model_says_on_every_way_to_write(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": STATED}) as walk:
        row = await walk.post(ORDERS, {})
        begins = ("state", "a new Order begins as open or paid, not as shipped")
        moves = ("state", "status cannot be changed from open to shipped here")
        assert await every_way(walk, ORDERS, row["id"], {"status": "shipped"}) == {
            "create": (409, [("#/status", *begins)]),
            "array": (409, [("#/1/status", *begins)]),
            "replace": (409, [("#/status", *moves)]),
            "patch": (409, [("#/status", *moves)]),
            "batch": (409, [("#/0/body/status", *moves)]),
            "import": (422, [("#/status", *begins)]),
        }
        assert (await walk.get(ORDERS)).json["items"] == [row]


async def test_a_change_that_anybody_may_make_is_made_once(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": STATED}) as walk:
        one = f"{ORDERS}/{(await walk.post(ORDERS, {}))['id']}"
        assert (await walk.call("PATCH", one, {"status": "cancelled", "note": "why"})).status == 200
        assert (await walk.call("PATCH", one, {"status": "cancelled"})).status == 200
        assert (await walk.call("PATCH", one, {"status": "open"})).status == 409
        paid = await walk.post(ORDERS, {"status": "paid"})
        assert (await walk.call("PATCH", f"{ORDERS}/{paid['id']}", {"status": "cancelled"})).status == 409


async def test_a_replace_that_says_no_state_leaves_it_as_it_is(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": STATED}) as walk:
        row = await walk.post(ORDERS, {"status": "paid", "note": "a"})
        reply = await walk.call("PUT", f"{ORDERS}/{row['id']}", {})
        assert (reply.status, reply.json["status"], reply.json["note"]) == (200, "paid", None)


@pytest.mark.parametrize("body", [{"status": "lost"}, {"status": "shipped", "note": 1}])
async def test_a_body_that_is_not_valid_is_that_first(tmp_path: Path, body: dict[str, Any]) -> None:
    async with serving(tmp_path, {"shop.yaml": STATED}) as walk:
        assert (await walk.call("POST", ORDERS, body)).status == 422


async def test_a_plan_tells_what_rules_and_states_mean_for_clients(tmp_path: Path) -> None:
    attributes = "{total: decimal, status: {enum: [a], default: a}}"
    bare = f"domain: shop\nentities:\n  - name: Order\n    attributes: {attributes}\n"
    strict = bare + "    states: status\nrules: {positive: {on: Order, assert: self.total > 0}}\n"
    async with serving(tmp_path, {"shop.yaml": bare}) as walk:
        for text, expected in (
            (strict, {("writes that break a new rule are refused: positive", True),
                      ("other changes of status are refused: it has states", True)}),
            (bare, {("a rule is not enforced any more: positive", False),
                    ("every change of status is accepted: it has no states any more", False)}),
        ):  # fmt: skip
            reply = await walk.send("POST", "/admin/pim/plan", text.encode(), "application/yaml")
            assert {(one["reason"], one["breaking"]) for one in reply.json["plan"]["api"]} == expected
            await walk.save("shop.yaml", text)


async def test_the_admin_api_tells_what_of_a_model_is_prose(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": RULED}) as walk:
        told = (await walk.get("/admin/pim/shop")).json["coverage"]
        assert told["rules"] == {"total": 4, "covered": 3, "prose": ["polite"]}
        assert told["constraints"] == {"total": 0, "covered": 0, "prose": []}
