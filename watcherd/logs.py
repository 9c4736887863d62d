"""Logging: one event a line on standard output, JSON unless somebody watches on a terminal.

Owns the chain from an event to a written line: the fields (`ts` in UTC, `level`, `event`, `logger`,
then the bound context variables and the event's own), the masking of secrets, and one thread that
writes, so that a slow reader never blocks the event loop. The records of the standard library's
`logging` (uvicorn, SQLAlchemy, asyncio, warnings) go through the same chain. Does not own which
events there are: that is `events`, and what is logged about requests is the gateway's.

`event` of our own lines is a name without a blank, such as `model.swapped`. A library's line has the
sentence there that the library says, and `logger` whose it is, such as `uvicorn.error`; whoever asks for
names by `event` never meets one.
"""

from __future__ import annotations

import faulthandler
import io
import json
import logging
import os
import re
import select
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

Format = Literal["json", "console"]

RETRY_SECONDS = 1.0
"""How often it is tried to write again what cannot be written: a disk may have room, a pipe a reader, by then."""

CAPACITY = 10_000
"""Lines that may wait for the writing thread; more are dropped and counted."""

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""The numbers of syslog, which the journal takes from the beginning of a line."""

CLOSE_SECONDS: Final = 2.0
"""How long what waits to be written is waited for when the log is closed."""

ITEMS_SHOWN = 3
"""Items of a list that a line on a terminal shows; it says how many more there are."""
DIGEST_SHOWN = 12

MASK = "***"
_SECRET_KEY = re.compile(r"(?:^|_)(?:token|authorization|password|passwd|api_key|apikey|secret|cookie)$")
_URL_PASSWORD = re.compile(r"(?<=://)([^\s:/@]*):[^\s/]*@")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_STDERR = 2
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
_LEADING_FIELDS = ("ts", "level", "event", "logger")

# Libraries that say at DEBUG or INFO what is nobody's business: rows with their values, each poll, and of a server
# that it starts and stops, which `daemon.started` and `shutdown.stage` tell.
_QUIETEST_LEVEL = {"sqlalchemy": logging.WARNING, "watchfiles": logging.INFO, "uvicorn": logging.WARNING}
_OWN_HANDLERS = ("uvicorn", "uvicorn.error", "uvicorn.access")


def configure(
    format: Format | None,  # noqa: A002 - the setting's name
    level: str,
    stream: TextIO | None = None,
    *,
    worker: int | None = None,
    shared: bool = False,
) -> Logs:
    """Send every log line of the process to `stream` (default: standard output) from now on.

    `format` None chooses `console` on a terminal and `json` elsewhere; `level` is the name of the
    lowest level that is shown, such as `info`. A `worker` says in each line which it is; a stream that
    is `shared` with other processes is written in pieces that no other line gets into; the journal of
    systemd is told the level of each line, which it takes off again. Close what is returned at the very end.
    """
    stream = sys.stdout if stream is None else stream
    on_terminal = stream.isatty()
    threshold = logging.getLevelNamesMapping()[level.upper()]
    writer = _Writer(stream, CAPACITY, select.PIPE_BUF if shared else None)
    for_people = (format or _default_format(on_terminal)) == "console"
    render: Processor = _console(colors=on_terminal) if for_people else _json
    if _is_journal(_descriptor(stream)):
        render = _with_priority(render)
    ending = [*_shared_processors(worker), *([_abridge] if for_people else [])]
    _configure_structlog(writer, threshold, ending, render)
    handler = _configure_stdlib(writer, threshold, ending, render)
    return Logs(writer, handler)


def get(name: str) -> FilteringBoundLogger:
    """Make the logger that says `name` in the field `logger`; may be called before `configure`."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))


def show_where_it_ends() -> None:
    """Have a crash of the interpreter, and SIGABRT, write to standard error what each thread was doing.

    SIGABRT is how the watchdog of systemd ends a process that hangs: nothing else would tell where. Frames of
    other threads are looked at while these run: one that calls and returns at that moment can end the list early,
    and the process with SIGSEGV instead. The manager starts the next one all the same.
    """
    faulthandler.enable(_STDERR)


