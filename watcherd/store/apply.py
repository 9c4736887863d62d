"""Making a plan from the catalog, and doing what it says inside the writer's transaction.

Owns the order: the plan is made again if the catalog has changed, the rows are looked at, the DDL
runs, the catalog follows. All of it is one transaction, so that a kill at any moment leaves either
everything or nothing.

So on PostgreSQL, too: no index is made CONCURRENTLY and no check VALIDATEd later, which would need
intents in the catalog, indexes that are left invalid, and a window in which rows can come in the
way. It is the writers who wait for a lock that readers do not notice (`keep_writers_out`), for as
long as the scan and the indexes take; what readers wait for, ALTER TABLE, comes in a transaction of
its own before (`add_columns`) or at the very end. Over a million rows the longest read during a scan
with a new unique index, a check and a column took 10 ms, and 25 ms while an attribute got another
type; each lock is waited for `LOCK_TIMEOUT_MS` at most, and tried again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from watcherd.pim.linked import LinkedModel
from watcherd.store import catalog, checks, foreign_keys, records, remake
from watcherd.store.at_once import TooMuchError
from watcherd.store.cursor import AnyDatabaseError, Cursor, DatabaseError, is_passing
from watcherd.store.differ import differ, former_name
from watcherd.store.layout import Layout, Seen, StoredAttribute
from watcherd.store.limits import AHEAD, UNFILLED
from watcherd.store.plan import Rejection, SchemaPlan, StalePlanError, Step, StepKind
from watcherd.store.records import Record
from watcherd.store.scan import rows_in_the_way
from watcherd.store.tables import drop_column

_INDEXES: Final = frozenset({StepKind.CREATE_INDEX, StepKind.CREATE_UNIQUE})
_AFTER_THE_COLUMNS: Final = _INDEXES | {StepKind.CREATE_CHECK, StepKind.CREATE_SYNC}
"""Steps that need the columns, with what is in them."""

SMALL_ATTRIBUTES: Final = 200
SMALL_SOURCE_BYTES: Final = 32 * 1024
"""Of a model whose record may be written on the event loop's thread: less than a millisecond."""

_GROWS: Final = frozenset({StepKind.RENAME, StepKind.ADD_COLUMN, StepKind.CREATE_CHECK})
"""Steps that make no use of each other's columns; a check is in the same edited definition as they are."""


class RejectedError(Exception):
    """Rolls the transaction back; never leaves the store."""

    def __init__(self, rejections: tuple[Rejection, ...]) -> None:
        super().__init__(rejections)
        self.rejections = rejections


def make_plan(cursor: Cursor, linked: LinkedModel) -> SchemaPlan:
    """The plan from the catalog as it is now; the rows are not looked at yet."""
    model = linked.spec.name
    layout = catalog.layout(cursor, model)
    foreign = [target for target in linked.targets.values() if target.ref.model != model]
    around = catalog.surroundings(cursor, foreign)
    old = former_name(linked)
    return differ(linked, layout, around, None if old is None else catalog.known(cursor, old))


def with_rows(cursor: Cursor, plan: SchemaPlan) -> SchemaPlan:
    """The plan with the rejections and the notices that the rows cause, unless it is rejected without them."""
    if plan.rejections or not (plan.scans or plan.questions):
        return plan
    try:
        asked = [one.notice for one in plan.questions if cursor.execute(one.filled).fetchone() is None]
        found = rows_in_the_way(cursor, plan.scans)
        return replace(plan, rejections=found, notices=(*plan.notices, *asked), questions=())
    except DatabaseError as error:
        if is_passing(error):
            raise
        return replace(plan, rejections=(_database_rejection(error),))


