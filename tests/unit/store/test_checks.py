"""A check is in the text of its SQLite table, from the beginning or later, and costs no row a copy."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.store.models import apply, attribute, entity, key, model, record, sentence
from watcherd.errors import ConstraintError, StoreError
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Constraint, OnDelete, Rule
from watcherd.store import Select, Store, catalog_tables, checks, rewording
from watcherd.store.cursor import Cursor
from watcherd.store.sqlite import SqliteDatabase
from watcherd.store.writer import Writer

POSITIVE = sentence("size must be positive", Rule.GREATER, "size", bound=Decimal(0))
SMALL = sentence("size must be at most 9", Rule.AT_MOST, "size", bound=Decimal(9))
NAMED = sentence("name cannot be empty", Rule.NOT_EMPTY, "name")
ITEM = "shop__item"


def shop(*constraints: Constraint, **more: Any) -> LinkedModel:
    """Items that may have a parent, which takes them along when it is deleted."""
    parent = attribute("parent", "reference", to="Item", on_delete=OnDelete.CASCADE)
    return model(
        entity("Item", attribute("name"), attribute("size", "integer"), parent, constraints=list(constraints), **more)
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "watcherd.db"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(None, tmp_path, durability="normal")
    yield opened
    await opened.close()


@pytest.fixture
def other(path: Path, store: Store) -> Iterator[sqlite3.Connection]:
    """A connection of somebody else, which has read all definitions before anything happens."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        yield connection


def table(other: sqlite3.Connection, name: str = ITEM) -> tuple[str, int]:
    """The text of a table, and where its rows begin: another place once they are copied."""
    found: tuple[str, int] = other.execute(
        "SELECT sql, rootpage FROM sqlite_schema WHERE type = 'table' AND name = ?", (name,)
    ).fetchone()
    return found


