"""When a save is complete: a state machine that is told of hints and looks, and hands out change sets.

Owns which paths are changing, since when, and in which manner. Touches no file, no clock and no
event loop: every method is given the time, in seconds of the monotonic clock.

A path goes through three states: *changing* (hints or looks said so), *settled* (a second look
agreed with the first after the quiet time), *handed out* (part of a change set). A hint brings it
back to *changing* from either of the others, so that nothing half-written is handed out.

A set waits until everything in it has settled, so that files saved together are swapped together.
It does not wait for ever: what has been changing for `Quiet.at_most` is left out and comes later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from watcherd.directory import Stamp, Survey
from watcherd.errors import WatcherdError

REASONS: Final = ("event", "recheck", "reconcile", "request", "signal", "restart", "start")
"""Why there is a change set, from the weakest to the strongest; merged sets keep the strongest."""


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What to read again.

    `paths` are relative to the root; empty when `full`, which means the whole directory. `reason`
    is one of `REASONS`.

    `gone` are paths that have been absent long enough to count as deleted. Except at the start,
    only they are deletions: another file that turns out missing has vanished a moment ago, and a
    later set will tell. `held` are files of a full set that are still changing: leave their models
    as they are, a later set brings them. `in_place` are files that were written where they are, or
    deleted and created, rather than renamed over: what looks complete in them may be a beginning.

    An `early` set has not settled yet: it is one file that was renamed over, whole when it was seen,
    with the stamp that it had then. It may be built; before anything comes of it, it has to settle.
    """

    paths: frozenset[str]
    full: bool
    reason: str
    gone: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()
    in_place: frozenset[str] = frozenset()
    early: Stamp | None = None


