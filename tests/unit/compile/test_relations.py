from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from watcherd.pim.spec import Attribute, EntityRef, Kind, ToMany

ON_BOTH_DATABASES = True


def ref(name: str, target: str, **more: Any) -> Attribute:
    return Attribute(name=name, kind=Kind.REFERENCE, reference=EntityRef("shop", target), **more)


def text(name: str, **more: Any) -> Attribute:
    return Attribute(name=name, kind=Kind.STRING, **more)


@pytest.fixture
async def orders(serve: Any, entity: Any) -> Any:
    """Two customers, one of whom has a profile and three orders; items of the orders; a tree of customers."""
    customer = entity("Customer", text("name"), text("password", write_only=True), ref("friend", "Customer"))
    customer = replace(
        customer,
        to_many=(
            ToMany(name="orders", child=EntityRef("shop", "Order"), via="customer"),
            ToMany(name="profile", child=EntityRef("shop", "Profile"), via="customer", single=True),
        ),
    )
    order = entity("Order", text("code"), ref("customer", "Customer"), ref("watchers", "Customer", is_list=True))
    order = replace(order, to_many=(ToMany(name="line_items", child=EntityRef("shop", "Item"), via="order"),))
    profile = entity("Profile", text("bio"), ref("customer", "Customer", unique=True))
    item = entity("Item", text("sku"), ref("order", "Order"))
    client = await serve(customer, order, profile, item)
    ann = (await client.post("/customers", {"name": "Ann", "password": "secret"})).json["id"]
    bob = (await client.post("/customers", {"name": "Bob", "password": "secret", "friend": ann})).json["id"]
    await client.post("/profiles", {"bio": "likes tea", "customer": ann})
    for code in ("A1", "A2", "A3"):
        made = await client.post("/orders", {"code": code, "customer": ann, "watchers": [bob, ann]})
        for sku in ("x", "y"):
            await client.post("/items", {"sku": f"{code}{sku}", "order": made.json["id"]})
    await client.post("/orders", {"code": "B1"})
    client.ann, client.bob = ann, bob
    return client


async def test_a_related_row_stands_beside_its_key(orders: Any) -> None:
    page = (await orders.get("/orders?expand=customer_row&sort=code")).json["items"]
    assert [row["customer"] for row in page] == [orders.ann] * 3 + [None]
    assert page[0]["customer_row"] == (await orders.get(f"/customers/{orders.ann}")).json
    assert page[3]["customer_row"] is None
    assert "password" not in page[0]["customer_row"]
    assert page[0]["code"] == "A1"


async def test_the_rows_of_a_has_many_stand_under_its_name_in_order_of_their_keys(orders: Any) -> None:
    ann, bob = (await orders.get("/customers?expand=orders,profile,friend_row&sort=name")).json["items"]
    assert [row["code"] for row in ann["orders"]] == ["A1", "A2", "A3"]
    assert (ann["profile"]["bio"], bob["profile"], bob["orders"]) == ("likes tea", None, [])
    assert (ann["friend_row"], bob["friend_row"]["name"]) == (None, "Ann")
    assert "password" not in bob["friend_row"]
    assert "friend_row" not in bob["friend_row"]


async def test_the_rows_of_a_list_of_keys_come_in_its_order(orders: Any) -> None:
    row = (await orders.get("/orders?code=A1&expand=watchers_row")).json["items"][0]
    assert [one["name"] for one in row["watchers_row"]] == ["Bob", "Ann"]
    assert row["watchers"] == [orders.bob, orders.ann]
    row = (await orders.get("/orders?code=B1&expand=watchers_row")).json["items"][0]
    assert row["watchers_row"] == []


async def test_fields_are_shown_exactly_and_in_the_order_asked_for(orders: Any) -> None:
    row = (await orders.get("/orders?fields=code,id&limit=1")).json["items"][0]
    assert list(row) == ["code", "id"]
    row = (await orders.get("/orders?fields=code&expand=customer_row&limit=1")).json["items"][0]
    assert list(row) == ["code", "customer_row"]


