from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from watcherd.pim.spec import Attribute, Kind

ON_BOTH_DATABASES = True

PRODUCT = {"sku": "A1", "price": "12.5"}
NOBODY = "019311f0-1c2b-7d3e-8f40-5a6b7c8d9e0f"


async def test_a_created_row_is_answered_with_its_location_and_tag(shop: Any) -> None:
    made = await shop.post("/products", PRODUCT)
    row = made.json
    assert made.status == 201
    assert made.headers["location"] == f"/api/shop/products/{row['id']}"
    read = await shop.get(f"/products/{row['id']}")
    assert read.json == row
    assert read.headers["etag"] == made.headers["etag"]


@pytest.mark.parametrize("sent", [5, 5.0, -0.0, 0.1, 1e15, -7, 1e300])
async def test_a_number_is_answered_to_a_write_as_to_a_read(serve: Any, entity: Any, sent: float) -> None:
    weights = [Attribute(name="weight", kind=Kind.FLOAT), Attribute(name="weights", kind=Kind.FLOAT, is_list=True)]
    client = await serve(entity("Parcel", *weights))

    made = await client.post("/parcels", {"weight": sent, "weights": [sent]})
    path = f"/parcels/{made.json['id']}"
    read = await client.get(path)
    replaced = await client.put(path, {"weight": sent, "weights": [sent]})
    patched = await client.patch(path, {"weight": sent, "weights": [sent]})
    again = await client.get(path)

    assert (read.body, read.headers["etag"]) == (made.body, made.headers["etag"])
    assert (again.body, again.headers["etag"]) == (patched.body, patched.headers["etag"])
    for reply in (made, replaced):
        assert type(reply.json["weight"]) is type(reply.json["weights"][0]) is float


async def test_a_create_fills_in_defaults_nulls_and_times(shop: Any) -> None:
    row = (await shop.post("/products", PRODUCT)).json
    assert row == {
        "id": row["id"],
        "sku": "A1",
        "price": "12.50",
        "stock": None,
        "status": "draft",
        "details": None,
        "tags": None,
        "seen": 0,
        "created_at": "2026-11-22T01:31:47.123456Z",
        "updated_at": "2026-11-22T01:31:47.123456Z",
    }
    assert row["id"][14] == "7", "a UUIDv7"


async def test_write_only_attributes_are_stored_and_never_shown(shop: Any) -> None:
    made = await shop.post("/products", {**PRODUCT, "secret": "hush"})
    path = f"/products/{made.json['id']}"
    replies = [made, await shop.get(path), await shop.get("/products"), await shop.patch(path, {"secret": "x"})]
    assert all(b"secret" not in item.body and b"hush" not in item.body for item in replies)


async def test_an_array_inserts_all_in_order(shop: Any) -> None:
    made = await shop.post("/products", [{**PRODUCT, "sku": f"B{place}"} for place in range(5)])
    assert made.status == 201
    assert [row["sku"] for row in made.json["items"]] == ["B0", "B1", "B2", "B3", "B4"]
    assert (await shop.get("/products")).json["total"] == 5


async def test_an_empty_array_inserts_nothing(shop: Any) -> None:
    made = await shop.post("/products", [])
    assert (made.status, made.json) == (201, {"items": []})


async def test_an_array_with_a_bad_row_inserts_none_and_points_at_it(shop: Any) -> None:
    refused = await shop.post("/products", [PRODUCT, PRODUCT | {"sku": 5}, {"price": 1}, 3])
    assert refused.status == 422
    assert refused.findings == {"#/1/sku": "type", "#/2/sku": "required", "#/3": "type"}
    assert (await shop.get("/products")).json["total"] == 0


async def test_an_array_that_breaks_a_constraint_inserts_none(shop: Any) -> None:
    refused = await shop.post("/products", [{**PRODUCT, "sku": "C1"}, {**PRODUCT, "sku": "C1"}])
    assert (refused.status, refused.slug) == (409, "unique")
    assert refused.findings == {"#/1/sku": "unique"}
    assert (await shop.get("/products")).json["total"] == 0


async def test_a_duplicate_is_a_conflict_that_names_the_value(shop: Any) -> None:
    await shop.post("/products", PRODUCT)
    refused = await shop.post("/products", PRODUCT)
    assert (refused.status, refused.slug, refused.findings) == (409, "unique", {"#/sku": "unique"})
    assert "'A1' already exists" in refused.json["detail"]


async def test_a_missing_target_is_a_conflict(shop: Any) -> None:
    refused = await shop.post("/reviews", {"product": NOBODY})
    assert (refused.status, refused.slug, refused.findings) == (409, "foreign-key", {"#/product": "foreign-key"})


