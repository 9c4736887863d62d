"""The notify protocol, against a real datagram socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from watcherd import sdnotify


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A service manager that listens; both kinds of address."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        if request.param == "abstract":
            listener.bind("\0" + name)
            monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        else:
            listener.bind(name)
            monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listener


def test_each_message_is_one_datagram(manager: socket.socket) -> None:
    sdnotify.ready("2 models live, 0 rejected")
    assert manager.recv(4096) == b"READY=1\nSTATUS=2 models live, 0 rejected"
    sdnotify.status("3 models live, 0 rejected")
    assert manager.recv(4096) == b"STATUS=3 models live, 0 rejected"
    sdnotify.reloading()
    reloading, monotonic = manager.recv(4096).split(b"\n")
    assert reloading == b"RELOADING=1"
    assert int(monotonic.removeprefix(b"MONOTONIC_USEC=")) > 0
    sdnotify.stopping()
    assert manager.recv(4096) == b"STOPPING=1"


def test_without_a_manager_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    sdnotify.ready("unheard")
