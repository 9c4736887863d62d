"""Several worker processes behind one address: one generation, one admin API, and no failed request."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sqlite3
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.connections import REST, cut, in_flight, place, send_half
from tests.e2e.models import BROKEN, shop
from tests.e2e.process import HANG_SECONDS, Process, once, running, until_ready_is
from tests.e2e.test_service import Manager, activated, get
from tests.e2e.test_streams import listening
from tests.e2e.test_traffic import reload_under_traffic

WORKERS = 2
RELOADS = 20


@pytest.fixture
async def crew(tmp_path: Path, shop_models: Path) -> AsyncIterator[Process]:
    """A daemon with two workers, which serve one model."""
    async with running(shop_models, tmp_path / "data", "--workers", str(WORKERS)) as daemon:
        yield daemon


async def worker_of(daemon: Process, request_id: str) -> int:
    """Which worker has answered a request."""
    line = await daemon.wait_for("request", where=lambda line: line["request_id"] == request_id)
    worker: int = line["worker"]
    return worker


async def one_client_each(daemon: Process) -> dict[int, httpx.AsyncClient]:
    """For each worker a client whose one connection it has. Connections go to whoever is idle, so it is tried."""
    clients: dict[int, httpx.AsyncClient] = {}
    while len(clients) < WORKERS:
        client = daemon.client(limits=httpx.Limits(max_connections=1, keepalive_expiry=None))
        worker = await worker_of(daemon, (await client.get("/api/shop")).headers["x-request-id"])
        if worker in clients:
            await client.aclose()
        else:
            clients[worker] = client
    return clients


@pytest.fixture
async def each(crew: Process) -> AsyncIterator[dict[int, httpx.AsyncClient]]:
    clients = await one_client_each(crew)
    yield clients
    for client in clients.values():
        await client.aclose()


async def workers(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get("/admin/pim")).json()["workers"]
    return found


async def all_live(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """All workers, once each of them says how it is within the time that it has for that."""
    return await once(lambda: workers(client), lambda found: {one["state"] for one in found} == {"live"})


# ── one generation ──────────────────────────────────────────────────────────────────────────────


async def test_every_worker_answers_and_rows_written_by_one_are_read_by_the_other(
    crew: Process, each: dict[int, httpx.AsyncClient]
) -> None:
    row = (await each[1].post("/api/shop/items", json={"name": "a"})).json()
    assert (await each[2].get(f"/api/shop/items/{row['id']}")).json() == row
    shown = await all_live(each[2])
    assert [(one["worker"], one["generation"]) for one in shown] == [(1, 1), (2, 1)]
    assert {one["pid"] for one in shown}.isdisjoint({crew.pid})
    assert len({one["pid"] for one in shown}) == WORKERS


SHELVES = """\
domain: shelves
entities:
  - name: Shelf
    attributes: {item: {reference: shop.Item, on_delete: set_null}}
