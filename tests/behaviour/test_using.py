"""A type that changes with `using`: the file, the plan, requests in flight, and what the file says afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import drained, model_text, serving

ON_BOTH_DATABASES = True

BEFORE = model_text("shop", "size: string")
WITHOUT = model_text("shop", "size: integer")
AFTER = model_text("shop", "size: {type: integer, using: int(size)}")


async def test_a_held_request_reads_and_writes_the_old_type_while_the_new_one_is_computed(
    tmp_path: Path, database_url: str
) -> None:
    async with serving(tmp_path, {"shop.yaml": BEFORE}, database_url=database_url) as walk:
        row = await walk.post("/api/shop/items", {"name": "a", "size": "1"})
        writer, writing = walk.half_sent("/api/shop/items", b'{"name": "b",')
        wrong, failing = walk.half_sent("/api/shop/items", b'{"name": "c",')
        changer, changing = walk.half_sent(f"/api/shop/items/{row['id']}", b'{"size":')
        changer.scope["method"] = "PATCH"
        report = await walk.save("shop.yaml", AFTER)
        assert report.changed, report.refused
        assert (await walk.get(f"/api/shop/items/{row['id']}")).json["size"] == 1
        writer.send_body(b'"size": "22"}')
        wrong.send_body(b'"size": "many"}')
        changer.send_body(b'"333"}')
        written, failed, changed = await writing, await failing, await changing
        assert (written.status, written.revision, written.json["size"]) == (201, 1, "22")
        assert (changed.status, changed.revision, changed.json["size"]) == (200, 1, "333")
        assert (failed.status, failed.revision) == (409, 1), "what the new type cannot hold is refused"
        await drained(walk, "shop")
        rows = (await walk.get("/api/shop/items?sort=name")).json["items"]
        assert [item["size"] for item in rows] == [333, 22]


async def test_a_refused_change_of_type_goes_through_once_the_file_says_how(tmp_path: Path, database_url: str) -> None:
    async with serving(tmp_path, {"shop.yaml": BEFORE}, database_url=database_url) as walk:
        row = await walk.post("/api/shop/items", {"name": "a", "size": "1"})
        await walk.save("shop.yaml", WITHOUT)
        assert await walk.codes("shop.yaml") == ["PIM601"]
        await walk.save("shop.yaml", AFTER)
        assert await walk.codes("shop.yaml") == []
        assert (await walk.get(f"/api/shop/items/{row['id']}")).json["size"] == 1


async def test_after_the_change_the_expression_means_nothing(tmp_path: Path, database_url: str) -> None:
    async with serving(tmp_path, {"shop.yaml": BEFORE}, database_url=database_url) as walk:
        await walk.post("/api/shop/items", {"name": "a", "size": "1"})
        await walk.save("shop.yaml", AFTER)
        await drained(walk, "shop")
        generation = walk.generation
        for text in (WITHOUT, AFTER, AFTER.replace("int(size)", "int(size) + nothing"), AFTER):
            report = await walk.save("shop.yaml", text)
            assert not report.refused
            assert await walk.codes("shop.yaml") == []
        assert walk.generation == generation, "the same meaning is no swap"
    async with serving(tmp_path, database_url=database_url) as again:
        assert await again.codes("shop.yaml") == []
        assert [item["size"] for item in (await again.get("/api/shop/items")).json["items"]] == [1]


async def test_rows_in_the_way_are_counted_and_named(tmp_path: Path, database_url: str) -> None:
    async with serving(tmp_path, {"shop.yaml": BEFORE}, database_url=database_url) as walk:
        await walk.post("/api/shop/items", {"name": "a", "size": "1"})
        row = await walk.post("/api/shop/items", {"name": "b", "size": "one"})
        await walk.save("shop.yaml", AFTER)
        (found,) = (await walk.listed("shop.yaml"))["diagnostics"]
        assert found["code"] == "PIM601"
        assert "1 row" in found["message"]
        assert row["id"] in found["message"]
        assert (await walk.get(f"/api/shop/items/{row['id']}")).json["size"] == "one"


@pytest.mark.parametrize(
    ("using", "code", "marked"),
    [
        pytest.param("int(sise)", "PIM613", "sise", id="unknown"),
        pytest.param("size + 'x'", "PIM613", "+", id="type"),
        pytest.param("int(size.trim())", "PIM613", "()", id="not in SQL"),
        pytest.param("int(size", "PIM312", None, id="syntax"),
    ],
)
async def test_an_expression_that_cannot_be_used_is_refused_at_its_column(
    tmp_path: Path, using: str, code: str, marked: str | None
) -> None:
    text = model_text("shop", f'size: {{type: integer, using: "{using}"}}')
    async with serving(tmp_path, {"shop.yaml": BEFORE}) as walk:
        await walk.save("shop.yaml", text)
        (found,) = (await walk.listed("shop.yaml"))["diagnostics"]
        assert found["code"] == code
        line = text.splitlines()[found["line"] - 1]
        assert using in line
        if marked is not None:
            assert line[found["column"] - 1 :].startswith(marked)
        assert found["column"] > line.index(using)


async def test_the_plan_shows_the_expression(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": BEFORE}) as walk:
        answer = await walk.send("POST", "/admin/pim/plan", AFTER.encode(), "application/yaml")
        told = answer.json["plan"]
        assert told["applicable"]
        assert [(one["class"], one["text"]) for one in told["tables"]] == [
            ("depends on the data", "refused while rows of Item.size have no value as integer by `using: int(size)`"),
            ("additive", "add a column for Item.size as integer"),
            ("rewrite", "rewrite Item.size from string to integer"),
            ("rewrite", "keep Item.size as string in step while older revisions are in use"),
            ("loosened after the drain", "stop keeping the earlier type of Item.size in step"),
        ]
