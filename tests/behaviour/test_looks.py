"""The look at the whole directory: it is made while saves go on, and brings nothing back that is out of date."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults import InjectedError
from tests.helpers import Walk, model_text, serving
from watcherd import ahead, directory
from watcherd.ahead import Ahead
from watcherd.errors import StoreUnavailableError
from watcherd.events import ModelLoaded, ModelRejected, ModelSwapped, ModelUnloaded
from watcherd.ledger import World
from watcherd.report import Report
from watcherd.store import Store
from watcherd.watch import ChangeSet, Waits, Watcher

SHOP = model_text("shop", "color")
BIGGER_SHOP = model_text("shop", "color", "size")
LIBRARY = model_text("library", "author", entity="Book")

FULL = [pytest.param(reason, id=reason) for reason in ("reconcile", "restart", "request", "signal")]
HEARD = FULL[:2]
"""Looks for which nobody waits: what they find that no event has told of has to stand still."""


@pytest.fixture(autouse=True)
def no_standing_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at twice is held by these tests in between, for as long as they like."""
    monkeypatch.setattr(ahead, "UNHEARD_SECONDS", 0)
    monkeypatch.setattr(ahead, "ABSENCE_SECONDS", 0)


class Look:
    """A reload of the whole directory that has been asked for, and is held where it has no lock."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.read = asyncio.Event()
        self.go_on = asyncio.Event()
        self.began: list[ChangeSet] = []
        self.task: asyncio.Task[Report] | None = None

    async def done(self) -> Report:
        self.go_on.set()
        assert self.task is not None
        return await self.task


@contextmanager
def held(walk: Walk, *, before: bool = False) -> Iterator[Look]:
    """Hold each look once all has been read, or `before` anything is."""
    look, real = Look(), walk.intake.look_ahead

    async def look_ahead(change: ChangeSet, world: World) -> Ahead | None:
        if not change.full:
            return await real(change, world)
        look.began.append(change)
        look.begun.set()
        if before:
            await look.go_on.wait()
        found = await real(change, world)
        look.read.set()
        await look.go_on.wait()
        return found

    walk.intake.look_ahead = look_ahead  # type: ignore[method-assign]
    try:
        yield look
    finally:
        walk.intake.look_ahead = real  # type: ignore[method-assign]


@asynccontextmanager
async def looking(walk: Walk, reason: str, *, before: bool = False) -> AsyncIterator[Look]:
    """In the middle of a look at the whole directory."""
    with held(walk, before=before) as look:
        change = ChangeSet(frozenset(), full=True, reason=reason)
        look.task = asyncio.create_task(walk.reloader.reload(change))
        await (look.begun if before else look.read).wait()
        yield look
        await look.done()


def told(walk: Walk, *kinds: type) -> list[object]:
    return [event for event in walk.events if isinstance(event, kinds)]


# -- saves in the middle of a look ----------------------------------------------------------------


@pytest.mark.parametrize("before", [True, False], ids=["still to be read", "read already"])
@pytest.mark.parametrize("reason", FULL)
async def test_a_save_in_the_middle_of_a_look_is_live_at_once_and_stays_so(
    tmp_path: Path, reason: str, before: bool
) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP, "library.yaml": LIBRARY}) as walk:
        async with looking(walk, reason, before=before) as look:
            assert (await walk.save("shop.yaml", BIGGER_SHOP)).swapped == ("shop",)
            assert look.task is not None
            assert not look.task.done()
            revision = walk.revision("shop")

        assert not (await look.done()).changed
        assert walk.revision("shop") is revision
        assert walk.reloader.world.files["shop.yaml"].source.content == BIGGER_SHOP.encode()
        assert len(told(walk, ModelSwapped)) == 1
        assert walk.rechecks == []


@pytest.mark.parametrize("reason", FULL)
async def test_what_came_went_or_moved_in_the_middle_of_a_look_stays_so(tmp_path: Path, reason: str) -> None:
    files = {"shop.yaml": SHOP, "library.yaml": LIBRARY, "tea.yaml": model_text("tea")}
    async with serving(tmp_path, files) as walk:
        walk.events.clear()
        async with looking(walk, reason) as look:
            assert (await walk.remove("shop.yaml")).unloaded == ("shop",)
            assert (await walk.save("new.yaml", model_text("new"))).loaded == ("new",)
            (walk.models / "library.yaml").rename(walk.models / "books.yaml")
            assert not (await walk.see("library.yaml", "books.yaml")).changed

        assert not (await look.done()).changed
        assert set(walk.gateway.table.revisions) == {"library", "new", "tea"}
        assert set(walk.reloader.world.files) == {"books.yaml", "new.yaml", "tea.yaml"}
        assert len(told(walk, ModelUnloaded, ModelLoaded)) == 2


@pytest.mark.parametrize("reason", FULL)
async def test_what_an_administrator_does_in_the_middle_of_a_look_stays_so(tmp_path: Path, reason: str) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP, "library.yaml": LIBRARY}) as walk:
        await walk.unload("library")
        async with looking(walk, reason) as look:
            await walk.unload("shop")
            await walk.load("library.yaml")

        assert not (await look.done()).changed
        assert await walk.state("shop.yaml") == "unloaded"
        assert set(walk.gateway.table.revisions) == {"library"}


@pytest.mark.parametrize("reason", FULL)
async def test_a_save_that_was_refused_in_the_middle_of_a_look_stays_refused_and_is_told_once(
    tmp_path: Path, reason: str
) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        async with looking(walk, reason) as look:
            await walk.save("shop.yaml", "domain: shop\nentities: 5\n")

        assert not (await look.done()).changed
        assert await walk.state("shop.yaml") == "stale"
        assert len(told(walk, ModelRejected)) == 1


# -- what no event has told of --------------------------------------------------------------------


@pytest.mark.parametrize("reason", FULL)
async def test_a_content_counts_although_nothing_but_itself_tells_that_it_is_another(
    tmp_path: Path, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = directory._stamp
    monkeypatch.setattr(directory, "_stamp", lambda status: replace(real(status), ctime_ns=0))
    async with serving(tmp_path, {"shop.yaml": f"{SHOP}# one\n"}) as walk:
        before = directory.look(walk.models, "shop.yaml")
        walk.write_in_place("shop.yaml", f"{SHOP}# two\n")
        assert before is not None
        os.utime(walk.models / "shop.yaml", ns=(before.mtime_ns, before.mtime_ns))
        assert directory.look(walk.models, "shop.yaml") == before

        assert (await walk.reload_all(reason)).unchanged == ("shop",), "it means the same, and was read"
        assert walk.reloader.world.files["shop.yaml"].source.content == f"{SHOP}# two\n".encode()


@pytest.mark.parametrize("reason", FULL)
async def test_what_a_look_finds_comes_with_it_all_at_once(tmp_path: Path, reason: str) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP, "library.yaml": LIBRARY}) as walk:
        generation = walk.generation
        walk.write("shop.yaml", BIGGER_SHOP)
        walk.write("new.yaml", model_text("new"))
        report = await walk.reloader.reload(ChangeSet(frozenset(), full=True, reason=reason))

        assert (report.swapped, report.loaded) == (("shop",), ("new",))
        assert walk.generation == generation + 1
        assert walk.rechecks == []


@pytest.mark.parametrize("reason", HEARD)
async def test_a_removal_that_a_look_finds_is_left_to_the_watcher_with_what_may_be_the_rest_of_a_rename(
    tmp_path: Path, reason: str
) -> None:
    files = {"shop.yaml": SHOP, "library.yaml": LIBRARY, "tea.yaml": model_text("tea")}
    async with serving(tmp_path, files) as walk:
        (walk.models / "shop.yaml").rename(walk.models / "library.yaml")
        (walk.models / "tea.yaml").rename(walk.models / "coffee.yaml")
        assert not (await walk.reload_all(reason, gone=frozenset())).changed
        assert told(walk, ModelRejected) == []
        paths = {path for _, path in walk.rechecks}
        assert paths == {"shop.yaml", "library.yaml", "tea.yaml", "coffee.yaml"}

        assert (await walk.see(*paths)).unloaded == ("library",)
        assert set(walk.gateway.table.revisions) == {"shop", "tea"}
        assert told(walk, ModelRejected) == []


@pytest.mark.parametrize("reason", ["request", "signal"])
async def test_whoever_asks_gets_removals_and_all_else_at_once(tmp_path: Path, reason: str) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP, "library.yaml": LIBRARY}) as walk:
        generation = walk.generation
        walk.write("shop.yaml", BIGGER_SHOP)
        walk.write("new.yaml", model_text("new"))
        walk.delete("library.yaml")
        report = await walk.reload_all(reason, gone=frozenset())

        assert (report.swapped, report.loaded, report.unloaded) == (("shop",), ("new",), ("library",))
        assert walk.generation == generation + 1


@pytest.mark.parametrize("reason", HEARD)
async def test_what_is_changing_while_nobody_hears_of_it_is_left_to_be_looked_at_again(
    tmp_path: Path, reason: str
) -> None:
    files = {"shop.yaml": SHOP, "library.yaml": LIBRARY, "back.yaml": model_text("back")}
    async with serving(tmp_path, files) as walk:
        walk.write("shop.yaml", "domain: sho")
        walk.delete("back.yaml")
        async with looking(walk, reason) as look:
            walk.write("shop.yaml", BIGGER_SHOP)
            walk.write("back.yaml", model_text("back", "more"))
            walk.write("new.yaml", "domain: ne")  # after all was read: nobody has seen it yet
            walk.delete("library.yaml")

        report = await look.done()
        assert not report.changed
        assert report.refused == ()
        assert sorted(path for _, path in walk.rechecks) == ["back.yaml", "shop.yaml"]
        assert await walk.state("shop.yaml") == "live"
        assert (await walk.see("shop.yaml", "back.yaml")).swapped == ("back", "shop")


@pytest.mark.parametrize("reason", ["request", "signal"])
async def test_whoever_asks_gets_what_has_changed_in_the_middle_of_the_look_as_it_is(
    tmp_path: Path, reason: str
) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        walk.write("shop.yaml", "domain: sho")
        async with looking(walk, reason) as look:
            walk.write("shop.yaml", BIGGER_SHOP)
        assert (await look.done()).swapped == ("shop",)


@pytest.mark.parametrize("reason", FULL)
async def test_a_file_that_can_be_read_again_in_the_middle_of_a_look_is_not_refused(
    tmp_path: Path, reason: str
) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        (walk.models / "shop.yaml").rename(walk.models / "kept")
        os.mkfifo(walk.models / "shop.yaml")
        async with looking(walk, reason) as look:
            (walk.models / "kept").replace(walk.models / "shop.yaml")

        assert not (await look.done()).changed
        assert await walk.state("shop.yaml") == "live"
        assert told(walk, ModelRejected) == []


@pytest.mark.parametrize("reason", FULL)
async def test_a_file_that_cannot_be_read_any_more_in_the_middle_of_a_look_was_whole_when_it_was_looked_at(
    tmp_path: Path, reason: str
) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        async with looking(walk, reason) as look:
            (walk.models / "shop.yaml").unlink()
            os.mkfifo(walk.models / "shop.yaml")

        assert not (await look.done()).changed
        assert await walk.state("shop.yaml") == "live"
        await walk.reload_all(reason)
        assert await walk.codes("shop.yaml") == ["PIM701"]
        assert await walk.state("shop.yaml") == "stale"


async def test_what_events_have_told_of_and_the_database_has_failed_is_made_good_by_a_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a removal, of which the watcher says nothing a second time."""

    async def fails(*_: object) -> None:
        raise StoreUnavailableError("the disk is full")

    async with serving(tmp_path, {"shop.yaml": SHOP, "library.yaml": LIBRARY}) as walk:
        walk.write("shop.yaml", BIGGER_SHOP)
        walk.delete("library.yaml")
        with monkeypatch.context() as broken:
            broken.setattr(Store, "expand", fails)
            with pytest.raises(StoreUnavailableError):
                await walk.see("shop.yaml", "library.yaml")
        assert walk.reloader.failure is not None

        await walk.reload_all("restart", gone=frozenset())
        assert walk.reloader.failure is None
        paths = {path for _, path in walk.rechecks}
        assert paths == {"shop.yaml", "library.yaml"}
        report = await walk.see(*paths)
        assert (report.swapped, report.unloaded) == (("shop",), ("library",))


