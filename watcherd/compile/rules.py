"""Rules of a model -> what every write of a row, and every call of a method, is held against.

Owns when a rule applies and when it is broken: `when` must be true for it to apply, and then
`assert` must be. What is unknown, for want of a value, is neither: a rule that must not apply to a
row without a price says `when: has(self.price)`. An expression that fails breaks the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from watcherd.compile.reading import pointer
from watcherd.errors import EvaluationError
from watcherd.expressions import BOOL, Expression, Scope, compile_expression
from watcherd.pim.scopes import OLD, SELF, parameter_scope, rule_scope
from watcherd.pim.spec import Entity, Method, ModelRule, ModelSpec
from watcherd.problems import Finding

Values = Mapping[str, Any]

Held = Callable[[Values, datetime], Finding | None]
"""The finding for values in the scope of a rule, at a time of day."""

EntityRules = tuple[tuple[frozenset[str], Held], ...]
"""(attributes, rule): it means something only where these have valid values."""


def compile_entity_rules(entity: Entity) -> EntityRules:
    """The rules on an entity."""
    scope: Scope = rule_scope(entity.name, entity.attributes) if entity.rules else {}
    return tuple((frozenset(rule.about), _held(rule, scope, pointer(rule.about[:1]))) for rule in entity.rules)


def compile_method_rules(spec: ModelSpec, method: Method) -> tuple[Held, ...]:
    """The rules that a method names and that speak of its parameters."""
    named = [spec.rules[name] for name in method.rules if name in spec.rules]
    rules = [rule for rule in named if rule.on is None and not rule.is_prose]
    scope: Scope = parameter_scope(method.parameters, spec.entities) if rules else {}
    names = [parameter.name for parameter in method.parameters]
    return tuple(_held(rule, scope, _first_parameter(rule, scope, names)) for rule in rules)


def broken_rules(rules: Iterable[Held], values: Values, now: datetime) -> list[Finding]:
    """What rules find in values."""
    return [broken for rule in rules if (broken := rule(values, now)) is not None]


def row_values(row: Values, old: Values | None) -> Values:
    """The values of the scope of a rule on an entity: the row as it will be, and as it was."""
    return {SELF: row, OLD: old}


def _held(rule: ModelRule, scope: Scope, place: str) -> Held:
    condition = compile_expression(rule.condition or "", scope, BOOL)
    when = None if rule.when is None else compile_expression(rule.when, scope, BOOL)
    broken = Finding(place, rule.code, rule.message or rule.text)

    def held(values: Values, now: datetime) -> Finding | None:
        try:
            if when is not None and when.holds(values, now) is not True:
                return None
            return None if condition.holds(values, now) is True else broken
        except EvaluationError as error:
            return Finding(place, broken.code, f"{broken.message}: {error}")

    return held


def _first_parameter(rule: ModelRule, scope: Scope, names: Iterable[str]) -> str:
    expression: Expression = compile_expression(rule.condition or "", scope, BOOL)
    read = [name for name in names if name in expression.names]
    return pointer(read[:1])
