"""Small changes that the event loop's thread writes itself: never where somebody would have to be waited for."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.unit.store.models import apply, attribute, entity, key, model, record
from watcherd.errors import StoreUnavailableError
from watcherd.store import Store, late_sync, writer
from watcherd.store import apply as applying
from watcherd.store.cursor import Cursor
from watcherd.store.database import Database, database_path
from watcherd.store.sqlite import Durability, SqliteDatabase
from watcherd.store.writer import Writer

TABLE = "CREATE TABLE t (x)"


def insert(cursor: Cursor, value: int) -> str:
    """Write a row; answers the name of the thread that did."""
    cursor.execute("INSERT INTO t VALUES (?)", (value,))
    return threading.current_thread().name


def values(cursor: Cursor) -> list[int]:
    return [value for (value,) in cursor.execute("SELECT x FROM t ORDER BY x").fetchall()]


async def change(database: SqliteDatabase, value: int) -> str:
    """A change that may be written at once."""
    work = partial(insert, value=value)
    return await database.change(work, from_files=True, at_once=work)


async def settled(database: Database) -> None:
    """Wait until the writer's thread has nothing more to do; what it does after an answer is over with the next."""
    await asyncio.sleep(0)  # then it has been asked for what there is to make up for
    for _ in range(2):
        await database.write(lambda _: None)


@pytest.fixture
async def database(tmp_path: Path) -> Any:
    opened = SqliteDatabase(tmp_path / "x.db", busy_timeout=0.2)
    await opened.change(lambda cursor: cursor.execute(TABLE) and None)
    await settled(opened)
    yield opened
    await opened.close()


def pragmas(database: SqliteDatabase) -> list[Any]:
    connection = database._writer._connection
    assert connection is not None
    names = ("synchronous", "busy_timeout", "wal_autocheckpoint", "foreign_keys")
    return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]


async def test_the_event_loop_waits_for_nobody_while_it_writes(database: SqliteDatabase) -> None:
    here = threading.current_thread()
    found: list[Any] = []

    def look(_: Cursor) -> None:
        assert threading.current_thread() is here
        found.extend(pragmas(database))

    await database.change(look, from_files=True, at_once=look)
    assert found[:3] == [1, 0, 0], "it neither waits for the disk, nor for others, nor moves pages"


async def test_a_small_change_is_committed_by_the_thread_of_the_event_loop(database: SqliteDatabase) -> None:
    before = pragmas(database)
    assert await change(database, 1) == threading.current_thread().name
    assert await database.read(values) == [1]
    assert pragmas(database) == before


@pytest.mark.parametrize("durability", ["full", "normal", "off"])
async def test_the_disk_gets_it_later_where_anybody_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Durability
) -> None:
    synced = threading.Event()
    monkeypatch.setattr(late_sync, "make_up", lambda _: synced.set())
    database = SqliteDatabase(tmp_path / "x.db", durability=durability)
    await database.change(lambda cursor: cursor.execute(TABLE) and None)
    await settled(database)
    assert await change(database, 1) == threading.current_thread().name
    await database.close()
    assert synced.is_set() is (durability == "full")


async def test_while_others_write_a_change_takes_its_turn(database: SqliteDatabase) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold(_: Cursor) -> None:
        entered.set()
        go_on.wait()

    holding = asyncio.create_task(database.write(hold))
    await asyncio.to_thread(entered.wait)
    changing = asyncio.create_task(change(database, 1))
    await asyncio.sleep(0)
    assert not changing.done()
    go_on.set()
    assert await changing == "watcherd-writer"
    await holding


async def test_another_process_is_waited_for_in_the_thread(database: SqliteDatabase, tmp_path: Path) -> None:
    before = pragmas(database)
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError):
            await change(database, 1)
        other.execute("ROLLBACK")
    assert await change(database, 2) in {"watcherd-writer", threading.current_thread().name}
    assert await database.read(values) == [2]
    assert pragmas(database) == before


async def test_what_a_write_raises_undoes_it(database: SqliteDatabase) -> None:
    before = pragmas(database)

    def fail(cursor: Cursor) -> str:
        insert(cursor, 1)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await database.change(fail, from_files=True, at_once=fail)
    assert await database.read(values) == []
    assert pragmas(database) == before
    assert await change(database, 2) == threading.current_thread().name