# -- looks and saves, one beside the other --------------------------------------------------------


async def until(reached: Callable[[], object]) -> None:
    """Wait for a value that nobody announces."""
    while not reached():
        await asyncio.sleep(0.002)


@asynccontextmanager
async def following(walk: Walk, reconcile_seconds: float) -> AsyncIterator[Watcher]:
    """The watcher of real files and who follows it, as the daemon runs them."""
    watcher = Watcher(
        walk.models, reconcile_seconds=reconcile_seconds, publish=walk.events.append, waits=Waits(root_check=60)
    )
    tasks = [asyncio.create_task(watcher.run()), asyncio.create_task(walk.reloader.follow(watcher))]
    try:
        yield watcher
    finally:
        for task in tasks:
            assert not task.done()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_whoever_follows_the_watcher_reloads_what_is_saved_while_a_look_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        with held(walk) as look:
            async with following(walk, 60) as watcher:
                await look.begun.wait()
                for number in range(3):
                    walk.write("shop.yaml", model_text("shop", f"color{number}"))
                    await until(lambda expected=number + 1: len(told(walk, ModelSwapped)) == expected)
                assert [change.reason for change in look.began] == ["start"]
                for reason in ("reconcile", "signal", "restart"):
                    taken = watcher.health.last_reconcile_at
                    watcher.request(reason)
                    await until(lambda taken=taken: watcher.health.last_reconcile_at != taken)
                    await until(lambda: watcher._settling._full_since is None)
                assert len(look.began) == 1, "one look at a time"
                look.go_on.set()
                await until(lambda: len(look.began) > 1)
                await until(lambda: not walk.reloader._lock.locked())
        assert [change.reason for change in look.began] == ["start", "restart"], "those that waited are one"
        assert len(told(walk, ModelSwapped)) == 3


