"""When a save is complete: a state machine that is told of hints and looks, and hands out change sets.

Owns which paths are changing, since when, and in which manner. Touches no file, no clock and no
event loop: every method is given the time, in seconds of the monotonic clock.

A path goes through three states: *changing* (hints or looks said so), *settled* (a second look
agreed with the first after the quiet time), *handed out* (part of a change set). A hint brings it
back to *changing* from either of the others, so that nothing half-written is handed out.

A set waits until everything in it has settled, so that files saved together are swapped together.
It does not wait for ever: what has been changing for `Quiet.at_most` is left out and comes later.

What has changed and the whole directory are different sets: to look at all takes a while with many
files, and no save is to wait for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
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

    `gone` are paths that have been absent long enough to count as deleted; another one that turns
    out missing has vanished a moment ago, and a later set will tell. `held` are files of a full set
    that are still changing: leave their models as they are, a later set brings them. `in_place` are
    files that were written where they are, or deleted and created, rather than renamed over: what
    looks complete in them may be a beginning.

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
        self._reason = REASONS[0]
        self._full_since: float | None = None
        self._full_reason = REASONS[0]
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

    def suspect(self, path: str, stamp: Stamp | None, now: float) -> bool:
        """Hint at a path that a survey found to be otherwise than `known`, if by a look of now it still is."""
        if self._last_known(path) == stamp:
            return False
        self.hint(path, stamp, now)
        return True

    def known(self) -> dict[str, Stamp | None]:
        """The stamp of each path as it was seen last, None where it was absent: a copy."""
        return self.handed_out | {path: change.stamp for path, change in self._changes.items()}

    def ask(self, reason: str, now: float, *, full: bool) -> None:
        """Note why there is to be a set: of what has changed, or `full`, of the whole directory."""
        if not full:
            self._reason = max(self._reason, reason, key=REASONS.index)
            return
        self._full_reason = max(self._full_reason, reason, key=REASONS.index)
        if self._full_since is None:
            self._full_since = now

    def forget_changes(self) -> None:
        """Drop what would be handed out: the root is gone, so that absence says nothing about its files."""
        self._changes.clear()
        self._reason = REASONS[0]
        self._full_since, self._full_reason = None, REASONS[0]

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
        return self.has_settled(now) or self._is_over(self._full_since, now)

    def has_settled(self, now: float) -> bool:
        """Whether there is something that has changed to hand out, and nothing left to wait for."""
        return self._is_over(self._settled_since(), now)

    def early(self) -> ChangeSet | None:
        """What will be handed out, unless something more happens: one file that was renamed over, and nothing else."""
        if len(self._changes) != 1 or self._reason != REASONS[0]:
            return None
        [(path, change)] = self._changes.items()
        if change.manner is not Manner.REPLACED or change.settled or change.stamp is None:
            return None
        return ChangeSet(frozenset({path}), full=False, reason=self._reason, early=change.stamp)

    def settles_at(self, change_set: ChangeSet) -> float | None:
        """When an early set counts, if nothing more happens; None when something has."""
        [path] = change_set.paths
        change = self._changes.get(path)
        if len(self._changes) != 1 or change is None:
            return None
        same = change.stamp is not None and change_set.early is not None and change.stamp.same_content(change_set.early)
        if not same or change.manner is not Manner.REPLACED:
            return None
        return change.touched if change.settled else self._settles_at(change)

    def take(self, now: float) -> ChangeSet:
        """Hand out all that has settled, else the whole directory; what it is of is collected anew."""
        if not self.has_settled(now):
            found = ChangeSet(frozenset(), full=True, reason=self._full_reason, held=frozenset(self._changes))
            self._full_since, self._full_reason = None, REASONS[0]
            return found
        settled = {path: change for path, change in self._changes.items() if change.settled}
        for path, change in settled.items():
            del self._changes[path]
            if change.stamp is None:
                self.handed_out.pop(path, None)
            else:
                self.handed_out[path] = change.stamp
        reason, self._reason = self._reason, REASONS[0]
        return ChangeSet(
            paths=frozenset(settled),
            full=False,
            reason=reason,
            gone=frozenset(path for path, change in settled.items() if change.stamp is None),
            in_place=frozenset(path for path, change in settled.items() if _was_in_place(change)),
        )

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

    def _is_over(self, since: float | None, now: float) -> bool:
        """Whether what waits since then, if anything does, has waited for all that has not settled, or for too long."""
        if since is None:
            return False
        fresh = now - self._quiet.at_most
        return since <= fresh or all(change.settled or change.since <= fresh for change in self._changes.values())

    def _deadline(self) -> float | None:
        """Return until when what has settled, or a full set, waits for what has not; None if nothing waits."""
        waiting = [since for since in (self._settled_since(), self._full_since) if since is not None]
        return min(waiting) + self._quiet.at_most if waiting else None

    def _settled_since(self) -> float | None:
        """Since when the oldest change of what has settled, and is not handed out, has been going on."""
        return min((change.since for change in self._changes.values() if change.settled), default=None)


def merged(older: ChangeSet, newer: ChangeSet) -> ChangeSet:
    """One set for two of the whole directory, for the stronger reason."""
    return replace(newer, reason=max(older.reason, newer.reason, key=REASONS.index))


def differing(known: Mapping[str, Stamp | None], survey: Survey) -> list[str]:
    """The paths that a survey found otherwise than they were known."""
    found = [path for path, stamp in survey.stamps.items() if known.get(path) != stamp]
    for path in known.keys() - survey.stamps.keys():
        before = known[path]
        if before is not None and not (survey.is_closed(path) and before.size < 0):
            found.append(path)
    return found


def _was_in_place(change: _Change) -> bool:
    return change.manner is Manner.WRITTEN
