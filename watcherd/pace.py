"""How work on the event loop is parted: requests come in between.

Owns the ways to wait for them: by the clock, for many small things that one task does; by turns, for what
several tasks do side by side; by a thread, for what cannot be parted; and for how long that keeps the loop
out. Does not own what is parted, nor how small its parts are.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Final, TypeVar

AT_A_TIME_SECONDS = 0.001
"""For so long many small things keep the event loop to themselves; then requests come first."""


AT_ONCE_SECONDS = 0.002
"""A reload that has had the event loop for so long lets requests be answered before its next step."""

THREAD_SECONDS = 0.0005
"""A thread that runs Python lets another one in after so long at most."""

MANY: Final = 300
"""To look at so many models one after the other, all of them, takes one or two milliseconds."""

T = TypeVar("T")


def share_with_threads() -> None:
    """Have the event loop wait less for threads at work, each time that it has been in the kernel.

    With Python's own five milliseconds a request would wait three times as long beside one that reads a large file.
    """
    sys.setswitchinterval(THREAD_SECONDS)


async def apart(work: Callable[[], T], things: int) -> T:
    """What a piece of work answers that looks at so many models: in a thread, where requests would wait for it.

    Nobody else may change meanwhile what it looks at.
    """
    return work() if things < MANY else await asyncio.to_thread(work)


class Pauses:
    """Many small things are done on the event loop, one after the other."""

    def __init__(self, seconds: float | None = None) -> None:
        """For how long without a pause, at least; None: for `AT_A_TIME_SECONDS`."""
        self._since = time.monotonic()
        self._seconds = seconds

    async def take(self) -> None:
        """Let requests be answered, if it is a while since they were."""
        if time.monotonic() - self._since >= (AT_A_TIME_SECONDS if self._seconds is None else self._seconds):
            await asyncio.sleep(0)
            self._since = time.monotonic()


class Turns:
    """Models are planned and compiled side by side, many of them: requests are answered in between."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._since = 0.0

    def begin(self) -> None:
        """Note that a reload begins: requests have just been answered."""
        self._since = time.monotonic()

    async def take(self, between: Callable[[], bool] | None = None) -> None:
        """Let requests be answered, if it is a while since they were; then only one of those who wait goes on.

        A small model is built in one go: each round in between is another answer that a save waits for.
        What is to be done `between` models has a round of its own, if there is anything to do.
        """
        async with self._turn:
            if time.monotonic() - self._since >= AT_ONCE_SECONDS:
                await asyncio.sleep(0)
                if between is not None and between():
                    await asyncio.sleep(0)
                self.begin()
