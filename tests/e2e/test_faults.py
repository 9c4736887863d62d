"""Faults at every step: the daemon goes on or ends, and the next start reaches the same state."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from _pytest.mark import ParameterSet

from tests.e2e.process import Process, running
from tests.faults import DRAIN, ENTRY, LASTING, RELOAD, START, STOP

QUICK = {"in the transaction", "swap", "first scan", "SIGKILL-close the store", "raise-wait for requests"}
"""What every run tests; the rest takes as long each, and is left to `make test-slow`."""


def sorted_by_time(cases: Iterable[str]) -> list[ParameterSet]:
    """The cases, those that are not quick marked as slow."""
    return [pytest.param(case, marks=() if case in QUICK else pytest.mark.slow, id=case) for case in cases]


def shop(number: int) -> str:
    """A model whose every next number adds an attribute, parks one, and drops a unique index after the drain."""
    return f"""\
domain: shop
version: "{number}"
entities:
  - name: Item
    attributes:
      name: {{type: string, required: true}}
      code{number}: {{type: string, unique: true}}
"""


SEEN_TO = ("watcher", "raise")
"""What the watcher sees to itself, see its tests."""

WAITED_FOR = "what it waited for was cancelled, though nobody had cancelled the task"


class Daemon:
    """A daemon with one step that can fail; `armed` is what makes it fail next.

    A stage of a stop may take `seconds`: few only where one is to run over its time, and not a machine that is busy.
    """

    def __init__(self, tmp_path: Path, step: str, seconds: int = 60) -> None:
        self.armed = tmp_path / "armed"
        self._paths = tmp_path / "models", tmp_path / "data"
        self._environment = {
            "FAULT_STEP": step,
            "FAULT_ARMED": str(self.armed),
            "WATCHERD_CLEANUP_TIMEOUT": str(seconds),
            "WATCHERD_GRACEFUL_TIMEOUT": str(seconds),
        }

    @asynccontextmanager
    async def start(self, *, ready: bool = True) -> AsyncIterator[Process]:
        async with running(*self._paths, entry=ENTRY, environment=self._environment, ready=ready) as process:
            yield process

    def edit(self, process: Process, number: int) -> None:
        """One change of two files: a model is edited, another one deleted for a third."""
        process.write(f"side{number}.yaml", f"domain: side{number}\nentities: [{{name: Thing}}]\n")
        process.write("shop.yaml", shop(number))
        (process.models / f"side{number - 1}.yaml").unlink(missing_ok=True)


async def assert_serves(process: Process, number: int, rows: list[str]) -> None:
    """The state that the files ask for: these models, this version, no row lost, nothing refused."""
    async with process.client() as client:
        await client.post("/admin/reload")
        pims = {entry["name"]: entry for entry in (await client.get("/admin/pim")).json()["pims"]}
        assert {name: entry["state"] for name, entry in pims.items()} == {"shop": "live", f"side{number}": "live"}
        assert (await client.get("/api/shop")).json()["version"] == str(number)
        listed = (await client.get("/api/shop/items")).json()["items"]
        assert [(row["name"], f"code{number}" in row) for row in listed] == [(name, True) for name in rows]
        assert (await client.get(f"/api/side{number}/things")).status_code == 200
        assert (await client.get(f"/api/side{number - 1}/things")).status_code == 404


async def store(client: httpx.AsyncClient, name: str) -> None:
    created = await client.post("/api/shop/items", json={"name": name})
    assert created.status_code == 201, created.text


@pytest.mark.parametrize("step", sorted_by_time(RELOAD | DRAIN))
async def test_a_fault_at_any_step_of_a_reload_or_drain_leads_to_the_same_state(tmp_path: Path, step: str) -> None:
    daemon = Daemon(tmp_path, step)
    async with daemon.start() as process, process.client() as client:
        daemon.edit(process, 1)
        await process.wait_for("model.loaded", where=lambda line: line["model"] == "shop")
        await assert_serves(process, 1, [])
        await store(client, "one")

        daemon.armed.write_text("raise")
        daemon.edit(process, 2)
        await happened(process, daemon, 1)
        assert (await client.get("/api/shop/items")).status_code == 200
        await assert_serves(process, 2, ["one"])
        assert not daemon.armed.exists()

        daemon.armed.write_text("SIGHUP")
        daemon.edit(process, 3)
        await process.wait_for("reload.finished", where=lambda line: line["reason"] == "signal")
        await assert_serves(process, 3, ["one"])
        await store(client, "two")

        daemon.armed.write_text("SIGTERM")
        daemon.edit(process, 4)
        assert await process.ended() == 0
        assert not daemon.armed.exists()

    async with daemon.start() as process, process.client() as client:
        await assert_serves(process, 4, ["one", "two"])
        await store(client, "three")
        daemon.armed.write_text("SIGKILL")
        daemon.edit(process, 5)
        assert await process.ended() == -signal.SIGKILL
        assert not daemon.armed.exists()

    async with daemon.start() as process:
        await assert_serves(process, 5, ["one", "two", "three"])


async def happened(process: Process, daemon: Daemon, since_version: int) -> None:
    """Wait until the armed fault was met: the reload that meets it says so, whatever came of it."""
    async with process.client() as client:
        while daemon.armed.exists():
            assert (await client.get("/api/shop")).json()["version"] in {str(since_version), str(since_version + 1)}


@pytest.mark.parametrize("step", sorted_by_time(START))
@pytest.mark.parametrize("which", ["SIGTERM", "SIGHUP", pytest.param("SIGKILL", marks=pytest.mark.slow)])
async def test_a_signal_at_any_step_of_a_start_is_safe(tmp_path: Path, step: str, which: str) -> None:
    daemon = Daemon(tmp_path, step)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "shop.yaml").write_text(shop(1))
    daemon.armed.write_text(which)
    async with daemon.start(ready=which == "SIGHUP") as process:
        if which == "SIGHUP":
            await process.wait_for("reload.finished", where=lambda line: line["reason"] == "signal")
        else:
            assert await process.ended() == (0 if which == "SIGTERM" else -signal.SIGKILL)
        assert not daemon.armed.exists()
    async with daemon.start() as process, process.client() as client:
        assert (await client.get("/api/shop/items")).status_code == 200


OUTCOMES = {"SIGTERM": {0, 1}, "SIGHUP": {0}, "SIGKILL": {-signal.SIGKILL}, "raise": {1}, "delay 60": {1}}


@pytest.mark.parametrize("case", sorted_by_time(f"{fault}-{step}" for fault in OUTCOMES for step in STOP))
async def test_a_fault_at_any_step_of_a_stop_ends_within_bounds_and_loses_nothing(tmp_path: Path, case: str) -> None:
    fault, step = case.split("-")
    daemon = Daemon(tmp_path, step, 2 if fault == "delay 60" else 60)
    async with daemon.start() as process, process.client() as client:
        daemon.edit(process, 1)
        await process.wait_for("model.loaded", where=lambda line: line["model"] == "shop")
        await assert_serves(process, 1, [])
        await store(client, "one")
        daemon.armed.write_text(fault)
        process.kill(signal.SIGTERM)
        assert await process.ended() in OUTCOMES[fault]
        assert not daemon.armed.exists()
    async with daemon.start() as process:
        await assert_serves(process, 1, ["one"])


LASTING_FAULTS = [(name, fault) for name in LASTING for fault in ("raise", "cancel") if (name, fault) != SEEN_TO]


@pytest.mark.parametrize(("task", "fault"), LASTING_FAULTS)
async def test_a_task_that_ends_by_whatever_begins_again_and_says_so(tmp_path: Path, task: str, fault: str) -> None:
    daemon = Daemon(tmp_path, task)
    async with daemon.start() as process, process.client() as client:
        daemon.armed.write_text(fault)
        process.kill(signal.SIGHUP)
        daemon.edit(process, 1)
        failed = await process.wait_for("task.failed")
        assert failed["task"] == task
        assert failed["reason"] == {"raise": "injected", "cancel": WAITED_FOR}[fault]
        [told] = [line for line in process.lines if line["event"] == "task.fault"]
        assert (told["task"], "Traceback" in told["exception"]) == (task, True)

        ready = (await client.get("/readyz")).json()
        assert ready["status"] == "degraded"
        assert ready["reasons"] == [f"the task '{task}' failed and began again: {failed['reason']}"]

        daemon.edit(process, 2)  # it watches
        await process.wait_for("model.loaded", where=lambda line: line["model"] == "side2")
        since = len(process.lines)
        process.kill(signal.SIGHUP)
        await process.wait_for("reload.finished", since, where=lambda line: line["reason"] == "signal")
        await assert_serves(process, 2, [])
        metrics = (await client.get("/metrics")).text
        assert f'watcherd_task_failures_total{{task="{task}"}} 1.0' in metrics
        process.kill(signal.SIGTERM)
        assert await process.ended() == 0


@pytest.mark.slow
async def test_a_thread_that_hangs_does_not_keep_the_process_from_ending(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, "scan", 2)
    async with daemon.start() as process:
        held = tmp_path / "held"
        held.touch()
        daemon.armed.write_text(f"block {held}")
        process.kill(signal.SIGHUP)
        while daemon.armed.exists():
            await asyncio.sleep(0)
        process.kill(signal.SIGTERM)
        assert await process.ended() == 1
        assert process.of("shutdown.abandoned")[0]["held_by"]
