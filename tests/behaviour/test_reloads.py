"""What a reload makes of files: who speaks for a model, what refers to what, what a restart remembers."""

import asyncio
import re
import shutil
import weakref
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Walk, counting_rounds, drained, model_text, serving
from watcherd import intake, pace, reload
from watcherd.directory import look
from watcherd.draft import Draft
from watcherd.errors import StoreUnavailableError
from watcherd.events import ModelDrained, ModelSwapped, ReloadFinished, SchemaApplied
from watcherd.gateway import RouteTable
from watcherd.pim import Parsed
from watcherd.pim.linked import LinkedModel
from watcherd.reload import SIDE_BY_SIDE
from watcherd.store import Record, Rejection, SchemaPlan, StalePlanError, Store
from watcherd.watch import ChangeSet, OvertakenError

SHOP = model_text("shop", "color")
BIGGER_SHOP = model_text("shop", "color", "size")
SMALLER_SHOP = model_text("shop")
BROKEN_SHOP = "domain: shop\nentities:\n  - name: Item\n    attributes: {name: strnig}\n"
LIBRARY = model_text("library", "author", entity="Book")
LOANS = model_text("loans", "book: {type: reference, reference: library.Book}", entity="Loan")


async def attributes(walk: Walk, path: str) -> set[str]:
    """What the rows of a collection have; a row is stored for it when there is none."""
    if not (await walk.get(path)).json["items"]:
        await walk.post(path, {"name": "x"})
    return set((await walk.get(path)).json["items"][0]) - {"id", "created_at", "updated_at"}


# -- which file speaks for a model ----------------------------------------------------------------


async def test_of_two_files_of_one_domain_the_first_stays_and_the_other_is_listed_with_its_name(tmp_path: Path) -> None:
    async with serving(tmp_path, {"b.yaml": SHOP}) as walk:
        await walk.save("a.yaml", BIGGER_SHOP)

        assert await walk.state("b.yaml") == "live"
        assert await walk.state("a.yaml") == "rejected"
        [conflict] = (await walk.listed("a.yaml"))["diagnostics"]
        assert conflict["code"] == "PIM501"
        assert "b.yaml" in conflict["message"]
        assert (conflict["line"], conflict["column"]) == (1, 9)
        assert await attributes(walk, "/api/shop/items") == {"name", "color"}


async def test_at_a_first_start_the_first_file_by_name_speaks_for_the_domain(tmp_path: Path) -> None:
    async with serving(tmp_path, {"b.yaml": SHOP, "a.yaml": BIGGER_SHOP}) as walk:
        assert await walk.state("a.yaml") == "live"
        assert await walk.codes("b.yaml") == ["PIM501"]


async def test_when_the_owner_is_deleted_the_other_file_takes_over_in_the_same_reload(tmp_path: Path) -> None:
    async with serving(tmp_path, {"a.yaml": SHOP, "b.yaml": BIGGER_SHOP}) as walk:
        row = await walk.post("/api/shop/items", {"name": "cup", "color": "red"})
        report = await walk.remove("a.yaml")

        assert (report.swapped, report.unloaded, report.loaded) == (("shop",), (), ())
        assert await walk.state("b.yaml") == "live"
        assert (await walk.get("/api/shop/items")).json["items"] == [row | {"size": None}]


async def test_when_the_owner_chooses_another_domain_the_other_file_takes_over_in_the_same_reload(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, {"a.yaml": SHOP, "b.yaml": BIGGER_SHOP}) as walk:
        generation = walk.generation
        report = await walk.save("a.yaml", model_text("store", "color"))

        assert (report.swapped, report.loaded) == (("shop",), ("store",))
        assert walk.generation == generation + 1
        assert await walk.state("a.yaml") == await walk.state("b.yaml") == "live"


async def test_an_owner_that_breaks_keeps_its_model(tmp_path: Path) -> None:
    async with serving(tmp_path, {"a.yaml": SHOP, "b.yaml": BIGGER_SHOP}) as walk:
        revision = walk.revision("shop")
        report = await walk.save("a.yaml", BROKEN_SHOP)

        assert not report.changed
        assert walk.revision("shop") is revision
        assert await walk.state("a.yaml") == "stale"
        assert await walk.codes("b.yaml") == ["PIM501"]


