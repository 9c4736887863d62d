"""Swaps without end, under traffic: no request fails, and the process stays what it was."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from tests.e2e.models import shop
from tests.e2e.process import Process, running
from tests.faults import ENTRY

CLIENTS = 2
WARM_UP = 1000
"""Until the caches of databases and statements are full: 7,000 swaps more have taken 1.3 MB, the last 4,000 none."""
MEMORY_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Census:
    """What a process holds while nothing is asked of it."""

    threads: int
    descriptors: int
    tasks: int
    resident: int


class Traffic:
    """Clients that write, read and delete, and see from the answers which generation serves."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.generation = 0
        self.answers = 0
        self.failed: list[str] = []
        self._client = client
        self._newer = asyncio.Condition()

    async def reach(self, generation: int) -> None:
        async with self._newer:
            await self._newer.wait_for(lambda: self.generation >= generation or self.failed)

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        clients = [asyncio.create_task(self._use(number, stop)) for number in range(CLIENTS)]
        yield
        stop.set()
        await asyncio.gather(*clients)

    async def _use(self, number: int, stop: asyncio.Event) -> None:
        round_ = 0
        while not stop.is_set() and not self.failed:
            round_ += 1
            items = f"/api/{('shop', 'near')[round_ % 2]}/items"
            created = await self._count(await self._client.post(items, json={"name": f"{number}-{round_}"}))
            row = created.headers.get("location", items)
            await self._count(await self._client.get(row))
            await self._count(await self._client.delete(row))

    async def _count(self, answer: httpx.Response) -> httpx.Response:
        self.answers += 1
        if answer.status_code >= 400:
            self.failed.append(f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}")
        async with self._newer:
            self.generation = max(self.generation, int(answer.headers["watcherd-generation"]))
            self._newer.notify_all()
        return answer


async def swap(daemon: Process, traffic: Traffic, numbers: range) -> None:
    """Save one of two models again and again, each time as soon as the last save is seen to serve."""
    async with traffic.going_on():
        for number in numbers:
            domain = ("shop", "near")[number % 2]
            daemon.write(f"{domain}.yaml", shop(f"extra_{number // 2 % 3}", domain=domain, version=str(number)))
            await traffic.reach(number)


async def census(daemon: Process, client: httpx.AsyncClient, armed: Path, generation: int) -> Census:
    """Count once no request and no drain is under way; one swap of a third model is what lets us count inside."""
    counted = armed.with_name("census")
    counted.unlink(missing_ok=True)
    os.mkfifo(counted)  # waited for without a request, which would be counted as well
    counting = asyncio.create_task(asyncio.to_thread(counted.read_text))
    armed.write_text(f"census {counted}")
    daemon.write("third.yaml", shop(domain="third", version=str(generation)))
    tasks = int(await counting)
    while any(entry["draining"] for entry in (await client.get("/admin/pim")).json()["pims"]):
        pass
    process = Path(f"/proc/{daemon.pid}")
    return Census(
        threads=len(list((process / "task").iterdir())),
        descriptors=len(list((process / "fd").iterdir())),
        tasks=tasks,
        resident=int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
    )


@pytest.mark.parametrize(
    "count", [pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)], id="ten thousand")]
)
async def test_after_ten_thousand_swaps_under_traffic_the_process_is_what_it_was(tmp_path: Path, count: int) -> None:
    armed = tmp_path / "armed"
    environment = {"FAULT_STEP": "swapped", "FAULT_ARMED": str(armed), "WATCHERD_DURABILITY": "normal"}
    models = tmp_path / "models"
    models.mkdir()
    for domain in ("shop", "near", "third"):
        (models / f"{domain}.yaml").write_text(shop(domain=domain))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = listener.fileno()
        async with running(
            *(models, tmp_path / "data", "--fd", str(place), "--log-level", "warning"),
            entry=ENTRY,
            environment=environment,
            pass_fds=[place],
            ready=False,
        ) as daemon:
            daemon.address = "http://{}:{}".format(*listener.getsockname())
            await soak(daemon, armed, count)


async def soak(daemon: Process, armed: Path, count: int) -> None:
    async with daemon.client(limits=httpx.Limits(max_keepalive_connections=CLIENTS)) as client:
        while (await client.get("/readyz")).status_code != 200:
            pass
        traffic = Traffic(client)
        await swap(daemon, traffic, range(2, WARM_UP + 2))
        before = await census(daemon, client, armed, WARM_UP + 2)
        await swap(daemon, traffic, range(WARM_UP + 3, WARM_UP + 3 + count))
        after = await census(daemon, client, armed, WARM_UP + 3 + count)

    assert not traffic.failed
    assert daemon.lines == []  # nothing to warn of
    assert traffic.answers > count
    assert replace(after, resident=0) == replace(before, resident=0)
    assert after.resident - before.resident < MEMORY_BYTES, f"{before} has become {after}"
