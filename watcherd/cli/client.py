"""The admin API from a terminal: one request to a running daemon, its answer as JSON.

Owns where the daemon is (what `serve` would listen on with the same settings, or `--url`), the
token, and how a refusal becomes one line. Does not own what is asked for or how it is shown:
commands do.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from watcherd.errors import WatcherdError

if TYPE_CHECKING:
    from watcherd.settings import Settings

CONNECT_SECONDS = 10.0

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared with, not bound to
_SUCCESS = range(200, 300)


class DaemonError(WatcherdError):
    """The daemon cannot be asked, or refuses; the message names its address and what it said."""


def ask(
    method: str,
    path: str,
    *,
    url: str | None = None,
    query: Mapping[str, str] | None = None,
    content: tuple[str, bytes] | None = None,
    timeout: float = 300,
) -> Any:
    """Send one request to the admin API and return the JSON of its answer.

    `url` is `http://host:port` or `unix:/path`, by default that of the settings; `timeout` is in
    seconds, for the answer; `content` is the type of the body and the body. Raises DaemonError, and
    SettingsError where the settings are unusable.
    """
    from watcherd import settings

    chosen = settings.load({})
    address = url or address_of(chosen)
    headers = {"accept": "application/json"}
    if chosen.admin_token is not None:
        headers["authorization"] = f"Bearer {chosen.admin_token.get_secret_value()}"
    connection = _connection(address)
    try:
        connection.connect()
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        if content is not None:
            headers["content-type"] = content[0]
        sent = None if content is None else content[1]
        connection.request(method, f"{path}?{urlencode(query)}" if query else path, sent, headers)
        answer = connection.getresponse()
        status, body = answer.status, answer.read()
    except TimeoutError as error:
        raise DaemonError(f"the daemon at {address} has not answered in time") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DaemonError(
            f"cannot reach a daemon at {address}: {reason}; start one with `watcherd serve`, or name another by --url"
        ) from error
    finally:
        connection.close()
    return _understood(address, status, body)


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


def _understood(address: str, status: int, body: bytes) -> Any:
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise DaemonError(f"what answers at {address} is no watcherd: status {status}, and no JSON") from error
    if status in _SUCCESS:
        return answer
    detail = answer.get("detail") if isinstance(answer, dict) else None
    raise DaemonError(f"the daemon at {address} refuses ({status}): {detail or body.decode('utf-8', 'replace')}")
