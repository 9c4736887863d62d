"""Events of a directory, from whatever the system has: inotify by itself on Linux, else watchfiles.

On Linux the event loop waits for the descriptor itself: an event is there after a fraction of a
millisecond. Elsewhere a thread of our own waits for watchfiles, the only module that knows it, and
throws what it says over to the event loop, after one to two of its steps.

Knows nothing of models: it tells which paths had an event, as they are, and when it is over.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from watchfiles import Change
from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

from watcherd.errors import WatcherdError
from watcherd.watch.inotify import Inotify, RawEvents

_JOIN_SECONDS = 5.0


class NotifyUnavailableError(WatcherdError):
    """inotify cannot be had for this directory; the message names the limit to raise, if it is one."""


class NotifyFailedError(WatcherdError):
    """A running watch ended; changes may have been missed."""


Deliver = Callable[[RawEvents | NotifyFailedError], None]
"""Called on the event loop; after a failure comes nothing more."""


class Notifier(Protocol):
    """Watches one directory, recursively, from construction until `close` or a failure."""

    def close(self) -> None:
        """Stop, and give the descriptors back; may be called twice."""


def watch(root: Path, deliver: Deliver, *, step_ms: int) -> Notifier:
    """Start to watch; `step_ms` is how often watchfiles looks at its own queue, where it is needed.

    Raises:
        NotifyUnavailableError: there is no inotify to be had, for instance as a limit is reached.
        FileNotFoundError: the directory is missing.

    """
    absolute = os.path.abspath(root)  # noqa: PTH100 - not resolved: events name what was asked for
    if sys.platform == "linux":
        return _Descriptor(absolute, deliver)
    return _Thread(absolute, deliver, step_ms)


class _Descriptor:
    """inotify, on the event loop that was running at construction."""

    def __init__(self, root: str, deliver: Deliver) -> None:
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        try:
            self._inotify = Inotify(root)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise NotifyUnavailableError(_explain(error)) from error
        self._loop.add_reader(self._inotify.fileno(), self._read)

    def close(self) -> None:
        if self._inotify.fileno() >= 0:
            self._loop.remove_reader(self._inotify.fileno())
            self._inotify.close()

    def _read(self) -> None:
        try:
            events = self._inotify.read()
        except Exception as error:  # noqa: BLE001 - whatever it was, the watcher starts again and looks at all
            self.close()
            self._deliver(_failure(error))
        else:
            if events.changed or events.lost:
                self._deliver(events)


class _Thread:
    """watchfiles, in a thread.

    Its own `awatch` starts a task group and borrows a pool thread for each batch, and ends at the
    first file name that is not UTF-8 without a way to go on.
    """

    def __init__(self, root: str, deliver: Deliver, step_ms: int) -> None:
        self._root = root
        self._deliver = deliver
        self._step_ms = step_ms
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        self._notify = _arm(root)
        self._thread = threading.Thread(target=self._wait_for_events, name="watcherd-notify", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Takes a few milliseconds."""
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
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOSPC or "watch limit" in text or f"os error {errno.ENOSPC}" in text:
        return "inotify has no watches left: raise the sysctl fs.inotify.max_user_watches"
    if (
        number in {errno.EMFILE, errno.ENFILE}
        or f"os error {errno.EMFILE}" in text
        or f"os error {errno.ENFILE}" in text
    ):
        return (
            "inotify has no instances left: raise the sysctl fs.inotify.max_user_instances, "
            "or the limit of open files (LimitNOFILE=) when that is what ran out"
        )
    return f"inotify cannot watch the models directory: {text}"


def _failure(error: Exception) -> NotifyFailedError:
    failure = NotifyFailedError(f"the watch of the models directory ended: {error}")
    failure.__cause__ = error
    return failure
