from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from watcherd.errors import StoreError, StoreUnavailableError
from watcherd.pim.spec import Attribute, Entity, Kind
from watcherd.store import Select, Store
from watcherd.store.queries import Bound, Statements
from watcherd.wire import Answer, Call, ClientGoneError, Message, close_stream, send_answer

ON_BOTH_DATABASES = True


@pytest.fixture
async def stocked(shop: Any) -> Any:
    """Products with everything that is hard to write in CSV."""
    await shop.post(
        "/products",
        [
            {"sku": "A0", "price": 1, "stock": 3, "status": "active", "secret": "hush"},
            {"sku": "", "price": "2.5", "details": {"a": [1, None]}, "tags": []},
            {"sku": 'q"u,o', "price": 3, "details": "text", "tags": ["x", 'y"z']},
            {"sku": "=1+1\r\n ", "price": 4, "details": False},
            {"sku": "书 🎈", "price": -1},
        ],
    )
    return shop


async def test_json_is_the_default_and_holds_the_rows_as_a_list_shows_them(stocked: Any) -> None:
    export = await stocked.get("/products/-/export")
    assert export.status == 200
    assert export.media == "application/json"
    assert stocked.template == "/products/-/export"
    assert export.headers["content-disposition"] == 'attachment; filename="products.json"'
    assert export.json == (await stocked.get("/products")).json["items"]


async def test_ndjson_is_one_row_a_line(stocked: Any) -> None:
    export = await stocked.get("/products/-/export?format=ndjson")
    assert export.media == "application/x-ndjson"
    lines = export.body.decode().removesuffix("\n").split("\n")
    assert [json.loads(line) for line in lines] == (await stocked.get("/products")).json["items"]


async def test_csv_tells_null_from_empty_text_and_leaves_text_as_it_is(stocked: Any) -> None:
    export = await stocked.get("/products/-/export?format=csv")
    assert export.media == "text/csv; charset=utf-8; header=present"
    assert export.headers["content-disposition"] == 'attachment; filename="products.csv"'
    text = re.sub(r"[0-9a-f-]{36}", "ID", re.sub(r"2026-[^,\r]*Z", "NOW", export.body.decode()))
    assert text == (
        "id,sku,price,stock,status,details,tags,seen,created_at,updated_at\r\n"
        "ID,A0,1.00,3,active,,,0,NOW,NOW\r\n"
        'ID,"",2.50,,draft,"{""a"":[1,null]}",[],0,NOW,NOW\r\n'
        'ID,"q""u,o",3.00,,draft,"""text""","[""x"",""y\\""z""]",0,NOW,NOW\r\n'
        'ID,"=1+1\r\n ",4.00,,draft,false,,0,NOW,NOW\r\n'
        "ID,书 🎈,-1.00,,draft,,,0,NOW,NOW\r\n"
    )


@pytest.mark.parametrize(("name", "body"), [("json", b"[\n\n]\n"), ("csv", None), ("ndjson", b"")])
async def test_an_export_of_nothing_is_whole(shop: Any, name: str, body: bytes | None) -> None:
    export = await shop.get(f"/products/-/export?format={name}")
    assert export.body == (body if body is not None else export.body.split(b"\r\n")[0] + b"\r\n")
    assert export.status == 200


@pytest.mark.parametrize("name", ["json", "csv", "ndjson"])
async def test_what_is_write_only_is_never_shown(stocked: Any, name: str) -> None:
    export = await stocked.get(f"/products/-/export?format={name}")
    assert b"secret" not in export.body
    assert b"hush" not in export.body


async def test_filters_and_order_are_those_of_lists(stocked: Any) -> None:
    export = await stocked.get("/products/-/export?status=draft&sort=-price")
    assert [row["price"] for row in export.json] == ["4.00", "3.00", "2.50", "-1.00"]


@pytest.mark.parametrize(
    ("query", "parameter", "words"),
    [
        ("format=xml", "format", "expected one of json, csv, ndjson"),
        ("format=csv&format=csv", "format", "more than once"),
        ("limit=5", "limit", "every row"),
        ("skip=5", "skip", "every row"),
        ("cursor=x", "cursor", "every row"),
        ("colour=red", "colour", "there is no parameter"),
        ("status=sold", "status", "expected one of draft, active"),
    ],
)
async def test_a_query_that_is_not_understood_is_named(shop: Any, query: str, parameter: str, words: str) -> None:
    refused = await shop.get(f"/products/-/export?{query}")
    assert (refused.status, refused.slug) == (400, "invalid-query")
    assert words in refused.messages[parameter]


