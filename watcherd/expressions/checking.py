"""Nodes to typed nodes: every name known, every operator between types that it has.

Owns the walk over the nodes and what names mean in it. The types of operators are `operator_types`,
those of functions `functions`. Does not evaluate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from watcherd.expressions import functions
from watcherd.expressions.operator_types import OPERATORS
from watcherd.expressions.syntax import Constant, Each, Invoke, Items, Name, Node, Select
from watcherd.expressions.typed import (
    Typed,
    as_condition,
    check_members,
    common,
    converted,
    fault,
    unknown,
    with_article,
)
from watcherd.expressions.types import (
    ANY,
    BOOL,
    DECIMAL,
    FLOAT,
    INT,
    NULL,
    NUMBERS,
    STRING,
    Type,
    fields_of,
    list_of,
    named,
)


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
        check_members(typed, wanted)
        return typed
    elif (found, wanted) in {(INT, DECIMAL), (INT, FLOAT)} or (found is DECIMAL and wanted is FLOAT and typed.constant):
        return converted(typed, wanted)
    raise fault(f"{what} must be {with_article(wanted)}, not {with_article(found)}", typed.offset)


def _fits(found: Type, wanted: Type) -> bool:
    if ANY in {found, wanted} or found in {NULL, wanted}:
        return True
    return found.name == wanted.name == "string"


def _literal(node: Constant) -> Typed:
    value = node.value
    if isinstance(value, float):
        number = Decimal(node.source or repr(value))
        if abs(number.adjusted()) > functions.MOST_DIGITS:
            raise fault("a number with too many digits", node.offset)
        return Typed("literal", DECIMAL, node.offset, value=number, constant=True)
    type_ = NULL if value is None else BOOL if isinstance(value, bool) else INT if isinstance(value, int) else STRING
    return Typed("literal", type_, node.offset, value=value, constant=True)


def _name(node: Name, scope: _Names) -> Typed:
    found = scope.get(node.name)
    if found is None:
        raise unknown("name", node.name, scope, node.offset)
    if isinstance(found, _Bound):
        return Typed("variable", found.type, node.offset, value=node.name)
    return Typed("name", found, node.offset, value=node.name)


def _select(node: Select, scope: _Names) -> Typed:
    operand = check(node.operand, scope)
    type_ = operand.type
    if type_.name == "object":
        field = type_.field(node.field)
        if field is None:
            raise unknown(f"attribute of {named(type_)}", node.field, fields_of(type_), node.offset)
    elif type_ == ANY:
        field = ANY
    else:
        raise fault(f"{with_article(type_)} has no attributes, such as `{node.field}`", node.offset)
    if node.test:
        return Typed("has", BOOL, node.offset, (operand,), (node.field, field))
    return Typed("field", field, node.offset, (operand,), node.field)


def _list(node: Items, scope: _Names) -> Typed:
    items = [check(one, scope) for one in node.items]
    item: Type | None = None
    for one in items:
        item = one.type if item is None else common(item, one.type, items)
        if item is None:
            raise fault(f"a list has items of one type, this one is {with_article(one.type)}", one.offset)
    item = item or NULL
    operands = tuple(converted(one, item) for one in items) if item.name in NUMBERS else tuple(items)
    return Typed("list", list_of(item), node.offset, operands, constant=all(one.constant for one in items))


def _each(node: Each, scope: _Names) -> Typed:
    over = check(node.over, scope)
    if over.type == ANY:
        item = ANY
    elif over.type.item is not None:
        item = over.type.item
    else:
        raise fault(f"`{node.macro}` goes over a list, not over {with_article(over.type)}", over.offset)
    inner: _Names = {**scope, node.variable: _Bound(item)}
    operands = [over]
    if node.body is not None:
        operands.append(as_condition(check(node.body, inner), f"the condition of `{node.macro}`"))
    if node.result is not None:
        operands.append(check(node.result, inner))
    type_ = BOOL
    if node.macro == "filter":
        type_ = over.type
    elif node.macro == "map":
        type_ = list_of(operands[-1].type)
    return Typed("each", type_, node.offset, tuple(operands), (node.macro, node.variable))


def _invoke(node: Invoke, scope: _Names) -> Typed:
    arguments = tuple(check(one, scope) for one in node.arguments)
    if node.function in OPERATORS:
        op, checked = OPERATORS[node.function]
        typed = checked(op, arguments, node.offset)
        return replace(typed, constant=all(one.constant for one in arguments))
    if node.target is not None:
        arguments = (check(node.target, scope), *arguments)
    return _call(node.function, arguments, node)


def _call(name: str, arguments: tuple[Typed, ...], node: Invoke) -> Typed:
    found = functions.overloads(name, member=node.target is not None)
    if not found:
        raise unknown("function", name, functions.names(member=node.target is not None), node.offset)
    fitting = [one for one in found if one.accepts([argument.type for argument in arguments])]
    if not fitting:
        given = ", ".join(named(one.type) for one in arguments) or "nothing"
        known = " or ".join(dict.fromkeys(one.shown for one in found))
        raise fault(f"`{name}` does not take {given}", node.offset, f"it takes {known}")
    for index in fitting[0].literals:
        literal = arguments[index]
        if literal.op != "literal":
            raise fault(f"the pattern of `{name}` must be a literal", literal.offset)
        if (reason := functions.pattern_fault(literal.value)) is not None:
            raise fault(f"not a regular expression: {reason}", literal.offset)
    types = {one.result([argument.type for argument in arguments]) for one in fitting}
    type_ = types.pop() if len(types) == 1 else ANY
    return Typed("call", type_, node.offset, arguments, tuple(fitting), constant=all(one.constant for one in arguments))
