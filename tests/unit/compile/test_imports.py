from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.compile import csv_text, gathered
from watcherd.compile.imports import ImportEndpoint
from watcherd.compile.lines import Lines
from watcherd.pim.spec import Attribute, EntityRef, Kind
from watcherd.problems import Problem
from watcherd.store import Cursor, ModelTables

ON_BOTH_DATABASES = True

PATH = "/products/-/import"


async def send(shop: Any, text: str | bytes, query: str = "", media: str = "text/csv", **headers: str) -> Any:
    raw = text.encode() if isinstance(text, str) else text
    return await shop("POST", PATH + query, raw=raw, content_type=media, **headers)


async def rows(shop: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await shop.get("/products?limit=1000")).json["items"]
    return found


async def skus(shop: Any) -> list[str]:
    return [row["sku"] for row in await rows(shop)]


async def test_csv_is_read_by_its_header(shop: Any) -> None:
    done = await send(
        shop,
        "price,sku,details,tags,stock\r\n"
        '1.50,A1,"{""a"": [1]}","[""x"", ""y""]",3\r\n'
        '\r\n2,"a ""q"",\r\nb",,,\r\n'
        '3,"",,[],-1',
    )
    assert (done.status, done.json) == (200, {"imported": 3})
    assert shop.template == PATH
    shown = [[row[name] for name in ("sku", "price", "details", "tags", "stock", "status")] for row in await rows(shop)]
    assert shown == [
        ["A1", "1.50", {"a": [1]}, ["x", "y"], 3, "draft"],
        ['a "q",\r\nb', "2.00", None, None, None, "draft"],
        ["", "3.00", None, [], -1, "draft"],
    ]


async def test_ndjson_is_an_object_a_line(shop: Any) -> None:
    done = await send(
        shop, '\ufeff{"sku": "A1", "price": 1}\n\n{"sku": "A2", "price": "2.5"}\r\n', media="application/x-ndjson"
    )
    assert (done.status, done.json) == (200, {"imported": 2})
    assert [row["price"] for row in await rows(shop)] == ["1.00", "2.50"]


async def test_a_body_of_nothing_imports_nothing(shop: Any) -> None:
    for media in ("text/csv", "application/x-ndjson; charset=UTF-8"):
        for text in ("", "\r\n\n"):
            assert (await send(shop, text, media=media)).json == {"imported": 0}
    assert (await send(shop, "sku,price\r\n")).json == {"imported": 0}


BAD = (
    "sku,price,stock,status,tags,created_at\n"
    "A1,1,,draft,,\n"
    'A2,x,many,sold,"[",\n'
    "A3,1\n"
    ",1,,draft,,2026-01-01T00:00:00Z\n"
    '"A\n4",1,,draft,,\n'
    'A5,"1"x,,draft,,\n'
)


async def test_bad_lines_are_listed_with_their_numbers_and_nothing_is_imported(shop: Any) -> None:
    refused = await send(shop, BAD)
    assert (refused.status, refused.slug) == (422, "import-refused")
    assert refused.json["refused_count"] == 4
    assert [line["line"] for line in refused.json["refused"]] == [3, 4, 5, 8]
    found = [[(one["pointer"], one["code"]) for one in line["errors"]] for line in refused.json["refused"]]
    assert found == [
        [("#/price", "format"), ("#/stock", "format"), ("#/status", "format"), ("#/tags", "format")],
        [("#", "csv")],
        [("#/sku", "type"), ("#/created_at", "read_only")],
        [("#", "csv")],
    ]
    assert refused.json["refused"][1]["errors"][0]["message"] == "expected 6 cells as in the header, not 2"
    assert await skus(shop) == []


async def test_what_is_good_is_imported_if_it_is_asked_for(shop: Any) -> None:
    done = await send(shop, BAD, "?partial=true")
    assert (done.status, done.json["imported"], done.json["refused_count"]) == (200, 2, 4)
    assert [line["line"] for line in done.json["refused"]] == [3, 4, 5, 8]
    assert await skus(shop) == ["A1", "A\n4"]


