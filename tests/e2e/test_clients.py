"""Clients in the middle of something while their model changes, and files that are no models."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.e2e.connections import REST, half_a_request_alone, in_flight, never_reading
from tests.e2e.models import shop
from tests.e2e.process import Process, running, shown

HUGE = 100 * 1024 * 1024


async def with_a_model(daemon: Process) -> None:
    daemon.write("shop.yaml", shop())
    await daemon.wait_for("model.loaded")


async def test_a_request_in_flight_finishes_on_a_model_that_was_removed(daemon: Process) -> None:
    await with_a_model(daemon)
    reader, writer = await half_a_request_alone(daemon)
    (daemon.models / "shop.yaml").unlink()
    await daemon.wait_for("model.unloaded")
    writer.write(REST)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201")
    writer.close()
    async with daemon.client() as client:
        assert (await client.get("/api/shop/items")).status_code == 404
        daemon.write("shop.yaml", shop())
        await daemon.wait_for("model.loaded", where=lambda line: line["generation"] == 3)
        assert [row["name"] for row in (await client.get("/api/shop/items")).json()["items"]] == ["half"]


async def test_a_request_that_stands_still_on_a_retired_revision_is_cut_and_told_so(tmp_path: Path) -> None:
    environment = {"WATCHERD_DRAIN_IDLE_SECONDS": "0.2"}
    async with running(tmp_path / "models", tmp_path / "data", environment=environment) as daemon:
        await with_a_model(daemon)
        reader, writer = await half_a_request_alone(daemon)
        daemon.write("shop.yaml", shop("colour"))
        late = await daemon.wait_for("model.drain_timeout")
        assert late["revision"] == 1
        assert late["holders"][0].startswith("POST /api/shop/items")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503")
        assert b"retry-after" in head
        writer.close()
        async with daemon.client() as client:
            assert (await client.get("/api/shop/items")).json()["total"] == 0


async def test_a_client_that_disconnects_in_the_middle_lets_its_revision_go(daemon: Process) -> None:
    await with_a_model(daemon)
    _, writer = await half_a_request_alone(daemon)
    since = len(daemon.lines)
    writer.transport.abort()
    gone = await daemon.wait_for("request", since, where=lambda line: line["method"] == "POST")
    assert gone["status"] == 499
    await in_flight(daemon, 0)
    daemon.write("shop.yaml", shop("colour"))
    await daemon.wait_for("model.swapped")
    async with daemon.client() as client:
        await shown(client, lambda entry: entry["draining"] == [])


async def test_a_slow_reader_neither_holds_its_old_revision_nor_anybody_else(daemon: Process) -> None:
    await with_a_model(daemon)
    async with daemon.client() as client:
        for _ in range(5):
            rows = [client.post("/api/shop/items", json={"name": "x" * 9000}) for _ in range(100)]
            await asyncio.gather(*rows)
        with never_reading(daemon, "/api/shop/items?limit=1000"):
            await daemon.wait_for("request", where=lambda line: line["bytes"] > 4_000_000)
            daemon.write("shop.yaml", shop("colour"))
            await daemon.wait_for("model.swapped")
            entry = await shown(client, lambda entry: entry["draining"] == [])
            assert entry["revision"] == 2
            assert (await client.get("/api/shop/items?limit=1")).headers["watcherd-revision"] == "2"


def resident(daemon: Process) -> int:
    """The memory that the process has in RAM, in bytes."""
    pages = Path(f"/proc/{daemon.pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def test_a_file_of_a_hundred_megabytes_is_refused_unread_and_the_last_good_revision_serves(
    daemon: Process,
) -> None:
    await with_a_model(daemon)
    before = resident(daemon)
    huge = daemon.models / ".huge"
    with huge.open("wb") as file:
        file.truncate(HUGE)
    huge.rename(daemon.models / "shop.yaml")
    rejected = await daemon.wait_for("model.rejected")
    assert (rejected["serving"], rejected["first"].split()[1]) == (1, "PIM703")
    async with daemon.client() as client:
        assert (await client.get("/api/shop/items")).status_code == 200
        assert resident(daemon) - before < HUGE / 2
        daemon.write("shop.yaml", shop("colour"))
        await daemon.wait_for("model.swapped")
