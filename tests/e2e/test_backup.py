"""A backup of a daemon that runs is one that another daemon can serve."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.process import clean_environment, running
from tests.helpers import model_text

ITEMS = "/api/shop/items"


async def back_up(data: Path, target: Path) -> str:
    command = (sys.executable, "-m", "watcherd", "backup", str(target), "--data-dir", str(data))
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=clean_environment()
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed
    return printed.decode()


async def test_a_copy_that_is_made_of_a_running_daemon_has_what_was_acknowledged(tmp_path: Path) -> None:
    models, data, restored = tmp_path / "models", tmp_path / "data", tmp_path / "restored"
    models.mkdir()
    (models / "shop.yaml").write_text(model_text("shop"))
    async with running(models, data) as daemon, daemon.client() as client:
        for number in range(20):
            assert (await client.post(ITEMS, json={"name": str(number)})).status_code == 201
        target = restored / "watcherd.db"
        assert await back_up(data, target) == f"The database is saved: {target}\n"
        assert (await client.post(ITEMS, json={"name": "late"})).status_code == 201
        async with running(models, restored) as other, other.client() as beside:
            names = {row["name"] for row in (await beside.get(ITEMS)).json()["items"]}
            assert names == {str(number) for number in range(20)}
            assert (await beside.post(ITEMS, json={"name": "there"})).status_code == 201
        assert (await client.get(ITEMS)).json()["total"] == 21


IN_THE_MIDDLE = """\
import time
from watcherd import cli
from watcherd.store import backup

def until_a_signal():
    print("copying", flush=True)
    while True:  # not one wait for a signal: one that came just before it would be waited for in vain
        time.sleep(0.01)

copy_of = backup.copy_of
backup.copy_of = lambda source, path, go_on, target: copy_of(source, path, until_a_signal, target)
cli.main()
"""


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGHUP])
async def test_a_backup_that_is_ended_in_the_middle_leaves_no_half_copy(tmp_path: Path, which: signal.Signals) -> None:
    data, target = tmp_path / "data", tmp_path / "copies" / "watcherd.db"
    data.mkdir()
    with closing(sqlite3.connect(data / "watcherd.db")) as database:
        database.execute("CREATE TABLE t (x)")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", IN_THE_MIDDLE, "backup", str(target), "--data-dir", str(data)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=clean_environment(),
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"copying\n"
    assert [one.name for one in target.parent.iterdir() if one.suffix == ".part"] == ["watcherd.db.part"]
    process.send_signal(which)
    await process.communicate()
    assert process.returncode not in {0, -which}, "it is not killed: it has cleaned up first"
    assert list(target.parent.iterdir()) == []
