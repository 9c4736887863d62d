"""Whatever is done to a model within the rules, no value that was accepted is ever lost."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.postgres import Postgres
from tests.unit.store.models import apply, attribute, entity, key, model
from watcherd.pim.spec import Attribute
from watcherd.store import Select, Store

History = list[dict[str, tuple[str, bool]]]

NAMES = ("a", "b", "c")
VALUES = {"string": "text", "integer": 7, "json": [1], "decimal": "1.5"}
COUNTERPARTS = {("integer", "decimal"): "7", ("integer", "string"): "7"}
"""What the values become when an attribute in service gets another type."""

kinds = st.sampled_from(sorted(VALUES))
shapes = st.dictionaries(st.sampled_from(NAMES), st.tuples(kinds, st.booleans()))


@given(history=st.lists(shapes, min_size=2, max_size=6))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_value_is_served_or_comes_back_with_its_attribute(history: History) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_live_through(history, f"sqlite:///{directory}/x.db"))


@given(history=st.lists(shapes, min_size=2, max_size=6))
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_the_same_on_postgresql(postgres: Postgres, history: History) -> None:
    asyncio.run(_live_through(history, postgres.url(postgres.new_schema())))


async def _live_through(history: History, database_url: str) -> None:
    """Apply each shape that is accepted, write a row with it and with the revision before; then bring all back."""
    store = await Store.open(database_url, Path(), durability="normal")
    written: dict[tuple[str, str, str], object] = {}
    before = None
    number = 0
    was: dict[str, str] = {}
    for revision, shape in enumerate(history, start=1):
        linked = model(entity("Thing", *(_attribute(name, *how) for name, how in shape.items())))
        if (await store.plan(linked)).rejections:
            continue
        rows = (await apply(store, linked, revision))["Thing"]
        types = {name: kind for name, (kind, _) in shape.items()}
        for serving, its_shape in filter(None, (before, (rows, shape))):
            number += 1
            values = {name: VALUES[kind] for name, (kind, _) in its_shape.items()}
            await serving.insert([{"id": key(number), **values}])
            written |= {(key(number), name, its_shape[name][0]): value for name, value in values.items()}
        for name, kind in types.items():
            old = was.get(name, kind)
            for row, its_name, its_kind in list(written) if old != kind else ():
                if (its_name, its_kind) == (name, old):
                    del written[row, name, old]
                    written[row, name, kind] = COUNTERPARTS[old, kind]
        before, was = (rows, shape), types
    number = 100
    for name in NAMES:
        for kind in VALUES:
            kept = {
                row: value
                for (row, its_name, its_kind), value in written.items()
                if (its_name, its_kind) == (name, kind)
            }
            if not kept:
                continue
            number += 2
            await apply(store, model(entity("Thing")), number)
            bare = model(entity("Thing", _attribute(name, kind, indexed=False)))
            rows = (await apply(store, bare, number + 1))["Thing"]
            found = {row.values["id"]: row.values[name] for row in (await rows.list(Select())).rows}
            assert {row: found[row] for row in kept} == kept
    await store.close()


def _attribute(name: str, kind: str, indexed: bool) -> Attribute:
    return attribute(name, kind, index=indexed)
