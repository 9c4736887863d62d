"""The fingerprint of a spec: equal specs have equal ones, and no others do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from watcherd.pim.spec import ModelSpec


def fingerprint(spec: ModelSpec) -> str:
    """SHA-256, in hex, of what a spec means; stable over processes, machines and key orders."""
    text = json.dumps(_canonical(spec), ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


_PLAIN: Final = frozenset({str, int, bool, type(None)})


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    """The names of a dataclass's fields, in one order."""
    return tuple(sorted(one.name for one in fields(kind)))


def _canonical(value: object) -> object:
    """A value as JSON that differs exactly when the value does; fields that are None are left out."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if is_dataclass(kind):
        held = ((name, getattr(value, name)) for name in _names(kind))
        return [kind.__name__, {name: _canonical(one) for name, one in held if one is not None}]
    if isinstance(value, Mapping):
        return [[key, _canonical(one)] for key, one in sorted(value.items())]
    if isinstance(value, tuple | frozenset):
        return ["set", *sorted(value)] if kind is frozenset else [_canonical(one) for one in value]
    if isinstance(value, Decimal):
        return ["number", str(value.normalize()) if value else "0"]
    return value
