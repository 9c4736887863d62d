"""`watcherd backup` on a database that is used: nothing but SQLite itself, and the command as it is typed."""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from watcherd.cli import app
from watcherd.errors import StoreError
from watcherd.store import backup

PAGES = 40


@pytest.fixture
def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """Somebody who has the database open, of many more pages than are copied at a time."""
    monkeypatch.setattr(backup, "_PAGES", 1)
    with closing(sqlite3.connect(tmp_path / "watcherd.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE row (number INTEGER, text TEXT)")
        connection.executemany("INSERT INTO row VALUES (?, ?)", [(0, "x" * 4000)] * PAGES)
        yield connection


def rows(path: Path) -> list[tuple[int, int]]:
    """Each number and how often it is there."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT number, count(*) FROM row GROUP BY number").fetchall()


def test_a_copy_ends_and_is_of_one_moment_though_somebody_writes_between_any_two_pages(
    writer: sqlite3.Connection, tmp_path: Path
) -> None:
    asked = 0

    def go_on() -> bool:
        nonlocal asked
        asked += 1
        writer.execute("UPDATE row SET number = ?", (asked,))
        return asked < 10 * PAGES

    assert rows(backup.back_up(tmp_path / "watcherd.db", go_on=go_on)) == [(0, PAGES)]
    assert asked >= PAGES
    assert rows(tmp_path / "watcherd.db") == [(asked, PAGES)]


def test_what_is_not_whole_is_not_left_behind(writer: sqlite3.Connection, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no time left"):
        backup.back_up(tmp_path / "watcherd.db", tmp_path / "copy.db", go_on=lambda: False)
    assert not list(tmp_path.glob("copy.db*"))
    assert rows(tmp_path / "watcherd.db") == [(0, PAGES)]


def test_a_copy_that_somebody_else_makes_is_left_alone(writer: sqlite3.Connection, tmp_path: Path) -> None:
    (tmp_path / "copy.db.part").write_bytes(b"half")
    with pytest.raises(StoreError, match="File exists"):
        backup.back_up(tmp_path / "watcherd.db", tmp_path / "copy.db")
    assert (tmp_path / "copy.db.part").read_bytes() == b"half"
    assert writer.in_transaction is False


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["backup", *arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.mark.usefixtures("writer")
def test_the_command_says_where_the_copy_is(tmp_path: Path) -> None:
    data = str(tmp_path)
    shown = run("--data-dir", data)
    (copy,) = (tmp_path / "backups").iterdir()
    assert shown == f"The database is saved: {copy}\n"
    assert rows(copy) == [(0, PAGES)]
    named = tmp_path / "far" / "copy.db"
    assert json.loads(run(str(named), "--data-dir", data, "--json")) == {"backup": str(named)}
    assert rows(named) == [(0, PAGES)]
    assert stat.S_IMODE(named.stat().st_mode) == stat.S_IMODE(copy.stat().st_mode) == 0o600
    with pytest.raises(StoreError, match="it is there already"):
        run(str(named), "--data-dir", data)


def test_without_a_database_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no database in"):
        run("--data-dir", str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_server_has_its_own_means() -> None:
    with pytest.raises(StoreError, match="pg_dump"):
        run("--database-url", "postgresql+asyncpg://nobody@127.0.0.1:1/nothing")
