"""Two daemons on one database: what one has done, the other takes up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.helpers import Walk, drained, model_text, serving

ON_BOTH_DATABASES = True

FIRST = model_text("shop", "size: integer")
THIRD = model_text("shop", "size: integer", "color: string")
FOURTH = model_text("shop", "size: integer", "color: string", "weight: integer")
SECOND = model_text("shop", "size: {type: decimal, scale: 2}")


async def test_a_model_that_another_process_has_changed_and_changed_back_is_taken_up_in_its_newest_shape(
    tmp_path: Path, database_url: str
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with (
        serving(tmp_path / "one", {"shop.yaml": FIRST}, database_url=database_url) as one,
        serving(tmp_path / "two", {"shop.yaml": FIRST}, database_url=database_url) as two,
    ):
        await one.store.enter()
        await two.store.enter()
        assert not one.reloader.heed_others(await one.store.speak({"shop": 1}))
        await two.store.speak({"shop": 1})
        row = await one.post("/api/shop/items", {"name": "a", "size": 1})
        await two.save("shop.yaml", SECOND)
        assert not one.reloader.heed_others(await one.store.speak({"shop": 1})), "it means something else here"
        await two.save("shop.yaml", FIRST)
        assert (two.revision("shop").number, one.revision("shop").number) == (3, 1)

        # Both say the same again, but no longer by the same columns.
        heard = await one.store.speak({"shop": 1})
        assert one.reloader.heed_others(heard)
        assert not one.reloader.heed_others(heard), "once is enough"
        report = await one.reload_all("restart")
        assert report.swapped == ("shop",)
        assert one.revision("shop").number == 3
        assert not one.reloader.heed_others(await one.store.speak({"shop": 3}))
        hearts = asyncio.create_task(_beat(one, two))
        await drained(one, "shop")
        await drained(two, "shop")
        hearts.cancel()
        for walk, size in ((one, 2), (two, 3)):
            changed = await walk.call("PATCH", f"/api/shop/items/{row['id']}", {"size": size})
            assert changed.status == 200
            for reader in (one, two):
                assert (await reader.get(f"/api/shop/items/{row['id']}")).json["size"] == size
        assert await one.store.drift() == {}
        assert (await one.store.plan(one.revision("shop").linked)).loosen == ()


async def test_what_is_unloaded_or_loaded_at_one_process_is_so_at_the_others(tmp_path: Path, database_url: str) -> None:
    async with _two(tmp_path, database_url) as (one, two):
        assert not await _heeds(one)
        await two.unload("shop")
        assert await _heeds(one)
        assert not await _heeds(one), "once is enough"
        await one.reload_all("restart")
        assert (await one.state("shop.yaml"), (await one.get("/api/shop/items")).status) == ("unloaded", 404)
        assert not await _heeds(one)
        assert not await _heeds(two)
        await one.load("shop.yaml")
        assert not await _heeds(one)
        assert await _heeds(two)
        await two.reload_all("restart")
        assert (await two.state("shop.yaml"), (await two.get("/api/shop/items")).status) == ("live", 200)
        # What is heard may be out of date: what the catalog says when it is done counts.
        await two.unload("shop")
        assert await _heeds(one)
        await two.load("shop.yaml")
        await one.reload_all("restart")
        assert await one.state("shop.yaml") == "live"
        # And what was ordered here later than what was heard stays.
        await two.unload("shop")
        assert await _heeds(one)
        await one.load("shop.yaml")
        assert (await one.state("shop.yaml"), (await one.store.catalog())["shop"].unloaded) == ("live", False)


async def test_what_is_taken_back_at_one_process_is_so_at_the_others_and_so_is_its_end(
    tmp_path: Path, database_url: str
) -> None:
    async with _two(tmp_path, database_url) as (one, two):
        await one.save("shop.yaml", THIRD)
        await two.save("shop.yaml", THIRD)
        for walk in (one, two):
            assert not await _heeds(walk)
        assert await _rolls_back(two, 1) == 200
        assert await _heeds(one)
        assert not await _heeds(one), "once is enough"
        await one.reload_all("restart")
        assert await one.state("shop.yaml") == "rolled_back"
        assert one.revision("shop").number == two.revision("shop").number == 3
        assert await _shown(one) == await _shown(two) == {"id", "name", "size"}
        for walk in (one, two):
            assert not await _heeds(walk)

        # To yet another one, at the one that has followed.
        await one.save("shop.yaml", FOURTH)
        await two.save("shop.yaml", FOURTH)
        assert await _rolls_back(one, 2) == 200
        assert await _heeds(two)
        await two.reload_all("restart")
        assert await _shown(two) == {"id", "name", "size", "color"}
        assert await _rolls_back(one, 1) == 200
        assert await _heeds(two)
        await two.reload_all("restart")
        assert await _shown(two) == {"id", "name", "size"}

        await two.load("shop.yaml")
        assert await _heeds(one)
        await one.reload_all("restart")
        assert await one.state("shop.yaml") == "live"
        assert await _shown(one) == {"id", "name", "size", "color", "weight"}
        for walk in (one, two):
            assert not await _heeds(walk)


async def test_a_rollback_of_a_file_that_is_another_one_here_is_not_followed(tmp_path: Path, database_url: str) -> None:
    async with _two(tmp_path, database_url) as (one, two):
        await one.save("shop.yaml", FOURTH)
        await two.save("shop.yaml", THIRD)
        assert await _rolls_back(two, 1) == 200
        assert not await _heeds(one)
        await one.reload_all("restart")
        assert await one.state("shop.yaml") == "live"

        # What was heard may be out of date: what the catalog says when it is done counts.
        await two.save("shop.yaml", FOURTH)
        assert await _rolls_back(two, 1) == 200
        assert await _heeds(one)
        await two.load("shop.yaml")
        await one.reload_all("restart")
        assert await one.state("shop.yaml") == "live"


async def test_what_another_process_serves_from_another_file_does_not_end_a_rollback_here(
    tmp_path: Path, database_url: str
) -> None:
    async with _two(tmp_path, database_url) as (one, two):
        for walk in (one, two):
            await walk.save("shop.yaml", THIRD)
        assert await _rolls_back(one, 1) == 200
        await two.save("shop.yaml", FOURTH)
        assert await _heeds(one), "it serves from a file, and which one is seen when it is looked at"
        await one.reload_all("restart")
        assert await one.state("shop.yaml") == "rolled_back"
        assert not await _heeds(one), "once is enough"


@asynccontextmanager
async def _two(tmp_path: Path, database_url: str) -> AsyncIterator[tuple[Walk, Walk]]:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with (
        serving(tmp_path / "one", {"shop.yaml": FIRST}, database_url=database_url) as one,
        serving(tmp_path / "two", {"shop.yaml": FIRST}, database_url=database_url) as two,
    ):
        for walk in (one, two):
            await walk.store.enter()
            await walk.store.speak({"shop": 1})
        yield one, two


async def _rolls_back(walk: Walk, revision: int) -> int:
    return (await walk.call("POST", "/admin/pim/shop/rollback", {"revision": revision})).status


async def _shown(walk: Walk) -> set[str]:
    """The attributes of a row."""
    return set(await walk.post("/api/shop/items", {"name": "a", "size": 1})) - {"created_at", "updated_at"}


async def _heeds(walk: Walk) -> bool:
    """Whether a heartbeat finds something to do."""
    return walk.reloader.heed_others(await walk.store.speak({"shop": 1}))


async def _beat(*walks: Walk) -> None:
    """What the heartbeats of daemons say, for ever."""
    while True:
        for walk in walks:
            await walk.store.speak({"shop": walk.revision("shop").number})
        await asyncio.sleep(0.01)
