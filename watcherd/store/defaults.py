"""The default of an attribute as a stored value: what rows that are older than it will show.

Owns the reading of a default as a client would send it. Does not validate it: `pim` did.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

from watcherd.pim.spec import Attribute, Kind
from watcherd.store.codecs import codec_for, literal

_WIRE = "%Y-%m-%dT%H:%M:%S.%fZ"


def default_literal(attribute: Attribute, held: Attribute, now: datetime) -> str | None:
    """SQL of the value that a new column has on old rows; None: null.

    An attribute that the server sets to the time has the time of the change: its rows were not
    watched before.
    """
    if attribute.default is not None:
        value = attribute.default.value
    elif attribute.auto_now or attribute.auto_now_add:
        value = _now(attribute.kind, now)
    else:
        return None
    wire = [_wire(held, item) for item in value] if attribute.is_list and value is not None else _wire(held, value)
    stored = codec_for(held).stored(wire)
    return None if stored is None else literal(stored)


def _wire(held: Attribute, value: Any) -> Any:
    """The canonical form, where a client may send more than one."""
    if not isinstance(value, str):
        return str(value) if held.kind is Kind.DECIMAL and value is not None else value
    if held.kind is Kind.DATETIME:
        parsed = datetime.fromisoformat(value)
        return (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)).astimezone(UTC).strftime(_WIRE)
    if held.kind is Kind.DATE:
        return date.fromisoformat(value).isoformat()
    if held.kind is Kind.TIME:
        return time.fromisoformat(value).strftime("%H:%M:%S.%f")
    return value.lower() if held.kind is Kind.UUID else value


def _now(kind: Kind, now: datetime) -> str:
    if kind is Kind.DATE:
        return now.strftime("%Y-%m-%d")
    return now.strftime("%H:%M:%S.%f") if kind is Kind.TIME else now.strftime(_WIRE)
