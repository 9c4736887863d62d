"""Rows whose reference a deletion empties: written like any other, so held to what holds for every write of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.test_streams import listening
from tests.helpers import Reply, Walk, serving
from watcherd.store.rows import TOGETHER

ON_BOTH_DATABASES = True

SHOP = """\
domain: shop
entities:
  - name: Buyer
    attributes: {name: string}
  - name: Order
    attributes:
      note: string
      status: {enum: [open, paid], default: open}
      buyer: {reference: Buyer, on_delete: set_null}
      payer: {reference: Buyer, on_delete: set_null, read_only: true}
services:
  - name: Desk
    methods:
      - {name: forget, parameters: {buyerId: uuid}, flow: forget}
      - {name: erase, parameters: {buyerId: uuid}, handler: erase.py:erase}
flows:
  forget:
    steps:
      - {id: gone, delete: Buyer, key: buyerId}
"""
RULES = """\
rules:
  paid_by_somebody:
    on: Order
    when: self.status == "paid"
    assert: has(self.buyer)
    message: a paid order has a buyer
    code: no_buyer
"""
ERASE = """\
async def erase(ctx, params):
    await ctx.delete("Buyer", params["buyerId"])
"""
BUYERS, ORDERS = "/api/shop/buyers", "/api/shop/orders"


async def sold(walk: Walk, **values: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A buyer, and an order of theirs."""
    buyer = await walk.post(BUYERS, {"name": "b"})
    return buyer, await walk.post(ORDERS, {"buyer": buyer["id"], **values})


async def rows(walk: Walk, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await walk.get(path)).json["items"]
    return found


def told(reply: Reply) -> tuple[int, list[tuple[str, str, str]]]:
    return reply.status, [(one["pointer"], one["code"], one["message"]) for one in reply.json.get("errors", [])]


async def test_a_rule_of_a_row_that_refers_is_held_on_every_way_to_delete(tmp_path: Path, database_url: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "erase.py").write_text(ERASE)
    async with serving(tmp_path, {"shop.yaml": SHOP + RULES}, database_url=database_url, handlers=True) as walk:
        assert await walk.codes("shop.yaml") == []
        buyer, order = await sold(walk, status="paid")
        one = f"{BUYERS}/{buyer['id']}"
        finding = (f"#/orders/{order['id']}/buyer", "no_buyer", "a paid order has a buyer")
        refused = await walk.call("DELETE", one)
        assert told(refused) == (422, [finding])
        assert refused.json["row"] == {"entity": "Order", "key": order["id"]}
        detail = f"Order '{order['id']}' refers to it and cannot do without: a paid order has a buyer"
        assert refused.json["detail"] == detail
        for path in ("forget", "erase"):
            assert told(await walk.call("POST", f"/api/shop/desk/{path}", {"buyerId": buyer["id"]})) == (422, [finding])
        operations = [
            {"method": "PATCH", "path": f"/orders/{order['id']}", "body": {"note": "never"}},
            {"method": "DELETE", "path": f"/buyers/{buyer['id']}"},
        ]
        batch = await walk.call("POST", "/api/shop/-/batch", operations)
        assert told(batch) == (422, [(f"#/1/orders/{order['id']}/buyer", *finding[1:])])
        assert await rows(walk, ORDERS) == [order]
        assert await rows(walk, BUYERS) == [buyer]


BOTH_WAYS = pytest.mark.parametrize("text", [SHOP, SHOP + RULES], ids=["at once", "row by row"])


@BOTH_WAYS
async def test_a_row_that_loses_its_reference_has_another_version_and_time_and_is_told(
    tmp_path: Path, database_url: str, text: str
) -> None:
    async with serving(tmp_path, {"shop.yaml": text}, database_url=database_url) as walk:
        buyer, order = await sold(walk, note="n")
        one = f"{ORDERS}/{order['id']}"
        tag = (await walk.get(one)).headers["etag"]
        async with listening(walk, f"{ORDERS}/-/events") as stream:
            assert (await walk.call("DELETE", f"{BUYERS}/{buyer['id']}")).status == 204
            heard = await stream.next()
        now = (await walk.get(one)).json
        assert heard == ("updated", now)
        assert now == {**order, "buyer": None, "updated_at": now["updated_at"]}
        assert now["updated_at"] > order["updated_at"]
        assert (await walk.call("PATCH", one, {"note": "m"}, if_match=tag)).status == 412


