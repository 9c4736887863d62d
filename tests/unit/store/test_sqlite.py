"""Connections, the group commit, and what is left behind after closing."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.others import holding, recovering
from watcherd.errors import StoreError, StoreUnavailableError
from watcherd.store import sqlite as module
from watcherd.store import writer
from watcherd.store.at_once import TooMuchError
from watcherd.store.cursor import Cursor, run
from watcherd.store.database import database_path
from watcherd.store.hold import Tenure
from watcherd.store.sqlite import READERS, SqliteDatabase


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    opened = SqliteDatabase(tmp_path / "x.db", durability="normal", busy_timeout=0.05)
    await opened.write(lambda cursor: run(cursor, "CREATE TABLE t (x INTEGER PRIMARY KEY)", ()).rowcount)
    yield opened
    await opened.close()


def insert(cursor: Cursor, value: int) -> int:
    cursor.execute("INSERT INTO t VALUES (?)", (value,))
    return value


def values(cursor: Cursor) -> list[int]:
    return [value for (value,) in cursor.execute("SELECT x FROM t ORDER BY x").fetchall()]


class Gate:
    """A write that holds the writer until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, _: Cursor) -> None:
        self.entered.set()
        assert self.open.wait(120)

    async def start(self, database: SqliteDatabase) -> asyncio.Task[None]:
        task = asyncio.create_task(database.write(self))
        await asyncio.to_thread(self.entered.wait, 120)
        return task


async def test_writes_that_wait_become_one_transaction(database: SqliteDatabase) -> None:
    gate = Gate()
    held = await gate.start(database)
    commits: list[str] = []
    connection = database._writer._connection
    assert connection is not None
    connection.set_trace_callback(lambda sql: commits.append(sql) if sql in {"BEGIN IMMEDIATE", "COMMIT"} else None)
    waiting = [asyncio.create_task(database.write(partial(insert, value=n))) for n in range(100)]
    await asyncio.sleep(0)
    gate.open.set()
    assert await asyncio.gather(*waiting) == list(range(100))
    await held
    assert commits == ["COMMIT", "BEGIN IMMEDIATE", "COMMIT", "BEGIN IMMEDIATE", "COMMIT"]
    assert database.at_once.read("", values) == list(range(100))


async def test_a_write_that_fails_is_rolled_back_alone(database: SqliteDatabase) -> None:
    gate = Gate()
    held = await gate.start(database)

    def fail(cursor: Cursor) -> None:
        insert(cursor, 50)
        raise KeyError("mine")

    tasks = [
        asyncio.create_task(database.write(write))
        for write in (
            lambda cursor: insert(cursor, 1),
            fail,
            lambda cursor: insert(cursor, 1),
            lambda cursor: insert(cursor, 2),
        )
    ]
    await asyncio.sleep(0)
    gate.open.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await held
    assert [type(result) for result in results] == [int, KeyError, StoreError, int]
    assert database.at_once.read("", values) == [1, 2]
    with pytest.raises(KeyError):
        await database.write(fail)
    assert database.at_once.read("", values) == [1, 2]


async def test_a_write_that_raises_what_no_future_can_hold_is_answered_all_the_same(database: SqliteDatabase) -> None:
    def stop(_: Cursor) -> None:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        await database.write(stop)


async def test_a_commit_that_fails_fails_the_whole_group_and_a_later_write_works(database: SqliteDatabase) -> None:
    gate = Gate()
    held = await gate.start(database)

    def break_commit(cursor: Cursor) -> None:
        insert(cursor, 1)
        cursor.execute("CREATE TABLE child (x REFERENCES t (x) DEFERRABLE INITIALLY DEFERRED)")
        cursor.execute("INSERT INTO child VALUES (999)")

    tasks = [asyncio.create_task(database.write(write)) for write in (lambda cursor: insert(cursor, 2), break_commit)]
    await asyncio.sleep(0)
    gate.open.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await held
    assert [type(result) for result in results] == [StoreError, StoreError]
    assert database.at_once.read("", values) == []
    assert await database.write(lambda cursor: insert(cursor, 3)) == 3
    assert database.at_once.read("", values) == [3]


