"""Between wire values and stored values: one codec per column, chosen when the revision is bound.

Owns how each kind of value is stored, the type signature that the catalog keeps, and which
signatures are the same type. Does not validate: the revision's validators did; what is refused
here is what a database could not hold, or would hold as something else.

Stored forms: text kinds and times as TEXT in wire form (times are fixed-width UTC, so that text
order is time order), integers and booleans as INTEGER, floats as REAL, decimals as INTEGER scaled
by 10**scale (exact in comparisons and sums), json and lists as JSON TEXT. Items of a list have the
same stored form as a value outside a list.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from watcherd.errors import StoreError
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Attribute, Kind

TEXT_KINDS: Final = frozenset({Kind.STRING, Kind.TEXT, Kind.EMAIL, Kind.URL, Kind.ENUM})
TIME_KINDS: Final = frozenset({Kind.DATETIME, Kind.DATE, Kind.TIME})
DEFAULT_PRECISION: Final = 18
DEFAULT_SCALE: Final = 6
_MAX_INTEGER: Final = 2**63 - 1

Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Codec:
    """How one column converts; None is "as it is". Neither direction is ever called with None."""

    encode: Convert | None
    decode: Convert | None

    def stored(self, value: Any) -> Any:
        """The stored form of a wire value, null included."""
        return value if value is None or self.encode is None else self.encode(value)

    def wire(self, value: Any) -> Any:
        """The wire form of a stored value, null included."""
        return value if value is None or self.decode is None else self.decode(value)


def codec_for(attribute: Attribute) -> Codec:
    """The codec of an attribute; of a reference, pass what `physical` answers."""
    item = _item_codec(attribute)
    if not attribute.is_list:
        return item
    return Codec(_list_encoder(item.encode), _list_decoder(item.decode))


def physical(linked: LinkedModel, attribute: Attribute) -> Attribute:
    """The attribute whose values a column really holds: of a reference, the key it points at.

    A key may itself be a reference; a chain that leaves what is linked, or bites its tail, is text.
    """
    seen = set()
    found = attribute
    while found.kind is Kind.REFERENCE:
        target = linked.targets.get(found.reference) if found.reference is not None else None
        if target is None or target.ref in seen:
            return Attribute(name=attribute.name, kind=Kind.STRING)
        seen.add(target.ref)
        found = target.key
    # A list of references has no foreign key, but items like the key that they point at.
    return replace(found, is_list=True) if attribute.is_list and not found.is_list else found


def signature(linked: LinkedModel, attribute: Attribute) -> str:
    """The type as the catalog writes it: `string`, `decimal(18,2)`, `text[]`, `reference:uuid`."""
    found = physical(linked, attribute)
    text = found.kind.value
    if found.kind is Kind.DECIMAL:
        text = f"decimal({found.precision or DEFAULT_PRECISION},{scale_of(found)})"
    if attribute.kind is Kind.REFERENCE:
        text = f"reference:{text}"
    return f"{text}[]" if attribute.is_list else text


def same_type(one: str, other: str) -> bool:
    """Whether values stored under one signature are read rightly under the other."""
    return _family(one) == _family(other)


def scale_of(attribute: Attribute) -> int:
    """Decimal places as stored."""
    return DEFAULT_SCALE if attribute.scale is None else attribute.scale


def literal(stored: str | float) -> str:
    """A stored value as SQL text, where no parameter can be bound."""
    return repr(stored) if isinstance(stored, int | float) else "'" + stored.replace("'", "''") + "'"


def scaled(value: str | Decimal | float, places: int) -> int:
    """A decimal as the integer that stores it; StoreError when it would lose a digit or overflow."""
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value))
        shifted = number.scaleb(places) if number.is_finite() else None
        result = int(shifted) if shifted is not None else None
    except (InvalidOperation, ValueError) as error:
        raise StoreError(f"cannot store {value!r} as a decimal") from error
    if result is None or shifted != result:
        raise StoreError(f"cannot store {value!r} as a decimal with {places} places")
    if abs(result) > _MAX_INTEGER:
        raise StoreError(f"cannot store {value!r}: it has too many digits for {places} decimal places")
    return result


def _family(text: str) -> str:
    """What must be equal for two signatures to be one type: limits and precision are not in it."""
    base, brackets, _ = text.partition("[]")
    prefix, colon, inner = base.rpartition(":")
    if inner in TEXT_KINDS:
        inner = "text"
    elif inner.startswith("decimal("):
        inner = f"decimal(,{inner.rpartition(',')[2]}"
    return f"{prefix}{colon}{inner}{brackets}"


def _item_codec(attribute: Attribute) -> Codec:
    kind = attribute.kind
    if kind in TEXT_KINDS:
        return Codec(_encode_text, None)
    if kind is Kind.BOOLEAN:
        return Codec(_encode_boolean, bool)
    if kind is Kind.FLOAT:
        # What RETURNING answers of a whole one is an integer to SQLite, and 5 is not written as 5.0 is.
        return Codec(_encode_float, float)
    if kind is Kind.DECIMAL:
        return _decimal_codec(attribute)
    if kind is Kind.JSON:
        return Codec(_encode_json, json.loads)
    return Codec(None, None)


def _encode_text(value: str) -> str:
    if "\0" in value:
        # SQLite's functions stop at it and PostgreSQL refuses it: the limits would not hold.
        raise StoreError("cannot store text with a NUL character")
    return value


def _encode_boolean(value: object) -> int:
    return 1 if value else 0


def _encode_float(value: float) -> float:
    if value != value:  # noqa: PLR0124 - the test for NaN that takes integers of any size too
        raise StoreError("cannot store a number that is not one (NaN)")
    return value


_JSON_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False)


def _encode_json(value: object) -> str:
    try:
        return _JSON_ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"cannot store a value that JSON does not have: {error}") from error


def _decimal_codec(attribute: Attribute) -> Codec:
    places = scale_of(attribute)
    trimmed = attribute.scale is None

    def encode(value: str) -> int:
        return scaled(value, places)

    def decode(value: int) -> str:
        if places == 0:
            return str(value)
        digits = str(abs(value)).rjust(places + 1, "0")
        whole, fraction = digits[:-places], digits[-places:]
        if trimmed:
            fraction = fraction.rstrip("0")
        text = f"{whole}.{fraction}" if fraction else whole
        return f"-{text}" if value < 0 else text

    return Codec(encode, decode)


def _list_encoder(encode: Convert | None) -> Convert:
    if encode is None or encode is _encode_json:
        return _encode_json
    return lambda values: _encode_json([None if value is None else encode(value) for value in values])


def _list_decoder(decode: Convert | None) -> Convert:
    if decode is None or decode is json.loads:
        return json.loads
    return lambda text: [None if value is None else decode(value) for value in json.loads(text)]
