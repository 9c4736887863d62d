"""Two daemons on one database: what one has done, the other takes up."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.helpers import Walk, drained, model_text, serving

ON_BOTH_DATABASES = True

FIRST = model_text("shop", "size: integer")
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
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with (
        serving(tmp_path / "one", {"shop.yaml": FIRST}, database_url=database_url) as one,
        serving(tmp_path / "two", {"shop.yaml": FIRST}, database_url=database_url) as two,
    ):
        for walk in (one, two):
            await walk.store.enter()
            await walk.store.speak({"shop": 1})
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


async def _heeds(walk: Walk) -> bool:
    """Whether a heartbeat finds something to do."""
    return walk.reloader.heed_others(await walk.store.speak({"shop": 1}))


async def _beat(*walks: Walk) -> None:
    """What the heartbeats of daemons say, for ever."""
    while True:
        for walk in walks:
            await walk.store.speak({"shop": walk.revision("shop").number})
        await asyncio.sleep(0.01)
