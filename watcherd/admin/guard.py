"""Who may use the admin API.

With a token: whoever sends it, and a browser that has given it once (session). Without one: a process
on this machine that names this machine, which a web page cannot do through DNS rebinding, a reverse
proxy cannot do by accident, and another origin's page cannot do for a state change.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import Request
from pydantic import SecretStr

from watcherd import problems
from watcherd.admin.session import has_session, is_token
from watcherd.problems import Problem

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def guard(token: SecretStr | None) -> Callable[[Request], None]:
    """The dependency that lets a request pass, or raises a 401 or 403 problem."""

    def check(request: Request) -> None:
        problem = refusal(request, token)
        if problem is not None:
            raise problem

    return check


def refusal(request: Request, token: SecretStr | None) -> Problem | None:
    """Why a request may not pass; None lets it."""
    if token is None:
        reason = _why_not_from_here(request)
        return None if reason is None else Problem(problems.FORBIDDEN, reason)
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and is_token(given, token):
        return None
    if has_session(request, token):
        # The browser adds a cookie to whatever request a page of this host makes, on any port.
        reason = foreign_page(request)
        return None if reason is None else Problem(problems.FORBIDDEN, reason)
    return Problem(
        problems.UNAUTHORIZED,
        "the admin API needs the bearer token that WATCHERD_ADMIN_TOKEN holds on the server",
        headers={"www-authenticate": 'Bearer realm="watcherd admin"'},
    )


def foreign_page(request: Request) -> str | None:
    """Why a state change that a browser asks for may come from a page that is not ours; None where it does not.

    The browser itself says where a request comes from, and no page can make that up.
    """
    if request.method in SAFE_METHODS:
        return None
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return None if site == "same-origin" else "the admin API refuses state changes from another origin's page"
    origin = request.headers.get("origin")
    if origin is None or urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
        return f"the admin API refuses state changes from the origin {origin!r}"
    return None


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
