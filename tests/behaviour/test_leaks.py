"""Invariant 11: after any number of reloads, memory, threads, descriptors and tasks are what they were.

What a reload leaves behind for good would grow with their number; what caches fill up to, does not.
So it is measured after a warm-up that fills them, over as many reloads again.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import Walk, descriptors, drained, model_text, serving
from watcherd import events
from watcherd.compile.dispatch import Dispatcher
from watcherd.gateway import RouteTable
from watcherd.revision import Revision
from watcherd.store import Rows
from watcherd.store.sqlite import READERS

NEIGHBOUR = model_text("library", "shelf", entity="Book")
WARM_UP = 40

BYTES_AT_ALL, BYTES_A_RELOAD = 100_000, 100
"""Tables of interned names go on filling for a while (60 kB); a revision that stayed would be 20 kB a reload."""

PARTS = (Dispatcher, Rows, RouteTable)
"""What a revision consists of, and what names it."""


def shop(number: int) -> str:
    """Variants that add, remove, make unique and describe: what each has to be undone, too."""
    return model_text(
        "shop",
        f"color: {{type: string, description: as of {number}, unique: {str(number % 3 == 0).lower()}}}",
        *(["size"] if number % 2 else []),
    )


def counted(*kinds: type) -> Counter[type]:
    """How many objects of these types there are, those of other tests included."""
    gc.collect()
    return Counter(type(item) for item in gc.get_objects() if type(item) in kinds)


@dataclass(frozen=True)
class Footprint:
    """What a process holds, garbage collected."""

    threads: frozenset[threading.Thread]
    descriptors: Counter[str]
    tasks: int
    revisions: int
    bytes: int

    @classmethod
    def now(cls) -> Footprint:
        gc.unfreeze()  # what a reload has kept for good is not counted else, nor collected
        gc.collect()
        return cls(
            frozenset(threading.enumerate()),
            descriptors(),
            len(asyncio.all_tasks()),
            counted(Revision)[Revision],
            tracemalloc.get_traced_memory()[0],
        )


async def reload_under_requests(walk: Walk, numbers: range) -> None:
    """Each reload is crossed by a half-sent request, and one of ten is of a broken file."""
    for number in numbers:
        client, answering = walk.half_sent("/api/shop/items")
        await asyncio.sleep(0)
        if number % 10 == 9:
            await walk.save("shop.yaml", "domain: shop\nentities: [")
        else:
            await walk.save("shop.yaml", shop(number))
        client.send_body(b'"cup", "nothing": 1}')
        assert (await answering).status == 422
        assert (await walk.get("/api/shop/items")).status == 200
        assert (await walk.get("/openapi.json")).status == 200
        assert (await walk.get("/admin/pim")).status == 200
    await drained(walk, "shop")
    walk.events.clear()
    walk.rechecks.clear()


@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
async def test_11_reloads_leave_memory_threads_descriptors_and_tasks_as_they_were(tmp_path: Path, count: int) -> None:
    async with serving(tmp_path, {"shop.yaml": shop(0), "library.yaml": NEIGHBOUR}) as walk:
        await reload_under_requests(walk, range(WARM_UP))
        # Readers are started when they are needed, which is seldom: all of them now, and the loop's own threads too.
        together = threading.Barrier(READERS)
        await asyncio.gather(*(walk.store._database.read(lambda _: together.wait(120)) for _ in range(READERS)))
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(READERS))
        await asyncio.gather(*(asyncio.to_thread(together.wait, 120) for _ in range(READERS)))
        tracemalloc.start()
        try:
            # What was made before is not traced: the objects of the last warm-up are replaced first.
            await reload_under_requests(walk, range(WARM_UP, WARM_UP + 20))
            before = Footprint.now()
            await reload_under_requests(walk, range(WARM_UP + 20, WARM_UP + 20 + count))
            after = Footprint.now()
        finally:
            tracemalloc.stop()

        assert walk.generation > count * 0.8
        # Fewer are no leak: what other tests of this process have left may end meanwhile.
        assert not after.threads - before.threads
        assert not after.descriptors - before.descriptors
        assert after.tasks == before.tasks
        assert after.revisions <= before.revisions
        assert after.bytes - before.bytes < BYTES_AT_ALL + BYTES_A_RELOAD * count


async def test_11_a_retired_revision_is_collected_with_all_that_it_was_made_of(tmp_path: Path) -> None:
    before = counted(*PARTS)
    async with serving(tmp_path, {"shop.yaml": shop(0), "library.yaml": NEIGHBOUR}) as walk:
        await walk.post("/api/shop/items", {"name": "cup", "color": "red"})
        await walk.get("/openapi.json")
        retired = weakref.ref(walk.revision("shop"))
        await walk.save("shop.yaml", shop(1))
        await drained(walk, "shop")
        walk.events.clear()
        after = counted(*PARTS)

        assert retired() is None
        # The last document is kept as its bytes alone, and the empty table of the start is gone, too.
        assert [after[kind] - before[kind] for kind in PARTS] == [2, 2, 1]


@pytest.mark.parametrize("how", ["unload", "remove"])
async def test_11_a_model_out_of_service_is_collected(tmp_path: Path, how: str) -> None:
    async with serving(tmp_path, {"shop.yaml": shop(0), "library.yaml": NEIGHBOUR}) as walk:
        retired = weakref.ref(walk.revision("shop"))
        await (walk.unload("shop") if how == "unload" else walk.remove("shop.yaml"))
        await drained(walk, "shop")
        gc.collect()

        assert retired() is None


async def test_11_a_retired_revision_lives_as_long_as_a_request_on_it_and_no_longer(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": shop(0)}) as walk:
        client, answering = walk.half_sent("/api/shop/items")
        await asyncio.sleep(0)
        retired = weakref.ref(walk.revision("shop"))
        await walk.save("shop.yaml", shop(1))
        gc.collect()
        assert retired() is not None

        client.send_body(b'"cup", "color": "red"}')
        assert (await answering).status == 201
        del client, answering
        await drained(walk, "shop")
        gc.collect()

        assert retired() is None
        assert [event.name for event in walk.events if isinstance(event, events.ModelDrained)] == ["model.drained"]


async def test_11_a_refused_file_leaves_nothing_of_its_attempts(tmp_path: Path) -> None:
    before = counted(Revision)
    async with serving(tmp_path, {"shop.yaml": model_text("shop", "color")}) as walk:
        await walk.post("/api/shop/items", {"name": "cup"})
        for number in range(5):
            await walk.save("shop.yaml", model_text("shop", f"a{number}: {{type: string, required: true}}"))
        assert await walk.codes("shop.yaml") == ["PIM609"]

        assert counted(Revision)[Revision] - before[Revision] == 1
