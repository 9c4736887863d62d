"""One value written in a model file, as the wire value of its kind: defaults, examples, free JSON.

Wire values are what a client would send and what rows hold: decimals and times are canonical text,
times in UTC with six digits. A value that its kind cannot have raises `ValueFault`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic_core import PydanticCustomError, SchemaValidator, ValidationError, core_schema

from watcherd.expressions import pattern_fault as regular_expression_fault
from watcherd.expressions import pattern_validator
from watcherd.pim.findings import quote
from watcherd.pim.nodes import ListNode, MapNode, Node, ScalarNode, is_true, number_of
from watcherd.pim.spec import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_PATTERN = 1000
INT64 = range(-(2**63), 2**63)
DEFAULT_PRECISION = 18
DEFAULT_SCALE = 6
TEXTUAL = frozenset({Kind.STRING, Kind.TEXT, Kind.EMAIL, Kind.URL})
NUMERIC = frozenset({Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL})
TEMPORAL = frozenset({Kind.DATETIME, Kind.DATE, Kind.TIME})

_FLOAT_DIGITS = 308
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_URL = SchemaValidator(core_schema.url_schema())


class ValueFault(Exception):  # noqa: N818 - becomes a finding, never leaves this package
    """A value is not one of its kind; the text says what is expected."""


@dataclass(frozen=True, slots=True)
class Limited:
    """The limits that a value is held to, beside its kind."""

    members: tuple[str, ...] = ()
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    exclusive_minimum: Decimal | None = None
    exclusive_maximum: Decimal | None = None
    precision: int | None = None
    scale: int | None = None
    multiple_of: Decimal | None = None


UNLIMITED = Limited()


def wire_value(node: Node, kind: Kind, limited: Limited, *, is_list: bool) -> Any:
    """The wire value that `node` stands for; raises `ValueFault`."""
    if not is_list:
        return _one(node, kind, limited)
    if not isinstance(node, ListNode):
        raise ValueFault("expected a list")
    return [_one(item, kind, limited) for item in node]


def free_value(node: Node) -> Any:
    """Any JSON value, as YAML 1.2 reads it; raises `ValueFault` for infinity and the like."""
    if isinstance(node, MapNode):
        return {key: free_value(value) for key, value in node.items()}
    if isinstance(node, ListNode):
        return [free_value(item) for item in node]
    if node.kind == "null":
        return None
    if node.kind == "boolean":
        return is_true(node)
    if node.kind in {"integer", "float"}:
        number = _checked_number(node)
        return int(number) if node.kind == "integer" else float(number)
    return node.text


def pattern_fault(pattern: str) -> str | None:
    """Why a pattern is not one of the engine that validates with it; None where it is."""
    if len(pattern) > _LONGEST_PATTERN:
        return f"longer than {_LONGEST_PATTERN} characters"
    return regular_expression_fault(pattern)


def _one(node: Node, kind: Kind, limited: Limited) -> Any:
    if kind is Kind.JSON:
        return free_value(node)
    if not isinstance(node, ScalarNode) or node.kind == "null":
        raise ValueFault(f"expected one {kind.value}")
    return _READERS[kind](node, limited)


def _text(node: ScalarNode, limited: Limited) -> str:
    text = node.text
    if limited.min_length is not None and len(text) < limited.min_length:
        raise ValueFault(f"shorter than min_length {limited.min_length}")
    if limited.max_length is not None and len(text) > limited.max_length:
        raise ValueFault(f"longer than max_length {limited.max_length}")
    if limited.pattern is not None:
        try:
            pattern_validator(limited.pattern).validate_python(text)
        except ValidationError:
            raise ValueFault(f"does not match the pattern {quote(limited.pattern)}") from None
    return text


def _email(node: ScalarNode, limited: Limited) -> str:
    from pydantic import validate_email  # noqa: PLC0415 - loads the e-mail library, which few models need

    try:
        validate_email(node.text)
    except PydanticCustomError:
        raise ValueFault("expected an e-mail address") from None
    return _text(node, limited)


def _url(node: ScalarNode, limited: Limited) -> str:
    try:
        _URL.validate_python(node.text)
    except ValidationError:
        raise ValueFault("expected a URL with its scheme, such as https://example.org/") from None
    return _text(node, limited)


def _enum(node: ScalarNode, limited: Limited) -> str:
    if node.text not in limited.members:
        raise ValueFault(f"expected one of {', '.join(limited.members)}")
    return node.text


def _boolean(node: ScalarNode, _: Limited) -> bool:
    if node.kind != "boolean":
        raise ValueFault("expected true or false")
    return is_true(node)


def _integer(node: ScalarNode, limited: Limited) -> int:
    if node.kind != "integer":
        raise ValueFault("expected a whole number")
    number = int(_checked_number(node))
    if number not in INT64:
        raise ValueFault("expected a whole number of 64 bits")
    _check_bounds(Decimal(number), limited)
    return number


def _float(node: ScalarNode, limited: Limited) -> float:
    number = _checked_number(node)
    _check_bounds(number, limited)
    return float(number)


def _decimal(node: ScalarNode, limited: Limited) -> str:
    quoted = ScalarNode(node.text, "float" if _PLAIN_DECIMAL.fullmatch(node.text) else node.kind, node.start, node.end)
    number = _checked_number(quoted)
    scale = DEFAULT_SCALE if limited.scale is None else limited.scale
    precision = limited.precision or DEFAULT_PRECISION
    scale = min(scale, precision)
    _, digits, exponent = (number.normalize() if number else Decimal(0)).as_tuple()
    if not isinstance(exponent, int) or -exponent > scale:
        raise ValueFault(f"expected at most {scale} decimal places")
    if len(digits) + exponent > precision - scale:
        raise ValueFault(f"expected at most {precision - scale} digits before the point")
    _check_bounds(number, limited)
    if limited.scale is not None:
        return f"{number or Decimal(0):.{limited.scale}f}"
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"-0", ""} else text


_PLAIN_DECIMAL = re.compile(r"[-+]?\d+(\.\d+)?", re.ASCII)


def _checked_number(node: ScalarNode) -> Decimal:
    number = number_of(node)
    if number is None:
        raise ValueFault("expected a number")
    if number.adjusted() > _FLOAT_DIGITS - 1 or number.adjusted() < -_FLOAT_DIGITS:
        raise ValueFault(f"expected a number of at most {_FLOAT_DIGITS} digits")
    return number


def _check_bounds(number: Decimal, limited: Limited) -> None:
    if limited.minimum is not None and number < limited.minimum:
        raise ValueFault(f"less than the minimum {limited.minimum}")
    if limited.maximum is not None and number > limited.maximum:
        raise ValueFault(f"greater than the maximum {limited.maximum}")
    if limited.exclusive_minimum is not None and number <= limited.exclusive_minimum:
        raise ValueFault(f"not greater than {limited.exclusive_minimum}")
    if limited.exclusive_maximum is not None and number >= limited.exclusive_maximum:
        raise ValueFault(f"not less than {limited.exclusive_maximum}")
    if limited.multiple_of and not is_multiple(number, limited.multiple_of):
        raise ValueFault(f"not a multiple of {limited.multiple_of}")


def is_multiple(number: Decimal, step: Decimal) -> bool:
    """Exact for any size: `Decimal %` refuses quotients of more digits than its context has."""
    top, bottom = number.as_integer_ratio()
    step_top, step_bottom = step.as_integer_ratio()
    return top * step_bottom % (bottom * step_top) == 0


def _datetime(node: ScalarNode, _: Limited) -> str:
    fault = ValueFault("expected an RFC 3339 date and time, such as 2026-11-22T01:31:46Z")
    if _DATE.fullmatch(node.text):
        raise fault
    try:
        moment = datetime.fromisoformat(node.text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise fault from None
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _date(node: ScalarNode, _: Limited) -> str:
    fault = ValueFault("expected a date, such as 2026-11-22")
    if not _DATE.fullmatch(node.text):
        raise fault
    try:
        return date.fromisoformat(node.text).isoformat()
    except ValueError:
        raise fault from None


def _time(node: ScalarNode, _: Limited) -> str:
    try:
        moment = time.fromisoformat(node.text)
    except ValueError:
        raise ValueFault("expected a time, such as 01:31:46") from None
    if moment.tzinfo is not None:
        raise ValueFault("expected a time without an offset, such as 01:31:46")
    return moment.isoformat("microseconds")


def _uuid(node: ScalarNode, _: Limited) -> str:
    try:
        return str(UUID(node.text))
    except ValueError:
        raise ValueFault("expected a UUID") from None


def _reference(node: ScalarNode, _: Limited) -> str | int:
    """A key of an entity that may not be known here: text, or a whole number."""
    return _integer(node, UNLIMITED) if node.kind == "integer" else node.text


_READERS: dict[Kind, Callable[[ScalarNode, Limited], Any]] = {
    Kind.STRING: _text,
    Kind.TEXT: _text,
    Kind.EMAIL: _email,
    Kind.URL: _url,
    Kind.ENUM: _enum,
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: _integer,
    Kind.FLOAT: _float,
    Kind.DECIMAL: _decimal,
    Kind.DATETIME: _datetime,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.UUID: _uuid,
    Kind.REFERENCE: _reference,
}
