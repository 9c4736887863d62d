"""The fingerprint of a spec: equal specs have equal ones, and no others do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watcherd.pim.spec import ModelSpec


def fingerprint(spec: ModelSpec) -> str:
    """SHA-256, in hex, of what a spec means; stable over processes, machines and key orders."""
    text = json.dumps(_canonical(spec), ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: object) -> object:
    """A value as JSON that differs exactly when the value does; fields that are None are left out."""
    if is_dataclass(value) and not isinstance(value, type):
        held = ((one.name, getattr(value, one.name)) for one in fields(value))
        return [type(value).__name__, {name: _canonical(one) for name, one in sorted(held) if one is not None}]
    if isinstance(value, Mapping):
        return [[key, _canonical(one)] for key, one in sorted(value.items())]
    if isinstance(value, frozenset):
        return ["set", *sorted(value)]
    if isinstance(value, tuple):
        return [_canonical(one) for one in value]
    if isinstance(value, Decimal):
        return ["number", str(value.normalize()) if value else "0"]
    return value
