"""The story of a plan: a linked model against the layout that was last applied.

Owns the classification of every change: what is applied, what goes out of service, what has to be
looked for in the rows, and what is rejected whatever the rows are. Pure; reads no database: the
rows are looked at by `scan`, the steps are done by `apply`. Never looks at the tables themselves,
and never guesses a rename: what a name continues is told by `renames`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from watcherd.pim.linked import LinkedModel, Target
from watcherd.pim.spec import EMPTY, Entity, EntityRef, fold
from watcherd.store import sync, tables
from watcherd.store.codecs import same_type, signature
from watcherd.store.columns import SameColumn, Setting
from watcherd.store.dialect import Dialect
from watcherd.store.layout import Layout, StoredConstraint, StoredEntity, Surroundings
from watcherd.store.looks import MEND_HINT
from watcherd.store.names import Names, column_name, quoted, table_name
from watcherd.store.plan import KEY_ALIAS, Base, EntityNames, Notice, Rejection, Scan, SchemaPlan, Step, StepKind
from watcherd.store.renames import Clash, look_alike_table, namesake_hint, namesakes, predecessor
from watcherd.store.table_changes import TableChanges

_FIRST = frozenset({StepKind.RENAME, StepKind.CREATE_TABLE})
"""What all other steps may build upon."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """An entity that was found to be as its table is: the comparison, which needs nothing, need not be made again.

    `ends` are what its references end at: table and key column, and what is known of the key.
    """

    entity: Entity
    stored: StoredEntity
    ends: tuple[tuple[tuple[str, str], Target | None], ...]
    names: EntityNames


@dataclass(frozen=True, slots=True)
class Settled:
    """What the plans of one model have found to be as it is stored, by table: entities, and attributes of others."""

    entities: dict[str, Agreement] = field(default_factory=dict)
    columns: dict[str, Mapping[str, SameColumn]] = field(default_factory=dict)


def differ(
    linked: LinkedModel,
    layout: Layout,
    around: Surroundings,
    former: Layout | None = None,
    settled: Settled | None = None,
) -> SchemaPlan:
    """The plan from `layout` to `linked`; its scans are not run yet.

    `former` is the layout of the model's `former_name`, where the catalog knows one: it is where
    the plan begins, unless that rename is in effect already. `settled` is what earlier plans have
    found out, and grows.
    """
    settled = settled or Settled()
    if former is None or layout.renamed_from == former.model:
        return _differ(linked, layout, around, settled)
    plan = _differ(linked, former, around, settled)
    # What is parked under the new name gives way if it is empty, in front of what is really there.
    entities = (*(replace(one, parked=True) for one in layout.entities), *plan.after.entities)
    scans = (_for_rows(one, "", str(linked.spec.renamed_from)) for one in layout.entities)
    return replace(plan, after=replace(plan.after, entities=entities), scans=(*plan.scans, *scans))


def former_name(linked: LinkedModel) -> str | None:
    """The (folded) name that the model says it had."""
    old = linked.spec.renamed_from
    return None if old is None or fold(old) == linked.spec.name else fold(old)


def _differ(linked: LinkedModel, layout: Layout, around: Surroundings, settled: Settled) -> SchemaPlan:
    setting = Setting(linked, _places(linked, layout, around), around.tables, datetime.now(UTC), around.dialect)
    rejections: list[Rejection] = []
    steps: list[Step] = []
    changes: list[TableChanges] = []
    names: dict[str, EntityNames] = {}
    after = {stored.table: stored for stored in layout.entities}
    aside: list[tuple[StoredEntity, str, str]] = []

    if layout.model != linked.spec.name:
        steps.append(_rename("", layout.model, f"rename the model {layout.model} to {linked.spec.name}"))
    for entity in linked.spec.entities.values():
        before = _stored(linked, entity, layout)
        refusal = _entity_refusal(linked, entity, before)
        if refusal is not None:
            rejections.append(refusal)
            continue
        assert not isinstance(before, Clash)  # noqa: S101 - a clash is refused
        if before is not None and before.name != entity.name:
            steps.append(_rename(entity.name, before.table, f"rename {before.name} to {entity.name}"))
            aside += [(one, entity.name, before.name) for one in namesakes(entity.name, before, layout.entities)]
        table = setting.places[EntityRef(linked.spec.name, entity.name)][0]
        ends = tuple((setting.places[end.target], linked.targets.get(end.target)) for end in entity.to_one)
        known = settled.entities.get(table)
        if known is not None and known.entity is entity and known.stored == before and known.ends == ends:
            after[table] = known.stored
            names[entity.name] = known.names
            continue
        change = TableChanges(setting, entity, before, table, settled.columns.get(table, EMPTY))
        settled.columns[table] = change.same
        changes.append(change)
        after[table] = change.after
        names[entity.name] = EntityNames(
            table=table, columns={name: column.column for name, column in change.columns.items()}
        )
        if before is not None and change.after == before and change.needs_nothing:
            settled.entities[table] = Agreement(entity, before, ends, names[entity.name])

    served = {entity.table for entity in names.values()}
    gone = [
        stored
        for stored in layout.entities
        if not stored.parked and stored.table not in served and stored.name not in linked.spec.entities
    ]
    known_tables = {stored.table for stored in layout.entities}
    for stored in gone:
        after[stored.table] = replace(stored, parked=True)
    made = [change.after for change in changes if change.after.table not in known_tables]
    renamed = {new.name: old.name for new in made if (old := look_alike_table(gone, new)) is not None}
    for change in changes:
        steps += change.column_steps
    for change in changes:
        steps += change.constraint_steps
    return SchemaPlan(
        linked=linked,
        base=Base(layout=layout, around=around),
        after=_layout_after(linked.spec.name, layout, _ordered(after, [one.table for one, *_ in aside])),
        names=names,
        steps=tuple(sorted(steps, key=lambda step: step.kind not in _FIRST)),
        scans=(
            *(_for_rows(*one) for one in aside),
            *(_asking(scan, linked, renamed) for change in changes for scan in change.scans),
        ),
        again=tuple(scan for change in changes for scan in change.again),
        rejections=(*rejections, *(one for change in changes for one in change.rejections)),
        notices=(*_questions(renamed), *(one for change in changes for one in change.notices)),
        questions=tuple(one for change in changes for one in change.questions),
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
    new = Names()
    places: dict[EntityRef, tuple[str, str]] = {}
    for entity in linked.spec.entities.values():
        before = _stored(linked, entity, layout)
        if before is None or isinstance(before, Clash):
            table = table_name(model, entity.name, around.tables, new)
            new.add(table)
            places[EntityRef(model, entity.name)] = table, column_name(entity.key.name, ())
        else:
            places[EntityRef(model, entity.name)] = before.table, before.key.column
    for ref, target in linked.targets.items():
        if ref not in places:
            default = table_name(ref.model, ref.entity), column_name(target.key.name, ())
            places[ref] = around.targets.get(ref, default)
    return places


def _stored(linked: LinkedModel, entity: Entity, layout: Layout) -> StoredEntity | Clash | None:
    """The table that the entity has, also under its old name, or had before it was parked, with the same key."""
    found = predecessor(entity.name, entity.renamed_from, layout.entities, linked.spec.entities)
    if found is not None:
        return found
    live = layout.live(entity.name)
    if live is not None:
        return live
    parked = (one for one in reversed(layout.entities) if one.name == entity.name)
    return next((one for one in parked if _same_key(linked, entity, one)), None)


def _same_key(linked: LinkedModel, entity: Entity, before: StoredEntity) -> bool:
    key, old = entity.key, before.key
    same_name = old.name in {key.name, key.renamed_from} or old.renamed_from == key.name
    same_name = same_name or (key.stable_id is not None and key.stable_id == old.facts.get("id"))
    return same_name and same_type(old.type, signature(linked, key))


def _layout_after(model: str, before: Layout, entities: tuple[StoredEntity, ...]) -> Layout:
    return Layout(model, entities, before.renamed_from if before.model == model else before.model)


def _ordered(after: Mapping[str, StoredEntity], aside: Sequence[str]) -> tuple[StoredEntity, ...]:
    """The tables of a layout, those `aside` in front: what is really there is found first when both are parked."""
    return (*(after[table] for table in aside), *(one for table, one in after.items() if table not in aside))


def _for_rows(parked: StoredEntity, entity: str, old: str) -> Scan:
    """Look for rows in what is parked under the name that an entity (none: the model) gets by a rename."""
    return Scan(
        code="PIM610",
        entity=entity,
        attribute=None,
        source=f"(SELECT {quoted(parked.key.column)} AS {KEY_ALIAS} FROM {quoted(parked.table)})",  # noqa: S608 - quoted names
        violation="1 = 1",
        demand=f"are stored in what is parked as {parked.name}, so that {old} cannot get this name",
        hint=namesake_hint(old),
    )


def _questions(renamed: Mapping[str, str]) -> Iterator[Notice]:
    """Ask about each new entity that may be one under another name, which is never guessed."""
    for new, old in renamed.items():
        yield Notice(
            code="PIM612",
            entity=new,
            attribute=None,
            message=f"{new} is new and empty, and {old} is parked: "
            "if it is a rename, the stored rows have not followed",
            hint=f"take the change back, and write `renamed_from: {old}` with {new}",
        )


def _asking(scan: Scan, linked: LinkedModel, renamed: Mapping[str, str]) -> Scan:
    """Rows that would refer to nothing since an entity may have been renamed are not to be deleted for that."""
    if scan.code != "PIM608":
        return scan
    reference = linked.spec.entities[scan.entity].attributes[str(scan.attribute)].reference
    new = "" if reference is None or reference.model != linked.spec.name else reference.entity
    if new not in renamed:
        return scan
    old = renamed[new]
    return replace(scan, hint=f"if {new} is {old} under another name, write `renamed_from: {old}` with it; {MEND_HINT}")


def _rename(entity: str, name: str, text: str) -> Step:
    return Step(kind=StepKind.RENAME, entity=entity, name=name, text=text, statements=())


def _entity_refusal(linked: LinkedModel, entity: Entity, before: StoredEntity | Clash | None) -> Rejection | None:
    """What stops the entity as a whole."""
    if isinstance(before, Clash):
        return Rejection(code="PIM610", entity=entity.name, attribute=None, message=before.message, hint=before.hint)
    if before is None or _same_key(linked, entity, before):
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
    unwanted = entity.unwanted_references
    if unwanted:
        names = ", ".join(one.name for one in unwanted)
        text = f"drop the foreign keys of {entity.name}: {names}"
        steps.append(Step(kind=StepKind.RELEASE, entity=entity.name, name=entity.table, text=text, statements=()))
    for constraint in entity.constraints:
        if not constraint.retired:
            continue
        kind, drop = _drop(dialect, constraint, entity.table)
        table = entity.table if constraint.kind == "check" else None
        text = f"drop the {constraint.kind} of {entity.name}: {constraint.label}"
        if constraint.kind == "sync":
            text = f"stop keeping the earlier type of {entity.name}.{constraint.attributes[0]} in step"
        steps.append(Step(kind=kind, entity=entity.name, name=constraint.name, text=text, statements=drop, table=table))
    return steps


def _drop(dialect: Dialect, constraint: StoredConstraint, table: str) -> tuple[StepKind, tuple[str, ...]]:
    if constraint.kind in {"check", "rule"}:
        return StepKind.DROP_CHECK, ()  # of a rule the record is all that there is
    if constraint.kind == "sync":
        return StepKind.DROP_SYNC, sync.drop(dialect, constraint.name, table)
    return StepKind.DROP_INDEX, tables.drop_index(constraint.name)
