"""A start in waves as a real process: what serves in the middle of it, and whatever happens then."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.connections import REST, send_half
from tests.e2e.models import shop
from tests.e2e.process import Process, running, until_ready_is
from tests.e2e.test_service import activated, get
from tests.faults import ENTRY
from watcherd.waves import FIRST_BYTES

HUGE = "x" * FIRST_BYTES
"""A comment that makes a file so large that its model comes in a wave of its own."""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A model that serves early, and one that does not."""
    directory = tmp_path / "models"
    directory.mkdir()
    (directory / "shop.yaml").write_text(shop())
    (directory / "large.yaml").write_text(shop(domain="large", comment=f"# {HUGE}"))
    return directory


class Start:
    """Daemons on the same files, of which one stops in the middle of its start if it is told to."""

    def __init__(self, models: Path) -> None:
        self._models = models
        self._data = models.parent / "data"
        self._address = models.parent / "socket"
        self._armed = models.parent / "armed"
        self._held = models.parent / "held"
        self.environment = {"FAULT_STEP": "a wave serves", "FAULT_ARMED": str(self._armed)}

    def hold(self, *before: str) -> None:
        """Let the next start wait when its first wave serves; `before` that, let something else happen to it."""
        self._held.touch()
        self._armed.write_text("\n".join([*before, f"hold {self._held}"]))

    def go_on(self) -> None:
        self._held.unlink()

    def client(self) -> httpx.AsyncClient:
        """A client with connections of its own."""
        transport = httpx.AsyncHTTPTransport(uds=str(self._address))
        return httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=120)

    @asynccontextmanager
    async def running(self, *arguments: str, ready: bool = False) -> AsyncIterator[Process]:
        options = "--uds", str(self._address), *arguments
        start = running(self._models, self._data, *options, entry=ENTRY, environment=self.environment, ready=ready)
        async with start as daemon:
            yield daemon

    async def arrived(self, daemon: Process) -> None:
        """Wait until the fault has happened, and all who answer have what serves by then."""
        while self._armed.exists():
            await asyncio.sleep(0)
        await daemon.all_answer()


@pytest.fixture
def start(models: Path) -> Start:
    return Start(models)


async def entries(client: httpx.AsyncClient) -> dict[str, Any]:
    return {one["name"]: one for one in (await client.get("/admin/pim")).json()["pims"]}


async def generation_of(client: httpx.AsyncClient) -> float:
    text = (await client.get("/metrics")).text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    return families["watcherd_generation"].samples[0].value


@pytest.mark.parametrize("workers", [1, 2])
async def test_small_models_serve_in_the_middle_of_a_start_and_it_says_how_far_it_is(
    start: Start, workers: int
) -> None:
    start.hold()
    async with start.running("--workers", str(workers)) as daemon, start.client() as client:
        await daemon.wait_for("model.loaded", where=lambda line: line["model"] == "shop")
        await daemon.all_answer(workers)
        for _ in range(3 * workers):  # each on a connection of its own: of several workers all are asked
            async with start.client() as another:
                created = await another.post("/api/shop/items", json={"name": "a"})
                assert (created.status_code, created.headers["watcherd-generation"]) == (201, "1")
                for path in ("/api/large/items", "/api/unknown/items"):
                    refused = await another.get(path)
                    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
                    assert refused.json()["type"] == "/problems/unavailable"
                    assert "the daemon is starting" in refused.json()["detail"]
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json() == {
            "status": "starting",
            "reasons": ["the daemon is starting: 1 of 2 models are built, 1 serve"],
            "generation": 1,
        }
        assert (await client.get("/healthz")).status_code == 200
        assert {name: one["state"] for name, one in (await entries(client)).items()} == {
            "shop": "live",
            "large": "starting",
        }
        document = (await client.get("/openapi.json")).json()
        assert "/api/shop/items" in document["paths"]
        assert "/api/large/items" not in document["paths"]
        assert (await client.get("/openapi.json?model=large")).status_code == 503
        assert await generation_of(client) == 1
        assert not daemon.of("daemon.started")
        assert not daemon.of("reload.finished")

        start.go_on()
        started = await daemon.wait_for("daemon.started")
        assert (started["live"], started["rejected"]) == (2, 0)
        for _ in range(3 * workers):
            async with start.client() as another:
                assert (await another.get("/api/large/items")).headers["watcherd-generation"] == "2"
                assert (await another.get("/api/unknown/items")).status_code == 404
                assert (await another.get("/api/shop/items")).json()["total"] == 3 * workers
        await until_ready_is(client, "ok")
        assert await generation_of(client) == 2
        assert daemon.of("reload.finished")[0]["swapped"] == 2


