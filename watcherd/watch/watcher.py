"""The watcher: from a directory to settled change sets, supervised.

Owns the loop that listens, looks and waits, and its restarts. The rules of when a change counts
are in `settling`; what is read, and whether it means anything, is the business of whoever calls
`next`.

The directory is looked at as a whole at the start, at each restart, at each reconcile and when
asked to, and whenever a directory or a symlink changed. That is what makes it safe to lose events.
While a thread looks, events are heard and files handed out, see `surveying`.
A missing root yields nothing at all: that it is gone says nothing about its files.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from watcherd import directory
from watcherd.directory import Stamp
from watcherd.errors import ModelsDirectoryError
from watcherd.events import Publish
from watcherd.watch import canary
from watcherd.watch.health import Condition, Health, WatchState
from watcherd.watch.mounts import remote_filesystem
from watcherd.watch.notify import Notifier, NotifyFailedError, NotifyUnavailableError, RawEvents
from watcherd.watch.polling import differences, digests
from watcherd.watch.settling import REASONS, ChangeSet, Quiet, Settling
from watcherd.watch.surveying import NEVER, Surveyed, Surveying

_DEFAULT_QUIET = Quiet()
_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Waits:
    """How long the watcher waits between what it does, in seconds."""

    step: float = 0.0005  # see Notifier
    survey: float = 0.010  # from the first sign that a directory or a link changed, to the look at all
    root_check: float = 1.0
    root_return: float = 0.2  # between looks for a root that is missing
    poll: float = 1.0
    retry_inotify: float = 60.0
    canary: float = 5.0  # for the event of a file that was made to cause one
    backoff_first: float = 0.1
    backoff_most: float = 30.0  # a run that lasted this long starts with `backoff_first` again


_DEFAULT_WAITS = Waits()


class Watcher:
    """Watches one directory. One task runs `run`; one consumer calls `next` in a loop.

    All methods are to be called on the event loop of `run`; only the notifier has a thread.
    """

    def __init__(  # noqa: PLR0913 - the last three are for tests, which cannot wait for minutes
        self,
        root: Path,
        *,
        reconcile_seconds: float,
        publish: Publish,
        force_polling: bool | None = None,
        max_bytes: int = _MAX_BYTES,
        code: bool = False,
        quiet: Quiet = _DEFAULT_QUIET,
        waits: Waits = _DEFAULT_WAITS,
        remote: Callable[[Path], str | None] = remote_filesystem,
    ) -> None:
        """Prepare; nothing happens before `run`.

        `force_polling` True polls always, False never, None where inotify is not to be had or not
        to be relied upon. `max_bytes` is the largest model file: polling reads no larger one. With
        `code` the Python files beside models are watched like them.
        """
        self._root = root
        self._reconcile_seconds = reconcile_seconds
        self._force_polling = force_polling
        self._max_bytes = max_bytes
        self._code = code
        self._waits = waits
        self._remote = remote
        self._condition = Condition(root, publish)
        self._settling = Settling(quiet)
        self._woken = asyncio.Event()
        self._ready = asyncio.Event()
        self._raw: list[RawEvents] = []
        self._failure: NotifyFailedError | None = None
        self._requests: list[tuple[str, frozenset[str] | None]] = []
        self._started = False
        self._known_root: tuple[int, int] | None = None
        self._places: frozenset[str] = frozenset()
        self._linked = False
        self._canary = ""
        self._canary_due = NEVER
        self._deaf_root: tuple[int, int] | None = None
        self._offered: ChangeSet | None = None
        self._surveying = Surveying(root, code=code, done=self._woken.set)
        self._reconcile_at = NEVER
        self._resume_at = 0.0
        self._backoff = waits.backoff_first
        self._last_event_at: datetime | None = None
        self._last_reconcile_at: datetime | None = None
        self._beat_at = 0.0

    async def run(self) -> None:
        """Watch until cancelled. Whatever else ends it is published, and it starts again after a while."""
        while True:
            began = _now()
            try:
                await self._run_until_rearmed()
            except ModelsDirectoryError as error:
                if not await self._root_is_another(polling=True):  # else the next run waits for it
                    await self._back_off(error)
            except Exception as error:  # noqa: BLE001 - a watcher must not die of what nobody thought of
                if _now() - began >= self._waits.backoff_most:
                    self._backoff = self._waits.backoff_first
                await self._back_off(error)

    def request(self, reason: str, paths: Iterable[str] | None = None) -> None:
        """Ask to have `paths`, or without them the whole directory, handed out again, changed or not.

        `reason` is one of `settling.REASONS`. A request while the root is missing waits until it is
        back: see `health`.

        Raises:
            ValueError: the reason is none of these: better here than in the loop, which would restart.

        """
        if reason not in REASONS:
            raise ValueError(f"cannot ask for a change set for the reason {reason!r}: use one of {', '.join(REASONS)}")
        self._requests.append((reason, None if paths is None else frozenset(paths)))
        self._woken.set()

    async def next(self, *, early: bool = False) -> ChangeSet:
        """Wait for the next change set. All that has settled since the last one is merged into it.

        With `early` it may be one that has not settled yet: see `ChangeSet`, and ask `settled`.
        """
        while True:
            await self._ready.wait()
            self._ready.clear()
            if self._settling.is_ready(_now()):
                return self._take()
            offer = self._settling.early() if early else None
            if offer is not None and offer != self._offered:
                self._offered = offer
                return offer

    async def settled(self, change: ChangeSet) -> bool:
        """Wait until a change set has settled; False when something more has happened meanwhile.

        True says that it counts, and is handed out herewith.
        """
        if change.early is None:
            return True
        [path] = change.paths
        while (due := self._settling.settles_at(change)) is not None:
            if self._settling.has_settled(_now()):
                self._take()
                return True
            if due > _now():
                await asyncio.sleep(due - _now())
            else:
                self._settling.look(path, self._look(path), _now())
        return False

    def _take(self) -> ChangeSet:
        found = self._settling.take(_now())
        if self._settling.is_ready(_now()):
            self._ready.set()  # the whole directory comes after what has changed
        return found

    @property
    def health(self) -> Health:
        """How the watcher is, now."""
        reason = self._condition.reason
        return Health(
            state=self._condition.state,
            reasons=() if reason is None else (reason,),
            last_event_at=self._last_event_at,
            last_reconcile_at=self._last_reconcile_at,
            restarts=self._condition.restarts,
            beat_at=self._beat_at,
        )

    # ── one run: wait for the root, arm, follow until something has to be armed again ────────────

    async def _run_until_rearmed(self) -> None:
        await self._wait_for_root()
        if _now() < self._resume_at:  # backing off: not blind meanwhile
            await self._follow(until=self._resume_at, polling=True)
            return
        reason = self._reason_to_poll()
        if self._force_polling or reason is not None:
            self._condition.works(WatchState.POLLING, reason)
            await self._follow(until=NEVER, polling=True)
            return
        try:
            notifier = Notifier(self._root, self._deliver, step=self._waits.step)
        except FileNotFoundError:
            return  # gone again since it was there
        except NotifyUnavailableError as error:
            if self._force_polling is False:
                raise
            self._condition.works(WatchState.POLLING, f"{error}; polling instead")
            await self._follow(until=_now() + self._waits.retry_inotify, polling=True)
            return
        try:
            self._condition.works(WatchState.WATCHING, None)
            await self._follow(until=NEVER, polling=False)
        finally:
            notifier.close()
            self._raw.clear()
            self._failure = None

    async def _wait_for_root(self) -> None:
        while True:
            self._beat_at = _now()
            try:
                self._known_root = _identify(self._root)
            except OSError as error:
                self._settling.forget_changes()
                reason = f"the models directory {directory.display_name(str(self._root))} cannot be watched"
                self._condition.is_degraded(f"{reason}: {error.strerror}; what was read last stays")
            else:
                return
            await asyncio.sleep(self._waits.root_return)

    def _reason_to_poll(self) -> str | None:
        if self._force_polling is not None:
            return None
        if self._deaf_root == self._known_root:
            return "no event came for a file made in the models directory to see one; polling instead"
        kind = self._remote(self._root)
        if kind is None:
            return None
        return f"the models directory is on {kind}, where inotify does not tell of every change; polling instead"

    async def _back_off(self, error: Exception) -> None:
        delay = self._backoff
        self._backoff = min(2 * delay, self._waits.backoff_most)
        self._resume_at = _now() + delay
        self._condition.restarts_in(delay, str(error) or type(error).__name__)
        await asyncio.sleep(min(delay, self._waits.poll))

    # ── following: what happens between arming and having to arm again ───────────────────────────

    async def _follow(self, *, until: float, polling: bool) -> None:
        """Turn what happens into change sets; return when `until` has come or the root is another one."""
        try:
            await self._listen_and_look(until=until, polling=polling)
        finally:
            await self._surveying.abandon()

    async def _listen_and_look(self, *, until: float, polling: bool) -> None:
        polled = await self._poll(None) if polling else {}
        reason = "restart" if self._started else "start"
        self._take_in(await self._surveying.now(self._settling.known(), reason), polling=polling)
        self._started = True
        await self._send_canary(polling=polling)
        poll_at = _now() + self._waits.poll if polling else NEVER
        check_at = _now() + self._waits.root_check
        while _now() < until:
            self._beat_at = _now()
            if self._failure is not None:
                raise self._failure
            if _now() >= check_at:
                check_at = _now() + self._waits.root_check
                if await self._root_is_another(polling=polling):
                    return
            if _now() >= poll_at:
                polled = await self._poll(polled)
                poll_at = _now() + self._waits.poll
            if not self._take_events():
                return
            self._take_requests()
            self._survey(polling=polling)
            if not await self._look_again(polling=polling):
                return
            if self._settling.is_ready(_now()) or self._settling.early() is not None:
                self._ready.set()
            due = self._settling.next_due() or NEVER
            wake_at = min(check_at, poll_at, self._surveying.due_at, self._reconcile_at, self._canary_due)
            await self._sleep_until(min(until, due, wake_at))

    async def _send_canary(self, *, polling: bool) -> None:
        """Cause an event, unless none is relied upon, and note until when it has to be here."""
        self._canary_due = NEVER
        if polling or self._force_polling is False:
            return
        self._canary = canary.new_name()
        if await asyncio.to_thread(canary.fly, self._root, self._canary):
            self._canary_due = _now() + self._waits.canary

    def _deliver(self, message: RawEvents | NotifyFailedError) -> None:
        if isinstance(message, RawEvents):
            self._raw.append(message)
        else:
            self._failure = message
        self._woken.set()

    def _take_events(self) -> bool:
        """Turn raw events into hints; False when it has to be armed again.

        That is when the root itself went away, or when the canary's event has not come in time.
        """
        batches, self._raw = self._raw, []
        for batch in batches:
            if self._canary in batch.changed:
                self._canary_due = NEVER
            changed = batch.changed - {self._canary}
            if changed:
                self._last_event_at = datetime.now(UTC)
            if "" in batch.deleted:
                return False
            for path in changed:
                self._take_event(path, deleted=path in batch.deleted)
        if _now() >= self._canary_due:
            self._deaf_root = self._known_root
            return False
        return True

    def _take_event(self, path: str, *, deleted: bool) -> None:
        """Look at the file, and soon at everything if the event may concern other paths than its own.

        With links about, events may come under another path than the file is listed under.
        """
        is_ours = directory.is_model_name(path) or (self._code and directory.is_code_name(path))
        if is_ours and (not self._linked or path in self._settling.handed_out):
            self._settling.hint(path, self._look(path), _now(), deleted=deleted)
        hidden = any(part.startswith(".") for part in path.split("/"))
        if self._linked or (not hidden and (path in self._places or _is_place(self._root / path))):
            self._surveying.want_by(_now() + self._waits.survey)

    def _take_requests(self) -> None:
        requests, self._requests = self._requests, []
        for reason, paths in requests:
            if paths is None:
                self._surveying.want(reason)
                continue
            for path in paths:
                self._settling.hint(path, self._look(path), _now())
            self._settling.ask(reason, _now(), full=False)

    def _survey(self, *, polling: bool) -> None:
        """Have everything looked at when it is due, and take in what was found."""
        if (seen := self._surveying.found()) is not None:
            self._take_in(seen, polling=polling)
        if _now() >= self._reconcile_at:
            self._reconcile_at = NEVER  # until it is done
            self._surveying.want("reconcile")
        self._surveying.begin(self._settling.known, _now())

    def _take_in(self, seen: Surveyed, *, polling: bool) -> None:
        """Hint at what was found to be otherwise; with a reason, the whole directory is to be handed out as well."""
        self._places, self._linked = seen.survey.places, seen.survey.linked
        if seen.reason == "start":
            self._settling.start(seen.survey.stamps)
        else:
            for path in seen.suspects:
                # Again, since events are heard meanwhile: it may have been handed out as it is. Without
                # events there is nothing of the kind, and a look may take long.
                stamp = seen.survey.stamps.get(path) if polling else self._look(path)
                if self._settling.suspect(path, stamp, _now()) and seen.reason is not None:
                    self._settling.ask(seen.reason, _now(), full=False)
        if seen.reason is not None:
            self._settling.ask(seen.reason, _now(), full=True)
            self._reconcile_at = _now() + self._reconcile_seconds
            self._last_reconcile_at = datetime.now(UTC)

    async def _poll(self, before: dict[str, str] | None) -> dict[str, str]:
        after = await asyncio.to_thread(digests, self._root, max_bytes=self._max_bytes, code=self._code)
        for path in () if before is None else differences(before, after):
            self._last_event_at = datetime.now(UTC)
            self._settling.hint(path, await asyncio.to_thread(self._look, path), _now())
        return after

    async def _look_again(self, *, polling: bool) -> bool:
        """Give what is due its second look; False when files are absent because the root is."""
        due = self._settling.due(_now())
        if polling:  # a look may take long there
            stamps = await asyncio.to_thread(lambda: {path: self._look(path) for path in due})
        else:
            stamps = {path: self._look(path) for path in due}
        if None in stamps.values() and await self._root_is_another(polling=polling):
            return False
        for path, stamp in stamps.items():
            self._settling.look(path, stamp, _now())
        return True

    def _look(self, path: str) -> Stamp | None:
        return directory.look(self._root, path)

    async def _root_is_another(self, *, polling: bool) -> bool:
        try:
            found = await asyncio.to_thread(_identify, self._root) if polling else _identify(self._root)
        except OSError:
            return True
        return found != self._known_root

    async def _sleep_until(self, when: float) -> None:
        loop = asyncio.get_running_loop()
        timer = None if when == NEVER else loop.call_at(when, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            self._woken.clear()
            if timer is not None:
                timer.cancel()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _identify(root: Path) -> tuple[int, int]:
    """Return what tells this root from another of the same name.

    Raises:
        OSError: it is missing, is no directory, or cannot be listed.

    """
    with os.scandir(root):
        status = root.stat()
    return status.st_dev, status.st_ino


def _is_place(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) or stat.S_ISLNK(mode)
