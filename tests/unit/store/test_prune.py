"""Parked data leaves only when told, after it was saved, and when nobody else can need it."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import Postgres
from tests.unit.store.conftest import Query
from tests.unit.store.models import apply, attribute, entity, key, model
from watcherd.errors import ConstraintError, StoreError
from watcherd.store import Parked, Select, Store
from watcherd.store.backup import BACKUPS


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite; what is done differently on a server has tests of its own."""
    return f"sqlite:///{tmp_path}/watcherd.db"


USER = entity("User", attribute("name", unique=True))


async def store_with_parked(tmp_path: Path) -> Store:
    """One parked column (2 values), one parked table (1 row), one parked model (1 row)."""
    return await with_parked(await Store.open(None, tmp_path, durability="normal", tenure="alone"))


async def with_parked(store: Store) -> Store:
    full = entity("User", attribute("name", unique=True), attribute("phone", unique=True, index=True))
    tables = await apply(store, model(full, entity("Loan", attribute("user", "reference", to="User"))))
    await tables["User"].insert([{"id": key(n), "name": f"n{n}", "phone": f"p{n}"} for n in (1, 2)])
    await tables["User"].insert([{"id": key(3), "name": "n3"}])
    await tables["Loan"].insert([{"id": key(1), "user": key(1)}])
    await apply(store, model(USER), 2)
    old = await apply(store, model(entity("Item"), domain="old"))
    await old["Item"].insert([{"id": key(1)}])
    await store.park("old")
    return store


async def test_what_is_parked_is_listed_with_its_rows(tmp_path: Path) -> None:
    store = await store_with_parked(tmp_path)
    assert [(one.name, one.gone, one.rows) for one in await store.parked()] == [
        ("old.Item", "model", 1),
        ("shop.User.phone", "attribute", 2),
        ("shop.Loan", "entity", 1),
    ]
    await store.close()


