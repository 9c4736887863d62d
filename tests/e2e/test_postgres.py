"""A daemon that stores in PostgreSQL: it outlives a restart of the server, and of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.models import shop
from tests.e2e.process import once, running, until_ready_is
from tests.e2e.test_workers import one_client_each
from tests.postgres import Postgres
from tests.postgres import running as postgres_running


@pytest.fixture
def server() -> Iterator[Postgres]:
    with postgres_running() as started:
        yield started


async def test_a_lost_database_is_a_503_and_comes_back_without_a_restart(tmp_path: Path, server: Postgres) -> None:
    models, data = tmp_path / "models", tmp_path / "data"
    environment = {"WATCHERD_DATABASE_URL": server.url(), "WATCHERD_RECONCILE_SECONDS": "1"}
    async with running(models, data, environment=environment) as daemon, daemon.client() as client:
        daemon.write("shop.yaml", shop())
        await daemon.wait_for("model.loaded")
        created = await client.post("/api/shop/items", json={"name": "kept"})
        assert created.status_code == 201
        await until_ready_is(client, "ok")

        server.stop()
        for answer in (
            await client.get(created.headers["location"]),
            await client.get("/api/shop/items"),
            await client.post("/api/shop/items", json={"name": "lost"}),
        ):
            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")
            assert answer.headers["retry-after"] == "1"
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        assert any("the database is not available now" in reason for reason in ready.json()["reasons"])
        assert (await client.get("/healthz")).status_code == 200
        daemon.write("shop.yaml", shop("edited"))
        await daemon.wait_for("reload.failed")

        server.start()
        back = await once(lambda: client.get("/api/shop/items"), lambda answer: answer.status_code != 503)
        assert [row["name"] for row in back.json()["items"]] == ["kept"]
        await daemon.wait_for("model.swapped")
        await until_ready_is(client, "ok")  # it is told of the swap before the reload is over
        assert (await client.get("/api/shop/items")).json()["items"][0]["edited"] is None
    assert not data.exists(), "nothing is stored beside the database"


async def test_what_was_stored_is_there_after_a_restart(tmp_path: Path, server: Postgres) -> None:
    models, data = tmp_path / "models", tmp_path / "data"
    options = ("--database-url", server.url())
    async with running(models, data, *options) as daemon, daemon.client() as client:
        daemon.write("shop.yaml", shop())
        await daemon.wait_for("model.loaded")
        await client.post("/api/shop/items", json={"name": "kept"})
    async with running(models, data, *options) as daemon, daemon.client() as client:
        rows = (await client.get("/api/shop/items")).json()["items"]
        assert [row["name"] for row in rows] == ["kept"]


async def test_several_workers_share_a_database_and_follow_one_generation(tmp_path: Path, server: Postgres) -> None:
    options = ("--database-url", server.url(), "--workers", "2")
    async with running(tmp_path / "models", tmp_path / "data", *options) as daemon:
        daemon.write("shop.yaml", shop())
        await daemon.wait_for("model.loaded")
        clients = await one_client_each(daemon)
        row = (await clients[1].post("/api/shop/items", json={"name": "a"})).json()
        assert (await clients[2].get(f"/api/shop/items/{row['id']}")).json() == row
        daemon.write("shop.yaml", shop("colour"))
        await daemon.wait_for("model.swapped")
        for client in clients.values():
            answer = await client.patch(f"/api/shop/items/{row['id']}", json={"colour": "red"})
            assert (answer.status_code, answer.headers["watcherd-revision"]) == (200, "2")
            await client.aclose()
