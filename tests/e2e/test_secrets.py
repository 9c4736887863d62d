"""Keys of a real process, and secrets that never reach its log."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.e2e.models import shop
from tests.e2e.process import Line, running
from watcherd.keys import make_key

PLANTED = "planted-s3cret"
MODEL = """\
domain: vault
entities:
  - name: Login
    attributes:
      name: {type: string, required: true, unique: true}
      password: {type: string, write_only: true}
"""


def is_by_signal(line: Line) -> bool:
    return bool(line["reason"] == "signal")


async def test_a_new_key_is_known_after_a_hangup_and_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    old, old_line = make_key("old", ["shop"], [])
    new, new_line = make_key("new", ["*"], ["*"])
    file = tmp_path / "keys.txt"
    file.write_text(old_line)
    arguments = {"WATCHERD_API_KEYS_FILE": str(file)}
    async with (
        running(tmp_path / "models", tmp_path / "data", environment=arguments) as daemon,
        daemon.client() as client,
    ):
        daemon.write("shop.yaml", shop())
        await daemon.wait_for("model.loaded")
        assert (await client.get("/api/shop/items")).status_code == 401
        assert (await client.get("/api/shop/items", headers={"x-api-key": old})).status_code == 200
        assert (await client.post("/api/shop/items", json={}, headers={"x-api-key": old})).status_code == 403
        document = (await client.get("/openapi.json")).json()
        assert "ApiKey" in document["components"]["securitySchemes"]

        file.write_text("broken")
        since = len(daemon.lines)
        daemon.kill(signal.SIGHUP)
        await daemon.wait_for("keys.rejected")
        await daemon.wait_for("reload.finished", since, is_by_signal)  # not to be taken for that of the next signal
        assert (await client.get("/api/shop/items", headers={"x-api-key": old})).status_code == 200

        file.write_text(new_line)
        since = len(daemon.lines)
        daemon.kill(signal.SIGHUP)
        await daemon.wait_for("reload.finished", since, is_by_signal)
        written = await client.post("/api/shop/items", json={"name": "a"}, headers={"authorization": f"Bearer {new}"})
        assert written.status_code == 201
        assert (await client.get("/api/shop/items", headers={"x-api-key": old})).status_code == 401


async def test_no_secret_of_a_request_or_a_setting_reaches_the_log(tmp_path: Path) -> None:
    key, line = make_key("app", ["*"], ["*"])
    environment = {"WATCHERD_ADMIN_TOKEN": f"{PLANTED}-token", "WATCHERD_API_KEYS": line}
    asked = {
        "authorization": f"Bearer {key}",
        "cookie": f"session={PLANTED}",
        "x-custom": PLANTED,
        "x-request-id": f"not well formed {PLANTED}",
        "traceparent": PLANTED,
    }
    admin = {**asked, "authorization": f"Bearer {PLANTED}-token"}
    wrong = {**asked, "authorization": f"Bearer {PLANTED}-wrong"}
    async with (
        running(tmp_path / "models", tmp_path / "data", "--log-level", "debug", environment=environment) as daemon,
        daemon.client() as client,
    ):
        daemon.write("vault.yaml", MODEL)
        await daemon.wait_for("model.loaded")
        logins = "/api/vault/logins"
        row = {"name": PLANTED, "password": f"{PLANTED}-row"}
        statuses = [
            (await client.post(logins, json=row, headers=asked)).status_code,
            (await client.post(logins, json=row, headers=asked)).status_code,  # not unique
            (await client.post(logins, json={"name": 1, PLANTED: PLANTED}, headers=asked)).status_code,
            (await client.post(logins, content=f'{{"{PLANTED}', headers=asked)).status_code,
            (await client.get(logins, params={"name": PLANTED}, headers=asked)).status_code,
            (await client.get(logins, params={PLANTED: PLANTED}, headers=asked)).status_code,
            (await client.get(logins, headers=wrong)).status_code,
            (await client.get("/admin/pim", params={"x": PLANTED}, headers=admin)).status_code,
            (await client.get("/admin/pim", headers=wrong)).status_code,
            (await client.post("/admin/pim/load", json={PLANTED: PLANTED}, headers=admin)).status_code,
            (await client.get(logins, headers={**asked, "x-big": PLANTED * 6000})).status_code,
        ]
        listed = await client.get(logins, headers=asked)
        daemon.kill(signal.SIGTERM)
        assert await daemon.ended() == 0

    assert statuses == [201, 409, 422, 400, 200, 400, 401, 200, 401, 422, 431]
    assert "password" not in listed.text
    log = json.dumps(daemon.lines)
    assert len(daemon.lines) > len(statuses)
    assert PLANTED not in log
    assert key not in log
