"""What `expand` shows: the relations of an entity, and related rows as they stand in an answer.

Owns which relations there are and the form of what they show. Does not own how related rows are
found (store) nor the query string (query).

The rows of another model are seen through the revision that serves it when the request comes: its
edits are seen at once, and are no reason to compile the models that refer to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from watcherd.pim.spec import Entity, EntityRef, LinkedModel, ModelSpec
from watcherd.store import ModelTables, Related, Row, RowList, Rows


class Shape(Enum):
    """What a relation shows: a row or null, all rows, or the rows of a list of keys in its order."""

    ONE = "one"
    MANY = "many"
    LISTED = "listed"


@dataclass(frozen=True, slots=True)
class Exposed:
    """What is seen of an entity from outside: its rows, without the attributes that are never shown."""

    rows: Rows
    hidden: frozenset[str]


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


def expose(spec: ModelSpec, tables: ModelTables) -> dict[str, Exposed]:
    """What is seen of a model's entities, by name: in its own answers and in those of other models."""
    return {item.name: Exposed(tables.entities[item.name], hidden_of(item)) for item in spec.entities.values()}


def hidden_of(entity: Entity) -> frozenset[str]:
    """The attributes that no answer shows."""
    return frozenset(item.name for item in entity.attributes.values() if item.write_only)


def shown(row: Row, hidden: frozenset[str]) -> Mapping[str, Any]:
    """A row as answers show it."""
    if not hidden:
        return row.values
    return {name: value for name, value in row.values.items() if name not in hidden}
