"""Whose turn it is to write among the processes of one daemon: those who wait get it in the order in which they came.

SQLite's own lock decides who writes; who finds it taken sleeps and asks again, up to a tenth of a second later, while
the process that had it has taken it once more: of two that write without pause one waited for seconds, and was refused
in the end. So they stand in line before it. A line is a file beside the database, nothing is ever written to it: who
comes locks the byte whose number is the time, then everything before it, which is to be had when nobody who came
earlier is left. Such locks go with the process, however that ends, so that nobody waits for the dead.

Owns the line alone: it is a courtesy, nobody needs it to be safe. Who does not get his turn in time may try without it
(one that is stopped in the line would keep all behind him from writing), and so does everybody where the system has no
such locks. The locks belong to the open file, not to the process as those of SQLite do: closing another descriptor does
not end them, and those of its own files are never touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from watcherd.errors import StoreError

_LOCK: Final = struct.Struct("hhqqi")
"""`struct flock`: type, whence, start, length, process."""


class Turnstile:
    """The line of the processes that write one database. Used by one thread at a time, but for `hurry` and `close`."""

    def __init__(self, path: Path) -> None:
        """The line before the database at `path`; StoreError where its file cannot be made."""
        path = Path(os.path.realpath(path))  # who comes by a symlink comes to the same line
        line = path.with_name(f"{path.name}.turn")
        try:
            self._descriptor = os.open(line, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"cannot open {line}: {error.strerror}") from error
        self._state = threading.Condition()
        self._asked: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_ours = self._is_in_line = self._is_wanted = False
        self._hurries = self._is_closed = False

    def take(self, seconds: float) -> bool:
        """Wait for the turn, at most so long; whether it is ours now. With 0 nobody is waited for."""
        with self._state:
            if self._is_closed:
                return False
            if not self._is_in_line and self._lock(0, time.monotonic_ns() + 1):
                self._is_ours = True
                return True
            if not seconds or self._hurries or not self._stand_in_line():
                return False
            self._is_wanted = True
            self._state.wait_for(lambda: self._is_ours or self._hurries or not self._is_in_line, seconds)
            self._is_wanted = False
            return self._is_ours

    def give(self) -> None:
        """Let the next one have it; without the turn it does nothing."""
        with self._state:
            if self._is_ours:
                self._is_ours = False
                self._unlock()

    def hurry(self) -> None:
        """Wait no more, from now on: from another thread."""
        with self._state:
            self._hurries = True
            self._state.notify_all()

    def close(self) -> None:
        """Leave the line for good."""
        self.hurry()
        with self._state:
            if self._is_closed:
                return
            self._is_closed = True
            thread, is_in_line = self._thread, self._is_in_line
            if thread is None:
                os.close(self._descriptor)
        self._asked.put(None)
        # One that still stands in line is behind a process that is stopped, and ends when that one goes on.
        if thread is not None and not is_in_line:
            thread.join()

    def _stand_in_line(self) -> bool:
        """Have the place in line kept by a thread: a wait for a lock cannot be ended. Whether it is; with the state."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._live, name="watcherd-turn", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # there is no thread to be had: it goes without
                self._thread = None
                return False
        if not self._is_in_line:  # else the place that was given up is still kept, and better than a new one
            self._is_in_line = True
            self._asked.put(self._wait)
        return True

    def _live(self) -> None:
        """The thread: stands in line as often as it is asked to."""
        try:
            while (wait := self._asked.get()) is not None:
                wait()
                with self._state:
                    self._is_in_line = False
                    self._is_ours = self._is_wanted
                    if self._is_wanted:
                        self._state.notify_all()
                    else:
                        self._unlock()
        finally:
            with self._state:
                self._is_in_line = False
                self._thread = None
                self._state.notify_all()
                if self._is_closed:
                    os.close(self._descriptor)

    def _wait(self) -> None:
        """Lock a byte, then everything before it."""
        # Refused where somebody who has come later has just taken everything up to himself: then with a later time.
        while not self._lock(now := time.monotonic_ns(), 1):
            pass
        self._lock(0, now, waits=True)

    def _lock(self, start: int, length: int, *, waits: bool = False) -> bool:
        """Lock some bytes; False where somebody else has any of them, and they are not waited for.

        A system without such locks has nobody wait: SQLite's own decides.
        """
        wanted = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLKW if waits else fcntl.F_OFD_SETLK, wanted)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def _unlock(self) -> None:
        everything = _LOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0)
        with contextlib.suppress(OSError):  # no such locks, see above
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, everything)