async def test_bad_lines_of_ndjson_are_listed(shop: Any) -> None:
    lines = [b'{"sku": "A1"}', b"[1]", b"{", b'{"sku": "\\u0000", "price": 1}', b'{"sku": "\xff", "price": 1}', b"null",
             b'{"sku": "A", "price": 1, "colour": 1}']  # fmt: skip
    refused = await send(shop, b"\n".join(lines), media="application/x-ndjson")
    found = [[(one["pointer"], one["code"]) for one in line["errors"]] for line in refused.json["refused"]]
    assert found == [
        [("#/price", "required")],
        [("#", "type")],
        [("#", "json")],
        [("#/sku", "characters")],
        [("#", "json")],
        [("#", "type")],
        [("#/colour", "unknown")],
    ]
    assert refused.json["refused"][2]["errors"][0]["message"].startswith("the line is not JSON: ")


async def test_lines_that_break_a_constraint_are_named(shop: Any) -> None:
    await send(shop, "sku,price\nA2,1\n")
    text = "sku,price\n" + "".join(f"A{place % 7},1\n" for place in range(9))
    refused = await send(shop, text)
    assert (refused.status, refused.slug) == (422, "import-refused")
    assert [line["line"] for line in refused.json["refused"]] == [4, 9, 10]
    assert refused.json["refused"][0]["errors"] == [
        {"pointer": "#/sku", "code": "unique", "message": "sku 'A2' already exists"}
    ]
    assert await skus(shop) == ["A2"]
    done = await send(shop, text, "?partial=true")
    assert (done.json["imported"], done.json["refused_count"]) == (6, 3)
    assert sorted(await skus(shop)) == [f"A{place}" for place in range(7)]


async def test_references_are_checked_by_line(shop: Any) -> None:
    made = await shop.post("/products", {"sku": "A", "price": 1})
    text = f"product,stars\n{made.json['id']},1\n019311f0-1c2b-7d3e-8f40-5a6b7c8d9e0f,2\n7,3\n"
    done = await shop("POST", "/reviews/-/import?partial=true", raw=text.encode(), content_type="text/csv")
    assert done.json["imported"] == 1
    assert [(line["line"], line["errors"][0]["code"]) for line in done.json["refused"]] == [
        (4, "format"),
        (3, "foreign-key"),
    ]


async def test_the_list_of_refused_lines_is_bounded_and_all_are_counted(shop: Any) -> None:
    text = "sku,price\n" + "A,x\n" * 250
    for query in ("", "?partial=true"):
        answer = (await send(shop, text, query)).json
        assert (len(answer["refused"]), answer["refused_count"]) == (gathered.MAX_REFUSED, 250)
    double = "sku,price\n" + "A,1\n" * 2000
    assert len((await send(shop, double)).json["refused"]) == gathered.MAX_REFUSED
    assert (await send(shop, double, "?partial=true")).json["refused_count"] == 1999


@pytest.mark.parametrize(
    ("header", "findings"),
    [
        ("sku,prize", {"#/prize": "unknown"}),
        ("sku,price,sku", {"#/sku": "repeated"}),
        ("sku,,", {"#/": "unknown"}),
        ('sku,"price', {"#": "csv"}),
    ],
)
async def test_a_header_that_does_not_fit_is_refused(shop: Any, header: str, findings: dict[str, str]) -> None:
    for query in ("", "?partial=true"):
        refused = await send(shop, f"{header}\nA1,1\n", query)
        assert (refused.status, refused.slug, refused.findings) == (422, "validation", findings)


@pytest.mark.parametrize("media", ["-", "application/json", "text/csv; charset=latin-1", ""])
async def test_another_content_type_is_refused(shop: Any, media: str) -> None:
    refused = await send(shop, "sku\nA", media=media)
    assert (refused.status, refused.slug) == (415, "unsupported-media-type")


async def test_a_compressed_body_is_refused(shop: Any) -> None:
    raw = gzip.compress(b"sku,price\nA1,1\n")
    refused = await shop("POST", "/products/-/import", raw=raw, content_type="text/csv", content_encoding="gzip")
    assert (refused.status, refused.slug) == (415, "unsupported-media-type")


@pytest.mark.parametrize("query", ["partial=yes", "partial=true&partial=true", "limit=1"])
async def test_another_parameter_is_refused(shop: Any, query: str) -> None:
    assert (await send(shop, "sku\nA", f"?{query}")).status == 400


