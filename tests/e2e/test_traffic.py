"""Traffic on keep-alive connections goes on through reloads, and no request fails because of one."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter

import httpx

from tests.e2e.connections import in_flight, place
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
            before = answers.total()
            daemon.write(f"{domain}.yaml", shop(f"extra_{number // 2 % 3}", domain=domain, version=str(number)))
            await daemon.wait_for("model.swapped", since)
            while answers.total() == before and not any(task.done() for task in clients):
                await asyncio.sleep(0)  # however fast reloads are, there is traffic between any two of them
        stop.set()
        await asyncio.gather(*clients)

    assert not wrong
    assert set(answers) == {200, 201, 204}
    assert answers.total() > reloads
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


async def test_requests_that_are_sent_ahead_are_answered_in_order_each_by_one_revision(daemon: Process) -> None:
    daemon.write("shop.yaml", shop())
    async with daemon.client() as client:
        await client.post("/admin/reload")
        made = (await client.post("/api/shop/items", json={"name": "a"})).json()
        stop, newest = asyncio.Event(), [1]
        row = f"/api/shop/items/{made['id']}"
        clients = [asyncio.create_task(send_ahead(daemon, row, stop, newest)) for _ in range(4)]
        for number in range(1, 21):
            since = len(daemon.lines)
            daemon.write("shop.yaml", shop(*["extra"] * (number % 2)))
            await daemon.wait_for("model.swapped", since)
            while newest[-1] <= number and not any(client.done() for client in clients):
                await asyncio.sleep(0)
        stop.set()
        seen = await asyncio.gather(*clients)
        assert sum(len(set(revisions)) for revisions in seen) > len(clients), "swaps came in the middle"
        await in_flight(daemon, 0)
        assert (await client.get("/admin/pim")).json()["pims"][0]["revision"] == newest[-1] == 21


async def send_ahead(daemon: Process, row: str, stop: asyncio.Event, newest: list[int]) -> list[int]:
    """Send a dozen requests at a time, of which one is not answered at once; the revisions that answered.

    The `newest` that any client has seen is noted last.
    """
    reader, writer = await asyncio.open_connection(*place(daemon))
    seen: list[int] = []
    body = b'{"name": "a"}'
    one = f"GET {row} HTTP/1.1\r\nhost: a\r\n\r\n".encode()
    page = b"GET /api/shop/items?limit=1 HTTP/1.1\r\nhost: a\r\n\r\n"
    write = f"PATCH {row} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    sent = [one] * 4 + [page] + [write.encode() + body] + [one] * 6
    while not stop.is_set():
        writer.write(b"".join(sent))
        for request in sent:
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            length, revision = (int(found[1]) for name in (b"content-length", b"watcherd-revision")
                                if (found := re.search(name + rb": (\d+)", head)))  # fmt: skip
            answer = json.loads(await reader.readexactly(length))
            assert ("items" in answer) == (request is page)
            shown = answer["items"][0] if request is page else answer
            # An even revision has the attribute, an odd one has not.
            assert ("extra" in shown) == (revision % 2 == 0), (revision, shown)
            seen.append(revision)
            newest.append(max(newest[-1], revision))
    writer.close()
    assert seen == sorted(seen)
    return seen
