"""The session of a browser: whom it lets in, for how long, and from which pages."""

from __future__ import annotations

import pytest
from fastapi import Request, Response
from pydantic import SecretStr

from watcherd.admin import session
from watcherd.admin.guard import refusal
from watcherd.admin.session import COOKIE, LIFETIME_SECONDS, close_session, has_session, is_token, open_session
from watcherd.problems import FORBIDDEN, UNAUTHORIZED

TOKEN = SecretStr("opensesame")


def a_request(cookie: str = "", *, method: str = "GET", scheme: str = "http", **headers: str) -> Request:
    sent = {"host": "shop.example:8000", "cookie": f"{COOKIE}={cookie}"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return Request(
        {
            "type": "http",
            "method": method,
            "scheme": scheme,
            "path": "/",
            "query_string": b"",
            "client": ("10.0.0.5", 1),
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        }
    )


def opened(token: SecretStr = TOKEN, request: Request | None = None) -> str:
    """The Set-Cookie of a new session."""
    response = Response()
    open_session(request or a_request(), response, token)
    return response.headers["set-cookie"]


def cookie_of(header: str) -> str:
    return header.partition(";")[0].partition("=")[2]


def test_a_session_holds_and_shows_nothing_of_the_token() -> None:
    header = opened()

    assert has_session(a_request(cookie_of(header)), TOKEN)
    assert "opensesame" not in header
    assert "HttpOnly" in header
    assert "SameSite=strict" in header
    assert "Secure" not in header


@pytest.mark.parametrize("request_", [a_request(scheme="https"), a_request(x_forwarded_proto="https")])
def test_over_tls_a_session_stays_there(request_: Request) -> None:
    assert "Secure" in opened(request=request_)


def test_a_session_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    cookie = cookie_of(opened())
    later = session.time.time() + LIFETIME_SECONDS + 1
    monkeypatch.setattr(session.time, "time", lambda: later)

    assert not has_session(a_request(cookie), TOKEN)


def test_a_session_ends_with_the_token() -> None:
    assert not has_session(a_request(cookie_of(opened())), SecretStr("another"))


@pytest.mark.parametrize(
    "change", ["", ".", "x", "9.", ".9", "99999999999", f"{9**30}.00", "9e9.0", "1²." + "0" * 64, "9.é"]
)
def test_what_was_not_signed_opens_nothing(change: str) -> None:
    assert not has_session(a_request(change), TOKEN)


def test_a_longer_time_is_not_taken_on_an_old_signature() -> None:
    expires, _, signature = cookie_of(opened()).partition(".")

    assert not has_session(a_request(f"{int(expires) + 1}.{signature}"), TOKEN)


def test_signing_out_takes_the_cookie_away() -> None:
    response = Response()
    close_session(a_request(), response)

    assert "Max-Age=0" in response.headers["set-cookie"]


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "same-origin"},
        {"origin": "http://shop.example:8000"},
        {"origin": "https://SHOP.example:8000"},
    ],
)
def test_a_session_may_change_things_from_our_own_pages(headers: dict[str, str]) -> None:
    assert refusal(a_request(cookie_of(opened()), method="DELETE", **headers), TOKEN) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site", "origin": "http://shop.example:8000"},
        {"sec_fetch_site": "none"},
        {"origin": "http://shop.example:9000"},
        {"origin": "null"},
    ],
)
def test_a_session_changes_nothing_for_the_pages_of_others(headers: dict[str, str]) -> None:
    problem = refusal(a_request(cookie_of(opened()), method="POST", **headers), TOKEN)

    assert problem is not None
    assert problem.type is FORBIDDEN


def test_without_a_session_and_a_token_nobody_passes() -> None:
    problem = refusal(a_request(method="POST", sec_fetch_site="same-origin"), TOKEN)

    assert problem is not None
    assert problem.type is UNAUTHORIZED


def test_the_token_is_compared_whole() -> None:
    assert is_token("opensesame", TOKEN)
    assert is_token(" opensesame\n", TOKEN)
    assert not is_token("opensesam", TOKEN)
    assert not is_token("", TOKEN)
    assert not is_token("\ud800", TOKEN)
