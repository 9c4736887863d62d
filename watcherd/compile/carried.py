"""What a compilation carries over from the last revision of the same model: its parts.

An edit touches few entities of a model, and few methods. Owns when a part is still right, and the taking
up of those that are: a part is made from what its sight holds and from nothing else, so while the
sight is the same, so is the part. Parts hold no revision and no tables; a retired revision goes as
before, and what it was made of goes with the last revision that uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from watcherd.compile.options import Options
from watcherd.compile.validators import Targets
from watcherd.pim.flow_spec import Flow
from watcherd.pim.linked import Code, LinkedModel, Target
from watcherd.pim.spec import Entity, EntityRef, Kind, Method, ModelRule, Parameter, Service

T = TypeVar("T")


class AnySight(Protocol):
    """All that a part may be made from."""

    def same(self, other: Any, /) -> bool:
        """Whether the same comes of both."""


S = TypeVar("S", bound=AnySight)


@dataclass(frozen=True, slots=True)
class Sight:
    """All that the part of one entity may be made from.

    `below` are the entities of its `to_many` ends, `targets` what the references of all these end at,
    `names` those of all entities of the model.
    """

    options: Options
    domain: str
    names: tuple[str, ...]
    entity: Entity
    below: tuple[Entity, ...]
    targets: Targets

    def same(self, other: Sight) -> bool:
        """Whether the same comes of both. Entities by identity: equal ones may differ in order (see `pim.sharing`)."""
        return (
            self.entity is other.entity
            and self.options is other.options
            and (self.domain, self.names) == (other.domain, other.names)
            and _identical(self.below, other.below)
            and self.targets == other.targets
        )


@dataclass(frozen=True, slots=True)
class MethodSight:
    """All that the body of one method may be made from.

    `entities` are those of its parameters, of a method whose rules are enforced all of them.
    """

    method: Method
    entities: tuple[Entity, ...]
    rules: tuple[ModelRule, ...]
    targets: Targets

    def same(self, other: MethodSight, /) -> bool:
        """As `Sight.same`."""
        return (
            self.method is other.method
            and _identical(self.entities, other.entities)
            and _identical(self.rules, other.rules)
            and self.targets == other.targets
        )


@dataclass(frozen=True, slots=True)
class RestSight:
    """All that the description of what is no entity's may be made from.

    `names` are those of all entities, `entities` those of which parameters hold some attributes only.
    """

    options: Options
    domain: str
    names: tuple[str, ...]
    entities: tuple[Entity, ...]
    services: tuple[Service, ...]
    flows: tuple[Flow, ...]
    rules: tuple[ModelRule, ...]
    targets: Targets
    code: Code

    def same(self, other: RestSight, /) -> bool:
        """As `Sight.same`."""
        return (
            self.options is other.options
            and (self.domain, self.names, self.code) == (other.domain, other.names, other.code)
            and _identical(self.entities, other.entities)
            and _identical(self.services, other.services)
            and _identical(self.flows, other.flows)
            and _identical(self.rules, other.rules)
            and self.targets == other.targets
        )


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """What was made of an entity or a method, and from what."""

    sight: AnySight
    made: T


Parts = Mapping[str, Part[T]]
"""By the name of the entity, or of the method: `Service.method`."""


def sights(linked: LinkedModel, options: Options) -> dict[str, Sight]:
    """What the part of each entity is made from."""
    spec = linked.spec
    names = tuple(spec.entities)
    found = {}
    for entity in spec.entities.values():
        below = tuple(spec.entities[end.child.entity] for end in entity.to_many)
        found[entity.name] = Sight(options, spec.domain, names, entity, below, _targets(linked, (entity, *below)))
    return found


def method_sight(linked: LinkedModel, method: Method) -> MethodSight:
    """What the body of a method is made from."""
    spec = linked.spec
    rules = tuple(spec.rules[name] for name in method.rules if name in spec.rules)
    whole = any(not rule.is_prose for rule in rules)
    entities = tuple(spec.entities.values()) if whole else _entities_of(linked, method.parameters)
    return MethodSight(method, entities, rules, linked.targets)


def rest_sight(linked: LinkedModel, options: Options) -> RestSight:
    """What is described of a model beside its entities is made from this."""
    spec = linked.spec
    methods = [method for service in spec.services.values() for method in service.methods]
    in_part = [one for method in methods for one in method.parameters if one.partial or one.exclude]
    return RestSight(
        options,
        spec.domain,
        tuple(spec.entities),
        _entities_of(linked, in_part),
        tuple(spec.services.values()),
        tuple(spec.flows.values()),
        tuple(spec.rules.values()),
        linked.targets,
        linked.code,
    )


def carry_over(seen: Mapping[str, S], before: Parts[T], make: Callable[[S], T]) -> dict[str, Part[T]]:
    """A part of each entity: the one `before`, where it is still right, else one that is made."""
    return {name: carried(sight, before.get(name), make) for name, sight in seen.items()}


def carried(sight: S, before: Part[T] | None, make: Callable[[S], T]) -> Part[T]:
    """The part `before`, where it is still right, else one that is made."""
    return before if before is not None and before.sight.same(sight) else Part(sight, make(sight))


def _identical(some: tuple[object, ...], others: tuple[object, ...]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


def _entities_of(linked: LinkedModel, parameters: Iterable[Parameter]) -> tuple[Entity, ...]:
    """The entities of this model that parameters hold."""
    spec = linked.spec
    refs = (one.type.entity for one in parameters)
    return tuple(spec.entities[ref.entity] for ref in refs if ref is not None and ref.entity in spec.entities)


def _targets(linked: LinkedModel, entities: tuple[Entity, ...]) -> dict[EntityRef, Target]:
    """What the references of entities end at, and these in turn."""
    found: dict[EntityRef, Target] = {}
    wanted = [end.target for entity in entities for end in entity.to_one]
    while wanted:
        ref = wanted.pop()
        target = linked.targets.get(ref)
        if target is None or ref in found:
            continue
        found[ref] = target
        if target.key.kind is Kind.REFERENCE and target.key.reference is not None:
            wanted.append(target.key.reference)
    return found
