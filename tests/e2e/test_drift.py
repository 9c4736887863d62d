"""A daemon whose tables somebody else changes, on both databases."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.process import once, running, until_ready_is
from tests.postgres import Postgres

ON_BOTH_DATABASES = True

Run = Callable[[str], Any]


@pytest.fixture
def run(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Run:
    """Say something to the database, beside the daemon."""
    if database_url.startswith("postgresql"):
        server: Postgres = request.getfixturevalue("postgres")
        return lambda sql: server.query(request.getfixturevalue("schema"), sql)

    def execute(sql: str) -> Any:
        with closing(sqlite3.connect(tmp_path / "watcherd.db", isolation_level=None)) as connection:
            return connection.execute(sql).fetchall()

    return execute


async def test_drift_degrades_readiness_from_a_signal_or_a_start_until_it_is_undone(
    tmp_path: Path, shop_models: Path, database_url: str, run: Run
) -> None:
    data = tmp_path / "data"
    environment = {"WATCHERD_DATABASE_URL": database_url}
    async with running(shop_models, data, environment=environment) as daemon, daemon.client() as client:
        await until_ready_is(client, "ok")
        assert daemon.of("schema.drifted") == []
        run("ALTER TABLE shop__item ADD COLUMN mine integer")
        daemon.kill(signal.SIGHUP)
        line = await daemon.wait_for("schema.drifted")
        assert (line["level"], line["model"]) == ("warning", "shop")
        assert line["differences"] == ["the column mine of shop__item is not ours"]
        ready = await once(lambda: until_ready_is(client, "degraded"), lambda said: len(said["reasons"]) == 1)
        assert "the tables of shop: see" in ready["reasons"][0]
    async with running(shop_models, data, environment=environment) as daemon, daemon.client() as client:
        await until_ready_is(client, "degraded", *ready["reasons"])
        (shown,) = (await client.get("/admin/pim/shop")).json()["drift"]
        assert (shown["table"], shown["kind"], shown["name"], shown["wanted"]) == ("shop__item", "column", "mine", None)
        assert (await client.post("/api/shop/items", json={"name": "served"})).status_code == 201
        run("ALTER TABLE shop__item DROP COLUMN mine")
        assert (await client.post("/admin/reload")).status_code == 200
        await until_ready_is(client, "ok")
        await daemon.wait_for("schema.restored")
