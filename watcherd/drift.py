"""The drift alarm: what is known of tables that somebody else changed, and who is told.

Owns when one looks, and what was found last. How tables are compared is the store's; nothing is
refused or changed because of what is found: models are served as long as their statements work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from watcherd import events
from watcherd.pim.spec import fold
from watcherd.store import Difference, Store
from watcherd.watch import ChangeSet

OCCASIONS: Final = frozenset({"start", "request", "signal"})
"""Reasons of full reloads that are worth a look: not those by which the daemon only reassures itself."""

TOLD_DIFFERENCES: Final = 10
"""How many differences of a model are told in its event; the admin API shows all."""

TOLD_MODELS: Final = 5
"""How many models are named in the reason of a degraded readiness."""


class DriftAlarm:
    """What the last look found: the differences of each model that has some, by domain."""

    def __init__(self, store: Store, publish: events.Publish) -> None:
        self._store = store
        self._publish = publish
        self._found: Mapping[str, tuple[Difference, ...]] = MappingProxyType({})
        self._lock = asyncio.Lock()

    async def heed(self, change: ChangeSet) -> None:
        """Compare all tables after a reload that is an occasion, and tell what is new since the last time."""
        if not (change.full and change.reason in OCCASIONS):
            return
        async with self._lock:  # or an older look could end last
            before = self._found
            try:
                after = await self._store.drift()
            except Exception as error:  # noqa: BLE001 - an alarm must not stop what it watches over
                self._publish(events.DriftUnknown(str(error) or type(error).__name__))
                return
            self._found = MappingProxyType(dict(after))
        for domain, differences in after.items():
            if differences != before.get(domain):
                self._publish(_drifted(domain, differences))
        for domain in before.keys() - after.keys():
            self._publish(events.SchemaRestored(domain))

    def of(self, model: str) -> tuple[Difference, ...]:
        """The differences of a model, by its (folded) name."""
        return next((found for domain, found in self._found.items() if fold(domain) == model), ())

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the daemon is degraded by drift; nothing when it is not."""
        if not self._found:
            return ()
        named = list(self._found)[:TOLD_MODELS]
        others = len(self._found) - len(named)
        more = f" and {others} more" if others else ""
        whose = f"somebody else has changed the tables of {', '.join(named)}{more}"
        return (f"{whose}: see schema.drifted in the log, or GET /admin/pim/{named[0]}",)


def _drifted(domain: str, differences: tuple[Difference, ...]) -> events.SchemaDrifted:
    told = tuple(str(one) for one in differences[:TOLD_DIFFERENCES])
    return events.SchemaDrifted(domain, told, len(differences) - len(told) or None)
