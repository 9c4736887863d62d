"""What sentences demand of attributes, as limits of those attributes: for the documentation alone.

A sentence is enforced by its check (constraints), with its own words; here it becomes what a JSON
Schema can say, so that clients know it beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal

from watcherd.compile.constraints import NUMBERS
from watcherd.pim.spec import Attribute, Constraint, Entity, Kind, Rule

TEXTS = frozenset({Kind.STRING, Kind.TEXT})

Bounds = tuple[Decimal, Decimal]


def tightened(entity: Entity) -> list[Attribute]:
    """The attributes with what sentences demand of them."""
    attributes = dict(entity.attributes)
    for constraint in entity.constraints:
        for name in constraint.attributes:
            attributes[name] = _tighten(attributes[name], constraint)
    return list(attributes.values())


def required_by_sentence(entity: Entity, unsent: frozenset[str]) -> frozenset[str]:
    """Attributes that `is required` demands: they must be sent unless a default stands in."""
    return frozenset(
        name
        for item in entity.constraints
        if item.rule is Rule.REQUIRED
        for name in item.attributes
        if entity.attributes[name].default is None and name not in unsent
    )


def _tighten(attribute: Attribute, constraint: Constraint) -> Attribute:
    rule = constraint.rule
    if rule is Rule.REQUIRED:
        return replace(attribute, required=True)
    if attribute.kind in TEXTS:
        if rule is Rule.EMAIL:
            return replace(attribute, kind=Kind.EMAIL)
        if rule is Rule.NOT_EMPTY and not attribute.is_list:
            return replace(attribute, min_length=max(attribute.min_length or 0, 1))
    low, high = constraint.bounds or (constraint.bound, constraint.bound)
    if rule in _NARROWED and attribute.kind in NUMBERS and low is not None and high is not None:
        return _NARROWED[rule](attribute, (low, high))
    return attribute


def _at_least(attribute: Attribute, bounds: Bounds) -> Attribute:
    return replace(attribute, minimum=max(bounds[0], _or(attribute.minimum, bounds[0])))


def _at_most(attribute: Attribute, bounds: Bounds) -> Attribute:
    return replace(attribute, maximum=min(bounds[1], _or(attribute.maximum, bounds[1])))


def _greater(attribute: Attribute, bounds: Bounds) -> Attribute:
    return replace(attribute, exclusive_minimum=max(bounds[0], _or(attribute.exclusive_minimum, bounds[0])))


def _less(attribute: Attribute, bounds: Bounds) -> Attribute:
    return replace(attribute, exclusive_maximum=min(bounds[1], _or(attribute.exclusive_maximum, bounds[1])))


def _between(attribute: Attribute, bounds: Bounds) -> Attribute:
    return _at_most(_at_least(attribute, bounds), bounds)


def _or(declared: Decimal | None, bound: Decimal) -> Decimal:
    return bound if declared is None else declared


_NARROWED: Mapping[Rule | None, Callable[[Attribute, Bounds], Attribute]] = {
    Rule.AT_LEAST: _at_least,
    Rule.AT_MOST: _at_most,
    Rule.GREATER: _greater,
    Rule.LESS: _less,
    Rule.BETWEEN: _between,
}
