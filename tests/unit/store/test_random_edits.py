"""Through thirty edits of any kind, with old and new revisions writing: what was accepted is served or comes back."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.postgres import Postgres
from tests.unit.store.edits import (
    CLUB,
    EDITS,
    Column,
    Edit,
    Key,
    Shape,
    Table,
    World,
    converted,
    key_for,
    pick,
    plain,
    value_for,
)
from tests.unit.store.models import apply, record
from watcherd.errors import ConstraintError
from watcherd.store import Rows, SchemaPlan, Select, Store

EDITS_OF_A_LIFE = 30
OFTEN = ("add", "add", "bring back", "change the type", "change the type", "change the type", "change the type")
"""Edits that much depends on, or that seldom have a sense."""

HELD = 3
"""Older revisions that are still in flight at most."""


@dataclass(frozen=True, slots=True)
class Write:
    """A row that a revision in flight inserts, changes or deletes; numbers of what there is to choose from."""

    what: str
    revision: int
    entity: int
    seed: int


@dataclass(frozen=True, slots=True)
class Step:
    """An edit, what is written while it is applied and after it, and whether older revisions end then."""

    edit: Edit
    between: tuple[Write, ...]
    after: tuple[Write, ...]
    drained: bool


@dataclass(frozen=True, slots=True)
class Serving:
    """One entity as a revision knows it."""

    rows: Rows
    table: Table
    columns: Mapping[str, tuple[Column, Shape]]


Revision = Mapping[str, Serving]

numbers = st.integers(0, 60)
writes = st.builds(
    Write, st.sampled_from(["insert", "insert", "insert", "update", "delete"]), numbers, numbers, numbers
)
edits = st.builds(Edit, st.sampled_from([*EDITS, *OFTEN]), numbers, numbers, numbers)
steps = st.builds(
    Step,
    edits,
    st.lists(writes, max_size=1).map(tuple),
    st.lists(writes, max_size=3).map(tuple),
    st.sampled_from([False, False, True]),
)
lives = st.lists(steps, min_size=EDITS_OF_A_LIFE, max_size=EDITS_OF_A_LIFE)
_quietly = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


@given(steps=lives)
@settings(_quietly, max_examples=5)
def test_after_thirty_edits_every_value_is_served_or_comes_back(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_live_through(steps, f"sqlite:///{directory}/x.db"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@given(steps=lives)
@settings(_quietly, max_examples=150, derandomize=False)
def test_after_thirty_edits_of_many_models_every_value_is_served_or_comes_back(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_live_through(steps, f"sqlite:///{directory}/x.db"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@given(steps=lives)
@settings(_quietly, max_examples=50, derandomize=False)
def test_the_same_on_postgresql(postgres: Postgres, steps: list[Step]) -> None:
    asyncio.run(_live_through(steps, postgres.url(postgres.new_schema())))


async def _live_through(steps: list[Step], database_url: str) -> None:
    store = await Store.open(database_url, Path(), durability="normal")
    try:
        world = await _edit(store, steps)
        assert await store.drift() == {}, "the tables are what the catalog says, whatever was done"
        await _bring_everything_back(store, world)
        assert await store.drift() == {}
    finally:
        await store.close()


async def _edit(store: Store, steps: list[Step]) -> World:
    """Make the edits; those that the rows or the rules forbid are refused, and change nothing."""
    world = World()
    club = await _club(store, world, 1)
    plan = await store.plan(world.linked())
    await store.expand(plan, record(world.linked()))
    held = [club | _revision(store, plan, world)]
    rows = 0
    for entity in range(2 * len(held[0])):
        rows += 1
        await _write(held, Write("insert", 0, entity, rows), rows)
    for number, step in enumerate(steps, start=2):
        after = world.edited(step.edit)
        if after is not None:
            if after.club.keys() != world.club.keys():
                club = await _club(store, after, number)
            planned = await store.plan(after.linked())
            for write in step.between:
                rows += 1
                await _write(held, write, rows)
            refused = planned.rejections or await store.expand(planned, record(after.linked(), number))
            assert "PIM600" not in {one.code for one in refused}, refused
            if not refused:
                world, plan = after, planned
                world.settle()
                held = [*held[-HELD:], club | _revision(store, plan, world)]
                names = [(entity, name, column.family) for entity, name, column in world.columns()]
                assert len(names) == len(set(names)), "of two with one name and type only one could come back"
        for write in step.after:
            rows += 1
            await _write(held, write, rows)
        if step.drained:
            await store.loosen(plan)
            held = held[-1:]
        for revision in held:
            await _check(revision)
    return world


async def _club(store: Store, world: World, number: int) -> Revision:
    """Apply the other model, which nothing stands in the way of."""
    tables = await apply(store, world.linked_club(), number)
    return {f"{CLUB}.{name}": Serving(tables[name], table, {}) for name, table in world.club.items()}


def _revision(store: Store, plan: SchemaPlan, world: World) -> Revision:
    bound = store.bind(plan).entities
    return {name: Serving(bound[name], table, dict(table.live)) for name, table in world.live.items()}


async def _write(held: list[Revision], write: Write, number: int) -> None:
    """Write with one of the revisions in flight, and keep in the book what was accepted."""
    revision = pick(reversed(held), write.revision)
    serving = pick(revision.values(), write.entity)
    values = {
        name: value_for(shape, revision[shape.to].table.rows if shape.to else (), write.seed + place)
        for place, (name, (_, shape)) in enumerate(serving.columns.items())
    }
    new_key = key_for(serving.table.key, number)
    try:
        if write.what == "insert":
            await serving.rows.insert([{"id": new_key, **values}])
            serving.table.rows.add(new_key)
            _keep(serving, new_key, values)
        elif not serving.table.rows:
            return
        elif write.what == "update" and values:
            changed = dict([pick(values.items(), write.seed)])
            row = pick(sorted(serving.table.rows), write.seed)
            assert await serving.rows.update(row, lambda _: changed) is not None
            _keep(serving, row, changed)
        elif write.what == "delete":
            row = pick(sorted(serving.table.rows), write.seed)
            assert await serving.rows.delete(row)
            serving.table.rows.discard(row)
            for column in serving.table.book:
                column.values.pop(row, None)
    except ConstraintError:
        return


def _keep(serving: Serving, row: Key, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        column, shape = serving.columns[name]
        if value is not None:
            column.values[row] = converted(value, shape.family, column.family)
        elif converted(column.values.get(row), column.family, shape.family) is not None:
            column.values.pop(row)
        # Else it was no value for the revision that has taken it away: there was nothing to change.


async def _check(revision: Revision) -> None:
    """What a revision in flight serves is all that was accepted, under its own names."""
    for serving in revision.values():
        found = {row.values["id"]: row.values for row in (await serving.rows.list(Select())).rows}
        assert found.keys() == serving.table.rows
        for name, (column, shape) in serving.columns.items():
            assert {row: found[row][name] for row in column.values} == column.seen_as(shape.family)


async def _bring_everything_back(store: Store, world: World) -> None:
    """In rounds: of several columns that had one name, each is served once."""
    left = list(world.columns())
    number = 1000
    while left:
        chosen = {(entity, name): column for entity, name, column in left}
        number += 2
        await apply(store, plain(world, ()), number)
        everything = [(entity, name, column.family) for (entity, name), column in chosen.items()]
        tables = await apply(store, plain(world, everything), number + 1)
        for (entity, name), column in chosen.items():
            found = {row.values["id"]: row.values[name] for row in (await tables[entity].list(Select())).rows}
            assert {row: found[row] for row in column.values} == column.values
        left = [one for one in left if one[2] not in chosen.values()]