async def test_a_rule_sees_what_the_row_was_and_all_that_it_loses_at_once(tmp_path: Path, database_url: str) -> None:
    rules = """\
rules:
  both: {on: Order, assert: has(self.buyer) == has(self.payer), message: both or none}
  only_open: {on: Order, when: "old != null && has(old.buyer) && !has(self.buyer)", assert: old.status == "open"}
"""
    text = SHOP.replace(", read_only: true", "") + rules
    async with serving(tmp_path, {"shop.yaml": text}, database_url=database_url) as walk:
        buyer = await walk.post(BUYERS, {})
        order = await walk.post(ORDERS, {"buyer": buyer["id"], "payer": buyer["id"]})
        assert (await walk.call("DELETE", f"{BUYERS}/{buyer['id']}")).status == 204
        assert [(one["buyer"], one["payer"]) for one in await rows(walk, ORDERS)] == [(None, None)]
        buyer = await walk.post(BUYERS, {})
        body = {"buyer": buyer["id"], "payer": buyer["id"], "status": "paid"}
        assert (await walk.call("PUT", f"{ORDERS}/{order['id']}", body)).status == 200
        status, [(_, code, _)] = told(await walk.call("DELETE", f"{BUYERS}/{buyer['id']}"))
        assert (status, code) == (422, "only_open")


async def test_what_clients_may_not_write_is_emptied_all_the_same(tmp_path: Path, database_url: str) -> None:
    flow = """\
  pay:
    steps:
      - {id: pay, update: Order, key: orderId, values: {payer: buyerId}}
"""
    method = "      - {name: pay, parameters: {orderId: uuid, buyerId: uuid}, flow: pay}\nflows:\n"
    text = SHOP.replace("flows:\n", method) + flow + RULES
    async with serving(tmp_path, {"shop.yaml": text}, database_url=database_url) as walk:
        _, order = await sold(walk)
        payer = await walk.post(BUYERS, {})
        paid = await walk.call("POST", "/api/shop/desk/pay", {"orderId": order["id"], "buyerId": payer["id"]})
        assert paid.status == 204, paid.body
        assert (await walk.call("DELETE", f"{BUYERS}/{payer['id']}")).status == 204
        [now] = await rows(walk, ORDERS)
        assert (now["buyer"], now["payer"]) == (order["buyer"], None)


@pytest.mark.parametrize("check", ["has(self.buyer) || note.lowerAscii() == 'x'", "has(self.buyer) || note == 'x'"])
async def test_a_check_is_held_whether_or_not_the_database_watches_it(
    tmp_path: Path, database_url: str, check: str
) -> None:
    checks = f'    constraints: [{{check: "{check}", message: somebody bought it}}]\nservices:'
    async with serving(tmp_path, {"shop.yaml": SHOP.replace("services:", checks)}, database_url=database_url) as walk:
        assert await walk.state("shop.yaml") == "live"
        buyer, order = await sold(walk, note="n")
        refused = told(await walk.call("DELETE", f"{BUYERS}/{buyer['id']}"))
        assert refused == (422, [(f"#/orders/{order['id']}/buyer", "constraint", "somebody bought it")])
        assert (await walk.call("PATCH", f"{ORDERS}/{order['id']}", {"note": "x"})).status == 200
        assert (await walk.call("DELETE", f"{BUYERS}/{buyer['id']}")).status == 204
        assert [one["buyer"] for one in await rows(walk, ORDERS)] == [None]


TREE = """\
domain: shop
entities:
  - name: Folder
    attributes:
      parent: {reference: Folder, on_delete: cascade}
      name: string
  - name: File
    attributes:
      folder: {reference: Folder, on_delete: set_null}
      home: {reference: Folder, on_delete: cascade}
      keep: {type: boolean, default: false}
rules:
  kept: {on: File, when: self.keep, assert: has(self.folder), message: it is kept}
"""
FOLDERS, FILES = "/api/shop/folders", "/api/shop/files"


