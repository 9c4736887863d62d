"""The heartbeat: says in the database which revisions this process holds, and hears of other processes.

Owns the loop. What is held is asked of the gateway and the drains, what it means for others is the
store's (`holders`). Where others have applied what this process serves, under a number of their own
and perhaps with other columns, the reloader is told, so that all serve the same. Whether the database
is well is told with each beat: nobody else would look at a file that was deleted, as long as it is open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from watcherd import events
from watcherd.drain import Drains
from watcherd.gateway import Gateway
from watcherd.reload import Reloader
from watcherd.store import BEAT_SECONDS, DatabaseHealth, Store


class Heartbeat:
    """Speaks for one process, from its start to its end.

    `scanned` is set once it can say what it holds, `behind` asks for a reload, `publish` is told how the
    database is.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - whom it asks and whom it tells
        self,
        store: Store,
        gateway: Gateway,
        drains: Drains,
        reloader: Reloader,
        scanned: asyncio.Event,
        behind: Callable[[], None],
        publish: events.Publish,
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._drains = drains
        self._reloader = reloader
        self._scanned = scanned
        self._behind = behind
        self._health = DatabaseHealth(store, publish)
        self._log = structlog.stdlib.get_logger("watcherd.heartbeat")

    async def run(self) -> None:
        """Speak now and then, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(BEAT_SECONDS)

    async def look(self) -> None:
        """Speak once; tell of a database that does not listen, or is not what it was: once why, and of its return."""
        await self._health.look(self.beat)

    async def beat(self) -> None:
        """Speak once, and have caught up with what others did."""
        heard = await self._store.speak(self._held() if self._scanned.is_set() else None)
        if heard.lapsed:
            # Others took this process for dead: what it holds may lack what it needs.
            self._log.warning("heartbeat.lapsed", hint="the database did not hear of this process for too long")
        if self._reloader.heed_others(heard):
            self._behind()

    def _held(self) -> dict[str, int]:
        """The oldest revision of each model that is in service or drains."""
        held: dict[str, int] = {}
        for revision in (*self._gateway.table.revisions.values(), *self._drains.revisions()):
            held[revision.model] = min(revision.number, held.get(revision.model, revision.number))
        return held
