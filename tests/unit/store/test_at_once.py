"""What SQLite reads on the event loop's thread: bounded, and numbers that are true."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from watcherd.errors import StoreError
from watcherd.store.at_once import MAX_COUNTED, AtOnce, RestingError, TooMuchError
from watcherd.store.cursor import Cursor

PAGE = "SELECT n FROM numbers ORDER BY n LIMIT 20"
LONG = "SELECT sum(a.n * b.n) FROM numbers a, numbers b"
COUNT = ("SELECT count(*) FROM numbers", ())


class Laid:
    """A table of numbers, read at once and written by another connection."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = sqlite3.connect(path, isolation_level=None)
        self.writer.execute("PRAGMA journal_mode=WAL")
        self.writer.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")
        self.writer.executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in range(1000)])
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.asked: list[str] = []
        self.now = AtOnce(self.connection, lambda: self.asked.append("wake"))
        self.now.wake()
        self.counted = 0

    def page(self) -> list[int]:
        return self.now.read(PAGE, lambda cursor: [row[0] for row in cursor.execute(PAGE)])

    def count(self) -> int:
        return self.now.read(PAGE, lambda cursor: self.now.count(cursor, *COUNT))

    def count_in_a_thread(self) -> int:
        """What a thread would have counted, remembered."""
        before = self.now.version()
        number: int = self.writer.execute(COUNT[0]).fetchone()[0]
        self.now.remember(COUNT, number, before)
        return number

    def fill(self) -> None:
        """Make so many definitions that reading them takes more than a read may take."""
        self.writer.execute("PRAGMA writable_schema=ON")
        self.writer.execute(
            "INSERT INTO sqlite_master (type, name, tbl_name, rootpage, sql) "
            "SELECT 'view', 'v' || (a.n * 10 + b.n), 'v' || (a.n * 10 + b.n), 0, "
            "'CREATE VIEW v' || (a.n * 10 + b.n) || ' AS SELECT 1' "
            "FROM numbers a, numbers b WHERE a.n < 400 AND b.n < 10"
        )
        self.writer.execute("PRAGMA schema_version=77")

    def close(self) -> None:
        self.writer.close()
        self.connection.close()


@pytest.fixture
def laid(tmp_path: Path) -> Iterator[Laid]:
    laid = Laid(tmp_path / "numbers.db")
    yield laid
    laid.close()


def test_many_short_reads_are_never_stopped_for_what_those_before_them_took(laid: Laid) -> None:
    for _ in range(2000):
        assert laid.page() == list(range(20))
        assert laid.now.fetch_row("SELECT n FROM numbers WHERE n = ?", (7,)) == (7,)
        assert laid.now.version() == laid.now.version()


def test_a_long_read_is_stopped_and_not_tried_again_for_a_while(laid: Laid) -> None:
    tried = 0

    def read(cursor: Cursor) -> list[tuple[int]]:
        nonlocal tried
        tried += 1
        rows: list[tuple[int]] = cursor.execute(LONG).fetchall()
        return rows

    for _ in range(50):
        with pytest.raises(TooMuchError):
            laid.now.read(LONG, read)
    assert tried == 1
    assert not laid.connection.in_transaction
    assert laid.page() == list(range(20))
    for _ in range(60):
        with pytest.raises(TooMuchError):
            laid.now.read(LONG, read)
    assert tried == 2


def test_a_number_is_not_counted_here_until_it_is_known_to_be_small(laid: Laid) -> None:
    with pytest.raises(TooMuchError):
        laid.count()
    assert laid.count_in_a_thread() == 1000
    assert laid.count() == 1000


def test_a_number_that_anybody_has_changed_is_counted_again(laid: Laid) -> None:
    laid.count_in_a_thread()
    laid.writer.execute("INSERT INTO numbers VALUES (5000)")
    assert laid.count() == 1001
    laid.writer.execute("BEGIN")
    laid.writer.execute("DELETE FROM numbers WHERE n < 10")
    assert laid.count() == 1001
    laid.writer.execute("COMMIT")
    assert laid.count() == 991


def test_a_number_that_was_counted_while_somebody_wrote_is_a_guess(laid: Laid) -> None:
    before = laid.now.version()
    laid.writer.execute("INSERT INTO numbers VALUES (5000)")
    laid.now.remember(COUNT, 1000, before)
    assert laid.count() == 1001


def test_a_large_number_is_known_here_only_as_long_as_nobody_writes(laid: Laid) -> None:
    numbers = [(number,) for number in range(1000, MAX_COUNTED + 2)]
    laid.writer.execute("BEGIN")
    laid.writer.executemany("INSERT INTO numbers VALUES (?)", numbers)
    laid.writer.execute("COMMIT")
    laid.count_in_a_thread()
    assert laid.count() == MAX_COUNTED + 2
    laid.writer.execute("DELETE FROM numbers WHERE n = 0")
    with pytest.raises(TooMuchError):
        laid.count()


def test_what_the_database_refuses_is_left_to_others_and_ends_the_read(laid: Laid) -> None:
    with pytest.raises(TooMuchError, match="no such table"):
        laid.now.read("x", lambda cursor: cursor.execute("SELECT * FROM missing"))
    with pytest.raises(TooMuchError, match="no such table"):
        laid.now.fetch_row("SELECT * FROM missing", ())
    with pytest.raises(StoreError, match="cannot hold a value"):
        laid.now.fetch_row("SELECT ?", (2**64,))
    assert laid.page() == list(range(20))


