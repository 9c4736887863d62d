"""More connections than a process may have files: those that are there are served, and so is a saved file."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.e2e.models import shop
from tests.e2e.process import running

FILES = 256
MOST = FILES // 4
"""The connections that a process with so few files takes."""

ENTRY = ("sh", "-c", f'ulimit -n {FILES}; exec "$0" "$@"', sys.executable, "-m", "watcherd")


async def status_of(address: str, open_until: AsyncExitStack) -> int:
    """What a new connection is answered, which stays open."""
    where = urlsplit(address)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    open_until.callback(writer.close)
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
    try:
        return int((await reader.readline()).split()[1])
    except ConnectionError:
        return 503  # it was told so, and closed, before this process could ask


async def test_a_crowd_takes_no_file_that_the_daemon_needs_itself(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "shop.yaml").write_text(shop())
    async with running(models, tmp_path / "data", "--workers", "1", entry=ENTRY) as daemon, AsyncExitStack() as crowd:
        one = httpx.Limits(max_connections=1, keepalive_expiry=None)  # the same, however long the crowd takes to come
        client = await crowd.enter_async_context(daemon.client(limits=one))
        row = (await client.post("/api/shop/items", json={"name": "a"})).json()
        answers = [await status_of(daemon.address, crowd) for _ in range(MOST + 20)]
        assert answers == [200] * (MOST - 1) + [503] * 21
        assert (await daemon.wait_for("server.full"))["connections"] == MOST

        assert (await client.get(f"/api/shop/items/{row['id']}")).json() == row
        listed = await client.get("/api/shop/items")
        assert listed.json()["items"] == [row]
        daemon.write("shop.yaml", shop("colour"))
        await daemon.wait_for("model.swapped")
        assert (await client.get("/readyz")).json()["reasons"] == []
