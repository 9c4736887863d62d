"""A writer that ends of what nobody has thought of: nobody waits for it, it is said, and another one begins."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.unit.store.test_sqlite import Gate, insert, values
from watcherd.errors import StoreUnavailableError
from watcherd.store import late_sync, writer
from watcherd.store.cursor import Cursor
from watcherd.store.place import Place
from watcherd.store.sqlite import SqliteDatabase
from watcherd.store.turn import Turn
from watcherd.store.writer import Writer


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    opened = SqliteDatabase(tmp_path / "x.db", busy_timeout=0.05)
    await opened.write(lambda cursor: cursor.execute("CREATE TABLE t (x INTEGER PRIMARY KEY)").rowcount)
    yield opened
    await opened.close()


class Fault:
    """Raises once, in the writer's thread alone, instead of what it stands for."""

    def __init__(self, error: BaseException) -> None:
        self.error: BaseException | None = error

    def put(self, patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def faulty(*given: Any, **named: Any) -> Any:
            error = self.error
            if error is not None and threading.current_thread().name == "watcherd-writer":
                self.error = None
                raise error
            return original(*given, **named)

        patch.setattr(owner, name, faulty)


BEFORE = [
    (Turn, "take"),
    (Writer, "_settle"),
    (Writer, "_settle_together"),
    (Writer, "_connected"),
    (Writer, "_transact"),
    (writer, "attempt"),
]
"""Places where nothing is committed yet."""
UNCLEAR = [(Place, "lost")]
"""Places where it is, and nobody has said so."""
AFTER = [(Writer, name) for name in ("_wake_reader", "_catch_up", "_renew", "_make_up", "_take")]
"""Places where it is certain what was committed."""


def shown(place: tuple[Any, str]) -> str:
    return f"{place[0].__name__.rpartition('.')[2]}.{place[1]}"


async def stored(database: SqliteDatabase) -> list[int]:
    return await database.read(values)


async def lines_until_failed(database: SqliteDatabase, failures: int = 1) -> None:
    """The word of a thread's end comes by the event loop."""
    while database.usage().failures < failures:
        await asyncio.sleep(0)


@pytest.mark.parametrize("error", [ZeroDivisionError("unforeseen"), MemoryError(), SystemExit(3)], ids=repr)
@pytest.mark.parametrize("place", [*BEFORE, *UNCLEAR, *AFTER], ids=shown)
async def test_nobody_waits_for_a_writer_that_has_ended(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch, place: tuple[Any, str], error: BaseException
) -> None:
    gate = Gate()
    held = await gate.start(database)
    with capture_logs() as lines:
        # Some are in its hand when it ends, some wait: more than it takes at once.
        writes = [asyncio.create_task(database.write(partial(insert, value=n))) for n in range(writer.MAX_GROUP + 5)]
        await asyncio.sleep(0)
        Fault(error).put(monkeypatch, *place)
        gate.open.set()
        outcomes = await asyncio.wait_for(asyncio.gather(*writes, return_exceptions=True), 60)
        await asyncio.gather(held, return_exceptions=True)
        await lines_until_failed(database)
    found = await stored(database)
    told = [one for one in outcomes if isinstance(one, int)]
    refused = [one for one in outcomes if not isinstance(one, int)]
    assert set(told) <= set(found), "what was told to be stored is stored"
    assert {type(one) for one in refused} <= {StoreUnavailableError}
    assert all("its writer ended of" in str(one) for one in refused)
    unclear = {n for n, one in enumerate(outcomes) if "not known" in str(one)}
    assert set(found) - set(told) <= unclear
    assert [line["log_level"] for line in lines if line["event"] == "store.writer_failed"] == ["error"]
    # The next write begins another one, which is well.
    assert await asyncio.wait_for(database.write(partial(insert, value=1000)), 60) == 1000
    assert await database.health() is None
    assert database.usage().failures == 1


async def test_what_was_certain_is_told_whatever_happens_afterwards(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fault(ZeroDivisionError()).put(monkeypatch, Writer, "_wake_reader")
    assert await asyncio.wait_for(database.write(partial(insert, value=1)), 60) == 1
    await lines_until_failed(database)
    assert await stored(database) == [1]


async def test_what_was_being_written_is_rolled_back_and_locks_nobody_out(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_then_fail(error: BaseException) -> Callable[[Cursor], None]:
        def fail(cursor: Cursor) -> None:
            insert(cursor, 1)
            Fault(error).put(monkeypatch, writer, "_tables")  # the last thing before a commit

        return fail

    with pytest.raises(StoreUnavailableError, match="not known"):
        await database.change(put_then_fail(ZeroDivisionError()))
    other = sqlite3.connect(database.path, timeout=0, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert other.execute("SELECT count(*) FROM t").fetchone() == (0,)
    other.close()


@pytest.mark.parametrize("name", ["put_off", "restore", "make_up"])
async def test_a_change_from_files_is_answered_as_well(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    Fault(ZeroDivisionError()).put(monkeypatch, late_sync, name)
    change = database.change(partial(insert, value=1), from_files=True)
    [outcome] = await asyncio.wait_for(asyncio.gather(change, return_exceptions=True), 60)
    await lines_until_failed(database)
    assert outcome == 1 or isinstance(outcome, StoreUnavailableError)
    assert await asyncio.wait_for(database.change(partial(insert, value=2), from_files=True), 60) == 2


async def test_a_database_is_not_well_until_its_writer_has_written_again(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "_settle", lambda *_: 1 // 0)
        with pytest.raises(StoreUnavailableError):
            await database.write(partial(insert, value=1))
        why = await database.health()
        assert why is not None
        assert "cannot be written now: its writer ended of ZeroDivisionError" in why
        assert database.usage().failures == 2, "it was tried"
    assert await database.health() is None
    assert await database.health() is None
    assert database.usage().failures == 2


async def test_where_no_thread_is_to_be_had_writes_are_refused_until_there_is_one(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fault(ZeroDivisionError()).put(monkeypatch, Writer, "_settle")
    with pytest.raises(StoreUnavailableError):
        await database.write(partial(insert, value=1))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_more_threads)
        with pytest.raises(StoreUnavailableError, match="can't start new thread"):
            await database.write(partial(insert, value=1))
    assert await database.write(partial(insert, value=1)) == 1


async def test_a_database_whose_writer_has_ended_is_closed_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = SqliteDatabase(tmp_path / "y.db")
    Fault(ZeroDivisionError()).put(monkeypatch, Writer, "_settle")
    with pytest.raises(StoreUnavailableError):
        await opened.write(lambda _: None)
    await asyncio.wait_for(opened.close(5), 60)
    with sqlite3.connect(tmp_path / "y.db", isolation_level=None) as other:
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute("BEGIN EXCLUSIVE")
    other.close()


async def test_a_writer_that_ends_while_it_is_closed_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = SqliteDatabase(tmp_path / "z.db")
    gate = Gate()
    held = await gate.start(opened)
    waiting = asyncio.create_task(opened.write(lambda _: None))
    await asyncio.sleep(0)
    Fault(ZeroDivisionError()).put(monkeypatch, Writer, "_take")
    closing = asyncio.create_task(opened.close(60))
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.wait_for(closing, 30)
    assert await held is None
    with pytest.raises(StoreUnavailableError):
        await waiting


async def test_a_follower_that_fails_keeps_nobody_from_being_answered(database: SqliteDatabase) -> None:
    def tells(cursor: Cursor, value: int) -> int:
        cursor.after_commit["x"] = lambda: 1 // 0
        return insert(cursor, value)

    gate = Gate()
    held = await gate.start(database)
    with capture_logs() as lines:
        writes = [asyncio.create_task(database.write(partial(tells, value=n))) for n in range(3)]
        await asyncio.sleep(0)
        gate.open.set()
        assert await asyncio.wait_for(asyncio.gather(*writes), 60) == [0, 1, 2]
    await held
    assert [line["event"] for line in lines] == ["store.not_told"] * 3


def _no_more_threads(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
