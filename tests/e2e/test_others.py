"""Another process at the database of a daemon."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.process import Process, clean_environment, running, until_ready_is
from tests.others import holding, recovering
from watcherd.store.session import HOLD_SECONDS


async def test_while_another_process_keeps_everybody_from_reading_all_else_is_answered(
    tmp_path: Path, shop_models: Path
) -> None:
    async with running(shop_models, tmp_path / "data") as daemon, daemon.client() as client:
        row = (await client.post("/api/shop/items", json={"name": "a"})).json()
        paths = [f"/api/shop/items/{row['id']}", "/api/shop/items"]
        for path in paths:
            await client.get(path)
        in_time = False
        while not in_time:  # for those who wait; on a machine that stands still meanwhile they are told to come again
            began = time.monotonic()
            async with recovering(database_of(daemon)):
                waiting = [asyncio.create_task(client.get(path)) for path in paths]
                assert (await client.get("/admin/pim")).status_code == 200
                assert (await client.get("/healthz")).status_code == 200
                ready = (await client.get("/readyz")).json()
                answered = [task.done() for task in waiting]
            replies = await asyncio.gather(*waiting)
            in_time = time.monotonic() - began < HOLD_SECONDS
        assert answered == [False, False]
        one, page = [reply.json() for reply in replies]
        assert one == row
        assert page["items"] == [row]
        assert ready["status"] == "degraded"
        assert any("cannot be read now: database is locked" in reason for reason in ready["reasons"])
        await until_ready_is(client, "ok")


async def test_reads_go_on_and_writes_wait_while_another_process_writes(tmp_path: Path, shop_models: Path) -> None:
    async with running(shop_models, tmp_path / "data") as daemon, daemon.client() as client:
        row = (await client.post("/api/shop/items", json={"name": "a"})).json()
        path = f"/api/shop/items/{row['id']}"
        in_time = False
        while not in_time:  # for who writes, see above
            began = time.monotonic()
            async with holding(database_of(daemon), "BEGIN EXCLUSIVE", "CREATE TABLE theirs (x)"):
                waiting = asyncio.create_task(client.patch(path, json={"name": "b"}))
                for _ in range(20):
                    assert (await client.get(path)).json() == row
                    assert (await client.get("/api/shop/items")).json()["items"] == [row]
                answered = waiting.done()
            written = await waiting
            in_time = time.monotonic() - began < HOLD_SECONDS
            row = (await client.get(path)).json()
        assert not answered
        assert written.json()["name"] == "b"
        assert (await client.get(path)).json()["name"] == "b"


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_second_daemon_on_the_same_directory_is_refused_and_the_next_one_after_a_kill_is_not(
    tmp_path: Path, shop_models: Path, workers: str
) -> None:
    data = tmp_path / "data"
    async with running(shop_models, data, "--workers", workers) as daemon, daemon.client() as client:
        await client.post("/api/shop/items", json={"name": "a"})
        status, said = await refused(shop_models, data)
        assert status == 2
        assert f"another daemon does already, process {daemon.pid}; stop it, or give this one" in said
        assert said.count("\n") == 1
        async with running(shop_models, tmp_path / "elsewhere"):
            pass
        assert (await client.get("/api/shop/items")).json()["total"] == 1
        daemon.kill(signal.SIGKILL)
        await daemon.ended()
    async with running(shop_models, data, "--workers", workers) as daemon, daemon.client() as client:
        assert (await client.get("/api/shop/items")).json()["total"] == 1


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_database_file_that_is_moved_away_takes_no_write_until_it_is_back(
    tmp_path: Path, shop_models: Path, workers: str
) -> None:
    async with running(shop_models, tmp_path / "data", "--workers", workers) as daemon, daemon.client() as client:
        first = (await client.post("/api/shop/items", json={"name": "a"})).headers["location"]
        kept = tmp_path / "kept.db"
        database_of(daemon).rename(kept)
        refusal = await client.post("/api/shop/items", json={"name": "b"})
        assert (refusal.status_code, refusal.headers["retry-after"]) == (503, "1")
        assert f"the database {database_of(daemon)} was deleted or replaced" in refusal.json()["detail"]
        assert (await client.get(first)).status_code == 200
        told = await daemon.wait_for("database.degraded", where=lambda line: "move the file back" in line["reason"])
        assert told["level"] == "error"
        for worker in range(1, int(workers) + 1) if workers != "1" else ():
            await daemon.wait_for("database.degraded", where=lambda line, number=worker: line.get("worker") == number)  # type: ignore[misc]  # a default of a lambda
        await client.get("/admin/pim")  # which asks the workers how they are
        await until_ready_is(client, "degraded", told["reason"])  # all say it, it is told once
        kept.rename(database_of(daemon))
        assert (await client.post("/api/shop/items", json={"name": "c"})).status_code == 201
        await daemon.wait_for("database.recovered")
        await until_ready_is(client, "ok")  # each process looks for itself
    async with running(shop_models, tmp_path / "data") as daemon, daemon.client() as client:
        stored = {row["name"] for row in (await client.get("/api/shop/items")).json()["items"]}
        assert stored >= {"a", "c"}


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_no_row_that_was_acknowledged_is_lost_when_the_data_directory_is_deleted(
    tmp_path: Path, shop_models: Path, workers: str
) -> None:
    async with running(shop_models, tmp_path / "data", "--workers", workers) as daemon, daemon.client() as client:
        acknowledged = set()
        for number in range(50):
            if number == 40:
                # The daemon may save what it has before all is gone, and makes the directory once more for that.
                shutil.rmtree(daemon.data, ignore_errors=True)
                assert not database_of(daemon).exists()
            created = await client.post("/api/shop/items", json={"name": f"row {number}"})
            if created.status_code == 201:
                acknowledged.add(f"row {number}")
        assert len(acknowledged) == 40
        told = await daemon.wait_for("database.degraded", where=lambda line: "was saved as" in line["reason"])
        assert (await client.get(f"/api/shop/items?name={min(acknowledged)}")).json()["total"] == 1
    (copy,) = (daemon.data / "backups").iterdir()
    assert str(copy) in told["reason"]
    copy.rename(database_of(daemon))
    async with running(shop_models, daemon.data, "--workers", workers) as daemon, daemon.client() as client:
        stored = {row["name"] for row in (await client.get("/api/shop/items?limit=100")).json()["items"]}
        assert acknowledged <= stored


async def refused(models: Path, data: Path) -> tuple[int, str]:
    """The exit status of a daemon that cannot start, and what it says on standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "watcherd", "serve", "--models", str(models), "--data-dir", str(data), "--port", "0",
        stderr=asyncio.subprocess.PIPE, env=clean_environment(),
    )  # fmt: skip
    _, said = await process.communicate()
    return await process.wait(), said.decode()


def database_of(daemon: Process) -> Path:
    return daemon.data / "watcherd.db"
