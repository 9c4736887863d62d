"""`watcherd check --watch`: look again whenever a file that was asked for, or its neighbour, changes.

Owns the loop; when a save is complete is known by `watch`, as it is for the daemon. Looks only when
the bytes of some file differ from those of the last look, so that nothing is printed twice.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from watcherd.cli.examine import read_sources
from watcherd.errors import ModelsDirectoryError

if TYPE_CHECKING:
    from watcherd.cli.examine import Source
    from watcherd.events import Event
    from watcherd.watch import Watcher

RECONCILE_SECONDS = 5.0
"""How often everything is read although no event came: for file systems that tell of nothing."""

Look = Callable[[Sequence["Source"]], int]


def follow(paths: Sequence[Path], look: Look) -> int:
    """Look now and after each change, until Ctrl-C; the answer is that of the last look.

    Raises ModelsDirectoryError when a path does not exist at the start; later it may come and go.
    """
    following = _Following(paths, look)
    following.look_if_changed()
    try:
        asyncio.run(following.run())
    except KeyboardInterrupt:
        sys.stderr.write("\n")
    return following.answer


class _Following:
    """What was looked at last, and what came of it."""

    def __init__(self, paths: Sequence[Path], look: Look) -> None:
        self._paths = paths
        self._look = look
        self._seen: Sequence[Source] | None = None
        self.answer = 0

    async def run(self) -> None:
        from watcherd.watch import Watcher

        roots = dict.fromkeys(path if path.is_dir() else path.parent for path in self._paths)
        async with asyncio.TaskGroup() as tasks:
            for root in roots:
                watcher = Watcher(root, reconcile_seconds=RECONCILE_SECONDS, publish=_tell, code=True)
                tasks.create_task(watcher.run(), name=f"watch {root}")
                tasks.create_task(self._take(watcher), name=f"check {root}")

    async def _take(self, watcher: Watcher) -> None:
        while True:
            await watcher.next()
            try:
                self.look_if_changed()
            except ModelsDirectoryError as error:  # a path that was there at the start is away
                self._seen = None
                sys.stderr.write(f"watcherd: {error}\n")

    def look_if_changed(self) -> None:
        sources = list(read_sources(self._paths))
        if sources != self._seen:
            again = self._seen is not None
            self._seen = sources
            if again:
                sys.stdout.write("\n")
            self.answer = self._look(sources)
            sys.stdout.write("Waiting for changes; Ctrl-C ends this.\n")
            sys.stdout.flush()


def _tell(event: Event) -> None:
    """Say on standard error that the watcher is not well: what it does well needs no words."""
    if event.level != "info":
        sys.stderr.write(f"watcherd: {event.name}: {event.as_fields().get('reason', '')}\n")
