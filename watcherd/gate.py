"""What holds a reload back for others' sake: a file that has to settle, requests that want their turn.

Owns the two waits; what is waited for is the watcher's and the event loop's business.
"""

from __future__ import annotations

import asyncio
import time
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


AT_ONCE_SECONDS = 0.002
"""A reload that has had the event loop for so long lets requests be answered before its next step."""


class Turns:
    """Models are planned and compiled side by side, many of them: requests are answered in between."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._since = 0.0

    def begin(self) -> None:
        """Note that a reload begins: requests have just been answered."""
        self._since = time.monotonic()

    async def take(self) -> None:
        """Let requests be answered, if it is a while since they were; then only one of those who wait goes on.

        A small model is built in one go: each round in between is another answer that a save waits for.
        """
        async with self._turn:
            if time.monotonic() - self._since >= AT_ONCE_SECONDS:
                await asyncio.sleep(0)
                self.begin()
