"""Entity tags and the conditions that clients make of them (RFC 9110, section 13).

A tag is strong, `"{row version}-{hash of the representation}"`. A reload may change how a row is
shown, so `If-None-Match` compares whole tags, while `If-Match` compares the version alone: a
reload must not fail a write that is based on the row as it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from hashlib import blake2b

from watcherd import problems
from watcherd.problems import Problem

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


def wanted_versions(condition: bytes | None) -> Collection[int] | None:
    """The row versions that `If-Match` allows; None: any.

    Weak tags and tags that are not ours match nothing, as RFC 9110 says of the strong comparison.
    """
    if condition is None or condition.strip() == b"*":
        return None
    return {
        int(ours[1])
        for found in _TAG.finditer(condition)
        if not found[1] and (ours := _OURS.fullmatch(found[2])) is not None
    }


def require_version(wanted: Collection[int] | None, version: int) -> None:
    """Raise `Problem` (412) when a row is at none of the versions that the client based its write on."""
    if wanted is not None and version not in wanted:
        raise stale()


def stale() -> Problem:
    """412."""
    return Problem(problems.PRECONDITION_FAILED, "the row is not at the version that If-Match names; read it again")
