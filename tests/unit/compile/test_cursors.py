from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from watcherd.compile import cursor
from watcherd.compile.cursor import AtRow, position, read_token, token_after
from watcherd.compile.values import plain_text
from watcherd.pim.spec import Attribute, Kind
from watcherd.store import Filter, Row, Select

ON_BOTH_DATABASES = True


@pytest.fixture
async def things(serve: Any, entity: Any) -> Any:
    """Nine things; every third has no size, the others 0, 1 or 2."""
    client = await serve(
        entity(
            "Thing",
            *(
                Attribute(name=name, kind=kind)
                for name, kind in {"name": Kind.STRING, "size": Kind.FLOAT, "on": Kind.BOOLEAN}.items()
            ),
        )
    )
    for place in range(9):
        await client.post(
            "/things", {"name": f"n{place}", "size": None if place % 3 == 0 else place / 4, "on": place % 2 == 0}
        )
    return client


async def walk(client: Any, query: str) -> list[str]:
    """The names on all pages of a query, by following `next`."""
    names: list[str] = []
    page = (await client.get(f"/things?{query}")).json
    while True:
        names += [row["name"] for row in page["items"]]
        if page["next"] is None:
            return names
        assert len(page["items"]) == page["limit"]
        page = (await client.get(f"/things?{query}&cursor={page['next']}")).json


@pytest.mark.parametrize("sort", ["", "&sort=size", "&sort=-size,name", "&sort=on,-size", "&sort=-id"])
@pytest.mark.parametrize("limit", [1, 2, 4, 9])
async def test_the_pages_make_the_list(things: Any, sort: str, limit: int) -> None:
    whole = [row["name"] for row in (await things.get(f"/things?limit=100{sort}")).json["items"]]
    assert await walk(things, f"limit={limit}{sort}") == whole


async def test_what_is_inserted_or_deleted_meanwhile_shifts_no_page(things: Any) -> None:
    first = (await things.get("/things?limit=3&sort=name")).json
    await things.delete(f"/things/{first['items'][-1]['id']}")
    await things.post("/things", {"name": "n00"})
    second = (await things.get(f"/things?limit=3&sort=name&cursor={first['next']}")).json
    assert [row["name"] for row in second["items"]] == ["n3", "n4", "n5"]
    assert second["total"] == 9
    assert second["skip"] == 0


async def test_the_link_of_a_page_by_cursor_goes_on_by_cursor(things: Any) -> None:
    first = await things.get("/things?limit=4&name__ne=x")
    assert 'skip=4>; rel="next"' in first.headers["link"]
    second = await things.get(f"/things?limit=4&name__ne=x&cursor={first.json['next']}")
    assert second.headers["link"] == f'</api/shop/things?limit=4&name__ne=x&cursor={second.json["next"]}>; rel="next"'
    third = await things.get(second.headers["link"].removeprefix("</api/shop").partition(">")[0])
    assert [row["name"] for row in third.json["items"]] == ["n8"]
    assert third.headers == {}


async def test_a_page_may_change_its_size_and_its_view_but_not_its_query(things: Any) -> None:
    token = (await things.get("/things?limit=4&sort=name&on=true&size__gte=0")).json["next"]
    assert token is None
    token = (await things.get("/things?limit=2&sort=name&on=true&size__gte=0")).json["next"]
    again = await things.get(
        f"/things?limit=1&fields=name&count=none&size__gte=0.0&on__eq=true&sort=name&cursor={token}"
    )
    assert again.json["items"] == [{"name": "n8"}]
    for other in ("sort=-name&on=true&size__gte=0", "sort=name&on=true", "sort=name&on=true&size__gte=1", ""):
        refused = await things.get(f"/things?{other}&cursor={token}")
        assert (refused.status, refused.findings) == (400, {"cursor": "value"})
        assert "another sort or other filters" in refused.messages["cursor"]


async def test_a_cursor_and_a_skip_are_two_beginnings(things: Any) -> None:
    token = (await things.get("/things?limit=4")).json["next"]
    refused = await things.get(f"/things?skip=0&cursor={token}")
    assert (refused.status, refused.findings) == (400, {"cursor": "combination"})


async def test_a_place_whose_values_are_too_long_is_that_of_its_row(things: Any) -> None:
    for place in range(3):
        await things.post("/things", {"name": "z" * 3000 + str(place)})
    first = (await things.get("/things?limit=1&sort=-name")).json
    assert len(first["next"]) < 200
    second = (await things.get(f"/things?limit=1&sort=-name&cursor={first['next']}")).json
    assert second["items"][0]["name"][-1] == "1"
    await things.delete(f"/things/{first['items'][0]['id']}")
    refused = await things.get(f"/things?limit=1&sort=-name&cursor={first['next']}")
    assert (refused.status, refused.findings) == (400, {"cursor": "gone"})


def forged(content: Any, select: Select) -> str:
    payload = to_json(content)
    return base64.urlsafe_b64encode(cursor._checksum(payload, select, "Thing") + payload).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "content", [[], ["a", "b", "c"], [1, "b"], ["a", None], ["a", ["b"]], {}, {"row": 1}, 7, None, "ab", ["\x00", "k"]]
)
def test_a_forged_token_is_refused_like_any_wrong_value(content: Any) -> None:
    select = Select(sort=(("name", False),))
    with pytest.raises(ValueError, match="expected"):
        read_token(forged(content, select), select, "Thing", "id", lambda _: plain_text)


@given(st.text(max_size=30))
def test_no_text_breaks_the_reading_of_a_token(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|damaged|padd|base64|character"):
        read_token(text, Select(), "Thing", "id", lambda _: plain_text)


@given(
    st.lists(
        st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=9),
        min_size=1,
        max_size=4,
    ),
    st.text(max_size=4),
)
def test_a_token_holds_where_its_row_stands(texts: list[str | None], filtered: str) -> None:
    names = [f"a{place}" for place in range(len(texts))]
    select = Select(sort=tuple((name, True) for name in names), filters=(Filter("a0", "eq", filtered),))
    row = Row(1, {**dict(zip(names, texts, strict=True)), "id": "k"})
    token = token_after(row, select, "Thing", "id")
    assert (
        read_token(token, select, "Thing", "id", lambda _: plain_text) == (*texts, "k") == position(row, select, "id")
    )
    assert token.isascii()
    assert not set(token) & set("+/=&? ")


def test_a_long_row_is_known_by_its_key() -> None:
    select = Select(sort=(("name", False),))
    token = token_after(Row(1, {"name": "x" * 5000, "id": "k"}), select, "Thing", "id")
    assert read_token(token, select, "Thing", "id", lambda _: plain_text) == AtRow("k")


async def test_every_damage_to_a_token_is_noticed(things: Any) -> None:
    token = (await things.get("/things?limit=4")).json["next"]
    for place in range(len(token) - 1):
        damaged = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert (await things.get(f"/things?limit=4&cursor={damaged}")).status == 400
    assert json.loads((await things.get(f"/things?limit=4&cursor={token}")).body)["items"]