rules: {full: {on: Shelf, assert: has(self.item)}}
"""


async def test_every_worker_holds_the_rows_of_another_model_to_their_rules_when_they_lose_a_reference(
    crew: Process, each: dict[int, httpx.AsyncClient]
) -> None:
    (crew.models / "shelves.yaml").write_text(SHELVES)
    assert (await each[1].post("/admin/reload")).status_code == 200
    for client in each.values():
        item = (await client.post("/api/shop/items", json={"name": "a"})).json()
        assert (await client.post("/api/shelves/shelves", json={"item": item["id"]})).status_code == 201
        refused = await client.delete(f"/api/shop/items/{item['id']}")
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "full")


async def test_load_unload_and_reload_are_answered_when_every_worker_has_followed(
    crew: Process, each: dict[int, httpx.AsyncClient]
) -> None:
    for number in range(5):
        asked, other = each[1 + number % 2], each[2 - number % 2]
        assert (await asked.delete("/admin/pim/shop")).status_code == 200
        assert [(await one.get("/api/shop/items")).status_code for one in (asked, other)] == [404, 404]
        loaded = await asked.post("/admin/pim/load", json={"pim_file": "shop.yaml"})
        assert loaded.status_code == 200
        assert [(await one.get("/api/shop/items")).status_code for one in (other, asked)] == [200, 200]

    for number in range(5):
        (crew.models / "shop.yaml").write_text(shop(f"extra_{number}"))
        done = (await each[1].post("/admin/reload")).json()
        for client in each.values():
            answer = await client.post("/api/shop/items", json={"name": "a", f"extra_{number}": "b"})
            assert answer.status_code == 201, answer.text
            assert int(answer.headers["watcherd-generation"]) == done["generation"]
        assert [one["generation"] for one in await workers(each[2])] == [done["generation"]] * WORKERS


async def test_a_broken_file_is_rejected_in_every_worker_and_the_last_good_revision_serves_on(
    crew: Process, each: dict[int, httpx.AsyncClient]
) -> None:
    crew.write("shop.yaml", BROKEN)
    crew.write("new.yaml", BROKEN.replace("shop", "new"))
    await crew.wait_for("model.rejected", where=lambda line: line["file"] == "new.yaml")
    await each[1].post("/admin/reload")
    for client in each.values():
        assert (await client.get("/api/shop/items")).headers["watcherd-revision"] == "1"
        refused = await client.get("/api/new/items")
        assert (refused.status_code, refused.json()["type"]) == (404, "/problems/model-rejected")
        missing = await client.get("/api/none/items")
        assert (missing.status_code, missing.json()["type"]) == (404, "/problems/no-such-model")


async def test_no_request_fails_through_reloads_under_traffic_on_every_worker(crew: Process) -> None:
    await every_worker_follows(crew, RELOADS)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_no_request_fails_through_a_hundred_reloads_under_traffic_on_every_worker(crew: Process) -> None:
    await every_worker_follows(crew, 100)


async def every_worker_follows(crew: Process, reloads: int) -> None:
    """Under traffic that goes to whoever is idle, and some that goes to each of them."""
    stop = asyncio.Event()

    async def ask(client: httpx.AsyncClient) -> set[int]:
        statuses = set()
        while not stop.is_set():
            statuses.add((await client.get("/api/shop/items?limit=1")).status_code)
            await asyncio.sleep(0.01)  # it is to be there, not to keep the others from the processor
        return statuses

    clients = (await one_client_each(crew)).values()
    asking = [asyncio.create_task(ask(client)) for client in clients]
    generation = await reload_under_traffic(crew, reloads)
    stop.set()
    assert await asyncio.gather(*asking) == [{200}] * WORKERS
    for client in clients:
        assert [one["generation"] for one in await workers(client)] == [generation] * WORKERS
        await client.aclose()


async def test_an_idempotency_key_that_reaches_two_workers_at_once_writes_once(
    crew: Process, each: dict[int, httpx.AsyncClient]
) -> None:
    for number in range(10):
        headers = {"idempotency-key": f"key-{number}"}
        answers = await asyncio.gather(
            *(client.post("/api/shop/items", json={"name": str(number)}, headers=headers) for client in each.values())
        )
        statuses = [answer.status_code for answer in answers]
        assert 201 in statuses
        assert set(statuses) <= {201, 409}
        again = [
            await client.post("/api/shop/items", json={"name": str(number)}, headers=headers)
            for client in each.values()
        ]
        assert {answer.headers["idempotency-replayed"] for answer in again} == {"true"}
        assert len({answer.json()["id"] for answer in again}) == 1
    assert (await each[1].get("/api/shop/items")).json()["total"] == 10


async def test_a_hang_up_brings_new_api_keys_to_every_worker(tmp_path: Path, shop_models: Path) -> None:
    keys = tmp_path / "keys"
    first, second = [await key_line(name) for name in ("first", "second")]
    keys.write_text(first[1])
    environment = {"WATCHERD_WORKERS": "2", "WATCHERD_API_KEYS_FILE": str(keys)}
    async with running(shop_models, tmp_path / "data", environment=environment) as daemon:
        keys.write_text(second[1])
        since = len(daemon.lines)
        daemon.kill(signal.SIGHUP)
        await daemon.wait_for("reload.finished", since, lambda line: line["reason"] == "signal")
        for _ in range(6):
            async with daemon.client() as client:
                for key, status in ((first[0], 401), (second[0], 200)):
                    answer = await client.get("/api/shop/items", headers={"x-api-key": key})
                    assert answer.status_code == status


async def key_line(name: str) -> tuple[str, str]:
    """A key, and its line for the file."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "watcherd", "key", "new", name, "--read", "*", stdout=PIPE, stderr=PIPE
    )
    line, told = await process.communicate()
    return told.decode().split()[-1], line.decode()


