"""What the signals of a process mean to the daemon: a stop, its hurry, a re-read.

Owns the handlers on the event loop, and which of two signals are one. Does not own what follows: the
daemon waits for the events.
"""

from __future__ import annotations

import asyncio
import signal
import time

ONE_SIGNAL_SECONDS = 0.1
"""Signals that come closer than this are one: nobody is impatient that soon."""


class Signals:
    """SIGTERM and SIGINT ask for a stop, the second one for its end; SIGHUP for a re-read.

    Two that come at once are one: who signals a group of processes reaches a child whose parent, such
    as make, passes the signal on as well. `hang_up` is set by each SIGHUP: one that comes during the
    start waits there for its end. To be made on the event loop; `name` is the last that asked for a stop.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self.hang_up = asyncio.Event()
        self.name = ""
        self._asked_at = 0.0
        loop = asyncio.get_running_loop()
        for which in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(which, self._stop, which)
        loop.add_signal_handler(signal.SIGHUP, self.hang_up.set)

    def _stop(self, which: signal.Signals) -> None:
        now = time.monotonic()
        if not self.stop.is_set():
            self._asked_at = now
        elif now - self._asked_at > ONE_SIGNAL_SECONDS:
            self.hurry.set()
        self.name = which.name
        self.stop.set()
