"""An attribute gets another type, and its values are computed from the rows as they were."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.store.models import apply, attribute, entity, key, model, refuse
from watcherd.errors import ConstraintError
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Attribute
from watcherd.store import Rows, Select, Store

TEXT = attribute("size")
NUMBER = attribute("size", "integer", using="int(size)")
PLAIN = attribute("unit")


def things(*attributes: Attribute) -> LinkedModel:
    return model(entity("Thing", *attributes))


async def shown(rows: Rows, name: str = "size") -> list[Any]:
    return [row.values[name] for row in (await rows.list(Select())).rows]


async def insert(rows: Rows, *values: dict[str, Any], first: int = 1) -> None:
    await rows.insert([{"id": key(number), **value} for number, value in enumerate(values, start=first)])


@pytest.mark.parametrize(
    ("before", "after", "values", "become"),
    [
        pytest.param(
            TEXT,
            NUMBER,
            ["7", "-12", "0", " 5 ", "9223372036854775807", "-9223372036854775808", None],
            [7, -12, 0, 5, 2**63 - 1, -(2**63), None],
            id="text to integer",
        ),
        pytest.param(
            TEXT,
            attribute("size", "decimal", scale=2, using="decimal(size)"),
            ["7", "-1.5", "0.25", "007.10", "-0.01", "12.5000", None],
            ["7.00", "-1.50", "0.25", "7.10", "-0.01", "12.50", None],
            id="text to decimal",
        ),
        pytest.param(
            TEXT,
            attribute("size", "integer", using='size == "small" ? 1 : size == "large" ? 3 : size == null ? 0 : 2'),
            ["small", "middle", "large", None],
            [1, 2, 3, 0],
            id="a choice",
        ),
        pytest.param(
            attribute("size", "enum", members=("s", "l")),
            attribute("size", "enum", members=("small", "large"), using='size == "s" ? "small" : "large"'),
            ["s", "l"],
            ["small", "large"],
            id="other members",
        ),
        pytest.param(
            TEXT, attribute("size", "boolean", using='size in ["yes", "y"]'), ["y", "no"], [True, False], id="condition"
        ),
        pytest.param(
            TEXT,
            attribute("size", "boolean", using="bool(size)"),
            ["true", "false", None],
            [True, False, None],
            id="bool",
        ),
        pytest.param(
            attribute("size", "boolean"),
            attribute("size", "integer", using="size ? 1 : 0"),
            [True, False, None],
            [1, 0, None],
            id="boolean to number",
        ),
        pytest.param(
            attribute("size", "boolean"),
            attribute("size", using="string(size)"),
            [True, False, None],
            ["true", "false", None],
            id="boolean to text",
        ),
        pytest.param(
            attribute("size", "decimal", scale=2),
            attribute("size", "integer", using="int(size)"),
            ["1.99", "-1.99", None],
            [1, -1, None],
            id="cut",
        ),
        pytest.param(
            attribute("size", "decimal", scale=2),
            attribute("size", "integer", using="int(size * 100)"),
            ["1.99", "-0.01", None],
            [199, -1, None],
            id="cents",
        ),
        pytest.param(
            attribute("size", "integer"),
            attribute("size", "decimal", scale=3, using="size * 0.5 + 1"),
            [1, -4, None],
            ["1.500", "-1.000", None],
            id="a computed decimal, though the types have a conversion of their own",
        ),
        pytest.param(
            attribute("size", "integer"),
            attribute("size", "float", using="float(size)"),
            [1, None],
            [1.0, None],
            id="a number to a float",
        ),
        pytest.param(
            attribute("size", "datetime"),
            attribute("size", "date", using="date(size)"),
            ["2026-11-22T10:20:30.000000Z", None],
            ["2026-11-22", None],
            id="the date of a time",
        ),
        pytest.param(
            attribute("size", "datetime"),
            attribute("size", "time", using="time(size)"),
            ["2026-11-22T10:20:30.000000Z", None],
            ["10:20:30.000000", None],
            id="the time of day",
        ),
        pytest.param(
            TEXT,
            attribute("size", "integer", using='int(size.split("x")[1]) + int(size.split("x")[0])'),
            ["10x20", "1x2x3"],
            [30, 3],
            id="split",
        ),
    ],
)
async def test_every_row_has_the_value_that_the_expression_says(
    store: Store, before: Attribute, after: Attribute, values: list[Any], become: list[Any]
) -> None:
    old = (await apply(store, things(before)))["Thing"]
    await insert(old, *({"size": one} for one in values))
    was = await shown(old)
    new = (await apply(store, things(after), 2))["Thing"]
    assert await shown(new) == become
    assert await shown(old) == was

    # The old revision writes on: its values arrive.
    await insert(old, *({"size": one} for one in values if one is not None), first=11)
    arrived = [one for one, value in zip(become, values, strict=True) if value is not None]
    assert await shown(new) == become + arrived
    for number, value in enumerate(reversed(values), start=1):
        await old.update(key(number), lambda _, value=value: {"size": value})
    assert await shown(new) == [*reversed(become), *arrived]
    assert (await shown(old))[: len(was)] == [*reversed(was)]

    # What the new one writes has no way back.
    other = next(one for one in become if one not in {None, become[-1]})
    await new.update(key(1), lambda _: {"size": other})
    await insert(new, {"size": other}, {"size": None}, first=21)
    assert (await shown(new))[0] == other
    assert (await shown(new))[-2:] == [other, None]
    assert (await shown(old))[-2:] == [None, None]
    assert (await shown(old))[0] is None
    await old.update(key(1), lambda row: row.values)
    assert (await shown(new))[0] == other, "who read it and wrote it back has changed nothing"
    await new.update(key(1), lambda _: {"size": None})
    assert (await shown(new))[0] is None

    final = await shown(new)
    await store.loosen(await store.plan(things(after)))
    assert await shown(new) == final
    assert await store.drift() == {}
    plan = await store.plan(things(after))
    assert (plan.steps, plan.loosen, plan.changes_schema) == ((), (), False), "once it is done it means nothing"


async def test_an_expression_is_made_of_several_attributes_of_which_one_leaves(store: Store) -> None:
    old = (await apply(store, things(attribute("size", "integer"), PLAIN)))["Thing"]
    await insert(old, {"size": 5, "unit": "mm"}, {"size": 6, "unit": None})
    after = things(attribute("size", using='string(size) + " " + (unit == null ? "cm" : unit)'))
    new = (await apply(store, after, 2))["Thing"]
    assert await shown(new) == ["5 mm", "6 cm"]
    await old.update(key(2), lambda _: {"unit": "km"})
    assert await shown(new) == ["5 mm", "6 km"], "an older revision wrote another part of it"
    await new.update(key(1), lambda _: {"size": "long"})
    await old.update(key(1), lambda _: {"unit": "km"})
    assert await shown(new) == ["long", "6 km"]
    await old.update(key(1), lambda _: {"size": 7})
    assert await shown(new) == ["7 km", "6 km"]


async def test_two_attributes_are_computed_from_each_other(store: Store) -> None:
    old = (await apply(store, things(TEXT, PLAIN)))["Thing"]
    await insert(old, {"size": "1", "unit": "2"})
    after = things(NUMBER, attribute("unit", "integer", using="int(unit) + int(size)"))
    new = (await apply(store, after, 2))["Thing"]
    assert (await shown(new), await shown(new, "unit")) == ([1], [3])
    await new.update(key(1), lambda _: {"size": 9})
    assert (await shown(new), await shown(new, "unit")) == ([9], [3])


async def test_members_can_be_remapped_again_and_what_was_is_parked_each_time(store: Store) -> None:
    first = attribute("size", "enum", members=("a", "b"))
    rows = (await apply(store, things(first)))["Thing"]
    await insert(rows, {"size": "a"}, {"size": "b"})
    for revision, (one, two) in enumerate((("c", "d"), ("e", "f"), ("a", "b")), start=2):
        was = await shown(rows)
        using = f'size == "{was[0]}" ? "{one}" : "{two}"'
        wanted = things(attribute("size", "enum", members=(one, two), using=using))
        rows = (await apply(store, wanted, revision))["Thing"]
        await store.loosen(await store.plan(wanted))
        assert await shown(rows) == [one, two]
    assert len([one for one in (await store.plan(wanted)).after.entities[0].attributes if one.parked]) == 3


@pytest.mark.parametrize(
    ("before", "after", "values", "codes"),
    [
        pytest.param(
            TEXT, NUMBER, ["7", "seven", "", "1.5", "9223372036854775808", "--1"], {"PIM601": 5}, id="no number"
        ),
        pytest.param(
            TEXT,
            attribute("size", "decimal", scale=2, using="decimal(size)"),
            ["1.23", "1.234", "a", "-", ".", "1e5", "12345678901234567890"],
            {"PIM601": 6},
            id="no decimal",
        ),
        pytest.param(
            attribute("size", "decimal", scale=2),
            attribute("size", "decimal", scale=1, using="size * 1.1"),
            ["1.00", "1.01"],
            {"PIM601": 1},
            id="a digit would be lost",
        ),
        pytest.param(
            attribute("size", "integer"),
            attribute("size", "decimal", scale=2, using="decimal(size * 10)"),
            [1, 2**62],
            {"PIM601": 1, "PIM605": 0},
            id="too large",
        ),
        pytest.param(
            TEXT,
            attribute("size", "integer", minimum=Decimal(5), using="int(size)"),
            ["4", "5"],
            {"PIM605": 1},
            id="a limit",
        ),
        pytest.param(
            TEXT,
            attribute("size", "enum", members=("x", "y"), using='size == "a" ? "x" : size'),
            ["a", "y", "z"],
            {"PIM605": 1},
            id="no member",
        ),
        pytest.param(
            TEXT,
            attribute("size", "integer", required=True, using="int(size)"),
            ["1", None],
            {"PIM603": 1},
            id="required",
        ),
        pytest.param(
            TEXT, attribute("size", "boolean", using="bool(size)"), ["true", "True"], {"PIM601": 1}, id="bool"
        ),
        pytest.param(
            TEXT,
            attribute("size", "integer", using='int(size.split("x")[1])'),
            ["1x2", "1"],
            {"PIM601": 1},
            id="no part",
        ),
    ],
)
async def test_rows_without_a_value_are_in_the_way_and_such_writes_are_refused(
    store: Store, before: Attribute, after: Attribute, values: list[Any], codes: dict[str, int]
) -> None:
    old = (await apply(store, things(before)))["Thing"]
    await insert(old, *({"size": one} for one in values))
    plan = await store.plan(things(after))
    found = {one.code: one.rows for one in plan.rejections}
    assert found == {code: rows for code, rows in codes.items() if rows}
    assert all(one.first_ids for one in plan.rejections)
    sound = [one.values["id"] for one in (await old.list(Select())).rows]
    for one in sound:
        await old.delete(one)
    new = (await apply(store, things(after), 2))["Thing"]
    refusals = []
    for number, value in enumerate(values, start=1):
        try:
            await insert(old, {"size": value}, first=number)
        except ConstraintError as error:
            refusals.append(f"{error}")
    assert all("storable" in one for one in refusals)
    # A row that an older revision inserts without a value has none, as with every change of type.
    assert len(refusals) == sum(codes.values()) - codes.get("PIM603", 0)
    if "PIM603" in codes:
        with pytest.raises(ConstraintError, match="storable"):
            await old.update(key(1), lambda _: {"size": None})
    assert len(await shown(new)) == len(values) - len(refusals)


@pytest.mark.parametrize(
    ("after", "offset", "message"),
    [
        pytest.param(attribute("size", "integer", using="int(sizes)"), 4, "no name `sizes`", id="unknown"),
        pytest.param(attribute("size", "integer", using="size"), 0, "must be an int, not a string", id="type"),
        pytest.param(attribute("size", "integer", using="size.size() + unit"), 12, "between an int", id="operator"),
        pytest.param(
            attribute("size", "integer", using="int(size.trim())"), 13, "`trim` is not computed", id="function"
        ),
        pytest.param(attribute("size", "float", using="float(size)"), 5, "`float` of a string", id="float of a text"),
        pytest.param(attribute("size", "uuid", using="size"), 0, "values of type uuid", id="uuid"),
        pytest.param(attribute("size", "datetime", using="timestamp(size)"), 9, "`timestamp` of a string", id="time"),
        pytest.param(attribute("size", "string", is_list=True, using="[size]"), 0, "a list", id="list"),
        pytest.param(attribute("size", "datetime", using="now"), 0, "no name `now`", id="clock"),
    ],
)
async def test_what_does_not_hold_together_or_sql_cannot_say_is_refused_at_its_place(
    store: Store, after: Attribute, offset: int, message: str
) -> None:
    await apply(store, things(TEXT, PLAIN))
    rejection, _ = await refuse(store, things(after, PLAIN))
    assert (rejection.code, rejection.using, rejection.attribute) == ("PIM613", after.using, "size")
    assert message in rejection.message
    assert rejection.offset == offset


async def test_an_attribute_that_is_new_has_no_old_values(store: Store) -> None:
    await apply(store, things(TEXT))
    rejection, _ = await refuse(store, things(TEXT, attribute("unit", using="size")))
    assert (rejection.code, rejection.attribute) == ("PIM613", "unit")
    assert "it is new" in rejection.message


async def test_a_type_does_not_change_together_with_the_name(store: Store) -> None:
    await apply(store, things(TEXT))
    rejection, _ = await refuse(store, things(attribute("width", "integer", renamed_from="size", using="int(size)")))
    assert (rejection.code, rejection.attribute) == ("PIM601", "width")
    assert "with its rename from size" in rejection.message
    assert "change the type of size first" in str(rejection.hint)


async def test_in_a_new_table_it_means_nothing(store: Store) -> None:
    rows = (await apply(store, things(attribute("size", "integer", using="int(nothing)"))))["Thing"]
    await insert(rows, {"size": 1})
    assert await shown(rows) == [1]


async def test_two_changes_of_type_in_a_row_reach_every_revision_in_use(store: Store) -> None:
    first = (await apply(store, things(attribute("size", "integer"))))["Thing"]
    second = (await apply(store, things(attribute("size", "decimal", scale=2)), 2))["Thing"]
    third = (await apply(store, things(attribute("size", using='size > 5.0 ? "large" : "small"')), 3))["Thing"]
    await insert(first, {"size": 1}, {"size": 9})
    await insert(second, {"size": "1.50"}, first=3)
    assert await shown(third) == ["small", "large", "small"]
    await first.update(key(1), lambda _: {"size": 8})
    await second.update(key(2), lambda _: {"size": "2.50"})
    assert await shown(third) == ["large", "small", "small"]
    await third.update(key(1), lambda _: {"size": "huge"})
    assert (await shown(first))[0] is None
    assert (await shown(second))[0] is None
    assert (await shown(third))[0] == "huge"
