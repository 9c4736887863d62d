"""As a service: what a service manager is told, the socket that it holds, and its reload command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.models import BROKEN, shop
from tests.e2e.process import Process, clean_environment, running
from tests.faults import ENTRY


@pytest.fixture(params=["path", "abstract"])
def notify_socket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """Where a service manager listens, both kinds of address."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind("\0" + name if request.param == "abstract" else name)
        yield ("@" + name if request.param == "abstract" else name), listener


class Manager:
    """What a service manager hears, one datagram after the other."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener

    async def next(self) -> dict[str, str]:
        datagram = await asyncio.get_running_loop().sock_recv(self._listener, 4096)
        return dict(line.split("=", 1) for line in datagram.decode().split("\n"))

    async def until(self, variable: str) -> dict[str, str]:
        while variable not in (message := await self.next()):
            pass
        return message

    def pending(self) -> list[bytes]:
        """What has come and was not heard yet."""
        datagrams = []
        with contextlib.suppress(BlockingIOError):
            while True:
                datagrams.append(self._listener.recv(4096))
        return datagrams


async def test_a_service_manager_is_told_of_start_changes_reload_and_stop(
    tmp_path: Path, shop_models: Path, notify_socket: tuple[str, socket.socket]
) -> None:
    address, listener = notify_socket
    manager = Manager(listener)
    environment = {"NOTIFY_SOCKET": address, "WATCHERD_GRACEFUL_TIMEOUT": "20"}
    async with running(shop_models, tmp_path / "data", environment=environment) as daemon:
        # Whatever takes its time, such as the start of workers, is told of before.
        assert await manager.until("READY") == {"READY": "1", "STATUS": "1 models live, 0 rejected"}

        daemon.write("broken.yaml", BROKEN.replace("shop", "broken"))
        while (said := await manager.next()) == {"STATUS": "1 models live, 0 rejected"}:
            pass  # the directory is looked at now and then
        assert said == {"STATUS": "1 models live, 1 rejected"}

        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        daemon.kill(signal.SIGHUP)
        reloading = await manager.until("RELOADING")
        assert reloading.keys() == {"RELOADING", "MONOTONIC_USEC"}
        assert before <= int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert await manager.until("READY") == {"READY": "1", "STATUS": "1 models live, 1 rejected"}

        daemon.kill(signal.SIGTERM)
        assert await manager.until("STOPPING") == {"STOPPING": "1"}
        extensions = [await manager.until("EXTEND_TIMEOUT_USEC") for _ in range(6)]  # one a stage, and the end
        assert int(extensions[1]["EXTEND_TIMEOUT_USEC"]) > 20_000_000  # the drain
        assert await daemon.ended() == 0


async def test_a_really_blocked_event_loop_makes_the_watchdog_messages_stop(tmp_path: Path) -> None:
    interval = 1.0
    armed, blocked = tmp_path / "armed", tmp_path / "blocked"
    blocked.touch()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind(str(tmp_path / "notify"))
        manager = Manager(listener)
        environment = {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": str(round(interval * 1_000_000)),
            "FAULT_STEP": "compile",
            "FAULT_ARMED": str(armed),
        }
        async with running(tmp_path / "models", tmp_path / "data", entry=ENTRY, environment=environment) as daemon:
            for _ in range(2):
                await manager.until("WATCHDOG")
            armed.write_text(f"block {blocked}")
            daemon.write("shop.yaml", shop())
            while armed.exists():
                await asyncio.sleep(0)
            manager.pending()  # was sent before
            await asyncio.sleep(3 * interval)  # six messages would have come
            assert manager.pending() == []
            blocked.unlink()
            await manager.until("WATCHDOG")


def at_rest(pid: int) -> bool:
    """Whether every thread of a process sleeps, ten times in a row."""
    tasks = Path(f"/proc/{pid}/task")
    try:
        stats = [(task / "stat").read_text(encoding="ascii") for _ in range(10) for task in tasks.iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return False  # one has ended meanwhile
    return all(stat.rpartition(") ")[2].startswith("S") for stat in stats)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_who_is_ended_because_he_hangs_says_where(tmp_path: Path, shop_models: Path, workers: str) -> None:
    """systemd's watchdog ends a daemon with SIGABRT; a manager that does so keeps what comes on standard error."""
    said = tmp_path / "said"
    hand_over = f"import os, sys; os.dup2(os.open({str(said)!r}, os.O_CREAT | os.O_WRONLY | os.O_APPEND), 2)"
    hand_over += "; os.execv(sys.executable, [sys.executable, '-m', 'watcherd', *sys.argv[1:]])"
    entry = (sys.executable, "-c", hand_over)
    async with running(shop_models, tmp_path / "data", "--workers", workers, entry=entry) as daemon:
        # Python writes down the frames of other threads as they run; one that calls and returns meanwhile ends that
        # with SIGSEGV, once in thousands of times. What hangs has come to rest, and so does this one in a moment.
        while not at_rest(daemon.pid):
            await asyncio.sleep(0.01)
        daemon.kill(signal.SIGABRT)
        assert await daemon.ended() == -signal.SIGABRT
    text = said.read_text()
    assert "Fatal Python error: Aborted" in text
    assert "in run" in text
    assert "watcherd/logs.py" in text  # the other threads, too