async def test_a_body_may_be_larger_than_others_and_a_line_may_not(
    serve: Callable[..., Any], entity: Callable[..., Any], options: Any
) -> None:
    assert options.max_import_bytes > 100_000
    shop = await serve(entity("Product", Attribute(name="text", kind=Kind.TEXT)))
    line = "x" * 60_000
    assert (await send(shop, f"text\n{line}\n{line}\n")).json == {"imported": 2}
    for text in (
        f"text\n{line}{line}\n",
        f"text\n{line}{line}",
        f'text\n"{line}\n{line}"',
        f'text\n"{line}\n{line}\nx"',
    ):
        refused = await send(shop, text)
        assert (refused.status, refused.slug) == (413, "body-too-large")
        assert "line 2 is over 100000 bytes" in refused.json["detail"]


async def test_an_import_is_bounded(shop: Any, monkeypatch: pytest.MonkeyPatch, options: Any) -> None:
    object.__setattr__(options, "max_import_bytes", 10)
    assert (await send(shop, "sku,price\nA,1\n")).status == 413


async def test_an_import_with_a_key_is_done_once(shop: Any) -> None:
    text = "sku,price\n" + "".join(f"A{place},1\n" for place in range(20_000))
    assert len(text) > 100_000
    replies = [await send(shop, text, idempotency_key="k") for _ in range(2)]
    assert [item.json for item in replies] == [{"imported": 20_000}] * 2
    assert replies[1].headers["idempotency-replayed"] == "true"
    assert (await send(shop, text, "?partial=true", idempotency_key="k")).slug == "key-reused"
    assert (await shop.get("/products?limit=0")).json["total"] == 20_000


