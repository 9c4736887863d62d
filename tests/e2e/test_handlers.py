"""Handlers in a real daemon: saved code serves at once, with its workers too, and only where it is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.process import running

MODEL = """\
domain: shop
entities:
  - {name: Item, attributes: {name: string}}
services:
  - name: Desk
    methods:
      - {name: price, parameters: {n: integer}, returns: integer, handler: "desk.py:price"}
"""
CODE = """\
from .rates import RATE

async def price(ctx, params):
    await ctx.create("Item", {"name": str(params["n"])})
    return params["n"] * RATE
"""


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_saved_code_serves_and_broken_code_leaves_what_served(tmp_path: Path, workers: str) -> None:
    models = tmp_path / "models"
    models.mkdir()
    files = {"shop.yaml": MODEL, "desk.py": CODE, "rates.py": "RATE = 2\n"}
    for name, text in files.items():
        (models / name).write_text(text)
    allowed = {"WATCHERD_ALLOW_HANDLERS": "true", "WATCHERD_ADMIN_TOKEN": "secret"}
    options = ("--workers", workers)
    async with running(models, tmp_path / "data", *options, environment=allowed) as daemon, daemon.client() as client:
        assert (await client.post("/api/shop/desk/price", json={"n": 3})).json() == 6
        mark = len(daemon.lines)
        daemon.write("rates.py", "RATE = 5\n")
        await daemon.wait_for("model.swapped", mark)
        assert (await client.post("/api/shop/desk/price", json={"n": 3})).json() == 15
        mark = len(daemon.lines)
        daemon.write("rates.py", "RATE = = 7\n")
        await daemon.wait_for("model.rejected", mark)
        assert (await client.post("/api/shop/desk/price", json={"n": 3})).json() == 15
        admin = await client.get("/admin/pim", headers={"authorization": "Bearer secret"})
        [found] = admin.json()["pims"][0]["diagnostics"]
        assert (found["code"], found["file"], found["line"]) == ("PIM422", "rates.py", 1)
        traced = await client.post("/api/shop/desk/price?trace=true", json={"n": 3})
        assert traced.status_code == 400  # a handler has no steps
        assert (await client.get("/api/shop/items")).json()["total"] == 3


async def test_code_beside_models_is_not_even_read_where_it_is_not_allowed(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "shop.yaml").write_text(MODEL)
    (models / "desk.py").write_text("raise SystemExit('this must not run')\n")
    async with running(models, tmp_path / "data") as daemon, daemon.client() as client:
        refused = await client.post("/api/shop/desk/price", json={"n": 3})
        assert (refused.status_code, len(refused.json()["lacks"])) == (501, 1)
