"""Several daemons, as on several hosts, on one PostgreSQL and one directory of models."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.process import HANG_SECONDS, Process, running
from tests.postgres import Postgres
from tests.postgres import running as postgres_running

NAME = "name: {type: string, required: true}"


def shop(*attributes: str) -> str:
    lines = "".join(f"      {line}\n" for line in (NAME, *attributes))
    return f"domain: shop\nentities:\n  - name: Item\n    attributes:\n{lines}"


@pytest.fixture
def server() -> Iterator[Postgres]:
    with postgres_running() as started:
        yield started


@asynccontextmanager
async def two(tmp_path: Path, server: Postgres, text: str) -> AsyncIterator[tuple[Process, Process]]:
    models = tmp_path / "models"
    models.mkdir()
    (models / "shop.yaml").write_text(text)
    environment = {"WATCHERD_DATABASE_URL": server.url(), "WATCHERD_LOG_LEVEL": "debug"}
    async with (
        running(models, tmp_path / "one", environment=environment) as one,
        running(models, tmp_path / "two", environment=environment) as other,
    ):
        yield one, other


async def hammer(daemon: Process, stop: asyncio.Event, body: dict[str, Any]) -> list[int]:
    """Read and write again and again; what was answered."""
    answers = []
    async with daemon.client() as client:
        while not stop.is_set():
            answers.append((await client.get("/api/shop/items?limit=5&count=none")).status_code)
            answers.append((await client.post("/api/shop/items", json=body)).status_code)
    return answers


def objects(server: Postgres) -> dict[str, int]:
    """Triggers of ours, and indexes that are no primary keys."""
    (triggers,) = server.query("public", "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal")
    (indexes,) = server.query("public", "SELECT count(*) FROM pg_indexes WHERE indexname LIKE 'uq%'")
    return {"triggers": triggers[0], "unique": indexes[0]}


async def swapped(daemon: Process, since: int, revision: int) -> None:
    await daemon.wait_for("model.swapped", since, lambda line: line["revision"] == revision)


async def test_both_follow_and_what_one_has_changed_the_other_finds_done(tmp_path: Path, server: Postgres) -> None:
    async with two(tmp_path, server, shop("size: integer")) as (one, other):
        stop = asyncio.Event()
        traffic = [asyncio.create_task(hammer(daemon, stop, {"name": "a", "size": 7})) for daemon in (one, other)]
        for revision, text in enumerate(
            (
                shop("size: integer", "color: {type: string, default: red, index: true}"),
                shop("size: {type: decimal, scale: 2}", "color: {type: string, default: red, index: true}"),
                shop("size: {type: decimal, scale: 4}", "colour: {type: string, default: red, renamed_from: color}"),
            ),
            start=2,
        ):
            marks = len(one.lines), len(other.lines)
            one.write("shop.yaml", text)
            async with asyncio.timeout(HANG_SECONDS):
                await asyncio.gather(*map(swapped, (one, other), marks, (revision, revision)))
        stop.set()
        statuses = [status for answers in await asyncio.gather(*traffic) for status in answers]
        assert set(statuses) <= {200, 201, 503}, sorted(set(statuses))
        assert not [status for status in statuses[::2] if status != 200], "no read ever fails"
        (rows,) = server.query("public", "SELECT count(*) FROM shop__item WHERE size_3 = 70000")
        assert rows[0] == statuses.count(201)
        async with one.client() as client, other.client() as second:
            for reader in (client, second):
                shown = (await reader.get("/api/shop/items?limit=1")).json()
                assert (shown["items"][0]["size"], shown["items"][0]["colour"]) == ("7.0000", "red")
                assert shown["total"] == rows[0]
        # Only once both say that they hold the last revision is anything taken away.
        async with asyncio.timeout(HANG_SECONDS):
            while objects(server)["triggers"]:
                await asyncio.sleep(0.2)
        for daemon in (one, other):
            errors = [line for line in daemon.lines if line["level"] in {"error", "critical"}]
            # A server that takes over two seconds to say that it is well is told of, and of its return.
            assert not [line for line in errors if line["event"] != "database.degraded"]


async def test_an_unload_and_a_load_at_one_are_followed_by_the_other(tmp_path: Path, server: Postgres) -> None:
    async with two(tmp_path, server, shop()) as (one, other), one.client() as client, other.client() as second:
        assert (await client.delete("/admin/pim/shop")).status_code == 200
        async with asyncio.timeout(HANG_SECONDS):
            await other.wait_for("model.unloaded")
        assert (await second.get("/api/shop/items")).status_code == 404
        await one.wait_for("model.unloaded")
        mark = len(one.lines)  # what it loaded at its start was told before
        assert (await second.post("/admin/pim/load", json={"pim_name": "shop"})).status_code == 200
        async with asyncio.timeout(HANG_SECONDS):
            await one.wait_for("model.loaded", mark)
        assert (await client.get("/api/shop/items")).status_code == 200


async def test_a_rollback_at_one_and_its_end_at_the_other_are_followed_by_both(
    tmp_path: Path, server: Postgres
) -> None:
    async with two(tmp_path, server, shop()) as (one, other), one.client() as client, other.client() as second:
        one.write("shop.yaml", shop("size: integer"))
        async with asyncio.timeout(HANG_SECONDS):
            await asyncio.gather(swapped(one, 0, 2), swapped(other, 0, 2))
        assert (await client.post("/admin/pim/shop/rollback", json={"revision": 1})).status_code == 200
        async with asyncio.timeout(HANG_SECONDS):
            await swapped(other, 0, 3)
        for reader in (client, second):
            assert (await reader.get("/admin/pim/shop")).json()["state"] == "rolled_back"
            assert "size" not in (await reader.post("/api/shop/items", json={"name": "a"})).json()
        marks = len(one.lines)
        assert (await second.post("/admin/pim/load", json={"pim_name": "shop"})).status_code == 200
        async with asyncio.timeout(HANG_SECONDS):
            await swapped(one, marks, 4)
        for reader in (client, second):
            assert (await reader.get("/admin/pim/shop")).json()["state"] == "live"
            assert "size" in (await reader.post("/api/shop/items", json={"name": "b"})).json()


async def test_orders_one_after_the_other_are_obeyed_wherever_each_is_given(tmp_path: Path, server: Postgres) -> None:
    """As behind a load balancer, before the other has heard of the last one by itself."""
    async with two(tmp_path, server, shop()) as (one, other), one.client() as client, other.client() as second:
        for _ in range(3):
            for asked, next_ in ((client, second), (second, client)):
                assert (await asked.delete("/admin/pim/shop")).status_code == 200
                answer = await next_.post("/admin/pim/load", json={"pim_name": "shop"})
                assert answer.status_code == 200, answer.text
                assert (await asked.post("/admin/pim/load", json={"pim_name": "shop"})).status_code == 409
        assert (await client.delete("/admin/pim/shop")).status_code == 200
        assert (await second.delete("/admin/pim/shop")).status_code == 404


async def test_nothing_is_taken_away_while_the_other_process_still_drains(tmp_path: Path, server: Postgres) -> None:
    async with two(tmp_path, server, shop("size: integer")) as (one, other):
        address = httpx.URL(other.address)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        body = b'{"name": "late", "size": 3}'
        kind = "content-type: application/json"
        head = f"POST /api/shop/items HTTP/1.1\r\nhost: x\r\n{kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body[:5])
        await writer.drain()
        async with other.client() as client:
            async with asyncio.timeout(HANG_SECONDS):
                while 'watcherd_requests_in_flight{model="shop"} 1.0' not in (await client.get("/metrics")).text:
                    await asyncio.sleep(0.01)
        one.write("shop.yaml", shop("size: {type: decimal, scale: 2}"))
        async with asyncio.timeout(HANG_SECONDS):
            await asyncio.gather(swapped(one, 0, 2), swapped(other, 0, 2))
            await one.wait_for("schema.loosen_waits", 0, lambda line: "holds revision 1" in line["reason"])
        assert objects(server)["triggers"] == 1
        writer.write(body[5:])
        await writer.drain()
        assert b"201" in await reader.readline()
        writer.close()
        await writer.wait_closed()
        async with one.client() as client:
            shown = (await client.get("/api/shop/items")).json()["items"]
        assert [row["size"] for row in shown] == ["3.00"]
        async with asyncio.timeout(HANG_SECONDS):
            while objects(server)["triggers"]:
                await asyncio.sleep(0.2)


async def test_a_process_that_stands_still_is_waited_for_and_a_killed_one_is_not(
    tmp_path: Path, server: Postgres
) -> None:
    async with two(tmp_path, server, shop("size: integer")) as (one, other):
        os.kill(other.pid, signal.SIGSTOP)
        try:
            one.write("shop.yaml", shop("size: {type: decimal, scale: 2}"))
            async with asyncio.timeout(HANG_SECONDS):
                await swapped(one, 0, 2)
                await one.wait_for("schema.loosen_waits")
            assert objects(server)["triggers"] == 1
        finally:
            os.kill(other.pid, signal.SIGKILL)
        # As if the time had passed after which it counts as dead.
        server.query("public", f"UPDATE watcherd_process SET beat_at = beat_at - 60000 WHERE pid = {other.pid}")
        async with asyncio.timeout(HANG_SECONDS):
            while objects(server)["triggers"]:
                await asyncio.sleep(0.2)
