"""The turn to write among processes: in order, and nobody waits for the dead, or for good for the stopped."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import mmap
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.unit.store.in_line import HANG_SECONDS, count, insert
from tests.unit.store.test_write_at_once import settled
from watcherd.composition import open_store
from watcherd.errors import StoreError, StoreUnavailableError
from watcherd.settings import Settings
from watcherd.store.cursor import Cursor
from watcherd.store.session import Session
from watcherd.store.sqlite import SqliteDatabase
from watcherd.store.turn import Turn
from watcherd.store.turnstile import _LOCK, Turnstile

ROUNDS = 30


class Other:
    """Another process: runs a function of `in_line`, hears and says lines."""

    def __init__(self, what: str, *given: str) -> None:
        command = f"from tests.unit.store.in_line import {what}; {what}(*{given!r})"
        self.process = subprocess.Popen(
            [sys.executable, "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=Path(__file__).parents[3],
        )

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")

    def hear(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "it has ended"
        return line.strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def other() -> Iterator[Callable[..., Other]]:
    """Starts other processes, and ends them."""
    started: list[Other] = []

    def start(what: str, *given: object) -> Other:
        started.append(Other(what, *map(str, given)))
        return started[-1]

    yield start
    for one in started:
        one.end()


def is_in_line(path: Path, since: int) -> bool:
    """Whether anybody has come since a time and waits, or has waited and writes."""
    with path.with_name(f"{path.name}.turn").open("r+b") as file:
        asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, since, 0, 0)
        found = fcntl.fcntl(file.fileno(), fcntl.F_OFD_GETLK, asked)
    return bool(_LOCK.unpack(found)[0] != fcntl.F_UNLCK)


async def until(true: Callable[[], bool]) -> None:
    """Wait for what nobody tells of."""
    async with asyncio.timeout(HANG_SECONDS):
        while not true():
            await asyncio.sleep(0.0005)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


@pytest.fixture
def line(path: Path) -> Iterator[Turnstile]:
    made = Turnstile(path)
    yield made
    made.close()


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SqliteDatabase]:
    opened = SqliteDatabase(path, in_line=True, busy_timeout=HANG_SECONDS)
    await opened.change(lambda cursor: cursor.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)").rowcount)
    yield opened
    await opened.close()


async def test_those_who_wait_get_the_turn_in_the_order_in_which_they_came(
    path: Path, line: Turnstile, other: Callable[..., Other]
) -> None:
    others = [other("obey", path) for _ in range(2)]
    assert [one.hear() for one in others] == ["there"] * 2
    assert line.take(0)
    for one in others:
        now = time.monotonic_ns()
        one.say("take")
        await until(lambda now=now: is_in_line(path, now))  # type: ignore[misc]  # a default of a lambda
    line.give()
    assert not line.take(0), "two have come before"
    for one in others:
        assert one.hear() == "took"
        assert not line.take(0)
        one.say("give")
        assert one.hear() == "gave"
    assert line.take(0)


class Noting(Turnstile):
    """Notes at what count it has come to stand in line."""

    turns: memoryview
    came_at: int | None = None

    def _lock(self, start: int, length: int, *, waits: bool = False) -> bool:
        is_locked = super()._lock(start, length, waits=waits)
        if is_locked and start:
            self.came_at = self.turns[0]
        return is_locked


async def test_who_has_just_had_the_turn_does_not_overtake_those_who_wait(
    path: Path, other: Callable[..., Other]
) -> None:
    counted = path.with_name("count")
    counted.write_bytes(bytes(8))
    with counted.open("r+b") as file:
        turns = memoryview(mmap.mmap(file.fileno(), 8)).cast("q")
    others = [other("hurry_on", path) for _ in range(2)]
    await until(lambda: turns[0] > 0)
    line = Noting(path)
    line.turns = turns
    waited = 0
    while waited < ROUNDS:
        line.came_at = None
        assert line.take(HANG_SECONDS)
        if line.came_at is not None:
            assert turns[0] - line.came_at <= len(others), "each of them at most once: it had come before"
            waited += 1
        line.give()
    line.close()


async def test_a_write_waits_for_one_of_each_other_process_at_most(
    path: Path, database: SqliteDatabase, other: Callable[..., Other], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = database._turnstile
    assert line is not None
    others, together = 2, 16
    for _ in range(others):
        other("write_on", path, together)
    with closing(sqlite3.connect(path, check_same_thread=False, isolation_level=None)) as beside:
        seen: list[int] = []
        lock = line._lock

        def noting(start: int, length: int, *, waits: bool = False) -> bool:
            is_locked = lock(start, length, waits=waits)
            if is_locked and start:
                seen.append(beside.execute("SELECT count(*) FROM t").fetchone()[0])
            return is_locked

        monkeypatch.setattr(line, "_lock", noting)
        waited = 0
        while waited < ROUNDS:
            seen.clear()
            rows = await database.write(count)
            if seen:
                assert rows - seen[0] <= others * together, "one transaction of each, that had come before"
                waited += 1


async def test_who_dies_in_its_turn_or_in_line_keeps_nobody_waiting(
    path: Path, database: SqliteDatabase, other: Callable[..., Other]
) -> None:
    writing, waiting = other("hold", path), other("obey", path)
    assert writing.hear() == "writes"
    assert waiting.hear() == "there"
    now = time.monotonic_ns()
    waiting.say("take")
    await until(lambda: is_in_line(path, now))
    written = asyncio.create_task(database.write(insert))
    await until(lambda: database._turnstile is not None and database._turnstile._is_in_line)
    waiting.process.kill()
    writing.process.kill()
    assert await written == 1, "what was being written is not there"


async def test_who_is_stopped_while_it_writes_is_waited_for_as_long_as_said(
    path: Path, database: SqliteDatabase, other: Callable[..., Other]
) -> None:
    impatient = SqliteDatabase(path, in_line=True, busy_timeout=0.1)
    stopped = other("hold", path)
    assert stopped.hear() == "writes"
    stopped.process.send_signal(signal.SIGSTOP)
    said: list[str] = []
    connection = impatient._writer._connection
    assert connection is not None
    connection.set_trace_callback(said.append)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="database is locked"):
            await impatient.write(insert)
    assert said == ["PRAGMA busy_timeout", "PRAGMA busy_timeout=20", "BEGIN IMMEDIATE", "PRAGMA busy_timeout=100"]
    stopped.process.send_signal(signal.SIGCONT)
    stopped.say("go on")
    assert stopped.hear() == "wrote"
    assert await database.write(insert) == 2
    assert await impatient.write(insert) == 3
    await impatient.close()


async def test_who_is_stopped_in_line_keeps_nobody_from_writing_for_good(
    path: Path, database: SqliteDatabase, line: Turnstile, other: Callable[..., Other]
) -> None:
    impatient = SqliteDatabase(path, in_line=True, busy_timeout=0.1)
    stopped = other("obey", path)
    assert stopped.hear() == "there"
    assert line.take(0)
    now = time.monotonic_ns()
    stopped.say("take")
    await until(lambda: is_in_line(path, now))
    stopped.process.send_signal(signal.SIGSTOP)
    line.give()
    assert await impatient.write(insert) == 1, "without its turn"
    assert await impatient.write(insert) == 2
    stopped.process.send_signal(signal.SIGCONT)
    assert stopped.hear() == "took"
    stopped.say("give")
    assert stopped.hear() == "gave"
    assert await database.write(insert) == 3, "who could not wait has left the line"
    assert line.take(HANG_SECONDS)
    await impatient.close()


async def test_tables_change_and_transactions_go_on_beside_others_that_write_without_pause(
    path: Path, database: SqliteDatabase, other: Callable[..., Other]
) -> None:
    for _ in range(2):
        other("write_on", path, 16)
    async with asyncio.timeout(HANG_SECONDS):
        for number in range(5):
            await database.change(lambda cursor, name=number: cursor.execute(f"CREATE TABLE n{name} (x)").rowcount)  # type: ignore[misc]  # a default of a lambda
            await database.change(
                lambda cursor, name=number: cursor.execute(f"DROP TABLE n{name}").rowcount, apart=True
            )  # type: ignore[misc]  # see above

            async def body(session: Session) -> int:
                before = await session.run(count)
                return await session.run(insert, writes=True) - before

            assert await database.interact(body) == 1


async def test_the_event_loop_waits_for_nobody(path: Path, database: SqliteDatabase, line: Turnstile) -> None:
    def write(cursor: Cursor) -> str:
        insert(cursor)
        return threading.current_thread().name

    await settled(database)
    assert await database.change(write, from_files=True, at_once=write) == threading.current_thread().name
    await database.write(count)
    assert line.take(HANG_SECONDS)
    changed = asyncio.create_task(database.change(write, from_files=True, at_once=write))
    await until(lambda: database._turnstile is not None and database._turnstile._is_in_line)
    line.give()
    assert await changed == "watcherd-writer"


async def test_a_close_does_not_wait_for_a_turn(path: Path, line: Turnstile) -> None:
    database = SqliteDatabase(path, in_line=True, busy_timeout=HANG_SECONDS)
    line_of_it = database._turnstile
    assert line_of_it is not None
    assert line.take(HANG_SECONDS)
    written = asyncio.create_task(database.write(lambda cursor: cursor.execute("CREATE TABLE t (x)").rowcount))
    await until(lambda: line_of_it._is_in_line)
    await database.close(timeout=0.01)
    with pytest.raises(StoreUnavailableError, match="was closed before"):
        await written
    assert not line_of_it.take(0)
    line.give()
    await until(lambda: line_of_it._thread is None)


async def test_nothing_is_left_of_a_line_that_was_closed(path: Path, line: Turnstile) -> None:
    held = open_files()
    one = Turnstile(path)
    assert line.take(0)
    assert not one.take(0.01)
    line.give()
    assert one.take(HANG_SECONDS)
    one.close()
    one.close()
    assert one._thread is None
    assert open_files() == held
    assert line.take(0), "a lock goes with what holds it"


def test_a_program_that_is_started_does_not_inherit_the_turn(path: Path, other: Callable[..., Other]) -> None:
    one = Turnstile(path)
    assert one.take(0)
    started = other("obey", path.with_name("y.db"))
    assert started.hear() == "there"
    one.close()
    assert Turnstile(path).take(0)


def test_where_there_are_no_such_locks_nobody_waits(
    line: Turnstile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EINVAL, "no such locks")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    turn = Turn(line, HANG_SECONDS)
    assert turn.take_to_write(0)
    assert turn.is_first
    turn.give()


def test_a_thread_that_is_not_to_be_had_is_done_without(
    line: Turnstile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    other = Turnstile(path)
    assert other.take(0)
    turn = Turn(line, HANG_SECONDS)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert turn.take_to_write()
        assert not turn.is_first
        turn.give()
    other.give()
    assert turn.take_to_write()
    assert turn.is_first
    turn.give()
    other.close()


async def test_a_line_that_cannot_be_made_is_said(path: Path) -> None:
    path.with_name(f"{path.name}.turn").mkdir()
    with pytest.raises(StoreError, match=r"cannot open .*x\.db\.turn: Is a directory"):
        SqliteDatabase(path, in_line=True)
    SqliteDatabase(path, tenure="alone")._hold.release()


@pytest.mark.parametrize("workers", [1, 2])
async def test_only_those_who_are_several_stand_in_line(tmp_path: Path, workers: int) -> None:
    store = await open_store(Settings(data_dir=tmp_path, workers=workers), "leading")
    await store.close()
    assert (tmp_path / "watcherd.db.turn").exists() == (workers > 1)


def open_files() -> list[str]:
    """What this process has open of lines."""
    found = []
    for number in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(number.readlink()))
    return sorted(name for name in found if name.endswith(".turn"))
