"""The look at everything, in a thread: with thousands of files it takes a while, and no event waits for it.

Owns when it is due, why, and the one that is under way. Does not own what follows from it (watcher),
nor when a change counts (settling).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watcherd import directory
from watcherd.directory import Stamp, Survey
from watcherd.watch.settling import REASONS, differing

NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What a look has found, and the paths that were otherwise than they had been known when it began.

    `reason` says why the whole directory is to be handed out after it; None: it is not.
    """

    survey: Survey
    suspects: tuple[str, ...]
    reason: str | None


class Surveying:
    """One look at a time. What is wanted while one is under way is the next one's: it may have been too early."""

    def __init__(self, root: Path, *, code: bool, done: Callable[[], None]) -> None:
        """`done` is called, on the event loop, when a look that was begun has ended."""
        self._due_at = NEVER
        self._root = root
        self._code = code
        self._done = done
        self._wanted_for: str | None = None
        self._under_way: asyncio.Task[Surveyed] | None = None

    @property
    def due_at(self) -> float:
        """When to begin the next one; never while one is under way, whose end is told."""
        return self._due_at if self._under_way is None else NEVER

    @property
    def rests(self) -> bool:
        """Whether none is wanted and none under way."""
        return self._under_way is None and self._wanted_for is None and self._due_at == NEVER

    def want(self, reason: str) -> None:
        """Have the whole directory looked at soon, and handed out for this reason."""
        self._wanted_for = max(self._wanted_for or reason, reason, key=REASONS.index)

    def want_by(self, when: float) -> None:
        """Have the whole directory looked at, at this time of the monotonic clock at the latest."""
        self._due_at = min(self._due_at, when)

    async def now(self, known: Mapping[str, Stamp | None], reason: str) -> Surveyed:
        """Look, and wait for it. Raises as `directory.survey`."""
        self._due_at = NEVER
        return await asyncio.to_thread(self._look, known, reason)

    def found(self) -> Surveyed | None:
        """What a look has found that has ended, once. Raises as `directory.survey`."""
        if self._under_way is None or not self._under_way.done():
            return None
        ended, self._under_way = self._under_way, None
        return ended.result()

    def begin(self, known: Callable[[], Mapping[str, Stamp | None]], now: float) -> None:
        """Begin a look, if one is due and none under way."""
        if self._under_way is not None or (self._wanted_for is None and now < self._due_at):
            return
        reason, self._wanted_for = self._wanted_for, None
        self._due_at = NEVER
        look = asyncio.to_thread(self._look, known(), reason)
        self._under_way = asyncio.create_task(look, name=f"survey {self._root}")
        self._under_way.add_done_callback(lambda _: self._done())

    async def abandon(self) -> None:
        """Wait no more for one that is under way, and forget what it finds."""
        ended, self._under_way = self._under_way, None
        if ended is not None:
            ended.cancel()
            await asyncio.wait([ended])
            if not ended.cancelled():
                ended.exception()  # nobody asks any more, and asyncio would complain

    def _look(self, known: Mapping[str, Stamp | None], reason: str | None) -> Surveyed:
        survey = directory.survey(self._root, code=self._code)
        return Surveyed(survey, tuple(differing(known, survey)), reason)
