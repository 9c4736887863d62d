"""The database: tables made from model specs, and the rows in them.

The walk of a change: `differ` (spec and catalog -> plan; each table by `table_changes`, its attributes
by `columns`) -> `scan` (rows in the way) -> `apply` (steps and catalog, one transaction) -> `rows` (the
queries of a revision). Below them, `database` and `writer` own the connections and `catalog` what the
database knows about itself.

Nothing else in the package imports SQLAlchemy or a driver.
"""

from watcherd.store.answers import AnswerName, Answers, KeptAnswer
from watcherd.store.clauses import WHERE
from watcherd.store.conditions import UntranslatableError, filter_expression
from watcherd.store.cursor import Cursor
from watcherd.store.database import database_exists, save_copy
from watcherd.store.drift import Difference
from watcherd.store.founding import MAX_TOGETHER
from watcherd.store.health import DatabaseHealth
from watcherd.store.hold import Tenure
from watcherd.store.holders import BEAT_SECONDS, Heard
from watcherd.store.limits import stricter
from watcherd.store.plan import EntityNames, Notice, Rejection, SchemaPlan, StalePlanError, Step, StepKind
from watcherd.store.prune import Parked
from watcherd.store.queries import Filter, Select, ordering
from watcherd.store.reads import Page, Related, Row, RowList
from watcherd.store.records import Applied, KeptRevision, Record
from watcherd.store.rows import MAX_TOLD, TOGETHER, RowChange, Rows
from watcherd.store.session import HOLD_SECONDS, Body, Session
from watcherd.store.store import ModelTables, Store
from watcherd.store.stream import RowStream
from watcherd.store.usage import Usage

__all__ = [
    "BEAT_SECONDS",
    "HOLD_SECONDS",
    "MAX_TOGETHER",
    "MAX_TOLD",
    "TOGETHER",
    "WHERE",
    "AnswerName",
    "Answers",
    "Applied",
    "Body",
    "Cursor",
    "DatabaseHealth",
    "Difference",
    "EntityNames",
    "Filter",
    "Heard",
    "KeptAnswer",
    "KeptRevision",
    "ModelTables",
    "Notice",
    "Page",
    "Parked",
    "Record",
    "Rejection",
    "Related",
    "Row",
    "RowChange",
    "RowList",
    "RowStream",
    "Rows",
    "SchemaPlan",
    "Select",
    "Session",
    "StalePlanError",
    "Step",
    "StepKind",
    "Store",
    "Tenure",
    "UntranslatableError",
    "Usage",
    "database_exists",
    "filter_expression",
    "ordering",
    "save_copy",
    "stricter",
]