async def test_who_is_stopped_in_the_middle_of_a_look_leaves_nothing_behind(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        before = asyncio.all_tasks()
        with held(walk) as look:
            async with following(walk, 60):
                await look.begun.wait()
        assert asyncio.all_tasks() == before
        assert (await walk.save("shop.yaml", BIGGER_SHOP)).swapped == ("shop",)


@pytest.mark.parametrize(
    "fault", [asyncio.CancelledError("by a stray"), InjectedError("injected")], ids=["cancel", "raise"]
)
@pytest.mark.parametrize("full", [True, False])
async def test_who_follows_ends_with_what_ends_one_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException, full: bool
) -> None:
    async with serving(tmp_path, {"shop.yaml": SHOP}) as walk:
        real = walk.reloader._reload_seen

        async def fails(watcher: Watcher, change: ChangeSet) -> None:
            if change.full is full:
                raise fault
            await real(watcher, change)

        monkeypatch.setattr(walk.reloader, "_reload_seen", fails)
        before = asyncio.all_tasks()
        watcher = Watcher(walk.models, reconcile_seconds=60, publish=walk.events.append)
        watching = asyncio.create_task(watcher.run())
        following = asyncio.create_task(walk.reloader.follow(watcher))
        while not following.done():
            walk.write("shop.yaml", BIGGER_SHOP)
            await asyncio.wait([following], timeout=0.05)
        with pytest.raises(type(fault), match=str(fault)):
            await following
        watching.cancel()
        await asyncio.wait([watching])
        assert asyncio.all_tasks() == before


async def test_looks_without_a_pause_change_nothing_that_saves_have_done(tmp_path: Path) -> None:
    files = {f"m{number}.yaml": model_text(f"m{number}") for number in range(20)}
    async with serving(tmp_path, files) as walk:
        looks = 0

        async def look_and_look() -> None:
            nonlocal looks
            while True:
                await walk.reload_all("reconcile")
                looks += 1

        looking_on = asyncio.create_task(look_and_look())
        for number in range(40):
            model = f"m{number % 20}"
            await walk.save(f"{model}.yaml", model_text(model, f"a{number}"))
            assert len(told(walk, ModelSwapped)) == number + 1  # whoever saw it first
            [entity] = walk.revision(model).linked.spec.entities.values()
            assert f"a{number}" in entity.attributes
        seen = looks
        await until(lambda: looks > seen + 1 or looking_on.done())
        looking_on.cancel()
        with suppress(asyncio.CancelledError):
            await looking_on
        assert len(told(walk, ModelSwapped)) == 40
