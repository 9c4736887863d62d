"""Opening a database, and the record of what is applied in it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.store.conftest import Objects, Query
from tests.unit.store.models import apply, attribute, entity, key, model, record
from watcherd.errors import StoreError
from watcherd.store import Cursor, Row, StalePlanError, Store, catalog
from watcherd.store.layout import Layout
from watcherd.store.records import KEPT_REVISIONS

USER = model(entity("User", attribute("name")), domain="user-management")


async def test_what_was_applied_is_there_after_a_restart(database_url: str, tmp_path: Path) -> None:
    first = await Store.open(database_url, tmp_path)
    rows = await apply(first, USER, 3)
    await rows["User"].insert([{"id": key(1), "name": "a"}])
    await first.set_unloaded("user_management", unloaded=True)
    await first.close()

    again = await Store.open(database_url, tmp_path)
    applied = (await again.catalog())["user_management"]
    assert (applied.domain, applied.file, applied.revision) == ("user-management", "user-management.yaml", 3)
    assert (applied.source, applied.fingerprint) == (b"revision 3", "fingerprint-3")
    assert (applied.state, applied.unloaded, applied.next_revision) == ("live", True, 4)
    assert applied.applied_at.endswith("Z")
    plan = await again.plan(USER)
    assert plan.changes_schema is False
    assert await again.bind(plan).entities["User"].get(key(1)) == Row(1, {"id": key(1), "name": "a"})
    await again.close()


async def test_the_tables_of_all_models_are_read_once_however_many_are_planned(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [model(entity("User", attribute("name")), domain=f"shop-{number}") for number in range(5)]
    first = await Store.open(database_url, tmp_path)
    for one in models:
        await apply(first, one)
    await first.close()
    read = 0
    layouts = catalog.layouts

    def counted(cursor: Cursor) -> dict[str, Layout]:
        nonlocal read
        read += 1
        return layouts(cursor)

    monkeypatch.setattr(catalog, "layouts", counted)
    again = await Store.open(database_url, tmp_path)
    plans = await asyncio.gather(*(again.plan(one) for one in models))
    assert ([plan.changes_schema for plan in plans], read) == ([False] * 5, 1)
    await again.close()


async def test_new_tables_are_made_without_reading_the_names_of_all(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a start with many models would do this for each of them")

    monkeypatch.setattr(catalog, "surroundings", refused)
    rows = await apply(store, USER)
    await rows["User"].insert([{"id": key(1), "name": "a"}])
    assert await rows["User"].get(key(1)) is not None


async def test_a_plan_whose_table_another_process_has_made_meanwhile_is_made_again(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    mine = model(entity("Z", attribute("name")), domain="x--y")
    theirs = model(entity("Y__Z", attribute("name")), domain="x")
    plan = await store.plan(mine)
    other = await Store.open(database_url, tmp_path)
    rows = await apply(other, theirs)
    await rows["Y__Z"].insert([{"id": key(1), "name": "theirs"}])
    with pytest.raises(StalePlanError, match="have changed since the plan was made"):
        await store.expand(plan, record(mine))
    again = await apply(store, mine)
    assert await again["Z"].get(key(1)) is None
    await other.close()


async def test_the_catalog_is_not_read_again_as_long_as_nobody_else_has_written(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch, query: Query
) -> None:
    read = 0
    layout = catalog.layout

    def counted(cursor: Cursor, model: str) -> Layout:
        nonlocal read
        read += 1
        return layout(cursor, model)

    rows = await apply(store, USER, 1)
    await apply(store, model(entity("User", attribute("name"), attribute("a")), domain="user-management"), 2)
    monkeypatch.setattr(catalog, "layout", counted)
    await rows["User"].insert([{"id": key(1), "name": "a"}])
    await apply(store, USER, 3)
    await apply(store, model(entity("User", attribute("name"), attribute("b")), domain="user-management"), 4)
    sees = database_url.startswith("sqlite")  # a server cannot say whether others have written
    assert read == (0 if sees else 2)
    query("UPDATE watcherd_model SET applied_at = 'now'")  # anything, by anybody else
    await apply(store, USER, 5)
    assert read == (1 if sees else 3)


async def test_of_two_changes_that_were_planned_alike_the_second_is_planned_again(store: Store) -> None:
    wide = model(entity("User", attribute("name"), attribute("size")), domain="user-management")
    await apply(store, USER, 1)
    await apply(store, model(entity("User", attribute("name"), attribute("a")), domain="user-management"), 2)
    one, two = await store.plan(wide), await store.plan(wide)
    assert await asyncio.gather(store.expand(one, record(wide, 3)), store.expand(two, record(wide, 3))) == [(), ()]
    rows = store.bind(await store.plan(wide)).entities
    await rows["User"].insert([{"id": key(1), "name": "a", "size": "L"}])
    assert (await store.plan(wide)).changes_schema is False


async def test_a_change_by_another_process_since_the_plan_is_seen(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    await apply(store, USER, 1)
    await apply(store, model(entity("User", attribute("name"), attribute("a")), domain="user-management"), 2)
    wide = model(entity("User", attribute("name"), attribute("size")), domain="user-management")
    plan = await store.plan(wide)
    other = await Store.open(database_url, tmp_path)
    await apply(other, wide, 3)
    await other.close()
    with pytest.raises(StalePlanError, match="revision 3 of user-management was applied by another process"):
        await store.expand(plan, replace(record(wide, 3), fingerprint="mine"))
    await apply(store, wide, 4)


async def test_revision_numbers_never_go_back(store: Store) -> None:
    await apply(store, USER, 7)
    await store.park("user_management")
    parked = (await store.catalog())["user_management"]
    assert (parked.state, parked.revision, parked.next_revision) == ("parked", 7, 8)
    with pytest.raises(StalePlanError, match="revision 7 of user-management was applied by another process"):
        await apply(store, USER, 2)
    await apply(store, USER, 8)
    back = (await store.catalog())["user_management"]
    assert (back.state, back.revision, back.next_revision) == ("live", 8, 9)


async def test_the_admins_decision_survives_a_change_and_goes_with_the_file(store: Store) -> None:
    await apply(store, USER, 1)
    await store.set_unloaded("user_management", unloaded=True)
    await apply(store, USER, 2)
    assert (await store.catalog())["user_management"].unloaded is True
    await store.set_unloaded("user_management", unloaded=False)
    assert (await store.catalog())["user_management"].unloaded is False
    await store.set_unloaded("user_management", unloaded=True)
    await store.park("user_management")
    assert (await store.catalog())["user_management"].unloaded is False


async def test_a_decision_about_an_unknown_model_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="cannot mark the model nope"):
        await store.set_unloaded("nope", unloaded=True)


async def test_the_last_good_sources_are_kept_and_no_more(store: Store) -> None:
    plan = await store.plan(USER)
    for revision in range(1, KEPT_REVISIONS + 4):
        assert await store.expand(plan, record(USER, revision)) == ()
    kept = await store.revisions("user_management")
    assert [one.revision for one in kept] == list(range(KEPT_REVISIONS + 3, 3, -1))
    assert kept[0].source == f"revision {KEPT_REVISIONS + 3}".encode()
    assert await store.revisions("nope") == ()


async def test_a_touched_file_with_the_same_revision_is_not_written_again(store: Store, query: Query) -> None:
    await apply(store, USER, 1)
    before = query("SELECT applied_at FROM watcherd_model")
    await apply(store, USER, 1)
    assert query("SELECT applied_at FROM watcherd_model") == before


async def test_models_do_not_see_each_other(store: Store) -> None:
    other = model(entity("User", attribute("name")), domain="other")
    one, two = await apply(store, USER), await apply(store, other)
    await one["User"].insert([{"id": key(1)}])
    assert await two["User"].get(key(1)) is None
    assert set(await store.catalog()) == {"user_management", "other"}


async def test_a_database_at_a_url(tmp_path: Path) -> None:
    opened = await Store.open(f"sqlite:///{tmp_path}/other.db", tmp_path / "unused")
    await opened.close()
    assert [path.name for path in tmp_path.iterdir()] == ["other.db"]


async def test_a_file_that_is_no_database_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "watcherd.db").write_bytes(b"not a database, but long enough to be looked at " * 50)
    with pytest.raises(StoreError, match=r"watcherd\.db.*not a database"):
        await Store.open(None, tmp_path)


async def test_a_directory_in_place_of_the_database_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "watcherd.db").mkdir()
    with pytest.raises(StoreError, match=r"cannot open the database .*watcherd\.db"):
        await Store.open(None, tmp_path)


async def test_a_database_of_somebody_else_is_refused_and_left_alone(
    database_url: str, tmp_path: Path, query: Query, objects: Objects
) -> None:
    query("CREATE TABLE theirs (x INTEGER)")
    before = objects()
    with pytest.raises(StoreError, match="not a database of watcherd: it has the tables theirs"):
        await Store.open(database_url, tmp_path)
    assert objects() == before


async def test_a_database_of_a_newer_version_is_refused(database_url: str, tmp_path: Path, query: Query) -> None:
    await (await Store.open(database_url, tmp_path)).close()
    query("UPDATE watcherd_catalog SET version = 99")
    with pytest.raises(StoreError, match="newer version of watcherd"):
        await Store.open(database_url, tmp_path)
