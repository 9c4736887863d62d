"""What is saved when it is asked for, or before anything is dropped: an SQLite database, of a server's its rows.

A copy is made by SQLite's own means, as of one moment, also while a daemon writes. Of a server only
what goes is saved, by whoever drops it and in the same transaction: NDJSON, a file for each table or
column, with values as they are stored.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from watcherd.errors import StoreError
from watcherd.store.cursor import Cursor
from watcherd.store.names import quoted

BACKUPS: Final = "backups"
"""The directory of backups, beside the database."""

_PAGES: Final = 1_000
"""Copied between two questions whether to go on: milliseconds."""


def back_up(path: Path, target: Path | None = None, go_on: Callable[[], bool] = lambda: True) -> Path:
    """Copy the database at `path` as of one moment, whoever writes it meanwhile. Returns and raises as `copy_of`."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, isolation_level=None)) as source:
            # One transaction: from a copy that sees what others commit, SQLite would begin anew each time.
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            return copy_of(source, path, go_on, target)
    except sqlite3.Error as error:
        raise StoreError(f"cannot back up {path}: {error}") from error


def copy_of(
    source: sqlite3.Connection, path: Path, go_on: Callable[[], bool] = lambda: True, target: Path | None = None
) -> Path:
    """Copy what a connection sees of the database at `path`; returns where the copy is. StoreError.

    That is `target`, which must not be there yet, else a new file in `backups`; what is not whole is not left behind.
    `go_on` is asked now and then; false ends it.
    """
    if target is None:
        target = path.parent / BACKUPS / f"{path.stem}-{_now()}{path.suffix}"
    elif target.exists():
        raise StoreError(f"cannot back up {path} to {target}: it is there already")
    part = target.with_name(f"{target.name}.part")

    def ask(_: int, __: int, ___: int) -> None:
        if not go_on():
            raise StoreError(f"cannot back up {path} to {target}: there is no time left")

    try:
        if not target.parent.exists():
            target.parent.mkdir(mode=0o700, parents=True)
            _as_owned(target.parent)
        part.touch(mode=0o600, exist_ok=False)  # for nobody else, also where the directory is open to all
    except FileExistsError as error:
        hint = "another backup writes there; if none does, one was killed, and what it left is to be removed"
        raise StoreError(f"cannot back up {path} to {target}: {error}: {hint}") from error
    except OSError as error:
        raise StoreError(f"cannot back up {path} to {target}: {error}") from error
    try:
        with closing(sqlite3.connect(part)) as copy:
            source.backup(copy, pages=_PAGES, progress=ask)
            (verdict,) = copy.execute("PRAGMA quick_check").fetchone()
        if verdict != "ok":
            raise StoreError(f"cannot back up {path}: the copy is damaged: {verdict}")
        _as_owned(part)
        part.rename(target)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot back up {path} to {target}: {error}") from error
    finally:
        with suppress(OSError):  # what there is to say of the place has been said
            part.unlink()
    return target


def _as_owned(made: Path) -> None:
    """Give what was made to whom its directory belongs: root drops what is parked, and the daemon is somebody else."""
    if os.geteuid() == 0:
        owner = made.parent.stat()
        os.chown(made, owner.st_uid, owner.st_gid)


def new_directory(data_dir: Path) -> Path:
    """An empty directory for what a server's database is going to lose. StoreError."""
    target = data_dir / BACKUPS / f"watcherd-{_now()}"
    try:
        target.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise StoreError(f"cannot back up to {target}: {error.strerror}") from error
    return target


def save_rows(cursor: Cursor, table: str, columns: Iterable[str], where: str, target: Path) -> int:
    """Write some columns of a table, an object a line, and have it on the disk; how many rows. StoreError."""
    names = list(columns)
    listed = ", ".join(quoted(name) for name in names)
    count = 0
    try:
        with target.open("x", encoding="utf-8") as file:
            for row in cursor.stream(f"SELECT {listed} FROM {quoted(table)} WHERE {where}"):  # noqa: S608 - quoted names
                file.write(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + "\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreError(f"cannot back up {table} to {target}: {error.strerror}") from error
    return count


def save_description(target: Path, content: Sequence[Mapping[str, Any]]) -> None:
    """Write beside the rows what they are, and have the directory itself on the disk. StoreError."""
    try:
        with (target / "contents.json").open("x", encoding="utf-8") as file:
            json.dump(content, file, ensure_ascii=False, indent=2)
            file.flush()
            os.fsync(file.fileno())
        descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(f"cannot back up to {target}: {error.strerror}") from error


def _now() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
