"""What a compilation carries over from the last revision of the same model: its parts, one an entity.

An edit touches few entities of a model. Owns when the part of an entity is still right, and the taking
up of those that are: a part is made from what its `Sight` holds and from nothing else, so while the
sight is the same, so is the part. Parts hold no revision and no tables; a retired revision goes as
before, and what it was made of goes with the last revision that uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from watcherd.compile.options import Options
from watcherd.compile.validators import Targets
from watcherd.pim.spec import Entity, EntityRef, Kind, LinkedModel, Target

T = TypeVar("T")


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
            and len(self.below) == len(other.below)
            and all(one is before for one, before in zip(self.below, other.below, strict=True))
            and self.targets == other.targets
        )


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """What was made of an entity, and from what."""

    sight: Sight
    made: T


Parts = Mapping[str, Part[T]]
"""By the entity's name."""


def sights(linked: LinkedModel, options: Options) -> dict[str, Sight]:
    """What the part of each entity is made from."""
    spec = linked.spec
    names = tuple(spec.entities)
    found = {}
    for entity in spec.entities.values():
        below = tuple(spec.entities[end.child.entity] for end in entity.to_many)
        found[entity.name] = Sight(options, spec.domain, names, entity, below, _targets(linked, (entity, *below)))
    return found


def carry_over(seen: Mapping[str, Sight], before: Parts[T], make: Callable[[Sight], T]) -> dict[str, Part[T]]:
    """A part of each entity: the one `before`, where it is still right, else one that is made."""
    parts = {}
    for name, sight in seen.items():
        known = before.get(name)
        parts[name] = known if known is not None and known.sight.same(sight) else Part(sight, make(sight))
    return parts


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
