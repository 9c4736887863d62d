"""Rows of another model, expanded: they show what that model shows, as it is now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers import model_text, serving
from watcherd.keys import Keys, make_key

SHOP = model_text("shop", "buyer: {type: reference, reference: people.Person}", entity="Order")
PEOPLE = model_text("people", "password: {type: string, write_only: true}", "age: integer", entity="Person")
FILES = {"people.yaml": PEOPLE, "shop.yaml": SHOP}


async def test_a_row_of_another_model_is_shown_as_that_model_shows_it(tmp_path: Path) -> None:
    async with serving(tmp_path, FILES) as walk:
        ann = await walk.post("/api/people/people", {"name": "Ann", "age": 7, "password": "secret"})
        order = await walk.post("/api/shop/orders", {"name": "first", "buyer": ann["id"]})
        await walk.post("/api/shop/orders", {"name": "second"})
        page = (await walk.get("/api/shop/orders?expand=buyer_row&sort=name")).json
        assert [row["buyer_row"] for row in page["items"]] == [ann, None]
        one = (await walk.get(f"/api/shop/orders/{order['id']}?fields=name&expand=buyer_row")).json
        assert one == {"name": "first", "buyer_row": ann}
        assert "password" not in ann


async def test_what_the_other_model_changes_is_seen_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, FILES) as walk:
        ann = await walk.post("/api/people/people", {"name": "Ann", "age": 7, "password": "secret"})
        await walk.post("/api/shop/orders", {"name": "first", "buyer": ann["id"]})
        text = PEOPLE.replace("age: integer", "age: {type: integer, write_only: true}\n      color: string")
        await walk.save("people.yaml", text)
        await walk.call("PATCH", f"/api/people/people/{ann['id']}", {"color": "red"})
        shown = (await walk.get("/api/shop/orders?expand=buyer_row")).json["items"][0]["buyer_row"]
        assert shown == (await walk.get(f"/api/people/people/{ann['id']}")).json
        assert shown["color"] == "red"
        assert "age" not in shown


async def test_an_edit_of_the_other_model_swaps_that_model_alone(tmp_path: Path) -> None:
    async with serving(tmp_path, FILES) as walk:
        shop, people = walk.revision("shop"), walk.revision("people")
        await walk.save("people.yaml", PEOPLE.replace("age: integer", "age: integer\n      color: string"))
        assert walk.revision("people") is not people
        assert walk.revision("shop") is shop


async def test_what_is_not_in_service_is_not_shown(tmp_path: Path) -> None:
    async with serving(tmp_path, FILES) as walk:
        await walk.post("/api/shop/orders", {"name": "first"})
        await walk.call("DELETE", "/admin/pim/people?force=true")
        refused = await walk.get("/api/shop/orders?expand=buyer_row")
        assert refused.status == 400
        assert "the model people, which is not in service" in refused.json["detail"]
        assert (await walk.get("/api/shop/orders")).status == 200


@pytest.mark.parametrize("path", ["/api/shop/orders", "/api/shop/orders/{id}"])
async def test_a_key_shows_no_rows_of_a_model_that_it_does_not_open(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path, FILES) as walk:
        ann = await walk.post("/api/people/people", {"name": "Ann", "age": 7, "password": "secret"})
        order = await walk.post("/api/shop/orders", {"name": "first", "buyer": ann["id"]})
        shop_alone, one = make_key("one", ["shop"], ["shop"])
        both, two = make_key("two", ["sh*", "people"], [])
        gateway: Any = walk.gateway
        gateway._keys = Keys(None, f"{one};{two}")
        path = path.format(id=order["id"])

        refused = await walk.get(f"{path}?expand=buyer_row", x_api_key=shop_alone)
        assert (refused.status, refused.json["type"]) == (403, "/problems/not-permitted")
        assert "expand=buyer_row: it leads into the model people" in refused.json["detail"]
        assert b"Ann" not in refused.body
        assert (await walk.get(path, x_api_key=shop_alone)).status == 200
        shown = await walk.get(f"{path}?expand=buyer_row", authorization=f"Bearer {both}")
        assert shown.status == 200
        assert b"Ann" in shown.body


async def test_a_key_of_another_model_that_is_itself_a_reference_is_shown_as_stored(tmp_path: Path) -> None:
    people = model_text("people", "number: {type: integer, primary_key: true}", entity="Person") + (
        "  - name: Badge\n    attributes:\n      owner: {type: reference, reference: Person}\n"
        "      price: {type: decimal, scale: 2}\n"
    )
    shop = model_text("shop", "badge: {type: reference, reference: people.Badge}", entity="Order")
    async with serving(tmp_path, {"people.yaml": people, "shop.yaml": shop}) as walk:
        await walk.post("/api/people/people", {"number": 7, "name": "Ann"})
        badge = await walk.post("/api/people/badges", {"owner": 7, "price": "1.5"})
        assert (badge["owner"], badge["price"]) == (7, "1.50")
        await walk.post("/api/shop/orders", {"name": "first", "badge": badge["id"]})
        assert (await walk.get("/api/shop/orders?expand=badge_row")).json["items"][0]["badge_row"] == badge
