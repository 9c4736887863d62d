"""What `expand` shows: the relations of an entity, and related rows as they stand in an answer.

Owns which relations there are and the form of what they show, and how an entity looks to those that
it refers to. Does not own how related rows are
found (store) nor the query string (query).

The rows of another model are seen through the revision that serves it when the request comes: its
edits are seen at once, and are no reason to compile the models that refer to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from watcherd.compile.bodies import Bodies
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Entity, EntityRef, ModelSpec, OnDelete
from watcherd.store import ModelTables, Related, Row, RowList, Rows


class Shape(Enum):
    """What a relation shows: a row or null, all rows, or the rows of a list of keys in its order."""

    ONE = "one"
    MANY = "many"
    LISTED = "listed"


@dataclass(frozen=True, slots=True)
class Dependant:
    """An entity as those see it that it refers to: what a deletion there does to its rows, and what they are held to.

    `references` are, by attribute, the entity that it refers to, and what becomes of a row when that one goes.
    """

    ref: EntityRef
    plural: str
    rows: Rows
    bodies: Bodies
    references: Mapping[str, tuple[EntityRef, OnDelete]]

    def is_held(self, attribute: str) -> bool:
        """Whether anything may be against a row without a value there: a rule speaks of every write."""
        return bool(self.bodies.rules) or any(attribute in about for about, _ in self.bodies.checks)


@dataclass(frozen=True, slots=True)
class Exposed:
    """What is seen of an entity from outside: its rows, without the attributes that are never shown."""

    rows: Rows
    hidden: frozenset[str]
    dependant: Dependant


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation: rows of `target` whose attribute `far` has the value of `near` here."""

    name: str
    target: EntityRef
    near: str
    far: str
    shape: Shape

    def related(self, exposed: Exposed) -> Related:
        """What the store is asked for."""
        return Related(self.name, exposed.rows, near=self.near, far=self.far)

    def shown(self, row: Row, found: Mapping[Any, RowList], exposed: Exposed) -> Any:
        """The related rows of one row, out of those that were found for the page."""
        near = row.values[self.near]
        if self.shape is Shape.LISTED:
            return [shown(one, exposed.hidden) for value in near or () for one in found.get(value, ())]
        rows = [shown(one, exposed.hidden) for one in found.get(near, ())]
        if self.shape is Shape.MANY:
            return rows
        return rows[0] if rows else None


def compile_relations(entity: Entity, linked: LinkedModel) -> dict[str, Relation]:
    """The relations of an entity by name."""
    found: dict[str, Relation] = {}
    for to_one in entity.to_one:
        listed = entity.attributes[to_one.attribute].is_list
        found[to_one.name] = Relation(
            name=to_one.name,
            target=to_one.target,
            near=to_one.attribute,
            far=linked.targets[to_one.target].key.name,
            shape=Shape.LISTED if listed else Shape.ONE,
        )
    for to_many in entity.to_many:
        found[to_many.name] = Relation(
            name=to_many.name,
            target=to_many.child,
            near=entity.key.name,
            far=to_many.via,
            shape=Shape.ONE if to_many.single else Shape.MANY,
        )
    return found


def expose(spec: ModelSpec, tables: ModelTables, bodies: Mapping[str, Bodies]) -> dict[str, Exposed]:
    """What is seen of a model's entities, by name: in its own answers and in those of other models."""
    found = {}
    for item in spec.entities.values():
        rows = tables.entities[item.name]
        references = {
            one.name: (one.reference, one.on_delete)
            for one in item.attributes.values()
            if one.reference is not None and not one.is_list
        }
        own = EntityRef(spec.name, item.name)
        dependant = Dependant(own, item.plural, rows, bodies[item.name], references)
        found[item.name] = Exposed(rows, hidden_of(item), dependant)
    return found


def hidden_of(entity: Entity) -> frozenset[str]:
    """The attributes that no answer shows."""
    return frozenset(item.name for item in entity.attributes.values() if item.write_only)


def shown(row: Row, hidden: frozenset[str]) -> Mapping[str, Any]:
    """A row as answers show it."""
    if not hidden:
        return row.values
    return {name: value for name, value in row.values.items() if name not in hidden}
