"""A start in waves: small models serve before large ones are built, and each answer is true at its moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Walk, model_text, serving
from watcherd import events
from watcherd.errors import StoreUnavailableError
from watcherd.followers import Nobody
from watcherd.ledger import World
from watcherd.report import Report
from watcherd.store import Store
from watcherd.waves import FIRST_BYTES

ON_BOTH_DATABASES = True

HUGE = f"# {'x' * FIRST_BYTES}\n"
"""What makes a file so large that its model comes in a wave of its own."""

SMALL = model_text("small", "color")
LARGE = HUGE + model_text("large", "color")


def refers(domain: str, target: str, *more: str) -> str:
    return model_text(domain, f"other: {{type: reference, reference: {target}.Item}}", *more)


class Waves(Nobody):
    """Told of each swap, as other processes are: stops the start after the first until it may go on."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, tuple[str, ...]]] = []
        """The generations, and what served in each."""
        self.news = asyncio.Queue[World]()
        self.on = asyncio.Event()

    async def follow(self, generation: int, world: World) -> None:
        self.seen.append((generation, tuple(sorted(world.live))))
        if world.waiting:
            self.news.put_nowait(world)
            await self.on.wait()


@asynccontextmanager
async def starting(
    tmp_path: Path, files: Mapping[str, str] | None = None, database_url: str | None = None
) -> AsyncIterator[tuple[Walk, Waves, asyncio.Task[Report]]]:
    """A start that has put its first wave into service, and waits."""
    waves = Waves()
    async with serving(tmp_path, files, database_url=database_url, followers=waves, start=False) as walk:
        start = asyncio.create_task(walk.start())
        arrived = asyncio.create_task(waves.news.get())
        await asyncio.wait({start, arrived}, return_when=asyncio.FIRST_COMPLETED)
        assert arrived.done(), f"no wave but the last: {await start}"
        try:
            yield walk, waves, start
        finally:
            waves.on.set()
            await asyncio.gather(start, return_exceptions=True)


async def states(walk: Walk) -> dict[str, str]:
    return {one["file"]: one["state"] for one in (await walk.get("/admin/pim")).json["pims"]}


# -- what serves when -----------------------------------------------------------------------------


async def test_a_small_model_serves_before_a_large_one_is_built_and_all_that_is_said_is_true(
    tmp_path: Path, database_url: str
) -> None:
    files = {"a_large.yaml": LARGE, "small.yaml": SMALL, "more.yaml": refers("more", "small")}
    async with starting(tmp_path, files, database_url) as (walk, waves, start):
        small = await walk.post("/api/small/items", {"name": "a"})
        await walk.post("/api/more/items", {"name": "b", "other": small["id"]})
        assert (await walk.get("/api/small/items")).generation == 1
        assert (await walk.get("/api/large/items")).status == 404  # the daemon says that it is starting
        assert await states(walk) == {"a_large.yaml": "starting", "small.yaml": "live", "more.yaml": "live"}
        assert (await walk.get("/admin/pim/large")).json["endpoints"] == []
        document = (await walk.get("/openapi.json")).json
        assert document["x-watcherd-generation"] == 1
        assert {path.split("/")[2] for path in document["paths"] if path.startswith("/api/")} == {"small", "more"}
        progress = walk.reloader.progress
        assert (progress.built, progress.wanted, progress.serving) == (2, 3, 2)
        served = walk.revision("small")

        waves.on.set()
        report = await start
        assert set(report.loaded) == {"large", "small", "more"}
        assert (report.generation, walk.generation) == (2, 2)
        assert waves.seen == [(1, ("more", "small")), (2, ("large", "more", "small"))]
        assert walk.revision("small") is served
        assert set((await states(walk)).values()) == {"live"}
        assert (await walk.get("/api/large/items")).generation == 2
        loaded = [one for one in walk.events if isinstance(one, events.ModelLoaded)]
        assert sorted((one.model, one.generation) for one in loaded) == [("large", 2), ("more", 1), ("small", 1)]
        [finished] = [one for one in walk.events if isinstance(one, events.ReloadFinished)]
        assert (finished.generation, finished.swapped, finished.rejected) == (2, 3, 0)
        assert sum(isinstance(one, events.SchemaApplied) for one in walk.events) == 3


