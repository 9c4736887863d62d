"""The admin API from a terminal: one request to a running daemon, its answer as JSON or as events.

Owns where the daemon is (what `serve` would listen on with the same settings, or `--url`), the
token, and how a refusal becomes one line. Does not own what is asked for or how it is shown:
commands do.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from watcherd.errors import WatcherdError

if TYPE_CHECKING:
    from watcherd.settings import Settings

CONNECT_SECONDS = 10.0
SILENT_SECONDS = 60.0
"""How long a stream may be silent: its heartbeat comes four times in that."""

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared with, not bound to
_SUCCESS = range(200, 300)


class DaemonError(WatcherdError):
    """The daemon cannot be asked, or refuses; the message names its address and what it said."""


class RefusedError(DaemonError):
    """The daemon answered that it will not; `status` is that of HTTP, `answer` the problem that it told."""

    def __init__(self, message: str, status: int, answer: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.status = status
        self.answer = answer


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of a stream; `retry_seconds` is how long to wait before coming back, as a `bye` says."""

    name: str
    id: str | None
    data: Mapping[str, Any]
    retry_seconds: float


def ask(
    method: str,
    path: str,
    *,
    url: str | None = None,
    query: Mapping[str, str] | None = None,
    content: tuple[str, bytes] | None = None,
    accepted: Collection[int] = (),
    timeout: float = 300,
) -> Any:
    """Send one request to the admin API and return the JSON of its answer.

    `url` is `http://host:port` or `unix:/path`, by default that of the settings; `timeout` is in
    seconds, for the answer; `content` is the type of the body and the body; `accepted` are statuses
    that are answers beside those of success. Raises RefusedError for the others, DaemonError where
    nobody answers, and SettingsError where the settings are unusable.
    """
    headers = {"accept": "application/json"}
    if content is not None:
        headers["content-type"] = content[0]
    target = f"{path}?{urlencode(query)}" if query else path
    with _asked(method, target, url, headers, None if content is None else content[1], timeout) as (address, answer):
        status, body = answer.status, answer.read()
    return _understood(address, status, body, accepted)


def listen(path: str, *, url: str | None = None, last_event_id: str | None = None) -> Iterator[ServerEvent]:
    """Read a stream of events to its end; raises as `ask` does."""
    headers = {"accept": "text/event-stream"}
    if last_event_id is not None:
        headers["last-event-id"] = last_event_id
    with _asked("GET", path, url, headers, None, SILENT_SECONDS) as (address, answer):
        if answer.status not in _SUCCESS:
            _understood(address, answer.status, answer.read(), ())
        yield from _events(answer)


def _events(answer: http.client.HTTPResponse) -> Iterator[ServerEvent]:
    fields: dict[str, str] = {}
    for raw in answer:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if "event" in fields:
            retry = fields.get("retry", "0")
            yield ServerEvent(
                fields["event"], fields.get("id"), json.loads(fields.get("data", "{}")), int(retry) / 1000
            )
        fields = {}


@contextmanager
def _asked(
    method: str, target: str, url: str | None, headers: dict[str, str], body: bytes | None, timeout: float
) -> Iterator[tuple[str, http.client.HTTPResponse]]:
    """Send a request; gives the daemon's address and its answer, whose body can be read until the end of the block."""
    from watcherd import settings

    chosen = settings.load({})
    address = url or address_of(chosen)
    if chosen.admin_token is not None:
        headers["authorization"] = f"Bearer {chosen.admin_token.get_secret_value()}"
    connection = _connection(address)
    try:
        connection.connect()
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        connection.request(method, target, body, headers)
        yield address, connection.getresponse()
    except TimeoutError as error:
        raise DaemonError(f"the daemon at {address} has not answered in time") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DaemonError(
            f"cannot reach a daemon at {address}: {reason}; start one with `watcherd serve`, or name another by --url"
        ) from error
    finally:
        connection.close()


def address_of(chosen: Settings) -> str:
    """Where a daemon with these settings listens. Raises DaemonError where they do not say."""
    if chosen.uds is not None:
        return f"unix:{chosen.uds}"
    if chosen.port == 0 or chosen.fd is not None:
        raise DaemonError("the settings do not say where the daemon listens: give its address as --url")
    host = _EVERYWHERE.get(chosen.host, chosen.host)
    return f"http://[{host}]:{chosen.port}" if ":" in host else f"http://{host}:{chosen.port}"


def _connection(address: str) -> http.client.HTTPConnection:
    if address.startswith("unix:"):
        return _UnixConnection(address.removeprefix("unix:"))
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or parts.scheme not in {"http", "https"} or parts.path not in {"", "/"}:
        raise DaemonError(f"cannot use the address {address!r}: write http://host:port or unix:/path")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(host, port, timeout=CONNECT_SECONDS)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket; the daemon is named `localhost` in it."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=CONNECT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _understood(address: str, status: int, body: bytes, accepted: Collection[int]) -> Any:
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise DaemonError(f"what answers at {address} is no watcherd: status {status}, and no JSON") from error
    if status in _SUCCESS or status in accepted:
        return answer
    problem = answer if isinstance(answer, dict) else {}
    told = problem.get("detail") or body.decode("utf-8", "replace")
    raise RefusedError(f"the daemon at {address} refuses ({status}): {told}", status, problem)
