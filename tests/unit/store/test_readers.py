"""Which reader of SQLite serves, and which of them looks at the tables anew, and when."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from watcherd.store.readers import LOOK_AGAIN, Readers


class Noted(sqlite3.Connection):
    """A connection that says when it reads definitions."""

    looks = 0
    look: Callable[[], None] | None = None

    def execute(self, sql: str, parameters: object = (), /) -> sqlite3.Cursor:
        if sql == LOOK_AGAIN:
            self.looks += 1
            if self.look is not None:
                self.look()
        return super().execute(sql, parameters)  # type: ignore[arg-type]


class Laid:
    """A database that one connection changes, and readers of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.writer.execute("PRAGMA journal_mode=WAL")
        self.made: list[Noted] = []
        self.change()
        self.readers = Readers(self._connect)

    def _connect(self) -> sqlite3.Connection:
        made: Noted = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, factory=Noted)
        self.made.append(made)
        return made

    def change(self) -> None:
        """Make one more table."""
        (number,) = self.writer.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        self.writer.execute(f"CREATE TABLE t{number} (x)")

    def read(self) -> sqlite3.Connection:
        """Which connection a short read gets."""
        with self.readers.lent() as connection:
            return connection

    def together(self, number: int) -> None:
        """So many reads at the same time."""
        with ExitStack() as stack:
            assert len({id(stack.enter_context(self.readers.lent())) for _ in range(number)}) == number

    def looks(self) -> list[int]:
        """How often each connection has read the definitions since the last time that this was asked."""
        looks = [one.looks for one in self.made]
        for one in self.made:
            one.looks = 0
        return looks

    def close(self) -> None:
        self.readers.close()
        self.writer.close()


@pytest.fixture
def laid(tmp_path: Path) -> Iterator[Laid]:
    laid = Laid(tmp_path / "x.db")
    yield laid
    laid.close()


def test_reads_one_after_the_other_need_one_connection_that_looks_once(laid: Laid) -> None:
    for _ in range(5):
        laid.read()
    assert laid.looks() == [1]


def test_a_read_gets_a_connection_that_knows_the_tables_where_one_is_free(laid: Laid) -> None:
    laid.together(2)
    with laid.readers.lent() as outdated:
        laid.change()
        assert laid.readers.renew()
    laid.looks()
    assert laid.read() is not outdated, "it was the last to be given back"
    assert laid.looks() == [0, 0]
    with laid.readers.lent(), laid.readers.lent():
        assert sum(laid.looks()) == 1, "two at the same time have to be two"


def test_those_that_nobody_uses_are_brought_up_to_date_one_by_one(laid: Laid) -> None:
    assert not laid.readers.renew(), "there are none yet"
    laid.together(3)
    laid.looks()
    laid.change()
    with laid.readers.lent():
        assert sum(laid.looks()) == 1
        assert [laid.readers.renew() for _ in range(3)] == [True, True, False]
    assert sorted(laid.looks()) == [0, 1, 1]
    laid.together(3)
    assert laid.looks() == [0, 0, 0]


def test_those_that_nobody_has_used_since_the_last_change_are_left_as_they_are(laid: Laid) -> None:
    laid.together(2)
    for _ in range(3):
        laid.change()
        while laid.readers.renew():
            pass
    assert laid.looks() == [2, 2], "once to begin with, once for the first change"
    laid.read()
    laid.change()
    assert [laid.readers.renew() for _ in range(2)] == [True, False]
    assert sum(laid.looks()) == 2, "for the read, and for the change after it"


def test_one_that_reads_while_tables_change_looks_at_them_when_it_is_needed_next(laid: Laid) -> None:
    with laid.readers.lent():
        laid.change()
    laid.looks()
    laid.read()
    assert laid.looks() == [1]


def test_one_at_a_time_reads_definitions(laid: Laid) -> None:
    started, both = threading.Barrier(3), threading.Barrier(2)
    met = []

    def look() -> None:
        try:
            both.wait(0.05)
        except threading.BrokenBarrierError:
            both.reset()
        else:
            met.append("two at a time")

    def read() -> None:
        started.wait(120)
        laid.read()

    laid.together(3)
    laid.change()
    for one in laid.made:
        one.look = look
    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not met


def test_who_waits_for_another_ones_look_takes_its_connection_where_that_is_free_by_then(laid: Laid) -> None:
    looking, go_on, got = threading.Event(), threading.Event(), []

    def look() -> None:
        looking.set()
        assert go_on.wait(120)

    laid.together(2)
    laid.change()
    laid.looks()
    for one in laid.made:
        one.look = look
    renewing = threading.Thread(target=laid.readers.renew)
    renewing.start()
    assert looking.wait(120)
    reading = threading.Thread(target=lambda: got.append(laid.read()))
    reading.start()
    go_on.set()
    for thread in (renewing, reading):
        thread.join(120)
    assert sum(laid.looks()) == 1
    assert len(got) == 1


def test_a_look_that_fails_is_told_and_leaves_the_connection_for_the_next(laid: Laid) -> None:
    def fail() -> None:
        raise sqlite3.OperationalError("disk I/O error")

    laid.read()
    laid.change()
    laid.made[0].look = fail
    for use in (laid.read, laid.readers.renew):
        with pytest.raises(sqlite3.OperationalError):
            use()
    laid.made[0].look = None
    assert laid.read() is laid.made[0]
    laid.change()
    laid.made[0].close()
    for use in (laid.read, laid.readers.renew):
        with pytest.raises(sqlite3.ProgrammingError):
            use()
    assert len(laid.readers._idle) == 1
