"""What a model's tables are like, as values: what `catalog` keeps and `differ` compares.

A `Layout` compares by value, so that "nothing to do" and "somebody was here in between" are
equalities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from watcherd.pim.spec import EntityRef
from watcherd.store.dialect import SQLITE, Dialect
from watcherd.store.limits import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAttribute:
    """A column. Parked ones keep their name and type until they come back."""

    name: str
    column: str
    type: str
    facts: Facts
    is_key: bool = False
    parked: bool = False
    target: EntityRef | None = None
    target_table: str | None = None
    target_column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredConstraint:
    """An index or a check. `name` follows from the definition; `label` is for people.

    A retired one is no longer in the model; it goes when no older revision needs it.
    """

    kind: Literal["unique", "index", "check"]
    name: str
    label: str
    attributes: tuple[str, ...]
    columns: tuple[str, ...]
    retired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntity:
    """A table."""

    name: str
    table: str
    parked: bool = False
    attributes: tuple[StoredAttribute, ...] = ()
    constraints: tuple[StoredConstraint, ...] = ()

    @property
    def key(self) -> StoredAttribute:
        """The primary key's column."""
        return next(attribute for attribute in self.attributes if attribute.is_key)

    def live(self, name: str) -> StoredAttribute | None:
        """The column that serves the attribute of this name now."""
        return next((one for one in self.attributes if one.name == name and not one.parked), None)


@dataclass(frozen=True, slots=True)
class Layout:
    """All tables of a model, parked ones too, in a stable order."""

    model: str
    entities: tuple[StoredEntity, ...] = ()

    def live(self, name: str) -> StoredEntity | None:
        """The table that serves the entity of this name now."""
        return next((one for one in self.entities if one.name == name and not one.parked), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a plan depends on outside its model.

    `dialect` is the database's, `tables` are the names of other models' tables, `targets` the table
    and key column of entities of other models, `applied` the other models that the catalog knows.
    """

    dialect: Dialect = SQLITE
    tables: frozenset[str] = frozenset()
    targets: Mapping[EntityRef, tuple[str, str]] = field(default_factory=dict)
    applied: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Referrer:
    """A column whose foreign key points at some table; `restricts`: its rows stop a deletion there."""

    entity: str
    attribute: str
    table: str
    column: str
    parked: bool
    restricts: bool
