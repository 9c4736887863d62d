from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import Postgres
from watcherd.store import Store

Query = Callable[[str], list[Any]]
Objects = Callable[[], dict[str, str]]
Written = Callable[[], object]

_SQLITE_OBJECTS = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
_POSTGRES_OBJECTS = """
SELECT table_name || '.' || column_name, concat_ws(' ', data_type, collation_name, column_default)
FROM information_schema.columns WHERE table_schema = current_schema()
UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()
UNION ALL SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = current_schema()::regnamespace AND contype IN ('c', 'f')
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, make_database_url: Callable[[str], str]) -> str:
    """An empty database, of both kinds one after the other."""
    return make_database_url(request.param)


@pytest.fixture
async def store(database_url: str, tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(database_url, tmp_path, durability="normal")
    yield opened
    await opened.close()


@pytest.fixture
def query(database_url: str, request: pytest.FixtureRequest, tmp_path: Path) -> Query:
    """Look at the database, or meddle with it, beside the store."""

    def run(sql: str) -> list[Any]:
        if database_url.startswith("postgresql"):
            server: Postgres = request.getfixturevalue("postgres")
            return server.query(request.getfixturevalue("schema"), sql)
        with closing(sqlite3.connect(tmp_path / "watcherd.db", isolation_level=None)) as connection:
            return connection.execute(sql).fetchall()

    return run


@pytest.fixture
def objects(database_url: str, query: Query) -> Objects:
    """What is in the database, by name, with what it is."""
    sql = _SQLITE_OBJECTS if database_url.startswith("sqlite") else _POSTGRES_OBJECTS
    return lambda: dict(query(sql))


@pytest.fixture
def written(database_url: str, query: Query, tmp_path: Path) -> Iterator[Written]:
    """Something that changes with every commit that has written, and with nothing else."""
    if database_url.startswith("postgresql"):
        yield lambda: query("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
        return
    with closing(sqlite3.connect(tmp_path / "watcherd.db")) as other:
        yield lambda: other.execute("PRAGMA data_version").fetchone()
