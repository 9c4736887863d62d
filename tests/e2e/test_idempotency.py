"""An idempotency key outlives the process that answered it."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.e2e.models import shop
from tests.e2e.process import running


async def test_a_key_is_remembered_after_the_daemon_was_killed(tmp_path: Path) -> None:
    models, data = tmp_path / "models", tmp_path / "data"
    headers = {"idempotency-key": "one"}
    async with running(models, data) as daemon, daemon.client(headers=headers) as client:
        daemon.write("shop.yaml", shop())
        await client.post("/admin/reload")
        first = await client.post("/api/shop/items", json={"name": "a"})
        assert first.status_code == 201
        daemon.kill(signal.SIGKILL)
        await daemon.ended()
    async with running(models, data) as daemon, daemon.client(headers=headers) as client:
        again = await client.post("/api/shop/items", json={"name": "a"})
        other = await client.post("/api/shop/items", json={"name": "b"})
        rows = (await client.get("/api/shop/items")).json()
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["etag"] == first.headers["etag"]
    assert other.status_code == 422
    assert rows["total"] == 1
