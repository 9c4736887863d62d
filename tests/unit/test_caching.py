"""What caches between a client and the daemon are told: nobody is given what another may read, nor what has changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import MappingProxyType

import pytest

from tests.unit.test_connection import NOW, POST, answers, echo, prompt
from tests.unit.test_connection import serving as connected_to
from tests.unit.test_cors import APP, an_open_gateway, from_page
from tests.unit.test_gateway import Client, a_gateway, a_revision
from watcherd.gateway import Gateway, RouteTable
from watcherd.keys import Keys, make_key
from watcherd.problems import NO_SUCH_MODEL, Problem
from watcherd.wire import Answer, Call, Receive, Scope, Send, send_answer

EVERYBODYS, ONES = b"no-cache", b"private, no-cache"


def a_gateway_with_keys() -> tuple[Gateway, str]:
    key, line = make_key("app", ["shop"], [])
    keys = Keys(None, line)
    gateway = Gateway(
        api_prefix="/api", max_body_bytes=10, missing=lambda name: Problem(NO_SUCH_MODEL, name), keys=keys
    )
    revision = a_revision(echo)
    gateway.swap(RouteTable(1, MappingProxyType({revision.model: revision})))
    return gateway, key


async def called(gateway: Gateway, path: str, **headers: str) -> Client:
    client = Client(
        path, headers=[(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    )
    client.send_body()
    return await asyncio.create_task(client.call(gateway))


async def test_rows_are_asked_for_again_by_whoever_has_kept_them() -> None:
    client = await called(a_gateway(a_revision(echo)), "/api/shop")
    assert (client.status, client.headers[b"cache-control"]) == (200, EVERYBODYS)
    assert b"vary" not in client.headers


@pytest.mark.parametrize("sent", ["x_api_key", "authorization", "other", "nothing"])
async def test_where_keys_decide_no_answer_is_for_anybody_else(sent: str) -> None:
    gateway, key = a_gateway_with_keys()
    given = {"x_api_key": {"x_api_key": key}, "authorization": {"authorization": f"Bearer {key}"}}.get(sent, {})
    path = "/api/other" if sent == "other" else "/api/shop"
    client = await called(gateway, path, **given)
    assert client.status == (200 if given else 401)
    assert client.headers[b"cache-control"] == ONES
    assert client.headers[b"vary"] == b"authorization, x-api-key"


async def test_keys_and_origins_both_matter() -> None:
    _, line = make_key("app", ["*"], ["*"])
    client = await from_page("/api/shop", APP).call(an_open_gateway(APP, Keys(None, line)))
    varied = [value for name, value in client.sent[0]["headers"] if name == b"vary"]
    assert varied == [b"authorization, x-api-key", b"origin"]


@pytest.mark.parametrize(
    ("path", "told"), [("/admin/pim", ONES), ("/readyz", EVERYBODYS), ("/admin/page", b"no-store")]
)
async def test_the_host_says_it_too_where_it_has_said_nothing_of_its_own(path: str, told: bytes) -> None:
    async def host(scope: Scope, receive: Receive, send: Send) -> None:
        own = [(b"cache-control", b"no-store")] if scope["path"].endswith("/page") else []
        await send_answer(send, Answer(200, b"{}", headers=own), head=False, receive=receive)

    gateway = a_gateway()
    gateway.host = host
    client = await called(gateway, path)
    assert [value for name, value in client.sent[0]["headers"] if name == b"cache-control"] == [told]


async def test_an_answer_at_once_says_the_same_as_any_other() -> None:
    async def own(call: Call) -> Answer:
        return Answer(200, headers=[(b"cache-control", b"no-store")], stream=_pieces()) if call.path else Answer(200)

    revision = a_revision(own)
    revision.at_once = prompt
    async with connected_to(revision) as served, served.connected() as (reader, writer):
        writer.write(NOW + b"\r\n")
        [(now, _)] = await answers(reader, 1)
        assert now.count(b"\r\ncache-control: no-cache\r\n") == 1
        assert b"vary" not in now
        writer.write(POST + b"\r\n")
        usual = await reader.readuntil(b"\r\n\r\n")
        assert [line for line in usual.split(b"\r\n") if line.startswith(b"cache-control")] == [
            b"cache-control: no-store"
        ]


async def _pieces() -> AsyncIterator[bytes]:
    yield b"x"
