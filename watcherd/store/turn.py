"""Whose turn it is to write: those who wait get it in the order in which they came.

SQLite lets one connection write at a time, and who finds it taken asks again and again, so that
the one who was there first may be the last. Inside one process this queue comes before it.
"""

from __future__ import annotations

import threading
from collections import deque


class Turn:
    """A lock that is handed over in order; for threads."""

    def __init__(self) -> None:
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

    def give(self) -> None:
        """Let the next one have it."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False
