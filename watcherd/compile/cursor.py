"""Cursors: the place where a page ends, as a token that the next page begins at.

A token holds the values of the sort attributes and the key of the page's last row, so the next
page begins behind that place whatever is inserted or deleted meanwhile. It carries a checksum over
itself, the sort and the filters, and its values are read again like those of a filter. It is not
signed: whoever forges one asks for what `gt` and `lt` would give as well.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from pydantic_core import from_json, to_json

from watcherd.compile.values import Reader
from watcherd.store import Row, Select, ordering

MAX_TOKEN = 2000
_CHECKSUM_BYTES = 8
_EXPECTED = "expected the cursor that `next` holds"
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class AtRow:
    """The place of a row whose values are too long for a URL: it has to be looked up, by its key."""

    key: Any


def token_after(row: Row, select: Select, owner: str, key: str) -> str:
    """The token of the page that follows `row`.

    Where the values are too long for a URL it holds the key alone: that page begins where the row
    stands by then, if it is still there.
    """
    token = _token([_as_text(value) for value in position(row, select, key)], select, owner)
    return token if len(token) <= MAX_TOKEN else _token({"row": _as_text(row.values[key])}, select, owner)


def position(row: Row, select: Select, key: str) -> tuple[Any, ...]:
    """The values that say where a row stands in the order of a select."""
    return tuple(row.values[name] for name, _ in ordering(select.sort, key))


def read_token(
    token: str, select: Select, owner: str, key: str, readers: Callable[[str], Reader]
) -> tuple[Any, ...] | AtRow:
    """The position that a token holds. ValueError for a token that is not one of this query."""
    content = _content(token, select, owner)
    if isinstance(content, dict):
        return AtRow(_read(content.get("row"), key, key, readers))
    order = ordering(select.sort, key)
    if not isinstance(content, list) or len(content) != len(order):
        raise ValueError(_EXPECTED)
    return tuple(_read(text, name, key, readers) for text, (name, _) in zip(content, order, strict=True))


def _read(text: object, name: str, key: str, readers: Callable[[str], Reader]) -> Any:
    if text is None and name != key:
        return None
    if not isinstance(text, str):
        raise ValueError(_EXPECTED)  # noqa: TRY004 - a wrong value of a client, like any other
    return readers(name)(text)


def _as_text(value: object) -> str | None:
    """A wire value as a query string would say it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None or isinstance(value, str) else repr(value)


def _token(content: object, select: Select, owner: str) -> str:
    payload = to_json(content)
    return base64.urlsafe_b64encode(_checksum(payload, select, owner) + payload).rstrip(b"=").decode("ascii")


def _content(token: str, select: Select, owner: str) -> Any:
    if len(token) > MAX_TOKEN or _TOKEN.fullmatch(token) is None:
        raise ValueError(_EXPECTED)
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    payload = raw[_CHECKSUM_BYTES:]
    if _checksum(payload, select, owner) != raw[:_CHECKSUM_BYTES]:
        raise ValueError("it is damaged, or belongs to another sort or other filters")
    return from_json(payload)


def _checksum(payload: bytes, select: Select, owner: str) -> bytes:
    """Of a token in its query: the order of filters does not matter, nor how their values were spelt."""
    filters = sorted(to_json([one.attribute, one.operator, one.value]) for one in select.filters)
    query = b"\n".join([owner.encode(), to_json(select.sort), *filters, payload])
    return blake2b(query, digest_size=_CHECKSUM_BYTES).digest()