def triggers(other: sqlite3.Connection) -> list[str]:
    return [name for (name,) in other.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger' ORDER BY name")]


def refused(other: sqlite3.Connection, *row: object) -> str:
    """What SQLite says to a row of somebody else: id, name and size."""
    with pytest.raises(sqlite3.IntegrityError) as refusal:
        other.execute(f"INSERT INTO {ITEM} (id, name, size) VALUES (?, ?, ?)", row)
    return str(refusal.value)


async def loosened(store: Store, linked: LinkedModel, revision: int) -> None:
    await apply(store, linked, revision)
    await store.loosen(await store.plan(linked))


async def test_a_new_table_needs_one_statement_with_all_its_checks(store: Store, other: sqlite3.Connection) -> None:
    plan = await store.plan(shop(POSITIVE, NAMED))
    assert [len(step.statements) for step in plan.steps if step.kind.value != "create index"] == [1, 0, 0]
    rows = (await apply(store, shop(POSITIVE, NAMED)))["Item"]
    assert triggers(other) == []
    with pytest.raises(ConstraintError, match="size must be positive"):
        await rows.insert([{"id": key(1), "size": 0}])
    assert refused(other, "x", "a", 0).startswith(f"CHECK constraint failed: ck__{ITEM}__size")
    assert refused(other, "x", "", 1).startswith(f"CHECK constraint failed: ck__{ITEM}__name")


async def test_a_check_comes_and_goes_without_a_copy(store: Store, other: sqlite3.Connection) -> None:
    rows = (await apply(store, shop()))["Item"]
    await rows.insert([{"id": key(1), "size": 5}])
    bare, place = table(other)
    rows = (await apply(store, shop(POSITIVE, NAMED), 2))["Item"]
    assert refused(other, "x", "a", 0).startswith("CHECK")
    with pytest.raises(ConstraintError, match="name cannot be empty"):
        await rows.update(key(1), lambda _: {"name": ""})
    full, same_place = table(other)
    assert same_place == place
    await loosened(store, shop(NAMED), 3)
    other.execute(f"INSERT INTO {ITEM} (id, name, size) VALUES ('y', 'a', 0)")
    assert refused(other, "x", "", 0).startswith("CHECK")
    await loosened(store, shop(), 4)
    assert (table(other), triggers(other)) == ((bare, place), [])
    assert full.count("CONSTRAINT") == 2
    assert await store.drift() == {}


async def test_what_comes_later_makes_the_same_table_as_what_was_there_from_the_beginning(
    store: Store, other: sqlite3.Connection, tmp_path: Path
) -> None:
    await apply(store, shop(POSITIVE, NAMED))
    later = await Store.open(f"sqlite:///{tmp_path}/later.db", tmp_path, durability="normal")
    for revision, linked in enumerate((shop(), shop(POSITIVE), shop(POSITIVE, NAMED)), start=1):
        await apply(later, linked, revision)
    await later.close()
    with closing(sqlite3.connect(tmp_path / "later.db")) as file:
        assert table(file)[0] == table(other)[0]


async def test_a_check_holds_after_columns_came_and_the_table_was_made_again(
    store: Store, other: sqlite3.Connection
) -> None:
    rows = (await apply(store, shop(POSITIVE)))["Item"]
    await rows.insert([{"id": key(1), "size": 5}])
    grown = model(
        entity(
            "Item",
            attribute("name"),
            attribute("size", "integer"),
            attribute("parent", "uuid"),
            attribute("colour", default="red"),
            constraints=[POSITIVE],
        )
    )
    _, place = table(other)
    await apply(store, grown, 2)
    assert table(other)[1] == place
    await store.loosen(await store.plan(grown))  # without the foreign key
    assert table(other)[1] != place
    assert refused(other, "x", "a", 0).startswith("CHECK")
    assert await store.drift() == {}


async def test_a_column_goes_with_the_checks_that_name_it(store: Store, other: sqlite3.Connection) -> None:
    await apply(store, shop(POSITIVE, NAMED))
    without = model(entity("Item", attribute("name"), constraints=[NAMED]))
    await apply(store, without, 2)
    chosen = [one for one in await store.parked() if one.attribute == "size"]
    await store.prune(chosen)
    text, _ = table(other)
    assert ("size" in text, text.count("CONSTRAINT")) == (False, 1)
    assert await store.drift() == {}
    await apply(store, shop(POSITIVE, NAMED), 3)
    assert refused(other, "x", "a", 0).startswith("CHECK")


@pytest.mark.parametrize(
    "wrong",
    [
        ", extra TEXT",
        ', CHECK (("size" <= (SELECT 0)) IS NOT TRUE)',
        ", CHECK (nothing > 0)",
        ", UNIQUE (size)",
        ", nonsense nonsense (",
        ", FOREIGN KEY (name) REFERENCES nothing (id)",
    ],
)
async def test_a_definition_that_is_not_what_was_meant_changes_nothing(
    store: Store, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    rows = (await apply(store, shop()))["Item"]
    await rows.insert([{"id": key(1), "size": 5}])
    before = table(other)
    plan = await store.plan(shop(POSITIVE))
    with monkeypatch.context() as patched:
        patched.setattr(checks, "with_constraints", lambda sql, _: sql[:-1] + wrong + ")")
        (rejection,) = await store.expand(plan, record(shop(POSITIVE), 2))
    assert rejection.code == "PIM600"
    assert table(other) == before
    assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    (row,) = (await rows.list(Select())).rows
    assert row.values["size"] == 5
    await apply(store, shop(POSITIVE), 2)  # and nothing is in the way of another try


GROWN = model(
    entity(
        "Item",
        attribute("name"),
        attribute("size", "integer"),
        attribute("parent", "reference", to="Item", on_delete=OnDelete.CASCADE),
        attribute("colour", default="it's red"),
        attribute("weight", "decimal", scale=2),
        attribute("tags", is_list=True),
        constraints=[POSITIVE, sentence("weight must be positive", Rule.GREATER, "weight", bound=Decimal(0))],
    )
)


async def test_columns_and_checks_come_as_the_last_thing_and_as_sqlite_itself_would_add_them(
    store: Store, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (await apply(store, shop(POSITIVE)))["Item"]
    await rows.insert([{"id": key(1), "size": 5}])
    text, place = table(other)
    said: list[str] = []
    transact = Writer._transact

    def traced(writer: Writer, connection: sqlite3.Connection, group: Any) -> None:
        connection.set_trace_callback(said.append)
        transact(writer, connection, group)
        connection.set_trace_callback(None)

    plan = await store.plan(GROWN)
    with monkeypatch.context() as patched:
        patched.setattr(Writer, "_transact", traced)
        assert await store.expand(plan, record(GROWN, 2)) == ()
    assert not [sql for sql in said if sql.startswith("ALTER")]
    (last,) = (number for number, sql in enumerate(said) if sql.startswith("PRAGMA schema_version="))
    # Whatever else follows would read the definitions of all tables anew, and the change would wait for it.
    assert said[last + 1 :] == ["PRAGMA schema_version", "COMMIT"]
    with closing(sqlite3.connect(":memory:")) as alone:
        alone.execute(text)
        for step in plan.steps:
            for statement in step.statements:
                alone.execute(statement)
        grown = table(alone)[0]
    checks_of_it = [step.check.clause for step in plan.steps if step.check is not None]
    assert len(checks_of_it) == 1
    assert table(other) == (f"{grown[:-2]}, \n\t{checks_of_it[0]}{grown[-2:]}", place)
    rows = store.bind(plan).entities["Item"]
    (row,) = (await rows.list(Select())).rows
    assert (row.values["colour"], row.values["weight"]) == ("it's red", None)
    with pytest.raises(ConstraintError, match="weight must be positive"):
        await rows.update(key(1), lambda _: {"weight": "0"})
    assert await store.drift() == {}


async def test_a_column_that_somebody_else_has_added_rejects_the_change(
    store: Store, other: sqlite3.Connection
) -> None:
    await apply(store, shop(POSITIVE))
    other.execute(f"ALTER TABLE {ITEM} ADD COLUMN colour TEXT")
    before = table(other)
    (rejection,) = await store.expand(await store.plan(GROWN), record(GROWN, 2))
    assert (rejection.code, "duplicate column name: colour" in rejection.message) == ("PIM600", True)
    assert table(other) == before


async def test_a_table_whose_definition_is_read_by_nobody_else_is_altered(
    store: Store, other: sqlite3.Connection
) -> None:
    await apply(store, shop(POSITIVE))
    text, _ = table(other)
    other.execute(f"DROP TABLE {ITEM}")
    other.create_function("theirs", 1, lambda value: value, deterministic=True)
    other.execute(f"{text[:-1]}, CHECK (theirs(size) IS NOT 3))")
    await apply(store, GROWN, 2)
    assert table(other)[0].count("CHECK") == 2
    assert len(triggers(other)) == 2


async def test_an_added_column_reads_no_row_whatever_checks_there_are(store: Store, path: Path) -> None:
    await apply(store, shop(POSITIVE, NAMED, SMALL))
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
            f"INSERT INTO {ITEM} (id, name, size) SELECT i, 'a', 5 FROM n"
        )
        connection.set_progress_handler(tick, 1000)
        connection.execute(f"ALTER TABLE {ITEM} ADD COLUMN more TEXT DEFAULT 'x'")
        assert ticks < 10
        connection.execute(f"SELECT count(*) FROM {ITEM} WHERE size > 5").fetchone()
        assert ticks > 10, "so many rows would have been noticed"


@pytest.fixture
def defend(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have SQLite treat `PRAGMA writable_schema` from now on as in defensive mode: setting it does nothing."""
    connect = SqliteDatabase._connect

    def guarded(database: SqliteDatabase) -> sqlite3.Connection:
        connection = connect(database)

        def authorize(action: int, what: str | None, value: str | None, *_: str | None) -> int:
            is_set = action == sqlite3.SQLITE_PRAGMA and what == "writable_schema" and value is not None
            return sqlite3.SQLITE_IGNORE if is_set else sqlite3.SQLITE_OK

        connection.set_authorizer(authorize)
        return connection

    return lambda: monkeypatch.setattr(SqliteDatabase, "_connect", guarded)


async def test_where_definitions_cannot_be_edited_triggers_and_copies_do_the_same(
    tmp_path: Path, path: Path, defend: Callable[[], None]
) -> None:
    defend()
    store = await Store.open(None, tmp_path, durability="normal")
    rows = (await apply(store, shop(POSITIVE)))["Item"]
    await rows.insert([{"id": key(1), "size": 5}])
    await rows.insert([{"id": key(2), "size": 5, "parent": key(1)}])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        text, place = table(other)
        rows = (await apply(store, shop(POSITIVE, NAMED), 2))["Item"]
        assert (table(other)[0], len(triggers(other))) == (text, 2)
        with pytest.raises(ConstraintError, match="name cannot be empty"):
            await rows.update(key(1), lambda _: {"name": ""})
        assert refused(other, "x", "", 1).startswith(f"watcherd:check:ck__{ITEM}__name")
        assert await store.drift() == {}
        await loosened(store, shop(POSITIVE), 3)
        assert (table(other), triggers(other)) == ((text, place), [])
        await loosened(store, shop(), 4)
        text, new_place = table(other)
        assert ("CHECK" in text, new_place != place) == (False, True)
    rows = store.bind(await store.plan(shop())).entities["Item"]
    assert len((await rows.list(Select())).rows) == 2, "a copy takes no row along that refers to another"
    await rows.delete(key(1))
    assert (await rows.list(Select())).rows == []
    assert await store.drift() == {}
    await store.close()


async def test_a_definition_that_was_not_found_is_not_taken_for_written(store: Store) -> None:
    await apply(store, shop())

    def miss(cursor: Cursor) -> None:
        there = rewording.read(cursor, ITEM)
        assert there is not None
        rewording.reword(cursor, [replace(there, row=9999)])

    with pytest.raises(StoreError, match=f"the definition of {ITEM} has not become what it should be"):
        await store._database.change(miss)


@pytest.mark.skipif(not hasattr(sqlite3.Connection, "setconfig"), reason="this Python cannot set it")
def test_the_defensive_mode_itself_is_noticed() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        assert rewording.is_allowed(connection.cursor())  # type: ignore[arg-type]  # it needs no dialect
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)  # type: ignore[attr-defined]  # of newer ones
        assert not rewording.is_allowed(connection.cursor())  # type: ignore[arg-type]  # as above


def as_before_catalog_5(path: Path, names: dict[str, str], catalog_version: int = 4) -> None:
    """Make what earlier versions made of `POSITIVE` and `NAMED`, to the letter; the table has been made without."""
    whens = {"size": 'NEW."size" <= 0', "name": """NEW."name" = ''"""}
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        for place, (column, name) in enumerate(names.items(), start=5):
            does = f"WHEN {whens[column]} BEGIN SELECT RAISE(ABORT, 'watcherd:check:{name}'); END"
            old.execute(f'CREATE TRIGGER "{name}_i" BEFORE INSERT ON "{ITEM}" {does}')
            old.execute(f'CREATE TRIGGER "{name}_u" BEFORE UPDATE OF "{column}" ON "{ITEM}" {does}')
            label = POSITIVE.text if column == "size" else NAMED.text
            old.execute(
                "INSERT INTO watcherd_constraint VALUES (?, ?, ?, 'check', ?, ?, ?, 0)",
                (name, ITEM, place, label, f'["{column}"]', f'["{column}"]'),
            )
        old.execute("UPDATE watcherd_catalog SET version = ?", (catalog_version,))


async def old_database(tmp_path: Path, path: Path) -> None:
    store = await Store.open(None, tmp_path, durability="normal")
    rows = (await apply(store, shop()))["Item"]
    await rows.insert([{"id": key(1), "size": 5}])
    wanted = await store.plan(shop(POSITIVE, NAMED))
    names = {step.check.columns[0]: step.name for step in wanted.steps if step.check is not None}
    await store.close()
    as_before_catalog_5(path, names)


async def test_a_database_from_before_gets_its_checks_into_its_tables(tmp_path: Path, path: Path) -> None:
    await old_database(tmp_path, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        assert len(triggers(other)) == 4
        _, place = table(other)
        store = await Store.open(None, tmp_path, durability="normal")
        assert (triggers(other), table(other)[1]) == ([], place)
        assert (await store.drift(), (await store.plan(shop(POSITIVE, NAMED))).changes_schema) == ({}, False)
        assert refused(other, "x", "a", 0).startswith("CHECK")
        assert refused(other, "x", "", 1).startswith("CHECK")
        text, _ = table(other)
        await loosened(store, shop(POSITIVE), 2)
        await apply(store, shop(POSITIVE, NAMED), 3)
        assert table(other)[0] == text
        assert other.execute("SELECT version FROM watcherd_catalog").fetchone() == (catalog_tables.CATALOG_VERSION,)
        await store.close()


@pytest.mark.parametrize("changed", ["_i", "_u", ""])
async def test_triggers_that_somebody_has_changed_stay(tmp_path: Path, path: Path, changed: str) -> None:
    await old_database(tmp_path, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        for name, sql in other.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            if "size" in name and name.endswith(changed):
                other.execute(f'DROP TRIGGER "{name}"')
                other.execute(sql.replace("<= 0", "<= 1"))
        store = await Store.open(None, tmp_path, durability="normal")
        assert len(triggers(other)) == 2
        assert await store.drift() == {}
        assert "watcherd:check" in refused(other, "x", "a", 0)
        await loosened(store, shop(NAMED), 2)
        assert triggers(other) == []
        await store.close()


async def test_an_old_database_that_cannot_be_edited_goes_on_with_triggers(
    tmp_path: Path, path: Path, defend: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    await old_database(tmp_path, path)
    with monkeypatch.context() as patched:
        patched.setattr(rewording, "_content", lambda *_: object())  # nothing is what it was
        store = await Store.open(None, tmp_path, durability="normal")
        await store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        assert len(triggers(other)) == 4
        other.execute("UPDATE watcherd_catalog SET version = 4")
        defend()
        store = await Store.open(None, tmp_path, durability="normal")
        assert (len(triggers(other)), await store.drift()) == (4, {})
        rows = store.bind(await store.plan(shop(POSITIVE, NAMED))).entities["Item"]
        with pytest.raises(ConstraintError, match="size must be positive"):
            await rows.update(key(1), lambda _: {"size": 0})
        await loosened(store, shop(), 2)
        assert triggers(other) == []
        await store.close()
