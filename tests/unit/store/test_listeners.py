"""Who listens hears of every row that is committed, in order, and of nothing else; on both databases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.store.models import apply, attribute, entity, key, model
from watcherd.errors import ConstraintError
from watcherd.store import Row, RowChange, Rows, Store
from watcherd.store.rows import MAX_TOLD


class Listening:
    def __init__(self) -> None:
        self.heard_of: list[tuple[str, Any]] = []

    def heard(self, kind: RowChange, values: Mapping[str, Any]) -> None:
        self.heard_of.append((kind, values.get("name", values["id"])))

    def lost(self) -> None:
        self.heard_of.append(("lost", None))


async def listened(store: Store) -> tuple[Rows, Listening]:
    thing = entity("Thing", attribute("name", "string", unique=True))
    rows = (await apply(store, model(thing)))["Thing"]
    listening = Listening()
    rows.listen(listening)
    return rows, listening


async def test_each_kind_of_write_is_heard_of_before_its_caller_goes_on(store: Store) -> None:
    rows, listening = await listened(store)
    await rows.insert([{"id": key(1), "name": "a"}, {"id": key(2), "name": "b"}])
    assert listening.heard_of == [("created", "a"), ("created", "b")]
    await rows.update(key(1), lambda _: {"name": "c"})
    assert listening.heard_of[2:] == [("updated", "c")]
    await rows.delete(key(1))
    assert listening.heard_of[3:] == [("deleted", key(1))]


async def test_what_is_not_committed_is_not_heard_of(store: Store) -> None:
    rows, listening = await listened(store)
    await rows.insert([{"id": key(1), "name": "a"}])
    with pytest.raises(ConstraintError):
        await rows.insert([{"id": key(2), "name": "b"}, {"id": key(3), "name": "a"}])

    def refuse(_: Row) -> Mapping[str, Any]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await rows.update(key(1), refuse)
    assert not await rows.delete(key(9))

    assert listening.heard_of == [("created", "a")]


async def test_of_very_many_rows_the_first_are_heard_of_and_that_there_were_more(store: Store) -> None:
    rows, listening = await listened(store)
    await rows.insert([{"id": key(number), "name": str(number)} for number in range(MAX_TOLD + 50)])

    assert [kind for kind, _ in listening.heard_of] == ["created"] * MAX_TOLD + ["lost"]