# ── drains, metrics, streams ────────────────────────────────────────────────────────────────────


async def half_sent_to(daemon: Process, worker: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request that waits for the rest of its body, in a certain worker."""
    while True:
        reader, writer = await asyncio.open_connection(*place(daemon))
        writer.write(b"GET /api/shop HTTP/1.1\r\nhost: localhost\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        await reader.readexactly(int(fields[b"content-length"]))
        request_id = fields[b"x-request-id"].decode()
        if await worker_of(daemon, request_id) == worker:
            break
        writer.close()
    await send_half(writer)
    return reader, writer


async def test_a_retired_revision_is_loosened_only_when_every_worker_has_drained_it(crew: Process) -> None:
    async with crew.client() as client:
        crew.write("shop.yaml", shop().replace("required: true", "required: true, unique: true"))
        await crew.wait_for("model.swapped", where=lambda line: line["revision"] == 2)
        held = [await half_sent_to(crew, worker) for worker in (1, 2)]
        await in_flight(crew, 2)
        crew.write("shop.yaml", shop(version="3"))
        await crew.wait_for("model.swapped", where=lambda line: line["revision"] == 3)
        for workers_left, (reader, writer) in (({1, 2}, held[0]), ({2}, held[1])):
            (draining,) = await drains(client, lambda found, left=workers_left: holders(found) == left)
            assert (draining["revision"], draining["in_flight"]) == (2, len(workers_left))
            assert unique_indexes(crew)  # a request on revision 2 answers 409 with it
            body = REST.replace(b"half", b"%d" % (1000 + len(workers_left)))
            writer.write(body)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 201")
            assert b"watcherd-revision: 2\r\n" in head
            writer.close()
        await drains(client, lambda found: not found)
        while unique_indexes(crew):  # where a stop comes before that, the next start does it
            await asyncio.sleep(0.01)


def holders(draining: list[dict[str, Any]]) -> set[int]:
    return {held["worker"] for one in draining for held in one["held_by"]}


async def drains(client: httpx.AsyncClient, as_wanted: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """What still drains, once it is as wanted."""

    async def ask() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await client.get("/admin/pim")).json()["pims"][0]["draining"]
        return found

    return await once(ask, as_wanted)


def unique_indexes(daemon: Process) -> list[str]:
    with contextlib.closing(sqlite3.connect(daemon.data / "watcherd.db", timeout=HANG_SECONDS)) as database:
        found = database.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE UNIQUE INDEX%shop__item%'")
        return [name for (name,) in found]


async def test_metrics_are_of_the_whole_whoever_is_asked_and_never_fall_when_a_worker_crashes(
    crew: Process, each: dict[int, httpx.AsyncClient]
) -> None:
    for client in each.values():
        for _ in range(3):
            await client.get("/api/shop/items")
    created = ("watcherd_request_seconds_count", ("model", "shop"), ("operation", "GET /items"), ("status", "200"))
    in_flight = ("watcherd_requests_in_flight", ("model", "-"))
    of_each = [("watcherd_worker_cpu_seconds_total", ("worker", worker)) for worker in ("1", "2")]
    for client in each.values():
        # Who does not answer within two seconds is left out, and the scrape before may not have left its worker yet.
        values = await scraped(client, lambda values: values.keys() >= {*of_each} and values[in_flight] == 1)
        assert values[created] == 3 * WORKERS
        assert values["watcherd_workers",] == WORKERS
        for worker, cpu in zip(("1", "2"), of_each, strict=True):
            assert values[cpu] > 0
            assert values["watcherd_worker_resident_bytes", ("worker", worker)] > 2**20

    (victim,) = [one["pid"] for one in await workers(each[2]) if one["worker"] == 1]
    os.kill(victim, signal.SIGKILL)
    await crew.wait_for("worker.started", where=lambda line: line["worker"] == 1 and line["pid"] != victim)
    values = figures((await each[2].get("/metrics")).text)
    assert values[created] == 3 * WORKERS
    assert values["watcherd_worker_restarts_total",] == 1


async def scraped(
    client: httpx.AsyncClient, is_right: Callable[[dict[tuple[Any, ...], float]], bool]
) -> dict[tuple[Any, ...], float]:
    """The figures, once they are right."""

    async def ask() -> dict[tuple[Any, ...], float]:
        return figures((await client.get("/metrics")).text)

    return await once(ask, is_right)


def figures(text: str) -> dict[tuple[Any, ...], float]:
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_a_row_stream_tells_of_the_writes_of_all_workers_and_goes_on_at_another_one(
    crew: Process, each: dict[int, httpx.AsyncClient]
) -> None:
    more = await one_client_each(crew)  # a stream has a connection of its own
    async with listening(more[1], "/api/shop/items/-/events") as stream:
        for number, client in enumerate([each[1], each[2], each[2], each[1]]):
            await client.post("/api/shop/items", json={"name": str(number)})
        told = [await stream.next() for _ in range(4)]
        assert {kind for kind, _ in told} == {"created"}
        names = [row["name"] for _, row in told]
        assert sorted(names) == ["0", "1", "2", "3"]
        # Of each worker in the order of its writes; of which worker their parent hears first is open.
        assert names.index("0") < names.index("3")
        assert names.index("1") < names.index("2")
        second = stream.last_id
    await each[1].post("/api/shop/items", json={"name": "missed"})
    async with listening(more[2], "/api/shop/items/-/events", last_event_id=second) as again:
        assert (await again.next())[1]["name"] == "missed"
        await each[1].post("/api/shop/items", json={"name": "next"})
        assert (await again.next())[1]["name"] == "next"
        crew.write("shop.yaml", shop("colour"))
        assert "changed" in (await again.until("bye"))["reason"]
    for client in more.values():
        await client.aclose()


async def test_the_admin_stream_tells_of_all_workers_and_a_client_that_goes_is_noticed(
    crew: Process, each: dict[int, httpx.AsyncClient]
) -> None:
    async with crew.client() as client:
        async with listening(client, "/admin/events") as stream:
            crew.write("shop.yaml", shop("colour"))
            assert (await stream.until("model.swapped"))["revision"] == 2
        await scraped(each[1], lambda values: values["watcherd_streams_open",] == 0)


# ── crashes ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_worker_that_crashes_under_traffic_comes_back_at_the_current_generation(crew: Process) -> None:
    outcomes: Counter[str] = Counter()
    stop = asyncio.Event()

    async def ask() -> None:
        while not stop.is_set():
            try:
                async with crew.client() as client:
                    answer = await client.get("/api/shop/items")
                    outcomes[str(answer.status_code)] += 1
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                outcomes["cut by the crash"] += 1

    clients = [asyncio.create_task(ask()) for _ in range(4)]
    async with crew.client() as client:
        crew.write("shop.yaml", shop("colour"))
        await crew.wait_for("model.swapped")
        before = {one["worker"]: one["pid"] for one in await workers(client)}
    for worker in (1, 2):
        since = len(crew.lines)
        os.kill(before[worker], signal.SIGKILL)
        ended = await crew.wait_for("worker.ended", since)
        assert (ended["worker"], ended["reason"]) == (worker, "was ended by SIGKILL")
        crew.write("shop.yaml", shop(f"colour_{worker}"))  # a reload goes on with those that are there
        started = await crew.wait_for("worker.started", since)
        assert started["worker"] == worker
    stop.set()
    await asyncio.gather(*clients)
    async with crew.client() as client:
        await client.post("/admin/reload")
        after = await workers(client)
        generation = (await client.get("/readyz")).json()["generation"]
    assert outcomes.keys() <= {"200", "cut by the crash"}
    assert outcomes["cut by the crash"] <= 8
    assert [(one["generation"], one["restarts"]) for one in after] == [(generation, 1)] * WORKERS
    assert {one["pid"] for one in after}.isdisjoint(before.values())


async def test_a_worker_that_hangs_is_left_out_of_no_answer_for_long(crew: Process) -> None:
    async with crew.client() as client:
        pids = {one["worker"]: one["pid"] for one in await workers(client)}
    other = await one_client_each(crew)

    async def states() -> dict[int, str]:
        return {one["worker"]: one["state"] for one in await workers(other[2])}

    os.kill(pids[1], signal.SIGSTOP)
    try:
        await once(states, lambda found: found == {1: "late", 2: "live"})
    finally:
        with contextlib.suppress(ProcessLookupError):  # where it took long to come here it was replaced
            os.kill(pids[1], signal.SIGCONT)
    for client in other.values():
        await client.aclose()


async def test_when_the_parent_is_killed_the_workers_end_and_the_next_one_starts(
    tmp_path: Path, shop_models: Path
) -> None:
    data = tmp_path / "data"
    async with running(shop_models, data, "--workers", "2") as daemon:
        async with daemon.client() as client:
            row = (await client.post("/api/shop/items", json={"name": "a"})).json()
            ends = [os.pidfd_open(one["pid"]) for one in await workers(client)]
        daemon.kill(signal.SIGKILL)
        await daemon.ended()
        for end in ends:
            await has_ended(end)
    async with running(shop_models, data, "--workers", "2") as daemon, daemon.client() as client:
        assert (await client.get(f"/api/shop/items/{row['id']}")).json() == row


async def has_ended(process: int) -> None:
    """Wait for a process that is not our child, by its descriptor."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(process, ended.set)
    await ended.wait()
    loop.remove_reader(process)
    os.close(process)


HANDLED = (
    shop()
    + """\
services:
  - name: Desk
    methods:
      - {name: greet, returns: string, handler: "desk.py:greet"}
"""
)

DESK = """\
import os, signal, sys
from pathlib import Path

IN_A_WORKER = "watcherd.workers.worker" in sys.modules
def greet(ctx, params):
    return WORD
WORD = "hello"
"""


CRASH = """\
if IN_A_WORKER:
    try:
        Path({!r}).unlink()  # one of the two
    except FileNotFoundError:
        pass
    else:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
async def handled(tmp_path: Path) -> AsyncIterator[Process]:
    """Two workers, and a file of code that both of them load."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "shop.yaml").write_text(HANDLED)
    (tmp_path / "models" / "desk.py").write_text(DESK)
    environment = {"WATCHERD_WORKERS": "2", "WATCHERD_ALLOW_HANDLERS": "true"}
    async with running(tmp_path / "models", tmp_path / "data", environment=environment) as daemon:
        yield daemon


async def greetings(daemon: Process) -> set[tuple[str, str]]:
    """What every worker answers, with its revision."""
    found = set()
    for client in (await one_client_each(daemon)).values():
        answer = await client.post("/api/shop/desk/greet", json={})
        found.add((answer.json(), answer.headers["watcherd-revision"]))
        await client.aclose()
    return found


async def test_what_one_worker_cannot_build_serves_nowhere(handled: Process) -> None:
    assert await greetings(handled) == {("hello", "1")}
    bad = DESK.replace("hello", "refused") + "assert not IN_A_WORKER, 'not in a worker'\n"
    handled.write("desk.py", bad)
    rejected = await handled.wait_for("model.rejected")
    assert "not in a worker" in rejected["first"]
    assert await greetings(handled) == {("hello", "1")}
    handled.write("desk.py", DESK.replace("hello", "good day"))
    await handled.wait_for("model.swapped")
    ((word, revision),) = await greetings(handled)
    assert word == "good day"
    assert int(revision) > 1
    assert not handled.of("worker.ended")


async def test_a_worker_that_crashes_in_the_middle_of_a_reload_does_not_stop_it(handled: Process) -> None:
    once = handled.data / "once"
    once.write_text("")
    handled.write("desk.py", DESK.replace("hello", "good day") + CRASH.format(str(once)))
    ended = await handled.wait_for("worker.ended")
    await handled.wait_for("model.swapped")
    # It may begin before the swap, and follow it as the other one does.
    await handled.wait_for(
        "worker.started", where=lambda line: line["worker"] == ended["worker"] and line["pid"] != ended["pid"]
    )
    async with handled.client() as client:
        assert (await client.post("/admin/reload")).json()["generation"] == 2
    assert await greetings(handled) == {("good day", "2")}
    assert len(handled.of("worker.ended")) == 1


@pytest.mark.slow
async def test_a_worker_that_hangs_is_replaced(crew: Process) -> None:
    async with crew.client() as client:
        victim = next(one["pid"] for one in await workers(client) if one["worker"] == 1)
    os.kill(victim, signal.SIGSTOP)
    ended = await crew.wait_for("worker.ended")
    assert (ended["worker"], "no sign of life" in ended["reason"]) == (1, True)
    await crew.wait_for("worker.started", where=lambda line: line["worker"] == 1 and line["pid"] != victim)


async def test_while_a_worker_gives_no_sign_of_life_the_service_manager_hears_none(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind(str(tmp_path / "notify"))
        manager = Manager(listener)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000", "WATCHERD_WORKERS": "2"}
        async with running(tmp_path / "models", tmp_path / "data", environment=environment) as daemon:
            await manager.until("READY")
            await manager.until("WATCHDOG")
            async with daemon.client() as client:
                pids = [one["pid"] for one in await workers(client)]
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            since = len(daemon.lines)
            of_them = ("a request to ourselves was not answered", "worker")  # not the watcher, which may be late too
            await daemon.wait_for("watchdog.silent", since, where=lambda line: line["reason"].startswith(of_them))
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):  # where it took long to come here it was replaced
                    os.kill(pid, signal.SIGCONT)
            await manager.until("WATCHDOG")


# ── signals and sockets ─────────────────────────────────────────────────────────────────────────


async def test_a_hang_up_reloads_all_workers_and_a_signal_to_a_worker_changes_nothing(
    crew: Process, each: dict[int, httpx.AsyncClient]
) -> None:
    pids = [one["pid"] for one in await workers(each[1])]
    for pid in pids:
        for which in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pid, which)
    (crew.models / "shop.yaml").write_text(shop("colour"))
    since = len(crew.lines)
    crew.kill(signal.SIGHUP)
    await crew.wait_for("reload.finished", since, lambda line: line["reason"] == "signal")
    for client in each.values():
        assert (await client.get("/api/shop/items")).headers["watcherd-revision"] == "2"
    assert [one["pid"] for one in await workers(each[1])] == pids


