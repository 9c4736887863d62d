"""Nodes to typed nodes: every name known, every operator between types that it has.

Owns the types of operators; those of functions are `functions`. Does not evaluate. Numbers of two
types are made one here, by `convert` nodes, so that later stages see operands of one type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final

from watcherd.errors import InvalidExpressionError
from watcherd.expressions import functions
from watcherd.expressions.syntax import Constant, Each, Invoke, Items, Name, Node, Select
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
    fields_of,
    list_of,
    named,
)


@dataclass(frozen=True, slots=True)
class Typed:
    """One node with its type.

    `op` is `literal`, `name`, `variable` (of a macro), `field`, `has`, `list`, `index`, `in`,
    `convert`, `call`, `each`, or an operator as it is written (`negative` for the sign). `value` is
    what the op needs beside its operands: the literal, the name, the field, the overloads of a
    function, the macro and its variable.
    `constant` says that nothing of the scope is in it.
    """

    op: str
    type: Type
    offset: int
    operands: tuple[Typed, ...] = ()
    value: Any = None
    constant: bool = False


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
_MOST_NAMED: Final = 12


@dataclass(frozen=True, slots=True)
class _Bound:
    """The type of a macro's variable: its values are inside already, they are not read again."""

    type: Type


_Names = Mapping[str, Type | _Bound]


def check(node: Node, scope: _Names) -> Typed:
    """The typed nodes of an expression. Raises `InvalidExpressionError` at the first fault."""
    if isinstance(node, Constant):
        return _literal(node)
    if isinstance(node, Name):
        return _name(node, scope)
    if isinstance(node, Select):
        return _select(node, scope)
    if isinstance(node, Items):
        return _list(node, scope)
    if isinstance(node, Each):
        return _each(node, scope)
    return _invoke(node, scope)


def demand(typed: Typed, wanted: Type, what: str) -> Typed:
    """The node as a value of the wanted type. Raises where it can never be one."""
    found = typed.type
    if wanted.item is not None and found.item is not None:
        if _fits(found.item, wanted.item) or not typed.operands:
            return replace(typed, type=wanted) if typed.op == "list" else typed
    elif _fits(found, wanted):
        _check_members(typed, wanted)
        return typed
    elif (found, wanted) in {(INT, DECIMAL), (INT, FLOAT)} or (found is DECIMAL and wanted is FLOAT and typed.constant):
        return _converted(typed, wanted)
    raise _fault(f"{what} must be {_article(wanted)}, not {_article(found)}", typed.offset)


def _fits(found: Type, wanted: Type) -> bool:
    if ANY in {found, wanted} or found in {NULL, wanted}:
        return True
    return found.name == wanted.name == "string"


def _literal(node: Constant) -> Typed:
    value = node.value
    if isinstance(value, float):
        number = Decimal(node.source or repr(value))
        if abs(number.adjusted()) > functions.MOST_DIGITS:
            raise _fault("a number with too many digits", node.offset)
        return Typed("literal", DECIMAL, node.offset, value=number, constant=True)
    type_ = NULL if value is None else BOOL if isinstance(value, bool) else INT if isinstance(value, int) else STRING
    return Typed("literal", type_, node.offset, value=value, constant=True)


def _name(node: Name, scope: _Names) -> Typed:
    found = scope.get(node.name)
    if found is None:
        raise _unknown("name", node.name, scope, node.offset)
    if isinstance(found, _Bound):
        return Typed("variable", found.type, node.offset, value=node.name)
    return Typed("name", found, node.offset, value=node.name)


def _select(node: Select, scope: _Names) -> Typed:
    operand = check(node.operand, scope)
    type_ = operand.type
    if type_.name == "object":
        field = type_.field(node.field)
        if field is None:
            raise _unknown(f"attribute of {named(type_)}", node.field, fields_of(type_), node.offset)
    elif type_ == ANY:
        field = ANY
    else:
        raise _fault(f"{_article(type_)} has no attributes, such as `{node.field}`", node.offset)
    if node.test:
        return Typed("has", BOOL, node.offset, (operand,), (node.field, field))
    return Typed("field", field, node.offset, (operand,), node.field)


def _list(node: Items, scope: _Names) -> Typed:
    items = [check(one, scope) for one in node.items]
    item: Type | None = None
    for one in items:
        item = one.type if item is None else _common(item, one.type, items)
        if item is None:
            raise _fault(f"a list has items of one type, this one is {_article(one.type)}", one.offset)
    item = item or NULL
    operands = tuple(_converted(one, item) for one in items) if item.name in NUMBERS else tuple(items)
    return Typed("list", list_of(item), node.offset, operands, constant=all(one.constant for one in items))


