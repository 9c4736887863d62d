"""The end of what runs on SQLite's connections in other threads, by interrupting it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

_INTERRUPTS: Final = 50
_BETWEEN_INTERRUPTS: Final = 0.02
"""Seconds; together, what a close waits for beyond its deadline."""


async def interrupt_until_done(
    waiting: Sequence[asyncio.Future[Any]], connections: Callable[[], Iterable[sqlite3.Connection]]
) -> bool:
    """Interrupt what runs on connections until nothing is waited for; False when it does not end.

    Again and again: an interrupt between two statements has no effect on the second.
    """
    for _ in range(_INTERRUPTS):
        pending = [future for future in waiting if not future.done()]
        if not pending:
            return True
        for connection in connections():
            with contextlib.suppress(sqlite3.Error):  # closed meanwhile
                connection.interrupt()
        await asyncio.wait(pending, timeout=_BETWEEN_INTERRUPTS)
    return all(future.done() for future in waiting)
