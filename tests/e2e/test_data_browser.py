"""Rows in the browser: found, written and removed through the models' own API, next to others who do the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Route, expect

from tests.e2e.browser import needs_chromium, reading
from tests.e2e.data import SHOP, emptied, rows, save, shop_in, stored
from tests.e2e.process import Process, running
from tests.helpers import model_text

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Process]:
    """A daemon for all tests that leave the model as it is."""
    async with shop_in(tmp_path_factory.mktemp("shared")) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="session")
async def shop(shared: Process) -> AsyncIterator[Process]:
    """The shared daemon, without a row; the rows of a test go with it."""
    yield shared
    await emptied(shared)


@pytest_asyncio.fixture(loop_scope="session")
async def own(tmp_path: Path) -> AsyncIterator[Process]:
    """A daemon for one test that changes the model."""
    async with shop_in(tmp_path) as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stale(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Process]:
    """A daemon with one row, whose file has been rejected since; to be looked at."""
    async with shop_in(tmp_path_factory.mktemp("stale")) as process:
        async with process.client() as client:
            await stored(client, "/api/shop/items", sku="B1", name="Trowel")
        process.write("shop.yaml", SHOP.replace("weight: float", "weight: flaot"))
        await process.wait_for("model.rejected")
        yield process


@pytest_asyncio.fixture(loop_scope="session")
async def client(shop: Process) -> AsyncIterator[httpx.AsyncClient]:
    async with shop.client() as made:
        made.base_url = httpx.URL(f"{shop.address}/api/shop")
        yield made


async def test_a_row_that_is_typed_in_is_there_for_every_client(
    browser: Browser, shop: Process, client: httpx.AsyncClient
) -> None:
    maker = await stored(client, "/makers", name="Acme")
    async with reading(browser, shop.address) as reader:
        reader.expected = ["422"]
        page = reader.page
        await page.goto("/admin/models/shop/data?entity=Item")
        await expect(page.get_by_text("There is no Item yet.")).to_be_visible()
        await page.get_by_role("button", name="New Item").click()
        form = page.locator("#row")
        await form.get_by_label("sku").fill("x")
        await form.get_by_label("more").fill("{broken")
        await save(page)
        await expect(form.locator("#field-more-error")).to_contain_text("This is not JSON")
        await form.get_by_label("more").fill('{"any": [1, 2]}')
        await save(page)
        await expect(form.locator("#field-sku-error")).to_contain_text("expected text that matches")
        await expect(form.locator("#field-name-error")).to_contain_text("required")
        await expect(form.get_by_label("name")).to_be_focused()  # the first of them

        await form.get_by_label("sku").fill("A1")
        await form.get_by_label("name").fill("Trowel")
        await form.get_by_label("price").fill("12.50")
        await form.get_by_label("pieces").fill("9007199254740993")  # more than a script's numbers hold
        await form.get_by_label("weight").fill("0.35")
        await form.get_by_label("color").select_option("green")
        await form.get_by_label("sold").select_option("true")
        await form.get_by_label("since").fill("2026-01-31")
        await form.get_by_label("seen").fill("2026-01-31T12:30:15")
        await form.get_by_label("opens").fill("08:30:00")
        await form.get_by_label("tags").fill('garden\nsteel, "hard"')
        await form.get_by_label("sizes").fill("1\n2")
        await form.get_by_label("secret").fill("hush")
        await form.get_by_label("makerId").press_sequentially("acm")
        await expect(form.locator("#field-makerId-choices option")).to_have_attribute("value", maker)
        await form.get_by_label("makerId").fill(maker)
        await save(page)
        await expect(rows(page)).to_have_count(1)
        await expect(rows(page)).to_contain_text("9007199254740993")
        await expect(rows(page).get_by_role("link", name="Acme")).to_be_visible()
        assert "hush" not in await page.content()

    (row,) = (await client.get("/items")).json()["items"]
    assert {name: value for name, value in row.items() if name not in {"id", "created_at", "updated_at"}} == {
        "sku": "A1",
        "name": "Trowel",
        "price": "12.50",
        "pieces": 9007199254740993,
        "weight": 0.35,
        "color": "green",
        "sold": True,
        "since": "2026-01-31",
        "seen": "2026-01-31T12:30:15.000000Z",
        "opens": "08:30:00.000000",
        "tags": ["garden", 'steel, "hard"'],
        "sizes": [1, 2],
        "more": {"any": [1, 2]},
        "makerId": maker,
    }


async def test_an_edit_sends_what_was_touched_and_overwrites_nobody(
    browser: Browser, shop: Process, client: httpx.AsyncClient
) -> None:
    precise = {"seen": "2026-01-31T12:30:15.123456Z", "opens": "08:30:00.000000"}
    key = await stored(
        client, "/items", sku="A1", name="Trowel", price="12.50", color="red", tags=["garden"], **precise
    )
    async with reading(browser, shop.address) as reader:
        reader.expected = ["412"]
        page = reader.page
        await page.goto("/admin/models/shop/data?entity=Item")
        await page.get_by_role("button", name="Edit Trowel").click()
        form = page.locator("#row")
        await expect(form.get_by_label("opens")).to_have_value("08:30:00")
        await expect(form.get_by_label("seen")).to_have_value("2026-01-31T12:30:15.123")
        await form.get_by_label("name").fill("Big trowel")
        await form.get_by_label("color").select_option("")
        assert (await client.patch(f"/items/{key}", json={"price": "13.00"})).status_code == 200
        await save(page)
        await expect(form.get_by_role("alert")).to_contain_text("Somebody else has changed this row")
        await expect(form.get_by_label("price")).to_have_value("13.00")
        await expect(form.get_by_label("name")).to_have_value("Big trowel")
        await save(page)
        await expect(rows(page)).to_contain_text("Big trowel")

    row = (await client.get(f"/items/{key}")).json()
    assert (row["name"], row["color"], row["price"], row["tags"]) == ("Big trowel", None, "13.00", ["garden"])
    assert {name: row[name] for name in precise} == precise


async def test_what_an_input_cannot_hold_is_not_sent_after_somebody_else_has_written(
    browser: Browser, shop: Process, client: httpx.AsyncClient
) -> None:
    key = await stored(client, "/items", sku="A1", name="Trowel", price="12.50", tags=["garden\rshed"])
    async with reading(browser, shop.address) as reader:
        reader.expected = ["412"]
        page = reader.page
        await page.goto("/admin/models/shop/data?entity=Item")
        await page.get_by_role("button", name="Edit Trowel").click()
        form = page.locator("#row")
        await form.get_by_label("name").fill("Big trowel")
        assert (await client.patch(f"/items/{key}", json={"price": "13.00"})).status_code == 200
        await save(page)
        await expect(form.get_by_role("alert")).to_contain_text("Somebody else has changed this row")
        await save(page)
        await expect(rows(page)).to_contain_text("Big trowel")

    row = (await client.get(f"/items/{key}")).json()
    assert (row["name"], row["price"], row["tags"]) == ("Big trowel", "13.00", ["garden\rshed"])


async def test_a_row_is_deleted_only_when_it_is_meant_and_as_it_was_seen(
    browser: Browser, shop: Process, client: httpx.AsyncClient
) -> None:
    maker = await stored(client, "/makers", name="Acme")
    await stored(client, "/items", sku="A1", name="Trowel", makerId=maker)
    async with reading(browser, shop.address) as reader:
        reader.expected = ["409"]
        page = reader.page
        await page.goto("/admin/models/shop/data?entity=Maker")
        await page.get_by_role("button", name="Delete Acme").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(page.locator("#confirm-problem")).to_contain_text("Item")
        await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()

        await page.goto("/admin/models/shop/data?entity=Item")
        await page.get_by_role("button", name="Delete Trowel").click()
        await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        assert (await client.get("/items")).json()["total"] == 1
        await page.get_by_role("button", name="Delete Trowel").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(page.get_by_text("There is no Item yet.")).to_be_visible()
    assert (await client.get("/items")).json()["total"] == 0


async def test_rows_are_filtered_sorted_and_paged_and_the_address_says_how(
    browser: Browser, shop: Process, client: httpx.AsyncClient
) -> None:
    many = [
        {"sku": f"A{number}", "name": f"Item {number:02}", "pieces": number, "color": "red" if number % 2 else None}
        for number in range(60)
    ]
    assert (await client.post("/items", json=many)).status_code == 201
    async with reading(browser, shop.address) as reader:
        page = reader.page
        await page.goto("/admin/models/shop/data?entity=Item")
        count = page.locator("[data-part=count]")
        await expect(count).to_have_text("1–25 of 60")
        await page.get_by_role("button", name="Next").click()
        await page.get_by_role("button", name="Next").click()
        await expect(count).to_have_text("51–60 of 60")
        await expect(page.get_by_role("button", name="Next")).to_be_disabled()
        await page.get_by_role("button", name="Previous").click()
        await expect(count).to_have_text("26–50 of 60")
        await page.get_by_role("button", name="Previous").dblclick()
        await expect(count).to_have_text("1–25 of 60")

        await page.get_by_role("button", name="pieces").click()
        await page.get_by_role("button", name="pieces").click()
        await expect(rows(page).first).to_contain_text("Item 59")
        await expect(page.locator("th[aria-sort=descending]")).to_have_text("pieces")

        await page.get_by_role("button", name="Add a filter").click()
        await page.get_by_label("Attribute of filter 1").select_option("name")
        await page.get_by_label("Value of filter 1").fill("item 1")
        await expect(count).to_have_text("1–10 of 10")
        await page.get_by_role("button", name="Add a filter").click()
        await page.get_by_label("Attribute of filter 2").select_option("color")
        await page.get_by_label("Comparison of filter 2").select_option("isnull")
        await expect(count).to_have_text("1–5 of 5")
        await expect(rows(page).first).to_contain_text("Item 18")

        await page.reload()
        await expect(count).to_have_text("1–5 of 5")
        await expect(page.get_by_label("Value of filter 1")).to_have_value("item 1")
        async with page.expect_download() as download:
            await page.get_by_role("link", name="CSV", exact=True).click()
        exported = Path(await (await download.value).path()).read_text(encoding="utf-8")
        assert len(exported.splitlines()) == 6
        await page.get_by_role("button", name="Remove filter 1").click()
        await expect(count).to_have_text("1–25 of 30")


async def test_a_page_that_cannot_be_had_leaves_the_reader_where_he_is(
    browser: Browser, shop: Process, client: httpx.AsyncClient
) -> None:
    many = [{"sku": f"A{number}", "name": f"Item {number:02}"} for number in range(60)]
    assert (await client.post("/items", json=many)).status_code == 201
    async with reading(browser, shop.address) as reader:
        reader.expected = ["net::ERR_FAILED"]
        page = reader.page
        await page.goto("/admin/models/shop/data?entity=Item")
        count = page.locator("[data-part=count]")
        await expect(count).to_have_text("1–25 of 60")
        await page.route("**/items?*cursor=*", lambda route: route.abort(), times=1)
        await page.get_by_role("button", name="Next").click()
        await expect(page.locator("[data-part=problem]")).to_have_text("The daemon does not answer.")
        await expect(count).to_have_text("1–25 of 60")
        await expect(page.get_by_role("button", name="Previous")).to_be_disabled()
        await page.get_by_role("button", name="Next").click()
        await expect(count).to_have_text("26–50 of 60")
        await expect(page.get_by_role("button", name="Next")).to_be_focused()


async def test_what_others_write_appears_by_itself(browser: Browser, shop: Process, client: httpx.AsyncClient) -> None:
    async with reading(browser, shop.address) as reader:
        page = reader.page
        async with page.expect_response("**/items/-/events"):
            await page.goto("/admin/models/shop/data?entity=Item")
        key = await stored(client, "/items", sku="B1", name="From elsewhere")
        await expect(rows(page)).to_contain_text("From elsewhere")
        (await client.patch(f"/items/{key}", json={"name": "Written again"})).raise_for_status()
        await expect(rows(page)).to_contain_text("Written again")
        (await client.delete(f"/items/{key}")).raise_for_status()
        await expect(page.get_by_text("There is no Item yet.")).to_be_visible()


async def test_where_news_may_have_been_missed_the_rows_are_asked_for(
    browser: Browser, shop: Process, client: httpx.AsyncClient
) -> None:
    missed = asyncio.Event()

    async def silent(route: Route) -> None:
        await missed.wait()
        await route.fulfill(content_type="text/event-stream", body="retry: 600000\nevent: reset\ndata: {}\n\n")

    async with reading(browser, shop.address) as reader:
        page = reader.page
        await page.route("**/items/-/events", silent, times=1)
        await page.goto("/admin/models/shop/data?entity=Item")
        await expect(page.get_by_text("There is no Item yet.")).to_be_visible()
        await stored(client, "/items", sku="B1", name="From elsewhere")
        missed.set()
        await expect(rows(page)).to_contain_text("From elsewhere")


async def test_no_digit_of_an_integer_is_lost_wherever_it_stands(
    browser: Browser, shop: Process, client: httpx.AsyncClient
) -> None:
    more = {"deep": [9007199254740995]}
    exact = {"pieces": 9007199254740993, "sizes": [9007199254740993, 1], "more": more}
    key = await stored(client, "/items", sku="A1", name="Trowel", **exact)
    async with reading(browser, shop.address) as reader:
        page = reader.page
        await page.goto("/admin/models/shop/data?entity=Item")
        for shown in ("9007199254740993, 1", '{"deep":[9007199254740995]}'):
            await expect(rows(page).get_by_text(shown, exact=True)).to_be_visible()
        await expect(rows(page).locator("td.number", has_text="9007199254740993")).to_be_visible()
        await page.get_by_role("button", name="Edit Trowel").click()
        form = page.locator("#row")
        await expect(form.get_by_label("pieces")).to_have_value("9007199254740993")
        await form.get_by_label("more").fill('{"deep": [9007199254740995], "deeper": 9007199254740997}')
        await form.get_by_label("sizes").fill("9007199254740993\n007")
        await form.get_by_label("pieces").fill("9007199254740997")
        await save(page)
        await expect(rows(page)).to_contain_text("deeper")

    row = (await client.get(f"/items/{key}")).json()
    assert row["pieces"] == 9007199254740997
    assert row["sizes"] == [9007199254740993, 7]
    assert row["more"] == more | {"deeper": 9007199254740997}


async def test_json_becomes_what_was_typed_where_the_api_merges_it(
    browser: Browser, shop: Process, client: httpx.AsyncClient
) -> None:
    before = {"gone": 1, "kept": None, "deep": {"gone": {"a": 1}, "same": [1, None]}, "list": [1]}
    key = await stored(client, "/items", sku="A1", name="Trowel", more=before)
    async with reading(browser, shop.address) as reader:
        page = reader.page
        await page.goto("/admin/models/shop/data?entity=Item")
        await page.get_by_role("button", name="Edit Trowel").click()
        more = page.locator("#row").get_by_label("more")
        after = {"kept": None, "deep": {"same": [1, None], "new": {}}, "list": {"now": "an object"}}
        await more.fill(json.dumps(after))
        await save(page)
        await expect(page.locator("#row")).to_be_hidden()
    assert (await client.get(f"/items/{key}")).json()["more"] == after


async def test_a_null_inside_json_is_kept_and_so_is_all_else_of_the_row(
    browser: Browser, shop: Process, client: httpx.AsyncClient
) -> None:
    rest = {"price": "12.50", "pieces": 9007199254740993, "seen": "2026-01-31T12:30:15.123456Z", "tags": ["a", ""]}
    key = await stored(client, "/items", sku="A1", name="Trowel", more={"a": 1}, secret="hush", **rest)
    asked: list[tuple[str, str | None]] = []
    async with reading(browser, shop.address) as reader:
        reader.expected = ["412"]
        page = reader.page
        page.on("request", lambda request: asked.append((request.method, request.post_data)))
        await page.goto("/admin/models/shop/data?entity=Item")
        await page.get_by_role("button", name="Edit Trowel").click()
        form = page.locator("#row")
        await form.get_by_label("more").fill('{"a": {"none": null, "big": 9007199254740995}}')
        (await client.patch(f"/items/{key}", json={"name": "Rake"})).raise_for_status()
        await save(page)
        await expect(form.locator(".problem")).to_contain_text("Somebody else has changed this row")
        await save(page)
        await expect(form).to_be_hidden()
    row = (await client.get(f"/items/{key}")).json()
    assert row["more"] == {"a": {"none": None, "big": 9007199254740995}}
    assert {name: row[name] for name in rest} == rest
    assert row["name"] == "Rake", "what somebody else has written is not taken back"
    assert [method for method, _ in asked if method in {"PUT", "PATCH"}] == ["PUT", "PUT"]
    assert all("secret" not in (body or "") for _, body in asked), "so it stays as it is"


async def test_what_happens_to_other_models_leaves_the_rows_and_what_is_typed_as_they_are(
    browser: Browser, own: Process
) -> None:
    async with own.client() as client:
        await stored(client, "/api/shop/items", sku="B1", name="Trowel")
    async with reading(browser, own.address) as reader:
        page = reader.page
        await page.goto("/admin/models/shop/data?entity=Item")
        await expect(rows(page)).to_have_count(1)
        await page.get_by_role("button", name="Add a filter").click()
        await page.evaluate("""() => {
            window.row = document.querySelector("table[data-part=rows] tbody tr");
            window.swapped = new Promise((done) => document.addEventListener("htmx:after:swap", done, { once: true }));
        }""")
        own.write("library.yaml", model_text("library"))
        await page.evaluate("window.swapped.then(() => true)")
        assert await page.evaluate("window.row.isConnected")
        await expect(rows(page)).to_have_count(1)
        await expect(page.get_by_label("Attribute of filter 1")).to_be_visible()


async def test_a_new_attribute_is_a_new_column_and_a_form_that_is_open_keeps_what_is_typed(
    browser: Browser, own: Process
) -> None:
    async with own.client() as client:
        await stored(client, "/api/shop/items", sku="B1", name="Trowel")
    async with reading(browser, own.address) as reader:
        page = reader.page
        await page.goto("/admin/models/shop/data?entity=Item")
        await expect(rows(page)).to_have_count(1)
        await page.get_by_role("button", name="New Item").click()
        await page.locator("#row").get_by_label("name").fill("Half typed")
        own.write("shop.yaml", SHOP + "      brand: {type: string, default: none}\n")
        await expect(page.locator("#row .notice")).to_contain_text("The model has changed")
        await expect(page.locator("#row").get_by_label("name")).to_have_value("Half typed")
        await page.locator("#row").get_by_label("sku").fill("B2")
        await save(page)
        await expect(page.get_by_role("columnheader", name="brand")).to_be_visible()
        await expect(rows(page)).to_have_count(2)


async def test_where_the_api_asks_for_a_key_the_browser_does_too(browser: Browser, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "shop.yaml").write_text(model_text("shop"), encoding="utf-8")
    from watcherd.keys import make_key

    key, line = make_key("test", ["*"], ["*"])
    async with (
        running(models, tmp_path / "data", environment={"WATCHERD_API_KEYS": line}) as daemon,
        reading(browser, daemon.address) as reader,
    ):
        reader.expected = ["401"]
        page = reader.page
        await page.goto("/admin/models/shop/data")
        await page.get_by_label("API key").fill(key)
        await page.get_by_role("button", name="Use it").click()
        await expect(page.get_by_text("There is no Item yet.")).to_be_visible()
        await page.get_by_role("button", name="New Item").click()
        await page.locator("#row").get_by_label("name").fill("Trowel")
        await save(page)
        await expect(rows(page)).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_keeps_people_from_using_a_models_pages(browser: Browser, stale: Process, scheme: str) -> None:
    async with reading(browser, stale.address, scheme="dark" if scheme == "dark" else "light", width=400) as reader:
        page = reader.page
        for tab in ("overview", "data", "api", "file", "revisions"):
            await page.goto(f"/admin/models/shop/{tab}")
            if tab == "data":
                await page.goto("/admin/models/shop/data?entity=Item&q=name__icontains%3Dt")
                await expect(rows(page)).to_have_count(1)
            assert await reader.serious_faults() == [], tab
            assert await page.evaluate("document.documentElement.scrollWidth") <= 400, tab
            await reader.check()
        await page.goto("/admin/models/shop/data?entity=Item")
        await page.get_by_role("button", name="Edit Trowel").click()
        await expect(page.locator("#row")).to_be_visible()
        assert await reader.serious_faults() == []