async def test_a_file_that_broke_beyond_its_domain_keeps_its_model(tmp_path: Path) -> None:
    async with serving(tmp_path, {"a.yaml": SHOP, "b.yaml": BIGGER_SHOP}) as walk:
        await walk.save("a.yaml", "{{{ no model at all")

        assert (await walk.listed("a.yaml"))["name"] == "shop"
        assert await walk.state("a.yaml") == "stale"
        assert await walk.state("b.yaml") == "rejected"


async def test_a_renamed_file_keeps_its_model_without_a_swap(tmp_path: Path) -> None:
    async with serving(tmp_path, {"a.yaml": SHOP}) as walk:
        table = walk.gateway.table
        (walk.models / "a.yaml").rename(walk.models / "z.yaml")
        report = await walk.see("a.yaml", "z.yaml")

        assert not report.changed
        assert walk.gateway.table is table
        assert await walk.state("z.yaml") == "live"
        assert [entry["file"] for entry in (await walk.get("/admin/pim")).json["pims"]] == ["z.yaml"]


async def test_a_renamed_file_still_speaks_for_its_model_after_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path, {"a.yaml": SHOP, "b.yaml": BIGGER_SHOP}) as walk:
        (walk.models / "a.yaml").rename(walk.models / "z.yaml")
        await walk.see("a.yaml", "z.yaml")
        assert await walk.state("z.yaml") == "live"

    async with serving(tmp_path) as walk:
        assert await walk.state("z.yaml") == "live"
        assert await walk.codes("b.yaml") == ["PIM501"]
        assert walk.revision("shop").number == 1


async def test_a_file_that_changes_its_domain_takes_one_model_out_of_service_and_another_one_in(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, {"a.yaml": SHOP}) as walk:
        row = await walk.post("/api/shop/items", {"name": "cup", "color": "red"})
        report = await walk.save("a.yaml", model_text("store", "color"))

        assert (report.loaded, report.unloaded) == (("store",), ("shop",))
        assert (await walk.get("/api/shop")).status == 404
        assert (await walk.get("/api/store/items")).json["items"] == []
        await walk.save("a.yaml", SHOP)
        assert (await walk.get("/api/shop/items")).json["items"] == [row]


async def test_two_files_can_exchange_their_domains_in_one_swap(tmp_path: Path) -> None:
    async with serving(tmp_path, {"a.yaml": SHOP, "b.yaml": LIBRARY}) as walk:
        table = walk.gateway.table
        walk.write("a.yaml", LIBRARY)
        walk.write("b.yaml", SHOP)
        report = await walk.see("a.yaml", "b.yaml")

        assert not report.changed
        assert walk.gateway.table is table
        assert (await walk.listed("a.yaml"))["name"] == "library"
        assert (await walk.listed("b.yaml"))["name"] == "shop"


async def test_a_file_that_wants_an_owned_domain_goes_on_serving_its_former_one(tmp_path: Path) -> None:
    async with serving(tmp_path, {"a.yaml": SHOP, "b.yaml": LIBRARY}) as walk:
        table = walk.gateway.table
        await walk.save("a.yaml", LIBRARY)

        assert walk.gateway.table is table
        assert (await walk.listed("a.yaml"))["name"] == "shop"
        assert await walk.state("a.yaml") == "stale"
        assert await walk.codes("a.yaml") == ["PIM501"]


async def test_a_domain_that_its_file_has_left_goes_to_the_file_that_declares_it(tmp_path: Path) -> None:
    files = {"a.yaml": SHOP, "b.yaml": LIBRARY}
    async with serving(tmp_path, files) as walk:
        await walk.save("a.yaml", LIBRARY)
        await walk.save("new.yaml", BIGGER_SHOP)

        assert await walk.state("new.yaml") == "live"
        assert await walk.state("a.yaml") == "rejected"
        assert await walk.codes("a.yaml") == ["PIM501"]
        assert await attributes(walk, "/api/shop/items") == {"name", "color", "size"}

    async with serving(tmp_path) as walk:
        assert await walk.state("new.yaml") == "live"
        assert await attributes(walk, "/api/shop/items") == {"name", "color", "size"}


