"""Planning, going back and pruning from the command line; the database is real, the daemon is not there."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.helpers import drained, model_text, serving
from watcherd.cli import app, client
from watcherd.errors import StoreError, WatcherdError
from watcherd.store import Store


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    if isinstance(result.exception, WatcherdError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """The directory of a daemon that has stopped: one row in `shop`, its attribute `phone` parked."""

    async def live() -> None:
        async with serving(tmp_path, {"shop.yaml": model_text("shop", "mail", "phone")}) as walk:
            await walk.post("/api/shop/items", {"name": "a", "mail": "m", "phone": "1"})
            await walk.save("shop.yaml", model_text("shop", "mail"))
            await drained(walk, "shop")

    asyncio.run(live())
    return tmp_path


def test_a_plan_against_a_database_shows_tables_and_api_and_exits_as_it_breaks(served: Path) -> None:
    file, data = served / "models/shop.yaml", str(served / "data")
    assert run("plan", str(file), "--data-dir", data) == "shop: nothing changes.\n"
    file.write_text(model_text("shop", "mail", "color"))
    shown = run("plan", str(file), "--data-dir", data)
    assert "shop: breaks no client" in shown
    assert "add color to Item" in shown
    file.write_text(model_text("shop", "email: {type: string, renamed_from: mail}"))
    shown = run("plan", str(file), "--data-dir", data, code=2)
    assert "shop: breaks clients; plan " in shown
    rows = [re.split(r"  +", line) for line in shown.splitlines()]
    assert ["rename", "rename Item.mail to email"] in rows
    assert ["breaking", "removed", "Item.mail"] in [row[:3] for row in rows]
    assert ["compatible", "added", "Item.email"] in [row[:3] for row in rows]
    (answer,) = json.loads(run("plan", str(file), "--data-dir", data, "--json", code=2))
    assert (answer["file"], answer["plan"]["breaking"]) == (str(file), True)
    file.write_text(model_text("shop", "mail: {type: string, required: true}", "must: {type: string, required: true}"))
    shown = run("plan", str(file), "--data-dir", data, code=1)
    assert "PIM609 error" in shown
    assert "shop: would be rejected" in shown
    rows = [re.split(r"  +", line) for line in shown.splitlines()]
    assert ["IN THE WAY", "OF", "ROWS", "FIRST IDS"] in rows
    assert ["PIM609", "Item.must", "1"] in [row[:3] for row in rows]
    (served / "models/other.yaml").write_text(model_text("other"))
    shown = run("plan", str(file.parent), "--data-dir", data, code=1)
    assert "other: new, breaks no client; plan " in shown
    assert shown.splitlines()[-1] == "2 files: 2 would change something, 1 would break clients, 1 would be rejected."


def test_a_plan_without_a_database_makes_none(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(model_text("a"))
    with pytest.raises(StoreError, match="there is no database"):
        run("plan", str(tmp_path / "a.yaml"), "--data-dir", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


def test_prune_shows_what_is_parked_and_drops_it_only_when_told(served: Path) -> None:
    data = str(served / "data")
    shown = run("prune", "--data-dir", data)
    assert shown.splitlines()[0] == "shop.Item.phone  column, 1 row"
    assert "Nothing was dropped" in shown
    assert run("prune", "--data-dir", data, "other") == "Nothing is parked.\n"
    assert "Dropped 1. The database as it was: " in run("prune", "--data-dir", data, "--yes")
    assert len(list((served / "data/backups").iterdir())) == 1
    assert run("prune", "--data-dir", data) == "Nothing is parked.\n"
    assert json.loads(run("prune", "--data-dir", data, "--json")) == {"parked": [], "backup": None}


def test_prune_is_refused_while_the_database_is_in_use_and_looking_is_not(served: Path) -> None:
    async def look() -> tuple[str, str]:
        store = await Store.open(None, served / "data")
        try:
            shown = await asyncio.to_thread(run, "prune", "--data-dir", str(served / "data"))
            with pytest.raises(StoreError, match="stop it first") as refused:
                await asyncio.to_thread(run, "prune", "--data-dir", str(served / "data"), "--yes")
        finally:
            await store.close()
        return shown, str(refused.value)

    assert "phone" in asyncio.run(look())[0]
    assert not (served / "data/backups").exists()


def test_revisions_and_rollback_ask_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def ask(method: str, path: str, *, url: str | None, content: tuple[str, bytes] | None = None) -> Any:
        asked.append((method, path, url, content))
        if method == "GET":
            kept = {"revision": 2, "applied_at": "now", "file": "shop.yaml", "serving": True}
            return {"revisions": [kept, kept | {"revision": 1, "serving": False}]}
        return {"result": {"pim_name": "shop", "of": 1, "revision": 3}}

    monkeypatch.setattr(client, "ask", ask)
    shown = run("revisions", "shop", "--url", "http://127.0.0.1:1").splitlines()
    assert [line.split() for line in shown[1:]] == [["2", "yes", "now", "shop.yaml"], ["1", "-", "now", "shop.yaml"]]
    assert "serves revision 1 again, as revision 3" in run("rollback", "shop", "1")
    assert asked == [
        ("GET", "/admin/pim/shop/revisions", "http://127.0.0.1:1", None),
        ("POST", "/admin/pim/shop/rollback", None, ("application/json", b'{"revision": 1}')),
    ]