async def test_other_writes_go_on_while_a_body_comes_and_is_validated(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gather = ImportEndpoint._gather
    loop = asyncio.get_running_loop()
    between: list[int] = []

    def write_between(*arguments: Any) -> None:
        gather(*arguments)
        made = asyncio.run_coroutine_threadsafe(shop.post("/products", {"sku": f"B{len(between)}", "price": 1}), loop)
        between.append(made.result(30).status)

    monkeypatch.setattr(ImportEndpoint, "_gather", write_between)
    assert (await send(shop, "sku,price\nA,1\n")).json == {"imported": 1}
    assert between == [201, 201], "one for the chunk, one for its end"
    assert len(await rows(shop)) == 3


async def test_a_full_disk_is_no_bug(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: bytes) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("watcherd.compile.imports.Gathered", lambda _, **more: gathered.Gathered(Full(), **more))  # type: ignore[arg-type] # as much of a file as is used
    refused = await send(shop, "sku,price\nA,1\n")
    assert (refused.status, refused.slug) == (503, "unavailable")
    assert "No space left" in refused.json["detail"]


async def test_a_write_that_the_database_runs_again_answers_as_if_it_had_run_once(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = ModelTables.write

    async def write_twice(tables: ModelTables, work: Callable[[Cursor], Any]) -> Any:
        def run_again(cursor: Cursor) -> Any:
            cursor.execute("SAVEPOINT first")
            work(cursor)
            cursor.execute("ROLLBACK TO first")
            return work(cursor)

        return await write(tables, run_again)

    monkeypatch.setattr(ModelTables, "write", write_twice)
    done = await send(shop, "sku,price\nA,1\nA,1\nB,x\n", "?partial=true")
    assert (done.json["imported"], done.json["refused_count"]) == (1, 2)
    assert [line["line"] for line in done.json["refused"]] == [4, 3]


async def test_json_is_nested_no_deeper_than_in_other_bodies(shop: Any) -> None:
    shop.max_json_depth = 3
    refused = await send(shop, "sku,price,details\nA,1,[[[[]]]]\nB,1,[[[]]]\n")
    assert [line["line"] for line in refused.json["refused"]] == [2]
    line = '{"sku": "A", "price": 1, "details": [[[]]]}'
    refused = await send(shop, line, media="application/x-ndjson")
    assert "deeper than 3 levels" in refused.json["refused"][0]["errors"][0]["message"]


async def test_a_failing_write_takes_all_of_it_back(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write = ModelTables.write

    async def write_and_fail(tables: ModelTables, work: Callable[[Cursor], Any]) -> Any:
        def fail(cursor: Cursor) -> None:
            work(cursor)
            raise ZeroDivisionError

        return await write(tables, fail)

    with monkeypatch.context() as patched:
        patched.setattr(ModelTables, "write", write_and_fail)
        with pytest.raises(ZeroDivisionError):
            await send(shop, "sku,price\nA,1\n")
    assert await skus(shop) == []


async def test_what_was_exported_is_imported_again(serve: Any, entity: Any, tmp_path: Path) -> None:
    attributes = [
        Attribute(name="code", kind=Kind.STRING, primary_key=True),
        *[Attribute(name=f"a_{kind}", kind=kind) for kind in Kind if kind not in {Kind.REFERENCE, Kind.ENUM}],
        *[Attribute(name=f"l_{kind}", kind=kind, is_list=True) for kind in (Kind.STRING, Kind.DECIMAL)],
        Attribute(name="parent", kind=Kind.REFERENCE, reference=EntityRef("shop", "Product")),
    ]
    shop = await serve(entity("Product", *attributes))
    samples = {
        "string": ' "x",\r\n', "text": "", "integer": 2**63 - 1, "float": 1e300, "decimal": "-0.5", "boolean": False,
        "datetime": "2026-11-22T01:31:46Z", "date": "2026-11-22", "time": "01:31", "json": "null",
        "uuid": "019311f0-1c2b-7d3e-8f40-5a6b7c8d9e0f", "email": "a@b.co", "url": "https://a.example/?x=,",
    }  # fmt: skip
    first = {"code": "A", "l_string": ["", "x"], **{f"a_{name}": value for name, value in samples.items()}}
    await shop.post("/products", [first, {"code": "B", "parent": "A"}])
    before = await rows(shop)
    for name, media in (("csv", "text/csv"), ("ndjson", "application/x-ndjson")):
        exported = (await shop.get(f"/products/-/export?format={name}")).body.decode()
        for code in ("B", "A"):
            assert (await shop.delete(f"/products/{code}")).status == 204
        if name == "csv":
            lines = [csv_text.read_line(line.decode()) for _, line in all_lines(exported.encode(), 7)]
            again = "".join(csv_text.write_line(cells[:-2]) for cells in lines)
        else:
            kept = [{key: value for key, value in json.loads(line).items() if not key.endswith("ed_at")}
                    for line in exported.splitlines()]  # fmt: skip
            again = "\n".join(json.dumps(row) for row in kept)
        assert (await send(shop, again, media=media)).json == {"imported": 2}
        after = await rows(shop)
        for row in (*before, *after):
            row.pop("created_at", None), row.pop("updated_at", None)
        assert after == before


def all_lines(text: bytes, size: int) -> list[tuple[int, bytes]]:
    lines = Lines(quoted=True, most_bytes=10_000)
    found = [line for start in range(0, len(text), size) for line in lines.feed(text[start : start + size])]
    return found + lines.end()


CELLS = st.lists(
    st.none() | st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('",\r\n '), max_size=5),
    min_size=2,
    max_size=4,
)


@given(st.lists(CELLS, max_size=4), st.integers(1, 20))
def test_every_cell_comes_back_through_any_chunks(table: list[list[str | None]], size: int) -> None:
    text = "".join(csv_text.write_line(line) for line in table).encode()
    assert [csv_text.read_line(line.decode()) for _, line in all_lines(text, size)] == table


def test_a_quote_that_is_never_closed_is_one_bad_line() -> None:
    ((number, line),) = all_lines(b'\n"a\nb\n', 100)
    assert number == 2
    with pytest.raises(ValueError, match="out of place in cell 1"):
        csv_text.read_line(line.decode())


def test_a_line_is_no_longer_than_it_may_be() -> None:
    lines = Lines(quoted=False, most_bytes=3)
    assert lines.feed(b"abc\n") == [(1, b"abc")]
    with pytest.raises(Problem, match="line 2 is over 3 bytes"):
        lines.feed(b"abcd")
