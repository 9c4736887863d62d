"""inotify, through watchfiles: the one module that knows it.

A thread of our own waits for raw events and throws them over to the event loop. watchfiles' own
`awatch` starts a task group and borrows a pool thread for each batch, which costs about half a
millisecond a save, and ends at the first file name that is not UTF-8 without a way to go on. Nor are
watchfiles' own sleeps used, see `_Pace`.

watchfiles is what the project is to watch by. An inotify binding of our own would hear of a save half
a millisecond earlier; that was tried twice and taken back for this reason: do not try it again.

Knows nothing of models: it tells which paths had an event, as they are, and when it is over.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from watchfiles import Change
from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

from watcherd.errors import WatcherdError

_JOIN_SECONDS = 5.0


class NotifyUnavailableError(WatcherdError):
    """inotify cannot be had for this directory; the message names the limit to raise, if it is one."""


class NotifyFailedError(WatcherdError):
    """A running watch ended; changes may have been missed."""


@dataclass(frozen=True, slots=True)
class RawEvents:
    """Paths relative to the root that had events; the root itself is the empty path."""

    changed: frozenset[str]
    deleted: frozenset[str]


class Notifier:
    """Watches one directory, recursively, from construction until `close` or a failure.

    Batches of events arrive at `deliver`, on the event loop that was running at construction;
    after a failure comes one `NotifyFailedError`, and nothing more.
    """

    def __init__(self, root: Path, deliver: Callable[[RawEvents | NotifyFailedError], None], *, step: float) -> None:
        """Start to watch.

        `step` is how many seconds pass between two looks at the queue of watchfiles: an event takes half of
        one on average, and half a millisecond keeps about 2 % of a core busy.

        Raises:
            NotifyUnavailableError: there is no inotify to be had, for instance as a limit is reached.
            FileNotFoundError: the directory is missing.

        """
        self._root = os.path.abspath(root)  # noqa: PTH100 - not resolved: events name what was asked for
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._pace = _Pace(step)
        self._notify = _arm(self._root)
        self._thread = threading.Thread(target=self._wait_for_events, name="watcherd-notify", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and give the descriptors back. Takes a few milliseconds; may be called twice."""
        self._pace.stopped = True
        self._thread.join(_JOIN_SECONDS)
        self._notify.close()

    def _wait_for_events(self) -> None:
        try:
            while not self._pace.stopped:
                batch = self._notify.watch(0, 0, 0, self._pace)
                if isinstance(batch, set):
                    self._hand_over(self._relative(batch))
        except Exception as error:  # noqa: BLE001 - whatever it was, a thread that ends unheard hears of no save any more
            self._hand_over(_failure(error))

    def _relative(self, batch: set[tuple[int, str]]) -> RawEvents:
        changed: set[str] = set()
        deleted: set[str] = set()
        for kind, path in batch:
            relative = path.removeprefix(self._root).lstrip("/")
            changed.add(relative)
            if kind == Change.deleted:
                deleted.add(relative)
        return RawEvents(changed=frozenset(changed), deleted=frozenset(deleted))

    def _hand_over(self, message: RawEvents | NotifyFailedError) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver, message)
        except RuntimeError:  # the loop was closed without us: there is nobody left to tell
            self._pace.stopped = True


class _Pace:
    """What watchfiles asks before each look at its queue whether it is to end: the place to wait at.

    It hands events over when two looks in a row have found the same number of them. Its own wait comes
    before every look, so that an event takes one to two of them; here the second look follows the first
    one at once. An event that comes in between is handed over by the next two.
    """

    def __init__(self, step: float) -> None:
        self.stopped = False
        self._step = step
        self._second = False

    def is_set(self) -> bool:
        if not self._second:
            time.sleep(self._step)
        self._second = not self._second
        return self.stopped


def _arm(root: str) -> RustNotify:
    try:
        return RustNotify([root], False, False, 0, True, True)  # noqa: FBT003 - it takes no keywords
    except FileNotFoundError:
        raise
    except (WatchfilesRustInternalError, OSError, ValueError) as error:
        raise NotifyUnavailableError(_explain(error)) from error


def _explain(error: Exception) -> str:
    """Say which limit to raise. watchfiles gives the number of the system's error in its text alone."""
    text = str(error)
    if "watch limit" in text or f"os error {errno.ENOSPC}" in text:
        return "inotify has no watches left: raise the sysctl fs.inotify.max_user_watches"
    if f"os error {errno.EMFILE}" in text or f"os error {errno.ENFILE}" in text:
        return (
            "inotify has no instances left: raise the sysctl fs.inotify.max_user_instances, "
            "or the limit of open files (LimitNOFILE=) when that is what ran out"
        )
    return f"inotify cannot watch the models directory: {text}"


def _failure(error: Exception) -> NotifyFailedError:
    failure = NotifyFailedError(f"the watch of the models directory ended: {error}")
    failure.__cause__ = error
    return failure
