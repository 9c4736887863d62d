"""`filter=`: lists by an expression, answered by the database, or refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from tests.helpers import Reply, Walk, serving

ON_BOTH_DATABASES = True

SHOP = """
domain: shop
entities:
  - name: Product
    attributes:
      name: string
      price: {type: decimal, scale: 2}
      quantity: {type: integer, default: 0}
      größe: integer
      secret: {type: string, write_only: true}
      sold: datetime
      tags: string[]
      parent: {type: reference, reference: Product}
"""
PRODUCTS = "/api/shop/products"


async def filtered(walk: Walk, text: str, **more: str) -> Reply:
    return await walk.get(f"{PRODUCTS}?{urlencode({'filter': text, **more})}")


async def stocked(walk: Walk) -> str:
    """Some products; the key of the first."""
    first = await walk.post(PRODUCTS, {"name": "ant", "price": "0.10", "quantity": 3, "größe": 1, "secret": "x"})
    await walk.post(PRODUCTS, {"name": "bee's", "price": "0.30", "quantity": 1, "sold": "2020-01-01T00:00:00Z"})
    await walk.post(PRODUCTS, {"name": "100%", "quantity": 5, "parent": first["id"], "sold": "9999-01-01T00:00:00Z"})
    return str(first["id"])


async def test_a_list_is_filtered_by_an_expression(tmp_path: Path, database_url: str) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}, database_url=database_url) as walk:
        key = await stocked(walk)
        for text, expected in {
            "price * quantity == 0.3": ["ant", "bee's"],
            "price + 0.2 >= 0.5": ["bee's"],
            "price == null || quantity in [1, 2]": ["100%", "bee's"],
            "!(price > 0.2)": ["ant"],
            "price != 0.1": ["100%", "bee's"],
            "name.startsWith('bee\\'') || name.contains('%')": ["100%", "bee's"],
            "self.name.size() == 3 && größe == 1": ["ant"],
            "sold < now": ["bee's"],
            "sold > now + days(365)": ["100%"],
            "has(self.sold) && sold < timestamp('2021-01-01T00:00:00Z')": ["bee's"],
            f"parent == '{key}'": ["100%"],
            "true": ["100%", "ant", "bee's"],
            "name == '?' || name == '$1' || name == ':x'": [],
        }.items():
            reply = await filtered(walk, text, sort="name")
            assert reply.status == 200, reply.body
            assert [row["name"] for row in reply.json["items"]] == expected, text
            assert reply.json["total"] == len(expected)


async def test_an_expression_goes_with_other_filters_pages_exports_and_lists_below(
    tmp_path: Path, database_url: str
) -> None:
    text = SHOP + "    relationships: [{has_many: Product, via: parent, name: parts}]\n"
    async with serving(tmp_path, {"shop.yaml": text}, database_url=database_url) as walk:
        key = await stocked(walk)
        reply = await filtered(walk, "quantity > 0 && sold != now", sort="quantity", limit="1", name__ne="ant")
        assert [row["name"] for row in reply.json["items"]] == ["bee's"]
        token = reply.json["next"]
        page = {"sort": "quantity", "limit": "1", "name__ne": "ant", "cursor": token}
        reply = await filtered(walk, "quantity > 0 && sold != now", **page)
        assert [row["name"] for row in reply.json["items"]] == ["100%"]
        assert (await filtered(walk, "quantity > 1", **page)).status == 400
        lines = (await walk.get(f"{PRODUCTS}/-/export?format=ndjson&filter={quote('price > 0.2')}")).body
        assert [json.loads(line)["name"] for line in lines.splitlines()] == ["bee's"]
        below = await walk.get(f"{PRODUCTS}/{key}/parts?filter={quote('quantity == 5')}")
        assert [row["name"] for row in below.json["items"]] == ["100%"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("price >", "filter: the expression ends too early, at character 8"),
        ("prise > 1", "filter: there is no name `prise`, at character 1; did you mean `price`?"),
        ("secret == 'x'", "filter: there is no name `secret`, at character 1; known: "),
        ("self.secret == 'x'", "filter: there is no attribute of Product `secret`, at character 6; known: "),
        ("quantity", "filter: a condition must be a bool, not an int, at character 1"),
        ("quantity / 2 == 1", "filter: `/` is not computed in the database, at character 10"),
        ("tags.size() > 1", "filter: `size` is not computed in the database, at character 10"),
        ("name.matches('a')", "filter: `matches` is not computed in the database, at character 13"),
        ("parent == 1", "filter: there is no `==` between a string and an int, at character 8"),
        ("", "filter: the expression is empty, at character 1"),
        ("name == '\\u0000'", "filter: a text with a NUL character, which nothing stored has, at character 9"),
        ("(" * 3000, "filter: an expression has at most 2000 characters, this one 3000, at character 1"),
    ],
)
async def test_what_cannot_be_asked_is_refused_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        reply = await filtered(walk, text)
        assert (reply.status, reply.json["errors"][0]["pointer"]) == (400, "filter")
        assert reply.json["errors"][0]["message"].startswith(message)


async def test_a_filter_follows_the_model(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await stocked(walk)
        assert (await filtered(walk, "weight == null")).status == 400
        await walk.save("shop.yaml", SHOP.replace("      tags: string[]\n", "      weight: decimal\n"))
        assert (await filtered(walk, "weight == null")).json["total"] == 3
        await walk.save("shop.yaml", SHOP.replace("price: {", "cost: {renamed_from: price, "))
        assert (await filtered(walk, "cost == 0.10")).json["total"] == 1


async def test_the_parameter_is_described(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        document = (await walk.get("/api/shop/-/openapi.json")).json
        listed = document["paths"]["/api/shop/products"]["get"]["parameters"]
        assert {"$ref": "#/components/parameters/shop.filter"} in listed
        assert "filter" in document["components"]["parameters"]["shop.filter"]["name"]
