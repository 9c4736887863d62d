"""What a million rows cost a real process."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.models import shop
from tests.e2e.process import HANG_SECONDS, Process

WORD = b"item "
ROWS = 1_000_000
MOST_GROWTH = 50 * 1024 * 1024


def resident(pid: int, line: str) -> int:
    """Bytes of memory: `VmRSS` now, `VmHWM` at its highest."""
    for entry in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = entry.partition(":")
        if name == line:
            return int(value.split()[0]) * 1024
    raise AssertionError(f"no {line} of {pid}")


def fill(data: Path, rows: int = ROWS) -> None:
    """Many items, put in beside the daemon."""
    with closing(sqlite3.connect(data / "watcherd.db", timeout=HANG_SECONDS)) as connection, connection:
        (table,) = connection.execute(
            "SELECT table_name FROM watcherd_entity WHERE model = 'shop' AND entity = 'Item'"
        ).fetchone()
        moment = "2026-11-22T01:31:46.000000Z"
        connection.executemany(
            f'INSERT INTO "{table}" (id, name, created_at, updated_at) VALUES (?, ?, ?, ?)',
            ((f"00000000-0000-7000-8000-{n:012d}", f"item {n * 7919 % rows}", moment, moment) for n in range(rows)),
        )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("query", ["format=csv", "format=json", "format=ndjson&sort=-name"])
async def test_an_export_of_a_million_rows_takes_little_memory(daemon: Process, query: str) -> None:
    daemon.write("shop.yaml", shop())
    async with daemon.client() as client:
        await client.post("/admin/reload")
        await client.get("/api/shop/items/-/export?format=csv")
        fill(daemon.data)
        before = resident(daemon.pid, "VmRSS")
        found, rest = 0, b""
        async with client.stream("GET", f"/api/shop/items/-/export?{query}", timeout=120) as answer:
            assert answer.status_code == 200
            async for chunk in answer.aiter_bytes():
                chunk = rest + chunk  # noqa: PLW2901 - with what may be the first half of a word
                found += chunk.count(WORD)
                rest = chunk[-len(WORD) + 1 :]
    assert found == ROWS
    assert resident(daemon.pid, "VmHWM") - before < MOST_GROWTH


async def test_a_client_that_goes_away_ends_its_export(daemon: Process) -> None:
    daemon.write("shop.yaml", shop())
    async with daemon.client() as client:
        await client.post("/admin/reload")
        fill(daemon.data, 200_000)
        since = len(daemon.lines)
        async with client.stream("GET", "/api/shop/items/-/export?format=ndjson") as answer:
            await anext(answer.aiter_bytes())
        line = await daemon.wait_for("request", since, lambda line: line["path"] == "/api/shop/items/-/export")
        assert line["status"] == 499
        assert line["bytes"] < 20_000_000, "the rest was never read"


async def lines() -> AsyncIterator[bytes]:
    """A million rows of CSV."""
    yield b"name\r\n"
    for first in range(0, ROWS, 1000):
        yield b"".join(b"item %d\r\n" % number for number in range(first, first + 1000))


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_an_import_of_a_million_rows_takes_little_memory_and_fails_no_other_request(daemon: Process) -> None:
    daemon.write("shop.yaml", shop())
    async with daemon.client() as client:
        client.timeout = 120
        await client.post("/admin/reload")
        headers = {"content-type": "text/csv"}
        await client.post("/api/shop/items/-/import", content=b"name\na\n", headers=headers)
        before = resident(daemon.pid, "VmRSS")
        importing = asyncio.create_task(client.post("/api/shop/items/-/import", content=lines(), headers=headers))
        statuses: set[int] = set()
        others = 0
        while not importing.done():
            written = await client.post("/api/shop/items", json={"name": "other"})
            statuses |= {written.status_code, (await client.get(written.headers["location"])).status_code}
            others += 1
        answer = await importing
        total = (await client.get("/api/shop/items?limit=0")).json()["total"]
    assert answer.json() == {"imported": ROWS}
    assert statuses == {200, 201}
    assert total == ROWS + others + 1
    assert resident(daemon.pid, "VmHWM") - before < 2 * MOST_GROWTH, "the writer's page cache and log are in it"