async def test_a_row_that_others_refer_to_cannot_be_deleted(shop: Any) -> None:
    key = (await shop.post("/products", PRODUCT)).json["id"]
    await shop.post("/reviews", {"product": key})
    refused = await shop.delete(f"/products/{key}")
    assert (refused.status, refused.slug, refused.findings) == (409, "foreign-key", {})


async def test_a_reference_has_the_type_of_the_key_that_it_refers_to(shop: Any) -> None:
    assert (await shop.post("/reviews", {"product": "one"})).findings == {"#/product": "format"}
    assert (await shop.post("/reviews", {"product": 1})).findings == {"#/product": "type"}


@pytest.mark.parametrize("key", [NOBODY, "1", "", "x" * 3000, "%00", "%ff", "a%2Fb"])
async def test_a_key_that_no_row_has_is_404(shop: Any, key: str) -> None:
    for method in ("GET", "DELETE"):
        refused = await shop(method, f"/products/{key}/") if key else await shop("GET", f"/products/{NOBODY}")
        assert (refused.status, refused.slug) == (404, "no-such-row")
    for method in ("PUT", "PATCH"):
        refused = await shop(method, f"/products/{key or NOBODY}", {})
        assert (refused.status, refused.slug) == (404, "no-such-row")


async def test_a_key_is_the_same_in_upper_case(shop: Any) -> None:
    key = (await shop.post("/products", PRODUCT)).json["id"]
    assert (await shop.get(f"/products/{key.upper()}")).status == 200


async def test_a_replace_gives_defaults_and_nulls_to_what_is_not_sent(shop: Any) -> None:
    row = (await shop.post("/products", {**PRODUCT, "stock": 3, "status": "active", "tags": ["a"]})).json
    replaced = await shop.put(f"/products/{row['id']}", {"sku": "A2", "price": 1})
    assert replaced.status == 200
    assert replaced.json == {
        **row,
        "sku": "A2",
        "price": "1.00",
        "stock": None,
        "status": "draft",
        "tags": None,
        "updated_at": "2026-11-22T01:31:48.123456Z",
    }


async def test_a_replace_needs_what_is_required_and_never_creates(shop: Any) -> None:
    key = (await shop.post("/products", PRODUCT)).json["id"]
    assert (await shop.put(f"/products/{key}", {"stock": 1})).findings == {"#/sku": "required", "#/price": "required"}
    assert (await shop.put(f"/products/{NOBODY}", PRODUCT)).slug == "no-such-row"


async def test_what_was_read_can_be_sent_back(shop: Any) -> None:
    row = (await shop.post("/products", PRODUCT)).json
    assert (await shop.put(f"/products/{row['id']}", row)).status == 200
    row = (await shop.get(f"/products/{row['id']}")).json
    assert (await shop.patch(f"/products/{row['id']}", row)).status == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_what_the_server_sets_cannot_be_changed(shop: Any, method: str) -> None:
    row = (await shop.post("/products", PRODUCT)).json
    changed = {**row, "id": NOBODY, "created_at": "2020-01-01T00:00:00Z", "updated_at": None, "seen": 5}
    refused = await shop(method, f"/products/{row['id']}", changed)
    assert refused.status == 422
    assert refused.findings == dict.fromkeys(["#/id", "#/created_at", "#/updated_at", "#/seen"], "read_only")
    assert (await shop.get(f"/products/{row['id']}")).json == row


async def test_a_create_refuses_what_the_server_sets_unless_it_is_null_or_what_it_will_be(shop: Any) -> None:
    refused = await shop.post("/products", {**PRODUCT, "id": NOBODY, "seen": 4, "created_at": "2020-01-01T00:00:00Z"})
    assert refused.findings == dict.fromkeys(["#/id", "#/seen", "#/created_at"], "read_only")
    assert (await shop.post("/products", {**PRODUCT, "id": None, "seen": 0, "created_at": None})).status == 201


async def test_a_patch_changes_what_it_names_and_null_sets_null(shop: Any) -> None:
    row = (await shop.post("/products", {**PRODUCT, "stock": 3, "tags": ["a"]})).json
    patched = await shop.patch(f"/products/{row['id']}", {"stock": None, "price": "9.99"})
    assert patched.json == {**row, "stock": None, "price": "9.99", "updated_at": "2026-11-22T01:31:48.123456Z"}


async def test_a_patch_cannot_empty_what_is_required(shop: Any) -> None:
    key = (await shop.post("/products", PRODUCT)).json["id"]
    assert (await shop.patch(f"/products/{key}", {"sku": None})).findings == {"#/sku": "type"}


