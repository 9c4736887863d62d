"""Whether the database is as it should be, and telling when that changes: to each process that uses it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from watcherd import events
from watcherd.errors import StoreError
from watcherd.store.store import Store


class DatabaseHealth:
    """Why the database is not as it should be, by the last look; told when that changes, its return as well."""

    def __init__(self, store: Store, publish: events.Publish) -> None:
        self._store = store
        self._publish = publish
        self.reason: str | None = None

    async def look(self, beat: Callable[[], Awaitable[None]] | None = None) -> None:
        """Look once, and `beat` before that; a database that fails in either is not as it should be."""
        try:
            if beat is not None:
                await beat()
            reason = await self._store.health()
        except StoreError as error:
            reason = str(error)
        if reason == self.reason:
            return
        self._publish(events.DatabaseRecovered() if reason is None else events.DatabaseDegraded(reason))
        self.reason = reason