async def test_a_domain_that_its_file_has_left_stays_with_it_while_nobody_else_is_valid(tmp_path: Path) -> None:
    async with serving(tmp_path, {"a.yaml": SHOP, "b.yaml": LIBRARY}) as walk:
        served = walk.revision("shop")
        await walk.save("a.yaml", LIBRARY)
        await walk.save("new.yaml", BROKEN_SHOP)

        assert await walk.state("a.yaml") == "stale"
        assert await walk.state("new.yaml") == "rejected"
        assert walk.revision("shop") is served


# -- models that refer to others ------------------------------------------------------------------


async def test_a_model_that_refers_to_a_missing_one_is_tried_again_when_that_appears(tmp_path: Path) -> None:
    async with serving(tmp_path, {"loans.yaml": LOANS}) as walk:
        assert await walk.state("loans.yaml") == "rejected"
        assert await walk.codes("loans.yaml") == ["PIM502"]

        await walk.save("library.yaml", model_text("library", entity="Scroll"))
        assert await walk.codes("loans.yaml") == ["PIM503"]

        report = await walk.save("library.yaml", LIBRARY)
        assert report.loaded == ("loans",)
        assert await walk.codes("loans.yaml") == []
        book = await walk.post("/api/library/books", {"name": "Emma"})
        loan = {"name": "first", "book": book["id"]}
        assert (await walk.call("POST", "/api/loans/loans", loan)).status == 201
        assert (await walk.call("POST", "/api/loans/loans", loan | {"book": loan["name"]})).status == 422


async def test_both_models_of_a_reference_may_come_in_one_reload_whatever_their_names(tmp_path: Path) -> None:
    async with serving(tmp_path, {"a.yaml": LOANS, "b.yaml": LIBRARY}) as walk:
        assert sorted(walk.gateway.table.revisions) == ["library", "loans"]
        assert walk.generation == 1


@pytest.mark.parametrize("text", [None, model_text("library", entity="Scroll")], ids=["no model", "no entity"])
async def test_when_a_target_goes_away_its_dependant_is_stale_and_serves_on(tmp_path: Path, text: str | None) -> None:
    async with serving(tmp_path, {"library.yaml": LIBRARY, "loans.yaml": LOANS}) as walk:
        book = await walk.post("/api/library/books", {"name": "Emma"})
        await walk.post("/api/loans/loans", {"name": "first", "book": book["id"]})
        revision = walk.revision("loans")
        await (walk.remove("library.yaml") if text is None else walk.save("library.yaml", text))

        assert walk.revision("loans") is revision
        assert await walk.state("loans.yaml") == "stale"
        assert await walk.codes("loans.yaml") == ["PIM502" if text is None else "PIM503"]
        assert (await walk.get("/api/loans/loans")).json["total"] == 1
        assert (await walk.post("/api/loans/loans", {"name": "next", "book": book["id"]}))["name"] == "next"

        await walk.save("library.yaml", LIBRARY)
        assert await walk.state("loans.yaml") == "live"
        assert walk.revision("loans") is revision
        assert (await walk.get(f"/api/library/books/{book['id']}")).json["name"] == "Emma"


async def test_a_dependant_whose_target_is_gone_serves_on_after_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path, {"library.yaml": LIBRARY, "loans.yaml": LOANS}) as walk:
        await walk.post("/api/loans/loans", {"name": "first"})
        await walk.remove("library.yaml")

    async with serving(tmp_path) as walk:
        assert await walk.state("loans.yaml") == "stale"
        assert (await walk.get("/api/loans/loans")).json["total"] == 1


async def test_dependants_are_compiled_again_when_what_they_know_of_their_target_changes(tmp_path: Path) -> None:
    described = LIBRARY.replace("name: Book\n", "name: Book\n    plural: volumes\n")
    async with serving(tmp_path, {"library.yaml": LIBRARY, "loans.yaml": LOANS, "shop.yaml": SHOP}) as walk:
        shop, loans = walk.revision("shop"), walk.revision("loans")
        report = await walk.save("library.yaml", described)

        assert sorted(report.swapped) == ["library", "loans"]
        assert walk.revision("loans").number == loans.number + 1
        assert walk.revision("shop") is shop
        [target] = walk.revision("loans").linked.targets.values()
        assert target.plural == "volumes"


