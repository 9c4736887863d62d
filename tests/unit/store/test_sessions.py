"""Transactions of many steps: as if nobody else were there, on both databases."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest

from watcherd.errors import ContendedError, StoreUnavailableError
from watcherd.store import Cursor, Session, Store
from watcherd.store.turn import Turn

READ = "SELECT n FROM numbers WHERE id = 1"


@pytest.fixture
async def database(store: Store) -> Any:
    def make(cursor: Cursor) -> None:
        cursor.execute("CREATE TABLE numbers (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)")
        cursor.execute("INSERT INTO numbers VALUES (1, 0)")

    await store._database.change(make)
    return store._database


def read(cursor: Cursor) -> int:
    return int(cursor.execute(READ).fetchone()[0])


def write(number: int) -> Any:
    return lambda cursor: cursor.execute(f"UPDATE numbers SET n = {number} WHERE id = 1")


async def value(database: Any) -> int:
    return int(await database.read(read))


async def add_one(session: Session) -> int:
    number = await session.run(read)
    await asyncio.sleep(0)
    await session.run(write(number + 1), writes=True)
    return number


async def test_those_who_read_and_write_at_the_same_time_lose_no_update(database: Any) -> None:
    answers = await asyncio.gather(*(database.interact(add_one) for _ in range(20)), return_exceptions=True)
    done = [one for one in answers if isinstance(one, int)]
    assert all(isinstance(one, int | ContendedError) for one in answers), answers
    assert await value(database) == len(done) > 0
    assert sorted(done) == list(range(len(done)))


async def test_plain_writes_between_a_read_and_a_write_make_it_run_again(database: Any) -> None:
    tries = []

    async def body(session: Session) -> int:
        number = await session.run(read)
        tries.append(number)
        if len(tries) == 1:
            await database.write(write(10))
        await session.run(write(number + 1), writes=True)
        return number

    assert await database.interact(body) == 10
    assert (tries, await value(database)) == ([0, 10], 11)


async def test_a_body_that_hides_that_it_was_undone_is_run_again_all_the_same(database: Any) -> None:
    tries = []

    async def body(session: Session) -> str:
        number = await session.run(read)
        tries.append(number)
        if len(tries) == 1:
            await database.write(write(10))
        try:
            await session.run(write(number + 1), writes=True)
        except Exception:  # noqa: BLE001 - as careless code does
            return "hidden"
        return "done"

    assert await database.interact(body) == "done"
    assert await value(database) == 11


async def test_what_a_body_raises_undoes_all_of_it(database: Any) -> None:
    async def body(session: Session) -> None:
        await session.run(write(5), writes=True)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await database.interact(body)
    assert await value(database) == 0
    await database.write(write(1))  # nobody holds anything


async def test_a_step_that_fails_takes_back_itself_alone(database: Any) -> None:
    def half(cursor: Cursor) -> None:
        cursor.execute("INSERT INTO numbers VALUES (2, 2)")
        cursor.execute("INSERT INTO numbers VALUES (1, 2)")

    async def body(session: Session) -> None:
        await session.run(write(5), writes=True)
        with pytest.raises(Exception, match=r"UNIQUE|unique"):
            await session.run(half, writes=True)
        await session.run(write(6), writes=True)

    await database.interact(body)
    assert await value(database) == 6
    assert await database.read(lambda cursor: cursor.execute("SELECT count(*) FROM numbers").fetchone()[0]) == 1


async def test_steps_from_a_thread_are_part_of_the_same_transaction(database: Any) -> None:
    async def body(session: Session) -> int:
        await session.run(write(3), writes=True)
        return await asyncio.to_thread(session.run_here, read)

    assert await database.interact(body) == 3


async def test_a_body_that_is_cancelled_leaves_nothing_behind(database: Any) -> None:
    begun = asyncio.Event()

    async def body(session: Session) -> None:
        await session.run(write(5), writes=True)
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(database.interact(body))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await database.write(lambda cursor: cursor.execute("UPDATE numbers SET n = n + 1"))
    assert await value(database) == 1


async def test_a_session_that_has_ended_takes_no_more_steps(database: Any) -> None:
    kept: list[Session] = []

    async def body(session: Session) -> None:
        kept.append(session)
        await session.run(read)

    await database.interact(body)
    with pytest.raises(Exception, match="has ended"):
        await kept[0].run(read)


async def test_what_is_told_after_a_commit_is_told_once_and_not_of_what_was_undone(database: Any) -> None:
    told: list[str] = []

    def tell(text: str) -> Any:
        def step(cursor: Cursor) -> None:
            write(1)(cursor)
            assert cursor.after_commit is not None
            cursor.after_commit[len(cursor.after_commit)] = lambda: told.append(text)
            if text == "undone":
                raise ValueError(text)

        return step

    async def body(session: Session) -> None:
        await session.run(tell("first"), writes=True)
        with pytest.raises(ValueError, match="undone"):
            await session.run(tell("undone"), writes=True)
        assert told == []

    await database.interact(body)
    assert told == ["first"]


async def test_transacting_loses_no_update(database: Any) -> None:
    def add(cursor: Cursor) -> None:
        write(read(cursor) + 1)(cursor)

    answers = await asyncio.gather(*(database.transact(add) for _ in range(20)), return_exceptions=True)
    assert {type(one) for one in answers} <= {type(None), ContendedError}
    assert await value(database) == sum(one is None for one in answers)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_who_keeps_others_from_writing_for_too_long_is_taken_back(
    database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watcherd.store.sqlite_session.HOLD_SECONDS", 0.1)
    begun = asyncio.Event()
    over = asyncio.Event()

    async def body(session: Session) -> None:
        await session.run(write(5), writes=True)
        begun.set()
        await over.wait()

    task = asyncio.create_task(database.interact(body))
    await begun.wait()
    await database.write(lambda cursor: cursor.execute("UPDATE numbers SET n = n + 1"))  # waits for its turn
    over.set()
    with pytest.raises(StoreUnavailableError, match="kept others from writing"):
        await task
    assert await value(database) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_reading_keeps_nobody_from_writing(database: Any) -> None:
    async def body(session: Session) -> int:
        await session.run(read)
        await database.write(write(7))
        return await session.run(read)

    assert await database.interact(body) == 0  # as of one moment


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_another_process_that_writes_is_waited_for(database: Any) -> None:
    other = sqlite3.connect(database.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    task = asyncio.create_task(database.interact(add_one))
    done, _ = await asyncio.wait([task], timeout=0.05)
    assert not done
    other.execute("COMMIT")
    other.close()
    assert await task == 0


def test_a_turn_goes_to_those_who_wait_in_their_order() -> None:
    turn = Turn()
    assert turn.take()
    assert not turn.take(0.01)
    turn.give()
    assert turn.take(0)
    turn.give()