class Logs:
    """The log in force, from `configure` until `close`."""

    def __init__(self, writer: _Writer, handler: logging.Handler) -> None:
        self._writer = writer
        self._handler = handler

    @property
    def failure(self) -> str | None:
        """Why lines are lost now, for who looks elsewhere: the log itself cannot say it. None where they are not."""
        return self._writer.failure

    def close(self, timeout: float | None = None) -> None:
        """Write what waits, at most `timeout` seconds long (`CLOSE_SECONDS`), and give standard logging back."""
        logging.captureWarnings(capture=False)
        logging.getLogger().removeHandler(self._handler)
        structlog.reset_defaults()
        self._writer.close(CLOSE_SECONDS if timeout is None else timeout)


def _default_format(on_terminal: bool) -> Format:  # noqa: FBT001 - a fact about the stream
    return "console" if on_terminal else "json"


def _console(*, colors: bool) -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=colors and not os.environ.get("NO_COLOR"),
        timestamp_key="ts",
        sort_keys=False,
        exception_formatter=structlog.dev.plain_traceback,  # the rich one shows locals, secrets among them
    )


def _abridge(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """What a person takes in at a glance: the time of day where he is, and of what is long the beginning."""
    shown = {key: _in_short(value) for key, value in event.items()}
    shown["ts"] = datetime.fromisoformat(event["ts"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    if str(shown.get("logger", "")).partition(".")[0] == "watcherd":
        del shown["logger"]  # what is not ours says whose it is
    return shown


def _in_short(value: Any) -> Any:
    if isinstance(value, str) and _DIGEST.fullmatch(value):
        return value[:DIGEST_SHOWN]
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, list | tuple):
        more = [f"{len(value) - ITEMS_SHOWN} more"] if len(value) > ITEMS_SHOWN else []
        return "; ".join([*map(str, value[:ITEMS_SHOWN]), *more])
    return value


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    leading = {key: event.pop(key) for key in _LEADING_FIELDS if key in event}
    return _encode({**leading, **event})


def _is_journal(descriptor: int | None) -> bool:
    """Whether a descriptor is the stream to the journal that systemd made for this service."""
    if descriptor is None:
        return False
    at = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{at.st_dev}:{at.st_ino}"


def _with_priority(render: Processor) -> Processor:
    def render_with_priority(logger: WrappedLogger, method: str, event: EventDict) -> str:
        priority = _PRIORITIES.get(event["level"], _PRIORITIES["info"])
        return f"<{priority}>{render(logger, method, event)!s}"

    return render_with_priority


def _configure_structlog(writer: _Writer, threshold: int, ending: list[Processor], render: Processor) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _add_logger_name,
            *ending,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda name="watcherd", *_: _LineLogger(writer, name),
        # Loggers are made when modules are imported, so they must not remember a writer.
        cache_logger_on_first_use=False,
    )


def _configure_stdlib(writer: _Writer, threshold: int, ending: list[Processor], render: Processor) -> logging.Handler:
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *ending,
            render,
        ],
    )
    handler = _LineHandler(writer)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(threshold)
    for name, quietest in _QUIETEST_LEVEL.items():
        logging.getLogger(name).setLevel(max(threshold, quietest))
    for name in _OWN_HANDLERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.captureWarnings(capture=True)
    return handler