async def test_a_single_row_takes_fields_and_expand_and_nothing_else(orders: Any) -> None:
    path = f"/customers/{orders.ann}"
    whole = await orders.get(path)
    part = await orders.get(f"{path}?fields=name&expand=orders")
    assert list(part.json) == ["name", "orders"]
    assert len(part.json["orders"]) == 3
    assert part.headers["etag"] != whole.headers["etag"]
    assert (await orders.get(f"{path}?fields=name&expand=orders", if_none_match=part.headers["etag"])).status == 304
    assert (await orders.patch(path, {"name": "Anne"}, if_match=part.headers["etag"])).status == 200
    refused = await orders.get(f"{path}?limit=1&fields=nope&expand=order")
    assert refused.findings == {"limit": "unknown", "fields": "value", "expand": "value"}
    assert "did you mean 'orders'?" in refused.messages["expand"]
    missing = await orders.get("/customers/00000000-0000-7000-8000-000000000000?fields=name")
    assert (missing.status, missing.slug) == (404, "no-such-row")


async def test_expanding_a_hundred_rows_makes_two_queries(orders: Any, statements: list[str]) -> None:
    await orders.post("/orders", [{"code": f"C{place}", "customer": orders.bob} for place in range(96)])
    statements.clear()
    page = (await orders.get("/orders?expand=customer_row")).json
    assert (len(page["items"]), page["total"]) == (100, 100)
    assert len(statements) == 2
    statements.clear()
    page = (await orders.get("/orders?expand=customer_row,line_items&count=none&limit=50")).json
    assert len(page["items"]) == 50
    assert len(statements) == 3


async def test_a_relation_that_finds_too_many_rows_is_refused(serve: Any, entity: Any, options: Any) -> None:
    parent = replace(
        entity("Parent"), to_many=(ToMany(name="children", child=EntityRef("shop", "Child"), via="parent"),)
    )
    client = await serve(parent, entity("Child", ref("parent", "Parent")))
    key = (await client.post("/parents", {})).json["id"]
    for _ in range(10):
        await client.post("/childs", [{"parent": key} for _ in range(1000)])
    assert len((await client.get("/parents?expand=children")).json["items"][0]["children"]) == 10_000
    await client.post("/childs", {"parent": key})
    refused = await client.get("/parents?expand=children")
    assert (refused.status, refused.findings) == (400, {"expand": "too_many"})
    assert "over 10000 rows" in refused.json["detail"]


async def test_the_rows_below_a_row_are_a_list_like_any(orders: Any) -> None:
    page = await orders.get(f"/customers/{orders.ann}/orders?sort=-code&limit=2&fields=code&expand=line_items")
    assert [row["code"] for row in page.json["items"]] == ["A3", "A2"]
    assert [one["sku"] for one in page.json["items"][0]["line_items"]] == ["A3x", "A3y"]
    assert (page.json["total"], page.json["skip"], page.json["limit"]) == (3, 0, 2)
    assert page.headers["link"].startswith(f"</api/shop/customers/{orders.ann}/orders?sort=-code")
    last = await orders.get(f"/customers/{orders.ann}/orders?sort=-code&limit=2&cursor={page.json['next']}")
    assert [row["code"] for row in last.json["items"]] == ["A1"]
    assert orders.template == "/customers/{id}/orders"
    assert (await orders.get(f"/customers/{orders.ann}/orders?code__in=A1,B1")).json["total"] == 1
    assert (await orders.get(f"/customers/{orders.bob}/orders/")).json["items"] == []


async def test_a_cursor_belongs_to_the_list_below_its_row(orders: Any) -> None:
    token = (await orders.get(f"/customers/{orders.ann}/orders?limit=1")).json["next"]
    for other in (f"/customers/{orders.bob}/orders", "/orders"):
        assert (await orders.get(f"{other}?cursor={token}")).status == 400


async def test_below_a_row_that_does_not_exist_there_is_nothing(orders: Any) -> None:
    for key in ("00000000-0000-7000-8000-000000000000", "nonsense"):
        missing = await orders.get(f"/customers/{key}/orders")
        assert (missing.status, missing.slug) == (404, "no-such-row")
    for wrong in ("order", "profile", "name"):
        missing = await orders.get(f"/customers/{orders.ann}/{wrong}")
        assert (missing.status, missing.slug) == (404, "no-such-path")
    assert "did you mean 'orders'?" in (await orders.get(f"/customers/{orders.ann}/order")).json["detail"]
    assert (await orders.post(f"/customers/{orders.ann}/orders", {})).status == 405
    assert (await orders.get(f"/customers/{orders.ann}/orders/x")).status == 404


async def test_a_relation_is_found_in_kebab_case_and_by_its_name(orders: Any) -> None:
    order = (await orders.get("/orders?code=A1")).json["items"][0]["id"]
    for segment in ("line-items", "line_items"):
        found = await orders.get(f"/orders/{order}/{segment}")
        assert [row["sku"] for row in found.json["items"]] == ["A1x", "A1y"]
