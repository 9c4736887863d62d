"""The pages of the dashboard: who sees them, what they say, and that they hold up whatever is in the files."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from tests.helpers import Walk, model_text, serving
from watcherd.admin.dashboard import EXAMPLE, MAX_FORM_BYTES, Parts, dashboard_routes
from watcherd.admin.host import make_host
from watcherd.admin.overview import MOST_ROWS
from watcherd.admin.rates import Rates
from watcherd.admin.timeline import Timeline
from watcherd.metrics import Metrics
from watcherd.pim import parse
from watcherd.settings import Settings

TOKEN = "opensesame"


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

        parts = Parts(settings, walk.gateway, walk.reloader, walk.drains, Rates(metrics.totals), timeline, health)
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
        for path in ("/", "/admin/timeline"):
            answer = await made.client.get(path)
            policy = dict(item.split(" ", 1) for item in answer.headers["content-security-policy"].split("; "))
            assert policy["default-src"] == "'none'"
            assert {policy[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
            assert "unsafe" not in answer.headers["content-security-policy"]
            assert re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|https?://", answer.text) is None


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
        for path in ("/", "/admin/timeline"):
            for address in re.findall(r'(?:href|src|action|hx-get|data-url)="([^"]*)"', await made.page(path)):
                assert not address.startswith("/"), address
