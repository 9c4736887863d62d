"""Foreign keys that come, go and change on columns that are there: the table is made again around its rows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.store.conftest import Objects, Query
from tests.unit.store.models import apply, attribute, entity, key, model, record, refuse, sentence
from watcherd.errors import ConstraintError
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import OnDelete, Rule
from watcherd.store import Row, Rows, Select, StepKind, Store, rewording

TEAM = entity("Team", attribute("name"))
PLAIN = model(TEAM, entity("User", attribute("name"), attribute("team", "uuid")))


def refers(on_delete: OnDelete = OnDelete.RESTRICT, to: str = "Team", **facts: Any) -> LinkedModel:
    team = attribute("team", "reference", to=to, on_delete=on_delete, **facts)
    return model(TEAM, entity("User", attribute("name"), team))


async def start(store: Store, linked: LinkedModel) -> dict[str, Rows]:
    """Two teams, and a user in the first."""
    tables = await apply(store, linked)
    await tables["Team"].insert([{"id": key(1)}, {"id": key(2)}])
    await tables["User"].insert([{"id": key(1), "name": "a", "team": key(1)}])
    return tables


async def loosened(store: Store, linked: LinkedModel, revision: int) -> dict[str, Rows]:
    """Apply, then do what follows the drain."""
    plan = await store.plan(linked)
    tables = await apply(store, linked, revision)
    await store.loosen(plan)
    return tables


async def test_a_column_becomes_a_reference_when_every_row_refers_to_something(store: Store) -> None:
    old = await start(store, PLAIN)
    await old["User"].insert([{"id": key(2), "name": "b", "team": key(9)}, {"id": key(3)}])
    rejection, _ = await refuse(store, refers())
    assert (rejection.code, rejection.entity, rejection.attribute) == ("PIM608", "User", "team")
    assert (rejection.rows, rejection.first_ids) == (1, (key(2),))
    assert "refer to no Team" in rejection.message

    await old["User"].update(key(2), lambda _: {"team": key(2)})
    plan = await store.plan(refers())
    assert StepKind.REFER in {step.kind for step in plan.steps}
    new = await apply(store, refers(), 2)
    for rows in (old["User"], new["User"]):
        with pytest.raises(ConstraintError):
            await rows.insert([{"id": key(4), "team": key(9)}])
    with pytest.raises(ConstraintError, match="User still refer"):
        await new["Team"].delete(key(1))
    assert [row.values["name"] for row in (await old["User"].list(Select())).rows] == ["a", "b", None]
    assert (await store.plan(refers())).changes_schema is False


async def test_a_reference_to_a_new_entity_has_all_rows_in_its_way(store: Store) -> None:
    old = await start(store, PLAIN)
    linked = model(TEAM, entity("Club"), entity("User", attribute("name"), attribute("team", "reference", to="Club")))
    assert (await refuse(store, linked))[0].code == "PIM608"
    await old["User"].update(key(1), lambda _: {"team": None})
    new = await apply(store, linked, 2)
    await new["Club"].insert([{"id": key(7)}])
    await new["User"].update(key(1), lambda _: {"team": key(7)})


async def test_what_deleting_does_can_change(store: Store) -> None:
    await start(store, refers())
    new = await apply(store, refers(OnDelete.SET_NULL), 2)
    assert await new["Team"].delete(key(1))
    assert await new["User"].get(key(1)) == Row(1, {"id": key(1), "name": "a", "team": None})


async def test_a_reference_can_change_to_another_entity_that_has_the_keys(store: Store) -> None:
    old = await start(store, refers())
    other = model(TEAM, entity("User", attribute("name"), attribute("team", "reference", to="User")))
    new = await apply(store, other, 2)  # user 1 refers to key 1, which is a user as well
    assert await new["Team"].delete(key(1))
    assert await old["User"].get(key(1)) is not None
    with pytest.raises(ConstraintError):
        await new["User"].update(key(1), lambda _: {"team": key(2)})


async def test_a_reference_that_becomes_a_plain_column_is_let_go_after_the_drain(store: Store) -> None:
    old = await start(store, refers())
    plan = await store.plan(PLAIN)
    assert [step.kind for step in plan.loosen][-1:] != []
    new = await apply(store, PLAIN, 2)
    with pytest.raises(ConstraintError):
        await old["User"].insert([{"id": key(2), "team": key(9)}])
    await store.loosen(plan)
    await new["User"].insert([{"id": key(2), "team": key(9)}])
    assert await new["Team"].delete(key(1))
    after = await store.plan(PLAIN)
    assert (after.loosen, after.changes_schema) == ((), False)


async def test_a_parked_reference_hinders_no_deletion_after_the_drain_and_comes_back_with_its_data(
    store: Store,
) -> None:
    await start(store, refers())
    without = model(TEAM, entity("User", attribute("name")))
    tables = await apply(store, without, 2)
    with pytest.raises(ConstraintError, match="out of service"):
        await tables["Team"].delete(key(1))
    await store.loosen(await store.plan(without))
    assert await tables["Team"].delete(key(1))
    rejection, _ = await refuse(store, refers())
    assert (rejection.code, rejection.first_ids) == ("PIM608", (key(1),))
    await tables["Team"].insert([{"id": key(1)}])
    back = await apply(store, refers(), 3)
    assert await back["User"].get(key(1)) == Row(1, {"id": key(1), "name": "a", "team": key(1)})
    with pytest.raises(ConstraintError, match="User still refer"):
        await back["Team"].delete(key(1))


async def test_a_reference_that_came_back_before_the_drain_ended_stays(store: Store) -> None:
    await start(store, refers())
    without = model(TEAM, entity("User", attribute("name")))
    plan = await store.plan(without)
    await apply(store, without, 2)
    tables = await apply(store, refers(), 3)
    await store.loosen(plan)
    with pytest.raises(ConstraintError, match="User still refer"):
        await tables["Team"].delete(key(1))


async def test_making_a_table_again_keeps_everything_else_in_it(store: Store, objects: Objects) -> None:
    rank = attribute("rank", "integer", default=3)
    rule = sentence("rank must be positive", Rule.GREATER, "rank", bound=Decimal(0))
    ident = attribute("id", "integer", primary_key=True, auto_increment=True)

    def linked(team: str, *more: Any) -> LinkedModel:
        to = {"to": "Team"} if team == "reference" else {}
        return model(
            TEAM,
            entity(
                "User",
                ident,
                attribute("mail", unique=True),
                attribute("team", team, **to),
                *more,
                key=None,
                constraints=[rule] if more else (),
            ),
        )

    first = (await apply(store, linked("uuid")))["User"]
    before = (await apply(store, linked("uuid", rank), 2))["User"]
    await before.insert([{"mail": "a"}, {"mail": "b", "rank": 5}, {"mail": "c", "rank": 1}])
    await before.delete(3)
    attached = {name: what for name, what in objects().items() if name != "shop__user"}

    new = (await apply(store, linked("reference", rank), 3))["User"]
    assert attached.items() <= objects().items()
    (row,) = await new.insert([{"mail": "d", "rank": 1}])
    assert row.values["id"] == 4, "the number of a deleted row is not given again"
    with pytest.raises(ConstraintError, match="already exists"):
        await before.insert([{"mail": "a"}])
    with pytest.raises(ConstraintError, match="rank must be positive"):
        await before.insert([{"mail": "e", "rank": 0}])
    await first.insert([{"mail": "f"}])  # it knows no rank: the default of the column is still there
    assert [row.values["rank"] for row in (await before.list(Select())).rows] == [None, 5, 1, 3]


async def test_dropping_the_parent_of_a_cascade_while_it_is_made_again_deletes_nothing(store: Store) -> None:
    pet = entity("Pet", attribute("owner", "reference", to="User", on_delete=OnDelete.CASCADE))
    tables = await apply(store, model(TEAM, entity("User", attribute("team", "uuid")), pet))
    await tables["User"].insert([{"id": key(1)}])
    await tables["Pet"].insert([{"id": key(1), "owner": key(1)}])
    linked = model(TEAM, entity("User", attribute("team", "reference", to="Team")), pet)
    new = await apply(store, linked, 2)
    assert await new["Pet"].get(key(1)) is not None
    await new["User"].delete(key(1))
    assert await new["Pet"].get(key(1)) is None


async def test_an_orphan_that_comes_after_the_plan_is_found_by_the_change(store: Store) -> None:
    old = await start(store, PLAIN)
    plan = await store.plan(refers())
    assert plan.rejections == ()
    await old["User"].insert([{"id": key(2), "team": key(9)}])
    (rejection,) = await store.expand(plan, record(refers(), 2))
    assert rejection.code == "PIM608"
    await old["User"].insert([{"id": key(3), "team": key(9)}])


async def test_writes_that_wait_together_with_a_rebuild_keep_their_foreign_keys(store: Store) -> None:
    import asyncio

    old = await start(store, PLAIN)
    plan = await store.plan(refers())
    rebuilt, good, bad = await asyncio.gather(
        store.expand(plan, record(refers(), 2)),
        old["User"].insert([{"id": key(2), "team": key(2)}]),
        old["User"].insert([{"id": key(3), "team": key(9)}]),
        return_exceptions=True,
    )
    assert isinstance(good, list)
    # Whoever comes first, the other is refused; on SQLite there is a queue, and the change is before.
    assert (rebuilt == ()) == isinstance(bad, ConstraintError)


CLUB = model(entity("Person"), entity("Badge", attribute("name")), domain="club")
"""A model of which `shop` knows the entities before they are stored, as of one that is saved together with it."""

AWAITED = attribute("badge", "reference", to="club.Badge")
WAITING = {
    "a new column": (entity("User", attribute("name")), entity("User", attribute("name"), AWAITED)),
    "a column that is there": (
        entity("User", attribute("name"), attribute("badge", "uuid")),
        entity("User", attribute("name"), AWAITED),
    ),
    "a new table": (entity("Team", attribute("name")), entity("User", attribute("name"), AWAITED)),
    "a table that is made again": (
        entity("User", attribute("name"), attribute("age", "integer")),
        entity("User", attribute("name"), attribute("age", "decimal"), AWAITED),
    ),
}


@pytest.mark.parametrize("edits", [True, False])
@pytest.mark.parametrize("case", WAITING)
async def test_a_table_takes_writes_while_the_one_that_it_is_going_to_refer_to_is_not_there(
    store: Store, monkeypatch: pytest.MonkeyPatch, case: str, edits: bool
) -> None:
    """Of two models that refer to each other the one is applied first, and the other may be refused in the end."""
    if not edits:
        monkeypatch.setattr(rewording, "is_allowed", lambda _: False)
    before, after = WAITING[case]
    old = await apply(store, model(before))
    waiting = model(after, others=[CLUB])
    new = (await apply(store, waiting, 2))["User"]
    for rows in {id(one): one for one in (old.get("User", new), new)}.values():
        (row,) = await rows.insert([{"id": key(id(rows) % 10**9), "name": "x"}])
        assert await rows.update(row.values["id"], lambda _: {"name": "y"})
        assert await rows.delete(row.values["id"])
    await new.insert([{"id": key(1), "name": "a"}])
    assert await store.drift() == {}

    badges = (await apply(store, CLUB))["Badge"]
    assert await store.drift() == {}
    with pytest.raises(ConstraintError, match="does not exist"):
        await new.update(key(1), lambda _: {"badge": key(9)})
    await badges.insert([{"id": key(9)}])
    assert await new.update(key(1), lambda _: {"badge": key(9)})
    with pytest.raises(ConstraintError, match="User still refer"):
        await badges.delete(key(9))
    assert (await store.plan(waiting)).changes_schema is False


async def test_a_row_that_refers_to_nothing_stops_the_table_that_it_should_refer_to(store: Store, query: Query) -> None:
    waiting = model(entity("User", AWAITED), others=[CLUB])
    await apply(store, waiting)
    query(f"INSERT INTO shop__user (id, badge) VALUES ('{key(1)}', '{key(9)}')")  # by somebody else
    plan = await store.plan(CLUB)
    (rejection,) = await store.expand(plan, record(CLUB))
    assert rejection.code == "PIM600"
    assert await store.drift() == {}
