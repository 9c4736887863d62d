"""A copy of an SQLite database, by SQLite's own means: before anything is dropped."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from watcherd.errors import StoreError

BACKUPS: Final = "backups"
"""The directory of backups, beside the database."""


def back_up(path: Path) -> Path:
    """Copy the database at `path` while nobody writes it; returns where the copy is. StoreError."""
    directory = path.parent / BACKUPS
    target = directory / f"{path.stem}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}{path.suffix}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
            (verdict,) = copy.execute("PRAGMA quick_check").fetchone()
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot back up {path} to {target}: {error}") from error
    if verdict != "ok":
        raise StoreError(f"cannot back up {path}: the copy at {target} is damaged: {verdict}")
    return target
