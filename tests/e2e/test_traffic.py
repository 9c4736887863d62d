"""Traffic on keep-alive connections goes on through reloads, and no request fails because of one."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx

from tests.e2e.models import shop
from tests.e2e.process import Process

CLIENTS = 8
RELOADS = 100


async def test_no_request_fails_through_a_hundred_reloads_of_a_model_and_its_neighbours(daemon: Process) -> None:
    generation = await reload_under_traffic(daemon, RELOADS)
    async with daemon.client() as client:
        assert (await client.get("/readyz")).json()["generation"] == generation


async def reload_under_traffic(daemon: Process, reloads: int) -> int:
    """Save two models in turn while clients use both, and see that no request fails; the generation that follows."""
    daemon.write("shop.yaml", shop())
    daemon.write("near.yaml", shop(domain="near"))
    answers: Counter[int] = Counter()
    wrong: list[str] = []
    stop = asyncio.Event()
    async with daemon.client(limits=httpx.Limits(max_keepalive_connections=CLIENTS)) as client:
        await client.post("/admin/reload")
        first = (await client.get("/readyz")).json()["generation"]
        clients = [asyncio.create_task(use(client, number, stop, answers, wrong)) for number in range(CLIENTS)]
        for number in range(reloads):
            domain = ("shop", "near")[number % 2]
            since = len(daemon.lines)
            daemon.write(f"{domain}.yaml", shop(f"extra_{number // 2 % 3}", domain=domain, version=str(number)))
            await daemon.wait_for("model.swapped", since)
        stop.set()
        await asyncio.gather(*clients)

    assert not wrong
    assert set(answers) == {200, 201, 204}
    assert sum(answers.values()) > reloads
    return int(first) + reloads


async def use(
    client: httpx.AsyncClient, number: int, stop: asyncio.Event, answers: Counter[int], wrong: list[str]
) -> None:
    """Write, read, list, replace and delete, until told to stop; what is read must be what was written."""
    round_ = 0
    while not stop.is_set():
        round_ += 1
        name = f"{number}-{round_}"
        items = f"/api/{('shop', 'near')[round_ % 2]}/items"
        created = await client.post(items, json={"name": name})
        if created.status_code != 201:
            wrong.append(created.text)
            continue
        row = created.headers["location"]
        replies = [
            created,
            await client.get(row),
            await client.patch(row, json={"name": name}),
            await client.get(items, params={"limit": 5}),
            await client.delete(row),
        ]
        for reply in replies:
            answers[reply.status_code] += 1
            if reply.status_code >= 400:
                wrong.append(f"{reply.request.method} {reply.request.url}: {reply.status_code} {reply.text}")
        if replies[1].json()["name"] != name:
            wrong.append(f"read {replies[1].text}, wrote {name}")
