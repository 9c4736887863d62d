"""The client side of the benchmarks: a raw keep-alive connection, and steady traffic beside it.

A raw socket, since a client library would cost more than the answer that is waited for. Owns what
counts as a failed request: one that was refused, reset, closed before its answer, or answered 5xx.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field

ANSWER_SECONDS = 20.0
"""How long an answer may take before the request counts as failed."""

PACE_SECONDS = 0.005
"""The pause of the steady traffic between two requests, unless it is told another."""


class NoAnswerError(Exception):
    """The request was not answered."""


@dataclass(slots=True)
class Count:
    """What became of requests; `slowest` is the longest that one was answered after, in seconds."""

    requests: int = 0
    failed: int = 0
    slowest: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)

    def answered(self, seconds: float) -> None:
        """Count a good answer."""
        self.requests += 1
        self.slowest = max(self.slowest, seconds)

    def failure(self, reason: str) -> None:
        """Count a failed request."""
        self.requests += 1
        self.failed += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def add(self, other: Count) -> None:
        """Add what another connection counted."""
        self.requests += other.requests
        self.failed += other.failed
        self.slowest = max(self.slowest, other.slowest)
        for reason, times in other.reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + times


class Connection:
    """One keep-alive connection to 127.0.0.1; connects when it has to."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of one GET. NoAnswerError, with the reason, closes the connection."""
        status, pieces = self.get_pieces(path)
        return status, b"".join(pieces)

    def get_pieces(self, path: str) -> tuple[int, list[bytes]]:
        """The same with the body as it came: to join a large one takes this process as long as receiving it."""
        try:
            if self._socket is None:
                self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_SECONDS)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            return _read_answer(self._socket)
        except (OSError, NoAnswerError) as error:
            self.close()
            raise NoAnswerError(_reason(error)) from error

    def close(self) -> None:
        """Close the connection; the next request opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _read_answer(connection: socket.socket) -> tuple[int, list[bytes]]:
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _receive(connection)
    head = data[:end].lower()
    _, _, rest = head.partition(b"content-length:")
    length = int(rest.partition(b"\r\n")[0])
    parts = [data[end + 4 :]]
    missing = length - len(parts[0])
    while missing > 0:
        parts.append(_receive(connection))
        missing -= len(parts[-1])
    return int(head[9:12]), parts


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise NoAnswerError("closed before the answer")
    return data


def _reason(error: Exception) -> str:
    match error:
        case ConnectionRefusedError():
            return "refused"
        case ConnectionResetError() | BrokenPipeError():
            return "reset"
        case TimeoutError():
            return f"no answer in {ANSWER_SECONDS:.0f} s"
        case _:
            return str(error)


def wait_for(  # noqa: PLR0913 - what to ask, what to see, and for how long
    connection: Connection, path: str, text: bytes, count: Count, *, seconds: float, pause: float = 0
) -> None:
    """Ask until an answer is 200 and contains `text`, with `pause` seconds between two questions.

    TimeoutError after `seconds`.
    """
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        if count_get(connection, path, count, text):
            return
        if pause:
            time.sleep(pause)
    raise TimeoutError(f"GET {path} did not show {text.decode()} within {seconds:.0f} s")


def count_get(connection: Connection, path: str, count: Count, text: bytes = b"") -> bool:
    """Count one request; True if the answer is 200 and contains `text`."""
    asked = time.perf_counter()
    try:
        status, body = connection.get(path)
    except NoAnswerError as error:
        count.failure(str(error))
        return False
    if status >= 500:
        count.failure(f"status {status}")
        return False
    count.answered(time.perf_counter() - asked)
    return status == 200 and text in body


class SteadyTraffic:
    """A second connection that goes on asking, in a thread, from entering until leaving the context."""

    def __init__(self, port: int, path: str, count: Count, *, pace: float = PACE_SECONDS) -> None:
        self._connection = Connection(port)
        self._path = path
        self._count = count
        self._pace = pace
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="steady traffic")

    def __enter__(self) -> None:
        with contextlib.suppress(NoAnswerError):  # connected before the clock runs; failures count from then on
            self._connection.get(self._path)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while not self._stop.wait(self._pace):
            count_get(self._connection, self._path, self._count)
