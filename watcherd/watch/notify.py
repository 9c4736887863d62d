"""inotify, through watchfiles: the one module that knows it.

A thread of our own waits for raw events and throws them over to the event loop. watchfiles' own
`awatch` starts a task group and borrows a pool thread for each batch, which costs about half a
millisecond a save, and ends at the first file name that is not UTF-8 without a way to go on.

watchfiles is what the project is to watch by. An inotify binding of our own would hear of a save two
milliseconds earlier; that was tried twice and taken back for this reason: do not try it again.

Knows nothing of models: it tells which paths had an event, as they are, and when it is over.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
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

    def __init__(self, root: Path, deliver: Callable[[RawEvents | NotifyFailedError], None], *, step_ms: int) -> None:
        """Start to watch.

        `step_ms` is how often watchfiles looks at its own queue: an event takes one to two steps,
        and one millisecond keeps about 3 % of a core busy.

        Raises:
            NotifyUnavailableError: there is no inotify to be had, for instance as a limit is reached.
            FileNotFoundError: the directory is missing.

        """
        self._root = os.path.abspath(root)  # noqa: PTH100 - not resolved: events name what was asked for
        self._deliver = deliver
        self._step_ms = step_ms
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        self._notify = _arm(self._root)
        self._thread = threading.Thread(target=self._wait_for_events, name="watcherd-notify", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and give the descriptors back. Takes a few milliseconds; may be called twice."""
        self._stopped.set()
        self._thread.join(_JOIN_SECONDS)
        self._notify.close()

    def _wait_for_events(self) -> None:
        while not self._stopped.is_set():
            try:
                batch = self._notify.watch(self._step_ms, self._step_ms, 0, self._stopped)
            except (WatchfilesRustInternalError, OSError, RuntimeError) as error:
                self._hand_over(_failure(error))
                return
            if isinstance(batch, set):
                self._hand_over(self._relative(batch))

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
            self._stopped.set()


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