def expand(cursor: Cursor, plan: SchemaPlan, record: Record, seen: Seen | None = None) -> Layout:
    """Do the steps, write the catalog. RejectedError or StalePlanError: to be rolled back; ApartError: to be run apart.

    `seen` is what this process has last applied to the model, if nothing else of it has changed the catalog
    of the model since. Returns the layout that was applied.
    """
    is_as_seen = _is_as_seen(cursor, plan, seen)
    if not is_as_seen:
        _refuse_stale_number(cursor, plan, record)
    plan = _as_of_now(cursor, plan, is_as_seen=is_as_seen)
    with _rejecting():
        _keep_writers_out(cursor, plan)
        plan = with_rows(cursor, plan)
        if plan.rejections:
            raise RejectedError(plan.rejections)
        late = [step for step in plan.steps if step.kind is StepKind.ADD_COLUMN] if _only_grows(cursor, plan) else []
        do(cursor, [step for step in plan.steps if step.kind not in _AFTER_THE_COLUMNS and step not in late])
        _remake(cursor, plan)
        do(cursor, [step for step in plan.steps if step.kind in _INDEXES])
        if plan.renamed_model is not None:
            records.rename(cursor, plan.renamed_model, plan.after.model)
        if plan.changes_schema:
            catalog.write_layout(cursor, plan.base.layout, plan.after)
            foreign_keys.complete(cursor, [entity.table for entity in plan.after.entities])
        if plan.rebuilds:
            # Foreign keys may have been off all the while, also for the steps that fill in defaults.
            remake.check_references(cursor, [names.table for names in plan.names.values()])
        do(cursor, [step for step in plan.steps if step.kind is StepKind.CREATE_SYNC])
    records.record(cursor, record)
    with _rejecting():
        # Last: on PostgreSQL readers wait from here to the end, and of SQLite definitions are edited.
        foreign_keys.add_awaited(cursor, [step.name for step in plan.steps if step.kind is StepKind.CREATE_TABLE])
        columns: dict[str, list[str]] = {}
        for step in late:
            columns.setdefault(str(step.table), []).extend(step.statements)
        checks.create(cursor, [step.check for step in plan.steps if step.check is not None], columns)
        for step in plan.steps:
            if step.kind is StepKind.REWRITE:
                remake.drop_defaults(cursor, step.name, step.columns)
    return plan.after


def is_small(plan: SchemaPlan, record: Record) -> bool:
    """Whether nothing but the catalog is to be written, and little of that."""
    leaves_tables = not (plan.steps or plan.scans or plan.rejections or plan.renamed_model)
    attributes = sum(len(entity.attributes) for entity in plan.after.entities)
    return leaves_tables and attributes <= SMALL_ATTRIBUTES and len(record.source) <= SMALL_SOURCE_BYTES


def expand_at_once(cursor: Cursor, plan: SchemaPlan, record: Record, seen: Seen | None) -> Layout:
    """The same for a plan that is small: TooMuchError where what the catalog has of the model would have to be read."""
    if not (_is_as_seen(cursor, plan, seen) and _fits_others(cursor, plan)):
        raise TooMuchError("the plan may have to be made again")
    return expand(cursor, plan, record, seen)


@contextmanager
def _rejecting() -> Iterator[None]:
    """What the database refuses, in a way that is not going to pass, rejects the plan."""
    try:
        yield
    except DatabaseError as error:
        if is_passing(error):
            raise
        raise RejectedError((_database_rejection(error),)) from error


def _only_grows(cursor: Cursor, plan: SchemaPlan) -> bool:
    """Whether columns of SQLite can come at the very end, since no other step needs them."""
    return not cursor.dialect.alters_checks and all(step.kind in _GROWS for step in plan.steps)


def adds_to_rows(plan: SchemaPlan) -> bool:
    """Whether tables that may have rows get columns, and what takes its time over the rows: indexes, values.

    A column that gets its default is no such case: that is lost when it is taken for an old one.
    """
    kinds = {step.kind for step in plan.steps}
    slow = kinds & (_INDEXES | {StepKind.REWRITE})
    # Of a model that is renamed, the catalog knows the tables under another name until the end.
    whole = StepKind.FILL in kinds or plan.renamed_model is not None
    return StepKind.ADD_COLUMN in kinds and bool(slow) and not whole


