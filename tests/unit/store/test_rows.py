"""Reading and writing rows: every kind of value, versions, batches, lists."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.store.models import ID, apply, attribute, entity, key, model
from watcherd.errors import ConstraintError, StoreError
from watcherd.pim.spec import Attribute, Kind
from watcherd.store import Filter, Row, RowList, Rows, Select, Store
from watcherd.store.codecs import codec_for

VALUES: dict[str, list[Any]] = {
    "string": ["", "Grüße 'quoted' \"双\" 🎈"],
    "text": ["two\nlines"],
    "email": ["a@example.com"],
    "url": ["https://example.com/?a=b"],
    "enum": ["on"],
    "uuid": [key(7)],
    "integer": [0, -(2**63), 2**63 - 1],
    "float": [0.1, -1e300, 5e-324],
    "boolean": [True, False],
    "decimal": ["0", "12.5", "-0.000001", "123456789012.345678"],
    "datetime": ["2026-11-22T01:31:46.123456Z"],
    "date": ["2026-11-22"],
    "time": ["23:59:59.999999"],
    "json": [{"b": [1, 2.5, None, "x"], "a": {}}, [], "text", 0, False],
}


@pytest.mark.parametrize("kind", list(VALUES))
async def test_a_value_of_every_kind_comes_back_as_it_was_written(store: Store, kind: str) -> None:
    thing = entity("Thing", attribute("one", kind), attribute("many", kind, is_list=True))
    rows = (await apply(store, model(thing)))["Thing"]
    for number, value in enumerate([*VALUES[kind], None]):
        many = [*VALUES[kind], None]
        (written,) = await rows.insert([{"id": key(number), "one": value, "many": many}])
        assert written.values == {"id": key(number), "one": value, "many": many}
        assert [type(item) for item in written.values["many"]] == [type(item) for item in many]
        assert type(written.values["one"]) is type(value)
        assert await rows.get(key(number)) == written


async def test_a_decimal_with_a_scale_has_exactly_that_many_places(store: Store) -> None:
    rows = (await apply(store, model(entity("Thing", attribute("price", "decimal", precision=8, scale=2)))))["Thing"]
    (row,) = await rows.insert([{"id": key(1), "price": "12.5"}])
    assert row.values["price"] == "12.50"
    (row,) = await rows.insert([{"id": key(2), "price": "-0.05"}])
    assert row.values["price"] == "-0.05"


@given(st.decimals(min_value=Decimal(-(10**12)), max_value=Decimal(10**12), places=6, allow_nan=False))
def test_decimals_keep_their_value_and_their_order(value: Decimal) -> None:
    codec = codec_for(Attribute(name="price", kind=Kind.DECIMAL))
    stored = codec.stored(str(value))
    assert Decimal(codec.wire(stored)) == value
    assert (stored < codec.stored("1.5")) == (value < Decimal("1.5"))
    assert "E" not in codec.wire(stored)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(json_values)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_json_value_survives_its_codec(value: object) -> None:
    codec = codec_for(Attribute(name="extra", kind=Kind.JSON))
    assert codec.wire(codec.stored(value)) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", 2**63),
        ("integer", -(2**63) - 1),
        ("string", "a\0b"),
        ("string", "\ud800"),
        ("uuid", "\ud800"),
        ("json", float("nan")),
        ("json", {1, 2}),
        ("float", float("nan")),
        ("decimal", "1e400"),
        ("decimal", "NaN"),
        ("decimal", "0.0000001"),
        ("decimal", "99999999999999.5"),
        ("decimal", "abc"),
    ],
)
async def test_a_value_that_the_database_cannot_hold_is_refused_and_harms_nothing(
    store: Store, kind: str, value: object
) -> None:
    rows = (await apply(store, model(entity("Thing", attribute("one", kind)))))["Thing"]
    with pytest.raises(StoreError, match="cannot"):
        await rows.insert([{"id": key(1)}, {"id": key(2), "one": value}])
    assert await rows.get(key(1)) is None
    await rows.insert([{"id": key(1)}])
    with pytest.raises(StoreError, match="cannot"):
        await rows.update(key(1), lambda _: {"one": value})
    assert await rows.get(key(1)) == Row(1, {"id": key(1), "one": None})


async def test_a_key_that_the_database_cannot_hold_is_refused(store: Store) -> None:
    number = attribute("number", "integer", primary_key=True)
    rows = (await apply(store, model(entity("Thing", number, key=None))))["Thing"]
    with pytest.raises(StoreError, match="cannot hold"):
        await rows.get(2**70)
    with pytest.raises(StoreError, match="cannot hold"):
        await rows.list(Select(filters=(Filter("number", "eq", 2**70),)))
    with pytest.raises(StoreError, match="cannot hold"):
        await rows.delete(2**70)
    with pytest.raises(StoreError, match="cannot hold"):
        await rows.update(2**70, lambda _: {})


async def test_an_integer_key_is_numbered_by_the_database_and_never_given_twice(store: Store) -> None:
    number = attribute("number", "integer", primary_key=True, auto_increment=True)
    rows = (await apply(store, model(entity("Ticket", number, attribute("text"), key=None))))["Ticket"]
    first, second = await rows.insert([{"text": "a"}, {"text": "b"}])
    assert (first.values["number"], second.values["number"]) == (1, 2)
    assert await rows.delete(2)
    (third,) = await rows.insert([{"text": "c"}])
    assert third.values["number"] == 3


async def test_a_declared_text_key_is_the_key(store: Store) -> None:
    code = attribute("code", primary_key=True, required=True)
    rows = (await apply(store, model(entity("Country", code, key=None))))["Country"]
    await rows.insert([{"code": "DE"}])
    found = await rows.get("DE")
    assert found is not None
    assert found.values == {"code": "DE"}
    with pytest.raises(ConstraintError, match="code 'DE' already exists") as refusal:
        await rows.insert([{"code": "DE"}])
    assert (refusal.value.problem, refusal.value.attributes) == ("unique", ("code",))
    with pytest.raises(StoreError, match=r"(?i)not.null"):
        await rows.insert([{}])


async def test_a_batch_is_inserted_wholly_or_not_at_all_and_the_refusal_says_where(things: Rows) -> None:
    await things.insert([{"id": key(1), "name": "a"}])
    with pytest.raises(ConstraintError) as refusal:
        await things.insert([{"id": key(2)}, {"id": key(3)}, {"id": key(1)}])
    assert refusal.value.row == 2
    assert (await things.list(Select())).total == 1
    rows = await things.insert([{"id": key(9)}, {"id": key(5)}])
    assert [row.values["id"] for row in rows] == [key(9), key(5)]


async def test_an_update_writes_what_changed_and_counts_the_version(things: Rows) -> None:
    await things.insert([{"id": key(1), "name": "a", "size": 1}])
    seen: list[Row] = []

    def change(row: Row) -> dict[str, Any]:
        seen.append(row)
        return {"name": f"{row.values['name']}b"}

    assert await things.update(key(1), change) == Row(2, {"id": key(1), "name": "ab", "size": 1})
    assert seen == [Row(1, {"id": key(1), "name": "a", "size": 1})]
    assert await things.update(key(1), lambda _: {}) == Row(3, {"id": key(1), "name": "ab", "size": 1})
    assert await things.get(key(1)) == Row(3, {"id": key(1), "name": "ab", "size": 1})


async def test_an_update_may_name_its_values_in_any_order(things: Rows) -> None:
    await things.insert([{"id": key(1)}])
    changed = await things.update(key(1), lambda _: {"size": 1, "name": "a"})
    assert changed == Row(2, {"id": key(1), "name": "a", "size": 1})


async def test_who_changes_or_deletes_a_row_sees_its_version_and_may_refuse(things: Rows, store: Store) -> None:
    await things.insert([{"id": key(1), "name": "a"}])

    def at(expected: int, found: int) -> None:
        if found != expected:
            raise LookupError(f"at version {found}, not {expected}")

    def change(row: Row) -> dict[str, Any]:
        at(7, row.version)
        return {"name": "b"}

    with pytest.raises(LookupError, match="at version 1, not 7"):
        await things.update(key(1), change)
    with pytest.raises(LookupError, match="at version 1, not 7"):
        await store._database.write(things.deleting(key(1), partial(at, 7)))
    found = await things.get(key(1))
    assert found is not None
    assert found.values["name"] == "a"
    assert await store._database.write(things.deleting(key(1), partial(at, 1)))


async def test_what_a_change_raises_is_raised_and_nothing_has_changed(things: Rows) -> None:
    await things.insert([{"id": key(1), "name": "a"}])

    def change(_: Row) -> dict[str, Any]:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        await things.update(key(1), change)
    assert await things.get(key(1)) == Row(1, {"id": key(1), "name": "a", "size": None})


async def test_a_row_that_is_not_there_is_none(things: Rows) -> None:
    assert await things.get(key(1)) is None
    assert await things.update(key(1), lambda _: {"name": "x"}) is None
    assert await things.delete(key(1)) is False


async def test_the_key_of_a_row_cannot_change(things: Rows) -> None:
    await things.insert([{"id": key(1)}])
    with pytest.raises(StoreError, match="cannot change id"):
        await things.update(key(1), lambda _: {"id": key(2)})
    assert await things.update(key(1), lambda _: {"id": key(1), "name": "x"}) is not None


async def test_an_unknown_attribute_is_refused(things: Rows) -> None:
    with pytest.raises(StoreError, match="no such attribute"):
        await things.insert([{"id": key(1), "nope": 1}])
    await things.insert([{"id": key(1)}])
    with pytest.raises(StoreError, match="no such attribute"):
        await things.update(key(1), lambda _: {"nope": 1})
    with pytest.raises(StoreError, match="no such attribute"):
        await things.list(Select(sort=(("nope", False),)))
    with pytest.raises(StoreError, match="operator 'near'"):
        await things.list(Select(filters=(Filter("name", "near", 1),)))


async def test_a_list_is_filtered_sorted_cut_and_counted(things: Rows) -> None:
    await things.insert([{"id": key(n), "name": "ab"[n % 2], "size": None if n == 4 else n // 2} for n in range(6)])

    async def ids(**query: Any) -> list[int]:
        page = await things.list(Select(**query))
        return [int(row.values["id"][-2:]) for row in page.rows]

    assert await ids() == [0, 1, 2, 3, 4, 5]
    assert await ids(sort=(("name", False),)) == [0, 2, 4, 1, 3, 5]
    assert await ids(sort=(("name", True), ("size", True))) == [5, 3, 1, 2, 0, 4]
    assert await ids(sort=(("id", True),), limit=2) == [5, 4]
    assert await ids(filters=(Filter("name", "eq", "a"),)) == [0, 2, 4]
    assert await ids(filters=(Filter("name", "eq", "a"), Filter("size", "is_null"))) == [4]
    assert await ids(skip=4) == [4, 5]
    assert await ids(skip=1, limit=2) == [1, 2]
    page = await things.list(Select(filters=(Filter("name", "eq", "b"),), limit=1))
    assert (len(page.rows), page.total) == (1, 3)
    assert (await things.list(Select(count=False))).total is None


async def test_a_filter_compares_stored_values(store: Store) -> None:
    thing = entity("Thing", attribute("price", "decimal", scale=2), attribute("done", "boolean"))
    rows = (await apply(store, model(thing)))["Thing"]
    await rows.insert([{"id": key(1), "price": "1.50", "done": True}, {"id": key(2), "price": "2", "done": False}])
    assert (await rows.list(Select(filters=(Filter("price", "eq", "1.5"),)))).total == 1
    assert (await rows.list(Select(filters=(Filter("done", "eq", False),)))).rows[0].values["id"] == key(2)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_long_list_runs_in_a_thread_and_a_short_one_or_a_read_by_key_does_not(
    things: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    await things.insert([{"id": key(1)}])
    threads: list[str] = []
    one, many = things._row, things._rows

    def row(stored: tuple[Any, ...]) -> Row:
        threads.append(threading.current_thread().name)
        return one(stored)

    def rows(stored: Sequence[tuple[Any, ...]]) -> RowList:
        threads.append(threading.current_thread().name)
        return many(stored)

    monkeypatch.setattr(things, "_row", row)
    monkeypatch.setattr(things, "_rows", rows)
    await things.list(Select())
    await things.list(Select(limit=1000))
    await things.list(Select(limit=20))
    await things.get(key(1))
    assert all(name.startswith("watcherd-reader") for name in threads[:2])
    assert threads[2:] == [threading.current_thread().name] * 2


async def test_many_shapes_of_queries_keep_a_bounded_memory(store: Store) -> None:
    names = [f"a{n}" for n in range(9)]
    rows = (await apply(store, model(entity("Thing", *(attribute(name) for name in names)))))["Thing"]
    for number in range(200):
        sort = tuple((name, bool(number >> place & 1)) for place, name in enumerate(names))
        await rows.list(Select(sort=sort, count=False))
    assert len(rows._statements._selects._made) == 128


async def test_two_hundred_writers_at_once_lose_nothing(things: Rows) -> None:
    await things.insert([{"id": key(0), "size": 0}])

    def add(row: Row) -> dict[str, Any]:
        return {"size": row.values["size"] + 1}

    await asyncio.gather(*(things.update(key(0), add) for _ in range(200)))
    assert await things.get(key(0)) == Row(201, {"id": key(0), "name": None, "size": 200})


@pytest.fixture
async def things(store: Store) -> Rows:
    return (await apply(store, model(entity("Thing", attribute("name"), attribute("size", "integer")))))["Thing"]


async def test_names_in_every_language_are_columns(store: Store) -> None:
    linked = model(entity("图书", attribute("书名", unique=True), attribute("Straße"), key=ID))
    rows = (await apply(store, linked))["图书"]
    (row,) = await rows.insert([{"id": key(1), "书名": "红楼梦", "Straße": "x"}])
    assert row.values == {"id": key(1), "书名": "红楼梦", "Straße": "x"}
    with pytest.raises(ConstraintError, match="书名 '红楼梦' already exists"):
        await rows.insert([{"id": key(2), "书名": "红楼梦"}])


async def test_a_key_that_is_itself_a_reference_is_stored_like_what_it_points_at(store: Store) -> None:
    number = attribute("number", "integer", primary_key=True)
    linked = model(
        entity("Person", number, key=None),
        entity("Passport", attribute("person", "reference", to="Person", primary_key=True), key=None),
        entity("Visa", attribute("passport", "reference", to="Passport")),
    )
    tables = await apply(store, linked)
    await tables["Person"].insert([{"number": 7}])
    await tables["Passport"].insert([{"person": 7}])
    (visa,) = await tables["Visa"].insert([{"id": key(1), "passport": 7}])
    assert visa.values["passport"] == 7
    with pytest.raises(ConstraintError, match="person 8 does not exist"):
        await tables["Passport"].insert([{"person": 8}])


async def test_a_list_of_references_holds_keys_without_a_foreign_key(store: Store) -> None:
    number = attribute("number", "integer", primary_key=True)
    people = attribute("people", "reference", to="Person", is_list=True)
    tables = await apply(store, model(entity("Person", number, key=None), entity("Team", people)))
    (team,) = await tables["Team"].insert([{"id": key(1), "people": [7, 8]}])
    assert team.values["people"] == [7, 8]


@pytest.mark.parametrize("kind", ["string", "integer", "uuid"])
async def test_a_key_that_comes_again_never_has_a_version_that_it_had(store: Store, kind: str) -> None:
    code = attribute("code", kind, primary_key=True, required=True)
    rows = (await apply(store, model(entity("Thing", code, attribute("a"), key=None))))["Thing"]
    chosen: Any = {"string": "x", "integer": 7, "uuid": key(1)}[kind]
    seen = set()
    for _ in range(3):
        (row,) = await rows.insert([{"code": chosen, "a": "1"}])
        seen.add(row.version)
        changed = await rows.update(chosen, lambda _: {"a": "2"})
        assert changed is not None
        assert changed.version == row.version + 1
        seen.add(changed.version)
        assert await rows.delete(chosen)
    assert len(seen) == 6
