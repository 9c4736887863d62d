"""Connections on real sockets: heads that are too large, too slow or no HTTP, and readers that do not read."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.unit.test_gateway import a_revision
from tests.unit.test_metrics import counted, rendered
from watcherd.connection import Connection, Patience
from watcherd.gateway import Gateway, Limits, RouteTable
from watcherd.metrics import Metrics
from watcherd.problems import NO_SUCH_MODEL, Problem
from watcherd.revision import Revision
from watcherd.server import Server, make_server
from watcherd.wire import Answer, Call

KIB = 1024


class Served:
    """A server on a loopback port, and raw connections to it."""

    def __init__(self, port: int, metrics: Metrics, server: Server) -> None:
        self.port = port
        self.metrics = metrics
        self._server = server

    def begin_to_stop(self) -> None:
        """What uvicorn does with every connection first when it stops."""
        for connection in self._server.server_state.connections:
            connection.shutdown()

    def connections(self) -> int:
        """How many the server has."""
        return len(self._server.server_state.connections)

    @property
    def connection(self) -> Connection:
        """The server's end of the only connection that there is."""
        [connection] = self._server.server_state.connections
        assert isinstance(connection, Connection)
        return connection

    @asynccontextmanager
    async def connected(self, first: bytes = b"") -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection; what is sent `first` is there before the server has a look at it and its timers begin."""
        client = socket.create_connection(("127.0.0.1", self.port)) if first else None
        if client is not None:
            client.sendall(first)
        where = {"host": "127.0.0.1", "port": self.port} if client is None else {"sock": client}
        reader, writer = await asyncio.open_connection(**where)  # type: ignore[arg-type]  # one or the other
        try:
            yield reader, writer
        finally:
            writer.close()

    async def exchange(self, *pieces: bytes) -> bytes:
        """Send pieces; everything that comes back until the server closes."""
        async with self.connected() as (reader, writer):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            return await reader.read()


@asynccontextmanager
async def serving(
    revision: Revision,
    *,
    patience: Patience | None = None,
    limits: Limits | None = None,
    keep_alive: float | None = None,
) -> AsyncIterator[Served]:
    metrics = Metrics()
    gateway = Gateway(
        api_prefix="/api",
        max_body_bytes=100 * KIB,
        missing=lambda name: Problem(NO_SUCH_MODEL, name),
        limits=limits,
        metrics=metrics,
    )
    gateway.swap(RouteTable(1, MappingProxyType({revision.model: revision})))
    server = make_server(gateway, patience or Patience(), gateway.refuse_unread, gateway.answer_at_once)
    if keep_alive is not None:
        server.config.timeout_keep_alive = keep_alive  # type: ignore[assignment]  # whole seconds are long for a test
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = asyncio.create_task(server.serve([listener]))
        try:
            yield Served(listener.getsockname()[1], metrics, server)
        finally:
            server.should_exit = True
            await running


async def echo(call: Call) -> Answer:
    call.template = "/echo"
    return Answer(200, await call.body() or b"nothing")


class Held:
    """Echoes as well, once it may go on."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, call: Call) -> Answer:
        self.entered.set()
        await self.go_on.wait()
        return await echo(call)


def problem_of(raw: bytes) -> dict[str, Any]:
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    assert b"x-request-id: " in head
    problem: dict[str, Any] = json.loads(body)
    assert head.startswith(b"HTTP/1.1 %d " % problem["status"])
    return problem