class OvertakenError(WatcherdError):
    """An early change set did not settle as it was seen: a later one tells what came of it."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """For how long a path must stand still, in seconds, by the manner of its change."""

    replaced: float = 0.002
    written: float = 0.010
    absent: float = 0.100
    empty: float = 0.200
    at_most: float = 0.200


class Manner(StrEnum):
    """How a file came to what it is; the less is known about its writer, the longer the quiet time."""

    REPLACED = "replaced"  # another inode where there was one, complete when first seen
    WRITTEN = "written"
    EMPTY = "empty"
    ABSENT = "absent"


@dataclass(slots=True)
class _Change:
    since: float
    touched: float
    stamp: Stamp | None
    manner: Manner
    vanished: bool  # was deleted or seen absent on the way: what comes after was not renamed over it
    settled: bool = False


class Settling:
    """The paths that are changing, and those that have settled and wait to be handed out.

    `handed_out` is what whoever takes the sets has been told: path -> the stamp it settled with.
    """

    def __init__(self, quiet: Quiet) -> None:
        self._quiet = quiet
        self._changes: dict[str, _Change] = {}
        self._full_since: float | None = None
        self._reason = REASONS[0]
        self.handed_out: dict[str, Stamp] = {}

    def start(self, stamps: Mapping[str, Stamp]) -> None:
        """Take what is there as known: the first full read will find it."""
        self.handed_out = dict(stamps)

    def hint(self, path: str, stamp: Stamp | None, now: float, *, deleted: bool = False) -> None:
        """Somebody did something to `path`; `stamp` is what a look finds there now, None if nothing.

        `deleted` says that it was absent for a moment, even if it is there now.
        """
        change = self._changes.get(path)
        if change is None or change.settled:
            known = self._last_known(path)
            change = _Change(since=now, touched=now, stamp=known, manner=Manner.WRITTEN, vanished=False)
            self._changes[path] = change
        change.vanished = change.vanished or deleted
        self._note(path, change, stamp)
        change.touched = now

    def look(self, path: str, stamp: Stamp | None, now: float) -> None:
        """Take a second look at a path that was due: it has settled if nothing changed since the first."""
        change = self._changes.get(path)
        if change is None or change.settled:
            return
        if stamp != change.stamp:
            self._note(path, change, stamp)
            change.touched = now
        elif now >= self._settles_at(change):
            change.settled = True

    def compare(self, survey: Survey, now: float) -> None:
        """Hint at every path that is not as it was handed out."""
        for path, stamp in survey.stamps.items():
            if self._last_known(path) != stamp:
                self.hint(path, stamp, now)
        expected = self.handed_out.keys() | self._changes.keys()
        for path in expected - survey.stamps.keys():
            known = self._last_known(path)
            if known is not None and not (survey.is_closed(path) and known.size < 0):
                self.hint(path, None, now)

    def ask(self, reason: str, now: float, *, full: bool) -> None:
        """Note why the next set is wanted, and whether it is to be the whole directory."""
        self._reason = max(self._reason, reason, key=REASONS.index)
        if full and self._full_since is None:
            self._full_since = now

    def forget_changes(self) -> None:
        """Drop what would be handed out: the root is gone, so that absence says nothing about its files."""
        self._changes.clear()
        self._full_since = None

    def due(self, now: float) -> list[str]:
        """Return the paths that want a second look now."""
        return [
            path for path, change in self._changes.items() if not change.settled and self._settles_at(change) <= now
        ]

    def next_due(self) -> float | None:
        """Return when the next look, or the end of waiting for others, is due."""
        times = [self._settles_at(change) for change in self._changes.values() if not change.settled]
        if times and (deadline := self._deadline()) is not None:
            times.append(deadline)
        return min(times, default=None)

    def is_ready(self, now: float) -> bool:
        """Whether there is something to hand out, and nothing left to wait for."""
        deadline = self._deadline()
        if deadline is None:
            return False
        fresh = now - self._quiet.at_most
        return now >= deadline or all(change.settled or change.since <= fresh for change in self._changes.values())

    def early(self) -> ChangeSet | None:
        """What will be handed out, unless something more happens: one file that was renamed over, and nothing else."""
        if len(self._changes) != 1 or self._full_since is not None or self._reason != REASONS[0]:
            return None
        [(path, change)] = self._changes.items()
        if change.manner is not Manner.REPLACED or change.settled or change.stamp is None:
            return None
        return ChangeSet(frozenset({path}), full=False, reason=self._reason, early=change.stamp)

    def settles_at(self, change_set: ChangeSet) -> float | None:
        """When an early set counts, if nothing more happens; None when something has."""
        [path] = change_set.paths
        change = self._changes.get(path)
        if len(self._changes) != 1 or self._full_since is not None or change is None:
            return None
        same = change.stamp is not None and change_set.early is not None and change.stamp.same_content(change_set.early)
        if not same or change.manner is not Manner.REPLACED:
            return None
        return change.touched if change.settled else self._settles_at(change)

    def take(self) -> ChangeSet:
        """Hand out all that has settled, and start collecting anew."""
        settled = {path: change for path, change in self._changes.items() if change.settled}
        held = frozenset(self._changes.keys() - settled.keys())
        full = self._full_since is not None
        for path, change in settled.items():
            del self._changes[path]
            if change.stamp is None:
                self.handed_out.pop(path, None)
            else:
                self.handed_out[path] = change.stamp
        change_set = ChangeSet(
            paths=frozenset() if full else frozenset(settled),
            full=full,
            reason=self._reason,
            gone=frozenset(path for path, change in settled.items() if change.stamp is None),
            held=held if full else frozenset(),
            in_place=frozenset(path for path, change in settled.items() if _was_in_place(change)),
        )
        self._full_since, self._reason = None, REASONS[0]
        return change_set

    def _note(self, path: str, change: _Change, stamp: Stamp | None) -> None:
        """Tell the manner of the change from what it leads from and to."""
        before, change.stamp = change.stamp, stamp
        if stamp is None:
            change.manner, change.vanished = Manner.ABSENT, True
        elif stamp.size == 0:
            change.manner = Manner.EMPTY
        elif before is None or change.vanished or path not in self.handed_out:
            change.manner = Manner.WRITTEN
        elif not stamp.same_file(before):
            change.manner = Manner.REPLACED
        elif not stamp.same_content(before):
            change.manner = Manner.WRITTEN

    def _last_known(self, path: str) -> Stamp | None:
        change = self._changes.get(path)
        return self.handed_out.get(path) if change is None else change.stamp

    def _settles_at(self, change: _Change) -> float:
        """Return when a change counts if nothing more happens.

        Whoever changes several files may be about to change another: these wait for the longer time.
        """
        match change.manner:
            case Manner.ABSENT:
                return change.touched + self._quiet.absent
            case Manner.EMPTY:
                return change.touched + self._quiet.empty
            case Manner.WRITTEN:
                return change.touched + self._quiet.written
            case Manner.REPLACED:
                if change.touched - change.since >= self._quiet.at_most:
                    return change.touched  # replaced over and over: each time it was whole
                return change.touched + (self._quiet.replaced if len(self._changes) == 1 else self._quiet.written)

    def _deadline(self) -> float | None:
        """Return until when what has settled, or a full set, waits for what has not; None if nothing waits."""
        times = [change.since for change in self._changes.values() if change.settled]
        if self._full_since is not None:
            times.append(self._full_since)
        return min(times) + self._quiet.at_most if times else None


def _was_in_place(change: _Change) -> bool:
    return change.manner is Manner.WRITTEN