async def test_a_model_comes_with_what_it_refers_to_and_a_circle_together(tmp_path: Path) -> None:
    files = {
        "small.yaml": SMALL,
        "large.yaml": HUGE + refers("large", "circle"),
        "circle.yaml": refers("circle", "large"),
        "needs.yaml": refers("needs", "circle"),
        "uses.yaml": refers("uses", "small"),
    }
    async with starting(tmp_path, files) as (walk, waves, start):
        assert sorted(walk.gateway.table.revisions) == ["small", "uses"]
        waves.on.set()
        assert len((await start).loaded) == len(files)
        assert len(waves.seen) == 2


async def test_once_a_model_serves_no_request_to_it_fails_while_hundreds_of_others_are_built(tmp_path: Path) -> None:
    files = {f"m{number}.yaml": model_text(f"m{number}") for number in range(2 * FIRST_BYTES // 1024)}
    waves = Waves()
    waves.on.set()
    async with serving(tmp_path, files, followers=waves, start=False) as walk:
        start = asyncio.create_task(walk.start())
        await waves.news.get()
        generations, rows = set(), 0
        while not start.done():
            created = await walk.call("POST", "/api/m0/items", {"name": "a"})
            listed = await walk.get("/api/m0/items?limit=1")
            rows += 1
            assert (created.status, listed.status, listed.json["total"]) == (201, 200, rows)
            generations.add(listed.generation)
        assert len((await start).loaded) == len(files)
        assert 1 in generations
        assert [generation for generation, _ in waves.seen] == [1, 2]
        assert len({(await walk.get(f"/api/m{number}/items")).status for number in range(len(files))}) == 1


async def test_files_that_are_saved_together_after_a_start_are_swapped_together_however_large(tmp_path: Path) -> None:
    waves = Waves()
    async with serving(tmp_path, {"small.yaml": SMALL}, followers=waves) as walk:
        for path, text in {"a.yaml": model_text("a"), "b.yaml": HUGE + model_text("b")}.items():
            walk.write(path, text)
        await walk.see("a.yaml", "b.yaml")
        await walk.reload_all("start")  # the watcher asks for it when it has begun
        assert [generation for generation, _ in waves.seen] == [1, 2, 2]


# -- what is refused ------------------------------------------------------------------------------


async def test_broken_files_hold_no_other_and_are_told_of_once(tmp_path: Path) -> None:
    files = {
        "small.yaml": SMALL,
        "large.yaml": LARGE,
        "broken.yaml": "domain: broken\nentities: [",
        "lost.yaml": refers("lost", "nowhere"),
        "copy.yaml": SMALL,
        "unfit.yaml": HUGE + model_text("unfit", extra="    examples: [{create: {}, expect: {status: 422}}]\n"),
        "uses.yaml": refers("uses", "unfit"),
    }
    async with starting(tmp_path, files) as (walk, waves, start):
        found = await states(walk)
        assert {file for file, state in found.items() if state == "rejected"} == {
            *("broken.yaml", "lost.yaml", "small.yaml")  # the first of two files speaks for their domain
        }
        assert {file for file, state in found.items() if state == "starting"} == {
            *("large.yaml", "unfit.yaml", "uses.yaml")
        }
        waves.on.set()
        report = await start
        refused = sorted(one.file for one in report.refused)
        assert refused == ["broken.yaml", "lost.yaml", "small.yaml", "unfit.yaml", "uses.yaml"]
        told = [one.file for one in walk.events if isinstance(one, events.ModelRejected)]
        assert sorted(told) == refused
        assert sorted(walk.gateway.table.revisions) == ["large", "small"]
        assert waves.seen[-1] == (walk.generation, ("large", "small"))


async def test_a_file_that_the_database_refuses_in_a_late_wave_changes_nothing_in_an_earlier_one(
    tmp_path: Path, database_url: str
) -> None:
    files = {"small.yaml": SMALL, "large.yaml": LARGE, "other.yaml": HUGE + model_text("other")}
    async with serving(tmp_path, files, database_url=database_url) as walk:
        await walk.post("/api/large/items", {"name": "a"})
    wants = HUGE + model_text("large", "color: {type: string, required: true}")
    (tmp_path / "models" / "large.yaml").write_text(wants)
    async with starting(tmp_path, None, database_url) as (walk, waves, start):
        served = walk.revision("small")
        waves.on.set()
        report = await start
        assert [one.file for one in report.refused] == ["large.yaml"]
        assert await states(walk) == {"small.yaml": "live", "large.yaml": "stale", "other.yaml": "live"}
        assert walk.revision("small") is served
        assert [row["name"] for row in (await walk.get("/api/large/items")).json["items"]] == ["a"]
        loaded = [one.model for one in walk.events if isinstance(one, events.ModelLoaded)]
        assert sorted(loaded) == ["large", "other", "small"]


# -- what an administrator has decided, and the last good revision -------------------------------


async def test_what_was_unloaded_or_rolled_back_or_is_broken_by_now_comes_back_as_it_was(
    tmp_path: Path, database_url: str
) -> None:
    files = {f"{name}.yaml": model_text(name, "color") for name in ("out", "back", "bad", "worse", "fine")}
    async with serving(tmp_path, files, database_url=database_url) as walk:
        await walk.save("back.yaml", model_text("back", "color", "size"))
        assert (await walk.call("POST", "/admin/pim/back/rollback", {"revision": 1})).status == 200
        await walk.unload("out")
    (tmp_path / "models" / "bad.yaml").write_text("domain: bad\nentities: [")
    (tmp_path / "models" / "worse.yaml").write_text(HUGE + "domain: worse\nentities: [")
    (tmp_path / "models" / "large.yaml").write_text(LARGE)
    async with starting(tmp_path, None, database_url) as (walk, waves, start):
        before = {
            "out.yaml": "unloaded",
            "back.yaml": "rolled_back",
            "bad.yaml": "stale",
            "fine.yaml": "live",
            "worse.yaml": "starting",
            "large.yaml": "starting",
        }
        assert await states(walk) == before
        assert await walk.codes("bad.yaml")
        assert (await walk.get("/api/bad/items")).status == 200
        waves.on.set()
        await start
        assert await states(walk) == before | {"large.yaml": "live", "worse.yaml": "stale"}
        told = [one for one in walk.events if isinstance(one, events.ModelRejected)]
        assert [(one.file, one.serving) for one in told] == [("bad.yaml", 1), ("worse.yaml", 1)]
        assert not [one for one in walk.events if isinstance(one, events.ModelRolledBack)]
        # A model that is out of service is in nobody's wave, and is loaded as ever.
        assert (await walk.load("out.yaml")).loaded == ("out",)


# -- deletions ------------------------------------------------------------------------------------

BUYERS = model_text("buyers", entity="Buyer")
ORDERS = (
    HUGE
    + model_text("orders", "buyer: {type: reference, reference: buyers.Buyer, on_delete: set_null}", entity="Order")
    + "rules: {sold: {on: Order, assert: has(self.buyer), message: an order has a buyer}}\n"
)


async def test_no_row_is_deleted_while_a_model_that_has_a_say_in_it_is_still_to_be_built(
    tmp_path: Path, database_url: str
) -> None:
    files = {"buyers.yaml": BUYERS, "orders.yaml": ORDERS, "alone.yaml": model_text("alone")}
    async with serving(tmp_path, files, database_url=database_url) as walk:
        buyer = await walk.post("/api/buyers/buyers", {"name": "a"})
        await walk.post("/api/orders/orders", {"name": "b", "buyer": buyer["id"]})
        free = await walk.post("/api/buyers/buyers", {"name": "c"})
    async with starting(tmp_path, None, database_url) as (walk, waves, start):
        one = f"/api/buyers/buyers/{buyer['id']}"
        refused = await walk.call("DELETE", one)
        assert (refused.status, refused.json["type"]) == (503, "/problems/unavailable")
        assert refused.headers["retry-after"] == "1"
        assert refused.json["detail"] == "the daemon is starting: not all models that refer to buyers serve yet"
        assert (await walk.get(one)).status == 200
        row = await walk.post("/api/alone/items", {"name": "d"})
        assert (await walk.call("DELETE", f"/api/alone/items/{row['id']}")).status == 204
        waves.on.set()
        await start
        assert (await walk.call("DELETE", one)).status == 422
        assert (await walk.call("DELETE", f"/api/buyers/buyers/{free['id']}")).status == 204


async def test_rows_can_be_deleted_when_what_would_have_had_a_say_is_refused(tmp_path: Path, database_url: str) -> None:
    orders = ORDERS.replace("rules:", "    examples: [{create: {}, expect: {status: 418}}]\nrules:")
    async with starting(tmp_path, {"buyers.yaml": BUYERS, "orders.yaml": orders}, database_url) as (walk, waves, start):
        waves.on.set()
        assert [one.file for one in (await start).refused] == ["orders.yaml"]
        buyer = await walk.post("/api/buyers/buyers", {"name": "a"})
        assert (await walk.call("DELETE", f"/api/buyers/buyers/{buyer['id']}")).status == 204


# -- a database that fails, and what changes meanwhile --------------------------------------------


async def test_a_start_that_the_database_fails_in_the_middle_keeps_what_serves_and_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    files = {"small.yaml": SMALL, "gone.yaml": model_text("gone"), "large.yaml": LARGE}
    async with starting(tmp_path, files, database_url) as (walk, waves, start):
        served = walk.revision("small")
        with monkeypatch.context() as broken:
            broken.setattr(Store, "plan", failing)
            waves.on.set()
            with pytest.raises(StoreUnavailableError):
                await start
        assert (await walk.get("/api/small/items")).status == 200
        assert (await states(walk))["large.yaml"] == "starting"
        assert walk.reloader.failure == "the last reload failed: the disk is full"

        walk.delete("gone.yaml")
        walk.write("small.yaml", SMALL + "description: changed meanwhile\n")
        report = await walk.reload_all("start")
        assert walk.reloader.failure is None
        assert (report.loaded, report.swapped, report.unloaded) == (("large",), ("small",), ("gone",))
        assert walk.revision("small") is not served
        assert await states(walk) == {"small.yaml": "live", "large.yaml": "live"}
        assert walk.gateway.table.awaited == frozenset()


async def failing(*_: object) -> Any:
    raise StoreUnavailableError("the disk is full")


@pytest.mark.parametrize(
    ("change", "then"),
    [
        (lambda walk: walk.write("small.yaml", model_text("small", "size")), {"small", "large"}),
        (lambda walk: walk.write("large.yaml", model_text("large", "size")), {"small", "large"}),
        (lambda walk: walk.delete("small.yaml"), {"large"}),
        (lambda walk: walk.delete("large.yaml"), {"small"}),
        (lambda walk: (walk.models / "small.yaml").rename(walk.models / "other.yaml"), {"small", "large"}),
        (lambda walk: (walk.models / "large.yaml").rename(walk.models / "other.yaml"), {"small", "large"}),
    ],
    ids=["save served", "save waiting", "delete served", "delete waiting", "rename served", "rename waiting"],
)
async def test_what_happens_to_files_during_a_start_is_found_by_the_look_after_it(
    tmp_path: Path, change: Callable[[Walk], object], then: set[str]
) -> None:
    async with starting(tmp_path, {"small.yaml": SMALL, "large.yaml": LARGE}) as (walk, waves, start):
        change(walk)
        waves.on.set()
        await start
        await walk.reload_all("start")  # as the watcher asks for when it has begun
        assert walk.gateway.table.revisions.keys() == then
        assert set((await states(walk)).values()) == {"live"}
        assert {live.path for live in walk.reloader.world.live.values()} == {one.name for one in walk.models.iterdir()}


async def test_a_model_can_be_unloaded_during_a_start_unless_one_that_is_to_come_needs_it(tmp_path: Path) -> None:
    files = {"small.yaml": SMALL, "free.yaml": model_text("free"), "large.yaml": HUGE + refers("large", "small")}
    async with starting(tmp_path, files) as (walk, waves, start):
        refused = await walk.call("DELETE", "/admin/pim/small")
        assert (refused.status, refused.json["dependants"]) == (409, ["large"])
        unloading = [asyncio.create_task(walk.call("DELETE", path)) for path in ("/admin/pim/free", "/admin/pim/large")]
        while len(walk.reloader._lock._waiters or ()) < len(unloading):
            assert not any(one.done() for one in unloading)
            await asyncio.sleep(0)
        waves.on.set()
        await start
        assert [reply.status for reply in await asyncio.gather(*unloading)] == [200, 200]
        assert await states(walk) == {"small.yaml": "live", "free.yaml": "unloaded", "large.yaml": "unloaded"}


async def test_a_model_can_be_tried_beside_models_that_are_still_to_be_built(tmp_path: Path) -> None:
    async with starting(tmp_path, {"small.yaml": SMALL, "large.yaml": LARGE}) as (walk, _, _start):
        seen = await walk.reloader.preview(refers("uses", "large").encode(), "uses.yaml")
        assert seen.diagnostics == ()
        assert seen.plan is not None