async def test_a_full_disk_is_unavailable_and_a_later_write_works(database: SqliteDatabase) -> None:
    def fill(cursor: Cursor) -> None:
        cursor.execute("PRAGMA max_page_count=5")
        cursor.execute("CREATE TABLE big (x)")
        cursor.execute("INSERT INTO big VALUES (zeroblob(1000000))")

    with pytest.raises(StoreUnavailableError, match="full"):
        await database.write(fill)
    gate = Gate()
    held = await gate.start(database)
    tasks = [asyncio.create_task(database.write(write)) for write in (lambda cursor: insert(cursor, 1), fill)]
    await asyncio.sleep(0)
    gate.open.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await held
    assert isinstance(results[1], StoreUnavailableError)
    await database.write(lambda cursor: run(cursor, "PRAGMA max_page_count=1000000", ()).rowcount)
    assert await database.write(lambda cursor: insert(cursor, 2)) == 2


async def test_a_full_disk_is_told_of_until_there_is_room_again(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(cursor: Cursor) -> None:
        cursor.execute("PRAGMA max_page_count=5")
        cursor.execute("CREATE TABLE big AS SELECT zeroblob(1000000)")

    monkeypatch.setattr(module, "_free_bytes", lambda _path: 4096)
    assert await database.health() is None
    with pytest.raises(StoreUnavailableError, match="full"):
        await database.write(fill)
    assert await database.write(lambda cursor: insert(cursor, 1)) == 1, "what is little finds a place"
    assert str(await database.health()).endswith("x.db cannot be written now: database or disk is full")
    assert database.at_once.read("", values) == [1]
    monkeypatch.setattr(module, "_free_bytes", lambda _path: 2**30)
    assert await database.health() is None
    assert await database.health() is None


async def test_what_the_statement_is_to_blame_for_says_nothing_of_the_disk(database: SqliteDatabase) -> None:
    await database.write(lambda cursor: insert(cursor, 1))
    with pytest.raises(StoreError, match="UNIQUE"):
        await database.write(lambda cursor: insert(cursor, 1))
    assert await database.health() is None


async def test_a_database_that_another_process_holds_is_unavailable_until_it_lets_go(database: SqliteDatabase) -> None:
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="locked"):
            await database.write(lambda cursor: insert(cursor, 1))
        assert database.at_once.read("", values) == []
        other.execute("ROLLBACK")
    assert await database.write(lambda cursor: insert(cursor, 1)) == 1


async def test_too_many_waiting_writes_are_refused_at_once(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "x.db", max_waiting=2)
    gate = Gate()
    tasks = [await gate.start(database)]
    tasks += [asyncio.create_task(database.write(lambda _: None)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailableError, match="2 writes are waiting"):
        await database.write(lambda _: None)
    assert (database.usage().waiting, database.usage().waiting_max) == (2, 2)
    gate.open.set()
    await asyncio.gather(*tasks)
    assert database.usage().waiting == 0
    await database.close()


async def test_the_write_of_a_cancelled_caller_happens_wholly_or_not_at_all(database: SqliteDatabase) -> None:
    gate = Gate()
    held = await gate.start(database)
    waiting = asyncio.create_task(database.write(lambda cursor: insert(cursor, 1)))
    await asyncio.sleep(0)
    waiting.cancel()
    held.cancel()
    await asyncio.gather(waiting, held, return_exceptions=True)
    gate.open.set()
    assert await database.write(lambda cursor: insert(cursor, 2)) == 2
    assert database.at_once.read("", values) == [2]


async def test_a_read_in_a_thread_sees_one_state_and_cannot_write(database: SqliteDatabase) -> None:
    entered, go = threading.Event(), threading.Event()

    def twice(cursor: Cursor) -> tuple[list[int], list[int]]:
        first = values(cursor)
        entered.set()
        assert go.wait(120)
        return first, values(cursor)

    reading = asyncio.create_task(database.read(twice))
    await asyncio.to_thread(entered.wait, 120)
    await database.write(lambda cursor: insert(cursor, 1))
    go.set()
    assert await reading == ([], [])
    with pytest.raises(StoreError, match="readonly"):
        await database.read(lambda cursor: insert(cursor, 2))
    with pytest.raises(StoreError, match="readonly"):
        database.at_once.read("", lambda cursor: insert(cursor, 2))


async def test_the_loop_runs_on_while_a_list_is_read(database: SqliteDatabase) -> None:
    go = threading.Event()
    reading = asyncio.create_task(database.read(lambda _: go.wait(120)))
    await asyncio.sleep(0)
    assert await database.write(lambda cursor: insert(cursor, 1)) == 1
    go.set()
    assert await reading is True


async def test_closing_finishes_what_is_queued_and_refuses_what_comes_after(database: SqliteDatabase) -> None:
    gate = Gate()
    tasks = [await gate.start(database)]
    queued = [asyncio.create_task(database.write(partial(insert, value=n))) for n in range(200)]
    await asyncio.sleep(0)
    closing_task = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailableError, match="being closed"):
        await database.write(lambda _: None)
    with pytest.raises(StoreUnavailableError, match="being closed"):
        await database.read(values)
    gate.open.set()
    await closing_task
    await asyncio.gather(*tasks, *queued)
    await database.close()
    with closing(sqlite3.connect(database.path)) as again:
        assert again.execute("SELECT count(*) FROM t").fetchone() == (200,)
    with pytest.raises(StoreError):
        database.at_once.read("", values)


