from __future__ import annotations

from typing import Any

import pytest

from watcherd.errors import ConstraintError, StoreUnavailableError
from watcherd.pim.spec import Method, Service

PRODUCT = {"sku": "A1", "price": "12.5"}
NOBODY = "019311f0-1c2b-7d3e-8f40-5a6b7c8d9e0f"


async def test_the_index_lists_what_there_is_under_the_path_that_was_used(serve: Any, entity: Any) -> None:
    client = await serve(
        entity("Todo", description="To do"),
        title="Shop",
        services={"Jobs": Service(name="Jobs", path="jobs", methods=(Method(name="runAll", path="run-all"),))},
    )
    for base in ("/api/shop", "/api/sh-op"):
        client.base = base
        for path in ("", "/"):
            index = await client.get(path)
            assert index.json == {
                "name": "shop",
                "title": "Shop",
                "version": "1.0.0",
                "description": "",
                "revision": 7,
                "entities": [
                    {
                        "name": "Todo",
                        "plural": "todos",
                        "description": "To do",
                        "links": {
                            "self": f"{base}/todos",
                            "export": f"{base}/todos/-/export",
                            "import": f"{base}/todos/-/import",
                        },
                    }
                ],
                "services": [
                    {
                        "name": "Jobs",
                        "description": "",
                        "methods": [{"name": "runAll", "description": "", "links": {"self": f"{base}/jobs/run-all"}}],
                    }
                ],
                "links": {
                    "self": base,
                    "openapi": f"{base}/-/openapi.json",
                    "docs": f"{base}/-/docs",
                    "batch": f"{base}/-/batch",
                },
            }


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("", ""),
        ("/products", "/products"),
        ("/products/", "/products"),
        (f"/products/{NOBODY}/", "/products/{id}"),
        ("/-/openapi.json", "/-/openapi.json"),
        ("/-/docs", "/-/docs"),
    ],
)
async def test_a_call_is_given_its_template_and_a_trailing_slash_never_matters(
    shop: Any, path: str, template: str
) -> None:
    await shop.get(path)
    assert shop.template == template


@pytest.mark.parametrize(
    ("path", "slug", "words"),
    [
        ("/product", "no-such-entity", "did you mean 'products'"),
        ("/zzz", "no-such-entity", "there are products, reviews"),
        ("/zzz/1", "no-such-entity", "'zzz'"),
        ("/products/1/2", "no-such-path", "/products/1/2"),
        ("/products//", "no-such-row", "''"),
        ("/-", "no-such-path", "/-"),
        ("/-/nothing", "no-such-path", "/-/nothing"),
        ("//products", "no-such-entity", "''"),
    ],
)
async def test_what_does_not_exist_is_404_with_a_type_that_says_what(
    shop: Any, path: str, slug: str, words: str
) -> None:
    refused = await shop.get(path)
    assert (refused.status, refused.slug) == (404, slug)
    assert words in refused.json["detail"]


async def test_services_are_told_apart_from_their_methods(serve: Any, entity: Any) -> None:
    service = Service(name="Jobs", path="jobs", methods=(Method(name="runAll", path="run-all"),))
    client = await serve(entity("Todo"), services={"Jobs": service})
    assert (await client.post("/jobs")).slug == "no-such-path"
    assert (await client.post("/jobs/run-al")).slug == "no-such-entity"
    assert "did you mean 'run-all'" in (await client.post("/jobs/run-al")).json["detail"]
    assert (await client.post("/job/run-all")).slug == "no-such-entity"


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("", "GET, HEAD, OPTIONS"),
        ("/products", "GET, HEAD, OPTIONS, POST"),
        (f"/products/{NOBODY}", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("/-/openapi.json", "GET, HEAD, OPTIONS"),
    ],
)
async def test_options_and_a_wrong_method_name_what_is_allowed(shop: Any, path: str, allow: str) -> None:
    options = await shop("OPTIONS", path)
    assert (options.status, options.headers, options.body) == (204, {"allow": allow}, b"")
    refused = await shop("TRACE", path)
    assert (refused.status, refused.slug, refused.headers["allow"]) == (405, "method-not-allowed", allow)


async def test_a_head_is_answered_like_a_get(shop: Any) -> None:
    made = await shop.post("/products", PRODUCT)
    path = f"/products/{made.json['id']}"
    assert await shop("HEAD", path) == await shop("GET", path)
    assert await shop("HEAD", "/products") == await shop("GET", "/products")


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [
        (ConstraintError("check", "price must be positive", constraint="c", attributes=("price",)), 409, "check"),
        (StoreUnavailableError("the database is locked"), 503, "unavailable"),
    ],
)
async def test_what_the_store_refuses_becomes_a_problem(
    shop: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, slug: str
) -> None:
    def refuse(_: object) -> None:
        raise error

    monkeypatch.setattr("watcherd.store.Rows.inserting", lambda *_: refuse)
    refused = await shop.post("/products", PRODUCT)
    assert (refused.status, refused.slug) == (status, slug)
    assert refused.headers.get("retry-after") == ("1" if status == 503 else None)
    if status == 409:
        assert refused.findings == {"#/price": "check"}
        assert refused.json["constraint"] == "c"
        batch = await shop.post("/products", [PRODUCT])
        assert batch.findings == {"#": "check"}, "the row is not known"


async def test_a_bug_is_not_wrapped(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("watcherd.store.Rows.get", fail)
    with pytest.raises(ZeroDivisionError):
        await shop.get(f"/products/{NOBODY}")
