from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest

from watcherd.pim.spec import Attribute, Kind

ON_BOTH_DATABASES = True


@pytest.fixture
async def stocked(shop: Any) -> Any:
    """Twelve products: A00 ... A11, every third active, stock 0 to 3."""
    for place in range(12):
        status = "active" if place % 3 == 0 else "draft"
        made = await shop.post(
            "/products", {"sku": f"A{place:02}", "price": place, "stock": place % 4, "status": status}
        )
        assert made.status == 201
    return shop


def skus(reply: Any) -> list[str]:
    assert reply.status == 200, reply.body
    return [row["sku"] for row in reply.json["items"]]


async def test_an_empty_list_is_a_page(shop: Any) -> None:
    page = await shop.get("/products")
    assert page.json == {"items": [], "total": 0, "skip": 0, "limit": 100, "next": None}
    assert page.headers == {}


async def test_rows_come_in_the_order_of_their_keys(stocked: Any) -> None:
    assert skus(await stocked.get("/products")) == [f"A{place:02}" for place in range(12)]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=active", ["A00", "A03", "A06", "A09"]),
        ("status__eq=active&stock=1", ["A09"]),
        ("stock=1&stock__eq=2", []),
        ("price=3", ["A03"]),
        ("price=3.00", ["A03"]),
        ("sku=A07", ["A07"]),
        ("sku=%41%30%37", ["A07"]),
        ("sku=", []),
        ("seen=0&sku=A01", ["A01"]),
    ],
)
async def test_filters_are_equalities_joined_by_and(stocked: Any, query: str, found: list[str]) -> None:
    assert skus(await stocked.get(f"/products?{query}")) == found


async def test_a_time_is_found_in_any_spelling(stocked: Any) -> None:
    row = (await stocked.get("/products?sku=A03")).json["items"][0]
    for text in (row["created_at"], "2026-11-22T01:31:50.123456%2B00:00", "2026-11-22T03:31:50.123456+02:00"):
        assert skus(await stocked.get(f"/products?created_at={text}")) == ["A03"]


async def test_sorting_goes_by_several_attributes_and_ties_by_the_key(stocked: Any) -> None:
    found = skus(await stocked.get("/products?sort=-status,-price"))
    assert found == ["A11", "A10", "A08", "A07", "A05", "A04", "A02", "A01", "A09", "A06", "A03", "A00"]
    assert skus(await stocked.get("/products?sort=stock&limit=3")) == ["A00", "A04", "A08"]


async def test_pages_are_linked(stocked: Any) -> None:
    page = await stocked.get("/products?limit=5&status=draft&sort=-sku")
    assert page.json["total"] == 8
    assert page.headers["link"] == '</api/shop/products?limit=5&status=draft&sort=-sku&skip=5>; rel="next"'
    found = skus(page)
    target = page.headers["link"].partition("?")[2].partition(">")[0]
    last = await stocked.get(f"/products?{target}")
    assert last.headers["link"] == '</api/shop/products?limit=5&status=draft&sort=-sku&skip=0>; rel="prev"'
    assert sorted(found + skus(last), reverse=True) == found + skus(last)
    assert len(found + skus(last)) == 8
    middle = await stocked.get("/products?limit=2&skip=1")
    assert middle.headers["link"] == (
        '</api/shop/products?limit=2&skip=3>; rel="next", </api/shop/products?limit=2&skip=0>; rel="prev"'
    )


async def test_without_a_count_the_total_is_null_and_pages_are_linked_all_the_same(stocked: Any) -> None:
    page = await stocked.get("/products?count=none&limit=11")
    assert (page.json["total"], page.json["limit"], len(page.json["items"])) == (None, 11, 11)
    assert 'rel="next"' in page.headers["link"]
    assert (await stocked.get("/products?count=none&limit=12")).headers == {}


