"""`make screenshots`: pictures of the dashboard, on a daemon of the sample models with some rows and some faults.

Writes all of them, light and dark, wide and at 400 pixels, to tests/screenshots/all, which is not
kept, and those that the README shows to tests/screenshots. Look at them before they are kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import httpx
from playwright.async_api import Page, expect

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.e2e.browser import chromium, reading  # noqa: E402 - found by the line above
from tests.e2e.process import Process, running  # noqa: E402 - as above

KEPT = ROOT / "tests" / "screenshots"
ALL = KEPT / "all"
IN_README = {"dashboard-light-1280.png": "dashboard.png", "file-light-1280.png": "file.png"}

AUTHORS = {
    "Ursula K. Le Guin": ("1929-10-21", ("The Dispossessed", "The Left Hand of Darkness", "The Lathe of Heaven")),
    "Octavia E. Butler": ("1947-06-22", ("Kindred", "Parable of the Sower", "Dawn")),
    "Stanisław Lem": ("1921-09-12", ("Solaris", "The Cyberiad", "His Master's Voice")),
    "Jorge Luis Borges": ("1899-08-24", ("Ficciones", "The Aleph")),
    "Toni Morrison": ("1931-02-18", ("Beloved", "Song of Solomon", "Jazz")),
    "Italo Calvino": ("1923-10-15", ("Invisible Cities", "Cosmicomics")),
}
BROKEN = """\
domain: invoicing
version: 0.3.0
entities:
  - name: Invoice
    attributes:
      number: {type: string, required: true, uniqe: true}
      customer: {type: reference, reference: customers.Customer}
      total: {type: decimal, scale: two}
      issued: date
      state: {type: enum, values: [open, paid], default: overdue}
    constraints:
      - total must be positive
"""
PAGES = {
    "dashboard": "/",
    "timeline": "/admin/timeline",
    "model": "/admin/models/library",
    "coverage": "/admin/models/order-management",
    "file": "/admin/models/invoicing",
    "data": "/admin/models/library/data?entity=Book&q=subjects__contains%3Dfiction%26sort%3D-published",
    "flows": "/admin/models/order-management/flows",
    "api": "/admin/models/library/api",
    "revisions": "/admin/models/library/revisions",
}


async def main() -> None:
    ALL.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        models = Path(directory) / "pim_models"
        shutil.copytree(ROOT / "pim_models", models)
        # Whether a machine has fonts for its title is not what is shown.
        clinic = models / "clinic.yaml"
        clinic.write_text(
            clinic.read_text(encoding="utf-8").replace("title: 社区门诊", "title: Clinic"), encoding="utf-8"
        )
        async with running(models, Path(directory) / "data") as daemon, chromium() as browser:
            await furnish(daemon)
            schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
            async with traffic(daemon):
                for scheme in schemes:
                    for width in (1280, 400):
                        async with reading(browser, daemon.address, scheme=scheme, width=width) as reader:
                            for name, path in PAGES.items():
                                await picture(reader.page, path, ALL / f"{name}-{scheme}-{width}.png")
    for name, kept in IN_README.items():
        shutil.copy(ALL / name, KEPT / kept)
    sys.stdout.write(f"{len(list(ALL.glob('*.png')))} pictures are in {ALL}, those of the README in {KEPT}\n")


async def furnish(daemon: Process) -> None:
    """Rows, a change, a rejected file, a stale and an unloaded model."""
    async with daemon.client() as client:
        for number, (name, (born, titles)) in enumerate(AUTHORS.items()):
            author = await made(client, "/api/library/authors", name=name, born=born)
            for index, title in enumerate(titles):
                isbn = f"978{number:04}{index:06}"
                fields = {"published": 1950 + number * 9 + index * 4, "subjects": ["fiction"]}
                await made(client, "/api/library/books", isbn=isbn, title=title, authorId=author, **fields)
        library = (daemon.models / "library.yaml").read_text(encoding="utf-8")
        changed = library.replace(
            "website: url\n", "nationality: {type: string, max_length: 40}\n      died: date\n"
        ).replace("max_length: 300", "max_length: 200")
        daemon.write("library.yaml", changed)
        await daemon.wait_for("model.swapped", where=lambda line: line["model"] == "library")
        daemon.write("invoicing.yaml", BROKEN)
        await daemon.wait_for("model.rejected")
        clinic = (daemon.models / "clinic.yaml").read_text(encoding="utf-8")
        seen = len(daemon.lines)
        daemon.write("clinic.yaml", clinic.replace("type: integer", "type: integr", 1))
        await daemon.wait_for("model.rejected", seen)
        (await client.delete("/admin/pim/user-management")).raise_for_status()


async def made(client: httpx.AsyncClient, path: str, **values: object) -> str:
    answer = await client.post(path, json=values)
    answer.raise_for_status()
    return str(answer.json()["id"])


@asynccontextmanager
async def traffic(daemon: Process) -> AsyncIterator[None]:
    """Somebody who asks now and then, so that the figures are not all nought."""

    async def ask() -> None:
        async with daemon.client() as client:
            for number in range(20_000):
                await client.get("/api/library/books?limit=5")
                await client.get("/api/order-management/products" if number % 4 else "/api/order-management/nothing")
                await asyncio.sleep(0.05)

    asking = asyncio.create_task(ask())
    try:
        yield
    finally:
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking


async def picture(page: Page, path: str, file: Path) -> None:
    await page.goto(path)
    await expect(page.locator("#connection")).to_have_text("Live")
    if "/data" in path:
        await expect(page.locator("table[data-part=rows] tbody tr").first).to_be_visible()
    if path == "/":
        async with page.expect_response("**/admin/pulse"):
            pass
    narrow = page.viewport_size is not None and page.viewport_size["width"] < 500
    await page.screenshot(path=file, full_page=narrow or path == "/")


if __name__ == "__main__":
    asyncio.run(main())
