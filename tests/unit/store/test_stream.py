"""Reads that are taken a slice at a time: one moment, few threads, and an end in any case."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.store.models import apply, attribute, entity, key, model
from watcherd.errors import StoreError, StoreUnavailableError
from watcherd.store import Row, Select, Store
from watcherd.store.cursor import Cursor
from watcherd.store.sqlite import SqliteDatabase as Database
from watcherd.store.sqlite_stream import SqliteStream
from watcherd.store.stream import MAX_STREAMS, RowStream

ALL = "SELECT x FROM t ORDER BY x"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A table of the numbers from 0 to 9."""

    def fill(cursor: Cursor) -> None:
        cursor.execute("CREATE TABLE t (x INTEGER PRIMARY KEY)")
        for value in range(10):
            cursor.execute("INSERT INTO t VALUES (?)", (value,))

    opened = Database(tmp_path / "x.db", durability="normal")
    await opened.write(fill)
    yield opened
    await opened.close()


async def numbers(stream: RowStream, most: int) -> list[int] | None:
    return await stream.slice(most, lambda rows: [value for (value,) in rows])


async def test_slices_come_until_the_end(database: Database) -> None:
    stream = await database.stream(ALL, ())
    assert [await numbers(stream, 4) for _ in range(5)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], None, None]
    await stream.aclose()


async def test_more_streams_than_threads_are_read_side_by_side(database: Database) -> None:
    streams = [await database.stream(ALL, ()) for _ in range(MAX_STREAMS)]
    for expected in ([0, 1], [2, 3]):
        assert [await numbers(stream, 2) for stream in streams] == [expected] * MAX_STREAMS
    assert await database.read(lambda cursor: cursor.execute("SELECT COUNT(*) FROM t").fetchone()) == (10,)
    with pytest.raises(StoreUnavailableError, match="are running already"):
        await database.stream(ALL, ())
    await streams.pop().aclose()
    streams.append(await database.stream(ALL, ()))
    for stream in streams:
        await stream.aclose()


async def test_a_stream_whose_rows_are_not_taken_is_ended(database: Database) -> None:
    ended: asyncio.Future[SqliteStream] = asyncio.get_running_loop().create_future()
    stream = SqliteStream(database._submit, database._connect_to_read, ended.set_result, idle_seconds=0.001)
    await stream.open(ALL, ())
    assert await ended is stream
    with pytest.raises(StoreUnavailableError, match="not taken in time"):
        await numbers(stream, 1)
    await stream.aclose()


async def test_a_read_that_runs_is_interrupted_by_the_end_of_its_stream(database: Database) -> None:
    endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT MAX(x) FROM n"
    opening = asyncio.create_task(database.stream(endless, ()))
    while not any(stream.connection is not None and stream.connection.in_transaction for stream in database._streams):
        await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert not database._streams
    assert not database._reading


async def test_a_query_that_is_refused_leaves_nothing_open(database: Database) -> None:
    with pytest.raises(StoreError, match="no such column"):
        await database.stream("SELECT y FROM t", ())
    assert not database._streams


async def test_rows_are_streamed_from_either_database_as_of_one_moment(store: Store) -> None:
    rows = (await apply(store, model(entity("Thing", attribute("price", "decimal", scale=2)))))["Thing"]
    await rows.insert([{"id": key(place), "price": str(place)} for place in range(5)])
    stream = await rows.stream(Select(sort=(("price", True),)))

    def prices(found: list[Row]) -> list[Any]:
        return [row.values["price"] for row in found]

    assert await rows.slice(stream, 2, prices) == ["4.00", "3.00"]
    for place in range(5):
        await rows.delete(key(place))
    assert await rows.slice(stream, 9, prices) == ["2.00", "1.00", "0.00"]
    assert await rows.slice(stream, 9, prices) is None
    await stream.aclose()
    again = await rows.stream(Select())
    assert await rows.slice(again, 9, prices) is None
    await again.aclose()


async def test_streams_are_bounded_on_either_database_and_all_are_given_back(store: Store) -> None:
    rows = (await apply(store, model(entity("Thing"))))["Thing"]
    for _ in range(3):
        streams = [await rows.stream(Select()) for _ in range(MAX_STREAMS)]
        with pytest.raises(StoreUnavailableError, match="are running already"):
            await rows.stream(Select())
        for stream in streams:
            await stream.aclose()
            await stream.aclose()
