"""Watching a tree of directories by inotify, on the event loop.

The kernel tells at once, and only when something happens: a library that looks at a queue of its
own from time to time (as watchfiles does, every millisecond at best) costs two milliseconds a save,
a thread, and some percent of a processor while nothing happens; it does not tell of lost events, and
ends at the first file name that is not UTF-8.

Every directory below the root has a watch, hidden ones too, since links may lead there; links are not
followed, since what they lead to is watched where it is, or is outside and no model. Knows nothing
of models: it tells which paths had an event, as they are, and when it is over.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watcherd.errors import WatcherdError
from watcherd.watch.inotify import Happened, Inotify, Mask

_CONTENTS: Final = Mask.MODIFY | Mask.ATTRIB | Mask.CLOSE_WRITE | Mask.CREATE
_NAMES: Final = Mask.MOVED_FROM | Mask.MOVED_TO | Mask.DELETE
_ROOT: Final = _CONTENTS | _NAMES | Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONLYDIR
_FOLDER: Final = _CONTENTS | _NAMES | Mask.ONLYDIR | Mask.DONT_FOLLOW
_ROOT_WENT: Final = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.UNMOUNT | Mask.IGNORED
_CAME: Final = Mask.CREATE | Mask.MOVED_TO
_WENT: Final = Mask.DELETE | Mask.MOVED_FROM

_PASSED_OVER: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES})
"""A directory that is gone again, became something else, or is closed to us: none of its files are read either."""


class NotifyUnavailableError(WatcherdError):
    """inotify cannot be had for this directory; the message names the limit to raise, if it is one."""


class NotifyFailedError(WatcherdError):
    """A running watch ended; changes may have been missed."""


@dataclass(frozen=True, slots=True)
class RawEvents:
    """Paths relative to the root that had events; the root itself is the empty path.

    `lost`: there were too many to be told, or the root went away: it has to be armed again.
    """

    changed: frozenset[str]
    deleted: frozenset[str]
    lost: bool = False


class Notifier:
    """Watches one directory, recursively, from construction until `close` or a failure.

    Batches of events arrive at `deliver`, on the event loop that was running at construction;
    after a failure comes one `NotifyFailedError`, and nothing more.
    """

    def __init__(self, root: Path, deliver: Callable[[RawEvents | NotifyFailedError], None]) -> None:
        """Start to watch.

        Raises:
            NotifyUnavailableError: there is no inotify to be had, for instance as a limit is reached.
            FileNotFoundError: the directory is missing.

        """
        self._root = os.path.abspath(root)  # noqa: PTH100 - not resolved: it is watched where it was asked for
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._folders: dict[int, str] = {}
        try:
            self._inotify = Inotify()
        except (OSError, AttributeError) as error:  # a C library without it has no such function
            raise NotifyUnavailableError(_explain(error)) from error
        try:
            self._folders[self._inotify.add(self._root, _ROOT)] = ""
            self._watch("")
        except (FileNotFoundError, NotADirectoryError) as error:
            self._inotify.close()
            raise FileNotFoundError(error.errno, error.strerror, self._root) from error
        except OSError as error:
            self._inotify.close()
            raise NotifyUnavailableError(_explain(error)) from error
        self._loop.add_reader(self._inotify.fileno(), self._read)

    def close(self) -> None:
        """Watch no longer and give the descriptor back; may be called twice."""
        if self._inotify.fileno() >= 0:
            self._loop.remove_reader(self._inotify.fileno())
            self._inotify.close()

    def _read(self) -> None:
        """Called when there are events."""
        try:
            events = self._tell_apart(self._inotify.read())
        except OSError as error:
            self.close()
            failure = NotifyFailedError(f"the watch of the models directory ended: {_explain(error)}")
            failure.__cause__ = error
            self._deliver(failure)
            return
        if events.changed or events.lost:
            self._deliver(events)

    def _tell_apart(self, happened: list[Happened]) -> RawEvents:
        """Put paths to what happened, and follow directories that came and went."""
        changed: set[str] = set()
        deleted: set[str] = set()
        lost = False
        for watch, mask, name in happened:
            folder = self._folders.get(watch)
            if mask & Mask.OVERFLOW or (folder == "" and not name and mask & _ROOT_WENT):
                lost = True
            elif mask & Mask.IGNORED:
                self._folders.pop(watch, None)
            elif folder is None or (folder and not name and not mask & Mask.UNMOUNT):
                continue  # of what moved away, or what the directory above it tells as well
            else:
                path = f"{folder}/{name}" if folder and name else folder or name
                changed.add(path)
                if mask & _WENT:
                    deleted.add(path)
                if mask & _WENT and mask & Mask.ISDIR:
                    self._forget(path)
                elif mask & _CAME and mask & Mask.ISDIR:
                    self._watch(path)
        return RawEvents(frozenset(changed), frozenset(deleted), lost)

    def _watch(self, folder: str) -> None:
        """Watch a directory and all below it; whoever hears of it has to look what is in there already."""
        folders = [folder]
        while folders:
            here = folders.pop()
            try:
                if here:
                    self._folders[self._inotify.add(f"{self._root}/{here}", _FOLDER)] = here
                with os.scandir(f"{self._root}/{here}") as listing:
                    below = [entry.name for entry in listing if entry.is_dir(follow_symlinks=False)]
            except OSError as error:
                if error.errno not in _PASSED_OVER:
                    raise
                continue
            folders += [f"{here}/{name}" if here else name for name in below]

    def _forget(self, folder: str) -> None:
        """Watch a directory that was moved away no longer, nor what is below it."""
        below = f"{folder}/"
        for watch, path in list(self._folders.items()):
            if path == folder or path.startswith(below):
                del self._folders[watch]
                try:
                    self._inotify.remove(watch)
                except OSError as error:
                    if error.errno != errno.EINVAL:  # it was deleted, and the watch with it
                        raise


def _explain(error: Exception) -> str:
    """Say which limit to raise."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOSPC:
        return "inotify has no watches left: raise the sysctl fs.inotify.max_user_watches"
    if number in {errno.EMFILE, errno.ENFILE}:
        return (
            "inotify has no instances left: raise the sysctl fs.inotify.max_user_instances, "
            "or the limit of open files (LimitNOFILE=) when that is what ran out"
        )
    return f"inotify cannot watch the models directory: {error}"
