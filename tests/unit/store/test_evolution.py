"""A changed model and its tables: what is applied, what is parked, what comes back."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import asyncpg
import pytest

from tests.unit.store.conftest import Objects, Query, Written
from tests.unit.store.models import apply, attribute, entity, key, model, record, sentence
from watcherd.errors import ConstraintError, StoreUnavailableError
from watcherd.pim.spec import Index, OnDelete, Rule
from watcherd.store import Filter, Row, Select, StalePlanError, StepKind, Store, records


async def test_a_start_with_the_same_model_writes_nothing(store: Store, written: Written) -> None:
    linked = model(
        entity("Author", attribute("name", unique=True)),
        entity(
            "Book",
            attribute("title", index=True, max_length=10, required=True),
            attribute("price", "decimal", scale=2, default="1"),
            attribute("author", "reference", to="Author"),
            attribute("tags", "enum", is_list=True, members=("a", "b")),
            constraints=[sentence("price must be positive", Rule.GREATER, "price", bound=Decimal(0))],
        ),
    )
    await apply(store, linked)
    before = written()
    plan = await store.plan(linked)
    assert (plan.steps, plan.loosen, plan.changes_schema, plan.parked) == ((), (), False, ())
    assert await store.expand(plan, record(linked)) == ()
    assert written() == before
    assert await store.expand(plan, record(linked, 2)) == ()
    assert written() != before


async def test_a_new_model_makes_its_tables(store: Store) -> None:
    linked = model(entity("OrderItem", attribute("unitPrice", "decimal")), domain="order-management")
    plan = await store.plan(linked)
    assert [step.kind for step in plan.steps] == [StepKind.CREATE_TABLE]
    assert plan.steps[0].describe() == "create the table order_management__order_item for OrderItem"
    assert plan.names["OrderItem"].columns == {"id": "id", "unitPrice": "unit_price"}
    assert (plan.changes_schema, plan.parked) == (True, ())


async def test_a_new_attribute_shows_its_default_on_old_rows_and_in_what_the_old_revision_writes(store: Store) -> None:
    old = (await apply(store, model(entity("User", attribute("name")))))["User"]
    await old.insert([{"id": key(1), "name": "a"}])
    added = [
        attribute("nick", default="it's: \\:x %s"),
        attribute("rank", "integer", default=3, required=True),
        attribute("score", "decimal", scale=2, default="1.5"),
        attribute("active", "boolean", default=True),
        attribute("since", "datetime", default="2026-01-01T01:00:00+01:00"),
        attribute("tags", is_list=True, default=["x"]),
        attribute("born", "date", default="2026-01-01"),
        attribute("wakes", "time", default="07:30"),
        attribute("ratio", "float", default=0.5),
        attribute("count", "decimal", scale=0, default=12),
        attribute("token", "uuid", default=key(10).upper()),
        attribute("extra", "json", default={"a": [1]}),
        attribute("bio"),
    ]
    new = (await apply(store, model(entity("User", attribute("name"), *added)), 2))["User"]
    await old.insert([{"id": key(2), "name": "b"}])
    defaults: dict[str, Any] = {
        "nick": "it's: \\:x %s",
        "rank": 3,
        "score": "1.50",
        "active": True,
        "since": "2026-01-01T00:00:00.000000Z",
        "tags": ["x"],
        "born": "2026-01-01",
        "wakes": "07:30:00.000000",
        "ratio": 0.5,
        "count": "12",
        "token": key(10),
        "extra": {"a": [1]},
        "bio": None,
    }
    assert [row.values for row in (await new.list(Select())).rows] == [
        {"id": key(1), "name": "a", **defaults},
        {"id": key(2), "name": "b", **defaults},
    ]


async def test_old_and_new_revision_read_and_write_the_same_rows_at_the_same_time(store: Store) -> None:
    old = (await apply(store, model(entity("User", attribute("name"), attribute("phone")))))["User"]
    await old.insert([{"id": key(1), "name": "a", "phone": "1"}])
    linked = model(entity("User", attribute("name"), attribute("nick", default="-")))
    plan = await store.plan(linked)
    assert plan.parked == ("User.phone",)
    new = (await apply(store, linked, 2))["User"]

    await new.insert([{"id": key(2), "name": "b", "nick": "bee"}])
    await old.insert([{"id": key(3), "name": "c", "phone": "3"}])
    await new.update(key(1), lambda _: {"nick": "ay"})
    await old.update(key(1), lambda _: {"phone": "11"})

    assert [list(row.values.values()) for row in (await old.list(Select())).rows] == [
        [key(1), "a", "11"],
        [key(2), "b", None],
        [key(3), "c", "3"],
    ]
    assert [list(row.values.values()) for row in (await new.list(Select())).rows] == [
        [key(1), "a", "ay"],
        [key(2), "b", "bee"],
        [key(3), "c", "-"],
    ]
    assert await new.get(key(1)) == Row(3, {"id": key(1), "name": "a", "nick": "ay"})


async def test_a_parked_attribute_comes_back_with_its_data(store: Store) -> None:
    full = model(entity("User", attribute("name"), attribute("phone", max_length=20)))
    rows = (await apply(store, full))["User"]
    await rows.insert([{"id": key(1), "name": "a", "phone": "123"}])
    less = (await apply(store, model(entity("User", attribute("name"))), 2))["User"]
    await less.insert([{"id": key(2), "name": "b"}])
    plan = await store.plan(full)
    assert (plan.steps, plan.changes_schema) == ((), True)
    back = (await apply(store, full, 3))["User"]
    assert [row.values["phone"] for row in (await back.list(Select())).rows] == ["123", None]


async def test_a_required_attribute_comes_back_with_its_default_in_rows_written_meanwhile(store: Store) -> None:
    full = model(entity("User", attribute("name"), attribute("phone", required=True, default="none", min_length=2)))
    rows = (await apply(store, full))["User"]
    await rows.insert([{"id": key(1), "phone": "123"}])
    less = (await apply(store, model(entity("User", attribute("name"))), 2))["User"]
    await less.insert([{"id": key(2)}])
    assert [step.kind for step in (await store.plan(full)).steps] == [StepKind.FILL]
    back = (await apply(store, full, 3))["User"]
    assert [row.values["phone"] for row in (await back.list(Select())).rows] == ["123", "none"]


async def test_a_parked_attribute_that_returns_with_another_type_gets_a_column_of_its_own(store: Store) -> None:
    text = model(entity("User", attribute("code")))
    rows = (await apply(store, text))["User"]
    await rows.insert([{"id": key(1), "code": "A1"}])
    await apply(store, model(entity("User")), 2)
    number = model(entity("User", attribute("code", "integer")))
    assert (await store.plan(number)).names["User"].columns["code"] == "code_2"
    numbers = (await apply(store, number, 3))["User"]
    await numbers.update(key(1), lambda _: {"code": 7})
    await apply(store, model(entity("User")), 4)
    texts = (await apply(store, text, 5))["User"]
    assert await texts.get(key(1)) == Row(2, {"id": key(1), "code": "A1"})
    await apply(store, model(entity("User")), 6)
    numbers = (await apply(store, number, 7))["User"]
    assert await numbers.get(key(1)) == Row(2, {"id": key(1), "code": 7})


async def test_a_parked_entity_keeps_its_table_and_comes_back_with_its_rows(store: Store) -> None:
    both = model(entity("User", attribute("name", unique=True)), entity("Loan", attribute("until", "date")))
    tables = await apply(store, both)
    await tables["Loan"].insert([{"id": key(1), "until": "2026-01-01"}])
    alone = model(entity("User", attribute("name", unique=True)))
    plan = await store.plan(alone)
    assert (plan.parked, plan.steps, plan.loosen) == (("Loan",), (), ())
    await apply(store, alone, 2)
    back = await apply(store, both, 3)
    assert (await back["Loan"].list(Select())).total == 1


async def test_a_parked_entity_that_returns_with_another_key_gets_a_table_of_its_own(store: Store) -> None:
    user = entity("User")
    await apply(store, model(user, entity("Loan", attribute("code"))))
    await apply(store, model(user), 2)
    other = model(user, entity("Loan", attribute("code", primary_key=True), key=None))
    assert (await store.plan(other)).names["Loan"].table == "shop__loan_2"
    await apply(store, other, 3)
    await apply(store, model(user), 4)
    first = model(user, entity("Loan", attribute("code")))
    assert (await store.plan(first)).names["Loan"].table == "shop__loan"


@pytest.mark.parametrize("kind", ["datetime", "date", "time"])
async def test_a_clock_attribute_of_every_kind_can_be_added(store: Store, kind: str) -> None:
    old = (await apply(store, model(entity("User"))))["User"]
    await old.insert([{"id": key(1)}])
    new = (await apply(store, model(entity("User", attribute("at", kind, auto_now_add=True, required=True))), 2))[
        "User"
    ]
    row = await new.get(key(1))
    assert row is not None
    assert {"datetime": 27, "date": 10, "time": 15}[kind] == len(row.values["at"])


async def test_a_table_that_somebody_dropped_is_a_rejection_and_not_a_crash(store: Store, query: Query) -> None:
    await apply(store, model(entity("User", attribute("code"))))
    query("DROP TABLE shop__user")
    strict = model(entity("User", attribute("code", required=True)))
    plan = await store.plan(strict)
    assert [rejection.code for rejection in plan.rejections] == ["PIM600"]
    assert [rejection.code for rejection in await store.expand(plan, record(strict, 2))] == ["PIM600"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"kind": "string"}, {"kind": "text"}),
        ({"kind": "enum", "members": ("a", "b")}, {"kind": "string"}),
        ({"kind": "enum", "members": ("a",)}, {"kind": "enum", "members": ("a", "b")}),
        ({"kind": "string", "max_length": 5}, {"kind": "string", "max_length": 6}),
        ({"kind": "string", "max_length": 5, "pattern": "a"}, {"kind": "string"}),
        ({"kind": "string", "required": True}, {"kind": "string"}),
        ({"kind": "string"}, {"kind": "string", "default": "x", "description": "y"}),
        ({"kind": "decimal", "precision": 4, "scale": 1}, {"kind": "decimal", "precision": 9, "scale": 1}),
        ({"kind": "decimal"}, {"kind": "decimal", "scale": 6}),
    ],
)
async def test_what_only_widens_is_applied_without_a_look_at_the_rows(
    store: Store, one: dict[str, Any], other: dict[str, Any]
) -> None:
    await apply(store, model(entity("User", attribute("code", **one))))
    plan = await store.plan(model(entity("User", attribute("code", **other))))
    assert (plan.rejections, plan.scans, plan.steps) == ((), (), ())


async def test_what_the_new_revision_makes_unique_binds_the_old_one_at_once(store: Store) -> None:
    old = (await apply(store, model(entity("User", attribute("mail")))))["User"]
    await old.insert([{"id": key(1), "mail": "a"}, {"id": key(2)}, {"id": key(3)}])
    await apply(store, model(entity("User", attribute("mail", unique=True))), 2)
    with pytest.raises(ConstraintError, match="mail 'a' already exists"):
        await old.insert([{"id": key(4), "mail": "a"}])


async def test_what_is_no_longer_unique_is_let_go_after_the_drain(store: Store, query: Query) -> None:
    await apply(store, model(entity("User", attribute("mail", unique=True), attribute("code", index=True))))
    loose = model(entity("User", attribute("mail"), attribute("code")))
    plan = await store.plan(loose)
    assert (plan.steps, len(plan.loosen)) == ((), 2)
    assert plan.loosen[0].describe() == "drop the unique of User: mail must be unique"
    new = (await apply(store, loose, 2))["User"]
    await new.insert([{"id": key(1), "mail": "a"}])
    with pytest.raises(ConstraintError):
        await new.insert([{"id": key(2), "mail": "a"}])
    await store.loosen(plan)
    await new.insert([{"id": key(2), "mail": "a"}])
    assert query("SELECT count(*) FROM watcherd_constraint") == [(0,)]
    after = await store.plan(loose)
    assert (after.loosen, after.changes_schema) == ((), False)


async def test_loosening_leaves_what_a_later_plan_has_taken_into_service_again(store: Store) -> None:
    strict, loose = (model(entity("User", attribute("mail", unique=unique))) for unique in (True, False))
    await apply(store, strict)
    plan = await store.plan(loose)
    await apply(store, loose, 2)
    again = (await apply(store, strict, 3))["User"]
    await store.loosen(plan)
    await again.insert([{"id": key(1), "mail": "a"}])
    with pytest.raises(ConstraintError):
        await again.insert([{"id": key(2), "mail": "a"}])


async def test_what_a_kill_left_to_loosen_is_in_the_next_plan(store: Store) -> None:
    loose = model(entity("User", attribute("mail")))
    await apply(store, model(entity("User", attribute("mail", unique=True))))
    await apply(store, loose, 2)
    assert len((await store.plan(loose)).loosen) == 1


async def test_constraints_of_a_parked_attribute_stop_hindering_after_the_drain(store: Store) -> None:
    rule = sentence("rank must be positive", Rule.GREATER, "rank", bound=Decimal(0))
    old = (await apply(store, model(entity("User", attribute("name")))))["User"]
    await old.insert([{"id": key(1)}])
    rank = attribute("rank", "integer", default=1, unique=True)
    await apply(store, model(entity("User", attribute("name"), rank, constraints=[rule])), 2)
    without = model(entity("User", attribute("name")))
    plan = await store.plan(without)
    new = (await apply(store, without, 3))["User"]
    await store.loosen(plan)
    await new.insert([{"id": key(2)}, {"id": key(3)}])


async def test_a_raise_in_the_middle_of_a_change_leaves_everything_as_it_was(
    store: Store, query: Query, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (await apply(store, model(entity("User", attribute("name")))))["User"]
    await rows.insert([{"id": key(1), "name": "a"}])
    linked = model(entity("User", attribute("name"), attribute("nick")), entity("Loan", attribute("until", "date")))
    before = objects(), query("SELECT * FROM watcherd_attribute")
    plan = await store.plan(linked)
    with monkeypatch.context() as patched:
        patched.setattr(records, "record", lambda *_: (_ for _ in ()).throw(MemoryError("killed")))
        with pytest.raises(MemoryError):
            await store.expand(plan, record(linked, 2))
    assert (objects(), query("SELECT * FROM watcherd_attribute")) == before
    assert await store.expand(plan, record(linked, 2)) == ()
    assert await store.bind(plan).entities["User"].get(key(1)) == Row(1, {"id": key(1), "name": "a", "nick": None})


async def test_a_plan_is_made_again_when_somebody_was_here_in_between(store: Store) -> None:
    linked = model(entity("User", attribute("name"), attribute("nick")))
    await apply(store, model(entity("User", attribute("name"))))
    first, second = await store.plan(linked), await store.plan(linked)
    assert await store.expand(first, record(linked, 2)) == ()
    assert await store.expand(second, record(linked, 3)) == ()
    await store.bind(second).entities["User"].insert([{"id": key(1), "nick": "x"}])


async def test_what_could_not_be_read_again_is_read_with_the_next_plan(
    store: Store, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await apply(store, model(entity("User", attribute("name"))))
    newer = model(entity("User", attribute("name"), attribute("mail")))
    other = await Store.open(database_url, tmp_path)
    try:
        await apply(other, newer, 2)
    finally:
        await other.close()
    await store.applied("shop")  # what is known of it may be out of date
    with monkeypatch.context() as patched:
        patched.setattr(store._memory._database, "read", AsyncMock(side_effect=StoreUnavailableError("gone")))
        with pytest.raises(StoreUnavailableError):
            await store.plan(newer)
    assert (await store.plan(newer)).changes_schema is False


async def test_a_plan_whose_names_no_longer_hold_is_stale(store: Store) -> None:
    plan = await store.plan(model(entity("User", attribute("code", "integer"))))
    await apply(store, model(entity("User", attribute("code"))))
    await apply(store, model(entity("User")), 2)
    with pytest.raises(StalePlanError, match="tables of shop have changed"):
        await store.expand(plan, record(plan.linked, 3))


async def test_models_that_refer_to_each_other_are_planned_before_either_is_applied(store: Store) -> None:
    people = model(entity("Person", attribute("name")), domain="people")
    library = model(
        entity("Loan", attribute("person", "reference", to="people.Person", required=True)),
        domain="library",
        others=[people],
    )
    plans = [(one, await store.plan(one)) for one in (library, people)]
    for linked, plan in plans:
        assert await store.expand(plan, record(linked)) == ()
    loans, persons = store.bind(plans[0][1]).entities["Loan"], store.bind(plans[1][1]).entities["Person"]
    await persons.insert([{"id": key(1)}])
    await loans.insert([{"id": key(1), "person": key(1)}])
    with pytest.raises(ConstraintError, match="does not exist"):
        await loans.insert([{"id": key(2), "person": key(2)}])
    assert (await store.plan(library)).changes_schema is False


async def test_entities_may_refer_to_each_other_and_to_themselves(store: Store) -> None:
    linked = model(
        entity("A", attribute("b", "reference", to="B"), attribute("parent", "reference", to="A")),
        entity("B", attribute("a", "reference", to="A", on_delete=OnDelete.SET_NULL)),
    )
    tables = await apply(store, linked)
    await tables["A"].insert([{"id": key(1), "parent": key(1)}])
    await tables["B"].insert([{"id": key(1), "a": key(1)}])
    assert await tables["A"].delete(key(1))
    assert await tables["B"].get(key(1)) == Row(1, {"id": key(1), "a": None})


async def test_a_reference_with_a_default_is_filled_into_old_rows(store: Store) -> None:
    team = entity("Team")
    tables = await apply(store, model(team, entity("User")))
    await tables["Team"].insert([{"id": key(5)}])
    await tables["User"].insert([{"id": key(1)}])
    linked = model(team, entity("User", attribute("team", "reference", to="Team", default=key(5))))
    new = await apply(store, linked, 2)
    assert await new["User"].get(key(1)) == Row(1, {"id": key(1), "team": key(5)})
    await tables["User"].insert([{"id": key(2)}])


async def test_every_reference_and_declared_index_is_an_index_and_none_is_made_twice(
    store: Store, query: Query, objects: Objects
) -> None:
    linked = model(
        entity("Team"),
        entity(
            "User",
            attribute("team", "reference", to="Team"),
            attribute("mail", unique=True, index=True),
            attribute("name"),
            indexes=[Index(attributes=("mail",)), Index(attributes=("name", "mail"), unique=True, name="who")],
        ),
    )
    await apply(store, linked)
    rows = sorted(query("SELECT kind, columns FROM watcherd_constraint"), key=lambda row: row[1])
    assert rows == [("unique", '["mail"]'), ("unique", '["name", "mail"]'), ("index", '["team"]')]
    assert {name for (name,) in query("SELECT name FROM watcherd_constraint")} <= objects().keys()


async def test_names_are_short_enough_and_unique_whatever_the_model_calls_them(store: Store, objects: Objects) -> None:
    long = "a" * 80
    linked = model(
        entity(f"E{long}", attribute(f"{long}1", unique=True), attribute(f"{long}2"), attribute("order", "integer")),
        domain="sqlite",
    )
    tables = await apply(store, linked)
    (row,) = await tables[f"E{long}"].insert([{"id": key(1), f"{long}1": "x", f"{long}2": "y", "order": 1}])
    assert list(row.values.values()) == [key(1), "x", "y", 1]
    names = [part for name in objects() for part in name.split(".")]
    assert max(len(name.encode()) for name in names) <= 63
    assert (await store.plan(linked)).changes_schema is False


async def test_attributes_may_be_called_like_the_columns_that_every_table_has(store: Store) -> None:
    names = ("xmin", "xmax", "cmin", "cmax", "ctid", "tableoid", "oid", "rowid")
    boxes = [attribute(name) for name in names]
    await apply(store, model(entity("Box", *boxes[:3])))
    rows = (await apply(store, model(entity("Box", *boxes)), 2))["Box"]
    wanted = {"id": key(1), **{one.name: one.name for one in boxes}}
    (row,) = await rows.insert([wanted])
    assert row.values == wanted
    assert await store.drift() == {}


async def test_a_filter_finds_rows_of_both_sides_of_a_change_of_text_type(store: Store) -> None:
    old = (await apply(store, model(entity("User", attribute("state", "enum", members=("on", "off"))))))["User"]
    await old.insert([{"id": key(1), "state": "on"}])
    new = (await apply(store, model(entity("User", attribute("state"))), 2))["User"]
    await new.insert([{"id": key(2), "state": "on"}])
    assert (await old.list(Select(filters=(Filter("state", "eq", "on"),)))).total == 2


async def test_a_database_error_while_applying_is_a_rejection(store: Store, query: Query) -> None:
    query("CREATE TABLE shop__user (x INTEGER)")
    linked = model(entity("User"))
    plan = await store.plan(linked)
    (rejection,) = await store.expand(plan, record(linked))
    assert (rejection.code, rejection.entity) == ("PIM600", None)
    assert "already exists" in rejection.message
    assert await store.catalog() == {}
    assert query("SELECT x FROM shop__user") == []
    with pytest.raises((sqlite3.OperationalError, asyncpg.UndefinedColumnError)):
        query("SELECT id FROM shop__user")


async def test_what_is_read_row_by_row_does_not_hinder_the_change_that_it_allows(store: Store) -> None:
    old = (await apply(store, model(entity("User", attribute("code")))))["User"]
    await old.insert([{"id": key(number), "code": f"c{number}"} for number in range(1, 1502)])
    rule = sentence("code cannot be empty", Rule.NOT_EMPTY, "code")
    code = attribute("code", unique=True, pattern="^c[0-9]+$")
    new = (await apply(store, model(entity("User", code, attribute("color"), constraints=[rule])), 2))["User"]
    assert (await new.list(Select(limit=1))).total == 1501
