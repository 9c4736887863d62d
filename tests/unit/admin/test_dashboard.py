"""The pages of the dashboard: who sees them, what they say, and that they hold up whatever is in the files."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from tests.helpers import Walk, model_text, serving
from watcherd.admin.dashboard import EXAMPLE, MAX_FORM_BYTES, dashboard_routes
from watcherd.admin.host import make_host
from watcherd.admin.overview import MOST_ROWS
from watcherd.admin.parts import Parts
from watcherd.admin.rates import Rates
from watcherd.admin.timeline import Timeline
from watcherd.followers import Nobody
from watcherd.metrics import Metrics
from watcherd.pace import Pauses
from watcherd.pim import parse
from watcherd.settings import Settings

TOKEN = "opensesame"
TABS = ("overview", "data", "api", "file", "revisions")
PAGES = ("/", "/admin/timeline", *(f"/admin/models/shop/{tab}" for tab in TABS), "/admin/models/nothing")


class Board:
    """A walk with its dashboard, and a browser without scripts."""

    def __init__(self, walk: Walk, client: httpx.AsyncClient, metrics: Metrics) -> None:
        self.walk = walk
        self.client = client
        self.metrics = metrics
        self.reasons: tuple[str, ...] = ()

    async def page(self, path: str, status: int = 200) -> str:
        answer = await self.client.get(path)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"].startswith("text/html")
        return answer.text


@asynccontextmanager
async def board(
    tmp_path: Path,
    files: dict[str, str],
    *,
    token: str | None = None,
    peer: tuple[str, int] = ("127.0.0.1", 1),
    host: str = "127.0.0.1:8000",
) -> AsyncIterator[Board]:
    async with serving(tmp_path, files) as walk:
        settings = Settings(models=walk.models, admin_token=None if token is None else SecretStr(token))
        timeline, metrics = Timeline(lambda: walk.reloader.world), Metrics()
        for event in walk.events:
            timeline.heard(event)

        async def health() -> tuple[str, tuple[str, ...]]:
            return ("degraded" if made.reasons else "ok"), made.reasons

        parts = Parts(
            settings, walk.gateway, walk.reloader, walk.drains, Nobody(), Rates(metrics.totals), timeline, health
        )
        app = make_host([], dashboard_routes(parts))
        transport = httpx.ASGITransport(app, client=peer)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            made = Board(walk, client, metrics)
            yield made


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


async def test_the_first_page_has_a_line_for_each_file_what_is_wrong_first(tmp_path: Path) -> None:
    files = {
        "a.yaml": model_text("able"),
        "b.yaml": "domain: baker\nentities: 7\n",
        "sub/c.yaml": model_text("charlie", extra="title: Third\n"),
    }
    (tmp_path / "models" / "sub").mkdir(parents=True)
    async with board(tmp_path, files) as made:
        page = await made.page("/")

    found = re.findall(r'<th scope="row"[^>]*><a href="([^"]+)">([^<]+)</a>', page)
    assert [name for _, name in found] == ["baker", "able", "charlie"]
    assert "sub/c.yaml" in page
    assert "b.yaml:2:" in page
    assert page.index("With errors") < page.index("baker")


async def test_a_page_has_nothing_inline_and_its_policy_allows_nothing_else(tmp_path: Path) -> None:
    async with board(tmp_path, {"shop.yaml": model_text("shop")}) as made:
        for path in PAGES:
            answer = await made.client.get(path)
            policy = dict(item.split(" ", 1) for item in answer.headers["content-security-policy"].split("; "))
            assert policy["default-src"] == "'none'"
            assert {policy[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
            assert "unsafe" not in answer.headers["content-security-policy"]
            assert (
                re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|(?:src|href)=\"https?:", answer.text)
                is None
            )


async def test_what_stands_in_a_file_is_shown_as_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    files = {"shop.yaml": model_text("shop", extra=f"title: '{evil}'\n"), "b&b.yaml": f"domain: '\"{evil}'\n"}
    async with board(tmp_path, files) as made:
        page = await made.page("/")

    assert evil not in page
    assert "&lt;script&gt;alert(1)" in page


async def test_models_are_found_by_text_and_state(tmp_path: Path) -> None:
    files = {
        "a.yaml": model_text("able", extra="title: Förste\n"),
        "b.yaml": model_text("baker"),
        "c.yaml": "domain: 7\n",
    }
    async with board(tmp_path, files) as made:
        found = {
            query: set(re.findall(r'data-model="(\w*)"', await made.page(f"/?{query}")))
            for query in ("q=ABL", "q=f%C3%B6rste", "q=b.yaml", "state=rejected", "state=live", "q=nothing")
        }

    assert found == {
        "q=ABL": {"able"},
        "q=f%C3%B6rste": {"able"},
        "q=b.yaml": {"baker"},
        "state=rejected": {""},
        "state=live": {"able", "baker"},
        "q=nothing": set(),
    }


async def test_of_very_many_models_the_first_are_shown_and_the_rest_on_demand(tmp_path: Path) -> None:
    files = {f"m{number}.yaml": "domain: 7\n" for number in range(MOST_ROWS + 7)}
    async with board(tmp_path, files) as made:
        page, whole = await made.page("/"), await made.page("/?all=1")

    assert page.count('scope="row"') == MOST_ROWS
    assert "Show 7 more models" in page
    assert whole.count('scope="row"') == MOST_ROWS + 7


async def test_the_figures_are_those_of_the_models_alone(tmp_path: Path) -> None:
    async with board(tmp_path, {"shop.yaml": model_text("shop")}) as made:
        first = (await made.client.get("/admin/pulse")).json()
        assert (first["models"], first["rates"], first["in_flight"], first["generation"]) == ({}, None, 0, 1)

        client, answering = made.walk.half_sent("/api/shop/items")
        while not made.walk.revision("shop").in_flight:
            await asyncio.sleep(0)  # the request's task has its turn
        busy = (await made.client.get("/admin/pulse")).json()
        client.send_body(b'"x"}')
        await answering

    assert busy["models"] == {"shop": [1, 0, 0, 0, 0]}
    assert busy["in_flight"] == 1


async def test_what_is_wrong_with_the_daemon_is_said(tmp_path: Path) -> None:
    async with board(tmp_path, {"shop.yaml": model_text("shop")}) as made:
        assert "The daemon is" not in await made.page("/")
        made.reasons = ("the watcher polls",)
        assert "The daemon is degraded the watcher polls" in text_of(await made.page("/"))


async def test_the_pages_of_many_models_are_made_with_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take, taken = Pauses.take, 0

    async def counted(pauses: Pauses) -> None:
        nonlocal taken
        taken += 1
        await take(pauses)

    async with board(tmp_path, {f"m{number}.yaml": model_text(f"m{number}") for number in range(50)}) as made:
        monkeypatch.setattr(Pauses, "take", counted)
        for page, least in (("/", 100), ("/admin/pulse", 50)):  # the first has a line for each, and their figures
            taken = 0
            await made.client.get(page)
            assert taken >= least, page


async def test_the_example_for_an_empty_directory_has_no_finding(tmp_path: Path) -> None:
    parsed = parse(EXAMPLE.encode(), "todo.yaml")
    assert parsed.spec is not None
    assert parsed.diagnostics == ()
    async with board(tmp_path, {}) as made:
        assert str(made.walk.models) in await made.page("/")


@pytest.mark.parametrize(("peer", "host"), [(("10.0.0.5", 1), "127.0.0.1"), (("127.0.0.1", 1), "rebound.example")])
async def test_without_a_token_the_pages_are_for_this_machine(tmp_path: Path, peer: tuple[str, int], host: str) -> None:
    async with board(tmp_path, {"shop.yaml": model_text("shop")}, peer=peer, host=host) as made:
        page = await made.page("/", 403)
        assert (await made.client.get("/admin/pulse")).status_code == 403

    assert "without a token" in page
    assert "shop" not in page


async def test_with_a_token_every_page_leads_to_the_form_and_back(tmp_path: Path) -> None:
    async with board(tmp_path, {"shop.yaml": model_text("shop")}, token=TOKEN, peer=("10.0.0.5", 1)) as made:
        asked = await made.client.get("/admin/timeline?x=1")
        assert (asked.status_code, asked.headers["location"]) == (303, "../admin/login?next=/admin/timeline%3Fx%3D1")
        assert (await made.client.get("/admin/pulse")).status_code == 401

        form = "/admin/login?next=/admin/timeline%3Fx%3D1"
        same = {"sec-fetch-site": "same-origin"}
        wrong = await made.client.post(form, data={"token": "a guess"}, headers=same)
        assert wrong.status_code == 401
        assert "This is not the token" in wrong.text
        assert "set-cookie" not in wrong.headers

        right = await made.client.post(form, data={"token": TOKEN}, headers=same)
        assert (right.status_code, right.headers["location"]) == (303, "../admin/timeline?x=1")
        assert (await made.client.get("/admin/timeline")).status_code == 200

        left = await made.client.post("/admin/logout", headers=same)
        assert left.status_code == 303
        assert (await made.client.get("/admin/timeline")).status_code == 303


async def test_the_form_is_not_taken_from_the_pages_of_others(tmp_path: Path) -> None:
    async with board(tmp_path, {}, token=TOKEN) as made:
        foreign = {"sec-fetch-site": "cross-site"}
        assert (await made.client.post("/admin/login", data={"token": TOKEN}, headers=foreign)).status_code == 403
        assert (await made.client.post("/admin/logout", headers=foreign)).status_code == 403


@pytest.mark.parametrize(
    "target", ["//evil.example/x", "https://evil.example", "/\\evil.example", "javascript:alert(1)"]
)
async def test_signing_in_leads_nowhere_else(tmp_path: Path, target: str) -> None:
    async with board(tmp_path, {}, token=TOKEN) as made:
        answer = await made.client.post(
            "/admin/login", params={"next": target}, data={"token": TOKEN}, headers={"sec-fetch-site": "same-origin"}
        )
    assert (answer.status_code, answer.headers["location"]) == (303, "../")


@pytest.mark.parametrize(
    ("body", "status"), [(b"token=" + b"x" * MAX_FORM_BYTES, 413), (b"&".join([b"a=1"] * 50), 400), (b"\xff", 401)]
)
async def test_a_form_that_is_none_is_refused(tmp_path: Path, body: bytes, status: int) -> None:
    async with board(tmp_path, {}, token=TOKEN) as made:
        answer = await made.client.post("/admin/login", content=body, headers={"sec-fetch-site": "same-origin"})
    assert answer.status_code == status


async def test_below_a_path_of_a_proxy_every_address_stays_relative(tmp_path: Path) -> None:
    async with board(tmp_path, {"shop.yaml": model_text("shop")}) as made:
        for path in PAGES:
            page = (await made.client.get(path)).text
            for address in re.findall(r'\s(?:href|src|action|hx-get|data-url)="([^"]*)"', page):
                assert not address.startswith("/"), address


# -- the pages of a model ---------------------------------------------------------------------------

SHOP = """\
domain: shop
title: The shop
description: What is sold
entities:
  - name: Item
    description: Something
    attributes:
      name: {type: string, required: true, max_length: 40}
      state: {type: enum, values: [开放, 关闭], default: 开放}
      sizes: {type: "integer[]", default: [1, 2]}
      parent: {type: reference, reference: Item}
    constraints:
      - name cannot be empty
      - the moon must be full
