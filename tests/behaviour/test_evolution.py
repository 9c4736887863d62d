"""What a change does to stored data and to clients, told before and after; and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Walk, drained, model_text, serving
from watcherd import events

SHOP = model_text("shop", "mail")
SHOP_RENAMED = model_text("shop", "email: {type: string, renamed_from: mail}")


async def plan(walk: Walk, text: str, kind: str = "application/yaml") -> dict[str, Any]:
    reply = await walk.send("POST", "/admin/pim/plan", text.encode(), kind)
    assert reply.status == 200, reply.body
    answer: dict[str, Any] = reply.json
    return answer


async def roll_back(walk: Walk, model: str, revision: int) -> tuple[int, dict[str, Any]]:
    reply = await walk.call("POST", f"/admin/pim/{model}/rollback", {"revision": revision})
    return reply.status, reply.json


async def names(walk: Walk, path: str, attribute: str) -> list[object]:
    reply = await walk.get(path)
    assert reply.status == 200, reply.body
    return [row[attribute] for row in reply.json["items"]]


# -- renames ------------------------------------------------------------------------------------


async def test_a_request_that_is_held_open_across_a_rename_keeps_the_old_name(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        client, task = walk.half_sent("/api/shop/items", b'{"name": "a", "mail":')
        await walk.save("shop.yaml", SHOP_RENAMED)
        await walk.post("/api/shop/items", {"name": "b", "email": "new"})
        client.send_body(b'"old"}')
        reply = await task
        assert (reply.status, reply.json["mail"], reply.revision) == (201, "old", 1)
        assert sorted(map(str, await names(walk, "/api/shop/items", "email"))) == ["new", "old"]


async def test_a_renamed_model_takes_its_rows_its_revisions_and_its_numbers_along(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.post("/api/shop/items", {"name": "a"})
        client, task = walk.half_sent("/api/shop/items")
        renamed = model_text("store", "mail", extra="renamed_from: shop\n")
        report = await walk.save("shop.yaml", renamed)
        assert (report.loaded, report.unloaded) == (("store",), ("shop",))
        assert await names(walk, "/api/store/items", "name") == ["a"]
        assert (await walk.get("/api/shop/items")).status == 404
        client.send_body(b'"late"}')
        assert (await task).status == 201
        await drained(walk, "shop")
        assert (await walk.get("/api/store/items")).json["total"] == 2
        kept = (await walk.get("/admin/pim/store/revisions")).json["revisions"]
        assert [(one["revision"], one["serving"]) for one in kept] == [(2, True), (1, False)]
        reasons = [event.reason for event in walk.events if isinstance(event, events.ModelUnloaded)]
        assert reasons == ["renamed to store"]
    async with serving(tmp_path) as again:
        assert (await again.get("/api/store/items")).json["total"] == 2


async def test_a_model_is_not_renamed_while_another_file_speaks_for_its_old_name(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.post("/api/shop/items", {"name": "a"})
        await walk.save("store.yaml", model_text("store", "mail", extra="renamed_from: shop\n"))
        assert await walk.codes("store.yaml") == ["PIM610"]
        assert await names(walk, "/api/shop/items", "name") == ["a"]
        await walk.remove("shop.yaml")
        assert await names(walk, "/api/store/items", "name") == ["a"]


async def test_a_rename_that_is_refused_leaves_the_old_name_in_service(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.post("/api/shop/items", {"name": "a"})
        await walk.save(
            "shop.yaml", model_text("store", "mail: {type: string, required: true}", extra="renamed_from: shop\n")
        )
        assert await walk.codes("shop.yaml") == ["PIM603"]
        assert await names(walk, "/api/shop/items", "name") == ["a"]
        assert await walk.state("shop.yaml") == "stale"


async def test_the_last_good_revision_takes_rows_though_what_it_was_to_refer_to_was_refused(tmp_path: Path) -> None:
    a = model_text("a", entity="Person")
    b = model_text("b", "owner: {reference: a.Person}")
    async with serving(tmp_path, {"a.yaml": a, "b.yaml": b}) as walk:
        await walk.post("/api/b/items", {})
        walk.write("a.yaml", model_text("a", "tag: {reference: b.Tag}", entity="Person"))
        tag = "  - name: Tag\n    attributes: {text: string}\n"
        walk.write("b.yaml", b.replace("name: string", "name: {type: string, required: true}") + tag)
        await walk.see("a.yaml", "b.yaml")
        assert [await walk.codes(file) for file in ("a.yaml", "b.yaml")] == [["PIM503"], ["PIM603"]]
        person = await walk.post("/api/a/people", {"name": "x"})
        assert (await walk.call("DELETE", f"/api/a/people/{person['id']}")).status == 204
        await walk.save("b.yaml", b + tag)
        assert [await walk.codes(file) for file in ("a.yaml", "b.yaml")] == [[], []]
        lost = await walk.call("POST", "/api/a/people", {"tag": person["id"]})
        assert (lost.status, lost.json["constraint"]) == (409, "tag refers to Tag")


async def test_what_may_have_been_a_rename_is_a_warning_where_the_attribute_is(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.save("shop.yaml", model_text("shop", "email"))
        (found,) = (await walk.listed("shop.yaml"))["diagnostics"]
        assert (found["code"], found["severity"], found["line"]) == ("PIM612", "warning", 6)
        assert await walk.state("shop.yaml") == "live"


async def test_an_attribute_that_is_back_and_empty_is_asked_about_and_renamed_after_all(tmp_path: Path) -> None:
    email = model_text("shop", "email")
    async with serving(tmp_path, {"shop.yaml": email}) as walk:
        await walk.save("shop.yaml", SHOP)  # nothing was ever stored as `email`
        await walk.post("/api/shop/items", {"name": "a", "mail": "x"})
        await walk.save("shop.yaml", email)
        (found,) = (await walk.listed("shop.yaml"))["diagnostics"]
        assert (found["code"], found["severity"], found["line"]) == ("PIM612", "warning", 6)
        assert "email is back and empty" in found["message"]
        await walk.save("shop.yaml", SHOP)
        assert [one["code"] for one in (await plan(walk, email))["diagnostics"]] == ["PIM612"]
        await walk.save("shop.yaml", SHOP_RENAMED)
        assert await walk.codes("shop.yaml") == []
        assert await names(walk, "/api/shop/items", "email") == ["x"]


async def test_an_attribute_that_is_back_with_what_it_stored_is_not_asked_about(tmp_path: Path) -> None:
    email = model_text("shop", "email")
    async with serving(tmp_path, {"shop.yaml": email}) as walk:
        await walk.post("/api/shop/items", {"name": "a", "email": "x"})
        await walk.save("shop.yaml", SHOP)
        await walk.save("shop.yaml", email)
        assert await walk.codes("shop.yaml") == []
        assert await names(walk, "/api/shop/items", "email") == ["x"]


async def test_an_entity_whose_rename_was_forgotten_is_asked_about_and_renamed_after_all(tmp_path: Path) -> None:
    thing = SHOP.replace("name: Item", "name: Thing")
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.post("/api/shop/items", {"name": "a"})
        await walk.save("shop.yaml", thing)
        (found,) = (await walk.listed("shop.yaml"))["diagnostics"]
        assert (found["code"], found["severity"], found["line"]) == ("PIM612", "warning", 3)
        assert "renamed_from: Item" in found["hint"]
        await walk.save("shop.yaml", SHOP)
        assert await names(walk, "/api/shop/items", "name") == ["a"]
        await walk.save("shop.yaml", thing.replace("name: Thing", "name: Thing\n    renamed_from: Item"))
        assert await walk.codes("shop.yaml") == []
        assert await names(walk, "/api/shop/things", "name") == ["a"]


@pytest.mark.parametrize("restart", [False, True])
async def test_a_model_whose_rename_was_forgotten_is_asked_about_and_renamed_after_all(
    tmp_path: Path, restart: bool
) -> None:
    store = model_text("store", "mail")
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.post("/api/shop/items", {"name": "a"})
        if not restart:
            await walk.save("shop.yaml", store)
            gone = [event.reason for event in walk.events if isinstance(event, events.ModelUnloaded)]
            assert gone == ["its file declares store"]
            await asked_about_and_renamed(walk, store)
    if restart:
        async with serving(tmp_path, {"shop.yaml": store}) as again:
            await asked_about_and_renamed(again, store)


async def asked_about_and_renamed(walk: Walk, store: str) -> None:
    """The file says `store` where it said `shop`: follow the hint of the warning."""
    (found,) = (await walk.listed("shop.yaml"))["diagnostics"]
    assert (found["code"], found["severity"], found["line"]) == ("PIM612", "warning", 1)
    assert "renamed_from: shop" in found["hint"]
    assert await names(walk, "/api/store/items", "name") == []
    await walk.save("shop.yaml", SHOP)
    assert await names(walk, "/api/shop/items", "name") == ["a"]
    await walk.save("shop.yaml", store.replace("domain: store", "domain: store\nrenamed_from: shop"))
    assert await walk.codes("shop.yaml") == []
    assert await names(walk, "/api/store/items", "name") == ["a"]


async def test_a_file_that_gets_another_model_is_not_asked_about(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.save("shop.yaml", model_text("store", "mail").replace("name: Item", "name: Thing"))
        assert (await walk.listed("shop.yaml"))["diagnostics"] == []


# -- plans --------------------------------------------------------------------------------------


async def test_a_plan_tells_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        before = (walk.generation, await walk.store.catalog())
        answer = await plan(walk, SHOP_RENAMED)
        assert answer["diagnostics"] == []
        told = answer["plan"]
        assert (told["model"], told["new"], told["breaking"], told["applicable"]) == ("shop", False, True, True)
        assert [(one["class"], one["text"]) for one in told["tables"]] == [("rename", "rename Item.mail to email")]
        assert [(one["change"], one["subject"], one["breaking"]) for one in told["api"]] == [
            ("removed", "Item.mail", True),
            ("added", "Item.email", False),
        ]
        assert (walk.generation, await walk.store.catalog()) == before
        assert (await plan(walk, SHOP_RENAMED))["plan"]["hash"] == told["hash"]


async def test_a_plan_of_another_type_tells_that_it_is_a_rewrite(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": model_text("shop", "size: integer")}) as walk:
        told = (await plan(walk, model_text("shop", "size: {type: decimal, scale: 2}")))["plan"]
        assert [(one["class"], one["text"]) for one in told["tables"]] == [
            ("depends on the data", "refused while rows of Item.size cannot be kept exactly as decimal(18,2)"),
            ("additive", "add a column for Item.size as decimal(18,2)"),
            ("rewrite", "rewrite Item.size from integer to decimal(18,2)"),
            ("rewrite", "keep Item.size as integer in step while older revisions are in use"),
            ("loosened after the drain", "stop keeping the earlier type of Item.size in step"),
        ]
        assert [(one["subject"], one["breaking"]) for one in told["api"]] == [("Item.size", True)]


async def test_a_plan_of_what_is_served_is_empty(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        told = (await plan(walk, SHOP))["plan"]
        assert (told["tables"], told["api"], told["in_the_way"], told["breaking"]) == ([], [], [], False)


async def test_a_plan_names_the_rows_in_the_way_and_its_hash_does_not_depend_on_them(tmp_path: Path) -> None:
    strict = model_text("shop", "mail: {type: string, required: true}")
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        free = (await plan(walk, strict))["plan"]
        row = await walk.post("/api/shop/items", {"name": "a"})
        answer = await plan(walk, strict)
        (found,) = answer["diagnostics"]
        assert (found["code"], found["severity"], found["line"]) == ("PIM603", "error", 6)
        (rows,) = answer["plan"]["in_the_way"]
        assert (rows["rows"], rows["first_ids"], answer["plan"]["applicable"]) == (1, [row["id"]], False)
        assert answer["plan"]["hash"] == free["hash"]


async def test_the_log_names_the_plan_that_was_followed_and_what_breaks(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        told = (await plan(walk, SHOP_RENAMED))["plan"]
        await walk.save("shop.yaml", SHOP_RENAMED)
        applied = [event for event in walk.events if isinstance(event, events.SchemaApplied)][-1]
        assert (applied.plan, applied.breaking) == (told["hash"], ("Item.mail",))
        await drained(walk, "shop")


@pytest.mark.parametrize("kind", ["application/yaml", "text/yaml; charset=utf-8", "application/x-yaml", "text/plain"])
async def test_a_plan_takes_every_content_type_of_yaml(tmp_path: Path, kind: str) -> None:
    async with serving(tmp_path, {}) as walk:
        assert (await plan(walk, SHOP, kind))["plan"]["new"] is True


async def test_a_plan_of_a_broken_text_has_its_findings_and_of_another_kind_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, {}) as walk:
        answer = await plan(walk, "domain: shop\nentities: 5\n")
        assert (answer["plan"], answer["diagnostics"][0]["code"]) == (None, "PIM103")
        answer = await plan(walk, model_text("shop", "who: {reference: crm.User}"))
        assert (answer["plan"], answer["diagnostics"][0]["code"]) == (None, "PIM502")
        assert (await walk.send("POST", "/admin/pim/plan", b"{}", "application/json")).status == 415
        assert (await walk.send("POST", "/admin/pim/plan", b" " * 2_000_000, "text/yaml")).status == 413


# -- revisions and rollback ---------------------------------------------------------------------


async def test_a_rollback_serves_the_old_source_as_a_new_revision_until_the_file_changes(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.post("/api/shop/items", {"name": "a", "mail": "m"})
        await walk.save("shop.yaml", model_text("shop", "phone: integer"))
        assert await roll_back(walk, "shop", 1) == (
            200,
            {"status": "success", "result": {"pim_name": "shop", "revision": 3, "of": 1, "state": "rolled_back"}},
        )
        assert await names(walk, "/api/shop/items", "mail") == ["m"]
        assert await walk.state("shop.yaml") == "rolled_back"
        assert [event.revision for event in walk.events if isinstance(event, events.ModelRolledBack)] == [3]
        await walk.reload_all("reconcile")
        assert walk.revision("shop").number == 3
        await walk.save("shop.yaml", model_text("shop", "phone: integer", "color"))
        assert await walk.state("shop.yaml") == "live"
        assert await names(walk, "/api/shop/items", "color") == [None]


async def test_a_rollback_survives_a_restart_and_ends_with_the_file(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.save("shop.yaml", model_text("shop", "phone"))
        await roll_back(walk, "shop", 1)
    async with serving(tmp_path) as again:
        assert await again.state("shop.yaml") == "rolled_back"
        assert again.revision("shop").number == 3
        assert not [event for event in again.events if isinstance(event, events.ModelRolledBack)]
        again.write("shop.yaml", model_text("shop", "phone", "color"))
    async with serving(tmp_path) as changed:
        assert await changed.state("shop.yaml") == "live"
        assert await names(changed, "/api/shop/items", "phone") == []


async def test_a_load_ends_a_rollback_unless_the_file_cannot_serve(tmp_path: Path) -> None:
    strict = model_text("shop", "mail: {type: string, required: true}", "phone")
    order = {"pim_name": "shop"}
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.save("shop.yaml", strict)
        assert (await roll_back(walk, "shop", 1))[0] == 200
        await walk.post("/api/shop/items", {"name": "a"})
        rolled_back = walk.revision("shop")
        refused = await walk.call("POST", "/admin/pim/load", order)
        assert (refused.status, [one["code"] for one in refused.json["diagnostics"]]) == (422, ["PIM603"])
        assert (await walk.state("shop.yaml"), walk.revision("shop")) == ("rolled_back", rolled_back)
        assert (await walk.call("PATCH", await only(walk), {"mail": "m"})).status == 200
        trial = await walk.call("POST", "/admin/pim/load", {**order, "dry_run": True})
        assert (trial.status, await walk.state("shop.yaml")) == (200, "rolled_back")
        done = await walk.call("POST", "/admin/pim/load", order)
        assert (done.status, done.json["result"]["revision"]) == (200, 4)
        assert await walk.state("shop.yaml") == "live"
        assert await names(walk, "/api/shop/items", "phone") == [None]
        assert (await walk.call("POST", "/admin/pim/load", order)).status == 409
    async with serving(tmp_path) as again:
        assert (await again.state("shop.yaml"), again.revision("shop").number) == ("live", 4)


async def test_what_was_rolled_back_and_unloaded_is_loaded_as_its_file_says(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.save("shop.yaml", model_text("shop", "phone"))
        await roll_back(walk, "shop", 1)
        await walk.unload("shop")
        assert await walk.state("shop.yaml") == "unloaded"
        assert (await walk.call("POST", "/admin/pim/load", {"pim_name": "shop"})).status == 200
        assert await walk.state("shop.yaml") == "live"
        assert await names(walk, "/api/shop/items", "phone") == []
    async with serving(tmp_path) as again:
        assert await again.state("shop.yaml") == "live"


async def only(walk: Walk) -> str:
    """The path of the one row."""
    (key,) = await names(walk, "/api/shop/items", "id")
    return f"/api/shop/items/{key}"


async def test_a_rollback_undoes_a_rename_and_the_data_follows_back(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.post("/api/shop/items", {"name": "a", "mail": "m"})
        await walk.save("shop.yaml", SHOP_RENAMED)
        assert (await roll_back(walk, "shop", 1))[0] == 200
        assert await names(walk, "/api/shop/items", "mail") == ["m"]


async def test_a_stale_model_can_be_rolled_back_and_its_findings_are_still_shown(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.save("shop.yaml", model_text("shop", "phone"))
        await walk.save("shop.yaml", "domain: shop\nentities: 5\n")
        assert await walk.state("shop.yaml") == "stale"
        assert (await roll_back(walk, "shop", 1))[0] == 200
        assert await walk.state("shop.yaml") == "rolled_back"
        assert await walk.codes("shop.yaml") == ["PIM103"]
        assert await names(walk, "/api/shop/items", "mail") == []


async def test_a_rollback_that_the_data_does_not_allow_is_refused_with_the_rows(tmp_path: Path) -> None:
    strict = model_text("shop", "mail: {type: string, required: true}")
    async with serving(tmp_path, {"shop.yaml": strict}) as walk:
        await walk.save("shop.yaml", SHOP)
        await walk.post("/api/shop/items", {"name": "a"})
        before = (walk.generation, walk.revision("shop"), await walk.store.catalog())
        status, problem = await roll_back(walk, "shop", 1)
        assert (status, problem["type"]) == (409, "/problems/rollback-refused")
        assert [item["code"] for item in problem["diagnostics"]] == ["PIM603"]
        assert (walk.generation, walk.revision("shop"), await walk.store.catalog()) == before
        assert await walk.state("shop.yaml") == "live"


async def test_a_rollback_to_what_refers_to_a_model_that_is_gone_is_refused(tmp_path: Path) -> None:
    with_reference = model_text("shop", "who: {reference: crm.Item}")
    async with serving(tmp_path, {"crm.yaml": model_text("crm"), "shop.yaml": with_reference}) as walk:
        await walk.save("shop.yaml", SHOP)
        await walk.remove("crm.yaml")
        status, problem = await roll_back(walk, "shop", 1)
        assert (status, problem["diagnostics"][0]["code"]) == (409, "PIM502")


@pytest.mark.parametrize(
    ("model", "revision", "status", "kind"),
    [
        ("shop", 9, 404, "no-such-revision"),
        ("shop", 2, 409, "rollback-refused"),
        ("nope", 1, 404, "no-such-model"),
        ("gone", 1, 404, "no-such-model"),
    ],
)
async def test_a_rollback_without_a_sense_is_refused(
    tmp_path: Path, model: str, revision: int, status: int, kind: str
) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP, "gone.yaml": model_text("gone")}) as walk:
        await walk.save("shop.yaml", model_text("shop", "phone"))
        await walk.unload("gone")
        found, problem = await roll_back(walk, model, revision)
        assert (found, problem["type"]) == (status, f"/problems/{kind}")
        assert (await walk.get("/admin/pim/nope/revisions")).status == 404