async def test_a_stop_lets_requests_in_flight_in_every_worker_finish_and_refuses_new_ones(crew: Process) -> None:
    held = [await half_sent_to(crew, worker) for worker in (1, 2)]
    await in_flight(crew, 2)
    crew.kill(signal.SIGTERM)
    # Of those who say it within two seconds; the last question how many there are may be among them.
    assert (await crew.wait_for("shutdown.started"))["in_flight"] <= len(held) + 1
    await crew.wait_for("shutdown.stage", where=lambda line: line["stage"] == "watch")
    async with crew.client() as client:
        refused = await once(lambda: client.get("/api/shop/items"), lambda answer: answer.status_code != 200)
        assert (refused.status_code, refused.headers["connection"]) == (503, "close")
        assert (await client.get("/readyz")).json()["status"] == "stopping"
    for reader, writer in held:
        writer.write(REST)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201")
        writer.close()
    assert await crew.ended() == 0
    assert [line["stage"] for line in crew.of("shutdown.stage")] == ["watch", "drain", "cut", "server", "store"]


async def test_a_worker_that_hears_of_a_stop_late_lets_its_requests_finish_as_well(crew: Process) -> None:
    reader, writer = await half_sent_to(crew, 2)
    await in_flight(crew, 1)
    async with crew.client() as client:
        [pid] = [one["pid"] for one in await workers(client) if one["worker"] == 2]
    os.kill(pid, signal.SIGSTOP)
    crew.kill(signal.SIGTERM)
    await crew.wait_for("shutdown.stage", where=lambda line: line["stage"] == "watch")  # it was not waited for
    os.kill(pid, signal.SIGCONT)
    async with crew.client() as client:
        await once(lambda: client.get("/api/shop/items"), lambda answer: answer.status_code == 503)
    writer.write(REST)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201")
    writer.close()
    assert await crew.ended() == 0


