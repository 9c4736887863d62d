"""The invariants of the reload path, each with a test that fails without it.

The numbers are those of the list of invariants in the architecture. What concerns requests alone
(1, 2, 9) is with the gateway's tests, flat memory (11) in `test_leaks.py`.
"""

import asyncio
import json
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Walk, drained, model_text, serving
from watcherd import build, intake, reload
from watcherd.draft import Draft
from watcherd.drain import Deadlines
from watcherd.errors import StoreError, StoreUnavailableError
from watcherd.ledger import World
from watcherd.store import Rejection, Store, records

SHOP = model_text("shop", "color")
LIBRARY = model_text("library", "author", entity="Book")


def tables(data: Path) -> dict[str, list[str]]:
    """The columns of every table of a model, as the database itself has them."""
    with closing(sqlite3.connect(data / "watcherd.db")) as connection:
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            if not name.startswith(("watcherd_", "sqlite_"))
        ]
        return {name: [row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')] for name in names}


# -- 3: everything is built before the swap ------------------------------------------------------


async def test_3_nothing_is_built_by_the_first_request_after_a_swap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every way into validators, endpoints and statements is closed between the swap and the requests."""
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.save("shop.yaml", model_text("shop", "color", "size"))

        def built(*_args: object, **_kwargs: object) -> Any:
            raise AssertionError("built by a request")

        for name in (
            "watcherd.build.compile_model",
            "watcherd.compile.compiler.compile_entity",
            "watcherd.compile.compiler.describe",
            "watcherd.compile.bodies.SchemaValidator",
            "watcherd.store.store.Rows",
            "watcherd.pim.parsing.read_tree",
        ):
            monkeypatch.setattr(name, built)
        row = await walk.post("/api/shop/items", {"name": "cup", "size": "L"})
        path = f"/api/shop/items/{row['id']}"

        assert (await walk.get("/api/shop")).status == 200
        assert (await walk.get("/api/shop/items?size=L&sort=-name")).json["total"] == 1
        assert (await walk.get(path)).status == 200
        assert (await walk.call("PATCH", path, {"color": "red"})).status == 200
        assert (await walk.call("PUT", path, {"name": "mug"})).status == 200
        assert (await walk.call("DELETE", path)).status == 204
        assert (await walk.get("/api/shop/-/openapi.json")).status == 200


# -- 4: a failure at any step leaves all as it was -----------------------------------------------


class PlantedError(Exception):
    """What the tests let a step fail with."""


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_args: object, **_kwargs: object) -> Any:
        raise error

    return fail


def failing_later(error: Exception) -> Callable[..., Any]:
    async def fail(*_args: object, **_kwargs: object) -> Any:
        raise error

    return fail


class Before:
    """What is served and known before a reload that is going to fail."""

    def __init__(self, walk: Walk) -> None:
        self._table = walk.gateway.table
        self._world = walk.reloader.world

    def holds(self, walk: Walk) -> bool:
        """Whether the route table and the world are the same objects, and the lock is free."""
        unlocked = not walk.reloader._lock.locked()
        return walk.gateway.table is self._table and walk.reloader.world is self._world and unlocked


PLANTED = PlantedError("planted")
UNAVAILABLE = StoreUnavailableError("the database is busy")
REFUSED = (Rejection(code="PIM603", entity="Item", attribute=None, message="rows in the way", hint=None),)


async def refused(*_args: object) -> tuple[Rejection, ...]:
    return REFUSED


@pytest.mark.parametrize(
    ("owner", "name", "fail"),
    [
        pytest.param(intake.Intake, "_look", failing(PLANTED), id="reading"),
        pytest.param(intake, "parse", failing(PLANTED), id="parsing"),
        pytest.param(Draft, "settle", failing(PLANTED), id="settling"),
        pytest.param(Draft, "link", failing(PLANTED), id="linking"),
        pytest.param(Store, "plan", failing_later(UNAVAILABLE), id="planning"),
        pytest.param(Store, "bind", failing(UNAVAILABLE), id="binding"),
        pytest.param(Store, "expand", failing_later(UNAVAILABLE), id="expanding"),
        pytest.param(records, "record", failing(sqlite3.OperationalError("disk I/O error")), id="writing the catalog"),
        pytest.param(reload, "compare", failing(PLANTED), id="comparing"),
    ],
)
async def test_4_a_reload_that_fails_changes_nothing_and_the_next_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, fail: Callable[..., Any]
) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.post("/api/shop/items", {"name": "cup", "color": "red"})
        before, columns = Before(walk), tables(tmp_path / "data")
        walk.write("shop.yaml", model_text("shop", "size"))

        with monkeypatch.context() as planted:
            planted.setattr(owner, name, fail)
            with pytest.raises((PlantedError, StoreError)):
                await walk.see("shop.yaml")

        assert before.holds(walk)
        assert {key: value[: len(columns[key])] for key, value in tables(tmp_path / "data").items()} == columns
        [row] = (await walk.get("/api/shop/items")).json["items"]
        assert row["color"] == "red"

        assert (await walk.see("shop.yaml")).swapped == ("shop",)
        [row] = (await walk.get("/api/shop/items")).json["items"]
        assert row["size"] is None


@pytest.mark.parametrize(
    ("owner", "name", "fail", "code"),
    [
        pytest.param(build, "compile_model", failing(PLANTED), "PIM611", id="compiling"),
        pytest.param(Store, "plan", failing_later(PLANTED), "PIM611", id="planning"),
        pytest.param(Store, "bind", failing(PLANTED), "PIM611", id="binding"),
        pytest.param(Store, "expand", failing_later(PLANTED), "PIM611", id="expanding"),
        pytest.param(records, "record", failing(PLANTED), "PIM611", id="writing the catalog"),
        pytest.param(Store, "expand", refused, "PIM603", id="refused by the database"),
    ],
)
async def test_4_a_failure_about_one_model_refuses_that_file_and_its_last_good_revision_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, fail: Callable[..., Any], code: str
) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        revision, columns = walk.revision("shop"), tables(tmp_path / "data")
        with monkeypatch.context() as planted:
            planted.setattr(owner, name, fail)
            report = await walk.save("shop.yaml", model_text("shop", "color", "size"))

        assert not report.changed
        assert walk.revision("shop") is revision
        assert tables(tmp_path / "data") == columns
        assert await walk.state("shop.yaml") == "stale"
        assert await walk.codes("shop.yaml") == [code]

        assert (await walk.reload_all()).swapped == ("shop",)
        assert await walk.state("shop.yaml") == "live"


async def test_4_a_reload_that_is_abandoned_in_the_middle_frees_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        before = Before(walk)
        reached = asyncio.Event()

        async def hang(*_args: object) -> None:
            reached.set()
            await asyncio.Event().wait()

        with monkeypatch.context() as planted:
            planted.setattr(Store, "expand", hang)
            reloading = asyncio.create_task(walk.save("shop.yaml", model_text("shop", "size")))
            await reached.wait()
            reloading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reloading

        assert before.holds(walk)
        assert (await walk.see("shop.yaml")).swapped == ("shop",)


async def test_4_a_decision_that_cannot_be_written_down_does_not_take_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        before = Before(walk)
        with monkeypatch.context() as planted:
            planted.setattr(Store, "set_unloaded", failing_later(UNAVAILABLE))
            with pytest.raises(StoreUnavailableError):
                await walk.unload("shop")

        assert before.holds(walk)
        assert (await walk.get("/api/shop")).status == 200
        assert (await walk.unload("shop")).unloaded == ("shop",)


# -- 5, 6, 7: what a swap touches, what causes one, how many --------------------------------------


async def test_5_a_swap_leaves_the_revisions_of_other_models_the_same_objects(tmp_path: Path) -> None:
    loans = model_text("loans", "book: {type: reference, reference: library.Book}", entity="Loan")
    async with serving(tmp_path, {"shop.yaml": SHOP, "library.yaml": LIBRARY, "loans.yaml": loans}) as walk:
        others = {name: walk.revision(name) for name in ("library", "loans")}
        old = walk.revision("shop")
        await walk.save("shop.yaml", model_text("shop", "size"))

        assert walk.revision("shop") is not old
        assert {name: walk.revision(name) for name in others} == others

        # A dependant needs to know the target's key alone: another attribute is no matter of it.
        await walk.save("library.yaml", model_text("library", "author", "year", entity="Book"))
        assert walk.revision("library") is not others["library"]
        assert walk.revision("loans") is others["loans"]

        await walk.save("shop.yaml", "domain: shop\nentities: {")
        await walk.reload_all()
        assert walk.revision("loans") is others["loans"]


def touched(text: str) -> str:
    return text


def commented(text: str) -> str:
    return f"# nothing else is new\n{text}# at the end\n"


def reformatted(_text: str) -> str:
    document = {"domain": "shop", "entities": [{"name": "Item", "attributes": {"name": "string", "color": "string"}}]}
    return json.dumps(document, indent=4)


def reordered(_text: str) -> str:
    return "entities:\n  - attributes: {name: string, color: {type: string}}\n    name: Item\ndomain: shop\n"


@pytest.mark.parametrize("edit", [touched, commented, reformatted, reordered])
@pytest.mark.parametrize("full", [False, True], ids=["seen", "read again"])
async def test_6_a_change_that_means_the_same_causes_no_swap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: Callable[[str], str], full: bool
) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        table, generation = walk.gateway.table, walk.generation
        walk.write("shop.yaml", edit(SHOP))
        os.utime(walk.models / "shop.yaml", (1, 1))
        monkeypatch.setattr(build, "compile_model", failing(PLANTED))
        report = await (walk.reload_all() if full else walk.see("shop.yaml"))

        assert not report.changed
        assert report.unchanged == (() if edit is touched else ("shop",))
        assert walk.gateway.table is table
        assert walk.generation == report.generation == generation
        assert await walk.state("shop.yaml") == "live"


async def test_7_files_that_changed_together_become_one_swap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten changed files, a renamed one, a new and a deleted one: a checkout of another branch."""
    names = [f"m{number}" for number in range(10)]
    files = {f"{name}.yaml": model_text(name) for name in names}
    old_shop = {"shop.yaml": SHOP, "old.yaml": LIBRARY}
    async with serving(tmp_path, files | old_shop) as walk:
        generation, shop = walk.generation, walk.revision("shop")
        seen: list[World] = []
        swap = walk.gateway.swap
        monkeypatch.setattr(walk.gateway, "swap", lambda table: (seen.append(walk.reloader.world), swap(table)))
        for name in names:
            walk.write(f"{name}.yaml", model_text(name, "size"))
        (walk.models / "shop.yaml").rename(walk.models / "store.yaml")
        walk.delete("old.yaml")
        walk.write("new.yaml", model_text("fresh"))
        report = await walk.see(*files, "shop.yaml", "store.yaml", "old.yaml", "new.yaml")

        assert len(seen) == 1
        assert walk.generation == report.generation == generation + 1
        assert sorted(report.swapped) == names
        assert report.loaded == ("fresh",)
        assert report.unloaded == ("library",)
        assert walk.revision("shop") is shop
        assert await walk.state("store.yaml") == "live"


# -- 8: the document is of one generation ---------------------------------------------------------


async def test_8_the_document_is_of_one_generation_and_says_which(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP, "library.yaml": LIBRARY}) as walk:
        tags: dict[int, str] = {}
        for round_ in range(1, 8):
            attribute = f"a{walk.generation + 1}"
            shop, library = model_text("shop", attribute), model_text("library", attribute, entity="Book")
            walk.write("shop.yaml", shop)
            walk.write("library.yaml", library)
            reloading = asyncio.create_task(walk.see("shop.yaml", "library.yaml"))
            while not reloading.done():
                reply = await walk.get("/openapi.json")
                document = reply.json
                generation = document["x-watcherd-generation"]
                shown = {model: _numbered_attributes(document, model) for model in ("shop", "library")}
                expected = {f"a{generation}"} if generation > 1 else set()

                assert reply.generation == generation
                assert tags.setdefault(generation, reply.headers["etag"]) == reply.headers["etag"]
                assert "/api/shop/items" in document["paths"]
                assert shown == {"shop": expected, "library": expected}
                await asyncio.sleep(0)
            await reloading
            assert walk.generation == round_ + 1

        assert len(set(tags.values())) == len(tags) > 3
        last = await walk.get("/openapi.json")
        for condition in (last.headers["etag"], f"W/{last.headers['etag']}", f'"x", {last.headers["etag"]}'):
            assert (await walk.get("/openapi.json", if_none_match=condition)).status == 304
        assert (await walk.get("/openapi.json", if_none_match=tags[1])).status == 200


def _numbered_attributes(document: dict[str, Any], model: str) -> set[str]:
    """All attributes named `a1`, `a2`... in all schemas of a model."""
    return {
        name
        for schema, part in document["components"]["schemas"].items()
        if schema.lower().startswith(model)
        for name in part.get("properties", {})
        if re.fullmatch(r"a[0-9]+", name)
    }


# -- 10: swaps do not wait, drains are bounded and visible ----------------------------------------


async def test_10_a_swap_does_not_wait_for_a_drain_and_the_drain_is_shown(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        client, answering = walk.half_sent("/api/shop/items")
        await asyncio.sleep(0)
        assert len(walk.revision("shop").in_flight) == 1

        await walk.save("shop.yaml", model_text("shop", "size"))

        assert (await walk.get("/api/shop")).revision == 2
        assert not answering.done()
        [draining] = (await walk.listed("shop.yaml"))["draining"]
        assert (draining["revision"], draining["in_flight"]) == (1, 1)
        [holder] = draining["held_by"]
        assert (holder["method"], holder["path"]) == ("POST", "/api/shop/items")

        client.send_body(b' "cup", "color": "red"}')
        reply = await answering
        assert (reply.status, reply.revision, reply.generation) == (201, 1, 1)
        await drained(walk, "shop")
        assert (await walk.listed("shop.yaml"))["draining"] == []


async def test_10_the_number_of_revisions_that_drain_is_bounded(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}, deadlines=Deadlines(revisions=3)) as walk:
        held = []
        for number in range(6):
            held.append(walk.half_sent("/api/shop/items"))
            await asyncio.sleep(0)
            await walk.save("shop.yaml", model_text("shop", f"a{number}"))
        cut = [await answering for _, answering in held[:3]]

        assert [reply.status for reply in cut] == [503, 503, 503]
        assert [reply.revision for reply in cut] == [1, 2, 3]
        while len(walk.drains.draining("shop")) > 3:
            await asyncio.sleep(0)
        assert [item["revision"] for item in (await walk.listed("shop.yaml"))["draining"]] == [4, 5, 6]
        for client, answering in held[3:]:
            client.send_body(b'"cup"}')
            assert (await answering).status == 201


# -- 12: nothing stored is dropped by a file change -----------------------------------------------


async def test_12_a_removed_attribute_that_comes_back_has_its_values(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        row = await walk.post("/api/shop/items", {"name": "cup", "color": "red"})
        path = f"/api/shop/items/{row['id']}"
        await walk.save("shop.yaml", model_text("shop"))
        await drained(walk, "shop")
        assert "color" not in (await walk.get(path)).json
        assert (await walk.call("PATCH", path, {"name": "mug"})).status == 200

        await walk.save("shop.yaml", SHOP)

        assert (await walk.get(path)).json["color"] == "red"
        assert (await walk.get(path)).json["name"] == "mug"


async def test_12_a_removed_entity_that_comes_back_has_its_rows(tmp_path: Path) -> None:
    two = SHOP + "  - {name: Customer, attributes: {name: string}}\n"
    async with serving(tmp_path, {"shop.yaml": two}) as walk:
        row = await walk.post("/api/shop/customers", {"name": "Ada"})
        await walk.save("shop.yaml", SHOP)
        await drained(walk, "shop")
        assert (await walk.get("/api/shop/customers")).status == 404

        await walk.save("shop.yaml", two)

        assert (await walk.get("/api/shop/customers")).json["items"] == [row]


@pytest.mark.parametrize("restarted", [False, True], ids=["at once", "after a restart"])
async def test_12_a_removed_file_that_comes_back_has_its_rows(tmp_path: Path, restarted: bool) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        row = await walk.post("/api/shop/items", {"name": "cup", "color": "red"})
        await walk.remove("shop.yaml")
        await drained(walk, "shop")
        assert (await walk.get("/api/shop/items")).status == 404
        assert (await walk.get("/admin/pim")).json["pims"] == []
        if not restarted:
            await walk.save("again.yaml", SHOP)
            assert (await walk.get("/api/shop/items")).json["items"] == [row]
    if restarted:
        async with serving(tmp_path, {"again.yaml": SHOP}) as walk:
            assert (await walk.get("/api/shop/items")).json["items"] == [row]
