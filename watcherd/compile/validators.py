"""Attribute -> pydantic-core schema: which JSON values an attribute takes, and as what it is stored.

One validator serves create, replace and patch: it knows types and limits, while which attributes
must be there is a question of sets that `bodies` answers. Three validators of the same fields would
triple the time to compile and could disagree.

Types are those of JSON: no text for a number. An integral float (`3.0`) is an integer, as in JSON
Schema. The kinds that travel as text go through `values`, in Python, where an expression of
pydantic-core costs more to build than it saves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from types import NoneType
from typing import Any

from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from watcherd.compile import values
from watcherd.pim.linked import Target
from watcherd.pim.spec import Attribute, EntityRef, Kind
from watcherd.pim.values import is_multiple

Targets = Mapping[EntityRef, Target]

# Above, neighbouring floats are more than one apart: the integer that was meant is unknown.
_MAX_EXACT_FLOAT = 2**53

_TEXT_KINDS: Mapping[Kind, str] = {
    Kind.UUID: "a UUID",
    Kind.DATETIME: "a date and time",
    Kind.DATE: "a date",
    Kind.TIME: "a time",
    Kind.EMAIL: "an email address",
    Kind.URL: "a URL",
}


def body_schema(
    attributes: Collection[Attribute], targets: Targets, *, required: Collection[str] = (), locked: Collection[str] = ()
) -> CoreSchema:
    """An object of these attributes and no others.

    `required` names must be there; `locked` ones may be null, whatever the attribute says: null in
    place of what the server sets means that the client does not give it.
    """
    return core_schema.typed_dict_schema(
        {
            attribute.name: core_schema.typed_dict_field(
                attribute_schema(attribute, targets, nullable=takes_null(attribute) or attribute.name in locked),
                required=attribute.name in required,
            )
            for attribute in attributes
        },
        extra_behavior="forbid",
    )


def takes_null(attribute: Attribute) -> bool:
    """Whether a row may have no value here; a key never."""
    return not attribute.required and not attribute.primary_key


def attribute_schema(attribute: Attribute, targets: Targets, *, nullable: bool) -> CoreSchema:
    """The values of one attribute; the limits of a list are those of its items."""
    schema = scalar_schema(values.resolve(attribute, targets))
    if attribute.is_list:
        schema = core_schema.list_schema(schema, strict=True)
    return core_schema.nullable_schema(schema) if nullable else schema


def scalar_schema(attribute: Attribute) -> CoreSchema:
    """The values of one item."""
    if attribute.members:
        return core_schema.literal_schema(values.choices(attribute))
    return _SCALARS.get(attribute.kind, _text)(attribute)


def _text(attribute: Attribute) -> CoreSchema:
    least = attribute.min_length
    if attribute.primary_key and not least:
        least = 1  # a row whose key is empty has no path
    schema: CoreSchema = core_schema.str_schema(
        strict=True, min_length=least, max_length=attribute.max_length, pattern=attribute.pattern
    )
    return core_schema.no_info_after_validator_function(_addressable, schema) if attribute.primary_key else schema


def _addressable(key: str) -> str:
    """A key is a segment of its row's path."""
    if key in values.UNADDRESSABLE:
        message = "expected a key other than '.', '..' and '-': its row, or what is below it, would have no address"
        raise PydanticCustomError("address", message)
    return key


def _integer(attribute: Attribute) -> CoreSchema:
    lowest, highest = attribute.minimum, attribute.maximum
    above, below = attribute.exclusive_minimum, attribute.exclusive_maximum
    of = attribute.multiple_of
    schema: CoreSchema = core_schema.int_schema(
        strict=True,
        ge=max(values.INT64_MIN, math.ceil(lowest)) if lowest is not None else values.INT64_MIN,
        le=min(values.INT64_MAX, math.floor(highest)) if highest is not None else values.INT64_MAX,
        gt=None if above is None else math.floor(above),
        lt=None if below is None else math.ceil(below),
    )
    schema = core_schema.no_info_before_validator_function(_integral, schema)
    return schema if of is None else core_schema.no_info_after_validator_function(_multiple(of), schema)


def _integral(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) <= _MAX_EXACT_FLOAT:
        return int(value)
    return value