async def test_a_target_whose_key_changes_is_refused_and_its_dependant_stays_as_it_is(tmp_path: Path) -> None:
    keyed = LIBRARY.replace("      author", "      isbn: {type: string, primary_key: true}\n      author")
    async with serving(tmp_path, {"library.yaml": LIBRARY, "loans.yaml": LOANS}) as walk:
        table = walk.gateway.table
        await walk.save("library.yaml", keyed)

        assert walk.gateway.table is table
        assert await walk.codes("library.yaml") == ["PIM602"]
        assert await walk.state("loans.yaml") == "live"


# -- what a restart remembers ---------------------------------------------------------------------


async def test_an_unchanged_start_keeps_the_revision_numbers(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP, "library.yaml": LIBRARY, "loans.yaml": LOANS}) as walk:
        await walk.save("shop.yaml", BIGGER_SHOP)
        numbers = {name: item.number for name, item in walk.gateway.table.revisions.items()}
        assert numbers == {"shop": 2, "library": 1, "loans": 1}

    async with serving(tmp_path) as walk:
        assert {name: item.number for name, item in walk.gateway.table.revisions.items()} == numbers
        assert (await walk.reload_all()).swapped == ()


async def test_the_numbers_of_revisions_never_go_back(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.save("shop.yaml", BIGGER_SHOP)
        await walk.remove("shop.yaml")
        await walk.save("shop.yaml", SHOP)
        assert walk.revision("shop").number == 3
        await walk.remove("shop.yaml")

    async with serving(tmp_path, {"shop.yaml": BIGGER_SHOP}) as walk:
        assert walk.revision("shop").number == 4
        await walk.save("shop.yaml", BROKEN_SHOP)
        await walk.save("shop.yaml", SHOP)
        assert walk.revision("shop").number == 5


async def test_a_model_that_was_unloaded_stays_so_over_restarts_until_it_is_loaded(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP, "library.yaml": LIBRARY}) as walk:
        row = await walk.post("/api/shop/items", {"name": "cup", "color": "red"})
        await walk.unload("shop")
        assert await walk.state("shop.yaml") == "unloaded"

    async with serving(tmp_path) as walk:
        assert await walk.state("shop.yaml") == "unloaded"
        assert (await walk.get("/api/shop")).status == 404
        assert (await walk.get("/api/library")).status == 200
        await walk.save("shop.yaml", BIGGER_SHOP)
        await walk.reload_all()
        assert await walk.state("shop.yaml") == "unloaded"
        report = await walk.load("shop.yaml")
        assert report.loaded == ("shop",)
        assert (await walk.get("/api/shop/items")).json["items"] == [row | {"size": None}]

    async with serving(tmp_path) as walk:
        assert await walk.state("shop.yaml") == "live"


