"""`/metrics` of a real process agrees with what the process did."""

from __future__ import annotations

from tests.e2e.models import BROKEN, shop
from tests.e2e.process import Process, once
from tests.e2e.test_workers import figures


async def test_metrics_tell_what_happened_and_forget_an_unloaded_model(daemon: Process) -> None:
    async with daemon.client() as client:
        daemon.write("shop.yaml", shop())
        daemon.write("near.yaml", shop(domain="near"))
        await client.post("/admin/reload")
        await client.post("/api/shop/items", json={"name": "a"})
        await client.get("/api/near/items")
        await client.get("/static/docs/none.js")
        await client.post("/admin/pim/plan", content=shop(), headers={"Content-Type": "application/yaml"})
        since = len(daemon.lines)
        daemon.write("shop.yaml", BROKEN)
        await daemon.wait_for("model.rejected", since)
        created = ("watcherd_request_seconds_count", ("model", "shop"), ("operation", "POST /items"), ("status", "201"))
        # Of several workers, one that does not answer in time has its part in the next scrape.
        scraped = await once(lambda: client.get("/metrics"), lambda answer: created in figures(answer.text))
        text, values = scraped.text, figures(scraped.text)
        assert values[created] == 1
        assert values["watcherd_requests_in_flight", ("model", "-")] == 1  # the scrape itself
        assert values["watcherd_models_rejected",] == 1
        assert values["watcherd_revisions_live",] == 2
        assert values["watcherd_generation",] == scraped_generation(scraped.headers)
        assert values["watcherd_database_connections",] > 0
        assert ("watcherd_reload_seconds_count", ("outcome", "changed"), ("stage", "compile")) in values
        assert "/none.js" not in text
        planned = (("model", "-"), ("operation", "POST /admin/pim/plan"), ("status", "200"))
        assert values["watcherd_request_seconds_count", *planned] == 1

        since = len(daemon.lines)
        await client.delete("/admin/pim/near")
        await daemon.wait_for("model.unloaded", since)
        await once(lambda: client.get("/metrics"), lambda answer: 'model="near"' not in answer.text)


def scraped_generation(headers: object) -> int:
    return int(headers["watcherd-generation"])  # type: ignore[index]  # as any mapping
