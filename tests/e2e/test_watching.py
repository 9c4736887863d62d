"""Saving, adding, deleting files changes what a running daemon serves, and nothing else."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.models import BROKEN, shop
from tests.e2e.process import Process, running, until_ready_is


async def test_saving_adding_and_deleting_a_file_changes_the_api_and_its_documents(daemon: Process) -> None:
    async with daemon.client() as client:
        assert (await client.get("/api/shop/items")).status_code == 404

        daemon.write("shop.yaml", shop())
        await daemon.wait_for("model.loaded")
        created = await client.post("/api/shop/items", json={"name": "one"})
        assert created.status_code == 201
        assert (await client.post("/api/shop/items", json={"name": "two", "colour": "red"})).status_code == 422
        assert "/api/shop/items" in (await client.get("/openapi.json")).json()["paths"]

        daemon.write("shop.yaml", shop("colour"))
        await daemon.wait_for("model.swapped")
        second = await client.post("/api/shop/items", json={"name": "two", "colour": "red"})
        assert second.status_code == 201
        assert second.headers["watcherd-revision"] == "2"
        assert (await client.get(created.headers["location"])).json()["colour"] is None

        (daemon.models / "shop.yaml").unlink()
        await daemon.wait_for("model.unloaded")
        gone = await client.get("/api/shop/items")
        assert gone.status_code == 404
        assert gone.json()["type"] == "/problems/no-such-model"
        assert "/api/shop/items" not in (await client.get("/openapi.json")).json()["paths"]

        daemon.write("shop.yaml", shop("colour"))
        await daemon.wait_for("model.loaded", where=lambda line: line["generation"] == 4)
        listed = (await client.get("/api/shop/items")).json()
        assert [row["name"] for row in listed["items"]] == ["one", "two"]


async def test_a_broken_file_never_stops_the_last_good_revision(daemon: Process) -> None:
    daemon.write("shop.yaml", shop())
    await daemon.wait_for("model.loaded")
    async with daemon.client() as client:
        daemon.write("shop.yaml", BROKEN)
        rejected = await daemon.wait_for("model.rejected")
        assert rejected["serving"] == 1
        assert rejected["first"].startswith("5:20 PIM")
        assert (await client.post("/api/shop/items", json={"name": "one"})).status_code == 201
        (entry,) = (await client.get("/admin/pim")).json()["pims"]
        assert entry["state"] == "stale"
        assert (entry["diagnostics"][0]["line"], entry["diagnostics"][0]["column"]) == (5, 20)

        daemon.write("shop.yaml", shop("colour"))
        await daemon.wait_for("model.swapped")
        (entry,) = (await client.get("/admin/pim")).json()["pims"]
        assert (entry["state"], entry["diagnostics"]) == ("live", [])


async def test_bad_files_beside_good_ones_are_each_listed_and_the_watcher_lives_on(daemon: Process) -> None:
    daemon.write("shop.yaml", shop())
    await daemon.wait_for("model.loaded")

    daemon.write("broken.yaml", BROKEN.replace("shop", "broken"))
    daemon.write("owner.yaml", shop("other"))
    os.mkfifo(daemon.models / "fifo.yaml")
    latin = os.fsencode(daemon.models) + b"/caf\xe9.yaml"
    Path(os.fsdecode(latin)).write_text(shop(domain="cafe"), encoding="utf-8")
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    daemon.write("bomb.yaml", bomb)
    daemon.write("deep.yaml", "domain: deep\nentities: " + "[" * 2000 + "]" * 2000)
    expected = {"broken.yaml", "owner.yaml", "fifo.yaml", "caf\\xe9.yaml", "bomb.yaml", "deep.yaml"}
    for name in expected:
        await daemon.wait_for("model.rejected", where=lambda line, name=name: line["file"] == name)

    async with daemon.client() as client:
        pims = {entry["file"]: entry for entry in (await client.get("/admin/pim")).json()["pims"]}
        assert pims.keys() == expected | {"shop.yaml"}
        for name in expected:
            assert pims[name]["state"] == "rejected"
            first = pims[name]["diagnostics"][0]
            assert first["code"].startswith("PIM")
            assert first["line"] >= 1
            assert first["column"] >= 1
        assert "shop.yaml" in pims["owner.yaml"]["diagnostics"][0]["message"]
        assert (await client.get("/api/shop/items")).status_code == 200
        assert (await client.get("/api/broken/items")).json()["type"] == "/problems/model-rejected"

        daemon.write("shop.yaml", shop("alive"))
        await daemon.wait_for("model.swapped")
        await until_ready_is(client, "ok")


async def test_a_comment_or_a_touch_changes_nothing(daemon: Process) -> None:
    daemon.write("shop.yaml", shop())
    await daemon.wait_for("model.loaded")
    await daemon.wait_for("reload.finished")
    since = len(daemon.lines)
    daemon.write("shop.yaml", shop(comment="# a word about it"))
    finished = await daemon.wait_for("reload.finished", since, where=lambda line: line["unchanged"] > 0)

    assert (finished["swapped"], finished["generation"], finished["unchanged"]) == (0, 1, 1)


async def test_files_that_are_swapped_together_as_a_config_map_become_one_swap(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()

    def publish(generation: int, *attributes: str) -> None:
        """Lay ten files down beside, then swap one symlink, as a kubelet does."""
        directory = models / f"..{generation}"
        directory.mkdir()
        for number in range(10):
            (directory / f"m{number}.yaml").write_text(shop(*attributes, domain=f"m{number}"))
        link = models / "..data_tmp"
        link.symlink_to(directory.name)
        link.rename(models / "..data")

    publish(1)
    for number in range(10):
        (models / f"m{number}.yaml").symlink_to(f"..data/m{number}.yaml")
    # Who reads the whole directory just then may find some files as they were and some as they are.
    environment = {"WATCHERD_RECONCILE_SECONDS": "3600"}
    async with running(models, tmp_path / "data", environment=environment) as daemon:
        await daemon.wait_for("watch.started")
        publish(2, "more")
        finished = await daemon.wait_for("reload.finished", where=lambda line: line["generation"] > 1)

        assert (finished["swapped"], finished["generation"]) == (10, 2)


async def test_a_renamed_file_keeps_its_model_in_service_without_a_swap(daemon: Process) -> None:
    daemon.write("shop.yaml", shop())
    await daemon.wait_for("model.loaded")
    (daemon.models / "shop.yaml").rename(daemon.models / "store.yaml")
    async with daemon.client() as client:
        answer = (await client.post("/admin/reload")).json()
        assert answer["generation"] == 1
        (entry,) = (await client.get("/admin/pim")).json()["pims"]
        assert (entry["file"], entry["state"], entry["revision"]) == ("store.yaml", "live", 1)


async def test_hangup_reads_the_whole_directory_again(daemon: Process) -> None:
    since = len(daemon.lines)
    daemon.kill(signal.SIGHUP)
    finished = await daemon.wait_for("reload.finished", since, where=lambda line: line["reason"] == "signal")

    assert finished["generation"] == 0


@pytest.mark.parametrize("burst", [200])
async def test_of_many_saves_in_a_burst_the_last_one_wins_with_far_fewer_builds(daemon: Process, burst: int) -> None:
    daemon.write("shop.yaml", shop())
    await daemon.wait_for("model.loaded")
    for number in range(burst):
        daemon.write("shop.yaml", shop(version=str(number + 2)))
    async with daemon.client() as client:
        await client.post("/admin/reload")
        assert (await client.get("/api/shop")).json()["version"] == str(burst + 1)
    assert len(daemon.of("model.swapped")) < burst
