"""What a schema change is, as values: steps, what stands in its way, and the names that follow.

Owns the values that pass from `differ` to `scan`, `apply`, the reload and whoever shows a plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from watcherd.errors import StoreError
from watcherd.expressions import Expression
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Attribute
from watcherd.store.checks import Check
from watcherd.store.layout import Layout, Surroundings
from watcherd.store.limits import Limit

KEY_ALIAS: Final = "_key"
"""The key's name in what a scan reads; no attribute begins with an underscore."""


class StalePlanError(StoreError):
    """The catalog has changed since the plan was made, and its names no longer hold: plan again."""


class StepKind(StrEnum):
    """What a step does to the database.

    Some have no statements: a rename changes the catalog alone, foreign keys come and go, and
    columns are filled with values of another type, with a rebuild of the table, which `apply`
    makes from what is there. So are checks; those of a new table come with it.
    """

    RENAME = "rename"
    CREATE_TABLE = "create table"
    REFER = "foreign keys"
    ADD_COLUMN = "add column"
    FILL = "fill"
    REWRITE = "rewrite"
    CREATE_INDEX = "create index"
    CREATE_UNIQUE = "create unique index"
    CREATE_CHECK = "create check"
    CREATE_SYNC = "keep in step"
    DROP_INDEX = "drop index"
    DROP_CHECK = "drop check"
    DROP_SYNC = "stop keeping in step"
    RELEASE = "release foreign keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: `name` is the table, column, index, check or trigger; `statements` run in order.

    A `check` comes to a table that is there, or one goes from its `table`, in ways of their own;
    for a step that changes a column, too, `table` is where that is.
    `columns` are those whose foreign keys change, in a step that has no statements. A rewrite fills
    each column of `filled` with the SQL beside it, and takes the defaults from `columns`.
    """

    kind: StepKind
    entity: str
    name: str
    text: str
    statements: tuple[str, ...]
    columns: tuple[str, ...] = ()
    filled: tuple[tuple[str, str], ...] = ()
    check: Check | None = None
    table: str | None = None

    def describe(self) -> str:
        """One line for people, such as `add column nickname to User`."""
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What should be known of a change; `entity` None: the model itself, `attribute` None: the entity.

    With `using` it is about that expression of the attribute, at the character `offset`.
    """

    code: str
    entity: str | None
    attribute: str | None
    message: str
    hint: str | None = None
    using: str | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection(Notice):
    """Why a change cannot be applied: `rows` are in the way, `first_ids` are the keys of some of them."""

    rows: int = 0
    first_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What to look for before a change that depends on the data: rows for which `violation` is true.

    `source` is a subselect of the key (as `KEY_ALIAS`) and of the attributes that the violation
    names, as `names.alias` calls them. With `limit`, SQL cannot say it: `column` is read value by
    value, of a list item by item. With `expression`, neither can it: the `attributes` that it names
    are read row by row, `held` as they are stored. `entity` is empty where it is about the model as a whole.
    """

    code: str
    entity: str
    attribute: str | None
    source: str
    violation: str
    demand: str
    hint: str
    column: str | None = None
    limit: Limit | None = None
    is_list: bool = False
    expression: Expression | None = None
    attributes: tuple[str, ...] = ()
    held: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A notice that is one if a query finds no row: `filled` looks for what would answer it."""

    notice: Notice
    filled: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityNames:
    """The physical names of one entity: its table, and a column for each attribute."""

    table: str
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What the plan was made from: somebody was here in between when it is no longer equal."""

    layout: Layout
    around: Surroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaPlan:
    """What it takes to serve `linked` from the tables as they were last applied.

    `steps` are done before the swap, `loosen` after the drain. `parked` names what goes out of
    service, such as `User.phone` or `Loan`. `after` is the layout once all steps are done, `notices`
    are for whoever wrote the model, and `questions` may become such. The model was renamed where
    `base` is the layout of another.
    """

    linked: LinkedModel
    base: Base
    after: Layout
    names: Mapping[str, EntityNames]
    steps: tuple[Step, ...] = ()
    scans: tuple[Scan, ...] = ()
    again: tuple[Scan, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    notices: tuple[Notice, ...] = ()
    questions: tuple[Question, ...] = ()
    parked: tuple[str, ...] = ()
    loosen: tuple[Step, ...] = ()

    @property
    def changes_schema(self) -> bool:
        """Whether anything in the database but the record changes before the swap."""
        return self.after != self.base.layout

    @property
    def rebuilds(self) -> bool:
        """Whether a table is made again before the swap."""
        return any(step.kind in {StepKind.REFER, StepKind.REWRITE} for step in self.steps)

    @property
    def renamed_model(self) -> str | None:
        """The (folded) name that the model had, where this plan renames it."""
        old = self.base.layout.model
        return None if old == self.after.model else old
