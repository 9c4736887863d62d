"""Connections on real sockets: heads that are too large, too slow or no HTTP, and readers that do not read."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import pytest

from tests.unit.test_gateway import a_revision
from tests.unit.test_metrics import counted, rendered
from watcherd.connection import Patience
from watcherd.gateway import Gateway, Limits, RouteTable
from watcherd.metrics import Metrics
from watcherd.problems import NO_SUCH_MODEL, Problem
from watcherd.revision import Revision
from watcherd.server import make_server
from watcherd.wire import Answer, Call

KIB = 1024


class Served:
    """A server on a loopback port, and raw connections to it."""

    def __init__(self, port: int, metrics: Metrics) -> None:
        self.port = port
        self.metrics = metrics

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
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
    revision: Revision, *, patience: Patience | None = None, limits: Limits | None = None
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
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = asyncio.create_task(server.serve([listener]))
        try:
            yield Served(listener.getsockname()[1], metrics)
        finally:
            server.should_exit = True
            await running


async def echo(call: Call) -> Answer:
    call.template = "/echo"
    return Answer(200, await call.body() or b"nothing")


def problem_of(raw: bytes) -> dict[str, Any]:
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    assert b"x-request-id: " in head
    problem: dict[str, Any] = json.loads(body)
    assert head.startswith(b"HTTP/1.1 %d " % problem["status"])
    return problem


GET = b"GET /api/shop/x HTTP/1.1\r\nhost: a\r\n"


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([GET + b"big: " + b"x" * 3 * KIB + b"\r\n\r\n"], 431),
        ([GET, *[b"h%d: %s\r\n" % (number, b"x" * 500) for number in range(6)]], 431),
        ([GET + b"endless: ", *[b"x" * 500] * 6], 431),
        ([b"GET /api/shop/" + b"x" * 3 * KIB + b" HTTP/1.1\r\nhost: a\r\n\r\n"], 414),
        ([b"\x16\x03\x01 this is no HTTP\r\n\r\n"], 400),
        ([GET + b"content-length: many\r\n\r\n"], 400),
    ],
)
async def test_a_head_that_cannot_be_taken_is_a_problem_that_closes_the_connection(
    pieces: list[bytes], status: int
) -> None:
    async with serving(a_revision(echo), patience=Patience(head_bytes=2 * KIB)) as served:
        assert problem_of(await served.exchange(*pieces))["status"] == status
        assert counted(await rendered(served.metrics)) == {("-", "-", str(status)): 1}


async def test_a_large_body_in_the_same_chunk_is_not_taken_for_a_head() -> None:
    body = b"x" * 50 * KIB
    request = b"POST /api/shop HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with serving(a_revision(echo), patience=Patience(head_bytes=2 * KIB)) as served:
        assert (await served.exchange(request + body)).endswith(body)


async def test_many_requests_on_one_connection_are_each_measured_alone() -> None:
    async with (
        serving(a_revision(echo), patience=Patience(head_bytes=200, head_seconds=0.2)) as served,
        served.connected() as (reader, writer),
    ):
        for _ in range(20):
            writer.write(b"POST /api/shop HTTP/1.1\r\nhost: a\r\ncontent-length: 300\r\n\r\n" + b"x" * 300)
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(300)
        assert counted(await rendered(served.metrics)) == {("shop", "POST /echo", "200"): 20}


@pytest.mark.parametrize("pieces", [[GET], [b"\r\n"], [b"G"]])
async def test_a_head_that_does_not_end_is_a_timeout(pieces: list[bytes]) -> None:
    async with serving(a_revision(echo), patience=Patience(head_seconds=0.05)) as served:
        assert problem_of(await served.exchange(*pieces))["status"] == 408


async def test_a_slow_head_on_a_connection_that_was_used_is_a_timeout_too() -> None:
    async with (
        serving(a_revision(echo), patience=Patience(head_seconds=0.05)) as served,
        served.connected() as (reader, writer),
    ):
        writer.write(GET + b"\r\n")
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
    go = asyncio.Event()

    async def wait(_call: Call) -> Answer:
        await go.wait()
        return Answer(200)

    close = GET + b"connection: close\r\n\r\n"
    async with serving(a_revision(wait), limits=Limits(max_in_flight=2)) as served:
        waiting = [asyncio.create_task(served.exchange(close)) for _ in range(2)]
        refused = b""
        while b" 503 " not in refused:
            # The first two may not have arrived yet: then this one is one of them.
            task = asyncio.create_task(served.exchange(close))
            done, _ = await asyncio.wait([task], timeout=0.2)
            refused = task.result() if done else b""
            waiting += [] if done else [task]
        assert b"retry-after: 1" in refused
        assert len(waiting) == 2
        go.set()
        assert all(b" 200 " in answer for answer in await asyncio.gather(*waiting))
        assert b" 200 " in await served.exchange(close)
