"""The log chain: fields, masking, standard logging, and a writer that never blocks whoever logs."""

import io
import json
import logging
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from watcherd import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class SlowReader(io.StringIO):
    """A stream whose writes wait until somebody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = threading.Event()
        self.waiting = threading.Event()

    def write(self, text: str) -> int:
        self.waiting.set()
        assert self.reading.wait(120)
        return super().write(text)


class FullDisk(io.StringIO):
    """A stream that fails until there is room."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
        self.room = False
        self.tried = threading.Event()

    def write(self, text: str) -> int:
        if not self.room:
            self.tried.set()
            raise self.error
        return super().write(text)


@pytest.fixture
def written() -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """Configure JSON logging; calling the fixture closes it and answers the lines as values."""
    stream = io.StringIO()
    configured = logs.configure("json", "debug", stream)

    def lines() -> list[dict[str, Any]]:
        configured.close()
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    yield lines
    configured.close()


def test_a_line_begins_with_time_level_event_and_logger(written: Callable[..., list[dict[str, Any]]]) -> None:
    logs.get("watcherd.reload").info("reload.finished", generation=3)
    (line,) = written()
    assert list(line) == ["ts", "level", "event", "logger", "generation"]
    assert line["ts"].endswith("Z")
    assert len(line["ts"]) == len("2026-11-22T01:31:46.123456Z")
    assert (line["level"], line["event"], line["logger"]) == ("info", "reload.finished", "watcherd.reload")


def test_bound_context_is_on_own_and_on_foreign_lines(written: Callable[..., list[dict[str, Any]]]) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1", model="shop"):
        logs.get("watcherd").info("request")
        logging.getLogger("uvicorn.error").warning("something %s", "odd")
    first, second = written()
    assert (first["request_id"], first["model"]) == ("r1", "shop")
    assert (second["request_id"], second["event"], second["logger"]) == ("r1", "something odd", "uvicorn.error")


def test_a_logger_made_before_configuring_writes_to_the_new_stream() -> None:
    logger = logs.get("early")
    for _ in range(2):
        stream = io.StringIO()
        configured = logs.configure("json", "info", stream)
        logger.info("hello")
        configured.close()
        assert json.loads(stream.getvalue())["event"] == "hello"


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    configured = logs.configure("json", "warning", stream)
    logs.get("x").info("quiet")
    logging.getLogger("uvicorn").info("quiet")
    logs.get("x").warning("loud")
    configured.close()
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_statements_of_the_database_are_not_logged_even_at_debug(written: Callable[..., list[dict[str, Any]]]) -> None:
    logging.getLogger("sqlalchemy.engine").info("INSERT INTO users VALUES ('secret')")
    assert written() == []


