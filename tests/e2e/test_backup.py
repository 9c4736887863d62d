"""A backup of a daemon that runs is one that another daemon can serve."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

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
