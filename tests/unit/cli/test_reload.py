"""`reload` and the client behind it: which daemon is asked, and how what it says is understood."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from watcherd.cli.client import DaemonError, address_of, ask
from watcherd.settings import load


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"host": "0.0.0.0", "port": 9}, "http://127.0.0.1:9"),
        ({"host": "::"}, "http://[::1]:8000"),
        ({"host": "example.org"}, "http://example.org:8000"),
        ({"uds": Path("/run/w")}, "unix:/run/w"),
    ],
)
def test_the_daemon_is_where_the_settings_let_it_listen(given: dict[str, object], address: str) -> None:
    assert address_of(load(given)) == address


@pytest.mark.parametrize("given", [{"port": 0}, {"fd": 3}])
def test_settings_that_name_no_address_ask_for_one(given: dict[str, object]) -> None:
    with pytest.raises(DaemonError, match="--url"):
        address_of(load(given))


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://x/path", "http://x:port", ""])
def test_an_address_that_is_none_is_named(url: str) -> None:
    with pytest.raises(DaemonError, match=r"cannot (use|reach)"):
        ask("POST", "/admin/reload", url=url or "http://")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "unix:/nowhere/s"])
def test_a_daemon_that_is_not_there_is_one_clear_error(url: str) -> None:
    with pytest.raises(DaemonError, match=f"cannot reach a daemon at {url}: .*watcherd serve"):
        ask("POST", "/admin/reload", url=url)


class Other(http.server.ThreadingHTTPServer):
    """Whatever else may answer at an address."""

    answer: tuple[int, bytes] = (200, b"{}")
    seen: str = ""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Other

    def do_POST(self) -> None:
        self.server.seen = f"{self.path} {self.headers['authorization']}"
        status, body = self.server.answer
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature is the library's
        pass


@pytest.fixture
def other() -> Iterator[Other]:
    with Other(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_token_and_the_query_are_sent(other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHERD_ADMIN_TOKEN", "s3cret")
    monkeypatch.setenv("WATCHERD_PORT", str(other.server_port))
    assert ask("POST", "/admin/reload", query={"wait": "false"}) == {}
    assert other.seen == "/admin/reload?wait=false Bearer s3cret"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"<html>", "is no watcherd: status 200"),
        (403, json.dumps({"detail": "not from here"}).encode(), r"refuses \(403\): not from here"),
        (500, b"[]", r"refuses \(500\): \[\]"),
    ],
)
def test_an_answer_that_is_no_success_is_one_clear_error(other: Other, status: int, body: bytes, said: str) -> None:
    other.answer = (status, body)
    with pytest.raises(DaemonError, match=said):
        ask("POST", "/admin/reload", url=f"http://127.0.0.1:{other.server_port}")
