"""Binding: an address that cannot be had is one clear line, and nothing foreign is removed."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from watcherd import sdnotify
from watcherd.errors import SettingsError
from watcherd.server import address_of, bind, for_this_machine
from watcherd.settings import Settings, load


def settings(**values: object) -> Settings:
    return load({"port": 0, **values})


def test_a_free_port_is_taken_and_named() -> None:
    with bind(settings()) as listener:
        assert address_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_an_ipv6_address_is_written_in_brackets() -> None:
    with bind(settings(host="::1")) as listener:
        assert address_of(listener).startswith("http://[::1]:")


@pytest.mark.parametrize(
    ("family", "host", "alone"),
    [
        (socket.AF_INET, "127.0.0.1", True),
        (socket.AF_INET, "0.0.0.0", False),
        (socket.AF_INET6, "::1", True),
        (socket.AF_INET6, "::", False),
    ],
)
def test_whether_others_than_this_machine_can_connect_is_seen_at_the_socket(
    family: socket.AddressFamily, host: str, *, alone: bool
) -> None:
    with socket.socket(family) as bound:
        bound.bind((host, 0))
        assert for_this_machine(bound) is alone


def test_a_unix_socket_is_for_this_machine(tmp_path: Path) -> None:
    with bind(settings(uds=tmp_path / "socket")) as listener:
        assert for_this_machine(listener)


def test_a_port_in_use_is_named_with_a_way_out() -> None:
    with bind(settings()) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SettingsError, match=f"127.0.0.1:{port}.*another process listens there.*--port"):
            bind(settings(port=port))


def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(SettingsError, match=r"cannot listen on '256\.1\.1\.1'"):
        bind(settings(host="256.1.1.1"))


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
        killed.bind(str(path))
    assert path.is_socket()
    with bind(settings(uds=path)) as listener:
        assert address_of(listener) == f"unix:{path}"


def test_a_unix_socket_takes_its_file_along_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = bind(settings(uds=path))
    assert path.is_socket()
    first.close()
    first.close()
    assert not path.exists()
    with bind(settings(uds=path)):
        path.rename(tmp_path / "moved")
        path.write_text("another's")
    assert path.read_text() == "another's"


def test_a_child_that_shares_a_unix_socket_leaves_its_file(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bind(settings(uds=path)) as listener:
        child = os.fork()
        if child == 0:
            listener.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert path.is_socket()


def test_a_unix_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bind(settings(uds=path)):
        with pytest.raises(SettingsError, match="another process listens there"):
            bind(settings(uds=path))
        assert path.is_socket()


def test_a_file_in_the_way_of_a_unix_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("mine")
    with pytest.raises(SettingsError, match="no socket is in the way"):
        bind(settings(uds=path))
    assert path.read_text() == "mine"


def test_an_inherited_descriptor_is_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given, bind(settings(fd=given.detach())) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_a_descriptor_that_is_no_socket_is_refused() -> None:
    with Path("/dev/null").open() as file, pytest.raises(SettingsError, match=f"descriptor {file.fileno()}"):
        bind(settings(fd=file.fileno()))


def test_a_descriptor_that_does_not_listen_is_refused_and_left_open() -> None:
    with socket.socket() as given:
        with pytest.raises(SettingsError, match=f"descriptor {given.fileno()}: it is no listening stream socket"):
            bind(settings(fd=given.fileno()))
        assert given.getsockname()


def test_the_socket_that_the_manager_passed_wins_over_host_and_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        monkeypatch.setattr(sdnotify, "passed_socket", given.fileno)
        listener = bind(settings(host="256.1.1.1"))
        assert listener.getsockname() == given.getsockname()
        listener.detach()


@pytest.mark.parametrize("also", [{"uds": "s"}, {"fd": 0}])
def test_a_passed_socket_beside_another_place_to_listen_is_refused(
    also: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdnotify, "passed_socket", lambda: 3)
    with pytest.raises(SettingsError, match="leave out uds and fd"):
        bind(settings(**also))