GET = b"GET /api/shop/x HTTP/1.1\r\nhost: a\r\n"
POST = GET.replace(b"GET", b"POST")


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([GET + b"big: " + b"x" * 3 * KIB + b"\r\n\r\n"], 431),
        ([GET, *[b"h%d: %s\r\n" % (number, b"x" * 500) for number in range(6)]], 431),
        ([GET + b"endless: ", *[b"x" * 500] * 6], 431),
        ([b"GET /api/shop/" + b"x" * 3 * KIB + b" HTTP/1.1\r\nhost: a\r\n\r\n"], 414),
        ([b"\x16\x03\x01 this is no HTTP\r\n\r\n"], 400),
        ([GET + b"content-length: many\r\n\r\n"], 400),
        ([b"GET /api/shop/x HTTP/1.1\r\nhos: a\r\n\r\n"], 400),
        ([b"POST /api/shop/x HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"], 400),
        ([GET + b"HOST: a\r\n\r\n"], 400),
        ([GET.replace(b"1.1", b"1.0") + b"host: b\r\n\r\n"], 400),
    ],
)
async def test_a_head_that_cannot_be_taken_is_a_problem_that_closes_the_connection(
    pieces: list[bytes], status: int
) -> None:
    async with serving(a_revision(echo), patience=Patience(head_bytes=2 * KIB)) as served:
        assert problem_of(await served.exchange(*pieces))["status"] == status
        assert counted(await rendered(served.metrics)) == {("-", "-", str(status)): 1}


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"\x16\x03\x01", "this is no HTTP request: invalid method encountered"),
        (b"GET / HTTP/1.1\r\n\r\n", "the header Host is missing: HTTP/1.1 requires it"),
        (GET + b"host: b\r\n\r\n", "the header Host is there more than once: send it once"),
    ],
)
async def test_of_what_never_became_a_request_the_log_says_whose_it_was_and_why(
    head: bytes, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as lines:
        async with serving(a_revision(echo)) as served, served.connected() as (reader, writer):
            host, port = writer.get_extra_info("sockname")
            writer.write(head)
            assert problem_of(await reader.read())["detail"] == said
    [line] = [line for line in lines if line["event"] == "request"]
    assert (line["status"], line["reason"], line["client"]) == (400, said, f"{host}:{port}")
    assert caplog.records == [], "nothing is said a second time, in other words"


async def test_a_request_without_a_host_ends_no_answer_that_comes_before_it() -> None:
    async with serving(a_prompt_revision()) as served, served.connected() as (reader, writer):
        writer.write(NOW + b"\r\n" + b"GET /api/shop/x HTTP/1.1\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert b"HTTP/1.1 400 " in await reader.read()


async def test_a_large_body_in_the_same_chunk_is_not_taken_for_a_head() -> None:
    body = b"x" * 50 * KIB
    request = b"POST /api/shop HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with serving(a_revision(echo), patience=Patience(head_bytes=2 * KIB)) as served:
        assert (await served.exchange(request + body)).endswith(body)


async def test_many_requests_on_one_connection_are_each_measured_alone() -> None:
    async with (
        serving(a_revision(echo), patience=Patience(head_bytes=200)) as served,
        served.connected() as (reader, writer),
    ):
        for _ in range(20):
            writer.write(b"POST /api/shop HTTP/1.1\r\nhost: a\r\ncontent-length: 300\r\n\r\n" + b"x" * 300)
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(300)
        assert counted(await rendered(served.metrics)) == {("shop", "POST /echo", "200"): 20}


@pytest.mark.parametrize("head", [GET, b"\r\n", b"G"])
async def test_a_head_that_does_not_end_is_a_timeout(head: bytes) -> None:
    async with (
        serving(a_revision(echo), patience=Patience(head_seconds=0.05)) as served,
        served.connected(head) as (reader, _),
    ):
        assert problem_of(await reader.read())["status"] == 408


async def test_a_slow_head_on_a_connection_that_was_used_is_a_timeout_too() -> None:
    async with (
        serving(a_revision(echo), patience=Patience(head_seconds=0.05)) as served,
        served.connected(GET + b"\r\n") as (reader, writer),
    ):
        await reader.readuntil(b"nothing")
        writer.write(b"GET /api/shop")
        assert problem_of(await reader.read())["status"] == 408


async def test_a_connection_that_nobody_uses_is_closed_without_a_word() -> None:
    async with serving(a_revision(echo), patience=Patience(head_seconds=0.05)) as served:
        assert await served.exchange() == b""


async def test_a_body_that_stands_still_is_a_timeout_and_leaves_the_revision() -> None:
    revision = a_revision(echo)
    async with serving(revision, limits=Limits(stall_timeout=0.05)) as served:
        half = b"POST /api/shop HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf"
        assert problem_of(await served.exchange(half))["status"] == 408
    assert not revision.in_flight


async def test_a_client_that_does_not_read_its_answer_is_cut_off() -> None:
    entered = asyncio.Event()
    left = asyncio.Event()

    async def endless(_call: Call) -> Answer:
        async def chunks() -> AsyncIterator[bytes]:
            entered.set()
            try:
                while True:
                    yield b"x" * 256 * KIB
            finally:
                left.set()

        return Answer(200, stream=chunks())

    revision = a_revision(endless)
    async with (
        serving(revision, patience=Patience(stall_seconds=0.05)) as served,
        served.connected() as (_reader, writer),
    ):
        writer.write(GET + b"\r\n")
        await entered.wait()
        await left.wait()
    assert not revision.in_flight


async def test_over_the_limit_of_requests_in_flight_more_are_refused_at_once_and_then_served_again() -> None:
    entered, go = asyncio.Semaphore(0), asyncio.Event()

    async def wait(_call: Call) -> Answer:
        entered.release()
        await go.wait()
        return Answer(200)

    close = GET + b"connection: close\r\n\r\n"
    async with serving(a_revision(wait), limits=Limits(max_in_flight=2)) as served:
        waiting = [asyncio.create_task(served.exchange(close)) for _ in range(2)]
        for _ in waiting:
            await entered.acquire()
        refused = await served.exchange(close)
        assert b" 503 " in refused
        assert b"retry-after: 1" in refused
        go.set()
        assert all(b" 200 " in answer for answer in await asyncio.gather(*waiting))
        assert b" 200 " in await served.exchange(close)


# -- answers at once -------------------------------------------------------------------------------


def prompt(call: Call) -> Answer | None:
    """What ends in `now` is answered at once."""
    call.template = "/{what}"
    return Answer(200, call.path.encode(), headers=[(b"prompt", b"yes")]) if call.path.endswith("now") else None


def a_prompt_revision() -> Revision:
    revision = a_revision(echo)
    revision.at_once = prompt
    return revision


async def answers(reader: asyncio.StreamReader, number: int) -> list[tuple[bytes, bytes]]:
    found = []
    for _ in range(number):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        found.append((head, await reader.readexactly(length)))
    return found


NOW = b"GET /api/shop/now HTTP/1.1\r\nhost: a\r\n"


async def test_an_answer_at_once_has_the_headers_of_every_answer_and_is_counted() -> None:
    async with serving(a_prompt_revision()) as served, served.connected() as (reader, writer):
        writer.write(NOW + b"x-request-id: mine\r\n\r\n" + GET + b"\r\n")
        (now, body), (usual, _) = await answers(reader, 2)

        def names(head: bytes) -> set[bytes]:
            return {line.partition(b":")[0] for line in head.split(b"\r\n")[1:]}

        assert now.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body == b"/api/shop/now"
        assert b"\r\nx-request-id: mine\r\n" in now
        assert b"\r\nwatcherd-generation: 1\r\nwatcherd-revision: 1\r\n" in now
        assert names(now) == names(usual) | {b"prompt"}
        assert counted(await rendered(served.metrics)) == {
            ("shop", "GET /{what}", "200"): 1,
            ("shop", "GET /echo", "200"): 1,
        }


async def test_answers_come_in_the_order_of_the_requests_whichever_way_each_takes() -> None:
    paths = [b"/api/shop/%d/%s" % (number, b"now" if number % 3 else b"later") for number in range(60)]

    async def later(call: Call) -> Answer:
        await asyncio.sleep(0)
        return Answer(200, call.path.encode())

    revision = a_revision(later)
    revision.at_once = prompt
    async with serving(revision) as served, served.connected() as (reader, writer):
        writer.write(b"".join(b"GET %b HTTP/1.1\r\nhost: a\r\n\r\n" % path for path in paths))
        assert [body for _, body in await answers(reader, 60)] == paths
        writer.write(NOW + b"\r\n")
        assert (await answers(reader, 1))[0][1] == b"/api/shop/now"


async def test_out_of_one_piece_only_some_are_answered_before_others_have_their_turn() -> None:
    revision = a_prompt_revision()
    async with serving(revision) as served, served.connected() as (reader, writer):
        writer.write((NOW + b"\r\n") * 100)
        heads = [head for head, _ in await answers(reader, 100)]
    assert 1 <= sum(b"prompt: yes" in head for head in heads) <= 50


@pytest.mark.parametrize(
    "request_",
    [
        NOW + b"content-length: 2\r\n\r\n{}",
        NOW + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        NOW + b"connection: close\r\n\r\n",
        NOW.replace(b"1.1", b"1.0") + b"\r\n",
        NOW.replace(b"GET", b"POST") + b"content-length: 0\r\n\r\n",
        NOW.replace(b"GET", b"OPTIONS") + b"\r\n",
    ],
)
async def test_what_is_no_plain_get_takes_the_usual_way(request_: bytes) -> None:
    async with serving(a_prompt_revision()) as served, served.connected() as (reader, writer):
        writer.write(request_)
        [(head, _)] = await answers(reader, 1)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"prompt: yes" not in head


async def test_a_path_is_decoded_for_an_answer_at_once_as_for_any_other() -> None:
    async with serving(a_prompt_revision()) as served, served.connected() as (reader, writer):
        writer.write(b"GET /api/shop/%C3%A4%20now?a=1 HTTP/1.1\r\nhost: a\r\n\r\n")
        [(_, body)] = await answers(reader, 1)
    assert body.decode() == "/api/shop/\u00e4 now"


async def test_an_idle_connection_is_closed_after_its_last_answer_and_not_before() -> None:
    async with serving(a_prompt_revision(), keep_alive=0.3) as served, served.connected() as (reader, writer):
        loop = asyncio.get_running_loop()
        used = loop.time()
        with suppress(asyncio.IncompleteReadError, ConnectionError):  # where a busy machine made a pause that long
            for number in range(5):
                asked = loop.time()
                writer.write(NOW + b"\r\n" if number % 2 else GET + b"\r\n")
                await answers(reader, 1)
                used = asked
                await asyncio.sleep(0.1)
            assert await reader.read() == b""
        assert loop.time() - used >= 0.29


async def test_an_answer_that_takes_longer_than_connections_may_idle_is_not_cut_off() -> None:
    go = asyncio.Event()

    async def wait(_call: Call) -> Answer:
        await go.wait()
        return Answer(200, b"done")

    revision = a_revision(wait)
    revision.at_once = prompt
    async with serving(revision, keep_alive=0.05) as served, served.connected() as (reader, writer):
        writer.write(NOW + b"\r\n" + GET + b"\r\n")
        await answers(reader, 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        go.set()
        assert (await answers(reader, 1))[0][1] == b"done"
        assert await reader.read() == b""


# -- bodies and answers in one piece ---------------------------------------------------------------


def post(body: bytes, *more: bytes) -> bytes:
    head = b"POST /api/shop/x HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n" % len(body)
    return head + b"".join(line + b"\r\n" for line in more) + b"\r\n" + body


@pytest.mark.parametrize("size", [0, 1, 1000, 70 * KIB])
@pytest.mark.parametrize("cut", [None, 20, -1])
async def test_a_body_is_the_same_however_it_comes(size: int, cut: int | None) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    sent = post(body)
    async with serving(a_revision(echo)) as served, served.connected() as (reader, writer):
        for _ in range(2):
            for piece in [sent] if cut is None else [sent[:cut], sent[cut:]]:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            assert (await answers(reader, 1))[0][1] == (body or b"nothing")


async def test_bodies_of_requests_in_one_piece_stay_apart() -> None:
    bodies = [b"%d" % number * 5 for number in range(30)]
    async with serving(a_revision(echo)) as served, served.connected() as (reader, writer):
        writer.write(b"".join(post(body) for body in bodies))
        assert [body for _, body in await answers(reader, 30)] == bodies


async def test_a_client_that_waits_for_a_go_on_gets_it() -> None:
    body = b"later"
    async with serving(a_revision(echo)) as served, served.connected() as (reader, writer):
        writer.write(post(body, b"expect: 100-continue").removesuffix(body))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await answers(reader, 1))[0][1] == body


async def test_a_body_over_the_limit_is_refused_in_one_piece_too_and_closes() -> None:
    async with serving(a_revision(echo)) as served:
        assert problem_of(await served.exchange(post(b"x" * 101 * KIB)))["status"] == 413
        assert problem_of(await served.exchange(post(b"x" * 101 * KIB)[:500]))["status"] == 413


async def test_a_head_has_the_headers_of_the_answer_and_nothing_more() -> None:
    async with serving(a_revision(echo)) as served, served.connected() as (reader, writer):
        writer.write(GET.replace(b"GET", b"HEAD") + b"\r\n" + GET + b"\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"content-length: 7\r\n" in head
        assert (await answers(reader, 1))[0][1] == b"nothing"


async def test_an_old_client_is_told_that_the_connection_closes() -> None:
    async with serving(a_revision(echo)) as served:
        raw = await served.exchange(GET.replace(b"1.1", b"1.0") + b"\r\n")
        assert b"\r\nconnection: close\r\n" in raw
        assert raw.endswith(b"nothing")


async def test_an_old_client_that_asks_for_it_keeps_its_connection() -> None:
    old = b"POST /api/shop/x HTTP/1.0\r\nconnection: Keep-Alive\r\ncontent-length: 1\r\n\r\n"
    async with serving(a_revision(echo)) as served, served.connected() as (reader, writer):
        for body in (b"1", b"2"):
            writer.write(old + body)
            [(head, answered)] = await answers(reader, 1)
            assert b"\r\nconnection: keep-alive\r\n" in head
            assert answered == body
        writer.write(old.replace(b"Keep-Alive", b"close") + b"3")
        assert b"connection: close\r\n" in await reader.read()


async def test_an_old_client_is_told_of_the_end_of_an_answer_without_a_length_by_that_of_the_connection() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async def stream(call: Call) -> Answer:
        return Answer(200, b"", stream=pieces())

    async with serving(a_revision(stream)) as served:
        raw = await served.exchange(b"GET /api/shop/x HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
    assert b"connection: close\r\n" in raw


async def test_an_old_client_does_not_keep_a_server_from_stopping() -> None:
    held = Held()
    async with serving(a_revision(held)) as served, served.connected() as (reader, writer):
        writer.write(b"GET /api/shop/x HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        await held.entered.wait()
        served.begin_to_stop()
        held.go_on.set()
        assert b"connection: close\r\n" in await reader.read()


async def test_an_answer_with_its_headers_is_one_piece_for_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    whole = Connection._take_over

    def take_over(self: Connection, *arguments: Any) -> bool:
        transport = self.transport
        monkeypatch.setattr(self, "transport", Written(transport, written))
        try:
            return whole(self, *arguments)
        finally:
            monkeypatch.setattr(self, "transport", transport)

    monkeypatch.setattr(Connection, "_take_over", take_over)
    async with serving(a_revision(echo)) as served, served.connected() as (reader, writer):
        writer.write(post(b"body"))
        await answers(reader, 1)
    [piece] = written
    assert piece.startswith(b"HTTP/1.1 200 OK\r\n")
    assert piece.endswith(b"\r\n\r\nbody")


class Written:
    """A transport whose writes are seen."""

    def __init__(self, transport: asyncio.Transport, pieces: list[bytes]) -> None:
        self._transport = transport
        self._pieces = pieces

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._pieces.append(data)
        self._transport.write(data)


# -- several requests in one piece -----------------------------------------------------------------


@pytest.mark.parametrize("request_", [NOW + b"\r\n", GET + b"\r\n", post(b"x" * 700)])
async def test_many_requests_at_once_are_no_large_head(request_: bytes) -> None:
    number = 300 * KIB // len(request_)
    async with serving(a_prompt_revision(), patience=Patience(head_bytes=KIB)) as served, served.connected() as ends:
        reader, writer = ends
        writer.write(request_ * number)
        heads = [head for head, _ in await answers(reader, number)]
    assert all(head.startswith(b"HTTP/1.1 200 ") for head in heads)


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
async def test_a_head_behind_another_request_is_held_to_the_limit_too(end: bytes) -> None:
    large = NOW + b"x-filler: "
    async with serving(a_prompt_revision(), patience=Patience(head_bytes=KIB)) as served, served.connected() as ends:
        reader, writer = ends
        writer.write(NOW + b"\r\n" + large)
        await answers(reader, 1)
        writer.write(b"x" * 2 * KIB + end)
        assert problem_of(await reader.read())["status"] == 431


async def test_nothing_more_is_read_while_requests_wait_for_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = 0
    complete = Connection.on_headers_complete
    go = asyncio.Semaphore(0)

    def count(self: Connection) -> None:
        nonlocal heads
        heads += 1
        complete(self)

    async def wait(call: Call) -> Answer:
        await anext(call.chunks(KIB), None)  # as who reads a body as it comes
        await go.acquire()
        return Answer(200, b"done")

    monkeypatch.setattr(Connection, "on_headers_complete", count)
    async with serving(a_revision(wait)) as served, served.connected() as (reader, writer):
        writer.write(post(b"x") * 20_000)
        while not heads or not served.connection.flow.read_paused:
            await asyncio.sleep(0)
        before = heads
        for _ in range(10):
            go.release()
            await answers(reader, 1)
            await asyncio.sleep(0.01)
        assert heads == before
        writer.transport.abort()
        for _ in range(20_000):
            go.release()


async def test_a_head_that_waits_for_requests_before_it_is_not_late() -> None:
    go = asyncio.Event()

    async def wait(_call: Call) -> Answer:
        await go.wait()
        return Answer(200, b"done")

    async with (
        serving(a_revision(wait), patience=Patience(head_seconds=0.1)) as served,
        served.connected((GET + b"\r\n") * 2 + GET) as (reader, writer),
    ):
        await asyncio.sleep(0.01)
        writer.write(b"\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        go.set()
        assert [body for _, body in await answers(reader, 3)] == [b"done"] * 3


async def test_a_client_that_goes_while_requests_wait_behind_a_stream_ends_the_stream() -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def endless(_call: Call) -> Answer:
        async def chunks() -> AsyncIterator[bytes]:
            entered.set()
            try:
                while True:
                    yield b"tick"
                    await asyncio.sleep(0.01)
            finally:
                left.set()

        return Answer(200, stream=chunks(), leave=lambda _reason: None)

    revision = a_revision(endless)
    async with serving(revision) as served, served.connected() as (_, writer):
        writer.write(GET + b"\r\n")
        await entered.wait()
        writer.write((GET + b"\r\n") * 2)
        await asyncio.sleep(0.05)
        writer.transport.abort()
        async with asyncio.timeout(60):
            await left.wait()
        while revision.in_flight:
            await asyncio.sleep(0)


async def test_what_comes_after_a_body_is_no_header_of_the_request() -> None:
    async def headers(call: Call) -> Answer:
        await call.body()
        return Answer(200, call.header(b"x-late") or b"none")

    head = b"POST /api/shop/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    async with serving(a_revision(headers)) as served, served.connected() as (reader, writer):
        writer.write(head + b"1\r\nx\r\n0\r\nx-late: yes\r\n\r\n")
        writer.write(GET + b"x-late: in time\r\n\r\n")
        assert [body for _, body in await answers(reader, 2)] == [b"none", b"in time"]


CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [CHUNKED + b"1\r\nx\r\n0\r\nendless: ", *[b"x" * 500] * 6],
        [CHUNKED + b"1\r\nx\r\n0\r\n", *[b"h: %s\r\n" % (b"x" * 500)] * 6],
        [CHUNKED + b"1;", *[b"x" * 500] * 6],
    ],
    ids=["a long trailer", "many trailers", "an extension of a chunk"],
)
async def test_what_stands_beside_the_chunks_of_a_body_is_held_to_the_limit_of_a_head(pieces: list[bytes]) -> None:
    """The parser keeps a trailer until it has ended: one without an end would take all memory."""
    revision = a_revision(echo)
    async with serving(revision, patience=Patience(head_bytes=2 * KIB)) as served:
        problem = problem_of(await served.exchange(*pieces))
        assert (problem["status"], "beside the chunks" in problem["detail"]) == (431, True)
        assert not revision.in_flight


async def test_many_small_chunks_are_a_body_like_any_other() -> None:
    chunks = [b"1;%s\r\nx\r\n" % (b"e" * 500)] * 20
    async with (
        serving(a_revision(echo), patience=Patience(head_bytes=2 * KIB)) as served,
        served.connected() as (reader, writer),
    ):
        for piece in (CHUNKED, *chunks, b"0\r\n\r\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        assert [body for _, body in await answers(reader, 1)] == [b"x" * 20]


@pytest.mark.parametrize(
    "request_",
    [
        POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\nffffffffffffffffff\r\n",
        GET + b"transfer-encoding: identity\r\n\r\n" + GET + b"\r\n",
    ],
)
async def test_a_body_that_cannot_be_read_is_a_problem_and_its_request_is_abandoned(request_: bytes) -> None:
    revision = a_revision(echo)
    async with serving(revision) as served:
        assert problem_of(await served.exchange(request_))["status"] == 400
        assert problem_of(await served.exchange(request_[:-4], request_[-4:]))["status"] == 400
        assert not revision.in_flight
        assert counted(await rendered(served.metrics))["-", "-", "400"] == 2


@pytest.mark.parametrize("bad", [b"GET /api/shop/x HTTP/1.1\r\n\r\n", b"\x16\x03\x01"])
async def test_a_head_that_is_refused_is_no_answer_to_the_requests_before_it(bad: bytes) -> None:
    held = Held()
    async with serving(a_revision(held)) as served, served.connected() as (reader, writer):
        writer.write((GET + b"\r\n") * 2)
        await held.entered.wait()
        writer.write(bad)
        held.go_on.set()
        assert [head.split(b" ", 2)[1] for head, _ in await answers(reader, 2)] == [b"200"] * 2
        assert problem_of(await reader.read())["status"] == 400


async def test_a_body_that_cannot_be_read_ends_no_answer_that_comes_before_it() -> None:
    held = Held()
    revision = a_revision(held)
    async with serving(revision) as served, served.connected() as (reader, writer):
        writer.write(GET + b"\r\n" + POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n")
        await held.entered.wait()
        held.go_on.set()
        [(head, _)] = await answers(reader, 1)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert problem_of(await reader.read())["status"] == 400
        assert not revision.in_flight
        assert counted(await rendered(served.metrics))["-", "-", "400"] == 1


async def test_a_body_without_a_length_is_told_after_the_answer_to_its_request() -> None:
    """Its request is one without a body, and what follows is none: the client has to hear of both."""
    async with serving(a_revision(echo)) as served:
        said = await served.exchange(POST + b"\r\n" + b'{"name": "a"}')
    answer, _, refusal = said.partition(b"HTTP/1.1 400 ")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert problem_of(b"HTTP/1.1 400 " + refusal)["status"] == 400


async def test_an_answer_that_breaks_off_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        raise ConnectionError("the rest is gone")

    async def breaking(_call: Call) -> Answer:
        return Answer(200, stream=pieces())

    async with serving(a_revision(breaking)) as served:
        answer = await served.exchange(GET + b"\r\n")
    assert answer.endswith(b"5\r\nfirst\r\n"), "no client takes it for the whole"
    assert [record.name for record in caplog.records if record.name.startswith("uvicorn")] == []


# ── as many as there may be ─────────────────────────────────────────────────────────────────────


async def asked(ends: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bytes:
    """The status line of an answer to a GET on a connection that stays open."""
    reader, writer = ends
    writer.write(GET + b"\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    return head.partition(b"\r\n")[0]


async def test_one_connection_too_many_is_told_so_and_those_that_are_there_go_on() -> None:
    lines: list[Any]
    with capture_logs() as lines:
        async with serving(a_revision(echo), patience=Patience(connections=2)) as served, served.connected() as first:
            async with served.connected() as second:
                assert await asked(first) == await asked(second) == b"HTTP/1.1 200 OK"
                for _ in range(2):
                    async with served.connected() as (reader, _writer):
                        raw = await reader.read()
                    problem = problem_of(raw)
                    assert (problem["status"], problem["detail"]) == (503, "2 connections are open already")
                    assert b"retry-after: 1" in raw
                assert await asked(first) == await asked(second) == b"HTTP/1.1 200 OK"
            while served.connections() > 1:
                await asyncio.sleep(0)
            async with served.connected() as another:
                assert await asked(another) == b"HTTP/1.1 200 OK"
    assert [line["connections"] for line in lines if line["event"] == "server.full"] == [2]


async def test_of_a_crowd_that_is_too_many_some_are_told_and_the_others_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watcherd.connection.MOST_REFUSED", 1)
    monkeypatch.setattr("watcherd.connection.LINGER_SECONDS", 600)  # it is there until its client goes
    async with (
        serving(a_revision(echo), patience=Patience(connections=1)) as served,
        served.connected() as first,
    ):
        assert await asked(first) == b"HTTP/1.1 200 OK"
        async with served.connected() as (told, _told_writer):
            head = await told.readuntil(b"\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            with suppress(ConnectionResetError):
                async with served.connected() as (closed, _closed_writer):
                    assert await closed.read() == b""
        assert await asked(first) == b"HTTP/1.1 200 OK"
