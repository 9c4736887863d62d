"""What expressions of a model may name, and where in the file a fault of one is.

Owns the types of attributes and parameters as expressions see them, the scopes of a check, of a
rule and of a method, and the finding for an expression that is none. Checked here, compiled again
by whoever runs it: what was compiled is remembered by its text and scope.

A key of another entity is `any` in expressions: its type is that entity's business, which may be
in another model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from watcherd.errors import InvalidExpressionError
from watcherd.expressions import (
    ANY,
    BOOL,
    DATE,
    DECIMAL,
    FLOAT,
    INT,
    STRING,
    TIME,
    TIMESTAMP,
    Expression,
    Scope,
    Type,
    check_syntax,
    compile_expression,
    enum_of,
    list_of,
    object_of,
)
from watcherd.pim.findings import Span
from watcherd.pim.nodes import ScalarNode
from watcherd.pim.spec import Attribute, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from watcherd.pim.shapes import Draft, Path
    from watcherd.pim.spec import Entity, Parameter, ValueType

SELF = "self"
OLD = "old"

_TYPES = {
    Kind.INTEGER: INT,
    Kind.FLOAT: FLOAT,
    Kind.DECIMAL: DECIMAL,
    Kind.BOOLEAN: BOOL,
    Kind.DATETIME: TIMESTAMP,
    Kind.DATE: DATE,
    Kind.TIME: TIME,
    Kind.JSON: ANY,
    Kind.REFERENCE: ANY,
}


def kind_type(kind: Kind, members: Iterable[str] = (), *, is_list: bool = False) -> Type:
    """The type of a value of a kind; a kind that is text with a form is a string."""
    item = enum_of(members) if kind is Kind.ENUM else _TYPES.get(kind, STRING)
    return list_of(item) if is_list else item


def attribute_type(attribute: Attribute) -> Type:
    """The type of an attribute's values."""
    return kind_type(attribute.kind, attribute.members, is_list=attribute.is_list)


def row_type(entity: str, attributes: Mapping[str, Attribute]) -> Type:
    """The type of a row."""
    return object_of(entity, {name: attribute_type(one) for name, one in attributes.items()})


def check_scope(entity: str, attributes: Mapping[str, Attribute]) -> Scope:
    """A check speaks of one row: as `self`, and of its attributes by their names alone."""
    return {SELF: row_type(entity, attributes), **{name: attribute_type(one) for name, one in attributes.items()}}


def rule_scope(entity: str, attributes: Mapping[str, Attribute]) -> Scope:
    """A rule on an entity speaks of the row as it will be, and as it was (null: there was none)."""
    row = row_type(entity, attributes)
    return {SELF: row, OLD: row}


def parameter_scope(parameters: Iterable[Parameter], entities: Mapping[str, Entity]) -> Scope:
    """A rule that a method names speaks of the method's parameters by their names."""
    return {one.name: value_type(one.type, entities, one.members) for one in parameters}


def value_type(declared: ValueType, entities: Mapping[str, Entity], members: Iterable[str] = ()) -> Type:
    """The type of a parameter or a result: of a kind, or rows."""
    if declared.kind is not None:
        return kind_type(declared.kind, members, is_list=declared.is_list)
    if declared.entity is None or declared.entity.entity not in entities:
        return ANY
    entity = entities[declared.entity.entity]
    row = row_type(entity.name, entity.attributes)
    return list_of(row) if declared.is_list else row


def attributes_in(expression: Expression, attributes: Mapping[str, Attribute]) -> tuple[str, ...]:
    """The attributes of the row that an expression reads, in the order in which it names them."""
    found: dict[int, str] = {}
    waiting = [expression.root]
    while waiting:
        node = waiting.pop()
        waiting.extend(node.operands)
        is_own = bool(node.operands) and node.operands[0].op == "name" and node.operands[0].value == SELF
        if node.op == "name" and node.value in attributes:
            found[node.offset] = node.value
        elif is_own and node.op in {"field", "has"}:
            found[node.offset] = node.value if node.op == "field" else node.value[0]
    return tuple(dict.fromkeys(found[offset] for offset in sorted(found)))


def checked_expression(  # noqa: PLR0913 - an expression, its place, and what it may be
    draft: Draft,
    path: Path,
    text: str,
    scope: Scope,
    expects: Type | None = BOOL,
    *,
    clock: bool = True,
    among: str = "",
) -> Expression | None:
    """The expression at a path; None where it is none, which is a finding at the column of its fault.

    `among` ends the message where the scope does not follow from the place.
    """
    try:
        return compile_expression(text, scope, expects, clock=clock)
    except InvalidExpressionError as fault:
        message = f"{fault}"
        if not clock and "`now`" in message:
            message = "a check cannot depend on the time of day: it holds for rows that nobody writes, too"
        draft.findings.add("PIM312", fault_span(draft, path, text, fault.offset), message + among, fault.hint)
        return None


def has_syntax(draft: Draft, path: Path, text: str) -> bool:
    """Whether the text at a path can be an expression, whatever it names; else a finding at the fault."""
    try:
        check_syntax(text)
    except InvalidExpressionError as fault:
        draft.findings.add("PIM312", fault_span(draft, path, text, fault.offset), f"{fault}", fault.hint)
        return False
    return True


def fault_span(draft: Draft, path: Path, text: str, offset: int) -> Span:
    """Where a character of the text of the scalar at a path stands in the file."""
    node = draft.node(path)
    if not isinstance(node, ScalarNode):
        return draft.span(path)
    return character_span(draft.findings.source.text, node, text, offset)


def character_span(raw: str, node: ScalarNode, text: str, offset: int) -> Span:
    """Where a character of a scalar's text stands in the file.

    The two differ by quotes, escapes, folding and indentation, so they are walked along together:
    every character of the text is written somewhere, in the same order.
    """
    place = node.start
    if raw[place : place + 1] in {'"', "'"}:
        place += 1
    elif raw[place : place + 1] in {"|", ">"}:
        place = raw.find("\n", place) + 1
    for character in text[:offset]:
        place = _after(raw, place, node.end, character)
    while offset < len(text) and not text[offset].isspace() and place < node.end and raw[place].isspace():
        place += 1  # a fault never is in the indentation of the line that follows
    return Span(place, min(place + 1, node.end) if place < node.end else place)


def _after(raw: str, place: int, end: int, character: str) -> int:
    """The place after the next occurrence of a character; any space stands for any other."""
    while place < end:
        found = raw[place]
        place += 1
        if found == character or (found.isspace() and character.isspace()):
            return place
    return end
