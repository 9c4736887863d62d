"""What waits for the writer, and how those who wait are answered.

Owns one write from the queue to its caller's future: what is asked for, what came of it. Does not own the
queue, the transaction, nor when anybody is told (writer).
"""

from __future__ import annotations

import asyncio
import enum
import sqlite3
from collections.abc import Callable
from typing import Any

import structlog

from watcherd.errors import StoreUnavailableError
from watcherd.store.cursor import AfterCommit, Cursor, refused

Write = Callable[[Cursor], Any]


class Signal(enum.Enum):
    """What waits in the queue and is no write."""

    LOOK = enum.auto()
    """There is something to make up for."""
    END = enum.auto()


class Job:
    """One write that waits, and then what came of it."""

    __slots__ = ("after_commit", "alters", "apart", "error", "from_files", "future", "result", "write")

    def __init__(
        self, write: Write, future: asyncio.Future[Any], *, apart: bool, alters: bool, from_files: bool
    ) -> None:
        self.write = write
        self.apart = apart
        self.alters = alters
        self.from_files = from_files
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None
        self.after_commit: AfterCommit = {}


def attempt(job: Job, cursor: Cursor) -> None:
    """Run one write; whatever it raises is its caller's."""
    cursor.after_commit = job.after_commit
    try:
        job.result = job.write(cursor)
    except sqlite3.Error as error:
        job.error = refused(error)
    except StopIteration as error:
        job.error = RuntimeError("a write raised StopIteration, which no future can hold")
        job.error.__cause__ = error
    except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
        job.error = error


def refuse(group: list[Job], why: str | None) -> bool:
    """Let nobody believe that a write is stored for which there is a reason against."""
    if why is None:
        return False
    for job in group:
        if job.error is None:
            job.error = StoreUnavailableError(why)
    return True


def deliver(group: list[Job]) -> None:
    """On the loop: tell what is committed, and answer all callers that are still there."""
    for job in group:
        if job.error is None:
            for tell in job.after_commit.values():
                try:
                    tell()
                except Exception:  # it is stored all the same, and others wait to be answered
                    log = structlog.stdlib.get_logger("watcherd.store")
                    log.exception("store.not_told", hint="followers of rows have missed a write")
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
