"""Event streams of a real process: what happens to models, clients that go, and a stop with streams open."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.connections import in_flight
from tests.e2e.models import BROKEN, shop
from tests.e2e.process import Process, once, running
from watcherd.keys import make_key


class Stream:
    """Server-sent events, read one by one."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.last_id = ""
        self.retry = 0
        self._lines = response.aiter_lines()

    async def next(self) -> tuple[str, Any]:
        """The kind and the data of the next event."""
        kind = ""
        async for line in self._lines:
            field, _, value = line.partition(": ")
            match field:
                case "id":
                    self.last_id = value
                case "retry":
                    self.retry = int(value)
                case "event":
                    kind = value
                case "data":
                    return kind, json.loads(value)
        raise AssertionError("the stream has ended")

    async def until(self, wanted: str) -> Any:
        while True:
            kind, data = await self.next()
            if kind == wanted:
                return data


@asynccontextmanager
async def listening(client: httpx.AsyncClient, path: str, **headers: str) -> AsyncIterator[Stream]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.stream("GET", path, headers=sent) as response:
        assert response.status_code == 200
        yield Stream(response)


async def test_the_admin_stream_tells_what_the_log_tells_and_goes_on_where_it_was_left(daemon: Process) -> None:
    async with daemon.client() as client:
        async with listening(client, "/admin/events") as stream:
            daemon.write("shop.yaml", shop())
            loaded = await stream.until("model.loaded")
            assert (loaded["model"], loaded["revision"]) == ("shop", 1)
            await stream.until("reload.finished")
        daemon.write("shop.yaml", BROKEN)
        await daemon.wait_for("model.rejected")
        async with listening(client, "/admin/events", last_event_id=stream.last_id) as again:
            rejected = await again.until("model.rejected")
            assert (rejected["model"], rejected["serving"]) == ("shop", 1)
        async with client.stream("GET", "/admin/events", headers={"host": "rebound.example"}) as refused:
            assert refused.status_code == 403


async def test_a_client_that_disconnects_is_no_longer_in_flight(daemon: Process) -> None:
    async with daemon.client() as client:
        daemon.write("shop.yaml", shop())
        await daemon.wait_for("model.loaded")
        since = len(daemon.lines)
        async with listening(client, "/api/shop/items/-/events") as stream:
            created = (await client.post("/api/shop/items", json={"name": "a"})).json()
            assert await stream.next() == ("created", created)
            await in_flight(daemon, 1)
            await once(lambda: client.get("/metrics"), lambda answer: "watcherd_streams_open 1.0" in answer.text)
        line = await daemon.wait_for("request", since, lambda line: line["path"].endswith("/-/events"))
        assert line["status"] in {200, 499}
        await in_flight(daemon, 0)


async def test_a_stop_says_goodbye_to_every_stream_and_does_not_wait_for_them(daemon: Process) -> None:
    async with daemon.client() as client:
        daemon.write("shop.yaml", shop())
        await daemon.wait_for("model.loaded")
        async with (
            listening(client, "/admin/events") as admin,
            listening(client, "/api/shop/items/-/events") as rows,
        ):
            daemon.kill(signal.SIGTERM)
            for stream in (admin, rows):
                assert "stopping" in (await stream.until("bye"))["reason"]
                assert stream.retry >= 500
            assert await daemon.ended() == 0
    drained = next(line for line in daemon.of("shutdown.stage") if line["stage"] == "drain")
    assert "held_by" not in drained


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_key_that_is_taken_away_hears_no_more(tmp_path: Path, workers: str) -> None:
    """A stream has no end of its own: it would show rows for as long as its client stays."""
    keys, models = tmp_path / "keys", tmp_path / "models"
    models.mkdir()
    (models / "shop.yaml").write_text(shop(), encoding="utf-8")
    (gone, its_line), (kept, other_line) = [make_key(name, ["shop"], ["shop"]) for name in ("gone", "kept")]
    keys.write_text(f"{its_line}\n{other_line}\n")
    environment = {"WATCHERD_WORKERS": workers, "WATCHERD_API_KEYS_FILE": str(keys)}
    path = "/api/shop/items/-/events"
    async with running(models, tmp_path / "data", environment=environment) as daemon, daemon.client() as client:
        async with (
            listening(client, path, x_api_key=gone) as stream,
            listening(client, path, x_api_key=kept) as other,
        ):
            keys.write_text(f"{other_line}\n")
            since = len(daemon.lines)
            daemon.kill(signal.SIGHUP)
            for one in (stream, other):
                assert (await one.until("bye"))["reason"] == "the API keys have changed"
        await daemon.wait_for("reload.finished", since, lambda line: line["reason"] == "signal")  # by each worker
        assert (await client.get(path, headers={"x-api-key": gone})).status_code == 401
        async with listening(client, path, x_api_key=kept) as stream:
            await client.post("/api/shop/items", json={"name": "a"}, headers={"x-api-key": kept})
            assert (await stream.until("created"))["name"] == "a"


async def test_the_documents_describe_the_streams(daemon: Process) -> None:
    async with daemon.client() as client:
        daemon.write("shop.yaml", shop())
        await daemon.wait_for("model.loaded")
        paths = (await client.get("/openapi.json")).json()["paths"]

    for path in ("/api/shop/items/-/events", "/admin/events"):
        assert "text/event-stream" in paths[path]["get"]["responses"]["200"]["content"]