services:
  - name: Till
    methods:
      - {name: pay, parameters: {amount: decimal}, flow: Till.pay}
flows:
  Till.pay:
    steps:
      - {id: take, label: Take the money, next: End}
rules:
  fair: Nobody pays twice
"""


async def test_a_models_pages_show_what_it_consists_of(tmp_path: Path) -> None:
    async with board(tmp_path, {"shop.yaml": SHOP}) as made:
        overview, api, flows = [await made.page(f"/admin/models/shop/{tab}") for tab in ("overview", "api", "flows")]
        file, revisions = [await made.page(f"/admin/models/shop/{tab}") for tab in ("file", "revisions")]
        assert await made.page("/admin/models/shop") == overview.replace('hx-get="overview"', 'hx-get="shop"').replace(
            "../../../", "../../"
        )

    assert "The shop" in overview
    assert '<svg class="drawing"' in overview
    assert re.search(r"the moon must be full\s*<span[^>]*>not enforced", overview)
    assert "name cannot be empty</li>" in overview
    assert "default 开放<" in overview
    assert "default [1, 2]<" in overview
    assert "curl -s http://127.0.0.1:8000/api/shop/items" in api
    assert "/till/pay" in api
    assert "Take the money" in flows
    assert "Nobody pays twice" in flows
    assert 'id="line-3"' in file
    assert "Revision 1" in revisions
    assert "Serving" in revisions


HOLDS = """\
domain: shop
entities:
  - name: Order
    attributes: {total: decimal}
    constraints: [total cannot be negative, orders are <nice>]