def test_warnings_are_log_lines(written: Callable[..., list[dict[str, Any]]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)  # catch_warnings put its own display in place
        logging.captureWarnings(capture=True)
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    (line,) = written()
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")
    assert "old ways" in line["event"]


def test_an_exception_stays_on_its_line_once(written: Callable[..., list[dict[str, Any]]]) -> None:
    try:
        raise LookupError("gone")
    except LookupError:
        logs.get("x").exception("failed")
        logging.getLogger("asyncio").exception("also failed")
    own, foreign = written()
    for line in (own, foreign):
        assert line["exception"].count("Traceback") == 1
        assert line["exception"].endswith("LookupError: gone")
        assert line["level"] == "error"


@pytest.mark.parametrize(
    "key", ["token", "admin_token", "Authorization", "password", "new-password", "api_key", "client_secret", "Cookie"]
)
def test_secrets_are_masked_by_their_key(key: str, written: Callable[..., list[dict[str, Any]]]) -> None:
    logs.get("x").info("e", **{key: "s3cret"}, nested={"deep": [{key: "s3cret"}]})
    (line,) = written()
    assert line[key] == logs.MASK
    assert "s3cret" not in json.dumps(line)


def test_an_absent_secret_and_words_that_only_look_like_one_are_shown(
    written: Callable[..., list[dict[str, Any]]],
) -> None:
    logs.get("x").info("e", admin_token=None, tokens=3, secretary="Ann")
    (line,) = written()
    assert (line["admin_token"], line["tokens"], line["secretary"]) == (None, 3, "Ann")


def test_the_password_within_an_address_is_masked_in_values_and_tracebacks(
    written: Callable[..., list[dict[str, Any]]],
) -> None:
    address = "postgresql://bob:p@ss@db/shop"
    try:
        raise ValueError(address)
    except ValueError:
        logs.get("x").exception(f"cannot reach {address}", database_url=address)
    (line,) = written()
    assert line["database_url"] == "postgresql://bob:***@db/shop"
    assert "p@ss" not in json.dumps(line)


def test_values_that_json_does_not_know_and_names_that_are_not_utf8_are_shown(
    written: Callable[..., list[dict[str, Any]]],
) -> None:
    logs.get("x").info("e", value={1}, file=os.fsdecode(b"caf\xe9.yaml"), name="图书")
    (line,) = written()
    assert line["value"] == "{1}"
    assert line["file"] == "caf\udce9.yaml"
    assert line["name"] == "图书"


def test_a_newline_in_a_value_does_not_begin_a_new_line(written: Callable[..., list[dict[str, Any]]]) -> None:
    logs.get("x").info("two\nlines", value="a\nb")
    assert len(written()) == 1


def test_a_terminal_gets_the_console_form_and_a_pipe_gets_json() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        configured = logs.configure(None, "info", stream)
        logs.get("x").info("hello", model="shop")
        configured.close()
    assert not terminal.getvalue().startswith("{")
    assert "hello" in terminal.getvalue()
    assert json.loads(pipe.getvalue())["model"] == "shop"


def test_the_console_form_says_in_short_what_the_json_form_says_in_full() -> None:
    stream = io.StringIO()
    configured = logs.configure("console", "info", stream)
    steps = tuple(f"step {number}" for number in range(20))
    logs.get("watcherd").info("schema.applied", steps=steps, plan="0a" * 32, stages={"read": 1.5, "plan": 2})
    logging.getLogger("somebody.else").warning("odd")
    configured.close()
    own, foreign = stream.getvalue().splitlines()
    assert re.match(r"\d\d:\d\d:\d\d\.\d{3} \[info", own)
    assert own.endswith("steps='step 0; step 1; step 2; 17 more' plan=0a0a0a0a0a0a stages='read 1.5, plan 2'")
    assert "[watcherd]" not in own
    assert "[somebody.else]" in foreign


def test_the_server_is_heard_when_something_is_wrong_with_it(written: Callable[..., list[dict[str, Any]]]) -> None:
    logging.getLogger("uvicorn.error").info("Started server process [1]")
    logging.getLogger("uvicorn.error").error("odd")
    (line,) = written()
    assert (line["event"], line["logger"]) == ("odd", "uvicorn.error")


def test_the_console_form_masks_secrets_and_shows_no_locals() -> None:
    stream = io.StringIO()
    configured = logs.configure("console", "info", stream)
    password = "s3cret"  # noqa: F841 - what a traceback with locals would show
    try:
        raise LookupError("gone")
    except LookupError:
        logs.get("x").exception("failed", api_key="s3cret")
    configured.close()
    assert "LookupError: gone" in stream.getvalue()
    assert "s3cret" not in stream.getvalue()


def test_a_stuck_reader_blocks_nobody_and_what_was_dropped_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "CAPACITY", 5)
    stream = SlowReader()
    configured = logs.configure("json", "info", stream)
    logger = logs.get("x")
    logger.info("first")
    assert stream.waiting.wait(120)
    for number in range(8):
        logger.info("line", number=number)
    stream.reading.set()
    configured.close()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["first", *["line"] * 5, "log.dropped"]
    assert [line["number"] for line in lines[1:-1]] == [0, 1, 2, 3, 4]
    assert lines[-1]["count"] == 3


def test_closing_does_not_wait_for_a_stuck_reader() -> None:
    stream = SlowReader()
    configured = logs.configure("json", "info", stream)
    logs.get("x").info("first")
    assert stream.waiting.wait(120)
    configured.close(timeout=0.01)
    stream.reading.set()


