"""Whose turn it is to write: those who wait get it in the order in which they came.

SQLite lets one connection write at a time, and who finds it taken asks again and again, so that
the one who was there first may be the last. Inside one process this queue comes before it; where
several processes write, their line comes in between (see `turnstile`).
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

from watcherd.store.turnstile import Turnstile

LAST_SHARE: Final = 0.2
"""Of the patience of a write; the rest is for the line, before SQLite's own lock is tried without its turn."""


class Turn:
    """A lock that is handed over in order; for threads."""

    def __init__(self, turnstile: Turnstile | None = None, patience: float = 0) -> None:
        """`turnstile` is where other processes write, too; `patience` is for how many seconds a write waits at most."""
        self._turnstile = turnstile
        self._seconds = patience * (1 - LAST_SHARE)
        self.is_first = True
        """Whether whoever has the turn to write has it among all processes."""
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Event] = deque()

    def take(self, seconds: float | None = None) -> bool:
        """Wait for the turn, at most so long; whether it is ours now."""
        with self._lock:
            if not self._taken:
                self._taken = True
                return True
            mine = threading.Event()
            self._waiting.append(mine)
        if mine.wait(seconds):
            return True
        with self._lock:
            if mine.is_set():
                return True  # handed over while we gave up
            self._waiting.remove(mine)
        return False

    def take_to_write(self, seconds: float | None = None) -> bool:
        """The same, and then wait for other processes: whoever comes too late with that may try without (`is_first`).

        With 0 nobody is waited for, here or there.
        """
        if not self.take(seconds):
            return False
        self.is_first = self._turnstile is None or self._turnstile.take(0 if seconds == 0 else self._seconds)
        if seconds == 0 and not self.is_first:
            self.give()
            return False
        return True

    def hurry(self) -> None:
        """Have nobody wait for other processes any more, from another thread."""
        if self._turnstile is not None:
            self._turnstile.hurry()

    def give(self) -> None:
        """Let the next one have it."""
        if self._turnstile is not None:
            self._turnstile.give()
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False
