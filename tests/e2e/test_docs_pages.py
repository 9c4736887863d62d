"""The documentation pages in a real browser: they follow the models, and lose nothing that the reader has typed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.e2e.browser import needs_chromium, reading
from tests.e2e.process import Process, running
from tests.helpers import model_text

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def shop(tmp_path: Path) -> AsyncIterator[Process]:
    """A daemon with two models."""
    models = tmp_path / "models"
    models.mkdir()
    for name in ("shop", "library"):
        (models / f"{name}.yaml").write_text(model_text(name), encoding="utf-8")
    async with running(models, tmp_path / "data") as process:
        yield process


async def test_docs_show_a_new_operation_by_themselves_and_keep_what_is_typed(browser: Browser, shop: Process) -> None:
    async with reading(browser, shop.address) as reader:
        page = reader.page
        await page.goto("/docs")
        await page.locator("#operations-shop_Item-shop_Item_create .opblock-summary-control").click()
        body = page.locator("#operations-shop_Item-shop_Item_create textarea")
        await body.fill('{"name": "half typed')
        await page.locator(".operation-filter-input").fill("sho")
        await body.press("End")

        shop.write("shop.yaml", model_text("shop", extra="  - name: Order\n    attributes: {number: string}\n"))
        await expect(page.locator("#operations-shop_Order-shop_Order_list")).to_be_visible()
        await expect(body).to_have_value('{"name": "half typed')
        await expect(body).to_be_focused()
        await page.keyboard.type('er"}')
        await expect(body).to_have_value('{"name": "half typeder"}')
        await expect(page.locator(".operation-filter-input")).to_have_value("sho")


async def test_a_model_has_docs_of_its_own(browser: Browser, shop: Process) -> None:
    async with reading(browser, shop.address) as reader:
        page = reader.page
        await page.goto("/api/shop/-/docs")
        assert page.url == f"{shop.address}/docs?model=shop"
        await expect(page).to_have_title("shop: the API")
        await expect(page.locator("#operations-shop_Item-shop_Item_list")).to_be_visible()
        await expect(page.locator("[id*=library]")).to_have_count(0)
        reference = page.get_by_role("navigation", name="Pages").get_by_role("link", name="Reference")
        await expect(reference).to_have_js_property("href", f"{shop.address}/redoc?model=shop")

        shop.write("shop.yaml", model_text("shop", extra="  - name: Order\n    attributes: {number: string}\n"))
        await expect(page.locator("#operations-shop_Order-shop_Order_list")).to_be_visible()


async def test_docs_have_the_colours_that_the_reader_prefers_and_a_way_back(browser: Browser, shop: Process) -> None:
    for scheme in ("light", "dark"):
        async with reading(browser, shop.address, scheme="dark" if scheme == "dark" else "light") as reader:
            page = reader.page
            await page.goto("/docs?model=shop")
            await expect(page.locator(".opblock").first).to_be_visible()
            light = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
            assert (light == "rgba(0, 0, 0, 0)") is (scheme == "light")
            await page.get_by_role("link", name="watcherd").click()
            await expect(page).to_have_title("Models · watcherd")


async def test_the_reference_shows_what_is_new(browser: Browser, shop: Process) -> None:
    async with reading(browser, shop.address) as reader:
        page = reader.page
        reader.expected = ["OpenAPI Sampler"]  # Redoc's own opinion of a schema
        await page.goto("/redoc?model=shop")
        await expect(page.get_by_role("heading", name="shop").first).to_be_visible()
        shop.write("shop.yaml", model_text("shop", extra="  - name: Order\n    attributes: {number: string}\n"))
        await expect(page.get_by_text("/api/shop/orders").first).to_be_attached()
