"""Whatever statement of a change fails, all of it is undone; done again, it is whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import pytest

from tests.postgres import Postgres
from tests.unit.store.conftest import Objects, Query
from tests.unit.store.models import apply, attribute, entity, key, model, record, sentence
from watcherd.errors import ConstraintError
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Rule
from watcherd.store import Select, Store
from watcherd.store import apply as applying

OLD_TEAM = entity("Team", attribute("name"))
BEFORE = model(
    OLD_TEAM,
    entity("User", attribute("mail"), attribute("team", "uuid"), attribute("gone"), attribute("size", "integer")),
)
AFTER = model(
    OLD_TEAM,
    entity(
        "Person",
        attribute("email", unique=True, renamed_from="mail"),
        attribute("team", "reference", to="club.Team"),
        attribute("rank", "integer", default=3),
        attribute("size", "decimal", scale=2, index=True),
        renamed_from="User",
        constraints=[sentence("rank must be positive", Rule.GREATER, "rank", bound=Decimal(0))],
    ),
    entity("Loan", attribute("who", "reference", to="club.Person")),
    domain="club",
    renamed_from="shop",
)
STRICT = model(
    OLD_TEAM,
    entity(
        "User",
        attribute("mail"),
        attribute("team", "reference", to="Team", unique=True),
        constraints=[sentence("mail cannot be empty", Rule.NOT_EMPTY, "mail")],
    ),
)
LOOSE = model(OLD_TEAM, entity("User", attribute("mail")))
STATE = ("SELECT * FROM watcherd_attribute", "SELECT * FROM watcherd_model", "SELECT * FROM watcherd_constraint")
GROWN = model(
    OLD_TEAM,
    entity(
        "User",
        attribute("mail"),
        attribute("team", "uuid"),
        attribute("gone"),
        attribute("size", "integer"),
        attribute("rank", "integer", default=3),
        constraints=[sentence("rank must be positive", Rule.GREATER, "rank", bound=Decimal(0))],
    ),
)
TARGETS = {"expand": AFTER, "grow": GROWN, "loosen": LOOSE}
FEWEST = {"expand": 40, "grow": 12, "loosen": 8}
"""Statements of each change, on the database that needs fewest: fewer were not all tried."""


class KilledError(Exception):
    """What nobody expects."""


class Faulty:
    """A cursor that fails at its n-th statement."""

    def __init__(self, cursor: Any, count: int, fail: Any) -> None:
        self._cursor, self._left, self._fail = cursor, count, fail

    def execute(self, sql: str, *parameters: Any) -> Self:
        self._left -= 1
        if self._left == 0:
            self._fail()
        self._cursor.execute(sql, *parameters)
        return self

    def executemany(self, sql: str, rows: Iterable[Any]) -> None:
        for row in rows:  # also between one row and the next
            self.execute(sql, row)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __iter__(self) -> Any:
        return iter(self._cursor)


def fail_at(count: int, fail: Any, patched: pytest.MonkeyPatch, what: str) -> None:
    what = "loosen" if what == "loosen" else "expand"
    original = getattr(applying, what)
    patched.setattr(applying, what, lambda cursor, *rest: original(Faulty(cursor, count, fail), *rest))


def raise_killed() -> None:
    raise KilledError


async def begin(store: Store) -> None:
    tables = await apply(store, BEFORE)
    await tables["Team"].insert([{"id": key(1)}])
    await tables["User"].insert([{"id": key(1), "mail": "a", "team": key(1), "gone": "x", "size": 7}])


async def is_whole(store: Store, linked: LinkedModel = AFTER) -> None:
    """The change is done now, whatever it was before, and serves what was stored."""
    plan = await store.plan(linked)
    assert plan.rejections == ()
    assert await store.expand(plan, record(linked, 2)) == ()
    (row,) = (await store.bind(plan).entities["Person"].list(Select())).rows
    expected = {"email": "a", "team": key(1), "rank": 3, "size": "7.00"}
    assert {name: row.values[name] for name in expected} == expected
    await store.loosen(await store.plan(linked))
    assert (await store.plan(linked)).changes_schema is False


async def is_grown(store: Store) -> None:
    """The change is done now, whatever it was before, and serves what was stored."""
    plan = await store.plan(GROWN)
    assert plan.rejections == ()
    assert await store.expand(plan, record(GROWN, 2)) == ()
    users = store.bind(plan).entities["User"]
    (row,) = (await users.list(Select())).rows
    assert row.values == {"id": key(1), "mail": "a", "team": key(1), "gone": "x", "size": 7, "rank": 3}
    with pytest.raises(ConstraintError, match="rank must be positive"):
        await users.insert([{"id": key(2), "rank": 0}])
    assert (await store.plan(GROWN)).changes_schema is False
    assert await store.drift() == {}


async def tighten_and_take_back(store: Store) -> None:
    """Leave a foreign key, a check and a unique index that nothing wants any more: they go when it loosens."""
    await apply(store, STRICT, 2)
    await apply(store, LOOSE, 3)


async def is_loose(store: Store) -> None:
    """Whether or not it was loosened before: once more, and nothing is left, and what was stored is served."""
    plan = await store.plan(LOOSE)
    assert (plan.rejections, plan.changes_schema) == ((), False)
    (row,) = (await store.bind(plan).entities["User"].list(Select())).rows
    assert row.values == {"id": key(1), "mail": "a"}
    await store.loosen(plan)
    assert (await store.plan(LOOSE)).loosen == ()
    back = (await apply(store, model(OLD_TEAM, entity("User", attribute("mail"), attribute("team", "uuid"))), 4))[
        "User"
    ]
    await back.insert([{"id": key(2), "team": key(1)}, {"id": key(3), "team": key(9)}])
    assert [row.values["team"] for row in (await back.list(Select())).rows] == [key(1), key(1), key(9)]


DONE = {"expand": is_whole, "grow": is_grown, "loosen": is_loose}


@pytest.mark.parametrize("what", list(TARGETS))
async def test_a_fault_at_any_statement_undoes_the_change(
    store: Store, query: Query, objects: Objects, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    await begin(store)
    linked = TARGETS[what]
    if what == "loosen":
        await tighten_and_take_back(store)
    before = [objects(), *(query(sql) for sql in STATE)]
    faults = 0
    while True:
        faults += 1
        plan = await store.plan(linked)
        with monkeypatch.context() as patched, contextlib.suppress(KilledError):
            fail_at(faults, raise_killed, patched, what)
            if what == "loosen":
                await store.loosen(plan)
            else:
                await store.expand(plan, record(linked, 2))
            break
        assert [objects(), *(query(sql) for sql in STATE)] == before, f"statement {faults} left something behind"
    assert faults - 1 >= FEWEST[what]
    await DONE[what](store)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("what", list(TARGETS))
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_kill_at_any_statement_leaves_what_the_next_start_finishes(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, what: str
) -> None:
    statement = 0
    while True:
        statement += 1
        if kind == "sqlite":
            url = f"sqlite:///{tmp_path}/{statement}.db"
        else:
            server: Postgres = request.getfixturevalue("postgres")
            url = server.url(server.new_schema())
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                f"from tests.unit.store.test_faults import die; die({url!r}, {what!r}, {statement})",
            ],
            check=False,
            timeout=60,
            cwd=Path(__file__).parents[3],
        )
        asyncio.run(_reopened(url, what))
        if done.returncode == 0:
            break
        assert done.returncode == -9
    assert statement - 1 >= FEWEST[what]


def die(url: str, what: str, statement: int) -> None:
    """In a process of its own: make the change, and be killed at one of its statements."""

    async def live() -> None:
        store = await Store.open(url, Path(), durability="normal")
        await begin(store)
        if what == "loosen":
            await tighten_and_take_back(store)
        linked = TARGETS[what]
        plan = await store.plan(linked)
        with pytest.MonkeyPatch.context() as patched:
            fail_at(statement, lambda: os.kill(os.getpid(), 9), patched, what)
            if what == "loosen":
                await store.loosen(plan)
            else:
                await store.expand(plan, record(linked, 2))
        await store.close()

    asyncio.run(live())


async def _reopened(url: str, what: str) -> None:
    store = await Store.open(url, Path(), durability="normal")
    await DONE[what](store)
    await store.close()
