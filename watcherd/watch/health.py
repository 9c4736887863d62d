"""How the watcher is: one value for readiness, metrics and the watchdog, and the events when it changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from watcherd.events import Publish, WatchDegraded, WatchRecovered, WatchRestarted, WatchStarted


class WatchState(StrEnum):
    """What the watcher is doing."""

    WATCHING = "watching"  # by inotify
    POLLING = "polling"
    DEGRADED = "degraded"  # there is no directory to watch: what was read last stays
    RESTARTING = "restarting"  # failed, or not started yet; polls until it starts again


@dataclass(frozen=True, slots=True)
class Health:
    """The state of the watcher, and why it is not better; `reasons` is empty when all is well.

    `last_event_at` and `last_reconcile_at` are UTC, None if never; a reconcile is any look at the
    whole directory. `restarts` counts failures since the start. `beat_at` is when the watcher was
    last seen alive, in seconds of the monotonic clock (`loop.time()`): at least once in two seconds
    unless the file system hangs.
    """

    state: WatchState
    reasons: tuple[str, ...]
    last_event_at: datetime | None
    last_reconcile_at: datetime | None
    restarts: int
    beat_at: float


class Condition:
    """The state and its reason; each change of them is published once."""

    def __init__(self, root: Path, publish: Publish) -> None:
        self._root = root
        self._publish = publish
        self._started = False
        self.state = WatchState.RESTARTING
        self.reason: str | None = "the watcher has not started yet"
        self.restarts = 0

    def works(self, state: WatchState, reason: str | None) -> None:
        """Changes are seen again; `reason` says why not in the best way, None if it is or was asked for."""
        if (state, reason) == (self.state, self.reason):
            return
        before, self.state, self.reason = self.state, state, reason
        mode = "inotify" if state is WatchState.WATCHING else "polling"
        if not self._started:
            self._started = True
            self._publish(WatchStarted(root=str(self._root), mode=mode))
        elif reason is None or before is not state:
            self._publish(WatchRecovered(mode=mode))
        if reason is not None:
            self._publish(WatchDegraded(reason=reason))

    def is_degraded(self, reason: str) -> None:
        """Nothing can be seen at all for now."""
        if (WatchState.DEGRADED, reason) != (self.state, self.reason):
            self.state, self.reason = WatchState.DEGRADED, reason
            self._publish(WatchDegraded(reason=reason))

    def restarts_in(self, delay: float, reason: str) -> None:
        """It failed and starts again after `delay` seconds."""
        self.state, self.reason = WatchState.RESTARTING, reason
        self.restarts += 1
        self._publish(WatchRestarted(reason=reason, delay_seconds=delay))
