"""Another process at the database of a daemon."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.e2e.process import Process, running
from tests.others import holding, recovering


async def test_while_another_process_keeps_everybody_from_reading_all_else_is_answered(
    tmp_path: Path, shop_models: Path
) -> None:
    async with running(shop_models, tmp_path / "data") as daemon, daemon.client() as client:
        row = (await client.post("/api/shop/items", json={"name": "a"})).json()
        paths = [f"/api/shop/items/{row['id']}", "/api/shop/items"]
        for path in paths:
            await client.get(path)
        async with recovering(database_of(daemon)):
            waiting = [asyncio.create_task(client.get(path)) for path in paths]
            await client.get("/admin/pim")  # on another connection, and sent after them: they have come by now
            assert (await client.get("/healthz")).status_code == 200
            ready = (await client.get("/readyz")).json()
            assert not any(task.done() for task in waiting)
        one, page = [reply.json() for reply in await asyncio.gather(*waiting)]
        assert one == row
        assert page["items"] == [row]
        assert ready["status"] == "degraded"
        assert "cannot be read now: database is locked" in ready["reasons"][0]
        assert (await client.get("/readyz")).json()["status"] == "ok"


async def test_reads_go_on_and_writes_wait_while_another_process_writes(tmp_path: Path, shop_models: Path) -> None:
    async with running(shop_models, tmp_path / "data") as daemon, daemon.client() as client:
        row = (await client.post("/api/shop/items", json={"name": "a"})).json()
        path = f"/api/shop/items/{row['id']}"
        async with holding(database_of(daemon), "BEGIN EXCLUSIVE", "CREATE TABLE theirs (x)"):
            waiting = asyncio.create_task(client.patch(path, json={"name": "b"}))
            for _ in range(20):
                assert (await client.get(path)).json() == row
                assert (await client.get("/api/shop/items")).json()["items"] == [row]
            assert not waiting.done()
        assert (await waiting).json()["name"] == "b"
        assert (await client.get(path)).json()["name"] == "b"


def database_of(daemon: Process) -> Path:
    return daemon.data / "watcherd.db"
