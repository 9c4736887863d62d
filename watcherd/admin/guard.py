"""Who may use the admin API.

With a token: whoever sends it. Without one: a process on this machine that names this machine,
which a web page cannot do through DNS rebinding, a reverse proxy cannot do by accident, and
another origin's page cannot do for a state change.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import Request
from pydantic import SecretStr

from watcherd import problems
from watcherd.problems import Problem

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def guard(token: SecretStr | None) -> Callable[[Request], None]:
    """The dependency that lets a request pass, or raises a 401 or 403 problem."""

    def with_token(request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        expected = "" if token is None else token.get_secret_value()
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), expected.encode()):
            raise Problem(
                problems.UNAUTHORIZED,
                "the admin API needs the bearer token that WATCHERD_ADMIN_TOKEN holds on the server",
                headers={"www-authenticate": 'Bearer realm="watcherd admin"'},
            )

    def from_here(request: Request) -> None:
        reason = _why_not_from_here(request)
        if reason is not None:
            raise Problem(problems.FORBIDDEN, reason)

    return from_here if token is None else with_token


def _why_not_from_here(request: Request) -> str | None:
    if request.client is not None and not _is_loopback(request.client.host):
        return "without a token the admin API answers to loopback and unix-socket peers alone"
    if not _is_loopback(_host_name(request.headers.get("host", ""))):
        return "without a token the admin API answers only where the Host header names this machine's loopback"
    for header in request.headers:
        if header in {"forwarded", "via"} or header.startswith("x-forwarded-"):
            return f"without a token the admin API refuses forwarded requests ({header}): behind a proxy set a token"
    if request.method not in SAFE_METHODS:
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != request.headers["host"].lower():
            return f"the admin API refuses state changes from the origin {origin!r}"
        if request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
            return "the admin API refuses state changes from another site's page"
    return None


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
