"""The layouts of all models as they were last read or applied, so that a plan needs no query.

Owns a copy of what `catalog` keeps, and which entities were found to be as their tables are. It may
be behind: then `apply.expand`, which looks again inside its transaction, says that the plan is
stale, and the model is forgotten and read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

from watcherd.pim.linked import LinkedModel, Target
from watcherd.store import catalog
from watcherd.store.database import Database
from watcherd.store.differ import Settled
from watcherd.store.layout import Layout, Seen, Surroundings
from watcherd.store.names import Names


class Memory:
    """Layouts by folded model name."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._layouts: dict[str, Layout] | None = None
        self._forgotten: set[str] = set()
        self._reading = asyncio.Lock()
        self._settled: dict[str, Settled] = {}
        self._seen: dict[str, Seen] = {}
        self._tables = Names()

    def settled(self, model: str) -> Settled:
        """What the plans of a model have found to be as it is stored; a plan adds to it."""
        return self._settled.setdefault(model, Settled())

    async def recall(self) -> Mapping[str, Layout]:
        """All layouts; reads what is not known."""
        if self._layouts is not None and not self._forgotten:
            return self._layouts
        async with self._reading:  # at a start a thousand plans ask at once, for one and the same
            return await self._read()

    async def _read(self) -> Mapping[str, Layout]:
        layouts = self._layouts
        if layouts is None:
            layouts = self._layouts = await self._database.read(catalog.layouts)
            self._tables = Names(entity.table for layout in layouts.values() for entity in layout.entities)
            self._forgotten.clear()
        while self._forgotten:
            model = self._forgotten.pop()
            try:
                layout = await self._database.read(partial(catalog.known, model=model))
            except BaseException:
                self._forgotten.add(model)  # nobody knows it yet
                raise
            layouts.pop(model, None)
            if layout is not None:
                self._put(layouts, layout)
        return layouts

    def take_seen(self, model: str) -> Seen | None:
        """When the catalog was last seen to say what is remembered; of several who would write it, one is told."""
        return self._seen.pop(model, None)

    def forget_all(self) -> None:
        """The tables of any model may have changed."""
        self._layouts = None
        self._seen.clear()

    def keep(self, applied: Seen) -> None:
        """Remember what was applied."""
        layout = applied.layout
        if self._layouts is not None:
            self._put(self._layouts, layout)
            self._forgotten.discard(layout.model)
            self._seen[layout.model] = applied

    def forget(self, model: str) -> None:
        """Something else than a plan has changed the tables of a model, or is about to."""
        self._forgotten.add(model)
        self._seen.pop(model, None)

    def around(self, layouts: Mapping[str, Layout], linked: LinkedModel) -> Surroundings:
        """What a plan for a model has to know of the others, given what `recall` answers."""
        model = linked.spec.name
        foreign = [target for target in linked.targets.values() if target.ref.model != model]
        targets = {target.ref: place for target in foreign if (place := _place(layouts, target))}
        return Surroundings(dialect=self._database.dialect, tables=self._tables, targets=targets)

    def _put(self, layouts: dict[str, Layout], layout: Layout) -> None:
        """Tables are only ever dropped by `prune`, after which everything is forgotten."""
        layouts[layout.model] = layout
        for entity in layout.entities:
            self._tables.add(entity.table)


def _place(layouts: Mapping[str, Layout], target: Target) -> tuple[str, str] | None:
    """Table and key column of an entity of another model: the live one, else the first parked one.

    One that is renamed in the same change set is found under its old name.
    """
    named = [
        entity
        for ref in (target.ref, *target.formerly)
        if ref.model in layouts
        for entity in layouts[ref.model].entities
        if entity.name == ref.entity
    ]
    found = min(named, key=lambda entity: entity.parked, default=None)
    return None if found is None else (found.table, found.key.column)