async def test_a_limit_of_none_counts_alone(stocked: Any) -> None:
    page = await stocked.get("/products?limit=0")
    assert (page.json["items"], page.json["total"], page.headers) == ([], 12, {})
    page = await stocked.get("/products?limit=0&skip=3")
    assert (page.json["items"], page.headers) == ([], {}), "there is no page before one that is empty anywhere"


@pytest.mark.parametrize(
    ("query", "parameter", "words"),
    [
        ("colour=red", "colour", "there are id, sku, price"),
        ("statsu=x", "statsu", "did you mean 'status'?"),
        (
            "price__near=1",
            "price__near",
            "price has no operator 'near'; did you mean 'ne'?; there are price__eq, price__ne",
        ),
        ("price__gtt=1", "price__gtt", "did you mean 'gt'?"),
        ("statsu__in=x", "statsu__in", "did you mean 'status__in'?"),
        ("status__gt=draft", "status__gt", "status has no operator 'gt'"),
        ("price__contains=1", "price__contains", "price has no operator 'contains'"),
        ("id__isnull=true", "id__isnull", "id has no operator 'isnull'"),
        ("details__contains=a", "details__contains", "details has no operator 'contains'; there are details__isnull"),
        ("tags__in=a", "tags__in", "there are tags__contains, tags__isnull"),
        ("stock__isnull=1", "stock__isnull", "expected true or false"),
        ("stock__in=1,x", "stock__in", "expected an integer"),
        ("stock__in=", "stock__in", "expected an integer"),
        ("stock__gt=9223372036854775808", "stock__gt", "expected an integer of 64 bits"),
        ("price__gt=NaN", "price__gt", "expected a decimal number"),
        ("sku__contains=%00", "sku__contains", "U+0000"),
        (f"sku__contains={'x' * 4001}", "sku__contains", "at most 4000 characters"),
        (f"stock__in={','.join(['1'] * 1001)}", "stock__in", "at most 1000 values"),
        (f"stock__in={','.join(['1'] * 600)}&seen__in={','.join(['1'] * 600)}", "in", "over 1000 values in all"),
        ("fields=sku,colour", "fields", "fields: no attribute 'colour'; there are id, sku"),
        ("fields=skuu", "fields", "did you mean 'sku'?"),
        ("fields=secret", "fields", "no attribute 'secret'"),
        ("fields=sku,sku", "fields", "more than once"),
        ("fields=", "fields", "no attribute ''"),
        ("expand=colour", "expand", "expand: no relation 'colour'; there are none"),
        ("cursor=", "cursor", "expected the cursor that `next` holds"),
        ("cursor=abc%2B", "cursor", "expected the cursor that `next` holds"),
        ("cursor=AAAAAAAAAAAAAAAAAAAA", "cursor", "damaged, or belongs to another sort"),
        ("status=sold", "status", "expected one of draft, active"),
        ("stock=many", "stock", "expected an integer"),
        ("stock=", "stock", "expected an integer"),
        ("price=1.001", "price", "at most 2 digits after"),
        ("id=7", "id", "expected a UUID"),
        ("created_at=today", "created_at", "expected a date and time"),
        ("sku=%00", "sku", "U+0000"),
        ("stock=1&stock=1", "stock", "more than once"),
        ("limit=1&limit=1", "limit", "more than once"),
        ("limit=1001", "limit", "from 0 to 1000"),
        ("limit=-1", "limit", "from 0 to 1000"),
        ("limit=%D9%A3", "limit", "from 0 to 1000"),
        ("skip=-1", "skip", "expected an integer from 0"),
        ("skip=99999999999", "skip", "expected an integer from 0"),
        ("count=some", "count", "expected exact or none"),
        ("sort=colour", "sort", "there are id, sku"),
        ("sort=sku,-sku", "sort", "more than once"),
        ("sort=", "sort", "no attribute ''"),
        ("sort=secret", "sort", "no attribute 'secret'"),
        ("sort=tags", "sort", "no attribute 'tags'"),
        ("secret=x", "secret", "there is no parameter secret"),
        ("secret__eq=x", "secret__eq", "there is no parameter"),
        ("tags=a", "tags", "tags is a list"),
        ("details__eq=a", "details__eq", "details is free-form JSON"),
    ],
)
async def test_a_query_that_is_not_understood_is_named(stocked: Any, query: str, parameter: str, words: str) -> None:
    refused = await stocked.get(f"/products?{query}")
    assert (refused.status, refused.slug) == (400, "invalid-query")
    assert words in refused.messages[parameter]
    assert words in refused.json["detail"]