async def test_a_decision_to_unload_goes_with_the_file(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.unload("shop")
        await walk.remove("shop.yaml")
        await walk.save("shop.yaml", SHOP)
        assert await walk.state("shop.yaml") == "live"

    async with serving(tmp_path) as walk:
        assert await walk.state("shop.yaml") == "live"


async def test_loading_a_file_with_errors_leaves_the_model_unloaded(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.unload("shop")
        walk.write("shop.yaml", BROKEN_SHOP)
        report = await walk.load("shop.yaml")

        assert not report.changed
        assert await walk.state("shop.yaml") == "unloaded"


async def test_at_a_start_a_broken_file_serves_its_last_good_source(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        row = await walk.post("/api/shop/items", {"name": "cup", "color": "red"})

    async with serving(tmp_path, {"shop.yaml": BROKEN_SHOP}) as walk:
        assert await walk.state("shop.yaml") == "stale"
        assert await walk.codes("shop.yaml") == ["PIM207"]
        assert (await walk.get("/api/shop/items")).json["items"] == [row]
        assert walk.revision("shop").number == 1
        report = await walk.save("shop.yaml", BIGGER_SHOP)
        assert report.swapped == ("shop",)
        assert walk.revision("shop").number == 2


async def test_at_a_start_what_the_database_refuses_serves_its_last_good_source(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.post("/api/shop/items", {"name": "cup", "color": "red"})

    async with serving(tmp_path, {"shop.yaml": model_text("shop", "color: integer")}) as walk:
        assert await walk.state("shop.yaml") == "stale"
        assert await walk.codes("shop.yaml") == ["PIM601"]
        assert (await walk.get("/api/shop/items")).json["items"][0]["color"] == "red"


async def test_a_broken_file_that_never_served_serves_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": BROKEN_SHOP}) as walk:
        assert await walk.state("shop.yaml") == "rejected"
        assert (await walk.get("/api/shop")).status == 404


async def test_a_directory_that_is_missing_at_a_start_is_stood_in_for_by_the_catalog(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP, "library.yaml": LIBRARY, "loans.yaml": LOANS}) as walk:
        row = await walk.post("/api/shop/items", {"name": "cup", "color": "red"})
        await walk.unload("library")
    shutil.rmtree(tmp_path / "models")

    async with serving(tmp_path) as walk:
        assert (await walk.get("/api/shop/items")).json["items"] == [row]
        assert await walk.state("shop.yaml") == "live"
        assert await walk.state("library.yaml") == "unloaded"
        assert (await walk.get("/api/loans")).status == 200
        walk.models.mkdir()
        walk.write("shop.yaml", BIGGER_SHOP)
        report = await walk.reload_all("reconcile")
        assert report.swapped == ("shop",)
        assert report.unloaded == ("loans",)


@pytest.mark.parametrize("full", [False, True])
async def test_a_directory_that_goes_away_takes_no_model_with_it(tmp_path: Path, full: bool) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        revision = walk.revision("shop")
        shutil.rmtree(walk.models)
        await (walk.reload_all("reconcile") if full else walk.see("shop.yaml"))

        assert walk.revision("shop") is revision
        assert await walk.state("shop.yaml") == "live"


# -- when a content counts ------------------------------------------------------------------------


async def test_a_write_in_place_that_takes_something_away_counts_once_it_has_stood_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        revision = walk.revision("shop")
        walk.write_in_place("shop.yaml", SMALLER_SHOP)
        report = await walk.see("shop.yaml")

        assert not report.changed
        assert walk.revision("shop") is revision
        [(delay, path)] = walk.rechecks
        assert path == "shop.yaml"
        assert 0 < delay <= intake.STILL_SECONDS

        monkeypatch.setattr(intake, "STILL_SECONDS", 0)
        report = await walk.reloader.reload(ChangeSet(frozenset({"shop.yaml"}), full=False, reason="recheck"))
        assert report.swapped == ("shop",)
        assert len(walk.rechecks) == 1


@pytest.mark.parametrize("reason", ["reconcile", "restart", "retry"])
async def test_a_reconcile_in_the_middle_of_a_slow_write_evicts_nothing(tmp_path: Path, reason: str) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        walk.write_in_place("shop.yaml", SMALLER_SHOP)
        assert not (await walk.reload_all(reason)).changed
        assert len(walk.rechecks) == 1


async def test_what_stands_still_begins_anew_when_the_write_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        walk.write_in_place("shop.yaml", SMALLER_SHOP)
        await walk.see("shop.yaml")
        walk.write_in_place("shop.yaml", BIGGER_SHOP)
        assert (await walk.see("shop.yaml")).swapped == ("shop",)
        walk.write_in_place("shop.yaml", SMALLER_SHOP)
        assert not (await walk.see("shop.yaml")).changed

        assert len(walk.rechecks) == 2
        assert walk.rechecks[1][0] == pytest.approx(intake.STILL_SECONDS, abs=0.01)


async def test_an_administrator_who_asks_gets_the_file_as_it_is(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        walk.write_in_place("shop.yaml", SMALLER_SHOP)
        assert (await walk.reload_all("request")).swapped == ("shop",)


async def test_a_rename_over_that_takes_something_away_counts_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        assert (await walk.save("shop.yaml", SMALLER_SHOP)).swapped == ("shop",)
        assert walk.rechecks == []


async def test_a_file_that_nobody_has_called_gone_is_not_deleted(tmp_path: Path) -> None:
    """It vanished between being seen and being read, as in a save that deletes and creates."""
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        walk.delete("shop.yaml")
        report = await walk.reloader.reload(ChangeSet(frozenset({"shop.yaml"}), full=False, reason="event"))

        assert not report.changed
        assert await walk.state("shop.yaml") == "live"
        assert (await walk.see("shop.yaml")).unloaded == ("shop",)


@pytest.mark.parametrize("back", [True, False])
async def test_an_administrator_s_reload_looks_twice_before_a_file_counts_as_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, back: bool
) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:

        async def meanwhile(_seconds: float) -> None:
            if back:
                walk.write("shop.yaml", BIGGER_SHOP)

        walk.delete("shop.yaml")
        with monkeypatch.context() as waiting:
            waiting.setattr(intake.asyncio, "sleep", meanwhile)
            report = await walk.reload_all("request")

        assert report.swapped == (("shop",) if back else ())
        assert report.unloaded == (() if back else ("shop",))


async def test_a_file_that_is_still_changing_is_left_out_of_a_full_read(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP, "library.yaml": LIBRARY}) as walk:
        walk.write("shop.yaml", BROKEN_SHOP)
        walk.write("new.yaml", "domain: ne")
        walk.delete("library.yaml")
        held = frozenset({"shop.yaml", "new.yaml", "library.yaml"})
        report = await walk.reloader.reload(ChangeSet(frozenset(), full=True, reason="reconcile", held=held))

        assert not report.changed
        assert sorted(report.world.files) == ["library.yaml", "shop.yaml"]
        assert await walk.state("shop.yaml") == "live"


# -- the database in between ----------------------------------------------------------------------


async def test_a_plan_that_has_become_stale_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        real, plans = Store.expand, []

        async def stale_at_first(store: Store, plan: SchemaPlan, record: Record) -> tuple[Rejection, ...]:
            plans.append(plan)
            if len(plans) == 1:
                raise StalePlanError("somebody was here in between")
            return await real(store, plan, record)

        monkeypatch.setattr(Store, "expand", stale_at_first)
        report = await walk.save("shop.yaml", BIGGER_SHOP)

        assert report.swapped == ("shop",)
        assert len(plans) == 2
        assert plans[0] is not plans[1]
        assert await attributes(walk, "/api/shop/items") == {"name", "color", "size"}


async def test_what_the_database_failed_is_known_until_the_whole_directory_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise StoreUnavailableError("the disk is full")

    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        with monkeypatch.context() as broken:
            broken.setattr(Store, "expand", fails)
            with pytest.raises(StoreUnavailableError):
                await walk.save("shop.yaml", BIGGER_SHOP)
        failed = walk.reloader.failure
        await walk.save("library.yaml", LIBRARY)
        still = walk.reloader.failure
        await walk.reload_all("restart")

        assert failed == still == "the last reload failed: the disk is full"
        assert walk.reloader.failure is None
        assert await attributes(walk, "/api/shop/items") == {"name", "color", "size"}


async def test_a_file_that_the_database_refused_is_not_tried_again_by_the_reload_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        await walk.post("/api/shop/items", {"name": "cup"})
        await walk.save("shop.yaml", model_text("shop", "color: {type: string, required: true}"))
        assert await walk.codes("shop.yaml") == ["PIM603"]
        since = (await walk.listed("shop.yaml"))["rejected_since"]
        planned: list[str] = []
        real = Store.plan

        async def note(store: Store, linked: LinkedModel) -> SchemaPlan:
            planned.append(linked.spec.name)
            return await real(store, linked)

        monkeypatch.setattr(Store, "plan", note)
        await walk.save("library.yaml", LIBRARY)
        assert planned == ["library"]
        assert (await walk.listed("shop.yaml"))["rejected_since"] == since

        [row] = (await walk.get("/api/shop/items")).json["items"]
        await walk.call("PATCH", f"/api/shop/items/{row['id']}", {"color": "red"})
        await walk.reload_all()
        assert planned == ["library", "shop"]
        assert await walk.state("shop.yaml") == "live"


async def test_a_dry_run_says_what_would_happen_and_changes_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        world, table = walk.reloader.world, walk.gateway.table
        walk.write("shop.yaml", BIGGER_SHOP)
        walk.write("library.yaml", LIBRARY)
        reply = await walk.call("POST", "/admin/pim/load", {"pim_file": "library.yaml", "dry_run": True})

        assert reply.status == 200, reply.body
        assert reply.json["result"]["dry_run"] is True
        assert walk.reloader.world is world
        assert walk.gateway.table is table
        assert set(await walk.store.catalog()) == {"shop"}


async def test_reloads_that_are_asked_for_at_once_follow_one_another(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        for number in range(5):
            walk.write(f"m{number}.yaml", model_text(f"m{number}"))
        reports = await asyncio.gather(*(walk.see(f"m{number}.yaml") for number in range(5)), walk.reload_all())

        generations: list[Any] = [report.generation for report in reports]
        assert generations == sorted(generations)
        assert walk.generation == generations[-1]
        assert len(walk.gateway.table.revisions) == 6


async def test_what_only_a_retired_revision_needed_is_taken_away_after_its_drain(tmp_path: Path) -> None:
    unique = model_text("shop", "color: {type: string, unique: true}")
    async with serving(tmp_path, {"shop.yaml": unique}) as walk:
        await walk.post("/api/shop/items", {"name": "cup", "color": "red"})
        client, answering = walk.half_sent("/api/shop/items")
        await asyncio.sleep(0)
        await walk.save("shop.yaml", SHOP)

        assert (await walk.call("POST", "/api/shop/items", {"name": "mug", "color": "red"})).status == 409
        client.send_body(b'"last", "color": "blue"}')
        assert (await answering).status == 201
        await drained(walk, "shop")
        assert (await walk.call("POST", "/api/shop/items", {"name": "mug", "color": "red"})).status == 201


# -- early change sets ----------------------------------------------------------------------------


def early_set(walk: Walk, path: str) -> ChangeSet:
    stamp = look(walk.models, path)
    assert stamp is not None
    return ChangeSet(frozenset({path}), full=False, reason="event", early=stamp)


@pytest.mark.parametrize("text", [BIGGER_SHOP, BROKEN_SHOP, SMALLER_SHOP, f"# a comment\n{SHOP}"])
async def test_what_is_built_early_and_overtaken_leaves_everything_as_it_was(tmp_path: Path, text: str) -> None:
    async with serving(tmp_path, {"a.yaml": SHOP}) as walk:
        world, table, kept = walk.reloader.world, walk.gateway.table, await walk.store.revisions("shop")
        walk.events.clear()
        walk.write("a.yaml", text)

        async def overtaken() -> bool:
            return False

        with pytest.raises(OvertakenError):
            await walk.reloader.reload(early_set(walk, "a.yaml"), settled=overtaken)
        assert (walk.reloader.world, walk.gateway.table) == (world, table)
        assert await walk.store.revisions("shop") == kept
        assert walk.events == []
        await walk.see("a.yaml")  # as it is told by the set that overtook it
        assert (await walk.state("a.yaml") == "stale") == (text is BROKEN_SHOP)


async def test_an_early_change_waits_for_its_file_to_settle_before_anything_is_written(tmp_path: Path) -> None:
    async with serving(tmp_path, {"a.yaml": SHOP}) as walk:
        walk.write("a.yaml", BIGGER_SHOP)
        asked, told = asyncio.Event(), asyncio.Event()

        async def settled() -> bool:
            asked.set()
            await told.wait()
            return True

        reload = asyncio.create_task(walk.reloader.reload(early_set(walk, "a.yaml"), settled=settled))
        await asked.wait()
        assert len(await walk.store.revisions("shop")) == 1
        assert await attributes(walk, "/api/shop/items") == {"name", "color"}
        told.set()
        assert (await reload).swapped == ("shop",)
        assert await attributes(walk, "/api/shop/items") == {"name", "color", "size"}


async def test_a_file_that_is_another_one_when_it_is_read_is_overtaken(tmp_path: Path) -> None:
    async with serving(tmp_path, {"a.yaml": SHOP}) as walk:
        walk.write("a.yaml", BIGGER_SHOP)
        seen = early_set(walk, "a.yaml")
        walk.write("a.yaml", SMALLER_SHOP)
        with pytest.raises(OvertakenError):
            await walk.reloader.reload(seen, settled=asyncio.Event().wait)


async def test_very_many_new_models_leave_room_in_the_queue_of_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, {}) as walk:
        expand, at_once, most = walk.store.expand, 0, 0

        async def counted(plan: SchemaPlan, record: Record) -> tuple[Rejection, ...]:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            try:
                return await expand(plan, record)
            finally:
                at_once -= 1

        monkeypatch.setattr(walk.store, "expand", counted)
        for number in range(2 * SIDE_BY_SIDE):
            walk.write(f"m{number}.yaml", model_text(f"m{number}"))
        report = await walk.reload_all()

        assert len(report.loaded) == 2 * SIDE_BY_SIDE
        assert 1 < most <= SIDE_BY_SIDE


async def test_a_finding_names_the_other_places_that_belong_to_it_and_times_are_written_as_in_rows(
    tmp_path: Path,
) -> None:
    twice = model_text("shop", "color", "color: integer")
    async with serving(tmp_path, {"shop.yaml": model_text("shop", "color")}) as walk:
        await walk.save("shop.yaml", twice)
        entry = await walk.listed("shop.yaml")
        (found,) = entry["diagnostics"]
        (first,) = found["related"]
        assert (first["file"], first["message"]) == ("shop.yaml", "first written here")
        assert twice.splitlines()[first["line"] - 1][first["column"] - 1 : first["end_column"] - 1] == "color"
        (kept,) = (await walk.get("/admin/pim/shop/revisions")).json["revisions"]
        for moment in (entry["loaded_at"], entry["rejected_since"], kept["applied_at"]):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", moment), moment


async def test_requests_that_wait_for_a_swap_are_answered_before_it_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": model_text("shop")}) as walk:
        told: list[int] = []
        swap = walk.gateway.swap

        def swap_and_let_go(table: RouteTable) -> None:
            before = len(walk.events)
            swap(table)
            asyncio.get_running_loop().call_soon(lambda: told.append(len(walk.events) - before))

        walk.gateway.swap = swap_and_let_go  # type: ignore[method-assign]
        await walk.save("shop.yaml", model_text("shop", "color"))
        assert told == [0], "what was due after the swap came before the first word"
        await drained(walk, "shop")
        assert [type(event) for event in walk.events[-4:]] == [
            SchemaApplied, ModelSwapped, ReloadFinished, ModelDrained,
        ]  # fmt: skip


async def test_whoever_asks_right_after_a_swap_is_answered_before_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, {"shop.yaml": model_text("shop")}) as walk:
        monkeypatch.setattr(reload, "FIRST_ANSWERS_SECONDS", 3600)
        swapped = asyncio.Event()
        swap, before = walk.gateway.swap, len(walk.events)

        def noted(table: RouteTable) -> None:
            swap(table)
            swapped.set()

        walk.gateway.swap = noted  # type: ignore[method-assign]
        saving = asyncio.create_task(walk.save("shop.yaml", model_text("shop", "color")))
        await swapped.wait()
        assert (await walk.get("/api/shop")).revision == 2
        told = {type(event) for event in walk.events[before:]}
        assert not told & {SchemaApplied, ModelSwapped, ReloadFinished}
        saving.cancel()  # as a stop does
        await asyncio.wait([saving])
        await drained(walk, "shop")


async def test_many_small_files_are_read_and_their_old_revisions_let_go_in_turns_with_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "AT_A_TIME_SECONDS", 0)
    files = {f"m{number}.yaml": model_text(f"m{number}") for number in range(20)}
    async with serving(tmp_path, files) as walk, counting_rounds() as rounds:
        seen: list[int] = []
        parse = intake.parse

        def noted(*given: Any, **more: Any) -> Parsed:
            seen.append(rounds())
            return parse(*given, **more)

        monkeypatch.setattr(intake, "parse", noted)
        for path in files:
            walk.write(path, model_text(path.removesuffix(".yaml"), "color"))
        generation, freed = walk.generation, list[int]()
        for model in walk.gateway.table.revisions:
            weakref.finalize(walk.revision(model), lambda: freed.append(rounds()))
        report = await walk.see(*files)
        assert (len(report.swapped), walk.generation) == (20, generation + 1)
        for happened in (seen, freed):
            assert len(set(happened)) == len(happened) == 20, "the event loop had its turn in between"


async def test_what_looks_at_all_models_is_done_in_turns_with_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "AT_ONCE_SECONDS", 0)
    files = {"shop.yaml": model_text("shop"), "club.yaml": model_text("club")}
    async with serving(tmp_path, files) as walk, counting_rounds() as rounds:
        seen: dict[str, int] = {}
        for step in ("settle", "link", "world"):
            done = getattr(Draft, step)

            def noted(draft: Draft, step: str = step, done: Any = done) -> Any:
                seen[step] = rounds()
                return done(draft)

            monkeypatch.setattr(Draft, step, noted)
        walk.write("extra.yaml", model_text("extra"))  # one more: who speaks for what is settled anew
        await walk.see("extra.yaml")
        assert list(seen) == ["settle", "link", "world"]
        assert len(set(seen.values())) == 3, "the event loop had its turn in between"
