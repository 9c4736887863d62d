"""What a change of type takes: a new column that is filled, kept in step with the old one, and then alone.

Owns the parts of a plan for it, whatever the conversion: the look at what it cannot hold, the
filling, the triggers (`sync`) and what the catalog remembers of them, and what becomes of the old
column. Which conversions there are is in `conversions`; `columns` decides when one is needed.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace

from watcherd.store import sync
from watcherd.store.conversions import Computed, Conversion
from watcherd.store.dialect import Dialect
from watcherd.store.layout import StoredAttribute, StoredConstraint, StoredEntity
from watcherd.store.limits import SUPERSEDED, UNFILLED
from watcherd.store.names import quoted
from watcherd.store.plan import KEY_ALIAS, Scan, Step, StepKind
from watcherd.store.sync import Sync


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """One attribute of a table whose type changes: from the column `old` to the column `new`."""

    before: StoredEntity
    old: StoredAttribute
    new: StoredAttribute
    conversion: Conversion

    @property
    def name(self) -> str:
        """As people know the attribute."""
        return f"{self.before.name}.{self.new.name}"

    @property
    def value(self) -> str:
        """SQL of the new value, over the columns of the table."""
        return self.conversion.forward(quoted(self.old.column))

    def scan(self, entity: str, hint: str) -> Scan | None:
        """The look for rows that have no counterpart in the new type; None where each has one."""
        if self.conversion.violation is None:
            return None
        key, table = quoted(self.before.key.column), quoted(self.before.table)
        violation = self.conversion.violation(quoted(self.old.column))
        return Scan(
            code="PIM601",
            entity=entity,
            attribute=self.new.name,
            source=f"(SELECT {key} AS {KEY_ALIAS} FROM {table} WHERE {violation})",  # noqa: S608 - quoted names
            violation="1 = 1",
            demand=self.conversion.demand,
            hint=hint,
        )

    def fill(self, entity: str) -> Step:
        """The step that gives the new column its values, and takes the default from the old one."""
        return Step(
            kind=StepKind.REWRITE,
            entity=entity,
            name=self.before.table,
            text=f"rewrite {self.name} from {self.old.type} to {self.new.type}",
            statements=(),
            columns=(self.old.column,),
            filled=((self.new.column, self.value),),
        )

    def keep_in_step(self, dialect: Dialect, entity: str, serving: Container[str]) -> tuple[Step, StoredConstraint]:
        """The step that makes the triggers, and what the catalog says of them.

        `serving` are the columns that newer revisions write, too: what they write there is no word
        of an older one. Nothing in service wants the triggers from the beginning: they go when no
        older revision is in use.
        """
        reads = self.conversion.reads if isinstance(self.conversion, Computed) else ()
        pair = Sync(
            table=self.before.table,
            key=self.before.key.column,
            old=self.old.column,
            new=self.new.column,
            conversion=self.conversion,
            watched=tuple(one for one in reads if one != self.old.column and one not in serving),
        )
        step = Step(
            kind=StepKind.CREATE_SYNC,
            entity=entity,
            name=pair.name,
            text=f"keep {self.name} as {self.old.type} in step while older revisions are in use",
            statements=sync.create(dialect, pair),
        )
        known = StoredConstraint(
            kind="sync",
            name=pair.name,
            label=f"{self.new.name} must be storable as {self.new.type}",
            attributes=(self.new.name,),
            columns=(self.old.column, self.new.column),
            retired=True,
        )
        return step, known

    def left(self) -> StoredAttribute:
        """The old column from now on: a rest where the new one says all, else parked like any other."""
        facts = {**self.old.facts, SUPERSEDED: self.new.column} if self.conversion.exact else self.old.facts
        return replace(self.old, parked=True, facts=facts)


def begun(before: StoredEntity, old: StoredAttribute, wanted: StoredAttribute) -> StoredAttribute | None:
    """The column that was made for the same change of type, which then did not come to its end."""
    for one in before.attributes:
        alike = one.parked and (one.name, one.type) == (wanted.name, wanted.type)
        if alike and one.facts.get(UNFILLED) == old.column:
            return one
    return None
