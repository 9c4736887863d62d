"""Nothing is taken away that a revision in another process may need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.store.conftest import Query
from tests.unit.store.models import apply, attribute, entity, key, model, record
from watcherd.errors import HeldElsewhereError
from watcherd.store import SchemaPlan, Store, holders
from watcherd.store.plan import StalePlanError

BEFORE = model(entity("Thing", attribute("size", "integer"), attribute("code", unique=True)))
AFTER = model(entity("Thing", attribute("size", "decimal", scale=2), attribute("code")))


@pytest.fixture
async def other(database_url: str, tmp_path: Path) -> AsyncIterator[Store]:
    """Another process's store; of SQLite both are in this one, which is told apart by its name."""
    opened = await Store.open(database_url, tmp_path, durability="normal")
    yield opened
    await opened.close()


async def changed(store: Store) -> SchemaPlan:
    """Revision 2, with triggers and an index that only revision 1 needs."""
    await apply(store, BEFORE)
    await apply(store, AFTER, 2)
    return await store.plan(AFTER)


async def test_what_another_process_holds_is_loosened_when_it_holds_it_no_more(store: Store, other: Store) -> None:
    await store.enter()
    await other.enter()
    plan = await changed(store)
    for _ in range(2):
        with pytest.raises(HeldElsewhereError, match="has not said yet what it holds"):
            await store.loosen(plan, 2)
    await other.speak(None)
    with pytest.raises(HeldElsewhereError, match="has not said yet"):
        await store.loosen(plan, 2)
    await other.speak({"shop": 1})
    with pytest.raises(HeldElsewhereError, match="holds revision 1"):
        await store.loosen(plan, 2)
    old = await apply(other, AFTER, 2)
    await old["Thing"].insert([{"id": key(1), "size": "1"}])
    await other.speak({"shop": 2})
    await store.loosen(plan, 2)
    assert (await store.plan(AFTER)).loosen == ()
    assert await store.drift() == {}


async def test_what_was_said_before_a_change_says_nothing_about_it(store: Store, other: Store) -> None:
    await store.enter()
    await other.enter()
    await other.speak({})
    plan = await changed(store)
    with pytest.raises(HeldElsewhereError, match="has not said yet"):
        await store.loosen(plan, 2)
    await other.speak({})
    await store.loosen(plan, 2)


async def test_who_has_left_holds_nothing(store: Store, other: Store) -> None:
    await store.enter()
    await other.enter()
    await other.speak({"shop": 1})
    plan = await changed(store)
    await other.close()
    await store.loosen(plan, 2)
    assert (await store.plan(AFTER)).loosen == ()


async def test_who_is_alone_asks_nobody(store: Store) -> None:
    await store.enter()
    assert (await store.speak({"shop": 1})).applied == {}
    await store.loosen(await changed(store), 2)
    assert (await store.plan(AFTER)).loosen == ()


async def test_on_a_server_who_has_not_spoken_for_long_holds_nothing(
    store: Store, other: Store, database_url: str, query: Query
) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("there the machine is asked")
    await store.enter()
    await other.enter()
    await other.speak({"shop": 1})
    plan = await changed(store)
    with pytest.raises(HeldElsewhereError):
        await store.loosen(plan, 2)
    late = f"beat_at - {holders.STALE_SECONDS * 1000 + 1}"
    query(f"UPDATE watcherd_process SET beat_at = {late} WHERE process = '{other._me.process}'")  # type: ignore[union-attr]  # it has entered
    await store.loosen(plan, 2)
    heard = await other.speak({"shop": 1})
    assert heard.lapsed, "it learns that it was taken for dead"
    assert not (await other.speak({"shop": 1})).lapsed


async def test_on_one_machine_who_was_killed_holds_nothing(store: Store, database_url: str, query: Query) -> None:
    if not database_url.startswith("sqlite"):
        pytest.skip("a server knows no processes")
    await store.enter()
    plan = await changed(store)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        born = holders._born(child.pid)
        query(f"INSERT INTO watcherd_process VALUES ('x', 'host:1', {child.pid}, '{born}', 0, 0)")
        with pytest.raises(HeldElsewhereError, match="host:1 has not said yet"):
            await store.loosen(plan, 2)
    finally:
        child.communicate(b"\n")
    await store.loosen(plan, 2)
    await store.enter()
    assert query("SELECT count(*) FROM watcherd_process WHERE process = 'x'") == [(0,)]


async def test_a_number_that_another_process_has_given_is_not_given_again(store: Store, other: Store) -> None:
    await apply(store, BEFORE)
    await other.plan(BEFORE)
    await apply(store, AFTER, 2)
    more = model(entity("Thing", attribute("size", "integer"), attribute("code", unique=True), attribute("color")))
    stale = await other.plan(more)
    with pytest.raises(StalePlanError, match="revision 2 of shop was applied by another process"):
        await other.expand(stale, _record(more, 2))
    assert (await other.applied("shop")).revision == 2  # type: ignore[union-attr]  # it was applied
    assert await other.expand(await other.plan(AFTER), record(AFTER, 2)) == (), "who comes second finds it done"


def _record(linked: Any, number: int) -> Any:
    from dataclasses import replace

    return replace(record(linked, number), fingerprint="another")
