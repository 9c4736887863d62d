"""Another process with the SQLite database of a daemon: it holds what it is told to hold until it is let go."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_STATEMENTS = """
import sqlite3, sys
path, *statements = sys.argv[1:]
connection = sqlite3.connect(path, isolation_level=None, timeout=120)
for statement in statements:
    connection.execute(statement).fetchall()
print("held", flush=True)
sys.stdin.read()
"""

# What a process leaves that died while it wrote the index of the log, and another one that repairs it: the bytes
# 120 and 122 of that file are the locks of the writer and of the recovery. See "WAL-Index Locks" in SQLite's
# description of its file format.
_RECOVERY = """
import fcntl, sys
index = open(sys.argv[1] + "-shm", "r+b", buffering=0)
for byte in (120, 122):
    fcntl.lockf(index, fcntl.LOCK_EX, 1, byte)
index.write(b"\\xff" * 96)
print("held", flush=True)
sys.stdin.read()
"""


@asynccontextmanager
async def holding(path: Path, *statements: str) -> AsyncIterator[None]:
    """Another process has run these statements, and ends when it is left."""
    async with _other(_STATEMENTS, path, *statements):
        yield


@asynccontextmanager
async def recovering(path: Path) -> AsyncIterator[None]:
    """Another process is about to repair the index of the write-ahead log: nobody can read or write meanwhile."""
    async with _other(_RECOVERY, path):
        yield


@asynccontextmanager
async def _other(script: str, path: Path, *arguments: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(path), *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"held\n"
        yield
    finally:
        process.stdin.close()
        await process.wait()
