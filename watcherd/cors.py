"""Which web pages may use the API of models: cross-origin resource sharing, as the Fetch standard says.

Owns the headers and the preflights. The gateway asks it for models alone: the admin API is never
shared with other origins. Cookies are not part of it, since nothing here knows any.
"""

from __future__ import annotations

from dataclasses import dataclass

from watcherd.wire import Answer, Headers

METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
"""Those that something here knows."""

_SENT = (
    b"authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, traceparent, "
    b"x-api-key, x-request-id"
)
_SHOWN = (
    b"accept-patch, allow, content-disposition, etag, idempotency-replayed, link, location, retry-after, "
    b"watcherd-generation, watcherd-revision, www-authenticate, x-request-id"
)
_MAX_AGE = b"600"


@dataclass(frozen=True, slots=True)
class Cors:
    """The origins whose pages may read answers, such as `https://app.example`; `*` is any."""

    origins: frozenset[str]

    @classmethod
    def of(cls, text: str) -> Cors:
        """From the setting: origins joined by commas."""
        return cls(frozenset(text.split(",")))

    def headers(self, sent: Headers) -> list[tuple[bytes, bytes]]:
        """What every answer to a request with these headers says."""
        shared = [(b"access-control-expose-headers", _SHOWN)]
        if "*" in self.origins:
            return [(b"access-control-allow-origin", b"*"), *shared]
        # Also where it is not allowed: a cache must not give one origin's answer to another.
        vary = [(b"vary", b"origin")]
        origin = _header(sent, b"origin")
        if origin is None or origin.decode("latin-1") not in self.origins:
            return vary
        return [(b"access-control-allow-origin", origin), *shared, *vary]

    def preflight(self, method: str, sent: Headers) -> Answer | None:
        """The answer to a browser's question beforehand; None where this is no such question, or not for us.

        It is answered without a key: browsers send none with it.
        """
        if method != "OPTIONS" or _header(sent, b"access-control-request-method") is None:
            return None
        origin = _header(sent, b"origin")
        if origin is None or not ("*" in self.origins or origin.decode("latin-1") in self.origins):
            return None
        return Answer(
            204,
            headers=[
                (b"access-control-allow-methods", METHODS),
                (b"access-control-allow-headers", _SENT),
                (b"access-control-max-age", _MAX_AGE),
            ],
        )


def _header(sent: Headers, name: bytes) -> bytes | None:
    return next((value for key, value in sent if key == name), None)
