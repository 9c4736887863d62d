"""What is rejected, with its code, its place, and the rows in the way; and what is applied without them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.store.models import apply, attribute, entity, key, model, record, refuse, sentence
from watcherd.pim.spec import Entity, Rule
from watcherd.store import Select, Store

A, B = {"kind": "string"}, {"kind": "integer"}

DEPENDS_ON_ROWS: list[Any] = [
    pytest.param("PIM603", A, {**A, "required": True}, None, "x", id="now required"),
    pytest.param("PIM604", A, {**A, "unique": True}, "x", None, id="now unique"),
    pytest.param("PIM605", A, {**A, "max_length": 2}, "abc", "ab", id="max_length"),
    pytest.param("PIM605", {**A, "max_length": 5}, {**A, "max_length": 2}, "双双双", "双双", id="less max_length"),
    pytest.param("PIM605", A, {**A, "min_length": 2}, "a", "ab", id="min_length"),
    pytest.param("PIM605", A, {**A, "pattern": r"^\d+$"}, "a", "1", id="pattern"),
    pytest.param("PIM605", A, {"kind": "email"}, "a", "a@b.c", id="email"),
    pytest.param("PIM605", A, {"kind": "url"}, "a b", "https://a", id="url"),
    pytest.param("PIM605", A, {"kind": "enum", "members": ("a", "b")}, "c", "a", id="now an enum"),
    pytest.param("PIM605", B, {**B, "minimum": Decimal(3)}, 2, 3, id="minimum"),
    pytest.param("PIM605", B, {**B, "maximum": Decimal(3)}, 4, 3, id="maximum"),
    pytest.param("PIM605", B, {**B, "exclusive_minimum": Decimal(3)}, 3, 4, id="exclusive_minimum"),
    pytest.param("PIM605", B, {**B, "exclusive_maximum": Decimal(3)}, 3, 2, id="exclusive_maximum"),
    pytest.param("PIM605", B, {**B, "multiple_of": Decimal(5)}, 7, -10, id="multiple_of"),
    pytest.param(
        "PIM605",
        {"kind": "decimal", "scale": 1},
        {"kind": "decimal", "scale": 1, "multiple_of": Decimal("0.25")},
        "0.3",
        "0.5",
        id="multiple_of finer than the scale",
    ),
    pytest.param("PIM605", {"kind": "float"}, {"kind": "float", "multiple_of": Decimal("0.1")}, 0.25, 0.3, id="float"),
    pytest.param(
        "PIM605", {"kind": "decimal"}, {"kind": "decimal", "minimum": Decimal("1.5")}, "1.499999", "1.5", id="decimal"
    ),
    pytest.param(
        "PIM605",
        {"kind": "decimal", "precision": 9, "scale": 2},
        {"kind": "decimal", "precision": 4, "scale": 2},
        "-100",
        "-99.99",
        id="precision",
    ),
    pytest.param(
        "PIM606",
        {"kind": "enum", "members": ("a", "b")},
        {"kind": "enum", "members": ("b", "c")},
        "a",
        "b",
        id="member removed",
    ),
    pytest.param(
        "PIM605", {**B, "is_list": True}, {**B, "is_list": True, "maximum": Decimal(3)}, [1, 4], [], id="list items"
    ),
    pytest.param(
        "PIM605", {**A, "is_list": True}, {**A, "is_list": True, "pattern": "^a"}, ["a", "b"], ["a"], id="list pattern"
    ),
]


@pytest.mark.parametrize(("code", "before", "after", "bad", "good"), DEPENDS_ON_ROWS)
async def test_rows_in_the_way_are_counted_and_named_and_without_them_the_change_is_applied(
    store: Store, code: str, before: dict[str, Any], after: dict[str, Any], bad: object, good: object
) -> None:
    old = (await apply(store, model(entity("User", attribute("code", **before)))))["User"]
    await old.insert([{"id": key(n), "code": bad if n < 5 else good} for n in range(6)])
    changed = model(entity("User", attribute("code", **after)))
    rejection, _ = await refuse(store, changed)
    assert (rejection.code, rejection.entity, rejection.attribute) == (code, "User", "code")
    assert f"5 rows in the way (first ids {key(0)}, {key(1)}, {key(2)})" in rejection.message
    assert rejection.hint is not None

    for n in range(1, 5):
        await old.delete(key(n))
    if code != "PIM604":
        rejection, _ = await refuse(store, changed)
        assert f"1 row in the way (id {key(0)})" in rejection.message
    await old.delete(key(0))
    new = (await apply(store, changed, 2))["User"]
    assert (await new.list(Select())).rows[0].values["code"] == good


async def test_a_row_that_comes_in_the_way_after_the_plan_is_found_by_the_change(store: Store) -> None:
    old = (await apply(store, model(entity("User", attribute("code")))))["User"]
    strict = model(entity("User", attribute("code", unique=True)))
    plan = await store.plan(strict)
    assert plan.rejections == ()
    await old.insert([{"id": key(1), "code": "x"}, {"id": key(2), "code": "x"}])
    (rejection,) = await store.expand(plan, record(strict, 2))
    assert rejection.code == "PIM604"
    await old.insert([{"id": key(3), "code": "x"}])


async def test_several_attributes_that_must_be_unique_together(store: Store) -> None:
    two = (attribute("a"), attribute("b"))
    old = (await apply(store, model(entity("User", *two))))["User"]
    await old.insert([{"id": key(1), "a": "x", "b": "y"}, {"id": key(2), "a": "x"}, {"id": key(3), "a": "x"}])
    strict = model(entity("User", *two, constraints=[sentence("a and b must be unique", Rule.UNIQUE, "a", "b")]))
    await apply(store, strict, 2)
    await apply(store, model(entity("User", *two)), 3)
    await store.loosen(await store.plan(model(entity("User", *two))))
    await old.insert([{"id": key(4), "a": "x", "b": "y"}])
    rejection, _ = await refuse(store, strict)
    assert (rejection.code, rejection.attribute) == ("PIM604", None)
    assert f"2 rows in the way (first ids {key(1)}, {key(4)})" in rejection.message


@pytest.mark.parametrize("name", ["value", "type", "one", "item", "True", "false", "key", "n" * 70])
async def test_rows_are_looked_at_whatever_their_attribute_is_called(store: Store, name: str) -> None:
    """Words of the databases' own: columns of `json_each`, the two truths, names longer than PostgreSQL takes."""
    lists = (await apply(store, model(entity("User", attribute(name, is_list=True)))))["User"]
    await lists.insert([{"id": key(1), name: ["abc"]}, {"id": key(2), name: ["ab"]}])
    rejection, _ = await refuse(store, model(entity("User", attribute(name, is_list=True, max_length=2))))
    assert (rejection.code, rejection.first_ids) == ("PIM605", (key(1),))
    await apply(store, model(entity("User", attribute(name, is_list=True, max_length=3))), 2)
    numbers = (await apply(store, model(entity("Pair", attribute(name, "integer"), attribute(f"{name}2"))), 3))["Pair"]
    await numbers.insert([{"id": key(1), name: 2**53 + 1}, {"id": key(2), name: 1}])
    found = [
        (await refuse(store, model(entity("Pair", one, attribute(f"{name}2")))))[0]
        for one in (attribute(name, "float"), attribute(name, "integer", multiple_of=Decimal(1), maximum=Decimal(1)))
    ]
    assert [(one.code, one.first_ids) for one in found] == [("PIM601", (key(1),)), ("PIM605", (key(1),))]
    both = sentence("both must be unique", Rule.UNIQUE, name, f"{name}2")
    unique = model(entity("Pair", attribute(name, "integer"), attribute(f"{name}2"), constraints=[both]))
    await apply(store, unique, 4)
    needed = sentence(f"{name} cannot be empty", Rule.NOT_EMPTY, name)
    strict = model(entity("User", attribute(name, is_list=True, max_length=3), constraints=[needed]))
    await apply(store, strict, 5)


