"""Limits of a real process: each is set by its variable, and each refusal is a problem body."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.models import shop
from tests.e2e.process import Process, running

LIMITS = {
    "WATCHERD_MAX_BODY_BYTES": "2000",
    "WATCHERD_MAX_HEADER_BYTES": "1024",
    "WATCHERD_MAX_JSON_DEPTH": "3",
    "WATCHERD_MAX_ROWS": "2",
}
TIMES = {
    "WATCHERD_HEADER_TIMEOUT": "0.1",
    "WATCHERD_STALL_TIMEOUT": "0.1",
}


async def raw(daemon: Process, request: bytes) -> tuple[int, bytes, dict[str, object]]:
    """Send bytes, in one piece; the status, the head and the body of what comes back before the connection closes."""
    address = urlsplit(daemon.address)
    answer = b""
    while not answer:  # a connection on which nothing has come in time is closed without a word
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(request)
        with suppress(ConnectionError):
            answer = await reader.read()
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, json.loads(body)


def posted(path: str, body: bytes, length: int | None = None) -> bytes:
    """A request with a body, of which some may be missing."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body) if length is None else length}\r\n\r\n".encode() + body


def got(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "host: localhost", "connection: close", *headers, "", ""]).encode()


async def test_each_limit_is_a_setting_and_its_refusal_a_problem(tmp_path: Path, shop_models: Path) -> None:
    items = "/api/shop/items"
    big = b"x" * 3000
    async with running(shop_models, tmp_path / "data", environment=LIMITS) as daemon:
        answers = [
            await raw(daemon, posted(items, big)),
            await raw(daemon, posted("/admin/pim/load", big)),
            await raw(daemon, posted(items, b'{"name": [[["deep"]]]}')),
            await raw(daemon, posted(items, b'[{"name": "a"}, {"name": "a"}, {"name": "a"}]')),
            await raw(daemon, got(items, "x-big: " + "x" * 2000)),
            await raw(daemon, got(f"{items}?name=" + "x" * 2000)),
        ]

    statuses = [413, 413, 400, 413, 431, 414]
    assert [(status, body["status"]) for status, _, body in answers] == [(status, status) for status in statuses]
    assert all(b"\r\ncontent-type: application/problem+json\r\n" in head + b"\r\n" for _, head, _ in answers)


async def test_who_is_too_slow_is_told_so_after_a_time_that_is_a_setting(tmp_path: Path, shop_models: Path) -> None:
    async with running(shop_models, tmp_path / "data", environment=TIMES) as daemon:
        slow = [
            await raw(daemon, b"GET /api/shop HTTP/1.1\r\nhost: localhost\r\n"),
            await raw(daemon, posted("/api/shop/items", b"{", length=9)),
            await raw(daemon, posted("/admin/pim/load", b"{", length=9)),
        ]

    assert [(status, body["type"]) for status, _, body in slow] == [(408, "/problems/request-timeout")] * 3


CLIENTS = 64
WRITES = 3000


@pytest.mark.slow
async def test_four_times_what_is_let_in_is_shed_while_health_and_admin_answer_and_it_recovers(tmp_path: Path) -> None:
    limits = {"WATCHERD_MAX_IN_FLIGHT": str(CLIENTS // 4)}
    crowd = httpx.Limits(max_connections=CLIENTS)
    async with (
        running(tmp_path / "models", tmp_path / "data", environment=limits) as daemon,
        daemon.client() as client,
        daemon.client(limits=crowd) as many,
    ):
        daemon.write("shop.yaml", shop())
        await client.post("/admin/reload")
        before = await median_latency(client)
        answers: Counter[int] = Counter()
        crowded: list[float] = []
        clients = [asyncio.create_task(write(many, answers, crowded)) for _ in range(CLIENTS)]
        watched: list[float] = []
        while answers.total() < WRITES:
            for path in ("/healthz", "/admin/pim"):
                started = time.monotonic()
                assert (await client.get(path)).status_code == 200
                watched.append(time.monotonic() - started)
        await asyncio.gather(*clients)
        after = await median_latency(client)

    assert set(answers) == {201, 503}
    # All of them wait for this one process of clients as well, so they are compared with one another.
    assert statistics.median(watched) < statistics.median(crowded)
    assert max(watched) < 2 * max(crowded)
    assert after < 3 * before


async def write(client: httpx.AsyncClient, answers: Counter[int], taken: list[float]) -> None:
    """Write until all have written enough; counts each status, and notes how long each answer took (s)."""
    while answers.total() < WRITES:
        started = time.monotonic()
        answer = await client.post("/api/shop/items", json={"name": "a"})
        taken.append(time.monotonic() - started)
        answers[answer.status_code] += 1
        assert answer.status_code == 201 or answer.headers["retry-after"] == "1"


async def median_latency(client: httpx.AsyncClient) -> float:
    taken = []
    for _ in range(200):
        started = time.monotonic()
        assert (await client.post("/api/shop/items", json={"name": "a"})).status_code == 201
        taken.append(time.monotonic() - started)
    return statistics.median(taken)


async def test_as_many_connections_are_taken_as_the_system_allows_and_not_as_the_shell_does(
    tmp_path: Path, shop_models: Path
) -> None:
    """A shell's limit of open files is soft: over it the directory could not even be listed."""
    entry = ("sh", "-c", f'ulimit -Sn 100; exec {sys.executable} -m watcherd "$@"', "sh")
    async with running(shop_models, tmp_path / "data", entry=entry) as daemon, AsyncExitStack() as stack:
        address = urlsplit(daemon.address)
        for _ in range(200):
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            stack.callback(writer.close)
            writer.write(b"GET /api/shop/items HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        daemon.write("other.yaml", shop().replace("shop", "other"))
        await daemon.wait_for("model.loaded", where=lambda line: line["model"] == "other")
        assert not daemon.of("watch.degraded")
