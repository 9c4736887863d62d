"""PostgreSQL: connections that are lost, transactions that are run again, and who may change the schema."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy.util import await_only

from tests.postgres import Postgres, running
from tests.unit.store.models import apply, attribute, entity, key, model, record
from watcherd.errors import ConstraintError, StoreError, StoreUnavailableError
from watcherd.store import Rejection, Row, Select, Store, records, scan
from watcherd.store import apply as schema_apply
from watcherd.store import postgres as module
from watcherd.store.cursor import Cursor, IntegrityError, ServerError
from watcherd.store.plan import Scan
from watcherd.store.postgres import PostgresDatabase

THING = model(entity("Thing", attribute("name", unique=True), attribute("size", "integer")))


@pytest.fixture
async def database(postgres: Postgres, schema: str) -> AsyncIterator[PostgresDatabase]:
    opened = await PostgresDatabase.open(postgres.url(schema))
    await opened.change(lambda cursor: cursor.execute("CREATE TABLE t (x BIGINT PRIMARY KEY)"))
    yield opened
    await opened.close()


@pytest.fixture
async def other(postgres: Postgres, schema: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Somebody else at the same database."""
    connection = await postgres.connect(schema)
    yield connection
    await connection.close()


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server that a test may stop."""
    with running() as server:
        yield server


def insert(cursor: Cursor, value: int) -> int:
    cursor.execute("INSERT INTO t VALUES (?)", (value,))
    return value


def values(cursor: Cursor) -> list[int]:
    return [value for (value,) in cursor.execute("SELECT x FROM t ORDER BY x")]


async def test_a_server_that_goes_away_is_unavailable_and_one_that_comes_back_is_used_again(own: Postgres) -> None:
    store = await Store.open(own.url(), own.directory)
    rows = (await apply(store, THING))["Thing"]
    await rows.insert([{"id": key(1), "name": "a"}])
    assert await store.health() is None

    own.stop()
    with pytest.raises(StoreUnavailableError, match="not available now"):
        await rows.get(key(1))
    with pytest.raises(StoreUnavailableError, match="not available now"):
        await rows.list(Select())
    with pytest.raises(StoreUnavailableError, match="not available now"):
        await rows.insert([{"id": key(2)}])
    with pytest.raises(StoreUnavailableError, match="not available now"):
        await store.expand(await store.plan(THING), record(THING, 2))
    assert "not available now" in str(await store.health())

    own.start()
    assert await rows.get(key(1)) == Row(1, {"id": key(1), "name": "a", "size": None})
    await rows.insert([{"id": key(2)}])
    assert await store.health() is None
    await store.close()


async def test_a_server_that_is_not_there_at_the_start_is_named_without_its_password(own: Postgres) -> None:
    own.stop()
    url = own.url().replace("postgres@/", "postgres:secret@/")
    with pytest.raises(StoreError, match="cannot open the database postgresql:///postgres") as refusal:
        await Store.open(url, own.directory)
    assert "secret" not in str(refusal.value)


async def test_a_connection_that_is_cut_in_a_write_leaves_nothing_and_reads_go_on(
    database: PostgresDatabase, other: asyncpg.Connection[asyncpg.Record]
) -> None:
    def cut(cursor: Cursor) -> None:
        insert(cursor, 1)
        (process,) = cursor.execute("SELECT pg_backend_pid()").fetchone()
        await_only(other.execute("SELECT pg_terminate_backend($1, 5000)", process))
        insert(cursor, 2)

    with pytest.raises(StoreUnavailableError):
        await database.write(cut)
    assert await database.read(values) == []
    assert await database.write(lambda cursor: insert(cursor, 3)) == 3


async def test_two_writes_that_wait_for_each_other_are_both_done(database: PostgresDatabase) -> None:
    await database.write(lambda cursor: [insert(cursor, value) for value in (1, 2)])
    mine, yours = asyncio.Event(), asyncio.Event()
    runs: list[int] = []

    def cross(cursor: Cursor, first: int, own_event: asyncio.Event, their_event: asyncio.Event) -> None:
        runs.append(first)
        cursor.execute("SELECT x FROM t WHERE x = ? FOR UPDATE", (first,))
        own_event.set()
        await_only(their_event.wait())
        cursor.execute("SELECT x FROM t WHERE x = ? FOR UPDATE", (3 - first,))
        insert(cursor, first * 10)

    await asyncio.gather(
        database.write(lambda cursor: cross(cursor, 1, mine, yours)),
        database.write(lambda cursor: cross(cursor, 2, yours, mine)),
    )
    assert await database.read(values) == [1, 2, 10, 20]
    assert len(runs) in {3, 4}, "one of them was run again, or both where the server took its time"


async def test_what_is_undone_again_and_again_is_unavailable_in_the_end(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TRIES", 3)
    runs: list[int] = []

    def undone(cursor: Cursor) -> None:
        runs.append(insert(cursor, 1))
        raise ServerError("could not serialize access", passing=True, repeatable=True)

    with pytest.raises(StoreUnavailableError, match="could not serialize access"):
        await database.write(undone)
    assert len(runs) == 3
    assert await database.read(values) == []


async def test_a_read_sees_one_state_and_cannot_write(database: PostgresDatabase) -> None:
    async def twice() -> tuple[list[int], list[int]]:
        def read(cursor: Cursor) -> tuple[list[int], list[int]]:
            first = values(cursor)
            await_only(database.write(lambda writer: insert(writer, 1)))
            return first, values(cursor)

        return await database.read(read)

    assert await twice() == ([], [])
    with pytest.raises(StoreError, match="read-only"):
        await database.read(lambda cursor: insert(cursor, 2))
    assert await database.read(values) == [1]


async def test_after_a_failed_statement_one_can_look_but_not_commit(database: PostgresDatabase) -> None:
    await database.write(lambda cursor: insert(cursor, 1))
    seen: list[list[int]] = []

    def go_on(cursor: Cursor) -> None:
        insert(cursor, 2)
        with pytest.raises(IntegrityError):
            insert(cursor, 1)
        seen.append(values(cursor))

    with pytest.raises(StoreError, match="undone the transaction"):
        await database.write(go_on)
    assert seen == [[1]]
    assert await database.read(values) == [1]


async def test_a_savepoint_keeps_what_was_before_the_failed_statement(database: PostgresDatabase) -> None:
    def go_on(cursor: Cursor) -> None:
        insert(cursor, 1)
        cursor.execute("SAVEPOINT one")
        insert(cursor, 2)
        with pytest.raises(IntegrityError):
            insert(cursor, 1)
        assert values(cursor) == [1]
        cursor.execute("ROLLBACK TO one")
        cursor.execute("RELEASE one")
        insert(cursor, 3)

    await database.write(go_on)
    assert await database.read(values) == [1, 3]


async def test_a_cancelled_write_leaves_nothing_and_its_connection_is_used_again(
    postgres: Postgres, schema: str
) -> None:
    database = await PostgresDatabase.open(postgres.url(schema), max_connections=1)
    await database.change(lambda cursor: cursor.execute("CREATE TABLE t (x BIGINT PRIMARY KEY)"))
    entered = asyncio.Event()

    def wait(cursor: Cursor) -> None:
        insert(cursor, 1)
        entered.set()
        cursor.execute("SELECT pg_sleep(60)")

    writing = asyncio.create_task(database.write(wait))
    await entered.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await database.write(lambda cursor: insert(cursor, 2)) == 2
    assert await database.read(values) == [2]
    await database.close()


async def test_when_all_connections_are_taken_the_next_is_refused_after_a_while(
    postgres: Postgres, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = await PostgresDatabase.open(postgres.url(schema), max_connections=1, max_waiting=1)
    entered, go = asyncio.Event(), asyncio.Event()

    def hold(_: Cursor) -> None:
        entered.set()
        await_only(go.wait())

    holding = asyncio.create_task(database.write(hold))
    await entered.wait()
    monkeypatch.setattr(module, "CONNECT_TIMEOUT", 0.05)
    waiting = asyncio.create_task(database.write(lambda _: None))
    await asyncio.sleep(0)
    assert (database.usage().waiting, database.usage().used) == (1, 1)
    with pytest.raises(StoreUnavailableError, match="1 requests are waiting"):
        await database.fetch_row("SELECT 1", ())
    with pytest.raises(StoreUnavailableError, match="did not answer in time"):
        await waiting
    go.set()
    await holding
    await database.close()


async def test_a_schema_change_lets_readers_pass_while_it_waits_for_a_table(
    database: PostgresDatabase, other: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []
    tried = asyncio.Event()

    def change(cursor: Cursor) -> None:
        tries.append(len(tries))
        if len(tries) > 2:
            tried.set()
        cursor.execute("ALTER TABLE t ADD COLUMN y TEXT")

    held = other.transaction()
    await held.start()
    await other.execute("SELECT x FROM t")
    changing = asyncio.create_task(database.change(change))
    await tried.wait()
    assert await database.read(values) == []
    await held.rollback()
    await changing
    assert await database.fetch_row("SELECT count(y) FROM t", ()) == (0,)


async def test_a_table_that_is_held_for_long_makes_the_change_unavailable(
    database: PostgresDatabase, other: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHANGE_TIMEOUT", 0.3)
    async with other.transaction():
        await other.execute("SELECT x FROM t")
        with pytest.raises(StoreUnavailableError, match="lock timeout"):
            await database.change(lambda cursor: cursor.execute("ALTER TABLE t ADD COLUMN y TEXT"))


async def test_of_two_processes_that_apply_the_same_model_the_second_finds_it_done(
    postgres: Postgres, schema: str
) -> None:
    one, two = [await Store.open(postgres.url(schema), postgres.directory) for _ in range(2)]
    await asyncio.gather(apply(one, THING), apply(two, THING))
    wider = model(entity("Thing", attribute("name", unique=True), attribute("size", "integer"), attribute("more")))
    plans = [await store.plan(wider) for store in (one, two)]
    results = await asyncio.gather(
        *(store.expand(plan, record(wider, 2)) for store, plan in zip((one, two), plans, strict=True))
    )
    assert results == [(), ()]
    await one.close()
    await two.close()


async def test_a_table_that_was_altered_meanwhile_is_read_again(
    database: PostgresDatabase, other: asyncpg.Connection[asyncpg.Record]
) -> None:
    await database.write(lambda cursor: insert(cursor, 1))
    assert await database.read(values) == [1]
    await other.execute("ALTER TABLE t ALTER COLUMN x TYPE NUMERIC")
    assert await database.read(values) == [1]
    assert await database.fetch_row("SELECT x FROM t", ()) == (1,)


async def test_a_number_that_was_given_by_hand_is_not_given_again(postgres: Postgres, schema: str) -> None:
    store = await Store.open(postgres.url(schema), postgres.directory)
    number = attribute("number", "integer", primary_key=True, auto_increment=True)
    rows = (await apply(store, model(entity("Ticket", number, key=None))))["Ticket"]
    await rows.insert([{"number": 7}])
    await rows.insert([{"number": 3}])
    (next_one,) = await rows.insert([{}])
    assert next_one.values == {"number": 8}
    await store.close()


async def test_closing_ends_what_takes_longer_than_its_deadline(database: PostgresDatabase) -> None:
    entered = asyncio.Event()

    def forever(cursor: Cursor) -> None:
        entered.set()
        cursor.execute("SELECT pg_sleep(60)")

    writing = asyncio.create_task(database.write(forever))
    await entered.wait()
    await database.close(0.05)
    with pytest.raises(StoreUnavailableError):
        await writing
    with pytest.raises(StoreUnavailableError, match="being closed"):
        await database.read(values)


async def test_texts_are_ordered_by_code_point_whatever_the_server_thinks(postgres: Postgres, schema: str) -> None:
    store = await Store.open(postgres.url(schema), postgres.directory)
    await apply(store, THING)
    collations = postgres.query(
        schema,
        "SELECT DISTINCT collation_name FROM information_schema.columns "
        "WHERE table_name = 'shop__thing' AND data_type = 'text' AND table_schema = current_schema()",
    )
    assert collations == [("C",)]
    await store.close()


async def test_a_refused_row_among_several_is_explained_by_the_constraint_that_it_broke(
    postgres: Postgres, schema: str
) -> None:
    store = await Store.open(postgres.url(schema), postgres.directory)
    rows = (await apply(store, THING))["Thing"]
    with pytest.raises(ConstraintError, match=r"^name 'a' already exists$") as refusal:
        await rows.insert([{"id": key(1), "name": "a"}, {"id": key(2), "name": "a"}])
    assert (refusal.value.row, refusal.value.attributes) == (1, ("name",))
    await store.close()


WIDER = model(
    entity(
        "Thing", attribute("name", unique=True), attribute("size", "integer"), attribute("n", default="x", index=True)
    )
)


async def test_a_kill_between_the_columns_and_the_rest_is_finished_by_the_next_start(
    postgres: Postgres, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await Store.open(postgres.url(schema), postgres.directory)
    old = (await apply(store, THING))["Thing"]
    await old.insert([{"id": key(1)}])
    plan = await store.plan(WIDER)
    with monkeypatch.context() as patched:
        patched.setattr(records, "record", lambda *_: (_ for _ in ()).throw(MemoryError("killed")))
        with pytest.raises(MemoryError):
            await store.expand(plan, record(WIDER, 2))
    await old.insert([{"id": key(2)}])
    await store.close()

    again = await Store.open(postgres.url(schema), postgres.directory)
    back = (await apply(again, THING, 1))["Thing"]
    assert await back.get(key(2)) == Row(1, {"id": key(2), "name": None, "size": None})
    new = (await apply(again, WIDER, 2))["Thing"]
    assert [row.values["n"] for row in (await new.list(Select())).rows] == ["x", "x"]
    await again.close()


async def test_columns_of_a_change_that_is_rejected_in_the_end_are_taken_back(postgres: Postgres, schema: str) -> None:
    store = await Store.open(postgres.url(schema), postgres.directory)
    old = (await apply(store, THING))["Thing"]
    strict = model(
        entity(
            "Thing",
            attribute("name", unique=True),
            attribute("size", "integer", required=True),
            attribute("n", index=True),
        )
    )
    plan = await store.plan(strict)
    await old.insert([{"id": key(1)}])
    (rejection,) = await store.expand(plan, record(strict, 2))
    assert (rejection.code, rejection.attribute) == ("PIM603", "size")
    columns = postgres.query(schema, "SELECT column_name FROM watcherd_attribute ORDER BY position")
    assert columns == [("id",), ("name",), ("size",)]
    with pytest.raises(asyncpg.UndefinedColumnError):
        postgres.query(schema, "SELECT n FROM shop__thing")
    await old.update(key(1), lambda _: {"size": 1})
    await apply(store, strict, 2)
    await store.close()


async def test_nobody_writes_between_the_look_at_the_rows_and_the_constraint_that_it_allows(
    postgres: Postgres, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await Store.open(postgres.url(schema), postgres.directory)
    plain = model(entity("Thing", attribute("name"), attribute("size", "integer")))
    old = (await apply(store, plain))["Thing"]
    await old.insert([{"id": key(1), "name": "a"}])
    writing: list[asyncio.Task[Any]] = []
    original = scan.rows_in_the_way

    def look_and_let_others_in(cursor: Cursor, scans: tuple[Scan, ...]) -> tuple[Rejection, ...]:
        found = original(cursor, scans)
        writing.append(asyncio.create_task(old.insert([{"id": key(2), "name": "a"}])))
        cursor.execute("SELECT pg_sleep(0.05)")
        assert await_only(old.get(key(1))) is not None, "readers go on"
        return found

    plan = await store.plan(THING)
    monkeypatch.setattr(schema_apply, "rows_in_the_way", look_and_let_others_in)
    assert await store.expand(plan, record(THING, 2)) == ()
    with pytest.raises(ConstraintError, match="name 'a' already exists"):
        await writing[0]
    await store.close()
