"""Tables that somebody else changed: told to those who look, and served on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.helpers import Walk, model_text, serving
from watcherd import events

FILES = {"shop.yaml": model_text("shop", "mail"), "library.yaml": model_text("library")}


def meddle(tmp_path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(tmp_path / "data" / "watcherd.db")) as other:
        for statement in statements:
            other.execute(statement)
        other.commit()


def drifted(walk: Walk) -> list[events.Event]:
    return [one for one in walk.events if isinstance(one, events.SchemaDrifted | events.SchemaRestored)]


async def test_a_changed_table_is_told_at_the_next_reload_that_is_asked_for_and_no_sooner(tmp_path: Path) -> None:
    async with serving(tmp_path, FILES) as walk:
        assert (await walk.get("/admin/pim/shop")).json["drift"] == []
        meddle(tmp_path, "ALTER TABLE shop__item ADD COLUMN mine INTEGER")
        await walk.reload_all("reconcile")
        assert drifted(walk) == []
        reply = await walk.call("POST", "/admin/reload")
        assert reply.status == 200
        assert drifted(walk) == [events.SchemaDrifted("shop", ("the column mine of shop__item is not ours",))]
        assert (await walk.get("/admin/pim/shop")).json["drift"] == [
            {"table": "shop__item", "kind": "column", "name": "mine", "wanted": None, "found": "INTEGER"}
        ]
        assert (await walk.get("/admin/pim/library")).json["drift"] == []
        await walk.post("/api/shop/items", {"name": "served all the same"})
        meddle(tmp_path, "ALTER TABLE shop__item DROP COLUMN mine")
        await walk.reload_all("signal")
        assert drifted(walk)[1:] == [events.SchemaRestored("shop")]
        assert (await walk.get("/admin/pim/shop")).json["drift"] == []


async def test_a_start_finds_what_was_changed_meanwhile_and_serves(tmp_path: Path) -> None:
    async with serving(tmp_path, FILES):
        pass
    meddle(tmp_path, "DROP TABLE shop__item")
    async with serving(tmp_path) as walk:
        assert drifted(walk) == [events.SchemaDrifted("shop", ("the table shop__item is missing",))]
        assert walk.reloader.drift.reasons
        assert (await walk.get("/api/library/items")).status == 200


async def test_what_is_parked_is_watched_over_as_well(tmp_path: Path) -> None:
    async with serving(tmp_path, FILES) as walk:
        await walk.remove("shop.yaml")
        assert "drift" not in (await walk.get("/admin/pim/shop")).json
        meddle(tmp_path, "DROP TABLE shop__item")
        await walk.reload_all()
        assert drifted(walk) == [events.SchemaDrifted("shop", ("the table shop__item is missing",))]
        shown = await walk.get("/admin/pim/shop")
        assert (shown.status, [one["kind"] for one in shown.json["drift"]]) == (404, ["table"])
