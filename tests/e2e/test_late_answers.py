"""Answers overtake each other: what a page shows, and what it does, is always what was asked for last."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Request, expect

from tests.e2e.browser import needs_chromium, reading
from tests.e2e.data import emptied, rows, save, shop_in, stored
from tests.e2e.process import Process
from tests.e2e.slow import Slow
from tests.helpers import model_text

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]

ITEMS = "/admin/models/shop/data?entity=Item"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Process]:
    async with shop_in(tmp_path_factory.mktemp("shared")) as process:
        process.write("library.yaml", model_text("library"))
        await process.wait_for("model.loaded", where=lambda line: line["model"] == "library")
        yield process


@pytest_asyncio.fixture(loop_scope="session")
async def shop(shared: Process) -> AsyncIterator[Process]:
    """The shared daemon, without a row; the rows of a test go with it."""
    yield shared
    await emptied(shared)


@pytest_asyncio.fixture(loop_scope="session")
async def client(shop: Process) -> AsyncIterator[httpx.AsyncClient]:
    async with shop.client() as made:
        made.base_url = httpx.URL(f"{shop.address}/api/shop")
        yield made


async def many(client: httpx.AsyncClient) -> None:
    rows = [{"sku": f"A{number}", "name": f"Item {number:02}", "pieces": number} for number in range(60)]
    assert (await client.post("/items", json=rows)).status_code == 201


async def two(client: httpx.AsyncClient) -> tuple[str, str]:
    trowel = await stored(client, "/items", sku="A1", name="Trowel")
    return trowel, await stored(client, "/items", sku="A2", name="Spade")


@pytest.mark.parametrize("then", ["search", "sort", "next"])
async def test_rows_are_those_that_were_asked_for_last(
    browser: Browser, shop: Process, client: httpx.AsyncClient, then: str
) -> None:
    await many(client)
    async with reading(browser, shop.address) as reader:
        page = reader.page
        first = "icontains=item+1" if then != "next" else "cursor="
        late = await Slow.on(page, lambda request: first in request.url and "/items?" in request.url)
        await page.goto(ITEMS)
        count = page.locator("[data-part=count]")
        await expect(count).to_have_text("1–25 of 60")
        if then == "next":
            await page.get_by_role("button", name="Next").click()
            await late.asked()
            await page.get_by_role("button", name="pieces").click()  # begins at the first page again
            await expect(page.locator("th[aria-sort=ascending]")).to_have_text("pieces")
            shown = "1–25 of 60"
        else:
            await page.get_by_role("button", name="Add a filter").click()
            await page.get_by_label("Attribute of filter 1").select_option("name")
            await page.get_by_label("Value of filter 1").fill("item 1")
            await late.asked()
            if then == "search":
                await page.get_by_label("Value of filter 1").fill("item 59")
                shown = "1–1 of 1"
            else:
                await page.get_by_role("button", name="Remove filter 1").click()
                await page.get_by_role("button", name="pieces").click()
                await expect(page.locator("th[aria-sort=ascending]")).to_have_text("pieces")
                shown = "1–25 of 60"
        await expect(count).to_have_text(shown)
        await late.arrive()
        await expect(count).to_have_text(shown)
        if then == "next":
            await expect(page.get_by_role("button", name="Previous")).to_be_disabled()
            await page.get_by_role("button", name="Next").click()
            await expect(count).to_have_text("26–50 of 60")


async def test_the_page_behind_is_turned_to_once_whatever_news_come_on_the_way(
    browser: Browser, shop: Process, client: httpx.AsyncClient
) -> None:
    await many(client)
    async with reading(browser, shop.address) as reader:
        page = reader.page
        late = await Slow.on(page, lambda request: "cursor=" in request.url)
        async with page.expect_response("**/items/-/events"):
            await page.goto(ITEMS)
        count = page.locator("[data-part=count]")
        await expect(count).to_have_text("1–25 of 60")
        await page.get_by_role("button", name="Next").click()
        await late.asked()
        await stored(client, "/items", sku="B1", name="From elsewhere")
        await expect(count).to_have_text("26–50 of 61")
        await late.arrive()
        await expect(count).to_have_text("26–50 of 61")
        await page.get_by_role("button", name="Next").click()
        await expect(count).to_have_text("51–61 of 61")


@pytest.mark.parametrize(
    ("first", "second"),
    [("Edit", "Edit"), ("Edit", "New"), ("Edit", "Delete"), ("Delete", "Edit"), ("Delete", "Delete")],
)
async def test_of_two_rows_the_one_that_was_chosen_last_is_asked_about(
    browser: Browser, shop: Process, client: httpx.AsyncClient, first: str, second: str
) -> None:
    trowel, spade = await two(client)
    async with reading(browser, shop.address) as reader:
        page = reader.page
        late = await Slow.on(page, lambda request: request.url.endswith(trowel))
        await page.goto(ITEMS)
        await page.get_by_role("button", name=f"{first} Trowel").click()
        await late.asked()
        await page.get_by_role("button", name="New Item" if second == "New" else f"{second} Spade").click()
        title = page.get_by_role("dialog").get_by_role("heading")
        expected = {"Edit": "Edit Item: Spade", "Delete": "Delete Item Spade?", "New": "New Item"}[second]
        await expect(title).to_have_text(expected)
        await late.arrive()
        await expect(title).to_have_text(expected)
        if second == "Delete":
            await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
            await expect(rows(page)).to_have_count(1)
            assert (await client.get(f"/items/{spade}")).status_code == 404
            assert (await client.get(f"/items/{trowel}")).status_code == 200


async def test_a_row_that_is_gone_is_not_complained_of_once_another_is_chosen(
    browser: Browser, shop: Process, client: httpx.AsyncClient
) -> None:
    trowel, _ = await two(client)
    async with reading(browser, shop.address) as reader:
        reader.expected = ["404"]
        page = reader.page
        late = await Slow.on(page, lambda request: request.url.endswith(trowel))
        await page.route("**/items/-/events", lambda route: route.abort())  # the page does not hear of it
        reader.expected.append("net::ERR_FAILED")
        await page.goto(ITEMS)
        await expect(rows(page)).to_have_count(2)
        (await client.delete(f"/items/{trowel}")).raise_for_status()
        await page.get_by_role("button", name="Edit Trowel").click()
        await late.asked()
        await page.get_by_role("button", name="Edit Spade").click()
        title = page.get_by_role("dialog").get_by_role("heading")
        await expect(title).to_have_text("Edit Item: Spade")
        await late.arrive()
        await expect(page.locator("[data-part=problem]")).to_be_hidden()
        await expect(title).to_have_text("Edit Item: Spade")


@pytest.mark.parametrize("outcome", ["written", "refused", "overtaken"])
async def test_what_becomes_of_a_form_that_was_left_does_not_touch_the_next_one(
    browser: Browser, shop: Process, client: httpx.AsyncClient, outcome: str
) -> None:
    trowel, _ = await two(client)
    async with reading(browser, shop.address) as reader:
        reader.expected = ["412", "422"]
        page = reader.page
        late = await Slow.on(page, lambda request: request.method == "PATCH")
        await page.goto(ITEMS)
        await page.get_by_role("button", name="Edit Trowel").click()
        form = page.locator("#row")
        await form.get_by_label("sku").fill("x" if outcome == "refused" else "A3")
        if outcome == "overtaken":
            (await client.patch(f"/items/{trowel}", json={"pieces": 7})).raise_for_status()
        await save(page)
        await late.asked()
        await form.get_by_role("button", name="Cancel").click()
        await page.get_by_role("button", name="Edit Spade").click()
        await expect(form.get_by_label("sku")).to_have_value("A2")
        await form.get_by_label("name").fill("Big spade")
        await late.arrive()
        await expect(form.get_by_role("heading")).to_have_text("Edit Item: Spade")
        await expect(form.get_by_role("alert")).to_be_hidden()
        await expect(form.locator("#field-sku-error")).to_be_empty()
        await expect(form.get_by_label("sku")).to_have_value("A2")
        await save(page)
        await expect(form).to_be_hidden()
        await expect(rows(page).nth(1)).to_contain_text("Big spade")
        await expect(rows(page).nth(0)).to_contain_text("A3" if outcome == "written" else "A1")


async def test_keys_are_offered_for_what_is_typed_and_not_for_what_was(
    browser: Browser, shop: Process, client: httpx.AsyncClient
) -> None:
    acme, zeta = await stored(client, "/makers", name="Acme"), await stored(client, "/makers", name="Zeta")
    async with reading(browser, shop.address) as reader:
        page = reader.page
        late = await Slow.on(page, lambda request: "icontains=acm" in request.url)
        await page.goto(ITEMS)
        await page.get_by_role("button", name="New Item").click()
        field, offered = page.locator("#field-makerId"), page.locator("#field-makerId-choices option")
        await field.fill("acm")
        await late.asked()
        await field.fill("zet")
        await expect(offered).to_have_count(1)
        await expect(offered).to_have_attribute("value", zeta)
        await late.arrive()
        await expect(offered).to_have_attribute("value", zeta)
        assert acme != zeta


async def test_what_becomes_of_a_question_that_was_left_does_not_answer_the_next_one(
    browser: Browser, shop: Process
) -> None:
    def takes_it_out(request: Request) -> bool:
        return request.method == "DELETE" and request.url.endswith("/admin/pim/library")

    async with reading(browser, shop.address) as reader, shop.client() as client:
        page = reader.page
        late = await Slow.on(page, takes_it_out, read=False)
        await page.goto("/")
        await page.get_by_role("button", name="Unload library").click()
        await page.get_by_role("dialog").get_by_role("button", name="Unload").click()
        await late.asked()
        await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        await page.get_by_role("button", name="Unload shop").click()
        await expect(page.get_by_role("dialog").get_by_role("button", name="Unload")).to_be_enabled()
        await late.arrive()
        await expect(page.get_by_role("dialog")).to_contain_text("Take shop out of service?")
        (await client.post("/admin/pim/load", json={"pim_name": "library"})).raise_for_status()