def add_columns(cursor: Cursor, plan: SchemaPlan) -> None:
    """Add the columns that a plan needs, parked: the plan that is made next takes them into service.

    For a database in which readers wait from ALTER TABLE to the end of the transaction. A kill
    after it leaves parked columns without data, as if the attributes had been there before.
    """
    plan = _as_of_now(cursor, plan)
    after = {entity.table: entity for entity in plan.after.entities}
    sources = {
        (step.name, new): old
        for step in plan.steps
        if step.kind is StepKind.REWRITE
        for old, (new, _) in zip(step.columns, step.filled, strict=False)
    }
    entities = []
    for entity in plan.base.layout.entities:
        known = {one.column for one in entity.attributes}
        added = [
            _parked(one, sources.get((entity.table, one.column)))
            for one in after[entity.table].attributes
            if one.column not in known
        ]
        entities.append(replace(entity, attributes=(*entity.attributes, *added)))
    do(cursor, [step for step in plan.steps if step.kind is StepKind.ADD_COLUMN])
    catalog.write_layout(cursor, plan.base.layout, replace(plan.base.layout, entities=tuple(entities)))


def _parked(one: StoredAttribute, source: str | None) -> StoredAttribute:
    """A new column before it serves; with the name of the column whose values it waits for."""
    return replace(one, parked=True, facts={**one.facts, **({AHEAD: True} if source is None else {UNFILLED: source})})


def take_columns_back(cursor: Cursor, plan: SchemaPlan) -> None:
    """Undo `add_columns` after a rejection: whatever comes next must not find the defaults of this plan."""
    layout = catalog.layout(cursor, plan.after.model)
    added = {(plan.names[step.entity].table, step.name) for step in plan.steps if step.kind is StepKind.ADD_COLUMN}
    entities = []
    for entity in layout.entities:
        gone = [one for one in entity.attributes if one.parked and (entity.table, one.column) in added]
        for one in gone:
            cursor.execute(drop_column(entity.table, one.column))
        entities.append(replace(entity, attributes=tuple(one for one in entity.attributes if one not in gone)))
    catalog.write_layout(cursor, layout, replace(layout, entities=tuple(entities)))


def loosen(cursor: Cursor, plan: SchemaPlan) -> None:
    """Drop what the plan says, except what a later plan has taken into service again.

    ApartError where it takes a copy of a table.
    """
    gone: dict[str, list[str]] = {}
    for step in plan.loosen:
        if step.kind is StepKind.RELEASE:
            _release(cursor, plan.after.model, step.name)
        elif catalog.drop_constraint(cursor, step.name):
            do(cursor, [step])
            if step.table is not None:
                gone.setdefault(step.table, []).append(step.name)
    for table in checks.drop(cursor, gone):
        remake.drop_checks(cursor, catalog.layout(cursor, plan.after.model).of_table(table), gone[table])


def do(cursor: Cursor, steps: Iterable[Step]) -> None:
    """Run the statements of steps."""
    for step in steps:
        for statement in step.statements:
            cursor.execute(statement)


def _remake(cursor: Cursor, plan: SchemaPlan) -> None:
    """Foreign keys, and values of another type: each table is made again once at most."""
    rewritten: dict[str, list[Step]] = {}
    for step in plan.steps:
        if step.kind is StepKind.REWRITE:
            rewritten.setdefault(step.name, []).append(step)
    for table, steps in rewritten.items():
        remake.rewrite(cursor, plan.after.of_table(table), steps)
    for step in plan.steps:
        if step.kind is StepKind.REFER and not (cursor.dialect.references_in_tables and step.name in rewritten):
            remake.refer(cursor, plan.after.of_table(step.name), step.columns)


