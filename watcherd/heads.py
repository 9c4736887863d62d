"""What the head of a request has to say, and must not: what RFC 9110 and 9112 ask and the parser leaves open.

Who reads a head in another way than the proxy before it takes part of one request for another. Owns the
version, the host, the form of the address and how a body is framed. Does not own how much and how slowly
a client may send (connection), nor what the parser refuses by itself: lines that are folded or end in
another way, a space before a colon, two lengths, a length beside a coding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from watcherd import problems
from watcherd.problems import Problem
from watcherd.wire import Headers, as_lines

TELLING: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"upgrade"})
"""Headers that have a say in what the request is, and where it ends."""

_SPOKEN: Final = frozenset({"1.0", "1.1"})

# RFC 3986, 3.2.2: a name, which may be empty, or an address in brackets; and a port.
_AUTHORITY: Final = re.compile(
    rb"(?:\[[0-9A-Za-z:.%_~-]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?"
)
_ABSOLUTE: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)

_SHOWN_BYTES: Final = 80


class Target(NamedTuple):
    """What a request is for: its path and query as sent to a server, and the host where the address names one."""

    address: bytes
    host: bytes | None = None


def check_line(method: bytes, version: str) -> None:
    """Refuse, by a `Problem`, what no head of this server can begin with."""
    if version not in _SPOKEN:
        raise Problem(problems.HTTP_VERSION, f"HTTP/{version} is not spoken here: send HTTP/1.1")
    if method == b"CONNECT":
        raise Problem(problems.NOT_OFFERED, "CONNECT asks for a tunnel, and this server is no proxy: send GET or POST")


def check(telling: Headers, version: str) -> bool:
    """Refuse, by a `Problem`, what the `TELLING` headers of a head must not say.

    Answers whether they are nothing but a host that is in order: then the same again need not be looked at.
    """
    hosts = [value for name, value in telling if name == b"host"]
    if len(hosts) > 1:
        raise Problem(problems.BAD_REQUEST, "the header Host is there more than once: send it once")
    if not hosts and version != "1.0":
        raise Problem(problems.BAD_REQUEST, "the header Host is missing: HTTP/1.1 requires it")
    if hosts and not _AUTHORITY.fullmatch(hosts[0]):
        shown = _shown(hosts[0])
        raise Problem(problems.BAD_REQUEST, f"the header Host names no host: {shown}; send a name, and a port if any")
    _check_codings([value for name, value in telling if name == b"transfer-encoding"], version)
    return len(telling) == 1 and bool(hosts)


def find_target(address: bytes, method: bytes) -> Target:
    """What an address that is no mere path means; refuses, by a `Problem`, what means nothing here."""
    if address == b"*":
        if method != b"OPTIONS":
            raise Problem(problems.BAD_REQUEST, "the address * is for OPTIONS alone: send a path that begins with /")
        return Target(address)
    found = _ABSOLUTE.fullmatch(address)
    if found is None:
        raise Problem(problems.BAD_REQUEST, f"the address {_shown(address)} is no path: send one that begins with /")
    scheme, host, path = found.groups()
    if scheme.lower() not in {b"http", b"https"}:
        raise Problem(problems.BAD_REQUEST, f"the address is one of {_shown(scheme)}: send one of http, or its path")
    if b"@" in host:
        raise Problem(problems.BAD_REQUEST, "the address names a user: send credentials in the header Authorization")
    if not host or not _AUTHORITY.fullmatch(host):
        raise Problem(problems.BAD_REQUEST, f"the address names no host: {_shown(host)}; send one, or the path alone")
    if path.startswith(b"/"):
        return Target(path, host)
    return Target(b"*" if method == b"OPTIONS" and not path else b"/" + path, host)


def without_upgrade(method: bytes, address: bytes, version: str, headers: Headers) -> bytes:
    """The head as if no other protocol had been wished for: then its body is one."""
    lines = as_lines([header for header in headers if header[0] != b"upgrade"])
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, address, version.encode("ascii"), lines)


def too_large(address: bytes, most: int) -> Problem:
    """What is said of a head over `most` bytes: 414 where the address alone is."""
    if len(address) > most:
        return Problem(problems.URI_TOO_LONG, f"the address is over {most} bytes")
    return Problem(problems.HEADERS_TOO_LARGE, f"the address and the headers are over {most} bytes")


def too_much_beside_the_body(most: int) -> Problem:
    """What is said of extensions and trailers of chunks over `most` bytes."""
    return Problem(problems.HEADERS_TOO_LARGE, f"what stands beside the chunks of the body is over {most} bytes")


def in_words(error: Exception) -> str:
    """What the parser says of what it cannot read."""
    said = str(error).strip().rstrip(".")
    return said[:1].lower() + said[1:] if said else "it cannot be read"


def _check_codings(codings: Sequence[bytes], version: str) -> None:
    """Only `chunked` is undone here: a body that came in another coding as well would be stored as it came."""
    if not codings:
        return
    if version == "1.0":
        detail = "HTTP/1.0 has no Transfer-Encoding: send Content-Length, or HTTP/1.1"
        raise Problem(problems.BAD_REQUEST, detail)
    all_of_them = b", ".join(codings)
    if all_of_them.lower() == b"chunked":
        return
    if all_of_them.rpartition(b",")[2].strip().lower() != b"chunked":
        detail = (
            f"the Transfer-Encoding {_shown(all_of_them)} leaves the end of the body open: send it as chunked alone"
        )
        raise Problem(problems.BAD_REQUEST, detail)
    detail = f"the Transfer-Encoding {_shown(all_of_them)} is not undone here: send the body as chunked alone"
    raise Problem(problems.NOT_OFFERED, detail)


def _shown(said: bytes) -> str:
    """What a client sent, for people: not all of it where it is long."""
    text = said[:_SHOWN_BYTES].decode("ascii", "backslashreplace")
    return f"'{text}...'" if len(said) > _SHOWN_BYTES else f"'{text}'"
