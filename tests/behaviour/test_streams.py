"""Event streams: told after each commit, ended by their own model's swap, untouched by others'."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.helpers import Client, Walk, drained, model_text, serving
from watcherd.wire import Message

EVENTS = "/api/shop/items/-/events"
SECRETIVE = model_text("shop", "pin: {type: string, write_only: true}")


class Listening:
    """A stream that is read as it comes."""

    def __init__(self, walk: Walk, path: str, headers: dict[str, str]) -> None:
        self.client = Client(walk, "GET", path, headers)
        self.client.send_body()
        self._walk = walk
        self._texts: asyncio.Queue[bytes] = asyncio.Queue()
        self._unread: list[tuple[str, Any]] = []
        self.headers: dict[str, str] = {}
        self.status = 0
        self.last_id = ""
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            self._texts.put_nowait(message.get("body", b""))

        await self._walk.gateway(self.client.scope, self.client.body.get, send)

    async def opened(self) -> Listening:
        while not self.status:
            await self._texts.get()
        return self

    async def next(self) -> tuple[str, Any]:
        """The next event: its kind and its data."""
        while not self._unread:
            text = (await self._texts.get()).decode()
            for ids, kind, data in re.findall(r"(?:id: (\S+)\n)?event: (\S+)\ndata: (.*)\n\n", text):
                self.last_id = ids or self.last_id
                self._unread.append((kind, json.loads(data)))
        return self._unread.pop(0)


@asynccontextmanager
async def listening(walk: Walk, path: str = EVENTS, **headers: str) -> AsyncIterator[Listening]:
    stream = Listening(walk, path, {name.replace("_", "-"): value for name, value in headers.items()})
    try:
        yield await stream.opened()
    finally:
        stream.client.body.put_nowait({"type": "http.disconnect"})
        await stream.task


async def test_every_kind_of_write_is_told_once_it_is_committed_and_write_only_is_never_shown(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": SECRETIVE}) as walk, listening(walk) as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        row = await walk.post("/api/shop/items", {"name": "a", "pin": "planted"})
        path = f"/api/shop/items/{row['id']}"
        assert await stream.next() == ("created", row)
        patched = (await walk.call("PATCH", path, {"name": "b", "pin": "planted"})).json
        assert await stream.next() == ("updated", patched)
        replaced = (await walk.call("PUT", path, {"name": "c"})).json
        assert await stream.next() == ("updated", replaced)
        await walk.call("PATCH", path, {"name": 5})
        await walk.call("DELETE", path)
        assert await stream.next() == ("deleted", {"id": row["id"]})
        rows = (await walk.call("POST", "/api/shop/items", [{"name": "x"}, {"name": "y"}])).json["items"]
        assert [await stream.next(), await stream.next()] == [("created", rows[0]), ("created", rows[1])]
        assert "planted" not in json.dumps(rows)


async def test_of_many_rows_of_one_write_readers_hear_the_first_and_that_there_were_more(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": model_text("shop")}) as walk, listening(walk) as stream:
        await walk.call("POST", "/api/shop/items", [{"name": "x"}] * 300)
        kinds = [(await stream.next())[0] for _ in range(201)]
        row = await walk.post("/api/shop/items", {"name": "later"})

        assert kinds == ["created"] * 200 + ["reset"]
        assert await stream.next() == ("created", row)


async def test_a_swap_ends_the_streams_of_its_model_at_once_and_no_others(tmp_path: Path) -> None:
    files = {"shop.yaml": model_text("shop"), "near.yaml": model_text("near")}
    async with (
        serving(tmp_path, files) as walk,
        listening(walk) as stream,
        listening(walk, "/api/near/items/-/events") as near,
    ):
        await walk.save("shop.yaml", model_text("shop", "color"))
        kind, data = await stream.next()
        await stream.task
        await drained(walk, "shop")

        assert kind == "bye"
        assert "changed" in data["reason"]
        row = await walk.post("/api/near/items", {"name": "a"})
        assert await near.next() == ("created", row)


async def test_who_comes_back_after_a_swap_has_missed_nothing_that_the_new_revision_shows(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": model_text("shop")}) as walk:
        async with listening(walk) as stream:
            await walk.post("/api/shop/items", {"name": "a"})
            await stream.next()
            text = model_text("shop", extra="    constraints:\n      - name is required\n")
            await walk.save("shop.yaml", text)
            await stream.task
            seen = stream.last_id
        missed = await walk.post("/api/shop/items", {"name": "b"})
        async with listening(walk, last_event_id=seen) as again:
            assert await again.next() == ("created", missed)


async def test_an_unload_ends_the_streams_of_its_model(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": model_text("shop")}) as walk, listening(walk) as stream:
        await walk.unload("shop")
        kind, _ = await stream.next()
        await stream.task

        assert kind == "bye"
        assert (await walk.get(EVENTS)).status == 404


async def test_a_client_that_goes_ends_its_stream(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": model_text("shop")}) as walk:
        async with listening(walk):
            assert len(walk.revision("shop").in_flight) == 1
        assert not walk.revision("shop").in_flight


async def test_an_entity_that_does_not_exist_has_no_events_and_parameters_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": model_text("shop")}) as walk:
        assert (await walk.get("/api/shop/none/-/events")).status == 404
        assert (await walk.get(f"{EVENTS}?a=1")).status == 400
        assert (await walk.call("POST", EVENTS, {})).status == 405
        assert (await walk.call("HEAD", EVENTS)).status == 200
        assert not walk.revision("shop").in_flight
