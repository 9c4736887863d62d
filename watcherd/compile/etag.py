"""Entity tags and the conditions that clients make of them (RFC 9110, section 13).

A tag is strong, `"{row version}-{hash of the representation}"`. A reload may change how a row is
shown, so `If-None-Match` of a read compares whole tags. A write goes by the version alone: a
reload must not fail one that is based on the row as it is, nor let in one that is not to touch it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Container
from hashlib import blake2b
from typing import Final

from watcherd import problems
from watcherd.problems import Problem
from watcherd.wire import Call

Wanted = Container[int] | None
"""The row versions that a write may be based on; None: any."""

_NOWHERE: Final = frozenset[int]()

_TAG = re.compile(rb'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_OURS = re.compile(rb"([0-9]{1,19})-[0-9a-f]{16}")


def etag(version: int, representation: bytes) -> bytes:
    """The tag of a row as it is shown."""
    return b'"%d-%s"' % (version, blake2b(representation, digest_size=8).hexdigest().encode())


def is_known(condition: bytes | None, tag: bytes) -> bool:
    """Whether `If-None-Match` names this tag: the client has the representation already."""
    if condition is None:
        return False
    if condition.strip() == b"*":
        return True
    return any(b'"%s"' % found[2] == tag for found in _TAG.finditer(condition))


def conditions(call: Call) -> Wanted:
    """The row versions that a write may be based on, by its `If-Match` and `If-None-Match`."""
    wanted = wanted_versions(call.header(b"if-match"))
    refused = call.header(b"if-none-match")
    if refused is None:
        return wanted
    return _NOWHERE if refused.strip() == b"*" else _Others(wanted, _versions(refused, weak=True))


class _Others:
    """The versions that are wanted, but for some."""

    __slots__ = ("_refused", "_wanted")

    def __init__(self, wanted: Wanted, refused: Collection[int]) -> None:
        self._wanted = wanted
        self._refused = refused

    def __contains__(self, version: object) -> bool:
        return version not in self._refused and (self._wanted is None or version in self._wanted)


def wanted_versions(condition: bytes | None) -> Collection[int] | None:
    """The row versions that `If-Match` allows; None: any.

    Weak tags and tags that are not ours match nothing, as RFC 9110 says of the strong comparison.
    """
    if condition is None or condition.strip() == b"*":
        return None
    return _versions(condition, weak=False)


def _versions(condition: bytes, *, weak: bool) -> Collection[int]:
    """The row versions of the tags that are ours."""
    return {
        int(ours[1])
        for found in _TAG.finditer(condition)
        if (weak or not found[1]) and (ours := _OURS.fullmatch(found[2])) is not None
    }


def require_version(wanted: Wanted, version: int) -> None:
    """Raise `Problem` (412) when a row is at none of the versions that the client based its write on."""
    if wanted is not None and version not in wanted:
        raise stale()


def stale() -> Problem:
    """412."""
    return Problem(
        problems.PRECONDITION_FAILED,
        "the row is not at a version that the conditions of the request allow; read it again",
    )
