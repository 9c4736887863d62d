"""An attribute gets another type: every value stays what it was, for the older revision too."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.store.conftest import Query
from tests.unit.store.models import apply, attribute, entity, key, model, record, refuse
from watcherd.errors import ConstraintError
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Attribute
from watcherd.store import Rows, Select, Store
from watcherd.store import apply as applying

INTEGER = attribute("size", "integer")
MONEY = attribute("size", "decimal", scale=2)
FINER = attribute("size", "decimal", scale=4)
FLOAT = attribute("size", "float")
TEXT = attribute("size")
LARGEST = 2**63 - 1


def things(*attributes: Attribute) -> LinkedModel:
    return model(entity("Thing", *attributes))


async def shown(rows: Rows, name: str = "size") -> list[Any]:
    """The values of one attribute, in order of the keys."""
    return [row.values[name] for row in (await rows.list(Select())).rows]


async def insert(rows: Rows, *values: Any, first: int = 1) -> None:
    await rows.insert([{"id": key(number), "size": value} for number, value in enumerate(values, start=first)])


@pytest.mark.parametrize(
    ("before", "after", "values", "become"),
    [
        pytest.param(INTEGER, MONEY, [7, -5, 0, None], ["7.00", "-5.00", "0.00", None], id="integer to decimal"),
        pytest.param(
            INTEGER, FLOAT, [7, -(2**53), 2**53, None], [7.0, -(2.0**53), 2.0**53, None], id="integer to float"
        ),
        pytest.param(MONEY, FINER, ["1.50", "-0.25", None], ["1.5000", "-0.2500", None], id="wider scale"),
        pytest.param(FINER, MONEY, ["1.5", "-0.25", None], ["1.50", "-0.25", None], id="narrower scale"),
        pytest.param(MONEY, INTEGER, ["1.00", "-25", None], [1, -25, None], id="decimal to integer"),
        pytest.param(
            INTEGER, TEXT, [7, LARGEST, -LARGEST - 1, None], ["7", str(LARGEST), str(-LARGEST - 1), None], id="to text"
        ),
        pytest.param(attribute("size", "uuid"), TEXT, [key(1), None], [key(1), None], id="uuid to text"),
        pytest.param(
            attribute("size", "date"),
            attribute("size", "datetime"),
            ["2026-11-22", None],
            ["2026-11-22T00:00:00.000000Z", None],
            id="date to datetime",
        ),
        pytest.param(attribute("size", "date"), TEXT, ["2026-11-22", None], ["2026-11-22", None], id="date to text"),
    ],
)
async def test_every_value_is_there_in_the_new_type_and_back_in_the_old_one_for_who_still_reads_it(
    store: Store, before: Attribute, after: Attribute, values: list[Any], become: list[Any]
) -> None:
    old = (await apply(store, things(before)))["Thing"]
    await insert(old, *values)
    was = await shown(old)
    new = (await apply(store, things(after), 2))["Thing"]
    assert await shown(new) == become
    assert await shown(old) == was

    # Both write, and both read what the other wrote.
    await insert(old, *values, first=11)
    await insert(new, *become, first=21)
    assert await shown(new) == become * 3
    assert await shown(old) == was * 3
    for number, value in enumerate(reversed(become), start=1):
        await new.update(key(number), lambda _, value=value: {"size": value})
    for number, value in enumerate(reversed(values), start=11):
        await old.update(key(number), lambda _, value=value: {"size": value})
    assert await shown(new) == [*reversed(become), *reversed(become), *become]
    assert await shown(old) == [*reversed(was), *reversed(was), *was]
    assert {row.version for row in (await new.list(Select())).rows if row.values["id"] < key(20)} == {2}

    await store.loosen(await store.plan(things(after)))
    assert await shown(new) == [*reversed(become), *reversed(become), *become]
    assert await store.drift() == {}
    plan = await store.plan(things(after))
    assert (plan.steps, plan.loosen, plan.changes_schema) == ((), (), False)


@pytest.mark.parametrize(
    ("before", "after", "values", "rows"),
    [
        pytest.param(INTEGER, attribute("size", "decimal"), [10**12, -(10**12), 10**12 - 1], 2, id="too many digits"),
        pytest.param(INTEGER, attribute("size", "decimal", precision=3, scale=0), [999, 1000], 1, id="precision"),
        pytest.param(INTEGER, FLOAT, [2**53 + 1, 2**53], 1, id="no float"),
        pytest.param(FINER, MONEY, ["1.2345", "1.23"], 1, id="places"),
        pytest.param(MONEY, INTEGER, ["1.5", "1.00"], 1, id="no integer"),
        pytest.param(INTEGER, attribute("size", max_length=2), [100, 99], 1, id="a limit of the new type"),
        pytest.param(INTEGER, attribute("size", pattern="^[0-8]+$"), [9, 8], 1, id="a pattern of the new type"),
    ],
)
async def test_values_without_a_counterpart_are_in_the_way(
    store: Store, before: Attribute, after: Attribute, values: list[Any], rows: int
) -> None:
    old = (await apply(store, things(before)))["Thing"]
    await insert(old, *values)
    rejection, _ = await refuse(store, things(after))
    assert rejection.code in {"PIM601", "PIM605"}
    assert (rejection.rows, rejection.entity, rejection.attribute) == (rows, "Thing", "size")
    assert await shown(old) == await shown((await apply(store, things(before), 3))["Thing"])
    await insert(old, *values, first=11)


async def test_a_value_that_only_the_new_type_has_is_none_for_who_knows_the_old_one(store: Store) -> None:
    old = (await apply(store, things(INTEGER)))["Thing"]
    await insert(old, 1, 2)
    new = (await apply(store, things(MONEY), 2))["Thing"]
    await new.update(key(1), lambda _: {"size": "0.50"})
    assert await shown(old) == [None, 2]
    await old.update(key(1), lambda row: row.values)
    assert await shown(new) == ["0.50", "2.00"], "who read it and wrote it back has changed nothing"
    await old.update(key(1), lambda _: {"size": 3})
    assert await shown(new) == ["3.00", "2.00"]


async def test_a_value_that_the_new_type_cannot_hold_is_refused_like_one_that_breaks_a_check(store: Store) -> None:
    old = (await apply(store, things(FINER)))["Thing"]
    await insert(old, "1.25")
    new = (await apply(store, things(MONEY), 2))["Thing"]
    with pytest.raises(ConstraintError, match=r"size must be storable as decimal\(18,2\)") as raised:
        await insert(old, "1.2345", first=2)
    assert (raised.value.problem, raised.value.attributes) == ("check", ("size",))
    with pytest.raises(ConstraintError, match="storable"):
        await old.update(key(1), lambda _: {"size": "0.0001"})
    assert await shown(new) == ["1.25"]
    assert await shown(old) == ["1.2500"]


async def test_a_type_that_is_changed_twice_reaches_every_revision_in_use(store: Store) -> None:
    first = (await apply(store, things(INTEGER)))["Thing"]
    await insert(first, 1)
    second = (await apply(store, things(MONEY), 2))["Thing"]
    third = (await apply(store, things(FINER), 3))["Thing"]
    fourth = (await apply(store, things(INTEGER), 4))["Thing"]
    await insert(first, 2, first=2)
    await insert(second, "3", first=3)
    await insert(third, "4", first=4)
    await insert(fourth, 5, first=5)
    for rows, one in ((first, 10), (second, "20"), (third, "30"), (fourth, 40)):
        number = int(one) // 10
        await rows.update(key(number), lambda _, one=one: {"size": one})
    whole = [10, 20, 30, 40, 5]
    assert await shown(first) == await shown(fourth) == whole
    assert await shown(second) == [f"{one}.00" for one in whole]
    assert await shown(third) == [f"{one}.0000" for one in whole]
    await store.loosen(await store.plan(things(INTEGER)))
    assert await shown(fourth) == whole
    assert await store.drift() == {}


async def test_what_was_demanded_of_an_attribute_is_demanded_in_its_new_type(store: Store, query: Query) -> None:
    old = (await apply(store, things(attribute("size", "integer", unique=True, default=1))))["Thing"]
    await insert(old, 1, 2)
    new = (await apply(store, things(attribute("size", "decimal", scale=2, unique=True, default="1")), 2))["Thing"]
    with pytest.raises(ConstraintError, match="already exists"):
        await insert(new, "2.00", first=3)
    with pytest.raises(ConstraintError, match="already exists"):
        await insert(old, 2, first=3)
    await insert(new, "0.01", "0.02", first=3)
    await insert(new, None, first=5)
    await insert(old, None, first=6)
    assert await shown(new) == ["1.00", "2.00", "0.01", "0.02", None, None], "no default is taken for a value"
    assert await shown(old) == [1, 2, None, None, None, None]
    await store.loosen(await store.plan(things(attribute("size", "decimal", scale=2, unique=True, default="1"))))
    await insert(new, "0.03", first=7)
    assert query("SELECT count(*) FROM shop__thing")[0][0] == 7


async def test_the_old_column_does_not_come_back_and_can_be_pruned(tmp_path: Any) -> None:
    store = await Store.open(None, tmp_path, durability="normal", tenure="alone")
    old = (await apply(store, things(INTEGER)))["Thing"]
    await insert(old, 1)
    await apply(store, things(MONEY), 2)
    (rest,) = await store.parked()
    assert (rest.name, rest.gone, rest.rows) == ("shop.Thing.size", "type", 1)
    await store.prune([rest])
    assert await store.parked() == ()
    assert await store.drift() == {}
    plan = await store.plan(things(MONEY))
    assert (plan.loosen, plan.changes_schema) == ((), False)
    new = store.bind(plan).entities["Thing"]
    await insert(new, "2.50", first=2)
    assert await shown(new) == ["1.00", "2.50"]
    # Parked, and declared anew in its first type: what is there is what was stored last.
    await apply(store, things(), 3)
    again = (await apply(store, things(INTEGER), 4))["Thing"]
    assert await shown(again) == [None, None]
    await store.close()


async def test_a_type_of_which_data_is_parked_is_not_overwritten(store: Store) -> None:
    first = (await apply(store, things(MONEY)))["Thing"]
    await insert(first, "1.50")
    await apply(store, things(), 2)
    await apply(store, things(INTEGER), 3)
    rejection, _ = await refuse(store, things(MONEY))
    assert rejection.code == "PIM610"
    assert "parked with stored data of that type" in rejection.message


async def test_a_change_that_ended_before_its_column_was_filled_is_taken_up(store: Store) -> None:
    old = (await apply(store, things(INTEGER)))["Thing"]
    await insert(old, 1)
    plan = await store.plan(things(MONEY))
    # What a kill leaves behind on a server, where the column is added before it is filled.
    await store._database.change(lambda cursor: applying.add_columns(cursor, plan))
    store._memory.forget_all()
    await insert(old, 2, first=2)
    plan = await store.plan(things(MONEY))
    assert await store.expand(plan, record(things(MONEY), 2)) == ()
    new = store.bind(plan).entities["Thing"]
    assert await shown(new) == ["1.00", "2.00"]
    await insert(old, 3, first=3)
    assert await shown(new) == ["1.00", "2.00", "3.00"]


async def test_a_column_that_was_not_filled_does_not_come_back(store: Store) -> None:
    old = (await apply(store, things(INTEGER)))["Thing"]
    await insert(old, 1)
    plan = await store.plan(things(MONEY))
    await store._database.change(lambda cursor: applying.add_columns(cursor, plan))
    store._memory.forget_all()
    await apply(store, things(), 2)
    money = (await apply(store, things(MONEY), 3))["Thing"]
    assert await shown(money) == [None]


async def test_a_column_named_like_a_variable_of_the_triggers(store: Store) -> None:
    before, after = attribute("found", "integer"), attribute("found", "decimal", scale=1)
    old = (await apply(store, things(before)))["Thing"]
    new = (await apply(store, things(after), 2))["Thing"]
    await old.insert([{"id": key(1), "found": 1}])
    assert await shown(new, "found") == ["1.0"]