async def test_every_finding_about_a_query_is_listed(stocked: Any) -> None:
    refused = await stocked.get("/products?limit=x&skip=x&a=1&stock=x")
    assert refused.findings.keys() == {"limit", "skip", "a", "stock"}


async def test_a_query_string_that_is_no_text_is_refused(stocked: Any) -> None:
    for query in ("sku=%ff", "sku=é", "&".join(f"a{place}=1" for place in range(200))):
        refused = await stocked.get(f"/products?{query}")
        assert (refused.status, refused.slug) == (400, "invalid-query")


async def test_an_attribute_with_a_reserved_name_is_filtered_by_its_operator(serve: Any, entity: Any) -> None:
    client = await serve(entity("Thing", Attribute(name="limit", kind=Kind.INTEGER)))
    for limit in (1, 2, 2):
        await client.post("/things", {"limit": limit})
    assert len((await client.get("/things?limit=1")).json["items"]) == 1
    assert (await client.get("/things?limit=1")).json["total"] == 3
    assert (await client.get("/things?limit__eq=2")).json["total"] == 2
    assert (await client.get("/things?sort=-limit")).json["items"][0]["limit"] == 2


async def test_names_outside_ascii_work_everywhere(serve: Any, entity: Any) -> None:
    client = await serve(entity("图书", Attribute(name="书名", kind=Kind.STRING, required=True), plural="图书"))
    made = await client.post("/图书", {"书名": "红楼梦"})
    assert made.headers["location"].startswith("/api/shop/%E5%9B%BE%E4%B9%A6/")
    assert (await client.get(unquote(made.headers["location"]).removeprefix("/api/shop"))).json["书名"] == "红楼梦"
    assert (await client.post("/图书", {})).findings == {"#/书名": "required"}
    page = await client.get(
        "/图书?%E4%B9%A6%E5%90%8D=%E7%BA%A2%E6%A5%BC%E6%A2%A6&limit=1&skip=0&sort=%E4%B9%A6%E5%90%8D"
    )
    assert page.json["total"] == 1
    await client.post("/图书", {"书名": "西游记"})
    link = (await client.get("/图书?limit=1&sort=%E4%B9%A6%E5%90%8D")).headers["link"]
    assert link == ('</api/shop/%E5%9B%BE%E4%B9%A6?limit=1&sort=%E4%B9%A6%E5%90%8D&skip=1>; rel="next"')


@pytest.mark.parametrize(
    ("query", "total"),
    [("on=true", 1), ("on=false", 1), ("ratio=0.5", 1), ("ratio=5e-1", 1), ("at=01:30", 1), ("ratio=2", 0)],
)
async def test_filters_read_every_kind(serve: Any, entity: Any, query: str, total: int) -> None:
    kinds = {"on": Kind.BOOLEAN, "ratio": Kind.FLOAT, "at": Kind.TIME}
    client = await serve(entity("Thing", *(Attribute(name=name, kind=kind) for name, kind in kinds.items())))
    await client.post("/things", [{"on": True, "ratio": 0.5, "at": "01:30:00"}, {"on": False}])
    assert (await client.get(f"/things?{query}")).json["total"] == total
    for wrong in ("on=1", "ratio=inf", "ratio=1e999", "at=1"):
        assert (await client.get(f"/things?{wrong}")).status == 400
