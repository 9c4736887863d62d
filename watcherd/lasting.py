"""Tasks that last as long as their process: one that ends before, by whatever it was, begins again and says so.

Nobody awaits such a task, so its end would go unseen: a group of tasks ends everything for an error in one of them, and
takes one that was cancelled for one that is done, also where nobody had cancelled it but something that it waited for.
Here the others go on, and the log, `/readyz` and the metrics tell of it. What a task must clean up
before it begins again is its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from watcherd import events
from watcherd.errors import WatcherdError

PAUSES_SECONDS: Final = (0.1, 1.0, 5.0, 30.0)
"""How long to wait before a task begins again: longer each time that it did not last."""

LASTS_SECONDS: Final = 60.0
"""Whoever goes on for so long is well again."""

T = TypeVar("T")


class NobodyCancelledError(WatcherdError):
    """A task was about to end as if somebody had cancelled it, and nobody has."""


class Troubles:
    """Which lasting tasks have ended lately, and why: what is published, heard."""

    def __init__(self) -> None:
        self._lately: dict[str, tuple[float, str]] = {}

    def heard(self, event: events.Event) -> None:
        """Note an end."""
        if isinstance(event, events.TaskFailed):
            self._lately[event.task] = time.monotonic() + event.again_in + LASTS_SECONDS, event.reason

    @property
    def reasons(self) -> tuple[str, ...]:
        """For people; a task that has gone on for a while since is not among them."""
        now = time.monotonic()
        self._lately = {task: found for task, found in self._lately.items() if found[0] > now}
        return tuple(
            f"the task {task!r} failed and began again: {reason}" for task, (_, reason) in self._lately.items()
        )


async def lasting(name: str, work: Callable[[], Awaitable[None]], publish: events.Publish) -> None:
    """Run `work` until it returns or this task is cancelled; whatever else ends it is told, and it begins again."""
    short_lives = 0
    while True:
        began = time.monotonic()
        try:
            return await not_cancelled(work())
        except Exception as error:  # noqa: BLE001 - whatever nobody thought of, with its traceback
            structlog.stdlib.get_logger("watcherd.lasting").error("task.fault", task=name, exc_info=error)
            short_lives = 0 if time.monotonic() - began >= LASTS_SECONDS else short_lives
            pause = PAUSES_SECONDS[min(short_lives, len(PAUSES_SECONDS) - 1)]
            short_lives += 1
            publish(events.TaskFailed(name, _why(error), pause))
        await asyncio.sleep(pause)


def _why(error: BaseException) -> str:
    """What to say of an error: of a group that ended together, its first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__


async def not_cancelled(work: Awaitable[T]) -> T:
    """Await it. NobodyCancelledError instead of a cancellation that nobody asked of this task."""
    try:
        return await work
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise NobodyCancelledError("what it waited for was cancelled, though nobody had cancelled the task") from error