async def test_what_refers_to_rows_that_a_cascade_takes_along_is_asked_and_what_goes_with_it_is_not(
    tmp_path: Path, database_url: str
) -> None:
    async with serving(tmp_path, {"shop.yaml": TREE}, database_url=database_url) as walk:
        top = await walk.post(FOLDERS, {})
        below = await walk.post(FOLDERS, {"parent": top["id"]})
        lowest = await walk.post(FOLDERS, {"parent": below["id"]})
        # In a circle, too: each goes with the other.
        assert (await walk.call("PATCH", f"{FOLDERS}/{top['id']}", {"parent": lowest["id"]})).status == 200
        kept = await walk.post(FILES, {"folder": lowest["id"], "keep": True})
        await walk.post(FILES, {"folder": lowest["id"], "home": below["id"], "keep": True})
        left = await walk.post(FILES, {"folder": below["id"]})
        refused = told(await walk.call("DELETE", f"{FOLDERS}/{top['id']}"))
        assert refused == (422, [(f"#/files/{kept['id']}/folder", "kept", "it is kept")])
        assert len(await rows(walk, FOLDERS)) == 3
        assert (await walk.call("DELETE", f"{FILES}/{kept['id']}")).status == 204
        assert (await walk.call("DELETE", f"{FOLDERS}/{top['id']}")).status == 204
        assert await rows(walk, FOLDERS) == []
        assert [(one["id"], one["folder"]) for one in await rows(walk, FILES)] == [(left["id"], None)]


async def test_rows_that_go_with_another_are_told_and_none_is_told_to_have_changed_after_it_went(
    tmp_path: Path, database_url: str
) -> None:
    text = TREE[: TREE.index("rules:")]
    async with serving(tmp_path, {"shop.yaml": text}, database_url=database_url) as walk:
        top = await walk.post(FOLDERS, {})
        below = await walk.post(FOLDERS, {"parent": top["id"]})
        gone = await walk.post(FILES, {"folder": below["id"], "home": top["id"]})
        left = await walk.post(FILES, {"folder": below["id"]})
        async with (
            listening(walk, f"{FOLDERS}/-/events") as folders,
            listening(walk, f"{FILES}/-/events") as changed,
        ):
            assert (await walk.call("DELETE", f"{FOLDERS}/{top['id']}")).status == 204
            assert [await folders.next() for _ in range(2)] == [
                ("deleted", {"id": below["id"]}),
                ("deleted", {"id": top["id"]}),
            ]
            now = (await walk.get(f"{FILES}/{left['id']}")).json
            assert [await changed.next() for _ in range(2)] == [("deleted", {"id": gone["id"]}), ("updated", now)]
            last = await walk.post(FILES, {})
            assert await changed.next() == ("created", last)


CASCADING = TREE[: TREE.index("rules:")].replace("set_null", "restrict")


@pytest.mark.parametrize("text", [CASCADING, TREE], ids=["nothing to empty", "something to empty"])
async def test_of_many_rows_that_go_it_is_told_that_there_were_more(
    tmp_path: Path, database_url: str, text: str
) -> None:
    async with serving(tmp_path, {"shop.yaml": text}, database_url=database_url) as walk:
        top = await walk.post(FOLDERS, {})
        files = [{"home": top["id"]}] * (TOGETHER + 1)
        assert (await walk.call("POST", FILES, files)).status == 201
        async with listening(walk, f"{FILES}/-/events") as changed:
            assert (await walk.call("DELETE", f"{FOLDERS}/{top['id']}")).status == 204
            heard = [await changed.next()]
            while heard[-1][0] != "reset":
                heard.append(await changed.next())
        assert {kind for kind, _ in heard[:-1]} <= {"deleted"}
        assert (await walk.get(FILES)).json["total"] == 0


PEOPLE = "domain: people\nentities:\n  - name: Person\n    attributes: {name: string}\n"
DESKS = """\
domain: desks
entities:
  - name: Desk
    attributes: {owner: {reference: people.Person, on_delete: set_null}, fixed: {type: boolean, default: false}}
    constraints:
      - {check: "!fixed || has(self.owner)", name: fixed_is_owned}
"""
OWNED = 'rules: {owned: {on: Desk, when: "!self.fixed", assert: has(self.owner), message: whose is it}}\n'


