"""The host application: what HTTP expects of every route, and errors as problem bodies."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter

from tests.helpers import serving
from watcherd.admin.health import Readiness, health_routes
from watcherd.admin.host import make_host


async def stopping() -> Readiness:
    return Readiness("stopping", (), 1)


def a_client() -> httpx.AsyncClient:
    router = APIRouter()

    @router.get("/things/{name}")
    async def show(name: str) -> str:
        return name

    @router.delete("/things/{name}")
    async def remove(name: str) -> None:
        return None

    @router.post("/things")
    async def make() -> None:
        return None

    host = make_host(
        [router, health_routes(stopping)],
        [],
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(host), base_url="http://localhost")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/things/a", "/problems", "/nothing", "/things"])
async def test_head_is_get_without_the_body(path: str) -> None:
    async with a_client() as client:
        get, head = await client.get(path), await client.head(path)

    assert head.status_code == get.status_code
    assert head.headers.get("content-type") == get.headers.get("content-type")
    assert head.content == b""
    assert get.content


async def test_options_lists_the_methods_of_all_routes_of_a_path() -> None:
    async with a_client() as client:
        options, absent = await client.options("/things/a"), await client.options("/absent")

    assert (options.status_code, options.content) == (204, b"")
    assert options.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"
    assert absent.status_code == 404


async def test_a_wrong_method_is_told_the_methods_of_all_routes_of_the_path() -> None:
    async with a_client() as client:
        wrong = await client.put("/things/a")

    assert (wrong.status_code, wrong.json()["type"]) == (405, "/problems/method-not-allowed")
    assert wrong.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"


@pytest.mark.parametrize("body", [rb'{"pim_file": "\ud800.yaml"}', rb'{"pim_name": "\ud800"}', rb'{"\ud800": 1}'])
async def test_text_that_is_not_unicode_is_refused_and_not_a_failure(tmp_path: Path, body: bytes) -> None:
    async with serving(tmp_path, {}) as walk:
        transport = httpx.ASGITransport(walk.gateway)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.post("/admin/pim/load", content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/validation")