def test_what_is_remembered_is_bounded(laid: Laid) -> None:
    sql = "SELECT count(*) FROM numbers WHERE ? <> ''"
    before = laid.now.version()
    for number in range(1000):
        laid.now.remember((sql, (str(number),)), 7, before)
        laid.now.remember((sql, ("x" * 2000 + str(number),)), 7, before)
    kept = [values for _, (values,) in laid.now._counts]
    assert kept == [str(number) for number in range(1000 - len(kept), 1000)]
    assert len(kept) <= 256
    tried = [f"SELECT {number}, sum(a.n * b.n) FROM numbers a, numbers b" for number in range(300)]
    for long in tried:
        with pytest.raises(TooMuchError):
            laid.now.read(long, lambda cursor, sql=long: cursor.execute(sql).fetchall())  # type: ignore[misc]
    assert len(laid.now._too_much) <= 256


def test_while_tables_change_every_read_is_left_to_others_and_then_their_number_stops_none(laid: Laid) -> None:
    assert laid.page() == list(range(20))
    laid.now.rest()
    for read in (laid.page, laid.now.version, laid.count):
        with pytest.raises(TooMuchError):
            read()
    # Their definitions alone are more steps than a read may have.
    laid.fill()
    assert not laid.now.is_behind
    laid.now.wake()
    assert laid.now.resting, "the change is not there yet"
    laid.now.changed()
    assert laid.now.is_behind
    laid.now.wake()
    assert not laid.now.is_behind
    assert laid.page() == list(range(20))


@pytest.mark.parametrize("how", ["page", "row"])
def test_tables_that_another_process_has_changed_are_read_anew_elsewhere_and_nothing_is_held_against_the_read(
    laid: Laid, how: str
) -> None:
    def read() -> object:
        return laid.page() if how == "page" else laid.now.fetch_row("SELECT n FROM numbers WHERE n = ?", (7,))

    expected = read()
    laid.fill()
    for _ in range(3):
        with pytest.raises(RestingError):
            read()
    assert laid.asked == ["wake"], "it is asked for once"
    laid.now.wake()
    assert read() == expected
    assert laid.asked == ["wake"]


def test_a_read_that_is_slow_for_what_it_does_is_tried_again_with_more_patience(laid: Laid) -> None:
    calls = 0

    def slow(number: int) -> int:
        nonlocal calls
        calls += 1
        return sum(range(1000)) and number

    laid.connection.create_function("slow", 1, slow)
    sql = "SELECT slow(n) FROM numbers LIMIT 900"
    for _ in range(2):
        calls = 0
        assert laid.now.read(sql, lambda cursor: cursor.execute(sql).fetchall()) == [(n,) for n in range(900)]
        assert calls > 900, "it was never stopped"
    assert not laid.asked


def test_a_read_that_is_long_by_itself_leaves_the_reader_awake(laid: Laid) -> None:
    with pytest.raises(TooMuchError):
        laid.now.fetch_row(LONG, ())
    assert laid.page() == list(range(20))
    assert not laid.asked


def test_a_read_that_goes_on_when_tables_change_is_waited_for_and_stays_bounded(laid: Laid) -> None:
    """Two threads within one connection stop each other, and with them the process."""
    waking = threading.Thread(target=laid.now.wake)

    def read(cursor: Cursor) -> list[int]:
        laid.now.rest()
        waking.start()
        waking.join(0.1)
        assert waking.is_alive(), "the connection was used by two threads at once"
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            cursor.execute(LONG).fetchall()
        return [row[0] for row in cursor.execute(PAGE)]

    assert laid.now.read(PAGE, read) == list(range(20))
    waking.join(120)
    assert not waking.is_alive()
    laid.now.changed()
    laid.now.wake()
    assert laid.page() == list(range(20))


def test_no_read_waits_for_another_thread_that_has_the_connection(laid: Laid) -> None:
    there, go_on = threading.Event(), threading.Event()

    def slow(_number: int) -> int:
        there.set()
        return int(go_on.wait(120))

    laid.connection.create_function("slow", 1, slow)
    other = threading.Thread(
        target=laid.now.read, args=("SELECT slow(1)", lambda cursor: cursor.execute("SELECT slow(1)").fetchall())
    )
    other.start()
    assert there.wait(120)
    for read in (laid.page, laid.now.version):
        with pytest.raises(TooMuchError):
            read()
    go_on.set()
    other.join(120)
    assert laid.page() == list(range(20))


@pytest.mark.parametrize("stopped", ["BEGIN", "ROLLBACK"])
def test_a_transaction_ends_whatever_statement_of_it_was_stopped(laid: Laid, stopped: str) -> None:
    """One that went on would show each later read by key the rows as they were then, for good."""
    laid.connection.set_progress_handler(laid.now._tick, 1)  # with each step, as it may be with any
    laid.connection.set_trace_callback(lambda sql: setattr(laid.now, "_ticks", 10**9) if sql == stopped else None)
    with suppress(TooMuchError):
        laid.page()
    laid.connection.set_trace_callback(None)
    assert not laid.connection.in_transaction
    laid.writer.execute("INSERT INTO numbers VALUES (5000)")
    assert laid.now.fetch_row("SELECT n FROM numbers WHERE n = ?", (5000,)) == (5000,)
