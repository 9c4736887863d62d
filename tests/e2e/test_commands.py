"""The commands that ask a daemon, against a running one: over TCP with a token, and over a unix socket."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.models import BROKEN, shop
from tests.e2e.process import WORKERS, Process, clean_environment, once, running

TOKEN = "an admin token"


@dataclass
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """The rows of the last table, split where columns are."""
        return [re.split(r"  +", line) for line in self.out.splitlines()]


class Terminal:
    """A shell with the settings that lead to the daemon."""

    def __init__(self, daemon: Process, environment: dict[str, str]) -> None:
        self.daemon = daemon
        ours = {"PYTHONPATH": str(Path(__file__).parents[2])}
        self.environment = clean_environment() | ours | environment

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "watcherd", *arguments),
            cwd=self.daemon.models.parent,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: str) -> Ran:
        process = await self.start(*arguments)
        out, err = await process.communicate()
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())

    async def save(self, name: str, text: str, event: str) -> None:
        since = len(self.daemon.lines)
        self.daemon.write(name, text)
        await self.daemon.wait_for(event, since)


@pytest.fixture
async def terminal(request: pytest.FixtureRequest, tmp_path: Path, shop_models: Path) -> AsyncIterator[Terminal]:
    """A daemon with one model, and the environment that finds it: a unix socket, or `tcp` with a token."""
    if getattr(request, "param", "uds") == "uds":
        socket = str(tmp_path / "s")
        async with running(shop_models, tmp_path / "data", "--uds", socket) as daemon:
            yield Terminal(daemon, {"WATCHERD_UDS": socket})
        return
    async with running(shop_models, tmp_path / "data", environment={"WATCHERD_ADMIN_TOKEN": TOKEN}) as daemon:
        port = daemon.address.rpartition(":")[2]
        yield Terminal(daemon, {"WATCHERD_PORT": port, "WATCHERD_ADMIN_TOKEN": TOKEN})


@pytest.mark.parametrize("terminal", ["tcp", "uds"], indirect=True)
async def test_a_model_is_followed_through_its_life(terminal: Terminal) -> None:
    fine = await terminal.run("status")
    assert (fine.code, fine.err) == (0, "")
    assert fine.out.splitlines()[0] == "ok, generation 1"
    assert fine.rows[1] == ["MODEL", "STATE", "REVISION", "VERSION", "ROUTES", "IN FLIGHT", "DRAINING", "FILE"]
    assert fine.rows[2][:4] == ["shop", "live", "1", "1"]
    assert "\x1b" not in fine.out

    shown = await terminal.run("show", "shop")
    assert (shown.code, shown.rows[0]) == (0, ["shop: live"])
    assert ["Item", "name", "string", "required"] in shown.rows
    assert "POST    /api/shop/items" in shown.out

    await terminal.save("shop.yaml", BROKEN, "model.rejected")
    stale = await terminal.run("status")
    assert (stale.code, stale.rows[2][1]) == (1, "stale")
    workers = 0 if WORKERS is None else 1 + int(WORKERS)  # a table of them
    assert stale.out.splitlines()[3 + workers :] == [
        "shop.yaml:5:20: PIM207 error: `strnig` is not a type",
        "       = hint: did you mean `string`?",
    ]
    again = await terminal.run("reload", "--wait")
    assert again.code == 1
    assert "PIM207 error" in again.out

    await terminal.save("shop.yaml", shop("colour"), "model.swapped")
    assert (await terminal.run("reload", "--wait")).code == 0
    kept = await terminal.run("revisions", "shop")
    assert [row[:2] for row in kept.rows] == [["REVISION", "SERVING"], ["2", "yes"], ["1", "-"]]
    back = await terminal.run("rollback", "shop", "1")
    assert (back.code, back.out) == (
        0,
        "shop serves revision 1 again, as revision 3, until its file changes.\n",
    )
    assert (await terminal.run("rollback", "shop", "1")).code == 1
    assert (await terminal.run("rollback", "shop", "99")).code == 2

    gone = await terminal.run("unload", "shop")
    assert (gone.code, gone.out) == (0, "shop is out of service; its data and its file stay.\n")
    assert (await terminal.run("unload", "shop")).code == 2
    assert (await terminal.run("status")).rows[2][1] == "unloaded"
    tried = await terminal.run("load", "shop", "--dry-run")
    assert (tried.code, "would be served" in tried.out) == (0, True)
    loaded = await terminal.run("load", "shop")
    assert (loaded.code, "shop is served as revision" in loaded.out) == (0, True)
    await terminal.save("shop.yaml", shop("size"), "model.swapped")
    twice = await terminal.run("load", "--file", "shop.yaml")
    assert twice.code == 2
    assert "already served" in twice.err
    await once(lambda: terminal.run("drains"), lambda ran: ran.out == "Nothing drains.\n")


async def test_a_file_with_errors_is_not_loaded_and_its_findings_are_shown(terminal: Terminal) -> None:
    await terminal.save("new.yaml", BROKEN.replace("shop", "new"), "model.rejected")
    refused = await terminal.run("load", "--file", "new.yaml")
    assert refused.code == 1
    assert refused.out.splitlines()[:2] == [
        "new.yaml cannot be served: 1 error",
        "new.yaml:5:20: PIM207 error: `strnig` is not a type",
    ]
    assert (await terminal.run("load", "--file", "new.yaml", "--json")).json["diagnostics"][0]["code"] == "PIM207"


ENTRY = {
    "name",
    "file",
    "state",
    "revision",
    "version",
    "routes_count",
    "in_flight",
    "draining",
    "loaded_at",
    "diagnostics",
}
"""What scripts rely on; more may come."""


async def test_what_is_printed_as_json_is_stable(terminal: Terminal) -> None:
    status = (await terminal.run("status", "--json")).json
    assert {"status", "reasons", "generation", "pims"} <= status.keys()
    assert status["pims"][0].keys() >= ENTRY
    shown = (await terminal.run("show", "shop", "--json")).json
    assert shown.keys() >= ENTRY | {"endpoints", "tables", "spec", "drift"}
    await terminal.save("shop.yaml", shop("colour"), "model.swapped")
    revisions = (await terminal.run("revisions", "shop", "--json")).json
    assert revisions["revisions"][0].keys() >= {"revision", "serving", "file", "applied_at", "source"}
    rolled_back = (await terminal.run("rollback", "shop", "1", "--json")).json
    assert rolled_back == {
        "status": "success",
        "result": {"pim_name": "shop", "revision": 3, "of": 1, "state": "rolled_back"},
    }
    assert (await terminal.run("unload", "shop", "--json")).json["status"] == "success"
    loaded = (await terminal.run("load", "shop", "--json")).json["result"]
    assert loaded.keys() >= {"pim_name", "revision", "routes_count", "endpoints", "dry_run"}
    reloaded = (await terminal.run("reload", "--wait", "--json")).json
    assert reloaded.keys() >= {"generation", "loaded", "swapped", "unloaded", "unchanged", "rejected"}
    await once(lambda: terminal.run("drains", "--json"), lambda ran: ran.json == {"draining": []})


async def test_events_are_followed_and_come_back_after_an_id(terminal: Terminal) -> None:
    following = await terminal.start("events", "--json", "--model", "shop", "--count", "2")
    assert following.stdout is not None
    # The first event may come before the stream is open: edits go on until it shows one.
    first = asyncio.create_task(following.stdout.readline())
    number = 0
    while not first.done():
        number += 1
        await terminal.save("shop.yaml", shop(f"colour{number}"), "model.swapped")
    told = json.loads(await first)
    assert told.keys() == {"id", "event", "data"}
    assert told["data"]["model"] == "shop"
    await terminal.save("shop.yaml", shop("last"), "model.swapped")
    assert await following.wait() == 0

    missed = await terminal.run("events", "--since", told["id"], "--count", "5")
    assert missed.code == 0
    assert re.match(r"\d\d:\d\d:\d\d  \w+\.\w+ ", missed.out)
    assert re.search(r'reload\.finished .* stages="read [\d.]+, ', missed.out)


async def test_a_command_without_a_daemon_or_a_model_says_so_and_exits_with_2(terminal: Terminal) -> None:
    for arguments in (("show", "nothing"), ("revisions", "nothing"), ("unload", "nothing"), ("load", "nothing")):
        refused = await terminal.run(*arguments)
        assert refused.code == 2
        assert refused.err.startswith("watcherd: the daemon at ")
        assert "nothing" in refused.err
    for command in ("status", "drains", "events", "reload"):
        nobody = await terminal.run(command, "--url", "http://127.0.0.1:1")
        assert (nobody.code, nobody.out) == (2, "")
        assert "cannot reach a daemon at http://127.0.0.1:1" in nobody.err


async def test_events_end_when_the_daemon_is_gone(tmp_path: Path) -> None:
    async with running(tmp_path / "models", tmp_path / "data") as daemon:
        terminal = Terminal(daemon, {})
        following = await terminal.start("events", "--url", daemon.address)
        assert following.stdout is not None
        first = asyncio.create_task(following.stdout.readline())
        number = 0
        while not first.done():
            number += 1
            await terminal.save("shop.yaml", shop(f"c{number}"), "model.swapped" if number > 1 else "model.loaded")
        await first
    assert await following.wait() == 2
    assert following.stderr is not None
    assert b"cannot reach a daemon" in await following.stderr.read()
