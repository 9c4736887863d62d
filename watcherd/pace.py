"""How work on the event loop is parted: requests come in between.

Owns the ways to wait for them: by the clock, for many small things that one task does; by turns, for what
several tasks do side by side; by a thread, for what cannot be parted; by one that rests, for what nobody
waits for; and for how long that keeps the loop out. Does not own what is parted, nor how small its parts are.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

AT_A_TIME_SECONDS = 0.001
"""For so long many small things keep the event loop to themselves; then requests come first."""


AT_ONCE_SECONDS = 0.002
"""A reload that has had the event loop for so long lets requests be answered before its next step."""

THREAD_SECONDS = 0.0005
"""A thread that runs Python lets another one in after so long at most."""

SLICE_SECONDS: Final = 0.001
"""A thread that nobody waits for works so long, of the processor's time, and then rests."""

REST_SECONDS: Final = 0.004
"""For so long: whatever wants the processor or Python's lock meanwhile has them to itself."""

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


async def unhurried(things: Iterator[T]) -> list[T]:
    """All that an iterator yields, fetched by threads that rest most of the time: saves and requests hardly notice."""
    found: list[T] = []
    while True:
        if not await asyncio.to_thread(_some, things, found):
            return found
        await asyncio.sleep(REST_SECONDS)


def _some(things: Iterator[T], found: list[T]) -> bool:
    """Fetch for one slice; whether there may be more."""
    until = time.thread_time() + SLICE_SECONDS
    for thing in things:
        found.append(thing)
        if time.thread_time() >= until:
            return True
    return False


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
