"""What the operators of expressions do with two values, neither of them null.

Owns arithmetic, order and equality, of values whose types are known when an expression is read and of
those that came out of free-form JSON. What null does, and who asks, is `lowering`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final

from watcherd.errors import EvaluationError
from watcherd.expressions.functions import EXACT, ROUNDED, whole
from watcherd.expressions.types import ANY, Type

ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def are_ordered(one: Any, two: Any) -> bool:
    """Whether one of them can come before the other."""
    if _is_number(one) and _is_number(two):
        return True
    return type(one) is type(two) and not isinstance(one, list | dict)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal | float) and not isinstance(value, bool)


def same(one: Any, two: Any) -> bool:
    """Equality as CEL and JSON have it: `true` is not 1, a float is compared with the float of a decimal."""
    if isinstance(one, bool) or isinstance(two, bool):
        return one is two
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, Decimal) and isinstance(two, float):
        return as_float(one) == two
    if isinstance(one, float) and isinstance(two, Decimal):
        return one == as_float(two)
    return bool(one == two)


def as_float(value: Any) -> float:
    """A number as a float. Raises `EvaluationError` where none is near."""
    try:
        return float(value)
    except OverflowError as error:
        raise EvaluationError("a number that no float can be") from error


def operation(op: str, result: Type) -> Callable[[Any, Any], Any]:
    """What an arithmetic operator does whose result is of this type.

    ZeroDivisionError, DecimalException and OverflowError where there is no result.
    """
    if result == ANY:
        return lambda one, two: _dynamic(op, one, two)
    return _COMPUTE.get((op, result.name)) or _TIMES[op]


def _divided(one: int, two: int) -> int:
    """Towards zero, as in CEL and in SQL."""
    quotient = abs(one) // abs(two)
    return whole(quotient if (one < 0) is (two < 0) else -quotient)


def _remainder(one: int, two: int) -> int:
    rest = abs(one) % abs(two)
    return -rest if one < 0 else rest


def _finite(value: float) -> float:
    if value - value != 0:
        raise EvaluationError("a number that no float can be")
    return value


_COMPUTE: Final[Mapping[tuple[str, str], Callable[[Any, Any], Any]]] = {
    ("+", "int"): lambda one, two: whole(one + two),
    ("-", "int"): lambda one, two: whole(one - two),
    ("*", "int"): lambda one, two: whole(one * two),
    ("/", "int"): _divided,
    ("%", "int"): _remainder,
    ("+", "decimal"): EXACT.add,
    ("-", "decimal"): EXACT.subtract,
    ("*", "decimal"): EXACT.multiply,
    ("/", "decimal"): ROUNDED.divide,
    ("+", "float"): lambda one, two: _finite(one + two),
    ("-", "float"): lambda one, two: _finite(one - two),
    ("*", "float"): lambda one, two: _finite(one * two),
    ("/", "float"): lambda one, two: _finite(one / two),
}
# Texts, lists, moments and durations: Python's operators are theirs.
_TIMES: Final[Mapping[str, Callable[[Any, Any], Any]]] = {"+": operator.add, "-": operator.sub}


def _dynamic(op: str, one: Any, two: Any) -> Any:
    """An operator between values of which one came out of free-form JSON."""
    if _is_number(one) and _is_number(two):
        kind = "float" if isinstance(one, float) or isinstance(two, float) else "int"
        if isinstance(one, Decimal) or isinstance(two, Decimal):
            if kind == "float":
                raise EvaluationError(f"`{op}` between a decimal and a float would round")
            kind = "decimal"
            one, two = Decimal(one), Decimal(two)
        compute = _COMPUTE.get((op, kind))
        if compute is not None:
            return compute(one, two)
    elif op == "+" and type(one) is type(two) and isinstance(one, str | list):
        return one + two
    elif op in _TIMES and not isinstance(one, str | list | Mapping) and not isinstance(two, str | list | Mapping):
        with suppress(TypeError):  # of two moments, say: they have no sum
            return _TIMES[op](one, two)
    raise EvaluationError(f"there is no `{op}` between {named(one)} and {named(two)}")


def named(value: Any) -> str:
    """A value as a message names it: by its type, never by what it holds."""
    names = {"bool": "a bool", "int": "an int", "Decimal": "a decimal", "float": "a float", "str": "a text",
             "list": "a list", "datetime": "a timestamp", "date": "a date", "time": "a time",
             "timedelta": "a duration"}  # fmt: skip
    return names.get(type(value).__name__, "an object")