@pytest.mark.parametrize("name", ["true", "age"])
async def test_an_attribute_that_is_new_is_unique_as_long_as_nobody_has_a_value(store: Store, name: str) -> None:
    old = (await apply(store, model(entity("User", attribute("code")))))["User"]
    await old.insert([{"id": key(1)}, {"id": key(2)}])
    await apply(store, model(entity("User", attribute("code"), attribute(name, unique=True))), 2)


async def test_a_float_beyond_all_digits_is_looked_at_as_well(store: Store) -> None:
    old = (await apply(store, model(entity("User", attribute("code", "float")))))["User"]
    await old.insert([{"id": key(1), "code": 1e308}, {"id": key(2), "code": 4.0}])
    strict = model(entity("User", attribute("code", "float", multiple_of=Decimal(7))))
    rejection, _ = await refuse(store, strict)
    assert (rejection.code, rejection.rows) == ("PIM605", 2)
    await apply(store, model(entity("User", attribute("code", "float", multiple_of=Decimal(2)))), 2)


SENTENCES: list[Any] = [
    pytest.param("integer", (Rule.GREATER, {"bound": Decimal(0)}), 0, 1, id="positive"),
    pytest.param("integer", (Rule.AT_LEAST, {"bound": Decimal(0)}), -1, 0, id="not negative"),
    pytest.param("float", (Rule.LESS, {"bound": Decimal("0.5")}), 0.5, 0.4, id="less"),
    pytest.param("decimal", (Rule.AT_MOST, {"bound": Decimal("2.5")}), "2.500001", "2.5", id="at most"),
    pytest.param("integer", (Rule.BETWEEN, {"bounds": (Decimal(1), Decimal(3))}), 4, 3, id="between"),
    pytest.param("string", (Rule.NOT_EMPTY, {}), "", "a", id="not empty"),
    pytest.param("decimal", (Rule.GREATER, {"bound": Decimal("0.1234567")}), "0.123456", "0.123457", id="finer bound"),
    pytest.param("json", (Rule.NOT_EMPTY, {}), {}, {"a": 1}, id="json not empty"),
    pytest.param("string", (Rule.EMAIL, {}), "nope", "a@b.c", id="email"),
]