async def test_files_that_are_saved_deleted_or_renamed_during_a_start_serve_as_they_are_after_it(
    start: Start, models: Path
) -> None:
    (models / "gone.yaml").write_text(shop(domain="gone"))
    start.hold()
    async with start.running() as daemon, start.client() as client:
        await start.arrived(daemon)
        daemon.write("shop.yaml", shop("color", version="2"))
        daemon.write("new.yaml", shop(domain="new"))
        (models / "gone.yaml").unlink()
        (models / "large.yaml").rename(models / "moved.yaml")
        start.go_on()
        await daemon.wait_for("model.unloaded", where=lambda line: line["model"] == "gone")
        await client.post("/admin/reload")
        found = {name: (one["file"], one["state"], one["version"]) for name, one in (await entries(client)).items()}
        assert found == {
            "shop": ("shop.yaml", "live", "2"),
            "new": ("new.yaml", "live", "1"),
            "large": ("moved.yaml", "live", "1"),
        }
        assert (await client.get("/api/large/items")).status_code == 200


async def test_a_kill_in_the_middle_of_a_start_loses_nothing(start: Start, models: Path) -> None:
    start.hold()
    async with start.running() as daemon, start.client() as client:
        await start.arrived(daemon)
        assert (await client.post("/api/shop/items", json={"name": "kept"})).status_code == 201
        daemon.kill(signal.SIGKILL)
        assert await daemon.ended() == -signal.SIGKILL
    (models / "large.yaml").write_text(shop("color", domain="large", version="2"))
    async with start.running(ready=True), start.client() as client:
        assert [row["name"] for row in (await client.get("/api/shop/items")).json()["items"]] == ["kept"]
        assert {name: one["revision"] for name, one in (await entries(client)).items()} == {"shop": 1, "large": 1}
        assert (await client.post("/api/large/items", json={"name": "a", "color": "red"})).status_code == 201


async def test_a_stop_in_the_middle_of_a_start_lets_requests_finish(start: Start, models: Path) -> None:
    start.hold()
    async with start.running() as daemon:
        await start.arrived(daemon)
        reader, writer = await asyncio.open_unix_connection(models.parent / "socket")
        await send_half(writer)
        async with start.client() as client:
            while not (await entries(client))["shop"]["in_flight"]:
                pass
        daemon.kill(signal.SIGTERM)
        await daemon.wait_for("shutdown.stage", where=lambda line: line["stage"] == "watch")
        writer.write(REST)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201")
        writer.close()
        assert await daemon.ended() == 0
    start.go_on()
    async with start.running(ready=True), start.client() as client:
        assert (await client.get("/api/shop/items")).json()["total"] == 1
        assert (await client.get("/api/large/items")).status_code == 200


async def test_a_hang_up_in_the_middle_of_a_start_is_waited_with(start: Start) -> None:
    start.hold()
    async with start.running() as daemon, start.client() as client:
        await start.arrived(daemon)
        daemon.kill(signal.SIGHUP)
        assert (await client.get("/api/shop/items")).status_code == 200
        start.go_on()
        finished = await daemon.wait_for("reload.finished", where=lambda line: line["reason"] == "signal")
        assert finished["generation"] == 2
        reasons = [line["reason"] for line in daemon.of("reload.finished")]
        assert reasons[0] == "start"


async def test_a_database_that_fails_in_the_middle_of_a_start_is_tried_again_while_what_serves_does(
    start: Start,
) -> None:
    start.environment["FAULT_STEP"] = "first scan,a wave serves"
    start.hold("delay 0", "fail")
    async with start.running() as daemon, start.client() as client:
        failed = await daemon.wait_for("reload.failed")
        assert (failed["reason"], failed["error"]) == ("start", "the disk is full")
        await start.arrived(daemon)  # at the second attempt
        assert (await client.post("/api/shop/items", json={"name": "a"})).status_code == 201
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["reasons"][0].endswith("1 serve; the last reload failed: the disk is full")
        start.go_on()
        started = await daemon.wait_for("daemon.started")
        assert started["live"] == 2
        await until_ready_is(client, "ok")


@pytest.mark.parametrize("workers", [1, 2])
async def test_under_socket_activation_nobody_is_answered_before_all_serve(
    start: Start, models: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start.hold()
    for name, value in start.environment.items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        options = models, models.parent / "data", "--workers", str(workers)
        async with activated(listener, *options, module="tests.faults") as daemon:
            waiting = [asyncio.create_task(get(listener.getsockname(), model)) for model in ("shop", "large")]
            await daemon.wait_for("model.loaded")
            if workers > 1:
                await daemon.wait_for("worker.started")
            assert not any(one.done() for one in waiting)
            assert not daemon.of("request")
            start.go_on()
            assert all([(await one).startswith(b"HTTP/1.1 200") for one in waiting])
