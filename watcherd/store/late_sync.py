"""Commits that are told before the disk has them: of what can be read from the model files again.

A reload waits for its record in the catalog, and for the tables that it changes, to be committed, not
for them to be on the disk: that is made up for at once, after the caller has been told. What kills the
process takes nothing of it away, since it is in the write-ahead log of the kernel's cache by then. A
loss of power may take the last milliseconds of that log, from its end:

- a row is told of when the log is on the disk up to it, and with it everything that came before, so no
  row outlives the tables that it was written to, nor the record of the revision that wrote it;
- what is lost then is a change of the tables and its record, both or none. The next start finds the
  tables and the catalog as they were before, reads the file, and makes the change again. If the file's
  new content was lost as well, it has never been; its number goes to the next one.

So only what follows from the files may be told early. What an administrator decides does not, nor does
what a client writes. Without a write-ahead log a commit that does not wait may break the file: there
every commit waits.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path


def put_off(connection: sqlite3.Connection) -> bool:
    """Let the next commits not wait for the disk, to be called outside of transactions; whether they will not."""
    [(journal,)] = connection.execute("PRAGMA journal_mode").fetchall()
    if journal != "wal":
        return False
    connection.execute("PRAGMA synchronous=NORMAL")
    return True


def restore(connection: sqlite3.Connection) -> None:
    """Let commits wait for the disk again; to be called outside of transactions."""
    connection.execute("PRAGMA synchronous=FULL")


def make_up(log: Path) -> None:
    """Wait until the disk has what was committed; `log` is the write-ahead log.

    An error is not lost: the system tells it to every descriptor of a file, so SQLite's next commit that
    waits for the disk fails of it.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(log, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fdatasync(descriptor)  # SQLite's locks are in other files: this one may be closed
        finally:
            os.close(descriptor)
