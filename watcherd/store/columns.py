"""The attributes of one entity of a plan, each against the column that it has or will have.

Owns the comparison of an attribute, whatever became of it; what concerns the table as a whole is in
`table_changes`, what has to be looked for in its rows in `looks`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from watcherd.errors import InvalidExpressionError
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import EMPTY, Attribute, Entity, EntityRef, Kind
from watcherd.store import tables
from watcherd.store.codecs import physical, same_type, signature
from watcherd.store.conditions import UntranslatableError
from watcherd.store.conversions import Conversion, widening
from watcherd.store.defaults import default_literal
from watcherd.store.dialect import Dialect
from watcherd.store.layout import StoredAttribute, StoredEntity
from watcherd.store.limits import RENAMED_FROM, Facts, facts_of, tightened
from watcherd.store.looks import MEND_HINT, Looks
from watcherd.store.names import Names, column_name, quoted
from watcherd.store.plan import Rejection, Step, StepKind
from watcherd.store.renames import Clash, namesakes, predecessor, same_id
from watcherd.store.rewrites import Rewrite, begun
from watcherd.store.using import computed

_REFERENCE = "reference:"


@dataclass(frozen=True, slots=True)
class Setting:
    """What all entities of a plan share.

    `places` are the table and key column of every entity, `made` the tables that are there already.
    """

    linked: LinkedModel
    places: Mapping[EntityRef, tuple[str, str]]
    made: Container[str]
    now: datetime
    dialect: Dialect

    def as_made(self, column: StoredAttribute) -> StoredAttribute:
        """The column as it can be made now: without a foreign key to a table of another model that is still to come.

        SQLite takes one, and refuses every write to the table from then on, should that one never come.
        """
        target = column.target
        waits = target is not None and target.model != self.linked.spec.name and column.target_table not in self.made
        return replace(column, target_table=None, target_column=None) if waits else column


@dataclass(frozen=True, slots=True)
class SameColumn:
    """An attribute that was found to be as it is stored, so that nothing is to be done, looked for or said.

    `held` is what its column really holds, `end` the table and column that its foreign key ends at.
    """

    attribute: Attribute
    held: Attribute
    end: tuple[str, str] | None
    stored: StoredAttribute


class ColumnChanges:
    """What the attributes of one entity need: filled once, attribute by attribute.

    `columns` are those that serve from now on, by attribute; `added` those of them that are new, `returned`
    those that were parked under their name, `rewrites` (by old column) those whose type changes, `referring`
    the attributes that need a foreign key, `superseded` the parked columns that others stand for now. `held`
    is what each column really holds.
    """

    def __init__(
        self,
        setting: Setting,
        entity: Entity,
        before: StoredEntity | None,
        table: str,
        same: Mapping[str, SameColumn] = EMPTY,
    ) -> None:
        """`same` is what was found of its attributes before; `self.same` is what holds now."""
        self.steps: list[Step] = []
        self.rejections: list[Rejection] = []
        self.added: list[StoredAttribute] = []
        self.returned: list[StoredAttribute] = []
        self.rewrites: dict[str, Rewrite] = {}
        self.referring: list[str] = []
        self.superseded: dict[str, str] = {}
        self.columns: dict[str, StoredAttribute] = {}
        self.held = {one.name: physical(setting.linked, one) for one in entity.attributes.values()}
        self.looks = Looks(
            entity=entity.name,
            before=before,
            table=table,
            held=self.held,
            linked=setting.linked,
            made=setting.made,
            dialect=setting.dialect,
        )
        self._setting = setting
        self._linked = setting.linked
        self._places = setting.places
        self._now = setting.now
        self._dialect = setting.dialect
        self._entity = entity
        self._before = before
        self._table = table
        self._known = same
        self.same: dict[str, SameColumn] = {}
        self._served = [] if before is None else [one for one in before.attributes if one.was_served]
        self._live = {one.name: one for one in self._served if not one.parked}
        self._taken = Names(one.column for one in (before.attributes if before is not None else ()))
        self._taken.add(tables.VERSION_COLUMN)
        for attribute in entity.attributes.values():
            self.columns[attribute.name] = self._attribute(attribute)
            self._taken.add(self.columns[attribute.name].column)

    def _attribute(self, attribute: Attribute) -> StoredAttribute:
        """The column that serves the attribute from now on."""
        if (known := self._still_the_same(attribute)) is not None:
            self.looks.values[attribute.name] = quoted(known.column)
            return known
        wanted = self._wanted(attribute)
        if self._before is None:
            return wanted
        names = self._entity.attributes
        live = self._live.get(attribute.name)
        found = None
        if live is None or attribute.renamed_from is not None:
            found = predecessor(attribute.name, attribute.renamed_from, self._served, names)
        if found is None and live is None:
            found = same_id(attribute.stable_id, self._served, names)
        if isinstance(found, Clash):
            self._reject("PIM610", attribute, f"{self._entity.name}: {found.message}", found.hint)
            return wanted
        if live is not None:
            before = self._said
            kept = self._kept(attribute, live, wanted)
            if kept == live and self._said == before:
                held, end = self.held[attribute.name], self._end(attribute)
                self.same[attribute.name] = SameColumn(attribute, held, end, live)
            return kept
        if found is not None:
            return self._renamed(attribute, found, wanted)
        return self._made_or_returned(attribute, wanted, self._before)

    def _made_or_returned(self, attribute: Attribute, wanted: StoredAttribute, before: StoredEntity) -> StoredAttribute:
        """A column that is new to the attribute's name: the last that was parked under it, if it fits."""
        parked = (one for one in reversed(before.attributes) if one.name == attribute.name and one.parked)
        returning = next((one for one in parked if not one.is_rest and _fits(one, wanted)), None)
        if returning is None:
            return self._added(attribute, wanted)
        self.returned.append(returning)
        return self._returned(attribute, returning, wanted)

    def _still_the_same(self, attribute: Attribute) -> StoredAttribute | None:
        """The column of an attribute that was the same before, if neither of the two has changed."""
        known = self._known.get(attribute.name)
        if known is None or known.attribute is not attribute or known.held is not self.held[attribute.name]:
            return None
        live = self._live.get(attribute.name)
        if live != known.stored or known.end != self._end(attribute):
            return None
        self.same[attribute.name] = known
        return live

    def _end(self, attribute: Attribute) -> tuple[str, str] | None:
        """Table and column that a foreign key of the attribute ends at."""
        target = attribute.reference if attribute.kind is Kind.REFERENCE and not attribute.is_list else None
        return None if target is None else self._places[target]

    @property
    def _said(self) -> int:
        """Grows with everything that is to be done, looked for or said."""
        found = (self.steps, self.looks.scans, self.rejections, self.referring, self.rewrites)
        return sum(len(one) for one in found)

    def _wanted(self, attribute: Attribute) -> StoredAttribute:
        """The attribute as a new column."""
        target = attribute.reference if attribute.kind is Kind.REFERENCE and not attribute.is_list else None
        table, key_column = (None, None) if target is None else self._places[target]
        return StoredAttribute(
            name=attribute.name,
            column=column_name(attribute.name, self._taken),
            type=signature(self._linked, attribute),
            facts=facts_of(attribute, self.held[attribute.name]),
            is_key=attribute.primary_key,
            target=target,
            target_table=table,
            target_column=key_column,
        )

    def _kept(self, attribute: Attribute, live: StoredAttribute, wanted: StoredAttribute) -> StoredAttribute:
        """An attribute that was there: limits may change, the column does not."""
        if attribute.using is not None and not attribute.primary_key and self._is_remade(live, wanted):
            return self._computed(attribute, live, wanted, attribute.using)
        if not _fits(live, wanted):
            conversion = widening(live.type, wanted.type)
            if conversion is not None:
                return self._rewritten(attribute, live, wanted, conversion)
            self._refuse_type(attribute, live, wanted)
            return live
        self.looks.values[attribute.name] = quoted(live.column)
        self.looks.for_limits(attribute, live.facts, wanted.facts)
        old_name = wanted.renamed_from or live.renamed_from
        return self._referring(attribute, live, replace(wanted, facts=_with_old_name(wanted.facts, old_name)))

    @staticmethod
    def _is_remade(live: StoredAttribute, wanted: StoredAttribute) -> bool:
        """Whether `using` has something to do: another type, or members that it does not have any more."""
        return not _fits(live, wanted) or "members" in tightened(live.facts, wanted.facts)

    def _computed(
        self, attribute: Attribute, live: StoredAttribute, wanted: StoredAttribute, using: str
    ) -> StoredAttribute:
        """An attribute whose values are computed from the old rows."""
        before = self._before
        assert before is not None  # noqa: S101 - something is live
        try:
            conversion = computed(self._dialect, before, attribute, wanted)
        except InvalidExpressionError as fault:
            self._refuse_using(attribute, using, f"{fault}", fault.offset, fault.hint)
            return live
        except UntranslatableError as fault:
            hint = "say it with what the database computes, or add an attribute with another name and fill it in"
            self._refuse_using(attribute, using, f"{fault}", fault.offset, hint)
            return live
        return self._rewritten(attribute, live, wanted, conversion)

    def _refuse_using(self, attribute: Attribute, using: str, why: str, offset: int, hint: str | None) -> None:
        name = f"{self._entity.name}.{attribute.name}"
        self.rejections.append(
            Rejection(
                code="PIM613",
                entity=self._entity.name,
                attribute=attribute.name,
                message=f"{name} cannot be computed from the rows as they are: {why}",
                hint=hint,
                using=using,
                offset=offset,
            )
        )

    def _rewritten(
        self, attribute: Attribute, live: StoredAttribute, wanted: StoredAttribute, conversion: Conversion
    ) -> StoredAttribute:
        """An attribute of another type: a new column, filled, and kept in step with the old one from then on."""
        before = self._before
        assert before is not None  # noqa: S101 - something is live
        parked = [one for one in self._served if one.name == attribute.name]
        if conversion.exact and any(_fits(one, wanted) for one in parked):
            name = f"{self._entity.name}.{attribute.name}"
            message = f"{name} cannot become {wanted.type}: it is parked with stored data of that type"
            hint = "keep the type, or drop what is parked with `watcherd prune`, or add an attribute with another name"
            self._reject("PIM610", attribute, message, hint)
            return live
        made = begun(before, live, wanted)
        facts = _with_old_name(wanted.facts, wanted.renamed_from or live.renamed_from)
        new = replace(wanted, column=wanted.column if made is None else made.column, facts=facts)
        rewrite = Rewrite(before=before, old=live, new=new, conversion=conversion)
        self.looks.values[attribute.name] = rewrite.value
        if (scan := rewrite.scan(self._entity.name, MEND_HINT)) is not None:
            self.looks.scans.append(scan)
        # Whether the digits suffice is among the conversion's own demands.
        old_facts = {**live.facts, "precision": wanted.facts.get("precision")} if conversion.exact else {}
        self.looks.for_limits(attribute, old_facts, wanted.facts)
        if made is None:
            stored = StoredEntity(name=self._entity.name, table=self._table)
            text = f"add a column for {self._entity.name}.{attribute.name} as {wanted.type}"
            self._step(StepKind.ADD_COLUMN, new.column, text, tables.add_column(self._dialect, stored, new, None))
        self.steps.append(rewrite.fill(self._entity.name))
        self.rewrites[live.column] = rewrite
        return new

    def _referring(self, attribute: Attribute, there: StoredAttribute, wanted: StoredAttribute) -> StoredAttribute:
        """A column that is there, with the foreign key that is wanted now.

        One that is not wanted any more stays until no older revision needs it.
        """
        if wanted.target is None:
            return replace(
                wanted, column=there.column, target_table=there.target_table, target_column=there.target_column
            )
        if not _same_reference(there, wanted):
            if there.target_table != wanted.target_table:
                self.looks.for_orphans(attribute, wanted)
            self.referring.append(attribute.name)
        return replace(wanted, column=there.column)

    def _renamed(self, attribute: Attribute, old: StoredAttribute, wanted: StoredAttribute) -> StoredAttribute:
        """An attribute under a new name: its column and what is in it stay where they are."""
        if not _fits(old, wanted):
            self._refuse_type(attribute, old, wanted)
            return wanted
        text = f"rename {self._entity.name}.{old.name} to {attribute.name}"
        step = Step(kind=StepKind.RENAME, entity=self._entity.name, name=old.column, text=text, statements=())
        self.steps.append(step)
        for one in namesakes(attribute.name, old, self._served):
            default = default_literal(attribute, self.held[attribute.name], self._now) if _fits(one, wanted) else None
            self.looks.for_namesake(attribute, one, old.name, default)
            self.superseded[one.column] = old.column
        serve = self._returned if old.parked else self._kept
        now = serve(attribute, old, wanted)
        return replace(now, facts=_with_old_name(now.facts, old.name))

    def _added(self, attribute: Attribute, wanted: StoredAttribute) -> StoredAttribute:
        """A new column; its default is in the DDL, so that draining revisions, too, write it."""
        if attribute.using is not None:
            message = "it is new, and `using` is for an attribute whose type changes"
            hint = "remove `using`, and fill the attribute in by requests once it is there"
            self._refuse_using(attribute, attribute.using, message, 0, hint)
        default = default_literal(attribute, self.held[attribute.name], self._now)
        self.looks.values[attribute.name] = self._dialect.typed(default or "NULL", wanted.type)
        # A foreign key can only be added with null; its default is filled in right after.
        in_ddl = default if wanted.target is None else None
        made = self._setting.as_made(wanted)
        add = tables.add_column(self._dialect, StoredEntity(name=self._entity.name, table=self._table), made, in_ddl)
        self._step(StepKind.ADD_COLUMN, wanted.column, f"add {attribute.name} to {self._entity.name}", add)
        if default is not None and in_ddl is None:
            self._fill(attribute, wanted, default)
        if attribute.required and default is None:
            hint = "give it a default, or make it optional until every row has a value"
            self.looks.for_null("PIM609", attribute, hint)
        self.added.append(wanted)
        return wanted

    def _returned(self, attribute: Attribute, parked: StoredAttribute, wanted: StoredAttribute) -> StoredAttribute:
        """A column that was parked; rows written meanwhile have null in it, whatever its limits were."""
        default = default_literal(attribute, self.held[attribute.name], self._now)
        self.looks.values[attribute.name] = quoted(parked.column)
        if attribute.required and default is not None:
            self._fill(attribute, parked, default)
            self.looks.values[attribute.name] = f"coalesce({quoted(parked.column)}, {default})"
        old = {name: value for name, value in parked.facts.items() if name != "required"}
        self.looks.for_limits(attribute, old, wanted.facts)
        return self._referring(attribute, parked, wanted)

    def _fill(self, attribute: Attribute, column: StoredAttribute, default: str) -> None:
        name = quoted(column.column)
        sql = f"UPDATE {quoted(self._table)} SET {name} = {default} WHERE {name} IS NULL"  # noqa: S608 - from literal()
        self._step(StepKind.FILL, column.column, f"fill {attribute.name} of {self._entity.name} with its default", sql)

    def _refuse_type(self, attribute: Attribute, live: StoredAttribute, wanted: StoredAttribute) -> None:
        name = f"{self._entity.name}.{attribute.name}"
        message = f"{name} is stored as {live.type} and cannot become {wanted.type}"
        hint = (
            "say with `using` how the new values are computed from the old ones, or add an attribute with another name"
        )
        if live.name != attribute.name:
            message += f" with its rename from {live.name}"
            hint = f"change the type of {live.name} first, and rename it with the next edit"
        self._reject("PIM601", attribute, message, hint)

    def _reject(self, code: str, attribute: Attribute, message: str, hint: str) -> None:
        self.rejections.append(
            Rejection(code=code, entity=self._entity.name, attribute=attribute.name, message=message, hint=hint)
        )

    def _step(self, kind: StepKind, name: str, text: str, statement: str) -> None:
        self.steps.append(
            Step(kind=kind, entity=self._entity.name, name=name, text=text, statements=(statement,), table=self._table)
        )


def _with_old_name(facts: Facts, old: str | None) -> Facts:
    return facts if old is None else {**facts, RENAMED_FROM: old}


def _fits(stored: StoredAttribute, wanted: StoredAttribute) -> bool:
    """Whether a column can hold the attribute's values; its foreign key can come and go."""
    return same_type(stored.type.removeprefix(_REFERENCE), wanted.type.removeprefix(_REFERENCE))


def _same_reference(stored: StoredAttribute, wanted: StoredAttribute) -> bool:
    """Whether the foreign key is the wanted one; by table: the entity may have another name by now."""
    return (stored.target_table, stored.facts.get("on_delete")) == (
        wanted.target_table,
        wanted.facts.get("on_delete"),
    )