async def test_what_the_database_refuses_is_tried_in_the_thread_and_has_happened_once(database: SqliteDatabase) -> None:
    async def broken(statement: str) -> str:
        def work(cursor: Cursor) -> str:
            insert(cursor, 1)
            cursor.execute(statement)
            return ""

        return await database.change(partial(insert, value=7), from_files=True, at_once=work)

    assert await broken("INSERT INTO missing VALUES (1)") == "watcherd-writer"
    assert await database.read(values) == [7]


async def test_writes_of_both_threads_side_by_side_are_all_kept(database: SqliteDatabase) -> None:
    threads = set()

    async def write(number: int) -> None:
        await database.write(partial(insert, value=number))

    async def keep_changing(numbers: range) -> None:
        for number in numbers:
            threads.add(await change(database, number))
            await asyncio.sleep(0)

    await asyncio.gather(keep_changing(range(1000, 1100)), *(write(number) for number in range(300)))
    await keep_changing(range(1100, 1110))
    assert await database.read(values) == [*range(300), *range(1000, 1110)]
    assert threading.current_thread().name in threads


async def test_the_log_is_moved_to_the_database_by_the_other_thread(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(writer, "MOST_NOT_MOVED", 3)
    before = (tmp_path / "x.db").stat().st_size
    mine = []
    while mine.count(threading.current_thread().name) < writer.MOST_NOT_MOVED:
        mine.append(await change(database, len(mine)))
    for _ in range(2):  # what was asked of the thread before is done
        await database.write(partial(insert, value=len(mine)))
    assert (tmp_path / "x.db").stat().st_size > before
    assert await database.read(values) == [*range(len(mine)), len(mine), len(mine)]


async def test_a_connection_that_is_not_as_it_was_is_not_used_any_more(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: sqlite3.Connection) -> None:
        monkeypatch.undo()
        raise sqlite3.OperationalError("out of memory")

    before, connection = pragmas(database), database._writer._connection
    monkeypatch.setattr(late_sync, "restore", fail)
    assert await change(database, 1) == "watcherd-writer"
    await settled(database)
    assert database._writer._connection is not connection
    assert pragmas(database) == before


async def test_nothing_is_written_at_once_when_the_file_is_gone(database: SqliteDatabase, tmp_path: Path) -> None:
    (tmp_path / "x.db").rename(tmp_path / "y.db")
    for number in range(2):
        with pytest.raises(StoreUnavailableError):
            await change(database, number)
    (tmp_path / "y.db").rename(tmp_path / "x.db")


class _Kept(sqlite3.Connection):
    """A connection of which every cursor lives on, as it does while another thread looks for garbage."""

    cursors: ClassVar[list[sqlite3.Cursor]] = []

    def cursor(self, *given: Any) -> Any:
        self.cursors.append(super().cursor(*given))
        return self.cursors[-1]

    def execute(self, *given: Any) -> Any:
        self.cursors.append(super().execute(*given))
        return self.cursors[-1]


async def test_no_statement_is_left_unfinished_for_the_next_one_who_writes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(writer, "MOST_NOT_MOVED", 1)
    monkeypatch.setattr(_Kept, "cursors", [])
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=_Kept))
    mine, wide = model(entity("Item", attribute("a"))), model(entity("Item", attribute("a"), attribute("b")))
    store = await Store.open(None, tmp_path)
    for number in range(1, 30, 3):
        rows = await apply(store, mine, number)
        await apply(store, mine, number + 1)
        await asyncio.gather(*(rows["Item"].insert([{"id": key(number * 10 + at), "a": "x"}]) for at in range(5)))
        await settled(store._database)
        await apply(store, wide, number + 2)  # but for the first time, that takes the parked column into service
    assert len(_Kept.cursors) > 30
    await store.close()