async def test_closing_interrupts_what_takes_longer_than_its_deadline(database: SqliteDatabase) -> None:
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    started = threading.Event()

    def forever(cursor: Cursor) -> None:
        started.set()
        cursor.execute(endless).fetchall()

    writing = asyncio.create_task(database.write(forever))
    await asyncio.to_thread(started.wait, 120)
    queued = asyncio.create_task(database.write(lambda cursor: insert(cursor, 1)))
    readings = [
        asyncio.create_task(database.read(lambda cursor: cursor.execute(endless).fetchall()))
        for _ in range(module.READERS + 2)
    ]
    await asyncio.sleep(0)
    await database.close(0.01)
    for task in (writing, queued, *readings):
        with pytest.raises(StoreUnavailableError):
            await task


async def test_closing_says_what_it_cannot_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watcherd.store.interrupt._INTERRUPTS", 1)
    database = SqliteDatabase(tmp_path / "x.db")
    reader, writer = Gate(), Gate()
    writing = await writer.start(database)
    with pytest.raises(StoreError, match="a write does not end"):
        await database.close(0)
    writer.open.set()
    await writing

    database = SqliteDatabase(tmp_path / "x.db")
    reading = asyncio.create_task(database.read(reader))
    await asyncio.to_thread(reader.entered.wait, 120)
    with pytest.raises(StoreError, match="a read does not end"):
        await database.close(0)
    reader.open.set()
    await reading
    database._readers.close()


async def test_a_cancelled_reader_is_waited_for_when_closing(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "x.db")
    gate = Gate()
    reading = asyncio.create_task(database.read(gate))
    await asyncio.to_thread(gate.entered.wait, 120)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    closing_task = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    assert not closing_task.done()
    gate.open.set()
    await closing_task


async def test_nothing_is_left_after_closing(tmp_path: Path) -> None:
    others = set(threading.enumerate())

    def held() -> tuple[set[str], int]:
        descriptors = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
        names = {thread.name for thread in set(threading.enumerate()) - others if thread.name.startswith("watcherd-")}
        return names, sum(str(tmp_path) in path for path in descriptors)

    database = SqliteDatabase(tmp_path / "x.db")
    await asyncio.gather(*(database.read(lambda cursor: cursor.execute("SELECT 1").fetchall()) for _ in range(9)))
    names, descriptors = held()
    assert "watcherd-writer" in names
    assert descriptors > 0
    await database.close()
    assert held() == (set(), 0)
    assert [path.name for path in tmp_path.iterdir()] == ["x.db"]


@pytest.mark.parametrize("durability", ["full", "normal", "off"])
async def test_the_settings_of_a_connection_are_what_was_asked_for(
    tmp_path: Path, durability: module.Durability
) -> None:
    database = SqliteDatabase(tmp_path / "x.db", durability=durability)

    def pragmas(cursor: Cursor) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    expected = ["wal", {"full": 2, "normal": 1, "off": 0}[durability], 1, 5000]
    assert database.at_once.read("", pragmas) == [*expected[:-1], 0]
    assert await database.read(pragmas) == expected
    assert await database.write(pragmas) == expected
    await database.close()


def test_the_database_is_in_the_data_directory_unless_a_url_says_otherwise(tmp_path: Path) -> None:
    assert database_path(None, tmp_path / "a" / "b") == tmp_path / "a" / "b" / "watcherd.db"
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert database_path("sqlite:///rel/x.db", tmp_path) == Path("rel/x.db")
    assert database_path("sqlite:////abs/x.db", tmp_path) == Path("/abs/x.db")


@pytest.mark.parametrize("url", ["postgresql+asyncpg://me:secret@host/db", "sqlite://", "sqlite:///", "x"])
def test_a_url_that_cannot_be_used_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(StoreError, match="sqlite:///path/to/file") as refusal:
        database_path(url, tmp_path)
    assert "secret" not in str(refusal.value)


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make the data directory"):
        database_path(None, tmp_path / "file" / "data")