def _keep_writers_out(cursor: Cursor, plan: SchemaPlan) -> None:
    """Let nobody write between the look at the rows and the constraint that it allows."""
    tables = {plan.names[scan.entity].table for scan in plan.scans if scan.entity}
    tables |= {step.name for step in plan.steps if step.kind is StepKind.REWRITE}
    for table in sorted(tables):
        for statement in cursor.dialect.keep_writers_out(table):
            cursor.execute(statement)


def _release(cursor: Cursor, model: str, table: str) -> None:
    """Drop the foreign keys that nothing in service wants, as the catalog is now."""
    before = catalog.layout(cursor, model)
    entity = next((one for one in before.entities if one.table == table), None)
    if entity is None or not entity.unwanted_references:
        return
    freed = tuple(one.column for one in entity.unwanted_references)
    attributes = tuple(
        replace(one, target=None, target_table=None, target_column=None) if one.column in freed else one
        for one in entity.attributes
    )
    after = replace(entity, attributes=attributes)
    remake.refer(cursor, after, freed)
    remake.check_references(cursor, [table])
    entities = tuple(after if one.table == table else one for one in before.entities)
    catalog.write_layout(cursor, before, replace(before, entities=entities))


def _refuse_stale_number(cursor: Cursor, plan: SchemaPlan, record: Record) -> None:
    """A number that another process has used for something else meanwhile, or left behind, is not used again."""
    there = records.applied_one(cursor, plan.renamed_model or record.model)
    if there is None or there.revision < record.revision:
        return
    if (there.revision, there.fingerprint) != (record.revision, record.fingerprint):
        raise StalePlanError(f"revision {there.revision} of {record.domain} was applied by another process meanwhile")


def _is_as_seen(cursor: Cursor, plan: SchemaPlan, seen: Seen | None) -> bool:
    """Whether the catalog says of the model what the plan was made from, which can be told without reading it."""
    if seen is None or seen.moment is None or plan.rejections:
        return False
    return seen.layout is plan.base.layout and seen.moment == cursor.moment


def _as_of_now(cursor: Cursor, plan: SchemaPlan, *, is_as_seen: bool = False) -> SchemaPlan:
    """The plan, made again from what is there now (rows may have gone, too); its names must still hold."""
    fits_others = _fits_others(cursor, plan) and not plan.rejections
    if fits_others and (is_as_seen or catalog.layout(cursor, plan.after.model) == plan.base.layout):
        return plan
    fresh = make_plan(cursor, plan.linked)
    if fresh.names != plan.names or (fresh.rebuilds and not plan.rebuilds):
        raise StalePlanError(f"the tables of {plan.linked.spec.domain} have changed since the plan was made")
    return fresh


def _fits_others(cursor: Cursor, plan: SchemaPlan) -> bool:
    """Whether other models, and the names of all tables, are as the plan takes them to be."""
    return not plan.changes_schema or (refers_as_planned(cursor, plan) and not _names_are_taken(cursor, plan))


def refers_as_planned(cursor: Cursor, plan: SchemaPlan) -> bool:
    """Whether the entities of other models that a plan refers to are stored where it took them to be."""
    model, planned = plan.after.model, plan.base.around.targets
    foreign = (target for target in plan.linked.targets.values() if target.ref.model != model)
    return all(catalog.place(cursor, target) == planned.get(target.ref) for target in foreign)


def _names_are_taken(cursor: Cursor, plan: SchemaPlan) -> bool:
    """Whether a table that the plan makes is there by now.

    These few are looked up: a plan that is made again reads the names of all tables, which a start
    with ten thousand models would do ten thousand times.
    """
    known = {entity.table for entity in plan.base.layout.entities}
    new = [names.table for names in plan.names.values() if names.table not in known]
    return any(catalog.has_table(cursor, table) for table in new)


def _database_rejection(error: AnyDatabaseError) -> Rejection:
    return Rejection(
        code="PIM600",
        entity=None,
        attribute=None,
        message=f"the database refused the change: {error}",
        hint="nothing was changed; look at what else uses this database",
    )
