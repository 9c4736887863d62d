"""The whole directory is read over and over while files are saved: in a real process, and with workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.models import shop
from tests.e2e.process import Process, running
from tests.e2e.test_workers import WORKERS, one_client_each

OTHERS = 50
SAVES = 20
WITHOUT_A_PAUSE = {"WATCHERD_RECONCILE_SECONDS": "0.01"}


async def looks(daemon: Process, since: int, *, more: int = 2) -> None:
    """Wait until so many looks have come to their end, or nearly: the next one has begun."""
    for _ in range(more + 1):
        line = await daemon.wait_for("reload.started", since, lambda line: line["reason"] == "reconcile")
        since = daemon.lines.index(line) + 1


@pytest.mark.parametrize("workers", [1, WORKERS])
async def test_saves_in_the_middle_of_looks_reach_everybody_and_none_is_taken_back(
    tmp_path: Path, shop_models: Path, workers: int
) -> None:
    for number in range(OTHERS):
        (shop_models / f"m{number}.yaml").write_text(shop(domain=f"m{number}"))
    options = ("--log-level", "debug", "--workers", str(workers))
    async with running(shop_models, tmp_path / "data", *options, environment=WITHOUT_A_PAUSE) as daemon:
        clients = [daemon.client()] if workers == 1 else [*(await one_client_each(daemon)).values()]
        begun = len(daemon.lines)
        for version in range(2, SAVES + 2):
            since = len(daemon.lines)
            daemon.write("shop.yaml", shop(version=str(version)))
            await daemon.wait_for("model.swapped", since)
            for client in clients:
                assert (await client.get("/api/shop")).json()["version"] == str(version)
        (shop_models / "m0.yaml").rename(shop_models / "renamed.yaml")
        (shop_models / "m1.yaml").unlink()
        await daemon.wait_for("model.unloaded", begun)
        await looks(daemon, len(daemon.lines))

        assert [line["revision"] for line in daemon.of("model.swapped", begun)] == [*range(2, SAVES + 2)]
        assert [line["model"] for line in daemon.of("model.unloaded", begun)] == ["m1"]
        assert not daemon.of("model.loaded", begun)
        assert not daemon.of("model.rejected", begun)
        for client in clients:
            assert (await client.get("/api/shop")).json()["version"] == str(SAVES + 1)
            assert (await client.get("/api/m0")).status_code == 200
            assert (await client.get("/api/m1")).status_code == 404
            await client.aclose()
