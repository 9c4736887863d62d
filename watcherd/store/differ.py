"""The story of a plan: a linked model against the layout that was last applied.

Owns the classification of every change: what is applied, what goes out of service, what has to be
looked for in the rows, and what is rejected whatever the rows are. Pure; reads no database: the
rows are looked at by `scan`, the steps are done by `apply`. Never looks at the tables themselves,
and never guesses a rename.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from watcherd.pim.spec import Entity, EntityRef, LinkedModel, fold
from watcherd.store import tables
from watcherd.store.codecs import same_type, signature
from watcherd.store.columns import ColumnChanges, Setting
from watcherd.store.dialect import Dialect
from watcherd.store.layout import Layout, StoredEntity, Surroundings
from watcherd.store.names import column_name, table_name
from watcherd.store.plan import Base, EntityNames, Rejection, SchemaPlan, Step, StepKind

_RENAME_HINT = "rename it back: stored data cannot follow a new name yet"


def differ(linked: LinkedModel, layout: Layout, around: Surroundings) -> SchemaPlan:
    """The plan from `layout` to `linked`; its scans are not run yet."""
    setting = Setting(linked, _places(linked, layout, around), datetime.now(UTC), around.dialect)
    rejections = _model_rename(linked, layout, around)
    steps: list[Step] = []
    changes: list[ColumnChanges] = []
    names: dict[str, EntityNames] = {}
    after = {stored.table: stored for stored in layout.entities}

    for entity in linked.spec.entities.values():
        before = _stored(linked, entity, layout)
        refusal = _entity_refusal(linked, entity, before, layout)
        if refusal is not None:
            rejections.append(refusal)
            continue
        table = setting.places[EntityRef(linked.spec.name, entity.name)][0]
        change = ColumnChanges(setting, entity, before, table)
        changes.append(change)
        after[table] = change.after
        names[entity.name] = EntityNames(
            table=table, columns={name: column.column for name, column in change.columns.items()}
        )

    gone = [stored for stored in layout.entities if not stored.parked and stored.name not in linked.spec.entities]
    for stored in gone:
        after[stored.table] = replace(stored, parked=True)
    for change in changes:
        steps += change.column_steps
    for change in changes:
        steps += change.constraint_steps
    return SchemaPlan(
        linked=linked,
        base=Base(layout=layout, around=around),
        after=Layout(layout.model, tuple(after.values())),
        names=names,
        steps=tuple(sorted(steps, key=lambda step: step.kind is not StepKind.CREATE_TABLE)),
        scans=tuple(scan for change in changes for scan in change.scans),
        rejections=(*rejections, *(one for change in changes for one in change.rejections)),
        parked=(*(stored.name for stored in gone), *(name for change in changes for name in change.parked)),
        loosen=tuple(
            step for stored in after.values() if not stored.parked for step in _loosen(around.dialect, stored)
        ),
    )


def _places(linked: LinkedModel, layout: Layout, around: Surroundings) -> dict[EntityRef, tuple[str, str]]:
    """Table and key column of every entity of the model and of every entity that it refers to.

    One that is not made yet gets its name here, also in another model: within one change set the
    plans of several models are made before the first of them is applied.
    """
    model = linked.spec.name
    taken = {*around.tables, *(entity.table for entity in layout.entities)}
    places: dict[EntityRef, tuple[str, str]] = {}
    for entity in linked.spec.entities.values():
        before = _stored(linked, entity, layout)
        if before is None:
            table = table_name(model, entity.name, taken)
            taken.add(table)
            places[EntityRef(model, entity.name)] = table, column_name(entity.key.name, ())
        else:
            places[EntityRef(model, entity.name)] = before.table, before.key.column
    for ref, target in linked.targets.items():
        if ref not in places:
            default = table_name(ref.model, ref.entity, ()), column_name(target.key.name, ())
            places[ref] = around.targets.get(ref, default)
    return places


def _stored(linked: LinkedModel, entity: Entity, layout: Layout) -> StoredEntity | None:
    """The table that the entity has, or had before it was parked, if its key is still the same."""
    live = layout.live(entity.name)
    if live is not None:
        return live
    parked = (one for one in reversed(layout.entities) if one.name == entity.name)
    return next((one for one in parked if _same_key(linked, entity, one)), None)


def _same_key(linked: LinkedModel, entity: Entity, before: StoredEntity) -> bool:
    return before.key.name == entity.key.name and same_type(before.key.type, signature(linked, entity.key))


def _model_rename(linked: LinkedModel, layout: Layout, around: Surroundings) -> list[Rejection]:
    old = linked.spec.renamed_from
    if old is None or layout.entities or fold(old) not in around.applied:
        return []
    message = f"the model {old} has stored data, which would not be found under the name {linked.spec.domain}"
    return [Rejection(code="PIM610", entity=None, attribute=None, message=message, hint=_RENAME_HINT)]


def _entity_refusal(
    linked: LinkedModel, entity: Entity, before: StoredEntity | None, layout: Layout
) -> Rejection | None:
    """What stops the entity as a whole."""
    if before is None:
        old = entity.renamed_from
        if old is None or all(one.name != old for one in layout.entities):
            return None
        message = f"{old} has stored data, which would not be found under the name {entity.name}"
        return Rejection(code="PIM610", entity=entity.name, attribute=None, message=message, hint=_RENAME_HINT)
    if _same_key(linked, entity, before):
        return None
    return Rejection(
        code="PIM602",
        entity=entity.name,
        attribute=entity.key.name,
        message=f"the primary key of {entity.name} was {before.key.name} ({before.key.type}) and cannot become "
        f"{entity.key.name} ({signature(linked, entity.key)})",
        hint=f"keep {before.key.name} as the primary key, or give the entity another name",
    )


def _loosen(dialect: Dialect, entity: StoredEntity) -> list[Step]:
    """What goes after the drain: everything that the model no longer has, also from before a crash."""
    steps = []
    for constraint in entity.constraints:
        if not constraint.retired:
            continue
        check = constraint.kind == "check"
        drop = dialect.drop_check(constraint.name, entity.table) if check else tables.drop_index(constraint.name)
        steps.append(
            Step(
                kind=StepKind.DROP_CHECK if check else StepKind.DROP_INDEX,
                entity=entity.name,
                name=constraint.name,
                text=f"drop the {constraint.kind} of {entity.name}: {constraint.label}",
                statements=drop,
            )
        )
    return steps
