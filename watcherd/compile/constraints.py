"""Sentences and checks of a model -> checks of a whole row.

Owns every constraint that one row alone decides; `unique` and foreign keys are the database's.
Checks run on wire values of the row as it would be stored, on every write path. Null passes all
but `is required`; so does an expression whose outcome is unknown, as a check of a database does.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from watcherd.compile import values
from watcherd.compile.reading import pointer
from watcherd.compile.validators import Targets
from watcherd.errors import EvaluationError
from watcherd.expressions import BOOL, Expression, Scope, compile_expression
from watcherd.pim.scopes import SELF, check_scope
from watcherd.pim.spec import Attribute, Constraint, Entity, Kind, Rule
from watcherd.problems import Finding

Check = Callable[[Mapping[str, Any]], Finding | None]
Passes = Callable[[Mapping[str, Any], Any], bool]

NUMBERS = frozenset({Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL})
DAYS = frozenset({Kind.DATETIME, Kind.DATE})
_COMPARISONS: Mapping[Rule | None, Callable[[Any, Any], bool]] = {
    Rule.GREATER: operator.gt,
    Rule.AT_LEAST: operator.ge,
    Rule.LESS: operator.lt,
    Rule.AT_MOST: operator.le,
}


Checks = tuple[tuple[frozenset[str], Check], ...]
"""(attributes, check): it means something only where these have valid values."""


def compile_checks(entity: Entity, targets: Targets) -> Checks:
    """Every constraint that is enforced here.

    A check answers the finding, or None when the row may be stored.
    """
    return (*_sentences(entity, targets), *_expressions(entity))


def _sentences(entity: Entity, targets: Targets) -> Iterator[tuple[frozenset[str], Check]]:
    for constraint in entity.constraints:
        if constraint.rule is Rule.CHECK:
            continue
        for name in constraint.attributes:
            passes = _passes(constraint, entity.attributes[name], entity, targets)
            if passes is not None:
                yield frozenset({name}), _check(name, constraint, passes)


def _expressions(entity: Entity) -> Iterator[tuple[frozenset[str], Check]]:
    scope: Scope = {}
    for constraint in entity.constraints:
        if constraint.rule is Rule.CHECK and constraint.expression is not None:
            scope = scope or check_scope(entity.name, entity.attributes)
            expression = compile_expression(constraint.expression, scope, BOOL, clock=False)
            yield frozenset(constraint.attributes), _expression_check(constraint, expression)


def _expression_check(constraint: Constraint, expression: Expression) -> Check:
    place, message = pointer((constraint.attributes[0],)), constraint.message or constraint.text
    broken = Finding(place, "constraint", message)

    def check(row: Mapping[str, Any]) -> Finding | None:
        try:
            return broken if expression.holds({**row, SELF: row}) is False else None
        except EvaluationError as error:
            return Finding(place, "constraint", f"{message}: {error}")

    return check


def is_enforced(constraint: Constraint, entity: Entity, targets: Targets) -> bool:
    """Whether anything enforces it: a check here, the database (`unique`), or the type itself."""
    if constraint.rule is None:
        return False
    return constraint.rule in {Rule.UNIQUE, Rule.MEMBER, Rule.CHECK} or any(
        _passes(constraint, entity.attributes[name], entity, targets) is not None for name in constraint.attributes
    )


def _check(name: str, constraint: Constraint, passes: Passes) -> Check:
    broken = Finding(pointer((name,)), "constraint", constraint.message or constraint.text)

    def check(row: Mapping[str, Any]) -> Finding | None:
        return None if passes(row, row.get(name)) else broken

    return check


def _passes(constraint: Constraint, attribute: Attribute, entity: Entity, targets: Targets) -> Passes | None:
    """What a value has to pass; None where the database or nobody enforces the sentence."""
    rule = constraint.rule
    if rule is Rule.REQUIRED:
        return lambda _, value: value is not None
    if rule is Rule.NOT_EMPTY:
        return lambda _, value: value not in ("", [], {})
    if rule is Rule.EMAIL:
        return _each(lambda _, value: _is_email(value), attribute)
    if rule is Rule.MEMBER and attribute.members:
        return _each(lambda _, value: value in attribute.members, attribute)
    return _comparison(constraint, attribute, entity, targets)


def _comparison(constraint: Constraint, attribute: Attribute, entity: Entity, targets: Targets) -> Passes | None:
    bound, bounds = constraint.bound, constraint.bounds
    if constraint.rule is Rule.BETWEEN and bounds is not None:
        return _with_number(attribute, lambda convert: _between(convert, *bounds))
    compare = _COMPARISONS.get(constraint.rule)
    if compare is None:
        return None
    if constraint.other is not None:
        return _with_attribute(attribute, entity.attributes[constraint.other], compare, targets)
    if bound is not None:
        return _with_number(attribute, lambda convert: _against(convert, compare, bound))
    return None


def _each(passes: Passes, attribute: Attribute) -> Passes:
    """Null passes, and a list passes when each of its items does."""
    if not attribute.is_list:
        return lambda row, value: value is None or passes(row, value)
    return lambda row, value: value is None or all(item is None or passes(row, item) for item in value)


def _is_email(value: Any) -> bool:
    try:
        values.email(value)
    except ValueError:
        return False
    return True


def _with_number(attribute: Attribute, passes: Callable[[Callable[[Any], Any]], Passes]) -> Passes | None:
    if attribute.kind not in NUMBERS:
        return None
    # Floats are compared as floats: 0.1 is at most 0.1, though its binary value is above it.
    return _each(passes(float if attribute.kind is Kind.FLOAT else Decimal), attribute)


def _between(convert: Callable[[Any], Any], low: Decimal, high: Decimal) -> Passes:
    least, most = convert(low), convert(high)
    return lambda _, value: least <= convert(value) <= most


def _against(convert: Callable[[Any], Any], compare: Callable[[Any, Any], bool], bound: Decimal) -> Passes:
    limit = convert(bound)
    return lambda _, value: compare(convert(value), limit)


def _with_attribute(
    attribute: Attribute, other: Attribute, compare: Callable[[Any, Any], bool], targets: Targets
) -> Passes | None:
    convert = _common(values.resolve(attribute, targets).kind, values.resolve(other, targets).kind)
    if convert is None or other.is_list:
        return None

    def passes(row: Mapping[str, Any], value: Any) -> bool:
        against = row.get(other.name)
        return against is None or compare(convert(value), convert(against))

    return _each(passes, attribute)


def _common(kind: Kind, other: Kind) -> Callable[[Any], Any] | None:
    """What makes two values comparable; None where their kinds are not."""
    if kind in NUMBERS and other in NUMBERS:
        return float if Kind.FLOAT in {kind, other} else Decimal
    if kind in DAYS and other in DAYS:
        return _as_moment if kind is not other else str
    # Wire texts of one kind sort as their values do.
    return (lambda value: value) if kind is other and kind not in {Kind.JSON, Kind.BOOLEAN} else None


def _as_moment(value: str) -> str:
    return value if "T" in value else f"{value}T00:00:00.000000Z"
