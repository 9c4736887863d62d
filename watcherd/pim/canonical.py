"""The fingerprint of a spec: equal specs have equal ones, and no others do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from watcherd.pim.flow_spec import Flow
from watcherd.pim.linked import NO_CODE
from watcherd.pim.spec import Attribute, Entity, ModelRule, Service

if TYPE_CHECKING:
    from watcherd.pim.linked import Code
    from watcherd.pim.spec import ModelSpec


def fingerprint(spec: ModelSpec, code: Code = NO_CODE) -> str:
    """SHA-256, in hex, of what a spec means; stable over processes, machines and key orders.

    `code` is what its handlers need, which is part of what it means. An entity stands in it by a
    digest of its own, which is kept with the entity.
    """
    _MEMORY.turn()
    digest = _digest(spec)
    if not code.files:
        return digest
    parts = [digest, *(f"{path} {hashlib.sha256(source).hexdigest()}" for path, source in sorted(code.files.items()))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _digest(value: object) -> str:
    text = json.dumps(_fields(value), ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _of_entity(entity: Entity) -> str:
    if entity.digest is None:
        object.__setattr__(entity, "digest", _digest(entity))
    return str(entity.digest)


_SHARED: Final = frozenset({Attribute, Service, Flow, ModelRule})
"""What the next spec takes up as it is where an edit has left it alone (see `sharing`)."""


class _Memory:
    """What was made of such objects for the last fingerprint and the one before, by identity.

    The object is kept with it, so that no other has its identity.
    """

    def __init__(self) -> None:
        self._now: dict[int, tuple[object, object]] = {}
        self._before: dict[int, tuple[object, object]] = {}

    def turn(self) -> None:
        """Begin another fingerprint."""
        self._before, self._now = self._now, {}

    def fields(self, value: object) -> object:
        """As `_fields`."""
        known = self._now.get(id(value)) or self._before.get(id(value)) or (value, _fields(value))
        self._now[id(value)] = known
        return known[1]


_MEMORY: Final = _Memory()

_PLAIN: Final = frozenset({str, int, bool, type(None)})


_NAMES: Final[dict[type[Any], tuple[str, ...]]] = {}


def _names(kind: type[Any]) -> tuple[str, ...]:
    """The names of a dataclass's fields that count, in one order; none of what is no dataclass."""
    if kind not in _NAMES:
        _NAMES[kind] = tuple(sorted(one.name for one in fields(kind) if one.compare)) if is_dataclass(kind) else ()
    return _NAMES[kind]


def _fields(value: object) -> object:
    kind: type[Any] = type(value)
    held = ((name, getattr(value, name)) for name in _names(kind))
    return [kind.__name__, {name: _canonical(one) for name, one in held if one is not None}]


def _canonical(value: object) -> object:
    """A value as JSON that differs exactly when the value does; fields that are None are left out."""
    kind: type[Any] = type(value)
    if kind in _PLAIN or isinstance(value, str):
        return value
    if kind in _SHARED:
        return _MEMORY.fields(value)
    if isinstance(value, tuple | frozenset):
        return ["set", *sorted(value)] if kind is frozenset else [_canonical(one) for one in value]
    if _names(kind):
        return _of_entity(value) if isinstance(value, Entity) else _fields(value)
    if isinstance(value, Mapping):
        return [[key, _canonical(one)] for key, one in sorted(value.items())]
    return ["number", str(value.normalize()) if value else "0"] if isinstance(value, Decimal) else value
