"""Clients that hold on to their connections do not hold a stop; every stage of it has its bound."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.e2e.connections import REST, half_a_request, half_a_request_alone, in_flight, never_reading, place
from tests.e2e.models import shop
from tests.e2e.process import Process, running

STAGES = ["watch", "drain", "cut", "server", "store"]
BIG = "x" * 9000


async def with_a_model(daemon: Process) -> None:
    daemon.write("shop.yaml", shop())
    await daemon.wait_for("model.loaded")


async def test_a_keep_alive_connection_that_is_idle_is_closed_and_holds_nothing(daemon: Process) -> None:
    await with_a_model(daemon)
    reader, writer = await asyncio.open_connection(*place(daemon))
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
    await reader.readuntil(b'{"status":"ok"}')
    daemon.kill(signal.SIGTERM)
    assert await reader.read() == b""
    assert await daemon.ended() == 0
    assert [line["stage"] for line in daemon.of("shutdown.stage") if "held_by" not in line] == STAGES
    writer.close()


async def test_a_connection_that_never_sends_a_whole_head_holds_nothing(daemon: Process) -> None:
    _reader, writer = await asyncio.open_connection(*place(daemon))
    writer.write(b"GET /api/shop/items HTTP/1.1\r\nhost: loc")
    async with daemon.client() as client:
        await client.get("/healthz")
    daemon.kill(signal.SIGTERM)
    assert await daemon.ended() == 0
    writer.close()


async def test_a_client_that_never_reads_a_big_answer_holds_nothing_for_long(daemon: Process) -> None:
    await with_a_model(daemon)
    async with daemon.client() as client:
        for _ in range(5):
            rows = [client.post("/api/shop/items", json={"name": BIG}) for _ in range(100)]
            assert {answer.status_code for answer in await asyncio.gather(*rows)} == {201}
    since = len(daemon.lines)
    with never_reading(daemon, "/api/shop/items?limit=1000"):
        # To the daemon the request is over once the connection has taken the answer over.
        await daemon.wait_for("request", since, where=lambda line: line["bytes"] > 500 * len(BIG))
        daemon.kill(signal.SIGTERM)
        assert await daemon.ended() == 0
    assert [line["stage"] for line in daemon.of("shutdown.stage")] == STAGES


async def test_a_stop_names_what_held_each_stage_and_goes_on_to_the_next(tmp_path: Path) -> None:
    environment = {"WATCHERD_GRACEFUL_TIMEOUT": "0.1"}
    async with running(tmp_path / "models", tmp_path / "data", environment=environment) as daemon:
        await with_a_model(daemon)
        held = [await half_a_request(daemon) for _ in range(3)]
        await in_flight(daemon, 3)
        daemon.kill(signal.SIGTERM)
        for reader, writer in held:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 503")
            writer.close()
        assert await daemon.ended() == 1
        stages = {line["stage"]: line.get("held_by") for line in daemon.of("shutdown.stage")}
        assert list(stages) == STAGES
        assert [holder.rsplit(" ", 1)[0] for holder in stages["drain"]] == ["POST /api/shop/items"] * 3
        assert daemon.of("shutdown.finished")[0]["exit_code"] == 1


async def test_a_request_on_a_retired_revision_finishes_during_a_stop(daemon: Process) -> None:
    await with_a_model(daemon)
    reader, writer = await half_a_request_alone(daemon)
    daemon.write("shop.yaml", shop("colour"))
    await daemon.wait_for("model.swapped")
    daemon.kill(signal.SIGTERM)
    started = await daemon.wait_for("shutdown.started")
    assert started["in_flight"] == 1
    writer.write(REST)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 201")
    assert b"watcherd-revision: 1\r\n" in head
    writer.close()
    assert await daemon.ended() == 0


async def test_a_hangup_during_a_stop_changes_nothing(daemon: Process) -> None:
    await with_a_model(daemon)
    reader, writer = await half_a_request_alone(daemon)
    daemon.kill(signal.SIGTERM)
    await daemon.wait_for("shutdown.stage", where=lambda line: line["stage"] == "watch")
    daemon.kill(signal.SIGHUP)
    writer.write(REST)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201")
    writer.close()
    assert await daemon.ended() == 0
    assert not [line for line in daemon.of("reload.finished") if line["reason"] == "signal"]