@pytest.mark.parametrize(("kind", "rule", "bad", "good"), SENTENCES)
async def test_a_new_sentence_looks_at_the_rows(
    store: Store, kind: str, rule: tuple[Rule, dict[str, Any]], bad: object, good: object
) -> None:
    old = (await apply(store, model(entity("User", attribute("code", kind)))))["User"]
    await old.insert([{"id": key(1), "code": bad}, {"id": key(2), "code": good}, {"id": key(3)}])
    told = sentence("code must be right", rule[0], "code", **rule[1])
    strict = model(entity("User", attribute("code", kind), constraints=[told]))
    rejection, _ = await refuse(store, strict)
    assert (rejection.code, rejection.attribute) == ("PIM607", "code")
    assert f"1 row in the way (id {key(1)})" in rejection.message
    assert "code must be right" in rejection.message
    await old.update(key(1), lambda _: {"code": good})
    await apply(store, strict, 2)


async def test_a_list_that_cannot_be_empty(store: Store) -> None:
    tags = attribute("tags", is_list=True)
    old = (await apply(store, model(entity("User", tags))))["User"]
    await old.insert([{"id": key(1), "tags": []}])
    told = sentence("tags cannot be empty", Rule.NOT_EMPTY, "tags")
    rejection, _ = await refuse(store, model(entity("User", tags, constraints=[told])))
    assert rejection.code == "PIM607"