async def test_a_patch_merges_json_attributes(shop: Any) -> None:
    details = {"size": {"w": 1, "h": 2}, "colour": "red", "list": [1, {"a": None}]}
    key = (await shop.post("/products", {**PRODUCT, "details": details})).json["id"]
    change = {"details": {"size": {"w": None, "d": 3}, "colour": None, "list": [{"b": None}]}}
    merged = await shop.patch(f"/products/{key}", change, content_type="application/merge-patch+json")
    assert merged.json["details"] == {"size": {"h": 2, "d": 3}, "list": [{"b": None}]}
    assert (await shop.patch(f"/products/{key}", {"details": [1]})).json["details"] == [1]
    assert (await shop.patch(f"/products/{key}", {"details": {"a": {"b": None}}})).json["details"] == {"a": {}}
    assert (await shop.patch(f"/products/{key}", {"details": None})).json["details"] is None


async def test_a_replace_does_not_merge(shop: Any) -> None:
    key = (await shop.post("/products", {**PRODUCT, "details": {"a": 1}})).json["id"]
    assert (await shop.put(f"/products/{key}", {**PRODUCT, "details": {"b": None}})).json["details"] == {"b": None}


async def test_a_deleted_row_is_gone(shop: Any) -> None:
    key = (await shop.post("/products", PRODUCT)).json["id"]
    gone = await shop.delete(f"/products/{key}")
    assert (gone.status, gone.body) == (204, b"")
    assert (await shop.get(f"/products/{key}")).status == 404
    assert (await shop.delete(f"/products/{key}")).status == 404


async def test_operations_on_rows_take_no_parameters(shop: Any) -> None:
    key = (await shop.post("/products", PRODUCT)).json["id"]
    for method, path in [
        ("GET", f"/products/{key}?x=1"),
        ("DELETE", f"/products/{key}?force=1"),
        ("PATCH", f"/products/{key}?x=1"),
        ("POST", "/products?x=1"),
    ]:
        refused = await shop(method, path, {} if method != "GET" else None)
        assert (refused.status, refused.slug) == (400, "invalid-query")


async def test_a_key_in_the_location_is_escaped(serve: Any, entity: Any) -> None:
    client = await serve(entity("Page", Attribute(name="slug", kind=Kind.STRING, primary_key=True)))
    made = await client.post("/pages", {"slug": "é/b?c#d"})
    assert made.headers["location"] == "/api/shop/pages/%C3%A9%2Fb%3Fc%23d"
    assert (await client.get("/pages/%C3%A9%2Fb%3Fc%23d")).json["slug"] == "é/b?c#d"
    assert (await client.post("/pages", {"slug": ""})).findings == {"#/slug": "min_length"}
    assert (await client.post("/pages", {})).findings == {"#/slug": "required"}
    assert (await client.post("/pages", {"slug": None})).findings == {"#/slug": "type"}
    assert (await client.patch("/pages/%C3%A9%2Fb%3Fc%23d", {"slug": "x"})).findings == {"#/slug": "read_only"}
    assert (await client.put("/pages/%C3%A9%2Fb%3Fc%23d", {})).status == 200


async def test_a_declared_uuid_key_is_taken_or_made(serve: Any, entity: Any) -> None:
    client = await serve(entity("Page", Attribute(name="uid", kind=Kind.UUID, primary_key=True)))
    assert (await client.post("/pages", {"uid": NOBODY.upper()})).json["uid"] == NOBODY
    assert (await client.post("/pages", {})).json["uid"][14] == "7"
    assert (await client.post("/pages", {"uid": None})).json["uid"][14] == "7"


async def test_numbered_keys_come_from_the_database(serve: Any, entity: Any) -> None:
    client = await serve(
        entity("Page", Attribute(name="no", kind=Kind.INTEGER, primary_key=True, auto_increment=True, required=True))
    )
    assert [(await client.post("/pages", {})).json["no"] for _ in range(3)] == [1, 2, 3]
    assert (await client.post("/pages", {"no": 9})).findings == {"#/no": "read_only"}
    assert (await client.get("/pages/2")).status == 200
    for key in ("02", "+2", "2.0", "9" * 30, "two"):
        assert (await client.get(f"/pages/{key}")).slug == "no-such-row"


async def test_a_row_is_serialised_as_json(shop: Any) -> None:
    made = await shop.post("/products", {**PRODUCT, "details": {"ü": [1.5, 2**70, "\u2028", True]}})
    assert made.media == "application/json"
    assert json.loads(made.body)["details"] == {"ü": [1.5, 2**70, "\u2028", True]}


async def test_clock_attributes_get_what_their_type_can_hold(serve: Any, entity: Any) -> None:
    client = await serve(
        entity(
            "Visit",
            Attribute(name="day", kind=Kind.DATE, auto_now_add=True),
            Attribute(name="hour", kind=Kind.TIME, auto_now=True),
        )
    )
    row = (await client.post("/visits", {})).json
    assert (row["day"], row["hour"]) == ("2026-11-22", "01:31:47.123456")
    row = (await client.patch(f"/visits/{row['id']}", {})).json
    assert (row["day"], row["hour"]) == ("2026-11-22", "01:31:48.123456")


