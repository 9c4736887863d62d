"""The first tables of many models, made together: as if one by one, and where one cannot be made, the others are."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.store.conftest import Objects, Query
from tests.unit.store.models import apply, attribute, entity, key, model, record, sentence
from watcherd.errors import StoreError, StoreUnavailableError
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Index, Rule
from watcherd.store import Rejection, SchemaPlan, StalePlanError, Store, catalog, founding
from watcherd.store import apply as applying


def shop(number: int, *others: LinkedModel) -> LinkedModel:
    """A model with all that a first table may come with; it refers to others."""
    references = [
        attribute(f"to_{one.spec.name}", "reference", to=f"{one.spec.name}.Item", required=True) for one in others
    ]
    item = entity(
        "Item",
        attribute("code", unique=True),
        attribute("rank", "integer"),
        *references,
        constraints=[sentence("rank must be positive", Rule.GREATER, "rank", bound=Decimal(0))],
        indexes=[Index(attributes=("rank", "code"), unique=False)],
    )
    part = entity("Part", attribute("of", "reference", to=f"shop_{number}.Item"), attribute("name"))
    return model(item, part, domain=f"shop-{number}", others=others)


async def plans(store: Store, *models: LinkedModel) -> list[SchemaPlan]:
    return [await store.plan(one) for one in models]


async def expand(store: Store, plans: list[SchemaPlan]) -> list[Any]:
    """What came of each, also what was raised."""
    expanding = (store.expand(plan, record(plan.linked)) for plan in plans)
    return await asyncio.gather(*expanding, return_exceptions=True)


class Writes:
    """How often models were written together, and how many each time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.alone = 0
        found, alone = founding.found, applying.expand

        def noted(cursor: Any, models: Any) -> None:
            self.sizes.append(len(models))
            found(cursor, models)

        def noted_alone(*arguments: Any) -> Any:
            self.alone += 1
            return alone(*arguments)

        monkeypatch.setattr(founding, "found", noted)
        monkeypatch.setattr(applying, "expand", noted_alone)


async def test_of_many_new_models_the_first_tables_are_made_in_few_writes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = Writes(monkeypatch)
    models = [shop(number) for number in range(2 * founding.MAX_TOGETHER + 10)]
    assert await expand(store, await plans(store, *models)) == [()] * len(models)
    assert (sum(writes.sizes), max(writes.sizes), writes.alone) == (len(models), founding.MAX_TOGETHER, 0)
    assert len(writes.sizes) <= 4
    for one in (models[0], models[-1]):
        plan = await store.plan(one)
        assert plan.changes_schema is False
        rows = store.bind(plan).entities["Item"]
        await rows.insert([{"id": key(1), "code": "a", "rank": 1}])
        with pytest.raises(StoreError):
            await rows.insert([{"id": key(2), "code": "b", "rank": 0}])
        with pytest.raises(StoreError):
            await rows.insert([{"id": key(3), "code": "a", "rank": 1}])


async def test_what_is_made_together_is_what_is_made_one_by_one(
    store: Store, objects: Objects, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogs = [
        f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1, 2, 3"
        for table, columns in {
            "watcherd_entity": catalog._ENTITY_COLUMNS,
            "watcherd_attribute": catalog._ATTRIBUTE_COLUMNS,
            "watcherd_constraint": catalog._CONSTRAINT_COLUMNS,
            "watcherd_model": ("model", "domain", "file", "revision", "next_revision", "fingerprint", "state"),
            "watcherd_revision": ("model", "revision", "fingerprint", "file", "code"),
        }.items()
    ]

    async def made(first: int) -> tuple[dict[str, str], list[Any]]:
        target = shop(first)
        await expand(store, await plans(store, target))
        models = [shop(number, target) for number in range(first + 1, first + 4)]
        assert await expand(store, await plans(store, *models)) == [()] * 3
        there = {name: text for name, text in objects().items() if "watcherd" not in name}
        return there, [query(sql) for sql in catalogs]

    writes = Writes(monkeypatch)
    together = await made(0)
    assert (sum(writes.sizes), writes.alone) == (4, 0)

    for table in (
        "watcherd_entity",
        "watcherd_attribute",
        "watcherd_constraint",
        "watcherd_model",
        "watcherd_revision",
    ):
        query(f"DELETE FROM {table}")
    for number in reversed(range(4)):
        for table in ("part", "item"):
            query(f"DROP TABLE shop_{number}__{table}")
    store._memory.forget_all()

    monkeypatch.setattr("watcherd.store.store.founds", lambda _: False)
    one_by_one = await made(0)
    assert (sum(writes.sizes), writes.alone) == (4, 4)
    assert together == one_by_one


async def test_a_model_that_cannot_be_made_stops_none_of_those_that_wait_with_it(store: Store, query: Query) -> None:
    query("CREATE TABLE shop_2__part (something TEXT)")
    models = [shop(number) for number in range(5)]
    results = await expand(store, await plans(store, *models))
    assert [result for number, result in enumerate(results) if number != 2] == [()] * 4
    ((rejection,),) = (result for result in results if result)
    assert isinstance(rejection, Rejection)
    assert rejection.code == "PIM600"
    assert (await store.catalog()).keys() == {"shop_0", "shop_1", "shop_3", "shop_4"}
    query("DROP TABLE shop_2__part")
    await apply(store, shop(2))


async def test_a_model_that_another_process_has_made_meanwhile_is_planned_again(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    models = [shop(number) for number in range(4)]
    made = await plans(store, *models)
    other = await Store.open(database_url, tmp_path)
    await apply(other, models[1])
    await apply(other, models[3], 2)
    results = await expand(store, made)
    await other.close()
    # Of one the other has applied the same revision, of the other one a later revision.
    assert [results[0], results[1], results[2]] == [(), (), ()]
    assert isinstance(results[3], StalePlanError)


async def test_a_table_that_is_elsewhere_than_the_plan_took_it_to_be_is_referred_to_where_it_is(
    store: Store, database_url: str, tmp_path: Path, query: Query
) -> None:
    target = model(entity("Z", attribute("name")), domain="x--y")
    referring = model(entity("Item", attribute("z", "reference", to="x__y.Z")), others=[target])
    (plan,) = await plans(store, referring)
    assert plan.base.around.targets == {}
    other = await Store.open(database_url, tmp_path)
    await apply(other, model(entity("Y__Z"), domain="x"))  # takes the name that the plan has guessed
    await apply(other, target)
    await other.close()
    assert await expand(store, [plan]) == [()]
    refers_to = "SELECT target_table FROM watcherd_attribute WHERE table_name = 'shop__item' AND column_name = 'z'"
    is_in = "SELECT table_name FROM watcherd_entity WHERE model = 'x__y'"
    assert query(refers_to) == query(is_in) != [("x__y__z",)]


async def test_who_no_longer_waits_for_a_model_holds_up_nobody(store: Store) -> None:
    models = [shop(number) for number in range(6)]
    made = await plans(store, *models)
    tasks = [asyncio.create_task(store.expand(plan, record(plan.linked))) for plan in made]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[3].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [result for number, result in enumerate(results) if number not in {0, 3}] == [()] * 4
    for one in models:
        await apply(store, one)
        assert (await store.plan(one)).changes_schema is False


async def test_a_database_that_is_closed_refuses_all_that_wait(store: Store) -> None:
    made = await plans(store, *(shop(number) for number in range(3)))
    await store.close()
    results = await expand(store, made)
    assert [type(result) for result in results] == [StoreUnavailableError] * 3
    assert len({id(result) for result in results}) == 3
