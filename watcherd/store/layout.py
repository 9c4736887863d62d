"""What a model's tables are like, as values: what `catalog` keeps and `differ` compares.

A `Layout` compares by value, so that "nothing to do" and "somebody was here in between" are
equalities.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from watcherd.pim.spec import EntityRef
from watcherd.store.cursor import Moment
from watcherd.store.dialect import SQLITE, Dialect
from watcherd.store.limits import AHEAD, RENAMED_FROM, SUPERSEDED, UNFILLED, Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAttribute:
    """A column. Parked ones keep their name and type until they come back.

    `target_table` and `target_column` are the foreign key that is there; without `target` nothing
    wants it any more, and it goes when no older revision needs it.
    """

    name: str
    column: str
    type: str
    facts: Facts
    is_key: bool = False
    parked: bool = False
    target: EntityRef | None = None
    target_table: str | None = None
    target_column: str | None = None

    @property
    def renamed_from(self) -> str | None:
        """The last name that its attribute had before this one."""
        old: str | None = self.facts.get(RENAMED_FROM)
        return old

    @property
    def is_rest(self) -> bool:
        """Whether it is what a change of type left behind, or a rename found empty: nothing that could come back."""
        return SUPERSEDED in self.facts or UNFILLED in self.facts

    @property
    def was_served(self) -> bool:
        """Whether it has had an attribute, whose name a rename may speak of; not where it was made ahead of it."""
        return not (self.is_rest or AHEAD in self.facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredConstraint:
    """An index, a check, a rule, or the triggers that keep two columns in step (see `sync`).

    A rule is a check that the database cannot watch: the record alone says that the rows keep it.
    `name` follows from the definition; `label` is for people. A retired one is no longer in the
    model; it goes when no older revision needs it.
    """

    kind: Literal["unique", "index", "check", "rule", "sync"]
    name: str
    label: str
    attributes: tuple[str, ...]
    columns: tuple[str, ...]
    retired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntity:
    """A table; `renamed_from` is the last name that its entity had before this one."""

    name: str
    table: str
    parked: bool = False
    renamed_from: str | None = None
    attributes: tuple[StoredAttribute, ...] = ()
    constraints: tuple[StoredConstraint, ...] = ()

    @property
    def key(self) -> StoredAttribute:
        """The primary key's column."""
        return next(attribute for attribute in self.attributes if attribute.is_key)

    @property
    def unwanted_references(self) -> tuple[StoredAttribute, ...]:
        """Columns whose foreign key is still there, though no attribute in service refers to anything with it."""
        return tuple(
            one for one in self.attributes if one.target_table is not None and (one.parked or one.target is None)
        )

    def without(self, columns: Collection[str]) -> StoredEntity:
        """The same table once some columns are dropped, and the constraints on them."""
        return replace(
            self,
            attributes=tuple(one for one in self.attributes if one.column not in columns),
            constraints=tuple(one for one in self.constraints if not set(one.columns) & set(columns)),
        )

    def live(self, name: str) -> StoredAttribute | None:
        """The column that serves the attribute of this name now."""
        return next((one for one in self.attributes if one.name == name and not one.parked), None)


@dataclass(frozen=True, slots=True)
class Layout:
    """All tables of a model, parked ones too, in a stable order.

    `renamed_from` is the (folded) name that the model had before its last rename.
    """

    model: str
    entities: tuple[StoredEntity, ...] = ()
    renamed_from: str | None = None

    def of_table(self, table: str) -> StoredEntity:
        """The entity of a table that is in the layout."""
        return next(one for one in self.entities if one.table == table)

    def live(self, name: str) -> StoredEntity | None:
        """The table that serves the entity of this name now."""
        return next((one for one in self.entities if one.name == name and not one.parked), None)


@dataclass(frozen=True, slots=True)
class Seen:
    """A layout that the catalog had at some moment, as far as the connection of that moment goes on to change it."""

    layout: Layout
    moment: Moment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a plan depends on outside its model.

    `dialect` is the database's, `tables` are the names of all tables, the model's own too, `targets`
    the table and key column of entities of other models.
    """

    dialect: Dialect = SQLITE
    tables: Container[str] = frozenset()
    targets: Mapping[EntityRef, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Referrer:
    """A column whose foreign key points at some table.

    `parked`: it, its entity or its model is out of service. `restricts`: its rows stop a deletion there.
    """

    model: str
    entity: str
    attribute: str
    table: str
    column: str
    parked: bool
    restricts: bool
