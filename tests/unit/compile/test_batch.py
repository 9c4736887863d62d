from __future__ import annotations

from typing import Any

import pytest

from watcherd.pim.spec import Attribute, EntityRef, Kind

ON_BOTH_DATABASES = True

KEY = "019311f0-1c2b-7d3e-8f40-5a6b7c8d9e0f"
PRODUCT = {"sku": "A1", "price": "12.5"}


@pytest.fixture
async def row(shop: Any) -> Any:
    return await shop.post("/products", PRODUCT)


def create(sku: str, **more: Any) -> dict[str, Any]:
    return {"method": "POST", "path": "/products", "body": {"sku": sku, "price": 1, **more}}


async def skus(shop: Any) -> list[str]:
    return sorted(item["sku"] for item in (await shop.get("/products")).json["items"])


async def test_every_operation_is_answered_as_if_it_were_alone(shop: Any, row: Any) -> None:
    path = f"/products/{row.json['id']}"
    done = await shop.post(
        "/-/batch",
        [
            create("B1"),
            {"method": "PATCH", "path": path, "body": {"stock": 3}, "if_match": row.headers["etag"]},
            {"method": "PUT", "path": path, "body": {"sku": "A2", "price": 2}},
            {"method": "DELETE", "path": path.strip("/")},
            {"method": "POST", "path": "products", "body": [{"sku": "B2", "price": 1}]},
        ],
    )
    assert done.status == 200
    results = done.json["results"]
    assert [item["status"] for item in results] == [201, 200, 200, 204, 201]
    made = await shop.get(results[0]["headers"]["location"].removeprefix("/api/shop"))
    assert (results[0]["body"], results[0]["headers"]["etag"]) == (made.json, made.headers["etag"])
    assert (results[1]["body"]["stock"], results[2]["body"]["sku"]) == (3, "A2")
    assert results[3] == {"status": 204, "headers": {}, "body": None}
    assert results[4]["body"]["items"][0]["sku"] == "B2"
    assert await skus(shop) == ["B1", "B2"]


async def test_an_operation_sees_what_those_before_it_wrote(serve: Any, entity: Any) -> None:
    order = entity("Order", Attribute(name="number", kind=Kind.STRING, primary_key=True))
    line = entity("Line", Attribute(name="order", kind=Kind.REFERENCE, reference=EntityRef("shop", "Order")))
    shop = await serve(order, line)
    done = await shop.post(
        "/-/batch",
        [
            {"method": "POST", "path": "/orders", "body": {"number": "N 1/2"}},
            {"method": "POST", "path": "/lines", "body": {"order": "N 1/2"}},
            {"method": "PATCH", "path": "/orders/N%201%2F2", "body": {}},
        ],
    )
    assert [item["status"] for item in done.json["results"]] == [201, 201, 200]


