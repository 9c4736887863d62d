"""Checks by expression: held on every way to write, from the moment on in which they are saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Walk, drained, serving
from watcherd.events import SchemaRowsLeft

ON_BOTH_DATABASES = True

ATTRIBUTES = "{name: string, price: decimal, cost: decimal, tags: 'string[]', userId: uuid}"
PLAIN = f"domain: shop\nentities:\n  - name: Product\n    attributes: {ATTRIBUTES}\n"
CHECKED = PLAIN + "    constraints:\n      - check: price >= cost\n        message: sold at a loss\n"
# No database counts the items of a list here: this one is kept by the daemon alone.
UNWATCHED = PLAIN + "    constraints:\n      - check: tags.size() < 3 && tags.all(t, t != '')\n"
PRODUCTS = "/api/shop/products"


async def every_way(walk: Walk, path: str, key: str, broken: dict[str, Any]) -> dict[str, tuple[int, Any]]:
    """A body that breaks something, written in every way that there is: status and (pointer, code) of the findings."""
    answers = {
        "create": await walk.call("POST", path, broken),
        "array": await walk.call("POST", path, [{}, broken]),
        "replace": await walk.call("PUT", f"{path}/{key}", broken),
        "patch": await walk.call("PATCH", f"{path}/{key}", broken),
        "batch": await walk.call(
            "POST",
            f"{path.rpartition('/')[0]}/-/batch",
            [{"method": "PATCH", "path": f"/{path.rpartition('/')[2]}/{key}", "body": broken}],
        ),
        "import": await walk.send("POST", f"{path}/-/import", json.dumps(broken).encode(), "application/x-ndjson"),
    }
    told: dict[str, tuple[int, Any]] = {}
    for way, reply in answers.items():
        errors = reply.json.get("errors") or reply.json["refused"][0]["errors"]
        told[way] = reply.status, [(one["pointer"], one["code"], one["message"]) for one in errors]
    return told


async def test_a_check_is_held_on_every_way_to_write(tmp_path: Path, database_url: str) -> None:
    async with serving(tmp_path, {"shop.yaml": CHECKED}, database_url=database_url) as walk:
        row = await walk.post(PRODUCTS, {"price": "0.30", "cost": "0.1"})
        told = await every_way(walk, PRODUCTS, row["id"], {"price": "0.1", "cost": "0.100001"})
        finding = ("constraint", "sold at a loss")
        assert told == {
            "create": (422, [("#/price", *finding)]),
            "array": (422, [("#/1/price", *finding)]),
            "replace": (422, [("#/price", *finding)]),
            "patch": (422, [("#/price", *finding)]),
            "batch": (422, [("#/0/body/price", *finding)]),
            "import": (422, [("#/price", *finding)]),
        }
        assert (await walk.get(PRODUCTS)).json["items"] == [row]


async def test_what_a_check_cannot_know_passes_and_half_a_change_is_looked_at_as_a_whole_row(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": CHECKED}) as walk:
        row = await walk.post(PRODUCTS, {"cost": "5"})
        assert (await walk.call("PATCH", f"{PRODUCTS}/{row['id']}", {"price": "4"})).status == 422
        assert (await walk.call("PATCH", f"{PRODUCTS}/{row['id']}", {"price": "5"})).status == 200


async def test_a_check_says_nothing_of_an_attribute_whose_value_is_none(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": CHECKED}) as walk:
        reply = await walk.call("POST", PRODUCTS, {"price": "1", "cost": "many"})
        assert [one["pointer"] for one in reply.json["errors"]] == ["#/cost"]


async def test_a_check_that_fails_for_a_row_refuses_it_and_says_why(tmp_path: Path) -> None:
    text = PLAIN + "    constraints: [{check: 1 / price > 0, message: no price}]\n"
    async with serving(tmp_path, {"shop.yaml": text}) as walk:
        reply = await walk.call("POST", PRODUCTS, {"price": "0"})
        assert (reply.status, reply.json["errors"][0]["message"]) == (422, "no price: a division by zero")


@pytest.mark.parametrize(
    ("checked", "wrong", "right"),
    [
        (CHECKED, {"price": "1", "cost": "2"}, {"price": "2"}),
        (UNWATCHED, {"tags": ["a", "b", "c"]}, {"tags": ["a"]}),
    ],
    ids=["watched by the database", "not watched by it"],
)
async def test_a_new_check_waits_until_the_rows_keep_it(
    tmp_path: Path, database_url: str, checked: str, wrong: dict[str, Any], right: dict[str, Any]
) -> None:
    async with serving(tmp_path, {"shop.yaml": PLAIN}, database_url=database_url) as walk:
        await walk.post(PRODUCTS, {"name": "without anything"})
        rows = [await walk.post(PRODUCTS, wrong) for _ in range(4)]
        await walk.save("shop.yaml", checked)
        [found] = (await walk.listed("shop.yaml"))["diagnostics"]
        assert (await walk.state("shop.yaml"), found["code"]) == ("stale", "PIM607")
        ids = ", ".join(row["id"] for row in rows[:3])
        assert f"4 rows in the way (first ids {ids})" in found["message"]
        for row in rows:
            assert (await walk.call("PATCH", f"{PRODUCTS}/{row['id']}", right)).status == 200
        await walk.reload_all()
        assert await walk.state("shop.yaml") == "live"
        assert (await walk.call("POST", PRODUCTS, wrong)).status == 422
        # Known from now on: neither a restart nor the next edit looks at the rows again.
        assert (await walk.store.plan(walk.revision("shop").linked)).scans == ()
    async with serving(tmp_path, database_url=database_url) as again:
        assert await again.state("shop.yaml") == "live"
        assert (await again.get("/admin/pim/shop")).json["drift"] == []
        await again.save("shop.yaml", PLAIN)
        await drained(again, "shop")
        await again.post(PRODUCTS, wrong)
        assert (await again.get("/admin/pim/shop")).json["drift"] == []


async def test_a_write_of_the_revision_before_that_breaks_a_new_check_is_a_conflict(
    tmp_path: Path, database_url: str
) -> None:
    async with serving(tmp_path, {"shop.yaml": PLAIN}, database_url=database_url) as walk:
        client, task = walk.half_sent(PRODUCTS, b'{"price": "1", ')
        await walk.save("shop.yaml", CHECKED)
        assert walk.revision("shop").number == 2
        client.send_body(b'"cost": "2"}')
        reply = await task
        assert (reply.status, reply.revision, reply.json["type"]) == (409, 1, "/problems/check")
        assert reply.json["constraint"] == "price >= cost"


@pytest.mark.parametrize(
    ("stricter", "wrong", "found"),
    [
        (UNWATCHED, b'"tags": ["a", "b", "c"]}', "they break the check 'tags.size() < 3 && tags.all(t, t != '')'"),
        (PLAIN.replace("name: string", "name: {type: string, max_length: 3}"), b'"name": "long"}', "at most 3"),
        (PLAIN.replace("name: string", "name: {type: string, pattern: '^[a-z]+$'}"), b'"name": "A"}', "they are not"),
        (PLAIN.replace("userId: uuid", "userId: {type: uuid, required: true}"), b'"name": "x"}', "no value for it"),
    ],
    ids=["a check", "a limit", "a pattern", "required"],
)
async def test_rows_that_older_requests_wrote_past_what_the_database_does_not_watch_are_told(
    tmp_path: Path, database_url: str, stricter: str, wrong: bytes, found: str
) -> None:
    async with serving(tmp_path, {"shop.yaml": PLAIN}, database_url=database_url) as walk:
        client, task = walk.half_sent(PRODUCTS, b'{"cost": "1", ')
        await walk.save("shop.yaml", stricter)
        assert walk.revision("shop").number == 2
        client.send_body(wrong)
        reply = await task
        assert (reply.status, reply.revision) == (201, 1)
        await drained(walk, "shop")
        [told] = [one for one in walk.events if isinstance(one, SchemaRowsLeft)]
        assert (told.model, told.revision, len(told.found)) == ("shop", 2, 1)
        assert f"1 row in the way (id {reply.json['id']})" in told.found[0]
        assert found in told.found[0]
        # Neither a comment nor the next edit looks at it again.
        await walk.save("shop.yaml", stricter + "# a comment\n")
        await walk.save("shop.yaml", stricter.replace("cost: decimal", "cost: decimal, size: integer"))
        await drained(walk, "shop")
        assert sum(isinstance(one, SchemaRowsLeft) for one in walk.events) == 1


async def test_where_older_requests_wrote_nothing_wrong_nothing_is_told(tmp_path: Path, database_url: str) -> None:
    added = UNWATCHED.replace("name: string", "name: string, size: {type: integer, required: true, default: 1}")
    async with serving(tmp_path, {"shop.yaml": PLAIN}, database_url=database_url) as walk:
        client, task = walk.half_sent(PRODUCTS, b'{"cost": "1", ')
        await walk.save("shop.yaml", added)
        client.send_body(b'"tags": ["a"]}')
        assert (await task).status == 201
        await drained(walk, "shop")
        assert not any(isinstance(one, SchemaRowsLeft) for one in walk.events)
        assert walk.drains._afterwards.get("shop", []) == []


async def test_checks_are_described_with_the_entity(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": CHECKED}) as walk:
        document = (await walk.get("/api/shop/-/openapi.json")).json
        assert "Constraints:\n- price >= cost" in document["components"]["schemas"]["shop_Product"]["description"]
