"""What the tests of the data browser have in common: a shop to look at, and how its pages are handled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from playwright.async_api import Locator, Page

from tests.e2e.process import Process, running

SHOP = """\
domain: shop
entities:
  - name: Maker
    attributes:
      name: {type: string, required: true}
  - name: Item
    constraints: [the moon must be full]
    attributes:
      sku: {type: string, required: true, unique: true, pattern: '^[A-Z][0-9]+$'}
      name: {type: string, required: true, max_length: 40}
      price: {type: decimal, scale: 2}
      pieces: {type: integer, default: 0, minimum: 0}
      weight: float
      color: {type: enum, values: [red, green]}
      sold: boolean
      since: date
      seen: datetime
      opens: time
      tags: {type: 'string[]', default: []}
      sizes: {type: 'integer[]', default: []}
      more: json
      secret: {type: string, write_only: true}
      makerId: {type: reference, reference: Maker}
"""


@asynccontextmanager
async def shop_in(directory: Path) -> AsyncIterator[Process]:
    models = directory / "models"
    models.mkdir()
    (models / "shop.yaml").write_text(SHOP, encoding="utf-8")
    async with running(models, directory / "data") as process:
        yield process


async def emptied(shop: Process) -> None:
    """Take every row of the shop away."""
    async with shop.client() as client:
        for plural in ("items", "makers"):  # items refer to makers
            found = (await client.get(f"/api/shop/{plural}", params={"limit": 100})).json()
            assert found["next"] is None
            for row in found["items"]:
                (await client.delete(f"/api/shop/{plural}/{row['id']}")).raise_for_status()


async def stored(client: httpx.AsyncClient, path: str, **values: object) -> str:
    answer = await client.post(path, json=values)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def rows(page: Page) -> Locator:
    return page.locator("table[data-part=rows] tbody tr")


async def save(page: Page) -> None:
    await page.get_by_role("button", name="Save").click()