def test_lines_lost_to_a_full_disk_are_counted_when_there_is_room_again() -> None:
    stream = FullDisk(OSError(28, "No space left on device"))
    configured = logs.configure("json", "info", stream)
    logs.get("x").info("lost")
    assert stream.tried.wait(120)
    stream.room = True
    logs.get("x").info("kept")
    configured.close()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    counts = [line["count"] for line in lines if line["event"] == "log.dropped"]
    assert len(counts) == 1
    assert counts[0] + len(lines) - 1 == 2


def test_a_log_that_nobody_reads_goes_on_with_the_next_reader_and_says_what_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "RETRY_SECONDS", 0.01)
    path = tmp_path / "log"
    os.mkfifo(path)
    first = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with path.open("w") as stream:
        configured = logs.configure("json", "info", stream)
        os.close(first)
        for number in range(100):
            logs.get("x").info("nobody reads this", number=number)
        while configured.failure is None:
            time.sleep(0.001)
        assert "Broken pipe" in configured.failure
        with path.open() as second:
            while configured.failure is not None:
                time.sleep(0.001)
            logs.get("x").info("somebody reads this")
            configured.close()
            stream.close()
            lines = [json.loads(line) for line in second]
    assert [line["event"] for line in lines if line["event"] != "nobody reads this"] == [
        "log.dropped",
        "somebody reads this",
    ]
    [lost] = [line["count"] for line in lines if line["event"] == "log.dropped"]
    assert lost + len(lines) - 2 == 100


def test_whatever_else_a_line_meets_the_thread_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "RETRY_SECONDS", 0.01)
    stream = FullDisk(MemoryError())
    configured = logs.configure("json", "info", stream)
    logs.get("x").info("lost")
    assert stream.tried.wait(120)
    stream.room = True
    while configured.failure is not None:
        time.sleep(0.001)
    logs.get("x").info("kept")
    configured.close()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line.get("count")) for line in lines] == [("log.dropped", 1), ("kept", None)]


def test_a_pipe_that_does_not_block_gets_every_line() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    received = bytearray()
    with os.fdopen(writing, "w") as stream:
        configured = logs.configure("json", "info", stream)
        for number in range(2000):
            logs.get("x").info("a long enough line to fill the pipe several times over", number=number)
        reader = threading.Thread(target=lambda: received.extend(_read_all(reading)))
        reader.start()
        configured.close()
    reader.join(120)
    assert [json.loads(line)["number"] for line in received.splitlines()] == list(range(2000))


def test_closing_gives_standard_logging_back_and_leaves_no_thread() -> None:
    others, handlers = set(threading.enumerate()), list(logging.getLogger().handlers)
    logs.configure("json", "info", io.StringIO()).close()
    assert not [one for one in set(threading.enumerate()) - others if one.name == "watcherd-log"]
    assert logging.getLogger().handlers == handlers


def _read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read()


def test_the_journal_is_told_the_level_of_each_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+", encoding="utf-8") as stream:
        at = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{at.st_dev}:{at.st_ino}")
        configured = logs.configure("json", "debug", stream)
        logs.get("watcherd").warning("model.rejected")
        logs.get("watcherd").info("model.loaded")
        logging.getLogger("uvicorn.error").error("out of paper")
        configured.close()
        stream.seek(0)
        lines = stream.read().splitlines()
    assert [line[:3] for line in lines] == ["<4>", "<6>", "<3>"]
    assert [json.loads(line[3:])["event"] for line in lines] == ["model.rejected", "model.loaded", "out of paper"]


def test_lines_to_somebody_else_than_the_journal_begin_without_a_level(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The variable is inherited by whatever a service starts, also where its output goes elsewhere."""
    with (tmp_path / "journal").open("w+", encoding="utf-8") as stream:
        monkeypatch.setenv("JOURNAL_STREAM", f"{os.fstat(stream.fileno()).st_dev}:1")
        configured = logs.configure("json", "debug", stream)
        logs.get("watcherd").warning("model.rejected")
        configured.close()
        stream.seek(0)
        assert json.loads(stream.read())["event"] == "model.rejected"