async def test_what_is_dropped_is_gone_and_everything_else_is_as_it_was(tmp_path: Path, query: Query) -> None:
    store = await store_with_parked(tmp_path)
    backup = await store.prune(await store.parked())
    assert await store.parked() == ()
    linked = model(USER)
    plan = await store.plan(linked)
    assert (plan.steps, plan.loosen, plan.changes_schema) == ((), (), False)
    rows = store.bind(plan).entities["User"]
    assert [row.values["name"] for row in (await rows.list(Select())).rows] == ["n1", "n2", "n3"]
    with pytest.raises(ConstraintError, match="already exists"):
        await rows.insert([{"id": key(4), "name": "n1"}])
    assert await rows.delete(key(1)), "the parked reference to it is gone"
    await store.close()

    tables = {name for (name,) in query("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {name for name in tables if "__" in name} == {"shop__user"}
    assert [row[1] for row in query("PRAGMA table_info(shop__user)")] == ["id", "name", "_version"]
    assert query("PRAGMA foreign_key_check") == []
    with closing(sqlite3.connect(backup)) as copy:
        assert copy.execute("SELECT count(phone) FROM shop__user").fetchone() == (2,)
        assert copy.execute("SELECT count(*) FROM shop__loan").fetchone() == (1,)
    assert backup.parent == tmp_path / "backups"


async def test_only_what_is_chosen_is_dropped(tmp_path: Path) -> None:
    store = await store_with_parked(tmp_path)
    await store.prune([one for one in await store.parked() if one.gone == "attribute"])
    assert [one.name for one in await store.parked()] == ["old.Item", "shop.Loan"]
    await store.close()


async def test_an_attribute_that_comes_back_after_it_was_dropped_is_a_new_one(tmp_path: Path) -> None:
    store = await store_with_parked(tmp_path)
    await store.prune(await store.parked())
    full = model(entity("User", attribute("name", unique=True), attribute("phone")), entity("Loan"))
    tables = await apply(store, full, 3)
    assert {row.values["phone"] for row in (await tables["User"].list(Select())).rows} == {None}
    assert (await tables["Loan"].list(Select())).total == 0
    await store.close()


async def test_what_is_still_referred_to_is_not_dropped(tmp_path: Path) -> None:
    store = await Store.open(None, tmp_path, durability="normal", tenure="alone")
    people = model(entity("Person"), domain="people")
    await apply(store, people)
    loan = entity("Loan", attribute("who", "reference", to="people.Person"))
    await apply(store, model(loan, domain="library", others=[people]))
    await store.park("people")
    (item,) = await store.parked()
    assert item.held_by == ("Loan.who",)
    with pytest.raises(StoreError, match=r"people\.Person: Loan\.who still refers to it"):
        await store.prune([item])
    await store.close()


async def families(store: Store) -> None:
    """A model with entities that refer to themselves, to each other in a circle, and to another model; both parked."""
    places = model(entity("Place"), domain="places")
    await apply(store, places)
    people = entity(
        "Person",
        attribute("parent", "reference", to="families.Person"),
        attribute("home", "reference", to="families.Home"),
        attribute("born", "reference", to="places.Place"),
    )
    home = entity("Home", attribute("owner", "reference", to="families.Person"))
    await apply(store, model(people, home, domain="families", others=[places]))
    await store.park("families")
    await store.park("places")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_what_refers_to_itself_and_each_other_goes_together(
    kind: str, make_database_url: Callable[[str], str], tmp_path: Path
) -> None:
    store = await Store.open(make_database_url(kind), tmp_path, durability="normal", tenure="alone")
    await families(store)
    parked = await store.parked()
    assert {one.name: one.held_by for one in parked} == {
        "families.Home": (),
        "families.Person": (),
        "places.Place": (),
    }
    place = [one for one in parked if one.model == "places"]
    with pytest.raises(
        StoreError, match=r"cannot drop places\.Place: families\.Person\.born, which is out of service, .* drop both"
    ):
        await store.prune(place)
    assert await store.parked() == parked, "all or nothing"
    await store.prune(parked)
    assert await store.parked() == ()
    assert await store.drift() == {}
    await families(store)
    assert len(await store.parked()) == 3, "they come back as new ones"
    await store.close()


async def test_what_came_back_since_it_was_listed_is_not_dropped(tmp_path: Path) -> None:
    store = await store_with_parked(tmp_path)
    listed = await store.parked()
    await apply(store, model(entity("User", attribute("name", unique=True), attribute("phone"))), 3)
    with pytest.raises(StoreError, match=r"shop\.User\.phone: it has changed"):
        await store.prune(listed)
    assert "old.Item" in [one.name for one in await store.parked()], "all or nothing"
    await store.close()


async def test_without_a_backup_nothing_is_dropped(tmp_path: Path) -> None:
    store = await store_with_parked(tmp_path)
    (tmp_path / BACKUPS).write_text("a file in the place of the directory")
    with pytest.raises(StoreError, match="cannot back up"):
        await store.prune(await store.parked())
    assert len(await store.parked()) == 3
    await store.close()


async def test_nobody_drops_while_somebody_else_has_the_database(tmp_path: Path) -> None:
    daemon = await Store.open(None, tmp_path)
    other = await Store.open(None, tmp_path)
    await other.close()
    with pytest.raises(StoreError, match="another process has it open, such as `watcherd serve`"):
        await Store.open(None, tmp_path, tenure="alone")
    await daemon.close()
    alone = await Store.open(None, tmp_path, tenure="alone")
    with pytest.raises(StoreError, match="has it for itself"):
        await Store.open(None, tmp_path)
    await alone.close()
    await (await Store.open(None, tmp_path)).close()


@pytest.fixture
async def server(postgres: Postgres, schema: str, tmp_path: Path) -> AsyncIterator[Store]:
    """Three rows with a parked column, a parked table that refers to one of them, and a model whose file is gone."""
    store = await Store.open(postgres.url(schema), tmp_path)
    yield await with_parked(store)
    await store.close()


@pytest.fixture
def query_server(postgres: Postgres, schema: str) -> Callable[[str], list[Any]]:
    return lambda sql: postgres.query(schema, sql)


async def test_on_a_server_the_rows_that_go_are_saved(server: Store, tmp_path: Path) -> None:
    parked = await server.parked()
    saved = await server.prune(parked)
    assert await server.parked() == ()
    assert await server.drift() == {}
    assert saved.parent == tmp_path / BACKUPS
    contents = json.loads((saved / "contents.json").read_text())
    assert [(one["name"], one["gone"], one["rows"]) for one in contents] == [
        (one.name, one.gone, one.rows) for one in parked
    ]
    phones = [json.loads(line) for line in (saved / "shop__user.phone.ndjson").read_text().splitlines()]
    assert {row["id"]: row["phone"] for row in phones} == {key(1): "p1", key(2): "p2"}
    (loan,) = (saved / "shop__loan.ndjson").read_text().splitlines()
    assert json.loads(loan) == {"id": key(1), "user": key(1)}


async def test_nothing_is_dropped_while_a_process_holds_an_older_revision(
    server: Store, postgres: Postgres, schema: str, tmp_path: Path
) -> None:
    other = await Store.open(postgres.url(schema), tmp_path)
    await other.enter()
    parked = await server.parked()
    phone = [one for one in parked if one.attribute == "phone"]
    with pytest.raises(StoreError, match="has not said yet what it holds"):
        await server.prune(phone)
    await other.speak({"shop": 1})
    with pytest.raises(StoreError, match=r"has out of service: .*:\d+ holds revision 1"):
        await server.prune(phone)
    await other.speak({"shop": 2, "old": 1})
    with pytest.raises(StoreError, match="cannot drop what old has out of service"):
        await server.prune([one for one in parked if one.gone == "model"])
    assert await server.parked() == parked
    assert not list(tmp_path.glob(f"{BACKUPS}/*"))
    await server.prune(phone)
    await other.close()
    await server.prune(await server.parked())
    assert await server.parked() == ()


async def test_on_a_server_nothing_is_left_of_a_table_whose_columns_were_in_step(
    server: Store, query_server: Callable[[str], list[Any]]
) -> None:
    await apply(server, model(entity("Box", attribute("size", "integer")), domain="boxes"))
    await apply(server, model(entity("Box", attribute("size", "decimal")), domain="boxes"), 2)
    functions = (
        "SELECT count(*) FROM pg_proc WHERE pronamespace = current_schema()::regnamespace AND proname LIKE 'sy%'"
    )
    assert query_server(functions) == [(1,)]
    await server.park("boxes")
    await server.prune([one for one in await server.parked() if one.model == "boxes"])
    assert query_server(functions) == [(0,)]


async def test_what_cannot_be_saved_is_not_dropped(server: Store, tmp_path: Path) -> None:
    (tmp_path / BACKUPS).write_text("a file in the place of the directory")
    with pytest.raises(StoreError, match="cannot back up"):
        await server.prune(await server.parked())
    assert len(await server.parked()) == 3


def test_a_name_says_how_much_is_meant() -> None:
    whole = Parked(model="a", entity="B", attribute=None, table="t", column=None, gone="entity", rows=0)
    assert whole.name == "a.B"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
async def test_what_root_makes_belongs_to_whom_the_database_belongs(tmp_path: Path) -> None:
    """An administrator drops what is parked; the daemon that comes after runs as somebody else."""
    store = await store_with_parked(tmp_path)
    await store.close()
    somebody = 62580
    for path in (tmp_path, tmp_path / "watcherd.db"):
        os.chown(path, somebody, somebody)
    store = await Store.open(None, tmp_path, tenure="alone")
    await store.prune(await store.parked())
    await store.close()
    [backup] = (tmp_path / BACKUPS).iterdir()
    assert {path.stat().st_uid for path in tmp_path.rglob("*")} == {somebody}
    assert backup.stat().st_size > 0