def _float(attribute: Attribute) -> CoreSchema:
    schema: CoreSchema = core_schema.float_schema(
        strict=True,
        allow_inf_nan=False,
        ge=_as_float(attribute.minimum),
        le=_as_float(attribute.maximum),
        gt=_as_float(attribute.exclusive_minimum),
        lt=_as_float(attribute.exclusive_maximum),
    )
    of = attribute.multiple_of
    return schema if of is None else core_schema.no_info_after_validator_function(_multiple(of), schema)


def _as_float(bound: Decimal | None) -> float | None:
    return None if bound is None else float(bound)


def _multiple(of: Decimal) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        # Through the shortest text: 0.3 is a multiple of 0.1 for whoever wrote it.
        if not is_multiple(Decimal(str(value)), of):
            raise refusal("multiple_of", f"expected a multiple of {of}")
        return value

    return check


def _decimal(attribute: Attribute) -> CoreSchema:
    read = values.decimal_reader(attribute)
    of = attribute.multiple_of
    lowest, highest = attribute.minimum, attribute.maximum
    above, below = attribute.exclusive_minimum, attribute.exclusive_maximum
    bounded = any(bound is not None for bound in (lowest, highest, above, below, of))

    def check(value: Any) -> Any:
        written = _number_text(value)
        try:
            text = read(written)
        except ValueError as error:
            raise refusal("format", str(error)) from None
        if bounded:
            number = Decimal(text)
            if lowest is not None and number < lowest:
                raise refusal("minimum", f"expected at least {lowest}")
            if highest is not None and number > highest:
                raise refusal("maximum", f"expected at most {highest}")
            if above is not None and number <= above:
                raise refusal("exclusive_minimum", f"expected more than {above}")
            if below is not None and number >= below:
                raise refusal("exclusive_maximum", f"expected less than {below}")
            if of is not None and not is_multiple(number, of):
                raise refusal("multiple_of", f"expected a multiple of {of}")
        return text

    return core_schema.no_info_plain_validator_function(check)


def _number_text(value: Any) -> str:
    if isinstance(value, values.ExactFloat):
        return value.text
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise refusal("type", f"expected a decimal number, not {json_type(value)}")


def _boolean(_: Attribute) -> CoreSchema:
    return core_schema.bool_schema(strict=True)


def _json(_: Attribute) -> CoreSchema:
    return core_schema.no_info_plain_validator_function(any_json)


def any_json(value: Any) -> Any:
    """Any JSON value, but for numbers that are none once they are read (`1e999`)."""
    _check_numbers(value)
    return value


def _check_numbers(value: Any) -> None:
    # Recursion is bounded: the parser refuses more than 200 levels.
    if isinstance(value, float):
        if math.isinf(value):
            raise refusal("range", "expected numbers that fit a 64 bit float")
    elif isinstance(value, dict):
        for item in value.values():
            _check_numbers(item)
    elif isinstance(value, list):
        for item in value:
            _check_numbers(item)


def _read_text(attribute: Attribute) -> CoreSchema:
    read, expected = values.READERS[attribute.kind], _TEXT_KINDS[attribute.kind]

    def check(value: Any) -> Any:
        if not isinstance(value, str):
            raise refusal("type", f"expected {expected} as a string, not {json_type(value)}")
        try:
            return read(value)
        except ValueError as error:
            raise refusal("format", str(error)) from None

    schema = core_schema.no_info_plain_validator_function(check)
    if attribute.min_length is None and attribute.max_length is None and attribute.pattern is None:
        return schema
    return core_schema.chain_schema([schema, _text(attribute)])


def refusal(code: str, message: str) -> PydanticCustomError:
    """The error of our own readers; the message goes through the context, since it may hold braces."""
    return PydanticCustomError(code, "{message}", {"message": message})


def json_type(value: Any) -> str:
    """What a value is called in JSON."""
    return next(name for type_, name in _JSON_TYPES if isinstance(value, type_))


_SCALARS: Mapping[Kind, Callable[[Attribute], CoreSchema]] = {
    Kind.INTEGER: _integer,
    Kind.FLOAT: _float,
    Kind.DECIMAL: _decimal,
    Kind.BOOLEAN: _boolean,
    Kind.JSON: _json,
    **dict.fromkeys(_TEXT_KINDS, _read_text),
}

# A boolean is an int in Python: it comes first.
_JSON_TYPES = (
    (NoneType, "null"),
    (bool, "a boolean"),
    (str, "a string"),
    (int, "an integer"),
    (float, "a number"),
    (list, "an array"),
    (object, "an object"),
)
