"""The types that operators have: which operands each takes, and of what type its value is.

Numbers of two types are made one here, by `convert` nodes, so that later stages see operands of one
type. What an operator does with two values is `operators`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from watcherd.errors import InvalidExpressionError
from watcherd.expressions.typed import Typed, as_condition, check_members, common, converted, fault, with_article
from watcherd.expressions.types import (
    ANY,
    BOOL,
    DATE,
    DECIMAL,
    DURATION,
    FLOAT,
    INT,
    MOMENTS,
    NULL,
    NUMBERS,
    STRING,
    TIMESTAMP,
    Type,
    list_of,
)

_TIMES: Final[Mapping[tuple[str, str, str], Type]] = {
    ("timestamp", "+", "duration"): TIMESTAMP,
    ("duration", "+", "timestamp"): TIMESTAMP,
    ("timestamp", "-", "duration"): TIMESTAMP,
    ("timestamp", "-", "timestamp"): DURATION,
    ("date", "+", "duration"): DATE,
    ("duration", "+", "date"): DATE,
    ("date", "-", "duration"): DATE,
    ("date", "-", "date"): DURATION,
    ("duration", "+", "duration"): DURATION,
    ("duration", "-", "duration"): DURATION,
}


def _logic(op: str, operands: tuple[Typed, ...], offset: int) -> Typed:
    return Typed(op, BOOL, offset, tuple(as_condition(one, f"what stands beside `{op}`") for one in operands))


def _not(op: str, operands: tuple[Typed, ...], offset: int) -> Typed:
    return Typed(op, BOOL, offset, (as_condition(operands[0], "what `!` stands before"),))


def _negative(op: str, operands: tuple[Typed, ...], offset: int) -> Typed:
    type_ = operands[0].type
    if type_.name not in {*NUMBERS, "duration", "any"}:
        raise fault(f"{with_article(type_)} has no sign", offset)
    return Typed(op, type_, offset, operands)


def _arithmetic(op: str, operands: tuple[Typed, ...], offset: int) -> Typed:
    left, right = operands
    one, two = left.type, right.type
    if ANY in {one, two}:
        return Typed(op, ANY, offset, (left, right))
    if one.name in NUMBERS and two.name in NUMBERS:
        left, right = _one_number(op, left, right, offset)
        if op == "%" and left.type is not INT:
            raise fault("`%` is for whole numbers", offset)
        return Typed(op, left.type, offset, (left, right))
    if op == "+" and one.name == two.name == "string":
        return Typed(op, STRING, offset, (left, right))
    if op == "+" and one.item is not None and two.item is not None:
        item = common(one.item, two.item, [left, right])
        if item is not None:
            return Typed(op, list_of(item), offset, (left, right))
    type_ = _TIMES.get((one.name, op, two.name))
    if type_ is None:
        raise _no_operator(op, left, right, offset)
    return Typed(op, type_, offset, (left, right))


def _order(op: str, operands: tuple[Typed, ...], offset: int) -> Typed:
    left, right = operands
    one, two = left.type, right.type
    if one.name in {"object", "list", "null"} or two.name in {"object", "list", "null"}:
        raise _no_operator(op, left, right, offset)
    return Typed(op, BOOL, offset, _same(op, left, right, offset))


def _equality(op: str, operands: tuple[Typed, ...], offset: int) -> Typed:
    return Typed(op, BOOL, offset, _comparable(op, *operands, offset=offset))


def _comparable(op: str, left: Typed, right: Typed, *, offset: int) -> tuple[Typed, Typed]:
    one, two = left.type, right.type
    if NULL in {one, two}:
        return left, right
    if "object" in {one.name, two.name}:
        raise fault("rows are compared by their attributes", offset, "compare their keys")
    if one.item is not None and two.item is not None:
        if common(one.item, two.item, [left, right]) is None:
            raise _no_operator(op, left, right, offset)
        return left, right
    return _same(op, left, right, offset)


def _same(op: str, left: Typed, right: Typed, offset: int) -> tuple[Typed, Typed]:
    """Two operands of one type, or both numbers, or both moments."""
    one, two = left.type, right.type
    if ANY in {one, two}:
        return left, right
    if one.name in NUMBERS and two.name in NUMBERS:
        return _one_number(op, left, right, offset)
    if one.name in MOMENTS and two.name in MOMENTS and one != two:
        return converted(left, TIMESTAMP), converted(right, TIMESTAMP)
    if one.name != two.name:
        raise _no_operator(op, left, right, offset)
    check_members(left, two)
    check_members(right, one)
    return left, right


def _one_number(op: str, left: Typed, right: Typed, offset: int) -> tuple[Typed, Typed]:
    one, two = left.type, right.type
    if one is two:
        return left, right
    wanted = FLOAT if FLOAT in {one, two} else DECIMAL
    for typed in (left, right):
        if wanted is FLOAT and typed.type is DECIMAL and not typed.constant:
            message = f"`{op}` between a decimal and a float would round"
            raise fault(message, offset, "say which is meant: `decimal(x)` or `float(x)`")
    return converted(left, wanted), converted(right, wanted)


def _choice(op: str, operands: tuple[Typed, ...], offset: int) -> Typed:
    condition, yes, no = operands
    condition = as_condition(condition, "what stands before `?`")
    type_ = common(yes.type, no.type, [yes, no])
    if type_ is None:
        raise fault(f"one side of `:` is {with_article(yes.type)}, the other {with_article(no.type)}", offset)
    if type_.name in NUMBERS:
        yes, no = converted(yes, type_), converted(no, type_)
    return Typed(op, type_, offset, (condition, yes, no))


def _membership(op: str, operands: tuple[Typed, ...], offset: int) -> Typed:
    wanted, within = operands
    item = ANY if within.type == ANY else within.type.item
    if item is None:
        raise fault(f"`in` looks into a list, not into {with_article(within.type)}", offset)
    if within.op == "list":
        pairs = [_comparable(op, wanted, one, offset=offset) for one in within.operands]
        if pairs and wanted.type.name in NUMBERS and item.name in NUMBERS:
            type_ = pairs[0][0].type
            items = tuple(converted(one, type_) for one in within.operands)
            wanted, within = converted(wanted, type_), replace(within, type=list_of(type_), operands=items)
    elif wanted.type.name in NUMBERS and item.name in NUMBERS:
        wanted, _ = _one_number(op, wanted, replace(within, type=item), offset)
    elif wanted.type.name != item.name and not {ANY, NULL} & {wanted.type, item}:
        raise _no_operator(op, wanted, within, offset)
    else:
        check_members(wanted, item)
    return Typed(op, BOOL, offset, (wanted, within))


def _index(op: str, operands: tuple[Typed, ...], offset: int) -> Typed:
    operand, place = operands
    if operand.type == ANY:
        return Typed(op, ANY, offset, (operand, place))
    if operand.type.item is None:
        raise fault(f"{with_article(operand.type)} has no items", offset)
    if place.type not in {INT, ANY}:
        raise fault(f"an item is chosen by its number, not by {with_article(place.type)}", place.offset)
    return Typed(op, operand.type.item, offset, (operand, place))


def _no_operator(op: str, left: Typed, right: Typed, offset: int) -> InvalidExpressionError:
    types = {left.type.name, right.type.name}
    hint = None
    for name in ("date", "timestamp", "time", "duration"):
        if types == {name, "string"}:
            hint = f"""write `{name}("...")` around the text"""
    return fault(f"there is no `{op}` between {with_article(left.type)} and {with_article(right.type)}", offset, hint)


OPERATORS: Final[Mapping[str, tuple[str, Callable[[str, tuple[Typed, ...], int], Typed]]]] = {
    "_&&_": ("&&", _logic),
    "_||_": ("||", _logic),
    "!_": ("!", _not),
    "-_": ("negative", _negative),
    "_==_": ("==", _equality),
    "_!=_": ("!=", _equality),
    "_<_": ("<", _order),
    "_<=_": ("<=", _order),
    "_>_": (">", _order),
    "_>=_": (">=", _order),
    "_+_": ("+", _arithmetic),
    "_-_": ("-", _arithmetic),
    "_*_": ("*", _arithmetic),
    "_/_": ("/", _arithmetic),
    "_%_": ("%", _arithmetic),
    "_?_:_": ("?:", _choice),
    "@in": ("in", _membership),
    "_[_]": ("index", _index),
}