async def test_a_read_that_has_to_wait_for_another_process_waits_in_a_thread(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "x.db")
    await database.write(insert_first)
    async with recovering(database.path):
        waiting = asyncio.create_task(database.fetch_row("SELECT x FROM t", ()))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        assert "cannot be read now: database is locked" in str(await database.health())
        with pytest.raises(TooMuchError):
            database.at_once.read("", values)
        with pytest.raises(TooMuchError):
            database.at_once.version()
    assert await waiting == (1,)
    assert await database.health() is None
    await database.close()


@pytest.mark.parametrize(
    "statements",
    [
        ("BEGIN EXCLUSIVE",),
        ("BEGIN IMMEDIATE", "ALTER TABLE t ADD COLUMN y", "CREATE INDEX i ON t (y)"),
        ("PRAGMA wal_checkpoint(PASSIVE)", "BEGIN", "SELECT * FROM t"),
    ],
    ids=["exclusive", "schema", "checkpoint"],
)
async def test_readers_do_not_wait_for_whoever_writes(tmp_path: Path, statements: tuple[str, ...]) -> None:
    database = SqliteDatabase(tmp_path / "x.db")
    await database.write(insert_first)
    async with holding(database.path, *statements):
        assert database.at_once.fetch_row("SELECT x FROM t", ()) == (1,)
        assert database.at_once.read("", values) == [1]
        assert await database.health() is None
    await database.close()


def insert_first(cursor: Cursor) -> None:
    cursor.execute("CREATE TABLE t (x INTEGER PRIMARY KEY)")
    insert(cursor, 1)


async def test_of_those_who_share_a_database_one_leads(tmp_path: Path) -> None:
    leader = SqliteDatabase(tmp_path / "x.db", tenure="leading")
    with pytest.raises(StoreError, match=rf"another daemon does already, process {os.getpid()}; stop it, or give"):
        SqliteDatabase(tmp_path / "x.db", tenure="leading")
    worker = SqliteDatabase(tmp_path / "x.db")
    elsewhere = SqliteDatabase(tmp_path / "y.db", tenure="leading")
    await leader.close()
    await SqliteDatabase(tmp_path / "x.db", tenure="leading").close()
    await worker.close()
    await elsewhere.close()
    (tmp_path / "link.db").symlink_to(tmp_path / "x.db")
    leader = SqliteDatabase(tmp_path / "x.db", tenure="leading")
    with pytest.raises(StoreError, match=r"x\.db: another daemon does already, process \d+;"):
        SqliteDatabase(tmp_path / "link.db", tenure="leading")
    await leader.close()
    (tmp_path / "z.db.lock").mkdir()
    with pytest.raises(StoreError, match=r"cannot open .*z\.db\.lock: Is a directory"):
        SqliteDatabase(tmp_path / "z.db", tenure="leading")
    await SqliteDatabase(tmp_path / "z.db", tenure="alone").close()


async def test_while_tables_change_the_event_loop_leaves_its_reads_to_threads(database: SqliteDatabase) -> None:
    told: list[tuple[str, str]] = []
    rest, wake = database.at_once.rest, database.at_once.wake
    woken = asyncio.Event()
    loop = asyncio.get_running_loop()

    def noted(what: str, done: Callable[[], None]) -> None:
        told.append((what, threading.current_thread().name))
        done()
        if what == "wake":
            loop.call_soon_threadsafe(woken.set)

    database.at_once.rest = partial(noted, "rest", rest)  # type: ignore[method-assign]
    database.at_once.wake = partial(noted, "wake", wake)  # type: ignore[method-assign]
    await database.write(partial(insert, value=1))
    await database.change(partial(insert, value=2))
    assert told == [], "no table has changed"

    await database.change(lambda cursor: cursor.execute("ALTER TABLE t ADD COLUMN y").rowcount)
    assert await database.fetch_row("SELECT y FROM t WHERE x = ?", (1,)) == (None,)
    await woken.wait()
    assert told[0] == ("rest", "watcherd-writer")
    assert {what for what, _ in told[1:]} == {"wake"}
    assert {thread for _, thread in told} <= {"watcherd-writer", *(f"watcherd-reader_{n}" for n in range(READERS))}
    assert await database.fetch_row("SELECT y FROM t WHERE x = ?", (2,)) == (None,)

    rest()
    assert await database.health() is None, "nothing is wrong"
    assert await database.fetch_row("SELECT y FROM t WHERE x = ?", (2,)) == (None,)
    database.at_once.changed()
    await asyncio.to_thread(wake)

    with pytest.raises(StoreUnavailableError):
        await database.change(_add_and_fail)
    assert [what for what, _ in told].count("rest") == 1, "what was rolled back changed no table"


