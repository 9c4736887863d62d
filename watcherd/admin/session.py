"""The session of a browser: how it shows again that it once gave the admin token.

Owns the cookie: what is in it, how long it holds, how it is set and taken away. A session is an
expiry, signed with the admin token: nothing is kept on the server, it survives a restart and holds
in every process, and with another token all sessions end. The token itself never goes back to
the browser.

The cookie is HttpOnly and SameSite=Strict. Cookies know hosts but not ports, so whoever accepts one
for a state change has to look at the request's origin as well; that is the guard's.
"""

from __future__ import annotations

import hashlib
import hmac
import time

from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

COOKIE = "watcherd_session"
LIFETIME_SECONDS = 30 * 24 * 3600


def is_token(given: str, token: SecretStr) -> bool:
    """Whether somebody has given the token, compared in constant time."""
    return hmac.compare_digest(given.strip().encode("utf-8", "backslashreplace"), token.get_secret_value().encode())


def open_session(request: Request, response: Response, token: SecretStr) -> None:
    """Let an answer give the browser a session."""
    expires = int(time.time()) + LIFETIME_SECONDS
    _set(request, response, f"{expires}.{_signature(expires, token)}", LIFETIME_SECONDS)


def close_session(request: Request, response: Response) -> None:
    """Let an answer take it away again."""
    _set(request, response, "", 0)


def has_session(request: Request, token: SecretStr) -> bool:
    """Whether the request comes with a session that holds."""
    expires, _, signature = request.cookies.get(COOKIE, "").partition(".")
    if not (expires.isascii() and expires.isdigit() and len(expires) < len(str(2**63))):
        return False
    expected = _signature(int(expires), token)
    return hmac.compare_digest(signature.encode("utf-8", "backslashreplace"), expected.encode()) and int(expires) > int(
        time.time()
    )


def _signature(expires: int, token: SecretStr) -> str:
    signed = f"watcherd dashboard session until {expires}".encode()
    return hmac.new(token.get_secret_value().encode(), signed, hashlib.sha256).hexdigest()


def _set(request: Request, response: Response, value: str, max_age: int) -> None:
    # A proxy that ends TLS says so; whoever makes that up only withholds the cookie from himself.
    secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "") == "https"
    response.set_cookie(COOKIE, value, max_age=max_age, path="/", secure=secure, httponly=True, samesite="strict")