def _each(node: Each, scope: _Names) -> Typed:
    over = check(node.over, scope)
    if over.type == ANY:
        item = ANY
    elif over.type.item is not None:
        item = over.type.item
    else:
        raise _fault(f"`{node.macro}` goes over a list, not over {_article(over.type)}", over.offset)
    inner: _Names = {**scope, node.variable: _Bound(item)}
    operands = [over]
    if node.body is not None:
        operands.append(_condition(check(node.body, inner), f"the condition of `{node.macro}`"))
    if node.result is not None:
        operands.append(check(node.result, inner))
    type_ = BOOL
    if node.macro == "filter":
        type_ = over.type
    elif node.macro == "map":
        type_ = list_of(operands[-1].type)
    return Typed("each", type_, node.offset, tuple(operands), (node.macro, node.variable))


def _condition(typed: Typed, what: str) -> Typed:
    if typed.type not in {BOOL, ANY, NULL}:
        raise _fault(f"{what} must be true or false, not {_article(typed.type)}", typed.offset)
    return typed


def _invoke(node: Invoke, scope: _Names) -> Typed:
    arguments = tuple(check(one, scope) for one in node.arguments)
    if node.function in _OPERATORS:
        op, checked = _OPERATORS[node.function]
        typed = checked(op, arguments, node.offset)
        return replace(typed, constant=all(one.constant for one in arguments))
    if node.target is not None:
        arguments = (check(node.target, scope), *arguments)
    return _call(node.function, arguments, node)


def _call(name: str, arguments: tuple[Typed, ...], node: Invoke) -> Typed:
    found = functions.overloads(name, member=node.target is not None)
    if not found:
        raise _unknown("function", name, functions.names(member=node.target is not None), node.offset)
    fitting = [one for one in found if one.accepts([argument.type for argument in arguments])]
    if not fitting:
        given = ", ".join(named(one.type) for one in arguments) or "nothing"
        known = " or ".join(dict.fromkeys(one.shown for one in found))
        raise _fault(f"`{name}` does not take {given}", node.offset, f"it takes {known}")
    for index in fitting[0].literals:
        literal = arguments[index]
        if literal.op != "literal":
            raise _fault(f"the pattern of `{name}` must be a literal", literal.offset)
        if (reason := functions.pattern_fault(literal.value)) is not None:
            raise _fault(f"not a regular expression: {reason}", literal.offset)
    types = {one.result([argument.type for argument in arguments]) for one in fitting}
    type_ = types.pop() if len(types) == 1 else ANY
    return Typed("call", type_, node.offset, arguments, tuple(fitting), constant=all(one.constant for one in arguments))


def _logic(op: str, operands: tuple[Typed, ...], offset: int) -> Typed:
    return Typed(op, BOOL, offset, tuple(_condition(one, f"what stands beside `{op}`") for one in operands))


def _not(op: str, operands: tuple[Typed, ...], offset: int) -> Typed:
    return Typed(op, BOOL, offset, (_condition(operands[0], "what `!` stands before"),))


def _negative(op: str, operands: tuple[Typed, ...], offset: int) -> Typed:
    type_ = operands[0].type
    if type_.name not in {*NUMBERS, "duration", "any"}:
        raise _fault(f"{_article(type_)} has no sign", offset)
    return Typed(op, type_, offset, operands)


def _arithmetic(op: str, operands: tuple[Typed, ...], offset: int) -> Typed:
    left, right = operands
    one, two = left.type, right.type
    if ANY in {one, two}:
        return Typed(op, ANY, offset, (left, right))
    if one.name in NUMBERS and two.name in NUMBERS:
        left, right = _one_number(op, left, right, offset)
        if op == "%" and left.type is not INT:
            raise _fault("`%` is for whole numbers", offset)
        return Typed(op, left.type, offset, (left, right))
    if op == "+" and one.name == two.name == "string":
        return Typed(op, STRING, offset, (left, right))
    if op == "+" and one.item is not None and two.item is not None:
        item = _common(one.item, two.item, [left, right])
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
        raise _fault("rows are compared by their attributes", offset, "compare their keys")
    if one.item is not None and two.item is not None:
        if _common(one.item, two.item, [left, right]) is None:
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
        return _converted(left, TIMESTAMP), _converted(right, TIMESTAMP)
    if one.name != two.name:
        raise _no_operator(op, left, right, offset)
    _check_members(left, two)
    _check_members(right, one)
    return left, right


def _one_number(op: str, left: Typed, right: Typed, offset: int) -> tuple[Typed, Typed]:
    one, two = left.type, right.type
    if one is two:
        return left, right
    wanted = FLOAT if FLOAT in {one, two} else DECIMAL
    for typed in (left, right):
        if wanted is FLOAT and typed.type is DECIMAL and not typed.constant:
            message = f"`{op}` between a decimal and a float would round"
            raise _fault(message, offset, "say which is meant: `decimal(x)` or `float(x)`")
    return _converted(left, wanted), _converted(right, wanted)