async def test_every_row_comes_once_over_many_slices(shop: Any) -> None:
    rows = [{"sku": f"A{place}", "price": place, "details": "x" * (place % 700)} for place in range(3000)]
    for first in range(0, 3000, 100):
        assert (await shop.post("/products", rows[first : first + 100])).status == 201
    assert [row["sku"] for row in (await shop.get("/products/-/export")).json] == [row["sku"] for row in rows]
    export = await shop.get("/products/-/export?format=csv&sort=-price")
    assert export.body.decode().count("\r\n") == 3001


async def test_a_file_name_outside_ascii_is_encoded(
    serve: Callable[..., Awaitable[Any]], entity: Callable[..., Entity]
) -> None:
    shop = await serve(entity("书", Attribute(name="n", kind=Kind.INTEGER), plural="书"))
    export = await shop.get("/%E4%B9%A6/-/export?format=csv")
    assert export.headers["content-disposition"] == "attachment; filename*=UTF-8''%E4%B9%A6.csv"


async def start(shop: Any, query: str = "") -> tuple[Answer, asyncio.Event]:
    """An export that is under way, and the event by which its client goes away."""
    gone = asyncio.Event()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "path": "", "query_string": query.encode(), "headers": []}
    call = Call(
        scope,
        receive,
        base="/api/shop",
        segments=["products", "-", "export"],
        request_id="r",
        max_body_bytes=1,
        neighbour=lambda *_: None,
    )
    return await shop.revision.handle(call), gone


@pytest.fixture
async def many(shop: Any) -> Any:
    await shop.post("/products", [{"sku": f"A{place}", "price": 1} for place in range(500)])
    return shop


async def test_an_export_shows_one_moment(many: Any) -> None:
    answer, _ = await start(many)
    assert answer.stream is not None
    body = await anext(answer.stream) + await anext(answer.stream)
    for row in (await many.get("/products?limit=1000")).json["items"]:
        await many.delete(f"/products/{row['id']}")
    body += b"".join([chunk async for chunk in answer.stream])
    await close_stream(answer.stream)
    assert len(json.loads(body)) == 500
    assert (await many.get("/products/-/export")).json == []


async def test_a_client_that_goes_away_ends_its_export(many: Any, store: Store) -> None:
    answer, gone = await start(many)
    assert answer.stream is not None
    for _ in range(2):
        await anext(answer.stream)
    gone.set()
    with pytest.raises(ClientGoneError):
        async for _ in answer.stream:
            pass
    await close_stream(answer.stream)
    assert not store._database._streams


async def test_an_export_that_is_never_sent_holds_nothing(many: Any, store: Store) -> None:
    answer, _ = await start(many)
    assert answer.stream is not None
    assert len(store._database._streams) == 1
    await close_stream(answer.stream)
    assert not store._database._streams
    assert (await many("HEAD", "/products/-/export")).status == 200
    assert not store._database._streams


async def test_an_export_whose_answer_cannot_begin_holds_nothing(many: Any, store: Store) -> None:
    async def fail(_: Message) -> None:
        raise ConnectionError

    answer, _ = await start(many)
    with pytest.raises(ConnectionError):
        await send_answer(fail, answer)
    assert not store._database._streams


async def test_an_export_that_is_cancelled_holds_nothing(
    many: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, _ = await start(many)
    stream = answer.stream
    assert stream is not None
    await anext(stream)
    reading = asyncio.create_task(anext(stream))  # type: ignore[arg-type] # an awaitable is enough
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await close_stream(stream)
    assert not store._database._streams


async def test_exports_are_bounded_in_number(many: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watcherd.store.stream.MAX_STREAMS", 1)
    answer, _ = await start(many)
    refused = await many.get("/products/-/export")
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert answer.stream is not None
    await close_stream(answer.stream)
    assert (await many.get("/products/-/export")).status == 200


async def test_a_stream_that_cannot_be_opened_is_forgotten(
    many: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    select = Statements.select

    def nonsense(statements: Statements, query: Select) -> tuple[Bound, Bound]:
        rows, count = select(statements, query)
        return rows._replace(sql="SELECT NONSENSE"), count

    monkeypatch.setattr(Statements, "select", nonsense)
    with pytest.raises(StoreError, match=r"(?i)nonsense"):
        await many.get("/products/-/export")
    assert not store._database._streams


async def test_closing_the_store_ends_exports(many: Any, store: Store) -> None:
    answer, _ = await start(many)
    assert answer.stream is not None
    await anext(answer.stream)
    await store.close()
    with pytest.raises(StoreUnavailableError, match="the database is"):
        await anext(answer.stream)
    await close_stream(answer.stream)
