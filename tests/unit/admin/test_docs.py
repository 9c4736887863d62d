"""The documentation pages: from the package alone, cached as long as is right, without inline scripts."""

import hashlib
import re
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette

from watcherd.admin.docs import STATIC, docs_routes

PAGES = ("/docs", "/redoc")
OWN = (STATIC / "docs", STATIC / "dashboard", STATIC / "dashboard" / "data")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Starlette(routes=docs_routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


def addresses(page: str) -> list[str]:
    """What a page loads; where its links lead is not of it."""
    return re.findall(r'<(?:link|script|img) [^>]*?(?:src|href)="([^"]+)"', page)


@pytest.mark.parametrize("path", PAGES)
async def test_everything_that_a_page_loads_is_served_by_the_daemon(path: str, client: httpx.AsyncClient) -> None:
    page = await client.get(path)
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    loaded = addresses(page.text)
    assert len(loaded) >= 4
    for address in loaded:
        assert not address.startswith(("http:", "https:", "//", "/"))
        assert (await client.get(f"/{address}")).status_code == 200


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_has_no_inline_script_and_its_policy_allows_none(path: str, client: httpx.AsyncClient) -> None:
    page = await client.get(path)
    assert re.search(r"<script(?![^>]*\ssrc=)", page.text) is None
    assert re.search(r"\son\w+=", page.text) is None
    directives = dict(item.split(" ", 1) for item in page.headers["Content-Security-Policy"].split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    assert directives["connect-src"] == "'self'"
    assert "http" not in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_asked_for_again_and_answered_304_when_unchanged(path: str, client: httpx.AsyncClient) -> None:
    page = await client.get(path)
    assert page.headers["Cache-Control"] == "no-cache"
    again = await client.get(path, headers={"If-None-Match": page.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_answers_head(path: str, client: httpx.AsyncClient) -> None:
    assert (await client.head(path)).status_code == 200


async def test_files_of_others_may_be_kept_for_good_and_our_own_may_not(client: httpx.AsyncClient) -> None:
    vendored = await client.get("/static/swagger-ui-5.35.0/swagger-ui.css")
    own = await client.get("/static/docs/docs-refresh.js")
    assert vendored.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert own.headers["Cache-Control"] == "no-cache"
    assert own.headers["Content-Type"].startswith(("text/javascript", "application/javascript"))
    assert {vendored.headers["X-Content-Type-Options"], own.headers["X-Content-Type-Options"]} == {"nosniff"}


@pytest.mark.parametrize("path", ["/static/../docs.py", "/static/%2e%2e/docs.py", "/static/nothing.js", "/static/"])
async def test_nothing_but_the_static_files_is_served(path: str, client: httpx.AsyncClient) -> None:
    assert (await client.get(path)).status_code == 404


def test_the_files_of_others_are_those_that_were_noted() -> None:
    noted = dict(
        reversed(line.split("  "))
        for line in (STATIC / "VENDORED.md").read_text().splitlines()
        if re.fullmatch(r"[0-9a-f]{64}  .+", line)
    )
    present = {
        file.relative_to(STATIC).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in STATIC.rglob("*")
        if file.is_file() and file.parent not in {STATIC, *OWN}
    }
    assert present == noted


def test_each_directory_of_others_has_its_licence() -> None:
    directories = [path for path in STATIC.iterdir() if path.is_dir() and path not in OWN]
    assert directories
    assert all((directory / "LICENSE").is_file() for directory in directories)


def test_our_scripts_name_no_host() -> None:
    for script in [file for own in OWN for file in own.iterdir() if file.suffix in {".js", ".css"}]:
        assert "//" not in re.sub(r"(^|\s)//( .*)?$", "", script.read_text(), flags=re.MULTILINE)


def test_redoc_asks_no_other_host_for_its_logo() -> None:
    (bundle,) = STATIC.glob("redoc-*/redoc.standalone.js")
    assert b"logo-mini.svg" not in bundle.read_bytes()