async def test_a_start_that_takes_long_says_how_far_it_is(tmp_path: Path, shop_models: Path) -> None:
    armed = tmp_path / "armed"
    armed.write_text("delay 60", encoding="utf-8")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind(str(tmp_path / "notify"))
        manager = Manager(listener)
        environment = {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "FAULT_STEP": "expand",
            "FAULT_ARMED": str(armed),
        }
        address = tmp_path / "socket"
        start = running(
            *(shop_models, tmp_path / "data", "--uds", str(address)), entry=ENTRY, environment=environment, ready=False
        )
        async with start as daemon:
            await daemon.wait_for("daemon.starting", where=lambda line: (line["built"], line["of"]) == (0, 1))
            while await manager.next() != {"STATUS": "starting: 0 of 1 models are built"}:
                pass  # reading the files may take long, too
            assert await manager.next() == {"EXTEND_TIMEOUT_USEC": "60000000"}
            transport = httpx.AsyncHTTPTransport(uds=str(address))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                answer = await client.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["reasons"] == ["the daemon is starting: 0 of 1 models are built"]


async def test_a_watchdog_that_is_meant_for_another_process_hears_nothing(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind(str(tmp_path / "notify"))
        manager = Manager(listener)
        environment = {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "100000",
            "WATCHDOG_PID": str(os.getpid()),
        }
        async with running(tmp_path / "models", tmp_path / "data", environment=environment) as daemon:
            await manager.until("READY")
            for number in range(3):
                daemon.write("shop.yaml", shop(version=str(number)))
                assert (await manager.next()).keys() == {"STATUS"}


# ── socket activation ───────────────────────────────────────────────────────────────────────────


def activation_tool() -> str:
    tool = shutil.which("systemd-socket-activate")
    if tool is None:
        if os.environ.get("CI") == "true":
            pytest.fail("systemd-socket-activate is missing: install the Debian package systemd")
        pytest.skip("needs systemd-socket-activate (Debian package systemd)")
    return tool


HAND_OVER = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


@contextlib.asynccontextmanager
async def activated(
    listener: socket.socket, models: Path, data: Path, *arguments: str, module: str = "watcherd"
) -> AsyncIterator[Process]:
    """A daemon under systemd-socket-activate, on a socket that outlives it: we stand in for PID 1.

    The tool hands over what it was handed, and becomes the daemon at the first connection.
    """
    entry = (
        sys.executable,
        "-c",
        HAND_OVER,
        str(listener.fileno()),
        activation_tool(),
        *(f"--setenv={name}" for name in os.environ if name.startswith("FAULT_")),
        sys.executable,
        "-m",
        module,
    )
    # --port 0 would be another port than the one that was passed: that the passed one wins is seen here.
    async with running(models, data, *arguments, entry=entry, pass_fds=[listener.fileno()], ready=False) as daemon:
        yield daemon


async def get(address: tuple[str, int], model: str = "shop") -> bytes:
    """One request on a connection of its own, from connecting to the end of the answer."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(f"GET /api/{model}/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.close()


async def test_under_socket_activation_no_connection_is_refused_over_kills_and_restarts(
    tmp_path: Path, shop_models: Path
) -> None:
    outcomes: Counter[str] = Counter()
    stop = asyncio.Event()

    async def connect_in_a_loop(address: tuple[str, int]) -> None:
        while not stop.is_set():
            try:
                answer = await get(address)
            except ConnectionRefusedError:
                outcomes["refused"] += 1
            except (ConnectionResetError, BrokenPipeError):
                outcomes["killed in the middle"] += 1
            else:
                outcomes[answer[9:12].decode() or "killed in the middle"] += 1

    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        address = listener.getsockname()
        clients = [asyncio.create_task(connect_in_a_loop(address)) for _ in range(8)]
        for last in (False, False, True):
            async with activated(listener, shop_models, tmp_path / "data") as daemon:
                await daemon.wait_for("daemon.started")
                await daemon.wait_for("request", where=lambda line: line["status"] == 200)
                if last:
                    stop.set()
                    await asyncio.gather(*clients)
                else:
                    daemon.kill(signal.SIGKILL)
                    await daemon.ended()

    assert outcomes["refused"] == 0
    assert outcomes["200"] > 0
    assert outcomes.keys() <= {"200", "killed in the middle", "refused"}


async def test_under_socket_activation_a_stop_leaves_new_connections_to_the_next_process(
    tmp_path: Path, shop_models: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        address = listener.getsockname()
        async with activated(listener, shop_models, tmp_path / "data") as daemon:
            first = asyncio.create_task(get(address))
            await daemon.wait_for("daemon.started")
            await first
            # A request in flight holds the drain, so that the connection below comes in the middle of a stop.
            reader, writer = await asyncio.open_connection(*address)
            body = b'{"name": "half"}'
            head = b"POST /api/shop/items HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            writer.write(head + b"content-length: %d\r\nexpect: 100-continue\r\n\r\n" % len(body))
            assert b"100" in await reader.readuntil(b"\r\n\r\n")  # it is read: the request has entered
            daemon.kill(signal.SIGTERM)
            await daemon.wait_for("shutdown.stage", where=lambda line: line["stage"] == "watch")
            waiting = asyncio.create_task(get(address))
            writer.write(body)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201")
            writer.close()
            assert await daemon.ended() == 0
            assert not waiting.done()
        async with activated(listener, shop_models, tmp_path / "data") as daemon:
            assert (await waiting).startswith(b"HTTP/1.1 200")


class KeptOpen:
    """A client as most are: it keeps its connection, and makes a new one when an answer closes that."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self.statuses: Counter[bytes] = Counter()

    async def ask_until(self, stop: asyncio.Event, path: str) -> None:
        while not stop.is_set():
            reader, writer = await asyncio.open_connection(*self._address)
            closes = False
            while not (closes or stop.is_set()):
                try:
                    writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
                    head = await reader.readuntil(b"\r\n\r\n")
                except (asyncio.IncompleteReadError, ConnectionResetError, BrokenPipeError):
                    break  # between two answers any server may close: a client asks again
                [length] = [line for line in head.split(b"\r\n") if line.startswith(b"content-length: ")]
                await reader.readexactly(int(length.split()[1]))
                self.statuses[head[9:12]] += 1
                closes = b"connection: close" in head
            writer.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_under_socket_activation_a_restart_fails_no_request_on_connections_that_are_kept_open(
    tmp_path: Path, shop_models: Path, workers: str
) -> None:
    stop = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        paths = ["/api/shop/items", "/api/shop/items?limit=5&count=none", "/api/shop"]
        clients = [KeptOpen(listener.getsockname()) for _ in range(9)]
        asking = [
            asyncio.create_task(client.ask_until(stop, paths[number % len(paths)]))
            for number, client in enumerate(clients)
        ]
        for last in (False, False, True):
            async with activated(listener, shop_models, tmp_path / "data", "--workers", workers) as daemon:
                await daemon.wait_for("daemon.started")
                before = [client.statuses[b"200"] for client in clients]
                while any(client.statuses[b"200"] == count for client, count in zip(clients, before, strict=True)):
                    await asyncio.sleep(0.01)
                if last:
                    stop.set()
                    await asyncio.gather(*asking)
                daemon.kill(signal.SIGTERM)
                assert await daemon.ended() == 0
    assert {status for client in clients for status in client.statuses} == {b"200"}


# ── reload, as ExecReload= calls it ─────────────────────────────────────────────────────────────


async def reload(*arguments: str, **variables: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "watcherd", "reload", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean_environment() | variables,
    )
    out, err = await process.communicate()
    return await process.wait(), out.decode(), err.decode()


async def test_reload_waits_and_fails_when_a_file_is_rejected(daemon: Process) -> None:
    daemon.write("shop.yaml", shop())
    await daemon.wait_for("model.loaded")
    port = daemon.address.rsplit(":", 1)[1]
    status, out, _ = await reload("--wait", WATCHERD_PORT=port)
    assert (status, out) == (0, "Generation 1: 0 loaded, 0 swapped, 0 unloaded, 0 unchanged, 0 rejected.\n")

    daemon.write("shop.yaml", BROKEN)
    status, out, _ = await reload("--wait", "--url", daemon.address)
    assert status == 1
    finding, _hint, summary = out.splitlines()
    assert finding.startswith("shop.yaml:5:20: PIM")
    assert summary.endswith("1 rejected.")

    status, out, _ = await reload(WATCHERD_PORT=port)
    assert (status, out) == (0, "The daemon reads the directory again.\n")
    await daemon.has_told(lambda: [line["reason"] for line in daemon.of("reload.finished")].count("request") == 3)


async def test_reload_fails_when_the_directory_cannot_be_read(daemon: Process) -> None:
    """Nothing was read again: to whoever orders that, it is not done."""
    daemon.write("shop.yaml", shop())
    await daemon.wait_for("model.loaded")
    elsewhere = daemon.models.with_name("elsewhere")
    daemon.models.rename(elsewhere)
    status, _, err = await reload("--wait", "--url", daemon.address)
    assert status == 2
    assert "No such file or directory; what was read last stays" in err
    async with daemon.client() as client:
        assert (await client.get("/api/shop/items")).status_code == 200
        assert (await client.post("/admin/reload?wait=false")).status_code == 202
    elsewhere.rename(daemon.models)
    assert (await reload("--wait", "--url", daemon.address))[0] == 0


async def test_reload_finds_the_daemon_on_a_unix_socket_and_shows_the_token(tmp_path: Path) -> None:
    path, secret = str(tmp_path / "s"), "planted-token"
    environment = {"WATCHERD_UDS": path, "WATCHERD_ADMIN_TOKEN": secret}
    async with running(tmp_path / "models", tmp_path / "data", environment=environment):
        assert (await reload("--wait", **environment))[0] == 0
        assert (await reload("--wait", "--url", f"unix:{path}", WATCHERD_ADMIN_TOKEN=secret))[0] == 0
        status, _, err = await reload("--wait", WATCHERD_UDS=path, WATCHERD_ADMIN_TOKEN="wrong")
        assert status == 2
        assert "refuses (401)" in err
        assert "wrong" not in err
