"""How far a start is, and telling it while it goes on: in the log, in the event stream, to the service manager.

Owns what is told and how often. Does not own what is counted, which is the reload's, nor when a
start is over, which is the daemon's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from watcherd import events, sdnotify

TELL_SECONDS = 2.0
"""A start that takes no longer says nothing but that it is done."""

EXTENSION_SECONDS = 60.0
"""So much time from now on the service manager is asked for, as long as something has been done since it was last."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How many models of a reload are built, of how many; none of none until the files are read.

    `serving` are those of a start that serve already.
    """

    built: int = 0
    wanted: int = 0
    serving: int = 0

    def __str__(self) -> str:
        """Say it in a few words."""
        if not self.wanted:
            return "the files are being read"
        serving = f", {self.serving} serve" if self.serving else ""
        return f"{self.built} of {self.wanted} models are built{serving}"

    def one_more(self) -> Progress:
        """After another model."""
        return Progress(self.built + 1, self.wanted, self.serving)


async def tell_how_far(
    look: Callable[[], Progress], done: asyncio.Event, publish: events.Publish, *, interval: float = TELL_SECONDS
) -> None:
    """Tell every `interval` seconds how far a start is, until it is `done`.

    The manager is asked for more time only by a start that gets on: one that hangs must not live for ever.
    """
    told = Progress()
    while not await _within(interval, done):
        now = look()
        publish(events.DaemonStarting(now.built, now.wanted, now.serving))
        sdnotify.status(f"starting: {now}")
        if now != told:
            sdnotify.extend(EXTENSION_SECONDS)
        told = now


async def _within(seconds: float, done: asyncio.Event) -> bool:
    """Wait for it so long at most; whether it has happened."""
    try:
        async with asyncio.timeout(seconds):
            await done.wait()
    except TimeoutError:
        return False
    return True
