"""What is told before the disk has it, and what a loss of power leaves of it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.store.models import apply, attribute, entity, key, model, record
from watcherd.store import Select, Store, late_sync
from watcherd.store.cursor import Cursor
from watcherd.store.database import database_path
from watcherd.store.sqlite import SqliteDatabase

NORMAL, FULL = 1, 2
_LOG_HEADER, _FRAME_HEADER = 32, 24


def level(cursor: Cursor) -> int:
    """What the commit of this write will wait for."""
    found: int = cursor.execute("PRAGMA synchronous").fetchone()[0]
    return found


async def test_what_follows_from_the_files_is_told_before_the_disk_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, synced = threading.Event(), []

    def wait_until_told(log: Path) -> None:
        assert told.wait(120)
        synced.append(log.name)

    monkeypatch.setattr(late_sync, "make_up", wait_until_told)
    database = SqliteDatabase(tmp_path / "x.db")
    await database.change(lambda cursor: cursor.execute("CREATE TABLE t (x)") and None, from_files=True)
    assert (await database.read(lambda cursor: cursor.execute("SELECT count(*) FROM t").fetchone())) == (0,)
    assert synced == []
    told.set()
    await database.write(lambda cursor: cursor.execute("INSERT INTO t VALUES (1)") and None)
    assert synced == ["x.db-wal"]
    await database.close()


async def test_only_what_follows_from_the_files_is_told_before_the_disk_has_it(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "x.db")
    assert await database.change(level, from_files=True) == NORMAL
    assert await database.write(level) == FULL
    assert await database.change(level) == FULL
    assert await database.change(level, apart=True, from_files=True) == FULL
    with pytest.raises(ZeroDivisionError):
        await database.change(lambda _: 1 // 0, from_files=True)
    assert await database.write(level) == FULL
    await database.close()


async def test_rows_that_are_written_together_with_a_change_are_waited_for(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "x.db")
    entered, go_on = threading.Event(), threading.Event()

    def hold(_: Cursor) -> None:
        entered.set()
        assert go_on.wait(120)

    holding = asyncio.create_task(database.write(hold))
    await asyncio.to_thread(entered.wait, 120)
    together = [asyncio.create_task(work) for work in (database.change(level, from_files=True), database.write(level))]
    await asyncio.sleep(0)
    go_on.set()
    assert await asyncio.gather(*together) == [FULL, FULL]
    await holding
    await database.close()


async def test_nothing_is_told_early_where_there_is_no_write_ahead_log(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("PRAGMA synchronous=FULL")
        assert late_sync.put_off(connection) is False
        assert connection.execute("PRAGMA synchronous").fetchone() == (FULL,)


@pytest.mark.parametrize("durability", ["normal", "off"])
async def test_nothing_is_synced_where_nobody_asked_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Any
) -> None:
    monkeypatch.delattr(late_sync, "make_up")
    database = SqliteDatabase(tmp_path / "x.db", durability=durability)
    assert await database.change(level, from_files=True) == await database.write(level) < FULL
    await database.close()


async def test_a_record_that_only_an_administrator_wanted_is_on_the_disk_when_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = []
    monkeypatch.setattr("watcherd.store.apply.records.record", lambda cursor, _: levels.append(level(cursor)))
    store = await Store.open(None, tmp_path)
    await apply(store, model(entity("Item")))
    plan = await store.plan(model(entity("Item", attribute("name"))))
    await store.expand(plan, record(plan.linked, 2))
    await store.expand(await store.plan(plan.linked), replace(record(plan.linked, 3), overrides="digest of the file"))
    assert levels == [NORMAL, FULL]
    await store.close()


async def test_a_loss_of_power_leaves_tables_catalog_and_rows_as_they_were_at_some_moment(tmp_path: Path) -> None:
    """The log may be cut anywhere that no answer has waited for: at each end of it, what is there fits together."""
    home = tmp_path / "home"
    store = await Store.open(None, home)
    before, after = (
        model(entity("Item", attribute("name"))),
        model(entity("Item", attribute("name"), attribute("size"))),
    )
    await (await apply(store, before))["Item"].insert([{"id": key(1), "name": "old"}])
    path = database_path(None, home)
    told = path.with_name(f"{path.name}-wal").stat().st_size
    rows = (await apply(store, after, 2))["Item"]
    changed = path.with_name(f"{path.name}-wal").stat().st_size
    await rows.insert([{"id": key(2), "name": "new", "size": "L"}])
    content = path.read_bytes(), path.with_name(f"{path.name}-wal").read_bytes()
    await store.close()

    found = set()
    for number, end in enumerate(_ends_of_frames(content[1], told)):
        lost = tmp_path / f"lost-{number}"
        lost.mkdir()
        database_path(None, lost).write_bytes(content[0])
        database_path(None, lost).with_name(f"{path.name}-wal").write_bytes(content[1][:end])
        found.add((end >= changed, *await _what_is_left(lost, after)))
    assert found == {(False, 1, ("old",)), (True, 2, ("old",)), (True, 2, ("old", "new"))}


async def _what_is_left(home: Path, wanted: Any) -> tuple[int, tuple[Any, ...]]:
    """The revision and the rows after a loss of power; the next start comes to the same from there."""
    store = await Store.open(None, home)
    assert await store.drift() == {}
    revision = (await store.catalog())["shop"].revision
    rows = await apply(store, wanted, 2)
    names = tuple(row.values["name"] for row in (await rows["Item"].list(Select())).rows)
    await rows["Item"].insert([{"id": key(3), "name": "then", "size": "M"}])
    await store.close()
    return revision, names


def _ends_of_frames(log: bytes, told: int) -> list[int]:
    """Where a log may end from `told` on: after each frame, and within one."""
    page = int.from_bytes(log[8:12], "big")
    ends = range(_LOG_HEADER, len(log) + 1, _FRAME_HEADER + page)
    assert told in ends
    return [cut for end in ends if end >= told for cut in (end, end + _FRAME_HEADER + page // 2) if cut <= len(log)]


async def test_what_is_owed_to_the_disk_is_made_up_with_a_real_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fdatasync

    def noted(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", noted)
    late_sync.make_up(tmp_path / "missing")
    (tmp_path / "log").touch()
    late_sync.make_up(tmp_path / "log")
    assert synced == ["log"]
    # Not how many there are: other threads of this process open and close theirs.
    assert str(tmp_path / "log") not in {os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()}