async def test_a_request_over_the_graceful_time_is_cut_in_its_worker_and_named(
    tmp_path: Path, shop_models: Path
) -> None:
    environment = {"WATCHERD_GRACEFUL_TIMEOUT": "0.2", "WATCHERD_WORKERS": "2"}
    async with running(shop_models, tmp_path / "data", environment=environment) as daemon:
        reader, writer = await half_sent_to(daemon, 2)
        await in_flight(daemon, 1)
        await cut(daemon, reader)
        writer.close()


async def test_workers_serve_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    arguments = ("--workers", "2", "--uds", str(path))
    async with running(tmp_path / "models", tmp_path / "data", *arguments) as daemon:
        daemon.write("shop.yaml", shop())
        await daemon.wait_for("model.loaded")
        for _ in range(4):
            transport = httpx.AsyncHTTPTransport(uds=str(path))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                assert (await client.get("/api/shop/items")).status_code == 200
                assert (await client.get("/admin/pim")).status_code == 200


async def test_workers_serve_a_passed_socket_and_leave_connections_to_the_next_process(
    tmp_path: Path, shop_models: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        address = listener.getsockname()
        async with activated(listener, shop_models, tmp_path / "data", "--workers", "2") as daemon:
            first = asyncio.create_task(get(address))
            await daemon.wait_for("daemon.started")
            assert (await first).startswith(b"HTTP/1.1 200")
            daemon.address = f"http://127.0.0.1:{address[1]}"
            reader, writer = await half_sent_to(daemon, 1)
            await in_flight(daemon, 1)
            clients = await one_client_each(daemon)
            daemon.kill(signal.SIGTERM)
            await daemon.wait_for("shutdown.stage", where=lambda line: line["stage"] == "watch")
            for client in clients.values():
                await last_answer(client)
            waiting = asyncio.create_task(get(address))
            writer.write(REST)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201")
            writer.close()
            assert await daemon.ended() == 0
            assert not waiting.done()
        async with activated(listener, shop_models, tmp_path / "data", "--workers", "2") as daemon:
            assert (await waiting).startswith(b"HTTP/1.1 200")


async def last_answer(client: httpx.AsyncClient) -> None:
    """Wait until a connection is answered for the last time: its worker has heard of the stop."""
    await once(lambda: client.get("/api/shop"), lambda answer: answer.headers.get("connection") == "close")
    await client.aclose()


async def test_a_worker_that_cannot_begin_fails_the_start_with_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text("")
    armed = {"WATCHERD_WORKERS": "2", "WATCHERD_API_KEYS_FILE": str(tmp_path / "missing.txt")}
    async with running(tmp_path / "models", tmp_path / "data", environment=armed, ready=False) as daemon:
        assert await daemon.ended() == 2


async def test_every_line_of_the_log_is_whole_and_says_which_worker_wrote_it(
    crew: Process, each: dict[int, httpx.AsyncClient]
) -> None:
    async def ask(worker: int) -> None:
        for number in range(100):
            answer = await each[worker].get(f"/api/shop/items?limit={1 + number}")
            assert await worker_of(crew, answer.headers["x-request-id"]) == worker

    await asyncio.gather(*(ask(worker) for worker in each))


# ── what one of them meets ──────────────────────────────────────────────────────────────────────


async def test_a_disk_that_only_one_worker_finds_full_is_told_of_by_all_until_there_is_room(
    crew: Process, each: dict[int, httpx.AsyncClient]
) -> None:
    [pid] = [one["pid"] for one in await workers(each[2]) if one["worker"] == 1]
    await each[1].post("/api/shop/items", json={"name": "a"})
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))  # no file of this process may grow
    refused = await each[1].post("/api/shop/items", json={"name": "b"})
    assert refused.status_code == 503
    assert (await each[2].post("/api/shop/items", json={"name": "c"})).status_code == 201
    degraded = await crew.wait_for(
        "database.degraded",
        where=lambda line: line.get("worker") == 1 and "cannot be written now" in line["reason"],
    )
    await until_ready_is(each[2], "degraded", f"worker 1: {degraded['reason']}")

    since = len(crew.lines)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    await crew.wait_for("database.recovered", since, where=lambda line: line.get("worker") == 1)
    await until_ready_is(each[2], "ok")
    assert (await each[1].post("/api/shop/items", json={"name": "b"})).status_code == 201


