"""The notify protocol, against a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from watcherd import sdnotify
from watcherd.errors import SettingsError


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
    sdnotify.extend(35.5)
    assert manager.recv(4096) == b"EXTEND_TIMEOUT_USEC=35500000"
    sdnotify.well()
    assert manager.recv(4096) == b"WATCHDOG=1"


def test_without_a_manager_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    sdnotify.ready("unheard")


@pytest.mark.parametrize("address", ["{}/nobody", "@{}/nobody"])
def test_a_manager_that_is_gone_is_logged_and_stops_nothing(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address.format(tmp_path))
    with structlog.testing.capture_logs() as lines:
        sdnotify.ready("unheard")
    (line,) = lines
    assert (line["event"], line["message"]) == ("notify.failed", "READY=1")


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid() + 1)}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_ours_only_when_it_names_nobody_else(
    variables: dict[str, str], seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_only(monkeypatch, variables)
    assert sdnotify.watchdog_seconds() == seconds


@pytest.mark.parametrize(
    ("variables", "descriptor"),
    [
        ({}, None),
        ({"LISTEN_FDS": "1"}, None),
        ({"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid() + 1)}, None),
        ({"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())}, None),
        ({"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}, "given"),
    ],
)
def test_a_socket_is_ours_only_when_it_was_passed_to_this_process(
    variables: dict[str, str], descriptor: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_only(monkeypatch, variables)
    with socket.socket() as given:
        given.set_inheritable(True)
        monkeypatch.setattr(sdnotify, "FIRST_PASSED", given.fileno())
        assert sdnotify.passed_socket() == (given.fileno() if descriptor else None)
        assert given.get_inheritable() is (descriptor is None)


def test_several_passed_sockets_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    set_only(monkeypatch, {"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid())})
    with pytest.raises(SettingsError, match="cannot listen on 2 passed sockets"):
        sdnotify.passed_socket()


def set_only(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
