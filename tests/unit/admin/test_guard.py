"""Who may use the admin API, with and without a token."""

from __future__ import annotations

import pytest
from fastapi import Request
from pydantic import SecretStr

from watcherd.admin.guard import guard
from watcherd.problems import FORBIDDEN, UNAUTHORIZED, Problem

PEER = ("127.0.0.1", 5000)


def a_request(
    headers: dict[str, str] | None = None, *, method: str = "GET", peer: tuple[str, int] | None = PEER
) -> Request:
    sent = {"host": "localhost:8000"} | (headers or {})
    return Request(
        {
            "type": "http",
            "method": method,
            "client": peer,
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        }
    )


@pytest.mark.parametrize(
    ("headers", "method", "peer"),
    [
        ({}, "GET", PEER),
        ({}, "POST", PEER),
        ({}, "POST", None),
        ({"host": "127.0.0.1"}, "GET", ("127.9.9.9", 1)),
        ({"host": "[::1]:8000"}, "GET", ("::1", 1)),
        ({"origin": "http://localhost:8000", "sec-fetch-site": "same-origin"}, "POST", PEER),
        ({"origin": "http://elsewhere.example"}, "GET", PEER),
        ({"sec-fetch-site": "none"}, "DELETE", PEER),
    ],
)
def test_without_a_token_a_process_of_this_machine_that_names_it_passes(
    headers: dict[str, str], method: str, peer: tuple[str, int] | None
) -> None:
    guard(None)(a_request(headers, method=method, peer=peer))


@pytest.mark.parametrize(
    ("headers", "method", "peer"),
    [
        ({}, "GET", ("10.0.0.5", 1)),
        ({}, "GET", ("not an address", 1)),
        ({"host": "rebound.example"}, "GET", PEER),
        ({"host": "rebound.example"}, "GET", None),
        ({"host": "localhost.rebound.example"}, "GET", PEER),
        ({"host": "127.0.0.1.rebound.example"}, "GET", PEER),
        ({"host": ""}, "GET", PEER),
        ({"host": "[::1"}, "GET", PEER),
        ({"forwarded": "for=127.0.0.1"}, "GET", PEER),
        ({"x-forwarded-for": "127.0.0.1"}, "GET", PEER),
        ({"x-forwarded-host": "localhost"}, "GET", None),
        ({"via": "1.1 proxy"}, "GET", PEER),
        ({"origin": "http://localhost:9999"}, "POST", PEER),
        ({"origin": "null"}, "POST", PEER),
        ({"sec-fetch-site": "cross-site"}, "DELETE", PEER),
        ({"sec-fetch-site": "same-site"}, "POST", PEER),
    ],
)
def test_without_a_token_everybody_else_is_refused(
    headers: dict[str, str], method: str, peer: tuple[str, int] | None
) -> None:
    with pytest.raises(Problem) as refused:
        guard(None)(a_request(headers, method=method, peer=peer))

    assert refused.value.type is FORBIDDEN


def test_with_a_token_who_sends_it_passes_from_anywhere() -> None:
    guard(SecretStr("secret"))(
        a_request({"authorization": "bearer secret", "host": "a.example", "via": "proxy"}, peer=("10.0.0.5", 1))
    )


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic secret", "secret", "Bearer sécret"]
)
def test_with_a_token_who_does_not_send_it_is_refused(authorization: str) -> None:
    request = Request(
        {"type": "http", "method": "GET", "client": PEER, "headers": [(b"authorization", authorization.encode())]}
    )
    with pytest.raises(Problem) as refused:
        guard(SecretStr("secret"))(request)

    assert refused.value.type is UNAUTHORIZED
    assert refused.value.headers["www-authenticate"].startswith("Bearer")
