"""Typed nodes to a function over the values of a scope; made once, run for every row.

Owns what null does, when failure is absorbed, and how much work one evaluation may do. Each node
becomes a closure over those of its operands: nothing is looked up by name but the values.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date
from decimal import Decimal, DecimalException
from typing import Any, Final

from watcherd.errors import EvaluationError
from watcherd.expressions.checking import Typed
from watcherd.expressions.functions import EXACT, ROUNDED, Function, midnight, whole
from watcherd.expressions.types import ANY, Type, read_decimal, reader

MAX_WORK: Final = 200_000


class Values(dict[str, Any]):
    """The wire values of one evaluation, and how much it may still do."""

    __slots__ = ("work",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.work = MAX_WORK

    def charge(self, work: int) -> None:
        """Take what is about to be done off the budget. Raises `EvaluationError` when it is spent."""
        self.work -= work
        if self.work < 0:
            raise EvaluationError("the expression does too much work")


Run = Callable[[Values], Any]

_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


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
            raise EvaluationError(f"there is no `{field}` in {_named(value)}")
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
        raise EvaluationError(f"{_named(value)} has no items")

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
            raise EvaluationError(f"`in` looks into a list, not into {_named(found)}")
        values.charge(len(found))
        return any(_same(value, one) for one in found)

    return run


def _convert(typed: Typed) -> Run:
    [operand] = map(lower, typed.operands)
    make = _CONVERTERS[typed.type.name]

    def run(values: Values) -> Any:
        value = operand(values)
        return None if value is None else make(value)

    return run


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise EvaluationError("a number that no float can be") from error


_CONVERTERS: Final[Mapping[str, Callable[[Any], Any]]] = {"decimal": Decimal, "float": _float, "timestamp": midnight}


def _order(typed: Typed) -> Run:
    left, right = map(lower, typed.operands)
    compare, op = _ORDER[typed.op], typed.op
    if ANY in {one.type for one in typed.operands}:

        def dynamic(values: Values) -> Any:
            one, two = left(values), right(values)
            if one is None or two is None:
                return None
            if not _ordered(one, two):
                raise EvaluationError(f"there is no `{op}` between {_named(one)} and {_named(two)}")
            return compare(one, two)

        return dynamic

    def run(values: Values) -> Any:
        one, two = left(values), right(values)
        return None if one is None or two is None else compare(one, two)

    return run


def _ordered(one: Any, two: Any) -> bool:
    if _is_number(one) and _is_number(two):
        return True
    return type(one) is type(two) and not isinstance(one, list | dict)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal | float) and not isinstance(value, bool)


def _equal(typed: Typed) -> Run:
    left, right = map(lower, typed.operands)
    return lambda values: _same(left(values), right(values))


def _unequal(typed: Typed) -> Run:
    left, right = map(lower, typed.operands)
    return lambda values: not _same(left(values), right(values))


def _same(one: Any, two: Any) -> bool:
    """Equality as CEL and JSON have it: `true` is not 1, a float is compared with the float of a decimal."""
    if isinstance(one, bool) or isinstance(two, bool):
        return one is two
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(_same, one, two))
    if isinstance(one, Decimal) and isinstance(two, float):
        return _float(one) == two
    if isinstance(one, float) and isinstance(two, Decimal):
        return one == _float(two)
    return bool(one == two)


def _arithmetic(typed: Typed) -> Run:
    left, right = map(lower, typed.operands)
    op = typed.op
    if typed.type == ANY:
        compute: Callable[[Any, Any], Any] = lambda one, two: _dynamic(op, one, two)  # noqa: E731 - one of several
    else:
        compute = _COMPUTE.get((op, typed.type.name)) or _TIMES[op]

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
    raise EvaluationError(f"there is no `{op}` between {_named(one)} and {_named(two)}")


def _negative(typed: Typed) -> Run:
    [operand] = map(lower, typed.operands)

    def run(values: Values) -> Any:
        value = operand(values)
        if value is None:
            return None
        if isinstance(value, bool | str | list | Mapping | date):
            raise EvaluationError(f"{_named(value)} has no sign")
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
            raise EvaluationError(f"{_named(value)} is neither true nor false")
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
    types = ", ".join(map(_named, given))
    raise EvaluationError(f"`{candidates[0].name}` does not take {types}")


def _each(typed: Typed) -> Run:
    macro, variable = typed.value
    over = lower(typed.operands[0])
    bodies = (
        [_truth(one) for one in typed.operands[1:2]] if macro != "map" else [lower(one) for one in typed.operands[1:]]
    )
    fold = _FOLDS[macro]
    cost = _size(typed.operands[1:])

    def run(values: Values) -> Any:
        items = over(values)
        if items is None:
            return None
        if isinstance(items, Mapping):
            items = list(items)
        if not isinstance(items, list):
            raise EvaluationError(f"`{macro}` goes over a list, not over {_named(items)}")
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


def _all(items: list[Any], variable: str, bodies: list[Run], values: Values) -> Any:
    return _quantified(items, variable, bodies[0], values, decisive=False)


def _exists(items: list[Any], variable: str, bodies: list[Run], values: Values) -> Any:
    return _quantified(items, variable, bodies[0], values, decisive=True)


def _quantified(items: list[Any], variable: str, body: Run, values: Values, *, decisive: bool) -> Any:
    failure = None
    unknown = False
    for item in items:
        values[variable] = item
        try:
            found = body(values)
        except EvaluationError as error:
            failure = error
            continue
        if found is decisive:
            return decisive
        unknown = unknown or found is None
    if failure is not None:
        raise failure
    return None if unknown else not decisive


def _exists_one(items: list[Any], variable: str, bodies: list[Run], values: Values) -> Any:
    return len(_filter(items, variable, bodies, values)) == 1


def _filter(items: list[Any], variable: str, bodies: list[Run], values: Values) -> list[Any]:
    kept = []
    for item in items:
        values[variable] = item
        if bodies[0](values):
            kept.append(item)
    return kept


def _map(items: list[Any], variable: str, bodies: list[Run], values: Values) -> list[Any]:
    make = bodies[-1]
    made = []
    for item in items:
        values[variable] = item
        if len(bodies) == 1 or bodies[0](values) is True:
            made.append(make(values))
    return made


_FOLDS: Final[Mapping[str, Callable[[list[Any], str, list[Run], Values], Any]]] = {
    "all": _all,
    "exists": _exists,
    "exists_one": _exists_one,
    "filter": _filter,
    "map": _map,
}


def _named(value: Any) -> str:
    """A value as a message names it: by its type, never by what it holds."""
    names = {"bool": "a bool", "int": "an int", "Decimal": "a decimal", "float": "a float", "str": "a text",
             "list": "a list", "datetime": "a timestamp", "date": "a date", "time": "a time",
             "timedelta": "a duration"}  # fmt: skip
    return names.get(type(value).__name__, "an object")


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