def _shared_processors(worker: int | None) -> list[Processor]:
    """List what both chains end with before rendering; secrets are masked in tracebacks as well."""

    def add_worker(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["worker"] = worker
        return event

    return [
        *([] if worker is None else [add_worker]),
        _add_time,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _mask_secrets,
    ]


def _add_time(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["ts"] = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return event


def _add_logger_name(logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["logger"] = cast("_LineLogger", logger).name
    return event


def _mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: _masked(key, value) for key, value in event.items()}


def _masked(key: str, value: Any) -> Any:
    if isinstance(value, str):
        if _is_secret(key):
            return MASK
        return _URL_PASSWORD.sub(rf"\1:{MASK}@", value) if "://" in value else value
    if value is not None and _is_secret(key):
        return MASK
    if isinstance(value, Mapping):
        return {inner: _masked(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", item) for item in value]
    return value


@lru_cache(4096)
def _is_secret(key: str) -> bool:
    return _SECRET_KEY.search(key.lower().replace("-", "_")) is not None


class _LineLogger:
    """What structlog calls with a rendered line: hands it to the writer."""

    def __init__(self, writer: _Writer, name: str) -> None:
        self.name = name
        self._write = writer.put

    def msg(self, line: str) -> None:
        self._write(line)

    debug = info = warning = error = critical = fatal = exception = log = msg


class _LineHandler(logging.Handler):
    """What standard logging calls with a record: renders it and hands it to the writer."""

    def __init__(self, writer: _Writer) -> None:
        super().__init__()
        self._write = writer.put

    def emit(self, record: logging.LogRecord) -> None:
        self._write(self.format(record))


class _Writer:
    """A bounded queue of lines and the one thread that writes them, whatever the reader does.

    Lines are taken from the queue in batches, so at most twice the capacity is in memory.
    """

    def __init__(self, stream: TextIO, capacity: int, most_at_once: int | None = None) -> None:
        stream.flush()
        self._most_at_once = most_at_once
        self._stream = stream
        self._descriptor = _descriptor(stream)
        self._capacity = capacity
        self._lines: deque[str] = deque()
        self._dropped = 0
        self.failure: str | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="watcherd-log", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Queue one line without its newline; never blocks on the reader, drops when full."""
        with self._changed:
            if self._closed:
                return
            if len(self._lines) >= self._capacity:
                self._dropped += 1
                return
            self._lines.append(line)
            self._changed.notify()

    def close(self, timeout: float) -> None:
        """Let the thread write what waits, and wait for it; a stuck reader is left behind."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            batch, dropped = taken
            # The newest lines were dropped, so the count follows what the queue held.
            lines = [*batch, _dropped_line(dropped)] if dropped else batch
            try:
                for piece in _pieces(lines, self._most_at_once):
                    self._write(piece)
            except Exception as error:  # noqa: BLE001 - whatever it is, there is no other thread to write what comes
                # A full disk may have room later, and a pipe that nobody reads another reader.
                with self._changed:
                    self._dropped += len(batch) + dropped
                    self.failure = f"{str(error) or type(error).__name__}; {self._dropped} lines are lost"
            else:
                self.failure = None

    def _take(self) -> tuple[list[str], int] | None:
        """Wait for lines; answers them and how many were dropped after them. None: closed.

        Where lines were lost, their count alone is tried now and then: it is known by that when it goes on.
        """
        with self._changed:
            retry = None if self.failure is None else RETRY_SECONDS
            self._changed.wait_for(lambda: self._lines or self._closed, retry)
            if self._closed and not self._lines:
                return None
            batch = list(self._lines)
            self._lines.clear()
            dropped, self._dropped = self._dropped, 0
            return batch, dropped

    def _write(self, text: str) -> None:
        # File names that are not UTF-8 reach the log as lone surrogates.
        data = text.encode("utf-8", "backslashreplace")
        if self._descriptor is None:
            self._stream.write(data.decode("utf-8"))
            self._stream.flush()
            return
        # Not through the stream's buffer: a thread that is stuck in it would abort the interpreter at exit,
        # and what a broken pipe left in it would turn the exit code into 120.
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])


def _pieces(lines: list[str], most: int | None) -> Iterator[str]:
    """Whole lines, together as one text, or as texts of at most `most` bytes where a line is not longer."""
    if most is None:
        yield "\n".join(lines) + "\n"
        return
    piece, size = "", 0
    for line in lines:
        bytes_ = len(line.encode("utf-8", "backslashreplace")) + 1
        if piece and size + bytes_ > most:
            yield piece
            piece, size = "", 0
        piece, size = f"{piece}{line}\n", size + bytes_
    yield piece


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (AttributeError, io.UnsupportedOperation):
        return None


def _dropped_line(count: int) -> str:
    event = {"level": "warning", "event": "log.dropped", "logger": __name__, "count": count}
    return _json(None, "warning", _add_time(None, "warning", event))
