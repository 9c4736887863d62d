"""Cross-origin requests: models are opened to the origins of the setting, and nothing else is."""

from __future__ import annotations

import pytest

from tests.unit.test_gateway import Client, a_gateway, a_revision, host, segments_of
from watcherd.cors import Cors
from watcherd.errors import SettingsError
from watcherd.gateway import Gateway
from watcherd.keys import Keys, make_key
from watcherd.problems import NO_SUCH_MODEL, Problem
from watcherd.settings import load

APP = "https://app.example"
ALLOW = b"access-control-allow-origin"


def an_open_gateway(origins: str, keys: Keys | None = None) -> Gateway:
    gateway = Gateway(
        api_prefix="/api",
        max_body_bytes=10,
        missing=lambda name: Problem(NO_SUCH_MODEL, name),
        cors=Cors.of(origins),
        keys=keys,
    )
    gateway.host = host
    gateway.swap(a_gateway(a_revision(segments_of)).table)
    return gateway


def from_page(path: str, origin: str, method: str = "GET", **headers: str) -> Client:
    sent = {"origin": origin, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Client(path, method, [(name.encode(), value.encode()) for name, value in sent.items()])


async def test_a_page_of_an_origin_that_is_allowed_may_read_answers_errors_included() -> None:
    gateway = an_open_gateway(f"https://other.example,{APP}")
    for path in ("/api/shop", "/api/none"):
        client = await from_page(path, APP).call(gateway)

        assert client.headers[ALLOW] == APP.encode()
        assert client.headers[b"vary"] == b"origin"
        assert b"etag" in client.headers[b"access-control-expose-headers"]


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "http://app.example", "null", f"{APP}.evil.example"])
async def test_a_page_of_another_origin_may_not_and_caches_are_told_that_it_matters(origin: str) -> None:
    client = await from_page("/api/shop", origin).call(an_open_gateway(APP))

    assert client.status == 200
    assert ALLOW not in client.headers
    assert client.headers[b"vary"] == b"origin"


async def test_any_origin_is_answered_the_same() -> None:
    client = await from_page("/api/shop", "https://elsewhere.example").call(an_open_gateway("*"))

    assert client.headers[ALLOW] == b"*"
    assert b"vary" not in client.headers


async def test_a_preflight_is_answered_without_a_key() -> None:
    key, line = make_key("app", ["*"], ["*"])
    gateway = an_open_gateway(APP, Keys(None, line))
    asked = await from_page("/api/shop/x", APP, "OPTIONS", access_control_request_method="PATCH").call(gateway)

    assert asked.status == 204
    assert asked.headers[ALLOW] == APP.encode()
    assert b"PATCH" in asked.headers[b"access-control-allow-methods"]
    assert b"if-match" in asked.headers[b"access-control-allow-headers"]
    refused = await from_page("/api/shop/x", APP, "PATCH").call(gateway)
    assert (refused.status, refused.headers[ALLOW]) == (401, APP.encode())
    assert (await from_page("/api/shop/x", APP, authorization=f"Bearer {key}").call(gateway)).status == 200


async def test_what_is_no_preflight_or_comes_from_elsewhere_is_a_request_like_any_other() -> None:
    gateway = an_open_gateway(APP)
    plain = await from_page("/api/shop/x", APP, "OPTIONS").call(gateway)
    foreign = await from_page("/api/shop/x", "https://a.example", "OPTIONS", access_control_request_method="PUT").call(
        gateway
    )

    assert plain.status == foreign.status == 200
    assert b"access-control-allow-methods" not in plain.headers
    assert ALLOW not in foreign.headers


@pytest.mark.parametrize("path", ["/admin/pim", "/metrics", "/openapi.json"])
async def test_the_host_is_never_shared(path: str) -> None:
    for method in ("GET", "OPTIONS"):
        client = await from_page(path, APP, method, access_control_request_method="GET").call(an_open_gateway("*"))
        assert ALLOW not in client.headers


def test_origins_are_brought_into_the_form_of_browsers() -> None:
    settings = load({"cors_origins": " HTTPS://App.Example/ , http://localhost:3000"})
    assert settings.cors_origins == "https://app.example,http://localhost:3000"


@pytest.mark.parametrize("origins", ["", "app.example", "https://a.example/path", "https://*.example", "a b"])
def test_what_is_no_origin_is_refused(origins: str) -> None:
    with pytest.raises(SettingsError, match="an origin is a scheme"):
        load({"cors_origins": origins})
