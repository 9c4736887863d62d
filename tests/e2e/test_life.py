"""Start, restart, kill and stop of a real process; what an administrator decides survives."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sqlite3
import sys
from pathlib import Path

import httpx
import pytest

from tests.e2e.connections import REST, cut, half_a_request_alone
from tests.e2e.models import BROKEN, shop
from tests.e2e.process import WORKERS, Process, once, running, shown, until_ready_is
from tests.faults import ENTRY
from watcherd.settings import Settings
from watcherd.signals import ONE_SIGNAL_SECONDS


async def test_load_and_unload_work_and_the_decision_survives_a_restart(tmp_path: Path) -> None:
    models, data = tmp_path / "models", tmp_path / "data"
    async with running(models, data) as daemon, daemon.client() as client:
        daemon.write("shop.yaml", shop())
        await daemon.wait_for("model.loaded")
        await client.post("/api/shop/items", json={"name": "kept"})

        already = await client.post("/admin/pim/load", json={"pim_name": "shop", "pim_file": "shop.yaml"})
        assert (already.status_code, already.json()["type"]) == (409, "/problems/already-live")

        unloaded = await client.delete("/admin/pim/shop")
        assert (unloaded.status_code, unloaded.json()["status"]) == (200, "success")
        assert (await client.get("/api/shop/items")).status_code == 404
        assert "/api/shop/items" not in (await client.get("/openapi.json")).json()["paths"]
        assert (await client.delete("/admin/pim/shop")).status_code == 404
        since = len(daemon.lines)
        daemon.write("shop.yaml", shop("edited"))
        await daemon.wait_for("reload.finished", since, where=lambda line: line["reason"] == "event")

    async with running(models, data) as daemon, daemon.client() as client:
        assert (await client.get("/api/shop/items")).status_code == 404
        (entry,) = (await client.get("/admin/pim")).json()["pims"]
        assert entry["state"] == "unloaded"

        loaded = await client.post("/admin/pim/load", params={"pim_name": "shop", "pim_file": "shop.yaml"})
        assert loaded.status_code == 200
        result = loaded.json()["result"]
        assert result["pim_name"] == "shop"
        assert result["routes_count"] == len(result["endpoints"])
        assert "GET /api/shop/items" in result["endpoints"]
        rows = (await client.get("/api/shop/items")).json()["items"]
        assert [(row["name"], row["edited"]) for row in rows] == [("kept", None)]

    async with running(models, data) as daemon, daemon.client() as client:
        assert (await client.get("/api/shop/items")).status_code == 200


REFUSED_LOADS = [
    ({"pim_file": "../outside.yaml"}, 403, "outside-directory"),
    ({"pim_file": "/etc/passwd"}, 403, "outside-directory"),
    ({"pim_file": "link.yaml"}, 403, "outside-directory"),
    ({"pim_file": "absent.yaml"}, 404, "no-such-file"),
    ({"pim_name": "absent"}, 404, "no-such-file"),
    ({"pim_file": "bad.yaml"}, 422, "invalid-model"),
    ({"pim_file": "notes.txt"}, 422, "validation"),
    ({"pim_file": "bad.yaml", "pim_name": "another"}, 422, "validation"),
    ({}, 422, "validation"),
    ({"dry_run": "perhaps", "pim_file": "bad.yaml"}, 400, "invalid-query"),
]


async def test_load_refuses_with_the_reason(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (tmp_path / "outside.yaml").write_text(shop())
    (models / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    (models / "bad.yaml").write_text(BROKEN)
    (models / "notes.txt").write_text("x")
    async with running(models, tmp_path / "data") as daemon, daemon.client() as client:
        for query, status, kind in REFUSED_LOADS:
            answer = await client.post("/admin/pim/load", params=query)

            assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{kind}"), (query, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            if kind == "invalid-model":
                assert answer.json()["diagnostics"][0]["line"] == 5
        malformed = await client.post("/admin/pim/load", content=b"{", headers={"content-type": "application/json"})
        assert (malformed.status_code, malformed.json()["type"]) == (400, "/problems/malformed-json")


async def test_a_dry_run_of_load_changes_nothing(daemon: Process) -> None:
    daemon.write("shop.yaml", shop())
    await daemon.wait_for("model.loaded")
    async with daemon.client() as client:
        await client.delete("/admin/pim/shop")
        trial = await client.post("/admin/pim/load", json={"pim_file": "shop.yaml", "dry_run": True})

        assert trial.json()["result"]["routes_count"] > 0
        assert (await client.get("/api/shop")).status_code == 404


async def test_a_model_that_others_refer_to_is_unloaded_only_by_force(daemon: Process) -> None:
    daemon.write("shop.yaml", shop())
    daemon.write(
        "sales.yaml",
        "domain: sales\nentities:\n  - name: Sale\n    attributes:\n"
        "      item: {type: reference, reference: shop.Item}\n",
    )
    async with daemon.client() as client:
        await client.post("/admin/reload")
        refused = await client.delete("/admin/pim/shop")
        assert (refused.status_code, refused.json()["dependants"]) == (409, ["sales"])

        assert (await client.delete("/admin/pim/shop", params={"force": True})).status_code == 200
        assert (await client.get("/api/shop")).status_code == 404
        assert (await client.get("/api/sales/sales")).status_code == 200


async def test_without_a_token_the_admin_api_refuses_what_may_come_from_elsewhere(daemon: Process) -> None:
    cases = [
        ("GET", {"host": "rebound.example"}),
        ("GET", {"x-forwarded-for": "127.0.0.1"}),
        ("GET", {"forwarded": "for=127.0.0.1"}),
        ("GET", {"via": "1.1 proxy"}),
        ("POST", {"origin": "http://elsewhere.example"}),
        ("POST", {"origin": "null"}),
        ("POST", {"sec-fetch-site": "cross-site"}),
    ]
    async with daemon.client() as client:
        for method, headers in cases:
            path = "/admin/pim" if method == "GET" else "/admin/reload"
            refused = await client.request(method, path, headers=headers)

            assert (refused.status_code, refused.json()["type"]) == (403, "/problems/forbidden"), headers
            assert (await client.request(method, path)).status_code == 200
    assert not daemon.of("admin.loopback_only")  # nobody else can connect: there is nothing to warn of


async def test_with_a_token_the_admin_api_needs_it_and_it_is_never_logged(tmp_path: Path) -> None:
    secret = "planted-token"
    async with (
        running(tmp_path / "models", tmp_path / "data", environment={"WATCHERD_ADMIN_TOKEN": secret}) as daemon,
        daemon.client() as client,
    ):
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {secret}"}):
            refused = await client.get("/admin/pim", headers=headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Bearer")
        good = {"authorization": f"Bearer {secret}", "host": "anything.example"}
        assert (await client.get("/admin/pim", headers=good)).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
    assert secret not in str(daemon.lines)


async def test_after_a_kill_the_next_start_reaches_the_same_state(tmp_path: Path) -> None:
    models, data = tmp_path / "models", tmp_path / "data"
    async with running(models, data) as daemon, daemon.client() as client:
        daemon.write("shop.yaml", shop())
        await daemon.wait_for("model.loaded")
        row = (await client.post("/api/shop/items", json={"name": "one"})).json()
        daemon.write("shop.yaml", BROKEN)
        await daemon.wait_for("model.rejected")
        daemon.kill(signal.SIGKILL)
        await daemon.ended()

    async with running(models, data) as daemon, daemon.client() as client:
        answer = await client.get(f"/api/shop/items/{row['id']}")
        assert answer.json() == row
        assert answer.headers["watcherd-revision"] == "1"
        (entry,) = (await client.get("/admin/pim")).json()["pims"]
        assert entry["state"] == "stale"


async def test_a_missing_directory_serves_what_the_catalog_knows_and_says_so(tmp_path: Path) -> None:
    models, data = tmp_path / "models", tmp_path / "data"
    async with running(models, data) as daemon:
        daemon.write("shop.yaml", shop())
        await daemon.wait_for("model.loaded")
    away = tmp_path / "away"
    models.rename(away)
    async with running(tmp_path / "placeholder", data, "--models", str(models)) as daemon, daemon.client() as client:
        assert (await client.get("/api/shop/items")).status_code == 200
        ready = await once(lambda: client.get("/readyz"), lambda answer: "models" in str(answer.json()["reasons"]))
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        away.rename(models)
        await daemon.wait_for("watch.started")
        await until_ready_is(client, "ok")


async def test_a_missing_directory_and_an_empty_catalog_are_an_error_that_names_the_path(tmp_path: Path) -> None:
    async with running(
        tmp_path / "placeholder", tmp_path / "data", "--models", str(tmp_path / "nowhere"), ready=False
    ) as daemon:
        assert await daemon.ended() == 2


async def test_a_taken_port_is_one_clear_line(daemon: Process, tmp_path: Path) -> None:
    port = daemon.address.rsplit(":", 1)[1]
    async with running(tmp_path / "m2", tmp_path / "d2", "--port", port, ready=False) as second:
        assert await second.ended() == 2


async def test_a_half_sent_request_is_answered_by_the_old_revision_after_a_swap(daemon: Process) -> None:
    daemon.write("shop.yaml", shop())
    await daemon.wait_for("model.loaded")
    reader, writer = await half_a_request_alone(daemon)
    daemon.write("shop.yaml", shop("colour"))
    await daemon.wait_for("model.swapped")
    async with daemon.client() as client:
        entry = await shown(client, lambda entry: bool(entry["draining"] and entry["draining"][0]["held_by"]))
        assert entry["revision"] == 2
        assert entry["draining"][0]["revision"] == 1
        assert entry["draining"][0]["held_by"][0]["path"] == "/api/shop/items"

    writer.write(REST)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 201")
    assert b"watcherd-revision: 1\r\n" in head
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert b"colour" not in await reader.readexactly(length)
    writer.write(b"GET /api/shop/items HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert b"watcherd-revision: 2\r\n" in await reader.readuntil(b"\r\n\r\n")
    writer.close()
    async with daemon.client() as client:
        await shown(client, lambda entry: entry["draining"] == [])


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_lets_requests_in_flight_finish_and_refuses_new_ones(
    daemon: Process, which: signal.Signals
) -> None:
    daemon.write("shop.yaml", shop())
    await daemon.wait_for("model.loaded")
    reader, writer = await half_a_request_alone(daemon)
    daemon.kill(which)
    started = await daemon.wait_for("shutdown.started")
    assert started["signal"] == which.name
    assert started["in_flight"] == 1 or WORKERS  # a worker that stands still does not say how many it has
    await daemon.wait_for("shutdown.stage", where=lambda line: line["stage"] == "watch")
    async with daemon.client() as client:
        refused = await once(lambda: client.get("/api/shop/items"), lambda answer: answer.status_code != 200)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.headers["connection"] == "close"
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
    writer.write(REST)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201")

    assert await daemon.ended() == 0
    assert [line["stage"] for line in daemon.of("shutdown.stage")] == ["watch", "drain", "cut", "server", "store"]
    writer.close()


async def test_a_request_over_the_graceful_time_is_cut_named_and_makes_the_exit_status_1(tmp_path: Path) -> None:
    async with running(
        tmp_path / "models", tmp_path / "data", environment={"WATCHERD_GRACEFUL_TIMEOUT": "0.2"}
    ) as daemon:
        daemon.write("shop.yaml", shop())
        await daemon.wait_for("model.loaded")
        reader, writer = await half_a_request_alone(daemon)
        await cut(daemon, reader)
        writer.close()


async def test_a_second_signal_skips_to_the_end(daemon: Process) -> None:
    daemon.write("shop.yaml", shop())
    await daemon.wait_for("model.loaded")
    _, writer = await half_a_request_alone(daemon)
    daemon.kill(signal.SIGTERM)
    await daemon.wait_for("shutdown.stage", where=lambda line: line["stage"] == "watch")
    await asyncio.sleep(2 * ONE_SIGNAL_SECONDS)
    daemon.kill(signal.SIGTERM)

    assert await daemon.ended() == 1
    assert (await daemon.wait_for("shutdown.finished"))["ms"] < 1000 * Settings.model_fields["graceful_timeout"].default
    writer.close()


async def test_two_signals_at_once_are_one(daemon: Process) -> None:
    """As where a group is signalled, and a parent in it, such as make, passes the signal on."""
    daemon.write("shop.yaml", shop())
    await daemon.wait_for("model.loaded")
    reader, writer = await half_a_request_alone(daemon)
    daemon.kill(signal.SIGSTOP)  # both are there when it goes on, however late this process sends the other one
    daemon.kill(signal.SIGTERM)
    daemon.kill(signal.SIGINT)
    daemon.kill(signal.SIGCONT)
    await daemon.wait_for("shutdown.stage", where=lambda line: line["stage"] == "watch")
    writer.write(REST)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201")
    assert await daemon.ended() == 0
    writer.close()


async def test_idle_connections_do_not_hold_a_stop(daemon: Process) -> None:
    host, port = daemon.address.removeprefix("http://").rsplit(":", 1)
    with socket.create_connection((host, int(port))):
        daemon.kill(signal.SIGTERM)
        assert await daemon.ended() == 0


async def test_it_serves_on_a_unix_socket(tmp_path: Path) -> None:
    import httpx

    path = tmp_path / "s"
    async with running(tmp_path / "models", tmp_path / "data", "--uds", str(path)):
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            assert (await client.get("/readyz")).status_code == 200
            assert (await client.get("/admin/pim")).status_code == 200
    assert not path.exists()


async def test_before_the_first_scan_is_done_a_model_is_not_called_missing(tmp_path: Path) -> None:
    models, address = tmp_path / "models", tmp_path / "socket"
    models.mkdir()
    for number in range(100):
        (models / f"m{number}.yaml").write_text(shop(domain=f"m{number}"), encoding="utf-8")
    armed, held = tmp_path / "armed", tmp_path / "held"
    held.touch()
    armed.write_text(f"hold {held}")
    start = running(
        *(models, tmp_path / "data", "--uds", str(address)),
        entry=ENTRY,
        environment={"FAULT_STEP": "first scan", "FAULT_ARMED": str(armed)},
        ready=False,
    )
    async with start as daemon:
        transport = httpx.AsyncHTTPTransport(uds=str(address))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=120) as client:
            await daemon.wait_for("watch.started")  # connections are taken before the models are read
            seen = [await client.get("/api/m99/items")]
            held.unlink()
            while seen[-1].status_code != 200:
                seen.append(await client.get("/api/m99/items"))
    refused = {(answer.status_code, answer.headers["retry-after"]) for answer in seen[:-1]}
    assert refused == {(503, "1")}


async def test_a_connection_stays_open_after_a_head(daemon: Process) -> None:
    async with daemon.client() as client:
        answers = [await client.head(path) for path in ("/healthz", "/admin/pim", "/docs", "/openapi.json", "/healthz")]

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.extensions["network_stream"] for answer in answers}) == 1
    logged = await daemon.wait_for("request", where=lambda line: line["path"] == "/admin/pim")
    assert logged["method"] == "HEAD"


async def test_a_hang_up_during_the_start_ends_nothing(tmp_path: Path) -> None:
    """It stops where the command has set to work and the daemon has not: the first to import takes a while."""
    arrived = tmp_path / "arrived"
    os.mkfifo(arrived)
    entry = (sys.executable, "-c", WAITING.format(str(arrived)))
    async with running(tmp_path / "models", tmp_path / "data", entry=entry, ready=False) as daemon:
        with await asyncio.to_thread(arrived.open, "w"):  # once it reads
            daemon.kill(signal.SIGHUP)
        await daemon.wait_for("daemon.started")


WAITING = """\
from watcherd import settings
load = settings.load
def wait(values):
    open({!r}).read()
    return load(values)
settings.load = wait
from watcherd import cli
cli.main()
"""


@pytest.mark.slow
async def test_a_save_that_the_database_cannot_take_shows_in_readiness_until_it_is_served(daemon: Process) -> None:
    daemon.write("shop.yaml", shop())
    await daemon.wait_for("model.loaded")
    with contextlib.closing(sqlite3.connect(daemon.data / "watcherd.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        daemon.write("shop.yaml", shop("color"))
        await daemon.wait_for("reload.failed")
        async with daemon.client() as client:
            failed = await client.get("/readyz")
            other.execute("ROLLBACK")
            await daemon.wait_for("model.swapped")
            await until_ready_is(client, "ok")

    assert (failed.status_code, failed.json()["status"]) == (200, "degraded")
    assert any("database is locked" in reason for reason in failed.json()["reasons"])
