"""What an edit left as it was stays the same object, so that whoever comes after sees it at a glance.

A new spec takes up the entities, attributes, services, flows and rules of the one before that are
equal to its own. What is made of them (validators, documents, plans) can then be taken up by
identity, and the cost of a reload is that of what changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from watcherd.pim.spec import Entity, ModelSpec, read_only

T = TypeVar("T")


def shared(new: ModelSpec, old: ModelSpec) -> ModelSpec:
    """`new`, equal to what it was, with the objects of `old` wherever these say the same.

    The order in which attributes are written shows in documents: where it differs the entity is new.
    """
    return replace(
        new,
        entities=read_only(
            {
                name: entity if name not in old.entities else _entity(entity, old.entities[name])
                for name, entity in new.entities.items()
            }
        ),
        services=read_only(_taken_up(new.services, old.services)),
        flows=read_only(_taken_up(new.flows, old.flows)),
        rules=read_only(_taken_up(new.rules, old.rules)),
    )


def ways(spec: ModelSpec) -> frozenset[tuple[str, str, str]]:
    """How stored rows get to a new type: entity, attribute and `using`. No part of what the model means."""
    return frozenset(
        (entity.name, one.name, one.using)
        for entity in spec.entities.values()
        for one in entity.attributes.values()
        if one.using is not None
    )


def _entity(new: Entity, old: Entity) -> Entity:
    attributes = _taken_up(new.attributes, old.attributes)
    taken_up = replace(new, attributes=read_only(attributes))
    return old if taken_up == old and list(attributes) == list(old.attributes) else taken_up


def _taken_up(new: Mapping[str, T], old: Mapping[str, T]) -> dict[str, T]:
    return {name: old[name] if name in old and old[name] == one else one for name, one in new.items()}
