"""uvicorn and the sockets.

Owns binding (so that an address in use is one clear line), and what uvicorn may and may not do.
Signals and the order of a stop are the daemon's: uvicorn would close idle connections at once, wait
without end, and raise the signal again afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import resource
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, cast

import structlog
import uvicorn

from watcherd import sdnotify
from watcherd.balance import LEAVE_SECONDS, Balance, Counted
from watcherd.connection import AtOnce, Connection, Patience, Refuse, bounded
from watcherd.errors import SettingsError
from watcherd.settings import Settings
from watcherd.wire import AsgiApp

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open: longer than the pools of common clients and proxies."""

CLOSE_SECONDS = 2
"""How long uvicorn waits for connections whose answers were sent but not read, at the very end."""

_MOST_OPEN_FILES: Final = 65_536

_OWN_FILES: Final = 192
"""What a process may need itself: the database, model files, the watcher, and those that are told they are too many."""


def allow_open_files() -> None:
    """Let this process, and what it starts, have as many open files as it may: each connection is one.

    A shell allows 1,024, of which a program may make more by itself; without one left nothing can be watched or read.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def most_connections() -> int:
    """How many connections this process may have: each takes one of the files that it may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_OPEN_FILES if soft == resource.RLIM_INFINITY else max(soft - _OWN_FILES, soft // 4)


class Server(uvicorn.Server):
    """A uvicorn server that leaves the signals alone; it stops when `should_exit` is set."""

    def stop_accepting(self) -> None:
        """Take no new connection; those that are open stay. May be called again by the end itself."""
        for listening in self.servers if self.started else ():
            listening.close()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class SharingServer(Server):
    """A server on a socket that other processes serve as well."""

    def __init__(self, config: uvicorn.Config, balance: Balance) -> None:
        super().__init__(config)
        self._balance = balance

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections from `sockets`, one at a time each."""
        await super().startup([])
        self.server_state.connections = Counted(self._balance)

        def connection() -> asyncio.Protocol:
            make = cast("type[Connection]", self.config.http_protocol_class)
            return make(config=self.config, server_state=self.server_state, app_state={})

        self.servers = [cast("asyncio.Server", Acceptor(one, connection, self._balance)) for one in sockets or ()]


class Acceptor:
    """Takes connections from a socket that other processes listen on too.

    One at a time (libuv would take all that wait), and where another process has fewer, a moment later.
    """

    PAUSE_SECONDS = 0.5
    """How long to wait when this process can have no more descriptors."""

    def __init__(self, listener: socket.socket, connection: Callable[[], asyncio.Protocol], balance: Balance) -> None:
        listener.setblocking(False)  # noqa: FBT003 - it takes no keywords
        self._listener = listener
        self._connection = connection
        self._balance = balance
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[object]] = set()
        self._closed = False
        self._listen()

    def close(self) -> None:
        """Take no more; what waits is for the other processes."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._listener)

    async def wait_closed(self) -> None:
        """Wait for the connections that have just been taken to begin."""
        await asyncio.gather(*self._beginning, return_exceptions=True)

    def _listen(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listener, self._come)

    def _come(self) -> None:
        """A connection waits."""
        if self._balance.is_my_turn():
            self._accept()
        else:
            self._loop.remove_reader(self._listener)
            self._loop.call_later(LEAVE_SECONDS, self._come_late)

    def _come_late(self) -> None:
        """It has been left to another process for a moment; whoever does not come must not keep it waiting."""
        if not self._closed:
            self._listen()
            self._accept()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process was quicker, or the client has gone
        except OSError as error:
            structlog.stdlib.get_logger("watcherd.server").error("server.accept_failed", error=str(error))
            self._loop.remove_reader(self._listener)
            self._loop.call_later(self.PAUSE_SECONDS, self._listen)
            return
        self._balance.expect()
        connection.setblocking(False)  # noqa: FBT003 - as above
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        beginning = self._loop.create_task(self._loop.connect_accepted_socket(self._connection, connection))
        self._beginning.add(beginning)
        beginning.add_done_callback(self._begun)

    def _begun(self, beginning: asyncio.Task[object]) -> None:
        self._beginning.discard(beginning)
        if not beginning.cancelled():
            beginning.exception()  # a client that has gone already


def make_server(
    app: AsgiApp, patience: Patience, refuse: Refuse, at_once: AtOnce, *, balance: Balance | None = None
) -> Server:
    """The server for the gateway. Peers' addresses are what the kernel says, never a header.

    `refuse` answers what is refused before it is a request, `at_once` what needs no waiting. With
    a `balance` other processes listen on its socket too.
    """
    logging.getLogger("uvicorn.error").addFilter(_tells_something)
    config = uvicorn.Config(
        app,
        loop="none",
        http=bounded(patience, refuse, at_once),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=CLOSE_SECONDS,
    )
    return Server(config) if balance is None else SharingServer(config, balance)


def _tells_something(record: logging.LogRecord) -> bool:
    """Not that an answer was left incomplete: whoever left it so has said why, or it is no error at all."""
    return record.msg != "ASGI callable returned without completing response."


def bind(settings: Settings) -> socket.socket:
    """The socket that the service manager passed, else the one that the settings ask for.

    SettingsError if it cannot be had.
    """
    passed = sdnotify.passed_socket()
    if passed is not None:
        if settings.uds is not None or settings.fd is not None:
            raise SettingsError("cannot listen twice: the service manager passes a socket; leave out uds and fd")
        return _inherited(passed)
    if settings.fd is not None:
        return _inherited(settings.fd)
    if settings.uds is not None:
        return _unix(settings.uds)
    return _tcp(settings.host, settings.port)


def address_of(listener: socket.socket) -> str:
    """The address as a person would type it: a URL, or `unix:` and a path."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def for_this_machine(listener: socket.socket) -> bool:
    """Whether nobody elsewhere can connect: it listens on a path or on a loopback address."""
    return listener.family == socket.AF_UNIX or ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def _tcp(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host!r}: {error.strerror or error}; give an address as --host"
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        taken = error.errno == errno.EADDRINUSE
        hint = "; another process listens there: stop it or give another --port" if taken else ""
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror}{hint}") from error
    return listener


class _UnixListener(socket.socket):
    """A listening unix socket that takes its file along when it is closed by the process that made it."""

    def __init__(self) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self._made: tuple[Path, int, int] | None = None

    def bind(self, address: Any) -> None:
        super().bind(address)
        path = Path(address)
        self._made = (path, path.stat().st_ino, os.getpid())

    def close(self) -> None:
        if self._made is not None:
            path, inode, process = self._made
            self._made = None
            # By its inode: another daemon may have taken the path over, and a child only shares it.
            with contextlib.suppress(OSError):
                if os.getpid() == process and path.lstat().st_ino == inode:
                    path.unlink()
        super().close()


def _unix(path: Path) -> socket.socket:
    listener = _UnixListener()
    try:
        _remove_stale(path)
        listener.bind(str(path))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise SettingsError(f"cannot listen on {path}: {error.strerror or error}") from error
    return listener


def _remove_stale(path: Path) -> None:
    """Remove a socket file that nobody listens on any more; never anything else."""
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise OSError(errno.EEXIST, "a file that is no socket is in the way")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError(errno.EADDRINUSE, "another process listens there")


def _inherited(descriptor: int) -> socket.socket:
    try:
        inherited = socket.socket(fileno=descriptor)
    except OSError as error:
        raise SettingsError(f"cannot listen on descriptor {descriptor}: {error.strerror}") from error
    if inherited.type != socket.SOCK_STREAM or not inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        inherited.detach()  # it is not ours to close
        raise SettingsError(f"cannot listen on descriptor {descriptor}: it is no listening stream socket")
    return inherited
