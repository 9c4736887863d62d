"""The tables of models that had none: of many models in one write, as a start with a new database has them.

Owns what such a write does, and who is written together. It is what `apply.expand` does for each of
them, in far fewer statements: none of these models has rows to look at, or anything in the catalog
to compare with. A write that does not go through as a whole is left to `apply.expand`, model by
model, which knows why.

Few statements matter twice: each is a round trip to a server; and of SQLite, whose thread has to
wait for the interpreter after each, while the event loop compiles the next models with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from watcherd.errors import StoreUnavailableError
from watcherd.store import apply, catalog, foreign_keys, records
from watcherd.store.cursor import Cursor
from watcherd.store.database import Database
from watcherd.store.layout import Layout
from watcherd.store.plan import SchemaPlan, StalePlanError, StepKind
from watcherd.store.records import Record

MAX_TOGETHER: Final = 64
"""Models in one write: others that want to write wait for it."""

_STEPS: Final = frozenset({StepKind.CREATE_TABLE, StepKind.CREATE_INDEX, StepKind.CREATE_UNIQUE, StepKind.CREATE_CHECK})
"""A check of a new table comes with it."""


def founds(plan: SchemaPlan) -> bool:
    """Whether a plan makes the first tables of its model, and nothing else."""
    return (
        plan.changes_schema
        and plan.base.layout == Layout(plan.after.model)
        and {step.kind for step in plan.steps} <= _STEPS
        and not (plan.scans or plan.rejections)
    )


def found(cursor: Cursor, models: Sequence[tuple[SchemaPlan, Record]]) -> None:
    """Make the tables of models and write the catalog. StalePlanError where something of it is there by now."""
    plans = [plan for plan, _ in models]
    tables = [entity.table for plan in plans for entity in plan.after.entities]
    known = records.any_known(cursor, [plan.after.model for plan in plans]) or catalog.any_table(cursor, tables)
    if known or not all(apply.refers_as_planned(cursor, plan) for plan in plans):
        raise StalePlanError("others have changed what the plans of new models were made from")
    for plan in plans:
        apply.do(cursor, plan.steps)
    catalog.write_first(cursor, [plan.after for plan in plans])
    foreign_keys.complete(cursor, tables)
    records.record_first(cursor, [record for _, record in models])
    foreign_keys.add_awaited(cursor, tables)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A model that waits for its tables, and where it hears of them."""

    plan: SchemaPlan
    record: Record
    done: asyncio.Future[Layout]


class Founding:
    """Gathers the models whose first tables are asked for while others are made; used on the event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Waiting] = []
        self._running: asyncio.Task[None] | None = None

    async def expand(self, plan: SchemaPlan, record: Record) -> Layout:
        """Do what `apply.expand` does for a plan that `founds`; answers and raises the same."""
        one = _Waiting(plan, record, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="founding")
        return await one.done

    async def _run(self) -> None:
        group: list[_Waiting] = []
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:MAX_TOGETHER], self._waiting[MAX_TOGETHER:]
                group = [one for one in group if not one.done.done()]
                await self._expand(group)
        finally:
            # Only where this was cancelled is there anybody left.
            _refuse([*group, *self._waiting], "the database is being closed")
            self._running = None

    async def _expand(self, group: Sequence[_Waiting]) -> None:
        try:
            await self._database.change(partial(found, models=[(one.plan, one.record) for one in group]))
        except StoreUnavailableError as error:
            _refuse(group, str(error))
        except Exception:  # noqa: BLE001 - whatever it was: of whom, and why, is found out one by one
            for one in group:
                await self._expand_alone(one)
        else:
            for one in group:
                if not one.done.done():
                    one.done.set_result(one.plan.after)

    async def _expand_alone(self, one: _Waiting) -> None:
        try:
            layout = await self._database.change(lambda cursor: apply.expand(cursor, one.plan, one.record))
        except Exception as error:  # noqa: BLE001 - handed to the caller, whatever it is
            if not one.done.done():
                one.done.set_exception(error)
        else:
            if not one.done.done():
                one.done.set_result(layout)


def _refuse(group: Iterable[_Waiting], why: str) -> None:
    """An error for each: they are raised in different tasks, and collect different tracebacks."""
    for one in group:
        if not one.done.done():
            one.done.set_exception(StoreUnavailableError(why))
