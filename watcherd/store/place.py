"""The files of an SQLite database that is open: whether its path leads to them, and what is saved when it does not.

Whoever has a file open goes on in it when it is deleted or moved: reads are right, but what is written
would be gone with the process. So each group of writes asks here before anybody is told that it is
stored. What the files held when their last name was deleted is saved once, by whoever leads, from a
connection that is open: no other can be opened any more.

As long as nothing in the directory has been made, deleted or renamed, neither have the files: that is
one look, where three are needed otherwise, and each lets other threads go first. Its time is believed
once it is older than a file system may round it to.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from watcherd.errors import StoreError, StoreUnavailableError
from watcherd.store import backup

_FILES: Final = (
    ("", "database"),
    ("-wal", "write-ahead log of the database"),
    ("-shm", "index of the write-ahead log of the database"),
)
"""What a database consists of while it is open: the ends of the names, and what people call them."""

_ROUNDED_NANOSECONDS: Final = 2_000_000_000
"""The times of FAT; all others are finer."""

_HELD_BY: Final = Path("/proc/self/fd")

Identity = tuple[int, int]
"""Device and number of a file, whatever it is called."""


class Place:
    """Where the files of one database were when it was opened; for all threads."""

    def __init__(self, path: Path, *, saves: bool) -> None:
        """To be made once the database is open. `saves`: what is about to be lost is for this process to save."""
        self._path = path
        self._names = tuple(f"{path}{end}" for end, _ in _FILES)
        self._known: list[Identity | None] = [None] * len(_FILES)
        self._directory = os.fspath(path.parent)
        self._is_link = path.is_symlink()  # what happens to the files is not seen in the directory then
        self._unchanged: tuple[int, int, int] | None = None
        self._saves = saves
        self._saved: str | None = None
        self.is_lost = self.lost() is not None
        """What was found last."""

    def lost(self) -> str | None:
        """Why nothing may be written now, and what to do; None when the files are where they were."""
        directory = _state(self._directory)
        if directory is not None and directory == self._unchanged:
            return None
        now = time.time_ns()
        why = self._look()
        self.is_lost = why is not None
        settled = directory is not None and directory[2] < now - _ROUNDED_NANOSECONDS
        trusted = settled and not (self.is_lost or self._is_link or None in self._known)
        self._unchanged = directory if trusted else None
        return why

    def _look(self) -> str | None:
        for number, name in enumerate(self._names):
            found, known = _identity(name), self._known[number]
            if known is None:
                self._known[number] = found  # the log and its index are made with the first transaction
            elif found != known:
                return self._told(number)
        self._saved = None
        return None

    def check(self) -> None:
        """StoreUnavailableError where `lost` has a reason."""
        why = self.lost()
        if why is not None:
            raise StoreUnavailableError(why)

    def save(self, connection: sqlite3.Connection | None, go_on: Callable[[], bool]) -> None:
        """Save what the files hold, if they go with the last process that has them open; once.

        Runs as long as a copy takes. `go_on` is asked now and then.
        """
        if not self._saves or self._saved is not None or connection is None or not self._goes_with_us():
            return
        try:
            self._saved = f"what it held was saved as {backup.copy_of(connection, self._path, go_on)}; "
        except StoreError as error:
            self._saved = f"{error}; "

    def _told(self, number: int) -> str:
        _, what = _FILES[number]
        return (
            f"the {what} {self._path} was deleted or replaced while it is open: nothing is written any more, since "
            "it would be lost when this process ends; what it has open is still read; "
            f"{self._saved or ''}move the file back, or stop, put a copy in its place, and start again"
        )

    def _goes_with_us(self) -> bool:
        """Whether one of the files with rows has no name any more; one that was moved is safe where it is."""
        rows = {known for known in self._known[:2] if known is not None}
        return any((found.st_dev, found.st_ino) in rows and found.st_nlink == 0 for found in _held())


def _held() -> Iterator[os.stat_result]:
    """The files that this process has open. To open one more and to close it would end the locks on it."""
    try:
        descriptors = list(_HELD_BY.iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        try:
            yield descriptor.stat()
        except OSError:
            continue  # closed meanwhile


def _state(name: str) -> tuple[int, int, int] | None:
    """A directory and when an entry of it was made, deleted or renamed last."""
    try:
        found = os.stat(name)  # noqa: PTH116 - see `_identity`
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _identity(name: str) -> Identity | None:
    """Which file a path leads to; None: to none that can be seen."""
    try:
        found = os.stat(name)  # noqa: PTH116 - a text is looked up in half the time, with each write
    except OSError:
        return None
    return found.st_dev, found.st_ino