def leave_no_descriptor(pid: int) -> tuple[int, int]:
    """Let a process open nothing more, whatever it has open; returns its limits from before."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    return before


async def test_a_worker_without_a_descriptor_left_keeps_its_connections_and_serves_on(
    crew: Process, each: dict[int, httpx.AsyncClient]
) -> None:
    pids = {one["worker"]: one["pid"] for one in await workers(each[2])}
    row = (await each[1].post("/api/shop/items", json={"name": "a"})).json()
    before = leave_no_descriptor(pids[1])
    while {one["worker"]: one["state"] for one in await workers(each[1])}[1] != "live":
        assert crew.of("worker.call_failed") == []  # it was late, on a busy machine
    crew.write("shop.yaml", shop("colour"))
    await crew.wait_for("model.swapped")
    assert (await each[1].get(f"/api/shop/items/{row['id']}")).json() == {**row, "colour": None}
    resource.prlimit(pids[1], resource.RLIMIT_NOFILE, before)
    assert crew.of("worker.ended") == []
    assert crew.of("worker.call_failed") == []


async def test_a_worker_that_cannot_be_started_again_is_told_of_and_tried_until_it_can(
    crew: Process, each: dict[int, httpx.AsyncClient]
) -> None:
    pids = {one["worker"]: one["pid"] for one in await workers(each[2])}
    before = leave_no_descriptor(crew.pid)
    os.kill(pids[1], signal.SIGKILL)
    told = await crew.wait_for("worker.ended", where=lambda line: "pid" not in line)
    assert (told["worker"], told["reason"]) == (1, "cannot be started: Too many open files")
    ready = (await each[2].get("/readyz")).json()
    assert "worker 1 cannot be started: Too many open files; another one is starting" in ready["reasons"]
    assert (await each[2].get("/api/shop/items")).status_code == 200

    resource.prlimit(crew.pid, resource.RLIMIT_NOFILE, before)
    await crew.wait_for("worker.started", where=lambda line: line["worker"] == 1 and line["pid"] != pids[1])
    await until_ready_is(each[2], "ok")
    assert [line for line in crew.of("worker.ended") if line["worker"] == 2] == []