async def test_who_would_have_to_read_how_the_tables_are_is_the_thread(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it has, which is right after it told of the change, nothing is written here."""
    told, go_on = threading.Event(), threading.Event()
    catch_up = Writer._catch_up

    def late(self: Writer) -> None:
        if self._is_behind:
            told.set()
            go_on.wait()
        catch_up(self)

    monkeypatch.setattr(Writer, "_catch_up", late)
    await database.change(lambda cursor: cursor.execute("CREATE TABLE u (x)") and None)
    await asyncio.to_thread(told.wait)
    changing = asyncio.create_task(change(database, 1))
    await asyncio.sleep(0)
    assert not changing.done()
    go_on.set()
    assert await changing == "watcherd-writer"
    await settled(database)
    assert await change(database, 2) == threading.current_thread().name


@pytest.mark.parametrize(
    ("attributes", "source", "small"),
    [(1, b"", True), (applying.SMALL_ATTRIBUTES + 1, b"", False), (1, b"x" * (applying.SMALL_SOURCE_BYTES + 1), False)],
)
async def test_what_is_large_is_left_to_the_thread(
    tmp_path: Path, threads: list[str], attributes: int, source: bytes, small: bool
) -> None:
    linked = model(entity("Item", *(attribute(f"a{number}") for number in range(attributes))))
    store = await Store.open(None, tmp_path)
    for number in (1, 2, 3):
        assert await store.expand(await store.plan(linked), record(linked, number, source)) == ()
        await settled(store._database)
    assert threads == ["watcherd-writer", threading.current_thread().name if small else "watcherd-writer"]
    await store.close()


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads in which plans are expanded."""
    seen: list[str] = []
    expand = applying.expand

    def noted(*given: Any) -> Any:
        seen.append(threading.current_thread().name)
        return expand(*given)

    monkeypatch.setattr(applying, "expand", noted)
    return seen


async def test_a_record_is_written_at_once_and_a_change_of_tables_is_not(tmp_path: Path, threads: list[str]) -> None:
    mine, thread = threading.current_thread().name, "watcherd-writer"
    plain, wide = model(entity("Item", attribute("a"))), model(entity("Item", attribute("a"), attribute("b")))
    store = await Store.open(None, tmp_path)
    await apply(store, plain, 1)  # founded
    await apply(store, plain, 2)  # read and compared
    await apply(store, plain, 3)
    await apply(store, wide, 4)  # a column
    await settled(store._database)
    await apply(store, plain, 5)  # which is parked
    assert threads == [thread, mine, thread, mine]
    assert (await store.catalog())["shop"].revision == 5
    assert [one.revision for one in await store.revisions("shop")] == [5, 4, 3, 2, 1]
    assert (await store.plan(plain)).changes_schema is False
    rows = await apply(store, wide, 6)
    await rows["Item"].insert([{"id": key(1), "a": "x", "b": "y"}])
    await store.close()


async def test_what_another_process_has_written_is_read_in_the_thread(tmp_path: Path, threads: list[str]) -> None:
    plain = model(entity("Item", attribute("a")))
    store = await Store.open(None, tmp_path)
    for number in (1, 2, 3):
        await apply(store, plain, number)
    with closing(sqlite3.connect(database_path(None, tmp_path), isolation_level=None)) as other:
        other.execute("UPDATE watcherd_model SET applied_at = 'now'")
    await apply(store, plain, 4)
    await settled(store._database)
    await apply(store, plain, 5)
    mine, thread = threading.current_thread().name, "watcherd-writer"
    assert threads == [thread, mine, thread, mine]
    await store.close()


@pytest.mark.parametrize("at", range(1, 30))
async def test_a_fault_at_any_statement_leaves_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Whatever fails on this thread is done again by the other, once."""
    plain, wide = model(entity("Item", attribute("a"))), model(entity("Item", attribute("a"), attribute("b")))
    store = await Store.open(None, tmp_path)
    for number, linked in enumerate((plain, plain, wide), 1):
        await apply(store, linked, number)
    await settled(store._database)
    plan = await store.plan(plain)
    with monkeypatch.context() as patched:
        begun = _fail_here(patched, at)
        assert await store.expand(plan, record(plain, 4)) == ()
        assert begun
    assert (await store.catalog())["shop"].revision == 4
    assert (await store.plan(plain)).changes_schema is False
    await apply(store, wide, 5)
    await store.close()


def _fail_here(patched: pytest.MonkeyPatch, at: int) -> list[Cursor]:
    """Have the n-th statement of a write of this thread refused; answers the cursors of such writes."""
    mine, original = threading.current_thread(), applying.expand

    class Faulty:
        def __init__(self, cursor: Any) -> None:
            self._cursor, self._left = cursor, at

        def execute(self, *given: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                raise sqlite3.OperationalError("disk I/O error")
            self._cursor.execute(*given)
            return self

        def __getattr__(self, name: str) -> Any:
            return getattr(self._cursor, name)

        def __iter__(self) -> Any:
            return iter(self._cursor)

    begun = []

    def expand(cursor: Cursor, *rest: Any) -> Any:
        if threading.current_thread() is not mine:
            return original(cursor, *rest)
        begun.append(cursor)
        return original(Faulty(cursor), *rest)

    patched.setattr(applying, "expand", expand)
    return begun
