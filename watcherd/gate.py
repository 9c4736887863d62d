"""What holds a reload back: a file that has to settle before anything comes of what was read of it.

Owns the wait; what is waited for is the watcher's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from watcherd.watch import OvertakenError


class Gate:
    """What comes after it changes something for good: an early change set passes once it has settled as it was seen.

    `announce` is called when it is certain that there is a reload.
    """

    def __init__(self, settled: Callable[[], Awaitable[bool]] | None, announce: Callable[[], None]) -> None:
        self._settled = settled
        self._announce = announce
        if settled is None:
            announce()
        self._asking = asyncio.Lock()  # of several models that are built side by side, one asks

    async def passed(self) -> None:
        """Wait until it has settled. Raises OvertakenError when something else has happened meanwhile."""
        async with self._asking:
            if self._settled is None:
                return
            if not await self._settled():
                raise OvertakenError("what was read has changed since")
            self._settled = None
            self._announce()
