from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from watcherd.store import Store

Query = Callable[..., list[Any]]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(None, tmp_path, durability="normal")
    yield opened
    await opened.close()


@pytest.fixture
def query(tmp_path: Path) -> Query:
    """Look at the database, or meddle with it, beside the store."""

    def run(sql: str, *parameters: object) -> list[Any]:
        with closing(sqlite3.connect(tmp_path / "watcherd.db", isolation_level=None)) as connection:
            return connection.execute(sql, parameters).fetchall()

    return run