async def test_a_sentence_without_meaning_for_the_database_is_left_to_the_validators(store: Store) -> None:
    ends = (attribute("name"), attribute("tags", is_list=True), attribute("count", "integer"))
    told = [
        sentence("name must be positive", Rule.GREATER, "name", bound=Decimal(0)),
        sentence("tags must be positive", Rule.GREATER, "tags", bound=Decimal(0)),
        sentence("name at least count", Rule.AT_LEAST, "name", other="count"),
        sentence("count cannot be empty", Rule.NOT_EMPTY, "count"),
        sentence("count is required", Rule.REQUIRED, "count"),
        sentence("prose", None, "count"),  # type: ignore[arg-type]  # prose has no rule
    ]
    plan = await store.plan(model(entity("User", *ends, constraints=told)))
    assert [step.name for step in plan.steps] == ["shop__user"]


async def test_a_new_required_attribute_without_default_has_every_row_in_its_way(store: Store) -> None:
    old = (await apply(store, model(entity("User"))))["User"]
    required = model(entity("User", attribute("name", required=True)))
    await old.insert([{"id": key(1)}])
    rejection, _ = await refuse(store, required)
    assert (rejection.code, rejection.attribute) == ("PIM609", "name")
    assert "default" in str(rejection.hint)
    await old.delete(key(1))
    await apply(store, required, 2)
    await old.insert([{"id": key(2)}])


async def test_a_new_attribute_whose_default_breaks_a_demand_is_in_its_own_way(store: Store) -> None:
    old = (await apply(store, model(entity("User"))))["User"]
    await old.insert([{"id": key(1)}, {"id": key(2)}])
    rejection, _ = await refuse(store, model(entity("User", attribute("rank", "integer", default=1, unique=True))))
    assert rejection.code == "PIM604"
    told = sentence("rank must be positive", Rule.GREATER, "rank", bound=Decimal(0))
    rejection, _ = await refuse(
        store, model(entity("User", attribute("rank", "integer", default=0), constraints=[told]))
    )
    assert rejection.code == "PIM607"
    await apply(store, model(entity("User", attribute("rank", "integer", unique=True))), 2)


async def test_a_required_attribute_that_comes_back_has_the_rows_written_meanwhile_in_its_way(store: Store) -> None:
    full = model(entity("User", attribute("name", required=True)))
    await apply(store, full)
    less = (await apply(store, model(entity("User")), 2))["User"]
    await less.insert([{"id": key(1)}])
    rejection, _ = await refuse(store, full)
    assert rejection.code == "PIM603"


TEAM = entity("Team")


@pytest.mark.parametrize(
    ("code", "before", "after"),
    [
        pytest.param("PIM601", A, B, id="text to number"),
        pytest.param("PIM601", B, {**B, "is_list": True}, id="to a list"),
        pytest.param("PIM601", {"kind": "decimal"}, {"kind": "float"}, id="decimal to float"),
        pytest.param("PIM601", {**B, "is_list": True}, {"kind": "float", "is_list": True}, id="items of a list"),
    ],
)
async def test_another_type_is_rejected_whatever_the_rows_are(
    store: Store, code: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    await apply(store, model(TEAM, entity("User", attribute("code", **before))))
    rejection, _ = await refuse(store, model(TEAM, entity("User", attribute("code", **after))))
    assert (rejection.code, rejection.entity, rejection.attribute) == (code, "User", "code")
    assert "User.code" in rejection.message


@pytest.mark.parametrize(
    "after",
    [
        entity("User", attribute("id", "integer", primary_key=True), key=None),
        entity("User", attribute("code", primary_key=True), key=None),
    ],
)
async def test_another_primary_key_is_rejected(store: Store, after: Entity) -> None:
    await apply(store, model(entity("User", attribute("code"))))
    rejection, _ = await refuse(store, model(after))
    assert (rejection.code, rejection.attribute) == ("PIM602", after.key.name)


async def test_a_rename_of_what_was_never_stored_or_is_done_already_is_nothing(store: Store) -> None:
    linked = model(
        entity("User", attribute("email", renamed_from="mail"), renamed_from="Person"), renamed_from="old-shop"
    )
    await apply(store, linked)
    assert (await store.plan(linked)).rejections == ()
