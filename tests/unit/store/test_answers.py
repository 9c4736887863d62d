"""Kept answers, and rows that are written together, on either database."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.unit.store.conftest import Query
from tests.unit.store.models import apply, attribute, entity, key, model, record
from watcherd.errors import StillRunningError, StoreError
from watcherd.store import AnswerName, Cursor, KeptAnswer, ModelTables, Select, Store
from watcherd.store.answers import KEPT_SECONDS

NAME = AnswerName("me", "POST /shop/things", "k1")
ANSWER = KeptAnswer(
    fingerprint="f", status=201, media="application/json", headers=(("etag", '"1-é"'),), body=b"\x00\xff{}"
)


async def tables_of(store: Store) -> ModelTables:
    linked = model(entity("Thing", attribute("name", required=True, unique=True)))
    plan = await store.plan(linked)
    assert await store.expand(plan, record(linked)) == ()
    return store.bind(plan)


async def test_an_answer_comes_back_as_it_was_kept_until_it_expires(store: Store) -> None:
    tables = await tables_of(store)
    await tables.write(partial(tables.answers.keep, name=NAME, answer=ANSWER, now=1000))
    assert await tables.answers.find(NAME, 1000 + KEPT_SECONDS - 1) == ANSWER
    assert await tables.answers.find(NAME, 1000 + KEPT_SECONDS) is None
    for other in (replace(NAME, caller=""), replace(NAME, path="x"), replace(NAME, key="k2")):
        assert await tables.answers.find(other, 1000) is None


async def test_a_second_answer_under_a_name_takes_its_write_back(store: Store) -> None:
    tables = await tables_of(store)
    rows = tables.entities["Thing"]
    await tables.write(partial(tables.answers.keep, name=NAME, answer=ANSWER, now=1000))

    def write(cursor: Cursor) -> None:
        rows.inserting([{"id": key(1), "name": "a"}])(cursor)
        tables.answers.keep(cursor, NAME, ANSWER, 1001)

    with pytest.raises(StillRunningError):
        await tables.write(write)
    assert await rows.get(key(1)) is None


async def test_an_expired_answer_makes_room_and_is_removed_by_the_next_start(
    database_url: str, tmp_path: Path, query: Query
) -> None:
    store = await Store.open(database_url, tmp_path)
    tables = await tables_of(store)
    for now in (1000, 1000 + KEPT_SECONDS):
        await tables.write(partial(tables.answers.keep, name=NAME, answer=ANSWER, now=now))
    assert [tuple(row) for row in query("SELECT kept_at FROM watcherd_answer")] == [(1000 + KEPT_SECONDS,)]
    await store.close()
    store = await Store.open(database_url, tmp_path)
    assert query("SELECT kept_at FROM watcherd_answer") == []
    await store.close()


async def test_one_name_runs_once_at_a_time(store: Store) -> None:
    answers = (await tables_of(store)).answers
    with answers.running(NAME):
        with pytest.raises(StillRunningError), answers.running(NAME):
            raise AssertionError("both run")
        with answers.running(replace(NAME, key="k2")):
            pass
    with pytest.raises(KeyError), answers.running(NAME):
        raise KeyError
    with answers.running(NAME):
        pass


async def test_of_many_rows_those_that_are_refused_are_told_and_the_others_are_in(store: Store) -> None:
    tables = await tables_of(store)
    rows = tables.entities["Thing"]
    names = ["a", "b", "a", "c", "b", "d"]

    def write(cursor: Cursor) -> list[tuple[int, str]]:
        encoded = [rows.encoded({"id": key(place), "name": name}) for place, name in enumerate(names)]
        assert rows.insert_encoded(cursor, encoded[:1]) == []
        return [(place, str(error)) for place, error in rows.insert_encoded(cursor, encoded[1:])]

    assert await tables.write(write) == [(1, "name 'a' already exists"), (3, "name 'b' already exists")]
    assert [row.values["name"] for row in (await rows.list(Select())).rows] == ["a", "b", "c", "d"]


async def test_what_no_constraint_explains_is_raised(store: Store) -> None:
    rows = (await apply(store, model(entity("Thing", attribute("n", "integer")))))["Thing"]
    with pytest.raises(StoreError):
        await rows._database.write(lambda cursor: rows.insert_encoded(cursor, [(key(1), 2**63)]))
    assert await rows.get(key(1)) is None