async def test_times_that_a_model_declares_itself_are_its_own(serve: Any, entity: Any) -> None:
    own = (Attribute(name=name, kind=Kind.DATETIME) for name in ("created_at", "updated_at"))
    client = await serve(entity("Visit", *own))
    row = (await client.post("/visits", {"created_at": "2020-01-01T00:00:00Z"})).json
    assert (row["created_at"], row["updated_at"]) == ("2020-01-01T00:00:00.000000Z", None)


async def test_a_body_is_nested_only_so_deep(shop: Any) -> None:
    def nested(levels: int) -> dict[str, Any]:
        details: Any = 1
        for _ in range(levels - 1):
            details = [details]
        return {"sku": f"L{levels}", "price": "1", "details": details}

    shop.max_json_depth = 5
    flat = {"sku": "FLAT", "price": "1", "details": [[], {}, [], {}, [], {}]}

    assert (await shop.post("/products", nested(5))).status == 201
    assert (await shop.post("/products", flat)).status == 201
    refused = await shop.post("/products", nested(6))
    assert (refused.status, refused.slug) == (400, "malformed-json")
    assert "deeper than 5 levels" in refused.json["detail"]


async def test_an_array_has_only_so_many_rows(serve: Any, entity: Any, options: Any) -> None:
    client = await serve(entity("Thing"))
    most = options.max_rows

    refused = await client.post("/things", [{}] * (most + 1))
    assert (refused.status, refused.slug) == (413, "body-too-large")
    assert str(most) in refused.json["detail"]
    assert (await client.post("/things", [{}] * most)).status == 201
    assert (await client.get("/things")).json["total"] == most


@pytest.mark.parametrize("path", ["/things", "/-/batch"])
async def test_many_rows_are_validated_while_others_have_their_turn(
    serve: Any, entity: Any, options: Any, path: str
) -> None:
    threads = set()
    clock = options.clock

    def asked() -> Any:
        threads.add(threading.get_ident())
        return clock()

    object.__setattr__(options, "clock", asked)
    client = await serve(entity("Thing"))
    rows: list[dict[str, Any]] = [{} for _ in range(1000)]
    body = rows if path == "/things" else [{"method": "POST", "path": "/things", "body": row} for row in rows]

    assert (await client.post(path, body)).status in {200, 201}
    assert threads
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("key", [".", "..", "-"])
async def test_a_key_that_cannot_be_part_of_an_address_is_not_taken(serve: Any, entity: Any, key: str) -> None:
    client = await serve(entity("Page", Attribute(name="slug", kind=Kind.STRING, primary_key=True)))
    refused = await client.post("/pages", {"slug": key})
    assert (refused.status, refused.findings) == (422, {"#/slug": "address"})
    assert (await client.post("/pages", {"slug": f"{key}a"})).status == 201
    schemas = json.loads(b"{" + client.revision.openapi.schemas + b"}")
    assert schemas["shop_PageCreate"]["properties"]["slug"]["not"] == {"enum": [".", "..", "-"]}


@pytest.mark.parametrize("key", ["..", "-"])
async def test_neither_is_a_member_of_an_enum_that_could_not(serve: Any, entity: Any, key: str) -> None:
    slug = Attribute(name="slug", kind=Kind.ENUM, primary_key=True, members=("a", "..", "-"))
    client = await serve(entity("Page", slug))
    refused = await client.post("/pages", {"slug": key})
    assert (refused.status, refused.findings) == (422, {"#/slug": "enum"})
    assert (await client.post("/pages", {"slug": "a"})).status == 201
    schemas = json.loads(b"{" + client.revision.openapi.schemas + b"}")
    assert schemas["shop_PageCreate"]["properties"]["slug"]["enum"] == ["a"]


async def test_findings_about_what_the_server_sets_come_in_one_order(shop: Any) -> None:
    sent = {"updated_at": "2026-11-22T00:00:00Z", "seen": 9, "id": NOBODY, "created_at": "2026-11-22T00:00:00Z"}
    refused = await shop.post("/products", {**PRODUCT, **sent})
    assert [item["pointer"] for item in refused.json["errors"]] == ["#/created_at", "#/id", "#/seen", "#/updated_at"]
    path = f"/products/{(await shop.post('/products', PRODUCT)).json['id']}"
    refused = await shop.patch(path, sent)
    assert [item["pointer"] for item in refused.json["errors"]] == ["#/created_at", "#/id", "#/seen", "#/updated_at"]
