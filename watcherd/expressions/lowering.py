"""Typed nodes to a function over the values of a scope; made once, run for every row.

Owns what null does, and when failure is absorbed; what operators do with two values is `operators`, what
macros do with a list `macros`. Each node becomes a closure over those of its operands: nothing is looked
up by name but the values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal, DecimalException
from typing import Any, Final

from watcherd.errors import EvaluationError
from watcherd.expressions.evaluation import Run, Values
from watcherd.expressions.functions import Function, midnight, whole
from watcherd.expressions.macros import FOLDS
from watcherd.expressions.operators import ORDER, are_ordered, as_float, named, operation, same
from watcherd.expressions.typed import Typed
from watcherd.expressions.types import ANY, Type, read_decimal, reader


def lower(typed: Typed) -> Run:
    """The function of a node: it answers the value inside, None for null and unknown."""
    return _LOWER[typed.op](typed)


def _literal(typed: Typed) -> Run:
    value = typed.value
    return lambda _: value


def _name(typed: Typed) -> Run:
    name, read = typed.value, _reader(typed.type)
    if read is None:
        return lambda values: values.get(name)

    def run(values: Values) -> Any:
        value = values.get(name)
        return None if value is None else read(value)

    return run


def _variable(typed: Typed) -> Run:
    name, is_json = typed.value, typed.type == ANY
    return lambda values: _json(values[name]) if is_json else values[name]


def _field(typed: Typed) -> Run:
    [operand] = map(lower, typed.operands)
    field, read = typed.value, _reader(typed.type)

    def run(values: Values) -> Any:
        value = operand(values)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise EvaluationError(f"there is no `{field}` in {named(value)}")
        found = value.get(field)
        return found if found is None or read is None else read(found)

    return run


def _reader(type_: Type) -> Callable[[Any], Any] | None:
    return _json if type_ == ANY else reader(type_)


def _json(value: Any) -> Any:
    """A JSON value: its numbers with a point are decimals, for nobody said that they are floats."""
    if isinstance(value, float):
        return read_decimal(value)
    return value


def _has(typed: Typed) -> Run:
    [operand] = map(lower, typed.operands)
    field = typed.value[0]

    def run(values: Values) -> bool:
        value = operand(values)
        return isinstance(value, Mapping) and value.get(field) is not None

    return run


def _list(typed: Typed) -> Run:
    if all(one.op == "literal" for one in typed.operands):
        constant = [one.value for one in typed.operands]
        return lambda _: constant
    items = [lower(one) for one in typed.operands]
    return lambda values: [item(values) for item in items]


def _index(typed: Typed) -> Run:
    operand, place = map(lower, typed.operands)

    def run(values: Values) -> Any:
        value, at = operand(values), place(values)
        if value is None or at is None:
            return None
        if isinstance(value, Mapping) and isinstance(at, str):
            return _json(value.get(at))
        if isinstance(value, list) and isinstance(at, int) and not isinstance(at, bool):
            if 0 <= at < len(value):
                return _json(value[at])
            raise EvaluationError(f"there is no item {at} in a list of {len(value)}")
        raise EvaluationError(f"{named(value)} has no items")

    return run


def _in(typed: Typed) -> Run:
    wanted, within = map(lower, typed.operands)

    def run(values: Values) -> Any:
        value, found = wanted(values), within(values)
        if found is None:
            return None
        if isinstance(found, Mapping):
            return isinstance(value, str) and value in found
        if not isinstance(found, list):
            raise EvaluationError(f"`in` looks into a list, not into {named(found)}")
        values.charge(len(found))
        return any(same(value, one) for one in found)

    return run


def _convert(typed: Typed) -> Run:
    [operand] = map(lower, typed.operands)
    make = _CONVERTERS[typed.type.name]

    def run(values: Values) -> Any:
        value = operand(values)
        return None if value is None else make(value)

    return run


_CONVERTERS: Final[Mapping[str, Callable[[Any], Any]]] = {"decimal": Decimal, "float": as_float, "timestamp": midnight}


def _order(typed: Typed) -> Run:
    left, right = map(lower, typed.operands)
    compare, op = ORDER[typed.op], typed.op
    if ANY in {one.type for one in typed.operands}:

        def dynamic(values: Values) -> Any:
            one, two = left(values), right(values)
            if one is None or two is None:
                return None
            if not are_ordered(one, two):
                raise EvaluationError(f"there is no `{op}` between {named(one)} and {named(two)}")
            return compare(one, two)

        return dynamic

    def run(values: Values) -> Any:
        one, two = left(values), right(values)
        return None if one is None or two is None else compare(one, two)

    return run


def _equal(typed: Typed) -> Run:
    left, right = map(lower, typed.operands)
    return lambda values: same(left(values), right(values))


def _unequal(typed: Typed) -> Run:
    left, right = map(lower, typed.operands)
    return lambda values: not same(left(values), right(values))


def _arithmetic(typed: Typed) -> Run:
    left, right = map(lower, typed.operands)
    op = typed.op
    compute = operation(op, typed.type)

    def run(values: Values) -> Any:
        one, two = left(values), right(values)
        if one is None or two is None:
            return None
        try:
            return compute(one, two)
        except ZeroDivisionError as error:
            raise EvaluationError("a division by zero") from error
        except (DecimalException, OverflowError) as error:
            raise EvaluationError(f"the result of `{op}` has too many digits") from error

    return run


def _negative(typed: Typed) -> Run:
    [operand] = map(lower, typed.operands)

    def run(values: Values) -> Any:
        value = operand(values)
        if value is None:
            return None
        if isinstance(value, bool | str | list | Mapping | date):
            raise EvaluationError(f"{named(value)} has no sign")
        return whole(-value) if isinstance(value, int) else -value

    return run


def _not(typed: Typed) -> Run:
    operand = _truth(typed.operands[0])

    def run(values: Values) -> Any:
        value = operand(values)
        return None if value is None else not value

    return run


def _truth(typed: Typed) -> Run:
    """A condition: where its type is only known now, it is looked at."""
    run = lower(typed)
    if typed.type != ANY:
        return run

    def checked(values: Values) -> Any:
        value = run(values)
        if value is not None and not isinstance(value, bool):
            raise EvaluationError(f"{named(value)} is neither true nor false")
        return value

    return checked


def _and(typed: Typed) -> Run:
    left, right = map(_truth, typed.operands)
    return _logic(left, right, decisive=False)


def _or(typed: Typed) -> Run:
    left, right = map(_truth, typed.operands)
    return _logic(left, right, decisive=True)


def _logic(left: Run, right: Run, *, decisive: bool) -> Run:
    """`&&` and `||`: one decisive side decides, whatever the other is, be it unknown or a failure."""

    def run(values: Values) -> Any:
        failure = None
        try:
            one = left(values)
        except EvaluationError as error:
            one, failure = None, error
        if one is decisive:
            return decisive
        two = right(values)
        if two is decisive:
            return decisive
        if failure is not None:
            raise failure
        return None if one is None or two is None else not decisive

    return run


def _choice(typed: Typed) -> Run:
    condition, yes, no = _truth(typed.operands[0]), lower(typed.operands[1]), lower(typed.operands[2])

    def run(values: Values) -> Any:
        chosen = condition(values)
        return None if chosen is None else yes(values) if chosen else no(values)

    return run


def _call(typed: Typed) -> Run:
    arguments = [lower(one) for one in typed.operands]
    candidates: tuple[Function, ...] = typed.value
    kind = typed.type.name
    if len(candidates) == 1 and ANY not in {one.type for one in typed.operands}:
        [only] = candidates
        choose: Callable[[list[Any]], Function] = lambda _: only  # noqa: E731 - one of two
    else:
        choose = lambda given: _chosen(candidates, given)  # noqa: E731 - the other

    def run(values: Values) -> Any:
        given = []
        for argument in arguments:
            value = argument(values)
            if value is None:
                return None
            if isinstance(value, list | str):
                values.charge(len(value) if isinstance(value, list) else len(value) >> 6)
            given.append(value)
        found = choose(given).run(*given)
        if isinstance(found, int) and not isinstance(found, bool):
            # The sum of an empty list is 0, whatever its items would have been.
            return Decimal(found) if kind == "decimal" else float(found) if kind == "float" else whole(found)
        return found

    return run


def _chosen(candidates: tuple[Function, ...], given: list[Any]) -> Function:
    for one in candidates:
        if one.accepts_values(given):
            return one
    types = ", ".join(map(named, given))
    raise EvaluationError(f"`{candidates[0].name}` does not take {types}")


def _each(typed: Typed) -> Run:
    macro, variable = typed.value
    over = lower(typed.operands[0])
    bodies = (
        [_truth(one) for one in typed.operands[1:2]] if macro != "map" else [lower(one) for one in typed.operands[1:]]
    )
    fold = FOLDS[macro]
    cost = _size(typed.operands[1:])

    def run(values: Values) -> Any:
        items = over(values)
        if items is None:
            return None
        if isinstance(items, Mapping):
            items = list(items)
        if not isinstance(items, list):
            raise EvaluationError(f"`{macro}` goes over a list, not over {named(items)}")
        values.charge(cost * len(items))
        hidden = values.get(variable)
        was_there = variable in values
        try:
            return fold(items, variable, bodies, values)
        finally:
            if was_there:
                values[variable] = hidden
            else:
                values.pop(variable, None)

    return run


def _size(nodes: tuple[Typed, ...]) -> int:
    return sum(1 + _size(node.operands) for node in nodes)


_LOWER: Final[Mapping[str, Callable[[Typed], Run]]] = {
    "literal": _literal,
    "name": _name,
    "variable": _variable,
    "field": _field,
    "has": _has,
    "list": _list,
    "index": _index,
    "in": _in,
    "convert": _convert,
    "<": _order,
    "<=": _order,
    ">": _order,
    ">=": _order,
    "==": _equal,
    "!=": _unequal,
    "+": _arithmetic,
    "-": _arithmetic,
    "*": _arithmetic,
    "/": _arithmetic,
    "%": _arithmetic,
    "negative": _negative,
    "!": _not,
    "&&": _and,
    "||": _or,
    "?:": _choice,
    "call": _call,
    "each": _each,
}
