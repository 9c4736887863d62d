"""One entity of a plan: its table as a whole.

Owns what is made of the columns that were compared one by one (`columns`): which are parked, which
constraints are made and which retire, whether the table is made or rebuilt. What concerns several
tables is in `differ`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from watcherd.pim.spec import EMPTY, Entity
from watcherd.store import tables
from watcherd.store.checks import Check
from watcherd.store.columns import ColumnChanges, SameColumn, Setting
from watcherd.store.constraints import Wanted, wanted_constraints
from watcherd.store.layout import StoredAttribute, StoredConstraint, StoredEntity
from watcherd.store.limits import SUPERSEDED
from watcherd.store.names import quoted
from watcherd.store.plan import Notice, Question, Rejection, Scan, Step, StepKind
from watcherd.store.renames import look_alike

_CREATE = {
    "check": StepKind.CREATE_CHECK,
    "rule": StepKind.CREATE_CHECK,
    "unique": StepKind.CREATE_UNIQUE,
    "index": StepKind.CREATE_INDEX,
}


class TableChanges:
    """What one entity needs: filled once, then read by `differ`."""

    def __init__(
        self,
        setting: Setting,
        entity: Entity,
        before: StoredEntity | None,
        table: str,
        same: Mapping[str, SameColumn] = EMPTY,
    ) -> None:
        """`same` is what was found of its attributes before; `self.same` is what holds now."""
        self.constraint_steps: list[Step] = []
        self.notices: list[Notice] = []
        self.questions: list[Question] = []
        self.parked: list[str] = []
        self._checks: list[Check] = []
        self._setting = setting
        self._dialect = setting.dialect
        self._entity = entity
        self._before = before
        self._table = table
        self._changes = ColumnChanges(setting, entity, before, table, same)
        kept = self._kept_attributes()
        constraints = self._constraints()
        self.after = StoredEntity(
            name=entity.name,
            table=table,
            renamed_from=_old_name(entity, before),
            attributes=kept,
            constraints=constraints,
        )
        self.column_steps = [*self._changes.steps, *self._refer(), *self._create()]

    @property
    def columns(self) -> Mapping[str, StoredAttribute]:
        """The columns that serve from now on, by attribute."""
        return self._changes.columns

    @property
    def same(self) -> Mapping[str, SameColumn]:
        """The attributes that are as they are stored."""
        return self._changes.same

    @property
    def rejections(self) -> list[Rejection]:
        """What cannot be, whatever the rows are."""
        return self._changes.rejections

    @property
    def scans(self) -> list[Scan]:
        """What has to be looked for in the rows."""
        return self._changes.looks.scans

    @property
    def again(self) -> list[Scan]:
        """What has to be looked for once more when the change is made and older revisions have drained."""
        return self._changes.looks.again(self._entity.key.name, self.columns)

    @property
    def needs_nothing(self) -> bool:
        """Whether there is nothing to do, to look for, or to say."""
        found = (self.column_steps, self.constraint_steps, self.scans, self.rejections, self.notices, self.parked)
        return not any(found)

    def _kept_attributes(self) -> tuple[StoredAttribute, ...]:
        """All columns of the table, those of attributes that are gone parked."""
        if self._before is None:
            return tuple(self.columns.values())
        serving = {one.column: one for one in self.columns.values()}
        kept = []
        gone = []
        for place, one in enumerate(self._before.attributes):
            if one.column in serving:
                kept.append(serving.pop(one.column))
                continue
            if one.column in self._changes.rewrites:
                kept.append(self._changes.rewrites[one.column].left())
                continue
            if one.parked:
                by = self._changes.superseded.get(one.column)
                kept.append(one if by is None else replace(one, facts={**one.facts, SUPERSEDED: by}))
                continue
            gone.append((place, one))
            kept.append(replace(one, parked=True))
        self.parked += [f"{self._entity.name}.{one.name}" for _, one in gone]
        self._notice_look_alikes(gone)
        return (*kept, *serving.values())

    def _notice_look_alikes(self, gone: list[tuple[int, StoredAttribute]]) -> None:
        """Ask about what leaves together with something alike that comes: a rename is never guessed."""
        places = {name: place for place, name in enumerate(self._entity.attributes)}
        for new in self._changes.added:
            old = look_alike(gone, places[new.name], new)
            if old is not None:
                self.notices.append(self._perhaps_renamed(new, old, "new"))
        for back in self._changes.returned:
            old = look_alike(gone, places[back.name], back)
            if old is not None:
                filled = f"SELECT 1 FROM {quoted(self._table)} WHERE {quoted(back.column)} IS NOT NULL LIMIT 1"  # noqa: S608 - quoted names
                self.questions.append(Question(notice=self._perhaps_renamed(back, old, "back"), filled=filled))

    def _perhaps_renamed(self, new: StoredAttribute, old: StoredAttribute, how: str) -> Notice:
        return Notice(
            code="PIM612",
            entity=self._entity.name,
            attribute=new.name,
            message=f"{self._entity.name}.{new.name} is {how} and empty, and {old.name} is parked: "
            "if it is a rename, the stored data has not followed",
            hint=f"take the change back, and write `renamed_from: {old.name}` with {new.name}",
        )

    def _constraints(self) -> tuple[StoredConstraint, ...]:
        """All constraints of the table, those that the model no longer has retired."""
        if self.rejections:
            return self._before.constraints if self._before is not None else ()
        names = {name: one.column for name, one in self.columns.items()}
        wanted = {
            one.stored.name: one
            for one in wanted_constraints(self._dialect, self._entity, self._table, names, self._changes.held)
        }
        kept = []
        for old in self._before.constraints if self._before is not None else ():
            same = wanted.pop(old.name, None)
            if same is not None:
                kept.append(same.stored)
            else:
                kept.append(old if old.retired else replace(old, retired=True))
        for new in wanted.values():
            self._constrain(new)
            kept.append(new.stored)
        for rewrite in self._changes.rewrites.values():
            serving = {*self._changes.rewrites, *(one.column for one in self.columns.values())}
            step, known = rewrite.keep_in_step(self._dialect, self._entity.name, serving)
            self.constraint_steps.append(step)
            kept.append(known)
        return tuple(kept)

    def _constrain(self, new: Wanted) -> None:
        """Make a constraint, after a look at the rows where there can be any."""
        stored = new.stored
        kind = _CREATE[stored.kind]
        text = f"{'index' if stored.kind == 'index' else 'demand'} in {self._entity.name}: {stored.label}"
        step = Step(kind=kind, entity=self._entity.name, name=stored.name, text=text, statements=new.statements)
        if new.check is not None and self._before is None:
            self._checks.append(new.check)  # it comes with its table
        elif new.check is not None:
            step = replace(step, check=new.check)
        self.constraint_steps.append(step)
        if self._before is not None and stored.kind != "index":
            self._changes.looks.for_breaches(new)

    def _refer(self) -> list[Step]:
        """One rebuild for all columns that need a foreign key."""
        referring = self._changes.referring
        if not referring:
            return []
        text = f"rebuild {self._table} with the foreign keys of {', '.join(referring)}"
        columns = tuple(self.columns[name].column for name in referring)
        return [
            Step(
                kind=StepKind.REFER,
                entity=self._entity.name,
                name=self._table,
                text=text,
                statements=(),
                columns=columns,
            )
        ]

    def _create(self) -> list[Step]:
        """The table itself, with its checks, where there is none."""
        if self._before is not None:
            return []
        made = replace(self.after, attributes=tuple(self._setting.as_made(one) for one in self.after.attributes))
        statements = (tables.create_table(self._dialect, made, self._checks),)
        name, text = self._entity.name, f"create the table {self._table} for {self._entity.name}"
        return [Step(kind=StepKind.CREATE_TABLE, entity=name, name=self._table, text=text, statements=statements)]


def _old_name(entity: Entity, before: StoredEntity | None) -> str | None:
    """The name that the entity has left last, now or earlier."""
    if before is None:
        return entity.renamed_from
    return before.name if before.name != entity.name else entity.renamed_from or before.renamed_from