def _converted(typed: Typed, wanted: Type) -> Typed:
    if typed.type == wanted or typed.type in {ANY, NULL}:
        return typed
    if typed.op == "literal":
        value = float(typed.value) if wanted is FLOAT else Decimal(typed.value) if wanted is DECIMAL else typed.value
        return replace(typed, type=wanted, value=value)
    return Typed("convert", wanted, typed.offset, (typed,), constant=typed.constant)


def _choice(op: str, operands: tuple[Typed, ...], offset: int) -> Typed:
    condition, yes, no = operands
    condition = _condition(condition, "what stands before `?`")
    type_ = _common(yes.type, no.type, [yes, no])
    if type_ is None:
        raise _fault(f"one side of `:` is {_article(yes.type)}, the other {_article(no.type)}", offset)
    if type_.name in NUMBERS:
        yes, no = _converted(yes, type_), _converted(no, type_)
    return Typed(op, type_, offset, (condition, yes, no))


def _membership(op: str, operands: tuple[Typed, ...], offset: int) -> Typed:
    wanted, within = operands
    item = ANY if within.type == ANY else within.type.item
    if item is None:
        raise _fault(f"`in` looks into a list, not into {_article(within.type)}", offset)
    if within.op == "list":
        pairs = [_comparable(op, wanted, one, offset=offset) for one in within.operands]
        if pairs and wanted.type.name in NUMBERS and item.name in NUMBERS:
            type_ = pairs[0][0].type
            items = tuple(_converted(one, type_) for one in within.operands)
            wanted, within = _converted(wanted, type_), replace(within, type=list_of(type_), operands=items)
    elif wanted.type.name in NUMBERS and item.name in NUMBERS:
        wanted, _ = _one_number(op, wanted, replace(within, type=item), offset)
    elif wanted.type.name != item.name and not {ANY, NULL} & {wanted.type, item}:
        raise _no_operator(op, wanted, within, offset)
    else:
        _check_members(wanted, item)
    return Typed(op, BOOL, offset, (wanted, within))


def _index(op: str, operands: tuple[Typed, ...], offset: int) -> Typed:
    operand, place = operands
    if operand.type == ANY:
        return Typed(op, ANY, offset, (operand, place))
    if operand.type.item is None:
        raise _fault(f"{_article(operand.type)} has no items", offset)
    if place.type not in {INT, ANY}:
        raise _fault(f"an item is chosen by its number, not by {_article(place.type)}", place.offset)
    return Typed(op, operand.type.item, offset, (operand, place))


def _common(one: Type, two: Type, places: list[Typed]) -> Type | None:
    """The type that both are, None where there is none."""
    if NULL in {one, two} or one == two:
        return two if one == NULL else one
    if ANY in {one, two}:
        return ANY
    found: Type | None = None
    if one.name in NUMBERS and two.name in NUMBERS:
        is_exact = any(place.type is DECIMAL and not place.constant for place in places)
        found = DECIMAL if FLOAT not in {one, two} else None if is_exact else FLOAT
    elif one.name == two.name == "string":
        found = STRING
    elif one.item is not None and two.item is not None:
        item = _common(one.item, two.item, places)
        found = None if item is None else list_of(item)
    return found


def _check_members(typed: Typed, other: Type) -> None:
    """An enum compared with a text that is none of its members is a mistake."""
    if typed.op == "literal" and other.members and typed.value not in other.members:
        raise _unknown("member", str(typed.value), other.members, typed.offset)


def _no_operator(op: str, left: Typed, right: Typed, offset: int) -> InvalidExpressionError:
    types = {left.type.name, right.type.name}
    hint = None
    for name in ("date", "timestamp", "time", "duration"):
        if types == {name, "string"}:
            hint = f"""write `{name}("...")` around the text"""
    return _fault(f"there is no `{op}` between {_article(left.type)} and {_article(right.type)}", offset, hint)


def _unknown(what: str, word: str, known: Any, offset: int) -> InvalidExpressionError:
    close = get_close_matches(word, list(known), n=1)
    listed = ", ".join(sorted(known)[:_MOST_NAMED]) + (", …" if len(known) > _MOST_NAMED else "")
    hint = f"did you mean `{close[0]}`?" if close else f"known: {listed}" if known else None
    return _fault(f"there is no {what} `{word}`", offset, hint)


def _article(type_: Type) -> str:
    name = named(type_)
    return name if name == "null" else f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _fault(message: str, offset: int, hint: str | None = None) -> InvalidExpressionError:
    return InvalidExpressionError(message, offset, hint)


_OPERATORS: Final[Mapping[str, tuple[str, Callable[[str, tuple[Typed, ...], int], Typed]]]] = {
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
