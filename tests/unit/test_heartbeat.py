"""The heartbeat tells how the database is: once when it is not well, and once when it is again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.helpers import model_text, serving
from watcherd import events
from watcherd.events import Event
from watcherd.heartbeat import Heartbeat


async def test_a_database_file_that_is_gone_is_told_of_once_and_so_is_its_return(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": model_text("shop")}) as walk:
        published: list[Event] = []
        scanned = asyncio.Event()
        scanned.set()
        await walk.store.enter()
        heartbeat = Heartbeat(
            walk.store, walk.gateway, walk.drains, walk.reloader, scanned, lambda: None, published.append
        )
        file = tmp_path / "data" / "watcherd.db"
        await heartbeat.look()
        assert published == []
        file.rename(tmp_path / "elsewhere")
        for _ in range(3):
            await heartbeat.look()
        (told,) = published
        assert isinstance(told, events.DatabaseDegraded)
        assert "was deleted or replaced while it is open" in told.reason
        (tmp_path / "elsewhere").rename(file)
        for _ in range(3):
            await heartbeat.look()
        assert published[1:] == [events.DatabaseRecovered()]
