"""A database whose files are deleted, moved or replaced while it is open: nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from watcherd.errors import StoreError, StoreUnavailableError
from watcherd.store import place as module
from watcherd.store.backup import BACKUPS, copy_of
from watcherd.store.cursor import Cursor
from watcherd.store.place import Place
from watcherd.store.session import Session
from watcherd.store.sqlite import SqliteDatabase

FILES = ("x.db", "x.db-wal", "x.db-shm")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    return path


@pytest.fixture
async def database(home: Path) -> AsyncIterator[SqliteDatabase]:
    opened = SqliteDatabase(home / "x.db", durability="normal", tenure="leading")
    await opened.write(lambda cursor: cursor.execute("CREATE TABLE t (x INTEGER PRIMARY KEY)") and None)
    yield opened
    await opened.close()


def insert(cursor: Cursor, value: int) -> None:
    cursor.execute("INSERT INTO t VALUES (?)", (value,))


def values(cursor: Cursor) -> list[int]:
    return [value for (value,) in cursor.execute("SELECT x FROM t ORDER BY x").fetchall()]


def stored_in(file: Path) -> list[int]:
    with closing(sqlite3.connect(file)) as connection:
        return [value for (value,) in connection.execute("SELECT x FROM t ORDER BY x")]


async def add(database: SqliteDatabase, value: int) -> None:
    await database.write(lambda cursor: insert(cursor, value))


def an_hour_ago(directory: Path) -> None:
    """As if nothing had been made or deleted there for long: only then is its time believed."""
    then = time.time() - 3600
    os.utime(directory, (then, then))


@pytest.mark.parametrize("old", [False, True], ids=["new directory", "old directory"])
@pytest.mark.parametrize("replaced", [False, True], ids=["moved", "replaced"])
@pytest.mark.parametrize("name", FILES)
async def test_while_a_file_is_not_in_its_place_nothing_is_written_and_all_is_read(
    home: Path, database: SqliteDatabase, name: str, replaced: bool, old: bool
) -> None:
    await database.read(values)  # its connection is open
    if old:
        an_hour_ago(home)
    await add(database, 1)
    assert await database.health() is None
    (home / name).rename(home / "away")
    if replaced:
        (home / name).write_bytes(b"")
    for value in (2, 3):
        with pytest.raises(
            StoreUnavailableError, match=r"x\.db was deleted or replaced while it is open.*move the file"
        ):
            await add(database, value)
    assert str(home / "x.db") in str(await database.health())
    assert "saved" not in str(await database.health()), "it was moved, and is safe where it is"
    with pytest.raises(StoreUnavailableError):
        await database.change(lambda cursor: cursor.execute("CREATE TABLE u (x)") and None, apart=True)
    assert database.at_once.fetch_row("SELECT x FROM t WHERE x = 1", ()) == (1,)
    assert 1 in await database.read(values)

    (home / "away").replace(home / name)
    await add(database, 4)
    assert await database.health() is None
    assert {1, 4} <= set(await database.read(values)) <= {1, 2, 4}, "once it was known, nothing was written"


async def test_a_write_during_which_the_file_is_deleted_is_not_acknowledged(
    home: Path, database: SqliteDatabase
) -> None:
    def insert_and_delete(cursor: Cursor) -> None:
        insert(cursor, 1)
        (home / "x.db").unlink()

    with pytest.raises(StoreUnavailableError, match="nothing is written any more"):
        await database.write(insert_and_delete)


async def test_a_transaction_of_many_steps_is_not_acknowledged_either(home: Path, database: SqliteDatabase) -> None:
    async def steps(session: Session) -> None:
        await session.run(lambda cursor: insert(cursor, 1), writes=True)
        (home / "x.db").unlink()

    with pytest.raises(StoreUnavailableError, match="nothing is written any more"):
        await database.interact(steps)

    async def reads(session: Session) -> list[int]:
        return await session.run(values)

    async def writes(session: Session) -> None:
        await session.run(lambda cursor: insert(cursor, 2), writes=True)

    assert await database.interact(reads) == [1]
    with pytest.raises(StoreUnavailableError, match="nothing is written any more"):
        await database.interact(writes)
    assert await database.interact(reads) == [1]


@pytest.mark.parametrize("names", [FILES, FILES[:1], FILES[1:2]], ids=["all", "database", "log"])
async def test_what_a_deleted_file_held_is_saved_once(
    home: Path, database: SqliteDatabase, names: tuple[str, ...]
) -> None:
    for value in range(100):
        await add(database, value)
    for name in names:
        (home / name).unlink()
    for value in (100, 101, 102):  # the second is answered when the copy is made
        with pytest.raises(StoreUnavailableError):
            await add(database, value)
    (copy,) = (home / BACKUPS).iterdir()
    assert f"what it held was saved as {copy}; " in str(await database.health())
    assert stored_in(copy)[:100] == list(range(100))


async def test_of_a_whole_directory_that_is_deleted_the_rows_are_saved_in_a_new_one(
    home: Path, database: SqliteDatabase
) -> None:
    await add(database, 1)
    shutil.rmtree(home)
    for value in (2, 3):
        with pytest.raises(StoreUnavailableError):
            await add(database, value)
    (copy,) = (home / BACKUPS).iterdir()
    assert 1 in stored_in(copy)


async def test_a_copy_that_cannot_be_made_is_told_of(home: Path, database: SqliteDatabase) -> None:
    (home / BACKUPS).write_text("in the way")
    (home / "x.db").unlink()
    for value in (1, 2):
        with pytest.raises(StoreUnavailableError, match="was deleted or replaced"):
            await add(database, value)
    assert f"cannot back up {home / 'x.db'} to {home / BACKUPS}" in str(await database.health())


async def test_who_does_not_lead_saves_nothing(home: Path) -> None:
    database = SqliteDatabase(home / "x.db", durability="normal")
    await database.write(lambda cursor: cursor.execute("CREATE TABLE t (x)") and None)
    (home / "x.db").unlink()
    for value in (1, 2):
        with pytest.raises(StoreUnavailableError):
            await add(database, value)
    assert not (home / BACKUPS).exists()
    await database.close()


async def test_writes_from_all_sides_are_in_the_copy_if_they_were_acknowledged(
    home: Path, database: SqliteDatabase
) -> None:
    acknowledged: list[int] = []
    enough = asyncio.Event()

    async def write(first: int) -> None:
        for value in range(first, first + 1_000_000):
            try:
                await add(database, value)
            except StoreUnavailableError:
                return
            acknowledged.append(value)
            if len(acknowledged) >= 200:
                enough.set()

    writing = [asyncio.create_task(write(1_000_000 * number)) for number in range(8)]
    await enough.wait()
    for name in FILES:
        (home / name).unlink()
    await asyncio.gather(*writing)
    with pytest.raises(StoreUnavailableError):
        await add(database, -1)
    (copy,) = (home / BACKUPS).iterdir()
    assert set(acknowledged) <= set(stored_in(copy))


async def test_a_copy_ends_when_nobody_waits_for_it_any_longer(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as source:
        source.execute("CREATE TABLE t (x)")
        with pytest.raises(StoreError, match="there is no time left"):
            copy_of(source, tmp_path / "x.db", lambda: False)


def test_a_directory_in_which_nothing_has_changed_for_long_costs_one_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in FILES:
        (tmp_path / name).touch()
    place = Place(tmp_path / "x.db", saves=False)
    looked: list[object] = []
    identity = module._identity
    monkeypatch.setattr(module, "_identity", lambda name: looked.append(name) or identity(name))
    os.utime(tmp_path, (time.time() + 3600,) * 2)  # it has changed just now, however long ago it was by the clock
    assert place.lost() is None
    assert len(looked) == 3, "its time is not to be believed yet"
    an_hour_ago(tmp_path)
    place.lost()
    looked.clear()
    assert place.lost() is None
    assert looked == []


def test_a_link_to_another_database_is_another_database(tmp_path: Path) -> None:
    for name in ("one", "two", "x.db-wal", "x.db-shm"):
        (tmp_path / name).touch()
    link = tmp_path / "x.db"
    link.symlink_to("one")
    place = Place(link, saves=False)
    an_hour_ago(tmp_path)
    then = tmp_path.stat().st_mtime_ns
    assert place.lost() is None
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(link)
    os.utime(tmp_path, ns=(then, then))  # as if the link led through a directory that nobody looks at
    assert place.lost() is not None
    with pytest.raises(StoreUnavailableError, match=str(link)):
        place.check()


def test_many_threads_ask_at_once(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).touch()
    place = Place(tmp_path / "x.db", saves=False)
    told: list[str | None] = []
    begin = threading.Barrier(4)

    def ask() -> None:
        begin.wait()
        told.extend(place.lost() for _ in range(500))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [None] * 2000
