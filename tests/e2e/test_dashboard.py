"""The dashboard in a real browser, on a real process: what an operator sees when files change."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.e2e.browser import needs_chromium, reading
from tests.e2e.process import Process, running
from tests.helpers import model_text
from tests.samples import SAMPLES
from tests.unit.admin.test_live import HEARD

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]


@asynccontextmanager
async def shop_in(directory: Path) -> AsyncIterator[Process]:
    """A daemon with one model, shop, of items that have a name."""
    models = directory / "models"
    models.mkdir()
    (models / "shop.yaml").write_text(model_text("shop"), encoding="utf-8")
    async with running(models, directory / "data") as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Process]:
    """A daemon for all tests that leave the model shop as it is."""
    async with shop_in(tmp_path_factory.mktemp("shared")) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="session")
async def shop(shared: Process) -> AsyncIterator[Process]:
    """The shared daemon, serving shop alone; what a test adds goes with it."""
    yield shared
    for file in shared.models.glob("*.yaml"):
        if file.name != "shop.yaml":
            file.unlink()
    async with shared.client() as client:
        (await client.post("/admin/reload")).raise_for_status()
        (known,) = (await client.get("/admin/pim")).json()["pims"]
        if known["state"] == "unloaded":
            (await client.post("/admin/pim/load", json={"pim_name": "shop"})).raise_for_status()


@pytest_asyncio.fixture(loop_scope="session")
async def own(tmp_path: Path) -> AsyncIterator[Process]:
    """A daemon for one test that changes shop."""
    async with shop_in(tmp_path) as process:
        yield process


async def test_a_page_that_is_open_follows_the_files(browser: Browser, own: Process) -> None:
    async with reading(browser, own.address) as reader:
        page = reader.page
        await page.goto("/")
        row = page.locator("tr[data-model=shop]")
        await expect(row).to_contain_text("Live")
        await expect(page.locator("#connection")).to_have_text("Live")
        await page.evaluate("window.sameDocument = true")

        own.write("shop.yaml", model_text("shop", "color"))
        await expect(page.locator(".timeline .entry").first).to_contain_text("Item.color")
        await expect(row.locator("[data-label=Revision]")).to_have_text("2")

        own.write("shop.yaml", model_text("shop", "color: strnig"))
        finding = page.locator("tr.finding")
        await expect(finding).to_contain_text("shop.yaml:6:14")
        await expect(finding).to_contain_text("`strnig` is not a type")
        await expect(row).to_contain_text("Stale")
        await expect(page).to_have_title("(1) Models · watcherd")

        own.write("shop.yaml", model_text("shop", "color", "weight: float"))
        await expect(finding).to_have_count(0)
        await expect(row).to_contain_text("Live")

        own.write("library.yaml", model_text("library"))
        await expect(page.locator("tr[data-model=library]")).to_contain_text("Live")
        (own.models / "library.yaml").unlink()
        await expect(page.locator("tr[data-model=library]")).to_have_count(0)
        assert await page.evaluate("window.sameDocument") is True


async def test_a_model_is_unloaded_and_loaded_by_hand(browser: Browser, shop: Process) -> None:
    async with reading(browser, shop.address) as reader, shop.client() as client:
        page = reader.page
        await page.goto("/")
        await page.get_by_role("button", name="Unload shop").click()
        await expect(page.get_by_role("dialog")).to_contain_text("Take shop out of service?")
        await page.get_by_role("button", name="Cancel").click()
        assert (await client.get("/api/shop/items")).status_code == 200

        await page.get_by_role("button", name="Unload shop").click()
        await page.get_by_role("dialog").get_by_role("button", name="Unload").click()
        await expect(page.locator("table.models tbody tr")).to_contain_text("Unloaded")
        assert (await client.get("/api/shop/items")).status_code == 404

        await page.get_by_role("button", name="Load shop").click()
        await page.get_by_role("dialog").get_by_role("button", name="Load").click()
        await expect(page.locator("tr[data-model=shop]")).to_contain_text("Live")
        assert (await client.get("/api/shop/items")).status_code == 200


async def test_a_revision_is_rolled_back_to_from_its_page(browser: Browser, own: Process) -> None:
    own.write("shop.yaml", model_text("shop", "color"))
    await own.wait_for("model.swapped")
    async with reading(browser, own.address) as reader, own.client() as client:
        page = reader.page
        await page.goto("/admin/models/shop/revisions")
        await expect(page.locator("#revision-2")).to_contain_text("color: string")
        await page.get_by_role("button", name="Roll back to revision 1").click()
        await page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
        await expect(page.locator(".model-head")).to_contain_text("Rolled back")
        await expect(page.locator("#revision-3")).to_contain_text("Serving")
        refused = await client.post("/api/shop/items", json={"name": "a", "color": "red"})
        assert refused.status_code == 422


async def test_a_model_that_others_need_is_unloaded_only_when_that_is_said(browser: Browser, shop: Process) -> None:
    since = len(shop.lines)
    shop.write("orders.yaml", model_text("orders", "item: {type: reference, reference: shop.Item}"))
    await shop.wait_for("model.loaded", since, where=lambda line: line["model"] == "orders")
    async with reading(browser, shop.address) as reader:
        reader.expected = ["409"]
        page = reader.page
        await page.goto("/")
        await page.get_by_role("button", name="Unload shop").click()
        await page.get_by_role("dialog").get_by_role("button", name="Unload").click()
        await expect(page.locator("#confirm-problem")).to_contain_text("orders refer to shop")
        await page.get_by_role("dialog").get_by_role("button", name="Unload all the same").click()
        await expect(page.locator("tr[data-state=unloaded]")).to_contain_text("shop")


async def test_models_are_found_while_typing(browser: Browser, shop: Process) -> None:
    since = len(shop.lines)
    shop.write("library.yaml", model_text("library"))
    await shop.wait_for("model.loaded", since, where=lambda line: line["model"] == "library")
    async with reading(browser, shop.address) as reader:
        page = reader.page
        await page.goto("/")
        await page.get_by_role("searchbox").press_sequentially("lib")
        await expect(page.locator("tr[data-model]")).to_have_count(1)
        await expect(page.get_by_role("searchbox")).to_be_focused()
        await expect(page).to_have_url(f"{shop.address}/?q=lib")
        shop.write("liberty.yaml", model_text("liberty"))
        await expect(page.locator("tr[data-model]")).to_have_count(2)
        await expect(page.get_by_role("searchbox")).to_have_value("lib")


async def test_a_page_that_is_open_outlives_a_restart(browser: Browser, tmp_path: Path) -> None:
    models, data = tmp_path / "models", tmp_path / "data"
    models.mkdir()
    (models / "shop.yaml").write_text(model_text("shop"), encoding="utf-8")
    async with running(models, data) as first:
        port = str(httpx.URL(first.address).port)
        async with reading(browser, first.address) as reader:
            reader.expected = ["Failed to load resource", "net::ERR"]
            page = reader.page
            await page.goto("/")
            await expect(page.locator("#connection")).to_have_text("Live")
            first.kill(signal.SIGTERM)
            assert await first.ended() == 0
            await expect(page.locator("#connection")).to_have_text("Reconnecting")
            await expect(page.locator("tr[data-model=shop]")).to_be_visible()
            async with running(models, data, "--port", port) as second:
                await expect(page.locator("#connection")).to_have_text("Live")
                second.write("shop.yaml", model_text("shop", "color"))
                await expect(page.locator(".timeline .entry").first).to_contain_text("Item.color")


async def test_with_a_token_the_dashboard_asks_for_it_once(browser: Browser, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "shop.yaml").write_text(model_text("shop"), encoding="utf-8")
    async with (
        running(models, tmp_path / "data", environment={"WATCHERD_ADMIN_TOKEN": "opensesame"}) as daemon,
        reading(browser, daemon.address) as reader,
    ):
        reader.expected = ["401"]
        page = reader.page
        await page.goto("/admin/timeline")
        await page.get_by_label("Admin token").fill("a guess")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_have_text("This is not the token.")
        await page.get_by_label("Admin token").fill("opensesame")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page).to_have_title("Reloads · watcherd")

        await page.goto("/")
        await expect(page.locator("#connection")).to_have_text("Live")
        await page.get_by_role("button", name="Unload shop").click()
        await page.get_by_role("dialog").get_by_role("button", name="Unload").click()
        await expect(page.locator("table.models tbody tr")).to_contain_text("Unloaded")

        await page.get_by_role("button", name="Sign out").click()
        await expect(page).to_have_title("Sign in · watcherd")
        assert (await page.request.get("/admin/pim")).status == 401


async def test_an_empty_directory_says_what_to_do_and_that_works(browser: Browser, tmp_path: Path) -> None:
    async with (
        running(tmp_path / "models", tmp_path / "data") as daemon,
        daemon.client() as client,
        reading(browser, daemon.address) as reader,
    ):
        page = reader.page
        await page.goto("/")
        await expect(page.get_by_role("heading", name="No models yet")).to_be_visible()
        await expect(page.get_by_text(str(daemon.models)).first).to_be_visible()
        shown = await page.locator(".steps pre").first.text_content()
        assert shown is not None
        daemon.write("todo.yaml", shown)
        await expect(page.locator("tr[data-model=todo]")).to_contain_text("Live")
        stored = await client.post("/api/todo/tasks", json={"title": "Write a model"})
        assert stored.status_code == 201


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_keeps_people_from_using_it(browser: Browser, shop: Process, scheme: str) -> None:
    since = len(shop.lines)
    shop.write("broken.yaml", "domain: broken\nentities: 7\n")
    await shop.wait_for("model.rejected", since)
    async with reading(browser, shop.address, scheme="dark" if scheme == "dark" else "light") as reader:
        for path in ("/", "/admin/timeline"):
            await reader.page.goto(path)
            assert await reader.serious_faults() == []
            await reader.check()


PRETEND_TO_HEAR = """
window.EventSource = class extends EventTarget {
  constructor() {
    super();
    window.stream = this;
    window.setTimeout(() => this.dispatchEvent(new Event("open")));
  }
  close() {}
};
"""


async def test_whatever_a_page_hears_of_makes_it_ask_for_itself(browser: Browser, shop: Process) -> None:
    async with reading(browser, shop.address) as reader:
        page = reader.page
        await page.add_init_script(PRETEND_TO_HEAR)
        await page.goto("/")
        await expect(page.locator("#connection")).to_have_text("Live")
        for name in sorted(HEARD):
            async with page.expect_request(lambda one: "hx-request" in one.headers):
                await page.evaluate("name => window.stream.dispatchEvent(new MessageEvent(name))", name)


PRETEND_TO_BE_HIDDEN = """
let hidden = false;
Object.defineProperty(document, "hidden", { get: () => hidden });
window.hide = (now) => {
  hidden = now;
  document.dispatchEvent(new Event("visibilitychange"));
};
"""


async def test_a_page_that_nobody_sees_asks_for_nothing_and_catches_up_when_it_is_seen(
    browser: Browser, shop: Process
) -> None:
    async with reading(browser, shop.address) as reader:
        page = reader.page
        await page.add_init_script(PRETEND_TO_BE_HIDDEN)
        await page.clock.install()
        await page.goto("/")
        await expect(page.locator("#connection")).to_have_text("Live")
        asked: list[str] = []
        await page.evaluate("""() => {
          document.querySelector("[data-filter]").dispatchEvent(new Event("input", { bubbles: true }));
          window.hide(true);  // just before it would have asked for what is chosen
        }""")
        page.on("request", lambda request: asked.append(request.url))
        since = len(shop.lines)
        shop.write("library.yaml", model_text("library"))
        await shop.wait_for("model.loaded", since, where=lambda line: line["model"] == "library")
        await page.clock.run_for(10_000)
        await expect(page.locator("tr[data-model]")).to_have_count(1)
        assert asked == []
        await page.evaluate("window.hide(false)")
        await expect(page.locator("tr[data-model=library]")).to_be_visible()
        async with page.expect_request("**/admin/pulse"):
            await page.clock.run_for(4_000)


async def test_the_pages_of_the_sample_models_are_whole_on_a_small_screen(browser: Browser, tmp_path: Path) -> None:
    async with (
        running(SAMPLES, tmp_path / "data") as daemon,
        reading(browser, daemon.address, width=390) as reader,
    ):
        for model in ("library", "order-management"):
            for tab in ("overview", "flows"):
                await reader.page.goto(f"/admin/models/{model}/{tab}")
                assert await reader.serious_faults() == [], f"{model}/{tab}"
                assert await reader.page.evaluate("document.documentElement.scrollWidth") <= 390
        await reader.page.goto("/admin/models/library")
        for table in await reader.page.locator("table.attributes").all():
            assert await table.evaluate("table => table.scrollWidth <= table.parentElement.clientWidth")


async def test_what_an_open_page_asks_for_by_itself_is_not_told_in_the_log(browser: Browser, shop: Process) -> None:
    since = len(shop.lines)
    async with reading(browser, shop.address) as reader:
        async with reader.page.expect_response("**/admin/pulse"):
            await reader.page.goto("/")
        async with shop.client() as client:
            assert (await client.get("/admin/pulse")).status_code == 200
            await client.get("/api/shop/items")
        told = await shop.wait_for("request", since, where=lambda line: "items" in line["path"])
    assert told["status"] == 200
    assert not [line for line in shop.of("request") if "pulse" in line["path"]]