async def test_reads_that_come_after_a_change_wait_for_one_look_at_the_tables_together(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: object) -> None:
        raise AssertionError("another connection was asked to know the tables")

    gates = [Gate() for _ in range(READERS)]
    held = [asyncio.create_task(database.read(gate)) for gate in gates]
    for gate in gates:
        await asyncio.to_thread(gate.entered.wait, 120)
    await database.write(partial(insert, value=1))
    monkeypatch.setattr(database, "read", refuse)
    monkeypatch.setattr(writer, "_STILL_SECONDS", 3600.0)
    database.at_once.used = False  # the writer does not wake it
    await database.change(lambda cursor: cursor.execute("ALTER TABLE t ADD COLUMN y").rowcount)
    reading = [asyncio.create_task(database.fetch_row("SELECT y FROM t", ())) for _ in range(5)]
    while database._waking is None:
        await asyncio.sleep(0)
    reading[1].cancel()
    await asyncio.wait([reading[1]])
    assert [one.done() for one in reading] == [False, True, False, False, False]
    for gate in gates:
        gate.open.set()
    assert await asyncio.gather(*(one for one in reading if one is not reading[1])) == [(None,)] * 4
    await asyncio.gather(*held)


async def test_readers_that_nobody_uses_know_the_tables_before_they_are_asked(database: SqliteDatabase) -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    renew = database._readers.renew

    def noted() -> bool:
        more = renew()
        if not more:
            loop.call_soon_threadsafe(done.set)
        return more

    barrier = threading.Barrier(READERS)
    await asyncio.gather(*(database.read(lambda _: barrier.wait(120)) for _ in range(READERS)))
    await database.fetch_row("SELECT x FROM t", ())
    database._readers.renew = noted  # type: ignore[method-assign]
    await database.change(lambda cursor: cursor.execute("ALTER TABLE t ADD COLUMN y").rowcount)
    await done.wait()
    now = database._readers._idle[0].tables()
    assert [one.known for one in database._readers._idle] == [now] * READERS


async def test_a_reader_that_nobody_uses_sees_the_tables_again_once_they_stand_still(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_STILL_SECONDS", 3600.0)
    wake, woken, loop, times = database.at_once.wake, asyncio.Event(), asyncio.get_running_loop(), 0

    def noted() -> None:
        nonlocal times
        times += 1
        wake()
        loop.call_soon_threadsafe(woken.set)

    database.at_once.wake = noted  # type: ignore[method-assign]
    database.at_once.used = False
    assert await database.health() is None, "a look at its health is no use of it"
    for number in range(5):
        await database.change(lambda cursor, number=number: cursor.execute(f"CREATE TABLE t{number} (x)").rowcount)
    assert (times, database.at_once.resting) == (0, True)
    monkeypatch.setattr(writer, "_STILL_SECONDS", 0.01)
    await database.change(lambda cursor: cursor.execute("CREATE TABLE t5 (x)").rowcount)
    await woken.wait()
    assert (times, database.at_once.resting) == (1, False)
    assert database.at_once.fetch_row("SELECT count(*) FROM t4", ()) == (0,)

    woken.clear()
    monkeypatch.setattr(writer, "_STILL_SECONDS", 3600.0)
    await database.change(lambda cursor: cursor.execute("ALTER TABLE t4 ADD COLUMN y").rowcount)
    await woken.wait()
    assert times == 2, "it was used: it was woken at once"
    for column in "zv":  # what follows the first is done before the second
        sql = f"ALTER TABLE t4 ADD COLUMN {column}"
        await database.change(lambda cursor, sql=sql: cursor.execute(sql).rowcount)
    assert (times, database.at_once.resting) == (2, True), "it was not used since"


def _add_and_fail(cursor: Cursor) -> None:
    cursor.execute("ALTER TABLE t ADD COLUMN z")
    raise StoreUnavailableError("try again")


@pytest.mark.parametrize("tenure", ["shared", "leading", "alone"])
async def test_a_file_system_that_knows_no_locks_is_named_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tenure: Tenure
) -> None:
    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError, match=r"cannot lock the directory .*: No locks available"):
        SqliteDatabase(tmp_path / "x.db", tenure=tenure)
