"""Parked data leaves only when told, after a backup, and with nobody else at the database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.postgres import Postgres
from tests.unit.store.conftest import Query
from tests.unit.store.models import apply, attribute, entity, key, model
from watcherd.errors import ConstraintError, StoreError
from watcherd.store import Parked, Select, Store
from watcherd.store.backup import BACKUPS


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: what is parked in PostgreSQL is listed, but not dropped from here."""
    return f"sqlite:///{tmp_path}/watcherd.db"


USER = entity("User", attribute("name", unique=True))


async def store_with_parked(tmp_path: Path) -> Store:
    """One parked column (2 values), one parked table (1 row), one parked model (1 row)."""
    store = await Store.open(None, tmp_path, durability="normal", alone=True)
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
    store = await Store.open(None, tmp_path, durability="normal", alone=True)
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
        await Store.open(None, tmp_path, alone=True)
    await daemon.close()
    alone = await Store.open(None, tmp_path, alone=True)
    with pytest.raises(StoreError, match="has it for itself"):
        await Store.open(None, tmp_path)
    await alone.close()
    await (await Store.open(None, tmp_path)).close()


async def test_a_database_that_other_hosts_may_use_is_not_had_alone(
    postgres: Postgres, schema: str, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="other hosts may use it"):
        await Store.open(postgres.url(schema), tmp_path, alone=True)
    shared = await Store.open(postgres.url(schema), tmp_path)
    await apply(shared, model(entity("User", attribute("name"), attribute("phone"))))
    await apply(shared, model(entity("User", attribute("name"))), 2)
    assert [one.name for one in await shared.parked()] == ["shop.User.phone"]
    with pytest.raises(StoreError, match="pg_dump"):
        await shared.prune(await shared.parked())
    await shared.close()


def test_a_name_says_how_much_is_meant() -> None:
    whole = Parked(model="a", entity="B", attribute=None, table="t", column=None, gone="entity", rows=0)
    assert whole.name == "a.B"