services:
  - name: Desk
    methods:
      - {name: code}
      - {name: idle}
flows:
  wishing: {steps: [{id: Start, type: start, next: A}, {id: A, label: Wish, next: End}, {id: End, type: end}]}
rules:
  positive: {on: Order, assert: self.total > 0}
  unused: {assert: 1 > 0}
  words: Customers are thanked
"""


async def test_a_models_page_tells_what_holds_and_names_what_is_prose(tmp_path: Path) -> None:
    async with board(tmp_path, {"shop.yaml": HOLDS}) as made:
        overview, flows = [await made.page(f"/admin/models/shop/{tab}") for tab in ("overview", "flows")]

    (section,) = re.findall(r'<section class="card coverage".*?</section>', overview, re.DOTALL)
    assert re.findall(r'data-kind="(\w+)">([^<]+)<', section) == [
        ("warning", "1 of 2 enforced"),
        ("warning", "1 of 3 enforced"),
        ("warning", "0 of 2 executable"),
        ("warning", "0 of 1 executable"),
    ]
    assert re.findall(r"<li>([^<]+)</li>", section) == [
        "Order: orders are &lt;nice&gt;",
        "unused",
        "words",
        "Desk.code",
        "Desk.idle",
        "wishing: A",
    ]
    assert re.search(r"Enforced or executable</dt><dd><a[^>]*>2 of 8<", overview)
    assert overview.count("answers 501") == 2
    marked = dict(re.findall(r'<th scope="row">(\w+)</th><td><span[^>]*>([^<]+)', flows))
    assert marked == {"positive": "enforced", "unused": "not enforced", "words": "not enforced"}
    assert re.search(r"<code>A</code> Wish <span[^>]*>not executable", flows)
    assert not re.search(r"<code>(Start|End)</code>[^<]*<span[^>]*>not executable", flows)


async def test_what_holds_as_a_whole_is_said_and_what_a_model_lacks_is_not(tmp_path: Path) -> None:
    whole = (
        "domain: whole\nentities:\n  - name: A\n    attributes: {n: integer}\n    constraints: [n cannot be negative]\n"
    )
    async with board(tmp_path, {"whole.yaml": whole, "none.yaml": model_text("none")}) as made:
        pages = [await made.page(f"/admin/models/{name}") for name in ("whole", "none")]

    (section,) = re.findall(r'<section class="card coverage".*?</section>', pages[0], re.DOTALL)
    assert re.findall(r'data-kind="(\w+)">([^<]+)<', section) == [("live", "1 enforced")]
    assert "<details" not in section
    assert "What holds" not in pages[1]
    assert "Enforced or executable" not in pages[1]


@pytest.mark.parametrize("tab", ["", "/overview", "/data", "/api", "/flows"])
async def test_of_a_file_that_never_served_only_the_file_is_shown(tmp_path: Path, tab: str) -> None:
    broken = model_text("shop", "color: strnig")
    async with board(tmp_path, {"shop.yaml": broken}) as made:
        page = await made.page(f"/admin/models/shop{tab}")

    assert re.search(r'<mark data-kind="error"[^>]*>strnig</mark>', page)
    assert "`strnig` is not a type" in page
    assert "nothing serves" in page
    assert "admin/models/shop/data" not in page


async def test_a_file_that_speaks_for_no_model_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "models" / "sub").mkdir(parents=True)
    async with board(tmp_path, {"a.yaml": model_text("shop"), "sub/b.yaml": "[", "c.yaml": model_text("shop")}) as made:
        first = await made.page("/")
        links = re.findall(r'<th scope="row"[^>]*><a href="([^"]+)"', first)
        pages = [await made.page(link.removeprefix(".")) for link in links]

    assert "./admin/file?path=sub%2Fb.yaml" in links
    assert len([link for link in links if "admin/file" in link]) == 2
    assert all('class="source"' in page or "Entities" in page for page in pages)


NOT_THERE = ("/admin/models/nothing", "/admin/models/shop/nothing", "/admin/file?path=x", "/admin/file")


@pytest.mark.parametrize("path", NOT_THERE)
async def test_what_is_not_there_is_said_on_a_page(tmp_path: Path, path: str) -> None:
    async with board(tmp_path, {"shop.yaml": model_text("shop")}) as made:
        assert "There is no" in await made.page(path, 404)


async def test_a_stale_model_shows_what_serves_and_what_was_rejected(tmp_path: Path) -> None:
    async with board(tmp_path, {"shop.yaml": SHOP}) as made:
        await made.walk.save("shop.yaml", SHOP.replace("domain: shop", "domain: shop\nversoin: 2"))
        overview, file = await made.page("/admin/models/shop"), await made.page("/admin/models/shop/file")

    assert "revision 1 serves on" in text_of(overview)
    assert re.search(r'<mark data-kind="error"[^>]*>versoin', file)


async def test_revisions_tell_what_changed_and_offer_to_go_back(tmp_path: Path) -> None:
    async with board(tmp_path, {"shop.yaml": model_text("shop")}) as made:
        await made.walk.save("shop.yaml", model_text("shop", "color"))
        page = await made.page("/admin/models/shop/revisions")

    assert '<span class="added">+      color: string</span>' in page
    assert page.count("data-action=") == 2  # unload, and one roll back
    assert 'data-body="{&#34;revision&#34;: 1}"' in page


async def test_an_unloaded_model_is_shown_from_its_file(tmp_path: Path) -> None:
    async with board(tmp_path, {"shop.yaml": SHOP}) as made:
        await made.walk.unload("shop")
        page = await made.page("/admin/models/shop")

    assert "Taken out of service" in page
    assert "Item" in page
    assert 'data-action="load"' in page


async def test_the_data_browser_is_given_what_the_model_says(tmp_path: Path) -> None:
    users = "domain: users\nentities:\n  - name: User\n    attributes:\n      mail: email\n      name: string\n"
    shop = (
        "domain: shop\nentities:\n  - name: Item\n    attributes:\n"
        "      sku: {type: string, primary_key: true, required: true}\n"
        "      owner: {type: reference, reference: users.User, required: true}\n"
        "      color: {type: enum, values: [red, green], default: red}\n"
        "      secret: {type: string, write_only: true}\n"
        "      seen: {type: datetime, auto_now: true}\n"
    )
    async with board(tmp_path, {"users.yaml": users, "shop.yaml": shop}) as made:
        page = await made.page("/admin/models/shop/data")
    found = re.search(r'data-description="([^"]*)"', page)
    assert found is not None
    described = json.loads(html.unescape(found[1]))
    attributes = {one["name"]: one for one in described["attributes"]}

    assert (described["base"], described["key"], described["label"]) == ("api/shop/items", "sku", "sku")
    assert list(attributes) == ["sku", "owner", "color", "secret", "seen", "created_at", "updated_at"]
    assert attributes["owner"]["reference"] == {
        "model": "users",
        "entity": "User",
        "base": "api/users/users",
        "key": "id",
        "relation": "owner_row",
        "label": "name",
        "searchable": True,
    }
    assert (attributes["color"]["members"], attributes["color"]["default"]) == (["red", "green"], "red")
    assert (attributes["secret"]["hidden"], attributes["secret"]["operators"]) == (True, [])
    assert {name for name, one in attributes.items() if one["given"]} == {"sku", "owner", "color", "secret"}
    assert {name for name, one in attributes.items() if one["required"]} == {"sku", "owner"}
