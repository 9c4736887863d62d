"""The store's plan as classified changes of the tables, one line each."""

from __future__ import annotations

from watcherd.plan.value import Class, TableChange
from watcherd.store import SchemaPlan, Step, StepKind

_CLASSES = {
    StepKind.RENAME: Class.RENAME,
    StepKind.REFER: Class.DEPENDS_ON_DATA,
    StepKind.REWRITE: Class.REWRITE,
    StepKind.CREATE_SYNC: Class.REWRITE,
    StepKind.CREATE_UNIQUE: Class.DEPENDS_ON_DATA,
    StepKind.CREATE_CHECK: Class.DEPENDS_ON_DATA,
}
"""What is not in here only adds."""


def table_changes(plan: SchemaPlan) -> tuple[TableChange, ...]:
    """In the order in which they happen: the look at the rows, the steps, what is parked, what goes after."""
    known = {entity.table for entity in plan.base.layout.entities}
    new = {name for name, names in plan.names.items() if names.table not in known}
    scans = [
        TableChange(
            kind=Class.DEPENDS_ON_DATA,
            entity=scan.entity,
            text=f"refused while rows of {_place(scan.entity, scan.attribute)} {scan.demand}",
        )
        for scan in plan.scans
    ]
    steps = [TableChange(kind=_class(step, new), entity=step.entity, text=step.describe()) for step in plan.steps]
    parked = [
        TableChange(kind=Class.PARKED, entity=name.partition(".")[0], text=f"park {name}; what it stored is kept")
        for name in plan.parked
    ]
    loosened = [TableChange(kind=Class.LOOSENED, entity=step.entity, text=step.describe()) for step in plan.loosen]
    return (*scans, *steps, *parked, *loosened)


def _class(step: Step, new: set[str]) -> Class:
    """A demand on a table that is made by the same plan finds no rows."""
    return Class.ADDITIVE if step.entity in new else _CLASSES.get(step.kind, Class.ADDITIVE)


def _place(entity: str, attribute: str | None) -> str:
    return entity if attribute is None else f"{entity}.{attribute}"