async def test_rows_of_another_model_are_held_to_what_serves_there_now(tmp_path: Path, database_url: str) -> None:
    files = {"people.yaml": PEOPLE, "desks.yaml": DESKS + OWNED}
    async with serving(tmp_path, files, database_url=database_url) as walk:
        person = await walk.post("/api/people/people", {"name": "p"})
        desk = await walk.post("/api/desks/desks", {"owner": person["id"]})
        one = f"/api/people/people/{person['id']}"
        assert told(await walk.call("DELETE", one)) == (422, [(f"#/desks/{desk['id']}/owner", "owned", "whose is it")])
        await walk.save("desks.yaml", DESKS)  # the other model alone: this one is not made anew
        assert (await walk.call("DELETE", one)).status == 204
        assert [row["owner"] for row in await rows(walk, "/api/desks/desks")] == [None]


async def test_of_a_model_that_is_out_of_service_the_database_keeps_what_it_can(
    tmp_path: Path, database_url: str
) -> None:
    files = {"people.yaml": PEOPLE, "desks.yaml": DESKS + OWNED}
    async with serving(tmp_path, files, database_url=database_url) as walk:
        persons = [await walk.post("/api/people/people", {}) for _ in range(2)]
        await walk.post("/api/desks/desks", {"owner": persons[0]["id"], "fixed": True})
        await walk.post("/api/desks/desks", {"owner": persons[1]["id"]})
        await walk.unload("desks")
        refused = await walk.call("DELETE", f"/api/people/people/{persons[0]['id']}")
        assert (refused.status, refused.json["constraint"]) == (409, "fixed_is_owned")
        assert refused.json["detail"] == "rows of Desk that refer to it would break: fixed_is_owned"
        assert (await walk.call("DELETE", f"/api/people/people/{persons[1]['id']}")).status == 204


@BOTH_WAYS
async def test_more_rows_than_are_looked_at_together_are_all_emptied_or_none(
    tmp_path: Path, database_url: str, text: str
) -> None:
    count = 2 * TOGETHER + 3
    async with serving(tmp_path, {"shop.yaml": text}, database_url=database_url) as walk:
        buyer, other = await walk.post(BUYERS, {}), await walk.post(BUYERS, {})
        orders = [{"buyer": buyer["id"]}] * (count - 1)
        assert (await walk.call("POST", ORDERS, [*orders, {"buyer": other["id"]}])).status == 201
        last = await walk.post(ORDERS, {"buyer": buyer["id"], "status": "paid"})
        if "no_buyer" in text:
            status, [(pointer, _, _)] = told(await walk.call("DELETE", f"{BUYERS}/{buyer['id']}"))
            assert (status, pointer) == (422, f"#/orders/{last['id']}/buyer")
            assert (await walk.get(f"{ORDERS}?buyer__isnull=true")).json["total"] == 0
            assert (await walk.call("PATCH", f"{ORDERS}/{last['id']}", {"status": "open"})).status == 200
        assert (await walk.call("DELETE", f"{BUYERS}/{buyer['id']}")).status == 204
        assert (await walk.get(f"{ORDERS}?buyer__isnull=true")).json["total"] == count
        assert (await walk.get(f"{ORDERS}?buyer={other['id']}")).json["total"] == 1


async def test_nobody_begins_to_refer_to_a_row_unseen_while_it_is_deleted(tmp_path: Path, database_url: str) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP + RULES}, database_url=database_url) as walk:
        for _ in range(5):
            buyer, _ = await sold(walk)
            order = {"buyer": buyer["id"], "status": "paid"}
            *_, deleted = replies = await asyncio.gather(
                *(walk.call("POST", ORDERS, order) for _ in range(8)), walk.call("DELETE", f"{BUYERS}/{buyer['id']}")
            )
            stored = [reply for reply in replies[:-1] if reply.status == 201]
            assert {reply.status for reply in replies[:-1]} <= {201, 409}
            assert deleted.status == (422 if stored else 204)
            assert (await walk.get(f"{ORDERS}?status=paid&buyer__isnull=true")).json["total"] == 0
