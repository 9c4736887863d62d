"""An interactive transaction: code of others reads, thinks and writes in it, step by step.

Owns what such a transaction promises on every database, and when it is run again: what is read in
it is as if nobody else were there, or all of it is taken back. A step that is refused takes back
itself alone, so that its caller may go on. Does not own connections (sqlite_session, postgres_session).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

from watcherd.errors import ContendedError, StoreError
from watcherd.store.cursor import AfterCommit, Cursor

HOLD_SECONDS: Final = 5.0
"""For how long one transaction may keep all others from writing."""

RETRIES: Final = 3
"""How often a transaction that the database undid for another's sake is run again."""

_PAUSE: Final = 0.02

T = TypeVar("T")


class StaleError(StoreError):
    """What this transaction has read was changed by another: it is run again."""


class Session(Protocol):
    """One transaction; it begins with its first step. One step at a time."""

    async def run(self, step: Callable[[Cursor], T], *, writes: bool = False) -> T:
        """What a step answers; on the event loop's side. StoreError, and whatever the step raises."""

    def run_here(self, step: Callable[[Cursor], T], *, writes: bool = False) -> T:
        """The same from a thread that is not the event loop's."""


class OpenSession(Session, Protocol):
    """A session in the hands of who opened it."""

    stale: bool
    after_commit: AfterCommit

    async def commit(self) -> None:
        """Keep everything. StaleError, StoreError: then nothing is kept."""

    async def abandon(self) -> None:
        """Take everything back; after a commit it does nothing. Raises nothing."""


Body = Callable[[Session], Awaitable[T]]


async def interact(open_session: Callable[[int], OpenSession], body: Body[T], tries: int) -> T:
    """What `body` answers, once what it did is committed; run again while that was undone for another's sake.

    `open_session` is told the number of the try, from 1. ContendedError when every try was undone.
    """
    for number in range(1, tries + 1):
        session = open_session(number)
        try:
            result = await body(session)
            if not session.stale:
                await session.commit()
        except Exception:
            # Whatever the body made of it: it saw what is not so any more.
            if not session.stale:
                raise
        finally:
            await asyncio.shield(session.abandon())
        if not session.stale:
            for tell in session.after_commit.values():
                tell()
            return result
        await asyncio.sleep(random.uniform(0, _PAUSE * number))  # noqa: S311 - to part those who collided
    raise ContendedError(f"others changed the same rows at the same time, {tries} times in a row")


def in_savepoint(cursor: Cursor, step: Callable[[Cursor], Any], told: AfterCommit) -> Any:
    """Run a step that writes, so that a refusal takes back this step alone."""
    before = dict(told)
    cursor.execute("SAVEPOINT step")
    try:
        result = step(cursor)
    except Exception:
        told.clear()
        told.update(before)
        cursor.execute("ROLLBACK TO step")
        cursor.execute("RELEASE step")
        raise
    cursor.execute("RELEASE step")
    return result
