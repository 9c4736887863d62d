"""How long the event loop keeps everybody waiting, measured by itself.

A timer is asked for, and how late it fires is for how long something else had the loop: now and then
while nothing happens, every millisecond during what may take long, a reload or the making of the document. On
a busy machine a process is late without having done anything, so the processor's time of this
thread is looked at as well: a hold is never longer than that. What a thread with Python's lock takes
is in the lateness alone.

Owns the clock and the counts. Does not own what is done to keep holds short (pace, garbage), nor how
they are shown (metrics).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from watcherd.tally import HOLD_BOUNDS, LAG_BOUNDS, Histogram

AT_REST: Final = "rest"
START: Final = "start"
RELOAD: Final = "reload"
DOCUMENT: Final = "document"

REST_SECONDS: Final = 0.05
"""Between two looks while nothing is watched closely: a hold of so many milliseconds is seen one time in ten."""

CLOSE_SECONDS: Final = 0.001
"""Between two looks otherwise: no hold that is longer is missed, and none is told more than so much too short."""

LINGER_SECONDS: Final = 0.1
"""For so long afterwards the looks stay close: what is retired ends then."""

Closely = Callable[[str], AbstractContextManager[None]]


def nobody_looks(_during: str) -> AbstractContextManager[None]:
    """For where nothing is measured."""
    return nullcontext()


class Holds:
    """The event loop of this thread, looked at from `start` to `stop`."""

    def __init__(self) -> None:
        self.lag = Histogram(LAG_BOUNDS)
        """How late the loop woke whoever had asked for it, while nothing was watched closely."""
        self.holds: dict[str, Histogram] = {}
        """For how long something had the loop, by what went on."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._close: list[str] = []
        self._during = AT_REST
        self._until = 0.0
        self._asked = (0.0, 0.0)

    def start(self) -> None:
        """Look from now on; on the loop's own thread."""
        self._loop = asyncio.get_running_loop()
        self._ask()

    def stop(self) -> None:
        """Look no more."""
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()

    @contextmanager
    def closely(self, during: str) -> Iterator[None]:
        """Look every millisecond during something, and for a moment after it."""
        self._close.append(during)
        if self._during != during:
            self._during = during
            self._ask()
        try:
            yield
        finally:
            self._close.remove(during)
            self._until = time.monotonic() + LINGER_SECONDS

    def _ask(self) -> None:
        """Ask for the next look, in place of one that was asked for already."""
        if self._loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        seconds = REST_SECONDS if self._during == AT_REST else CLOSE_SECONDS
        self._asked = (time.monotonic() + seconds, time.thread_time())
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        due, processor = self._asked
        now = time.monotonic()
        late = max(0.0, now - due)
        if self._during == AT_REST:
            self.lag.observe(late)
        histogram = self.holds.get(self._during)
        if histogram is None:
            histogram = self.holds[self._during] = Histogram(HOLD_BOUNDS)
        histogram.observe(min(late, time.thread_time() - processor))
        if self._close:
            self._during = self._close[-1]
        elif now > self._until:
            self._during = AT_REST
        self._ask()
