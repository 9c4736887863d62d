"""What other processes do that stand in line to write: told and heard through their standard streams."""

from __future__ import annotations

import asyncio
import mmap
import sys
from pathlib import Path

from watcherd.store.cursor import Cursor
from watcherd.store.sqlite import SqliteDatabase
from watcherd.store.turnstile import Turnstile

HANG_SECONDS = 120
"""A bound of what hangs, on a machine that is busy otherwise."""


def tell(line: str) -> None:
    """Say a line."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def obey(path: str) -> None:
    """Take and give turns as it is told."""
    line = Turnstile(Path(path))
    tell("there")
    for word in sys.stdin:
        if word.strip() == "take":
            tell("took" if line.take(HANG_SECONDS) else "late")
        else:
            line.give()
            tell("gave")


def hurry_on(path: str) -> None:
    """One turn after the other, without pause, each of them counted."""
    with (Path(path).parent / "count").open("r+b") as file:
        count = memoryview(mmap.mmap(file.fileno(), 8)).cast("q")
    line = Turnstile(Path(path))
    while line.take(HANG_SECONDS):
        count[0] += 1
        line.give()


def write_on(path: str, at_once: str) -> None:
    """So many writes at once, without pause."""

    async def write() -> None:
        async def again() -> None:
            while True:
                await database.write(insert)

        database = SqliteDatabase(Path(path), in_line=True)
        await asyncio.gather(*(again() for _ in range(int(at_once))))

    asyncio.run(write())


def hold(path: str) -> None:
    """A write that lasts until it is told to end."""

    def wait(cursor: Cursor) -> None:
        insert(cursor)
        tell("writes")
        sys.stdin.readline()

    async def write() -> None:
        database = SqliteDatabase(Path(path), in_line=True)
        await database.write(wait)
        await database.close()
        tell("wrote")

    asyncio.run(write())


def insert(cursor: Cursor) -> int:
    """Write a row; how many there are."""
    cursor.execute("INSERT INTO t DEFAULT VALUES")
    return count(cursor)


def count(cursor: Cursor) -> int:
    number: int = cursor.execute("SELECT count(*) FROM t").fetchone()[0]
    return number