@pytest.mark.parametrize(
    ("operation", "status", "slug", "findings"),
    [
        (create("A1"), 409, "unique", {"#/1/body/sku": "unique"}),
        ({"method": "POST", "path": "/reviews", "body": {"product": KEY}}, 409, "foreign-key",
         {"#/1/body/product": "foreign-key"}),
        ({"method": "POST", "path": "/products", "body": [{"sku": "C", "price": 1}] * 2}, 409, "unique",
         {"#/1/body/1/sku": "unique"}),
        ({"method": "PATCH", "path": f"/products/{KEY}", "body": {}}, 404, "no-such-row", {}),
        ({"method": "DELETE", "path": "/products/7"}, 404, "no-such-row", {}),
        ({"method": "DELETE", "path": "/product/7"}, 404, "no-such-entity", {}),
        ({"method": "DELETE", "path": ""}, 404, "no-such-entity", {}),
        ({"method": "POST", "path": "/-/batch", "body": []}, 404, "no-such-entity", {}),
        ({"method": "DELETE", "path": f"/products/{KEY}/x"}, 404, "no-such-path", {}),
        ({"method": "DELETE", "path": "/products"}, 422, "validation", {"#/1/method": "method"}),
        ({"method": "POST", "path": f"/products/{KEY}", "body": {}}, 422, "validation", {"#/1/method": "method"}),
        ({"method": "GET", "path": "/products"}, 422, "validation", {"#/1/method": "enum"}),
        ({"method": "DELETE"}, 422, "validation", {"#/1/path": "required"}),
        ({"method": "DELETE", "path": f"/products/{KEY}", "body": {}}, 422, "validation", {"#/1/body": "unknown"}),
        ({"method": "PUT", "path": f"/products/{KEY}"}, 422, "validation", {"#/1/body": "required"}),
        ({**create("B"), "if_match": "*"}, 422, "validation", {"#/1/if_match": "unknown"}),
        ({**create("B"), "id": 1}, 422, "validation", {"#/1/id": "unknown"}),
        (create("B", stock="x"), 422, "validation", {"#/1/body/stock": "type"}),
        (7, 422, "validation", {"#/1": "type"}),
    ],
)  # fmt: skip
async def test_an_operation_that_fails_is_named_and_nothing_is_written(
    shop: Any, row: Any, operation: Any, status: int, slug: str, findings: dict[str, str]
) -> None:
    refused = await shop.post("/-/batch", [create("B0"), operation, create("B2")])
    assert (refused.status, refused.slug, refused.findings) == (status, slug, findings)
    if status != 422:
        assert refused.json["operation"] == 1
        assert refused.json["detail"].startswith("operation 1: ")
    assert await skus(shop) == ["A1"]


async def test_a_row_that_has_changed_takes_the_whole_batch_back(shop: Any, row: Any) -> None:
    path = f"/products/{row.json['id']}"
    change = {"method": "PATCH", "path": path, "body": {"stock": 1}, "if_match": row.headers["etag"]}
    refused = await shop.post("/-/batch", [create("B0"), change, change])
    assert (refused.status, refused.json["operation"]) == (412, 2)
    refused = await shop.post("/-/batch", [change, {"method": "DELETE", "path": path, "if_match": '"7-x"'}])
    assert (refused.status, refused.json["operation"]) == (412, 1)
    assert (await shop.get(path)).json == row.json
    assert await skus(shop) == ["A1"]


async def test_a_bad_patch_of_a_row_made_before_is_a_finding_not_a_missing_row(serve: Any, entity: Any) -> None:
    shop = await serve(entity("Order", Attribute(name="number", kind=Kind.STRING, primary_key=True)))
    made = {"method": "POST", "path": "/orders", "body": {"number": "N1"}}
    refused = await shop.post("/-/batch", [made, {"method": "PATCH", "path": "/orders/N1", "body": {"x": 1}}])
    assert (refused.status, refused.findings) == (422, {"#/1/body/x": "unknown"})
    assert refused.json["operation"] == 1


async def test_all_findings_about_bodies_come_at_once(shop: Any) -> None:
    refused = await shop.post("/-/batch", [create("B", stock="x"), create("C"), {"method": "x", "path": 1}])
    assert refused.findings == {"#/0/body/stock": "type", "#/2/method": "enum", "#/2/path": "type"}


async def test_a_batch_is_bounded_and_may_be_empty(shop: Any) -> None:
    assert (await shop.post("/-/batch", [])).json == {"results": []}
    for body in ([7] * 1001, {}):
        refused = await shop.post("/-/batch", body)
        assert refused.findings == {"#": "type"}
        assert "at most 1000 operations" in refused.messages["#"]
    assert (await shop.post("/-/batch?x=1", [])).status == 400
    assert (await shop.get("/-/batch")).headers["allow"] == "OPTIONS, POST"


async def test_a_batch_with_a_key_is_written_once(shop: Any) -> None:
    replies = [await shop.post("/-/batch", [create("B0")], idempotency_key="k") for _ in range(2)]
    assert replies[0].body == replies[1].body
    assert replies[1].headers["idempotency-replayed"] == "true"
    assert await skus(shop) == ["B0"]
