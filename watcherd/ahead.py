"""The whole directory, read before the lock of a reload: saves go on meanwhile, and none waits for it.

Owns what was read then, and how long that took. What of it counts is decided under the lock (intake): what
has been read here may be out of date by then, and is a hint like any other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watcherd import directory
from watcherd.directory import SourceFile
from watcherd.errors import ModelsDirectoryError
from watcherd.ledger import World
from watcherd.pace import unhurried
from watcherd.watch import ChangeSet

UNWATCHED: Final = frozenset({"start", "request", "signal"})
"""Reasons of change sets that nobody settled: whoever asked waits, and wants the directory as it is now."""

ABSENCE_SECONDS: Final = 0.1
"""A file that is missing counts as deleted after this long (delete-and-create saves)."""

UNHEARD_SECONDS: Final = 0.2
"""What no event has told of counts if it has stood still for this long: as long as an empty file has to."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """The directory as it was read: `seen` by path, the very object that was known where nothing was different.

    `unread` says why it could not be read, if it could not; `seconds` is how long all took.
    """

    seen: Mapping[str, SourceFile]
    unread: ModelsDirectoryError | None
    seconds: float

    def differing(self, known: Mapping[str, SourceFile]) -> set[str]:
        """The paths of which something else is known: they have changed, or have been read again since."""
        paths = known.keys() | self.seen.keys()
        return {path for path in paths if self.seen.get(path) is not known.get(path)}


async def read_ahead(
    change: ChangeSet, known: Mapping[str, SourceFile], root: Path, *, max_bytes: int, code: bool
) -> Ahead:
    """Read everything, and leave what differs from what is `known` the time to stand still.

    A periodic look, for which nobody waits, works little at a time: others hardly notice it.
    """
    started = time.monotonic()
    # Two writes of one size within a tick of the clock have the same stamp: a reconcile reads.
    trust = change.reason == "start"
    files = directory.scanning(root, max_bytes=max_bytes, known=known, trust_stamps=trust, code=code)
    is_awaited = change.reason in UNWATCHED
    try:
        read = await (unhurried(files) if change.reason == "reconcile" else asyncio.to_thread(list, files))
    except ModelsDirectoryError as error:
        return Ahead({}, error, time.monotonic() - started)
    seen = {file.path: file for file in read}
    if not is_awaited and Ahead(seen, None, 0).differing(known) - change.held:
        await asyncio.sleep(UNHEARD_SECONDS)
    elif is_awaited and known.keys() - seen.keys():
        await asyncio.sleep(ABSENCE_SECONDS)
    return Ahead(seen, None, time.monotonic() - started)


def sources_of(world: World) -> dict[str, SourceFile]:
    """What is known of every file: models, and the Python files beside them."""
    return {path: entry.source for path, entry in world.files.items()} | dict(world.code)


def same(old: SourceFile | None, new: SourceFile | None) -> bool:
    """Whether two readings of a path say the same, whatever its stamp; None: nothing was there."""
    if old is None or new is None:
        return old is new
    return old is new or (old.digest == new.digest and old.diagnostic == new.diagnostic)
