"""Reading what a change set points at: the directory as it is now, each file parsed.

Owns when a content counts: a missing file is looked at twice, and a write in place that would take
something away must have stood still, since a half-written YAML file often parses. Does not own
which names are models nor how a file is read safely (directory), nor what follows (reload).

The whole directory is read before the lock, while saves go on (ahead). Under it only what differs from what
is served by then is read once more: so nothing old comes back, and a save waits for these few files alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from watcherd import directory
from watcherd.ahead import ABSENCE_SECONDS, UNWATCHED, Ahead, read_ahead, same, sources_of
from watcherd.directory import SourceFile, Stamp, display_name
from watcherd.errors import ModelsDirectoryError
from watcherd.garbage import tidy
from watcherd.ledger import FileEntry, World, copied, shrinks
from watcherd.pace import Pauses
from watcherd.pim import Parsed, Pieces, parse, shared, ways
from watcherd.store import Applied
from watcherd.watch import ChangeSet, OvertakenError

PARSE_ON_LOOP_BYTES = 8 * 1024
"""A file of up to so much text is parsed on the event loop, within five milliseconds: a thread hop would cost more."""

STILL_SECONDS = 0.5
"""A write in place that would take something away must have stood still for this long."""

EDITED_FILES = 16
"""Of so many files, those that were edited last, the pieces are kept that need not be read again."""


@dataclass(frozen=True, slots=True)
class Intaken:
    """The directory as it is now: model files by path, and the Python files beside them.

    `unread` says why it could not be read, if it could not: they are as they were then.
    """

    files: Mapping[str, FileEntry]
    code: Mapping[str, SourceFile]
    unread: str | None = None


Recheck = Callable[[float, str], None]
"""Have a path looked at again after some seconds."""


class Intake:
    """Reads change sets; remembers the contents that are too young to count."""

    def __init__(
        self,
        root: Path,
        *,
        max_file_bytes: int,
        reserved_domains: frozenset[str],
        recheck: Recheck,
        code: bool = False,
    ) -> None:
        """With `code` the Python files are read too: handlers are allowed."""
        self._root = root
        self._code = code
        self._max_file_bytes = max_file_bytes
        self._reserved = reserved_domains
        self._recheck = recheck
        self._young: dict[str, tuple[str, float]] = {}
        self._pieces: dict[str, Pieces] = {}

    async def look_ahead(self, change: ChangeSet, world: World) -> Ahead | None:
        """What a change set of the whole directory points at, read before anybody waits for it; None of any other.

        Also None where nothing is known yet: there is nothing to save then.
        """
        known = sources_of(world) if change.full else {}
        if not known:
            return None
        return await read_ahead(change, known, self._root, max_bytes=self._max_file_bytes, code=self._code)

    async def read(
        self, change: ChangeSet, world: World, applied: Mapping[str, Applied], ahead: Ahead | None = None
    ) -> Intaken:
        """All files as they are now: those of the change set read again, the others as they were.

        Of the whole directory, where it was read `ahead`, those that differ from what was read then. Where
        the models directory itself is missing, all files are as they were; at a start, the sources that
        the catalog keeps (`applied`) stand in for them.
        """
        try:
            sources = await (self._sources(change, world) if ahead is None else self._differing(change, world, ahead))
        except ModelsDirectoryError as error:
            files = world.files or MappingProxyType(await self._entries(_remembered(applied), world))
            return Intaken(files, world.code, str(error))
        code = _with_code(world.code, sources)
        fresh = {
            path: source
            for path, source in sources.items()
            if source is not None
            and not directory.is_code_name(path)
            and (path not in world.files or not same(world.files[path].source, source))
        }
        entries = await self._entries(fresh, world)
        files = copied(world.files)
        for path, source in sources.items():
            if directory.is_code_name(path):
                continue
            if source is None:
                files.pop(path, None)
                self._young.pop(path, None)
            elif path not in entries:
                files[path] = replace(files[path], source=source)
            elif not self._too_young(change, entries[path], world):
                files[path] = entries[path]
        return Intaken(MappingProxyType(files), code)

    async def _sources(self, change: ChangeSet, world: World) -> dict[str, SourceFile | None]:
        """Path -> content of every path in question; None: it is gone.

        ModelsDirectoryError when the directory itself is: no reason to stop serving what was in it.
        """
        sources: dict[str, SourceFile | None] = {}
        if change.full:
            sources.update(
                await asyncio.to_thread(directory.scan, self._root, max_bytes=self._max_file_bytes, code=self._code)
            )
            # What is held is still being written: a later change set brings it.
            return {path: source for path, source in sources.items() if path not in change.held}
        pauses = Pauses()
        for path in change.paths:
            await pauses.take()
            source = sources[path] = self._look(path)
            if change.early is not None and not _as_seen(source, change.early):
                raise OvertakenError(f"{display_name(path)} has changed since it was seen")
        missing = {path for path, source in sources.items() if source is None}
        missing = {path for path in missing if path in world.files or path in world.code}
        if change.reason not in UNWATCHED:
            # The watcher waits for absences: what it does not call gone is told by a later set, in
            # which the other half of a rename is, too.
            for path in missing - change.gone:
                sources.pop(path, None)
            missing &= change.gone
        elif missing:
            await asyncio.sleep(ABSENCE_SECONDS)
        if missing:
            sources.update((path, self._look(path)) for path in missing)
        return sources

    async def _differing(self, change: ChangeSet, world: World, ahead: Ahead) -> dict[str, SourceFile | None]:
        """Path -> content now of every path that is not as it is known, or was not when it was read ahead.

        It counts if it has been the same at both times, or is known by now; else it is changing just now,
        and the watcher is asked to say when it has settled. So it is when a file is missing, with all that
        has changed: among them may be the other half of a rename. What an administrator asks for is read
        as it is. ModelsDirectoryError as `_sources`.
        """
        if ahead.unread is not None:
            raise ahead.unread
        known = sources_of(world)
        paths = sorted(ahead.differing(known) - change.held)
        if not paths:
            return {}
        looked = await asyncio.to_thread(lambda: {path: self._look(path) for path in paths})
        if change.reason in UNWATCHED:
            return looked
        news = [
            path for path, source in looked.items() if path not in change.gone and not same(source, known.get(path))
        ]
        unsettled = [path for path in news if looked[path] is None or not same(looked[path], ahead.seen.get(path))]
        if any(looked[path] is None for path in unsettled):
            unsettled = news
        for path in unsettled:
            self._recheck(0.0, path)
            del looked[path]
        return looked

    def _look(self, path: str) -> SourceFile | None:
        return directory.read(self._root, path, max_bytes=self._max_file_bytes)

    async def _entries(self, sources: Mapping[str, SourceFile], world: World) -> dict[str, FileEntry]:
        """Parse sources: large ones off the event loop, the others with pauses for requests."""
        pauses = Pauses()
        entries = {}
        for path, source in sources.items():
            await pauses.take()
            if len(source.content or b"") > PARSE_ON_LOOP_BYTES:
                parsed = await asyncio.to_thread(self._parse, source, world)
            else:
                parsed = self._parse(source, world)
            entries[path] = FileEntry(source, parsed)
            if len(sources) > 1:
                await pauses.take()
                tidy()
        return entries

    def _parse(self, source: SourceFile, world: World) -> Parsed | None:
        if source.content is None:
            return None
        known = world.files.get(source.path)
        pieces = None if known is None else self._pieces_of(source.path)
        parsed = parse(source.content, source.display, reserved_domains=self._reserved, pieces=pieces)
        parsed = self._shared(parsed, source, world)
        if pieces is not None and parsed.spec is not None:
            pieces.meanings.adopt(parsed.spec)
        return parsed

    def _shared(self, parsed: Parsed, source: SourceFile, world: World) -> Parsed:
        """The same, with the objects of what was there before wherever they mean the same."""
        known = world.files.get(source.path)
        before = None if known is None else known.spec
        if parsed.spec is None:
            return parsed
        live = world.live_of(source.path)
        if before is not None and (live is None or before is not live.spec) and ways(before) != ways(parsed.spec):
            # It means the same as what was refused before, but says how the stored rows get there.
            before = None
        if parsed.spec == before:
            # The same meaning is the same object: what follows compares by identity first.
            return replace(parsed, spec=before)
        if before is None and live is not None:
            before = live.spec
        return parsed if before is None else replace(parsed, spec=shared(parsed.spec, before))

    def _pieces_of(self, path: str) -> Pieces:
        """What is kept of a file that is being edited: of few files, as few are at a time."""
        pieces = self._pieces.pop(path, None) or Pieces()
        while len(self._pieces) >= EDITED_FILES:
            del self._pieces[next(iter(self._pieces))]
        self._pieces[path] = pieces
        return pieces

    def _too_young(self, change: ChangeSet, entry: FileEntry, world: World) -> bool:
        """Whether a write in place takes something away and may still be going on.

        Then the file is looked at again later; until then its last content counts. What an
        administrator asks for is read as it is.
        """
        before = world.files.get(entry.path)
        live = world.live_of(entry.path)
        if change.reason in UNWATCHED or before is None or live is None or entry.spec is None:
            return False
        in_place = entry.path in change.in_place or entry.path in self._young or _same_inode(before, entry)
        if not in_place or not shrinks(live.spec, entry.spec):
            self._young.pop(entry.path, None)
            return False
        now = time.monotonic()
        digest, since = self._young.get(entry.path, ("", now))
        if digest != entry.source.digest:
            since = now
        remaining = STILL_SECONDS - (now - since)
        if remaining <= 0:
            del self._young[entry.path]
            return False
        self._young[entry.path] = (entry.source.digest, since)
        self._recheck(remaining, entry.path)
        return True


def _with_code(known: Mapping[str, SourceFile], sources: Mapping[str, SourceFile | None]) -> Mapping[str, SourceFile]:
    """The Python files as they are now; the same mapping where none of them was read again."""
    read = {path: source for path, source in sources.items() if directory.is_code_name(path)}
    if not read:
        return known
    there = {path: source for path, source in (dict(known) | read).items() if source is not None}
    return MappingProxyType(there)


def _as_seen(source: SourceFile | None, early: Stamp) -> bool:
    """Whether what was read is what the watcher has seen, and waits for."""
    return source is not None and source.stamp is not None and source.stamp.same_content(early)


def _same_inode(old: FileEntry, new: FileEntry) -> bool:
    """Whether a file was written where it was; what the catalog remembers never was."""
    before, now = old.source.stamp, new.source.stamp
    return before is not None and now is not None and before.inode == now.inode


def _remembered(applied: Mapping[str, Applied]) -> dict[str, SourceFile]:
    return {
        known.file: SourceFile(known.file, known.source, hashlib.sha256(known.source).hexdigest(), None, None)
        for known in applied.values()
        if known.state == "live"
    }
