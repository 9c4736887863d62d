"""The reloads as they are told: what changed for clients, in order, within bounds, and holding no revision."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from tests.helpers import Walk, drained, model_text, serving
from watcherd.admin.timeline import KEPT, MOST_CHANGES, MOST_MODELS, Entry, Timeline
from watcherd.errors import StoreUnavailableError
from watcherd.pim.linked import LinkedModel
from watcherd.store import SchemaPlan, Store
from watcherd.waves import FIRST_BYTES


def followed(walk: Walk) -> Timeline:
    """A timeline of what a walk tells from its start on."""
    timeline = Timeline(lambda: walk.reloader.world)
    for event in walk.events:
        timeline.heard(event)
    walk.reloader._publish = timeline.heard
    return timeline


def newest(timeline: Timeline) -> Entry:
    return timeline.entries[0]


async def test_a_start_tells_of_each_model(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": model_text("shop"), "library.yaml": model_text("library")}) as walk:
        (entry,) = followed(walk).entries

    assert (entry.reason, entry.generation, entry.more, entry.error) == ("start", 1, 0, "")
    assert [(news.model, news.what, news.revision) for news in entry.models] == [
        ("library", "loaded", 1),
        ("shop", "loaded", 1),
    ]
    assert entry.models[0].tables


async def test_a_start_that_fails_in_the_middle_tells_of_what_serves_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Store.plan

    async def fails(store: Store, linked: LinkedModel) -> SchemaPlan:
        if linked.spec.domain == "large":
            raise StoreUnavailableError("the disk is full")
        return await plan(store, linked)

    monkeypatch.setattr(Store, "plan", fails)
    files = {"shop.yaml": model_text("shop"), "large.yaml": f"# {'x' * FIRST_BYTES}\n" + model_text("large")}
    async with serving(tmp_path, files, start=False) as walk:
        with pytest.raises(StoreUnavailableError):
            await walk.start()
        (entry,) = followed(walk).entries

    assert (entry.reason, entry.error) == ("start", "the disk is full")
    assert [(news.model, news.what) for news in entry.models] == [("shop", "loaded")]


async def test_a_change_tells_what_clients_notice(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": model_text("shop", "color")}) as walk:
        timeline = followed(walk)
        await walk.save("shop.yaml", model_text("shop", "weight: float"))
        (news,) = newest(timeline).models

        assert (news.model, news.what, news.revision, news.breaking) == ("shop", "changed", 2, 1)
        assert [(change.change.value, change.subject) for change in news.changes] == [
            ("removed", "Item.color"),
            ("added", "Item.weight"),
        ]
        last = timeline.last_of("shop")
        assert last is newest(timeline)

        # Compared with the revision before, not with the first.
        await walk.save("shop.yaml", model_text("shop", "weight: float", "size: integer"))
        assert [change.subject for change in newest(timeline).models[0].changes] == ["Item.size"]


async def test_a_rejection_an_unload_and_a_removal_are_told(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": model_text("shop"), "library.yaml": model_text("library")}) as walk:
        timeline = followed(walk)
        await walk.save("shop.yaml", model_text("shop", "color: strnig"))
        (rejected,) = newest(timeline).models
        await walk.unload("library")
        (unloaded,) = newest(timeline).models
        await walk.remove("shop.yaml")
        (removed,) = newest(timeline).models

        assert (rejected.what, rejected.revision) == ("rejected", 1)
        assert rejected.note.startswith("shop.yaml:6:14 PIM207 ")
        assert (unloaded.model, unloaded.what, unloaded.note) == ("library", "unloaded", "by an administrator")
        assert (removed.model, removed.what, removed.note) == ("shop", "unloaded", "file removed")
        assert timeline.last_of("shop") is None
        assert timeline.last_of("library") is not None


async def test_what_changes_nothing_is_not_told(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": model_text("shop")}) as walk:
        timeline = followed(walk)
        await walk.save("shop.yaml", "# a comment\n" + model_text("shop"))
        await walk.reload_all()

        assert len(timeline.entries) == 1


async def test_what_is_told_is_bounded(tmp_path: Path) -> None:
    files = {f"m{number}.yaml": model_text(f"m{number}") for number in range(MOST_MODELS + 3)}
    async with serving(tmp_path, files) as walk:
        timeline = followed(walk)
        assert (len(newest(timeline).models), newest(timeline).more) == (MOST_MODELS, 3)

        many = [f"a{number}" for number in range(MOST_CHANGES + 5)]
        await walk.save("m0.yaml", model_text("m0", *many))
        (news,) = newest(timeline).models
        assert (len(news.changes), news.total) == (MOST_CHANGES, MOST_CHANGES + 5)

        for number in range(KEPT + 5):
            await walk.save("m1.yaml", model_text("m1", *(["color"] if number % 2 else [])))
        assert len(timeline.entries) == KEPT
        assert newest(timeline).number > KEPT


async def test_a_retired_revision_is_free_to_go(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": model_text("shop")}) as walk:
        followed(walk)
        old = weakref.ref(walk.revision("shop"))
        await walk.save("shop.yaml", model_text("shop", "color"))
        await drained(walk, "shop")
        gc.collect()

        assert old() is None
