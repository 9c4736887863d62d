"""The store: one database, what was applied to it, and the tables of the models in it.

Owns the walk of a schema change (plan, bind, expand, loosen) and the record of what is applied.
The parts are functions over a cursor in the other modules; here they meet their connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from watcherd.errors import HeldElsewhereError, StoreError
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Attribute
from watcherd.store import answers, apply, catalog_tables, drift, holders, prune, records, scratch
from watcherd.store.answers import Answers
from watcherd.store.codecs import Codec, codec_for, physical
from watcherd.store.conditions import Conditions
from watcherd.store.cursor import Cursor
from watcherd.store.database import Database, open_database
from watcherd.store.differ import differ, former_name
from watcherd.store.drift import Difference
from watcherd.store.founding import Founding, founds
from watcherd.store.hold import Tenure
from watcherd.store.holders import Heard, Me
from watcherd.store.layout import Layout, Seen, StoredAttribute
from watcherd.store.memory import Memory
from watcherd.store.plan import Rejection, SchemaPlan, StepKind
from watcherd.store.prune import Parked
from watcherd.store.queries import Statements
from watcherd.store.records import Applied, KeptRevision, Record
from watcherd.store.remake import ApartError
from watcherd.store.rows import Rows
from watcherd.store.scan import rows_in_the_way
from watcherd.store.session import Body
from watcherd.store.sqlite import Durability
from watcherd.store.usage import MAX_WAITING, Usage

T = TypeVar("T")

_ANY: Final = 2**63
"""Later than every revision."""

_LEAVE_SECONDS: Final = 1.0

Expand = Callable[[Cursor, SchemaPlan, Record, Seen | None], Layout]
"""`apply.expand`, or what does the same."""

Asked = tuple[str, int, str]
"""A model, its revision, and what waits until no process has an older one."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Shape:
    """What the queries of an entity are made of; of one that did not change, that of the revision before.

    `held` are its attributes as they are stored, in order, with a codec each.
    """

    columns: Mapping[str, str]
    key: StoredAttribute
    held: tuple[Attribute, ...]
    codecs: Mapping[str, Codec]
    statements: Statements

    def fits(self, columns: Mapping[str, str], key: StoredAttribute, held: tuple[Attribute, ...]) -> bool:
        """Whether it is the shape of an entity with these columns."""
        same = (self.key.name, self.key.type) == (key.name, key.type) and self.held == held
        return same and tuple(self.columns.items()) == tuple(columns.items())


@dataclass(frozen=True, slots=True)
class ModelTables:
    """The rows of a model's entities, by entity name, for one revision; and the kept answers of all models.

    `shapes` keeps what the next revision may take up.
    """

    entities: Mapping[str, Rows]
    answers: Answers
    database: Database
    shapes: tuple[Shape, ...] = ()

    async def write(self, work: Callable[[Cursor], T]) -> T:
        """What `work` answers, run in one transaction, once it is committed.

        It runs in the writer's thread: it must be quick and touch nothing shared. What it raises is
        raised here, and nothing has changed.
        """
        return await self.database.write(work)

    async def transact(self, work: Callable[[Cursor], T]) -> T:
        """The same for what decides by what it reads, as if nobody else were there. ContendedError."""
        return await self.database.transact(work)

    async def interact(self, body: Body[T]) -> T:
        """What `body` answers, in one transaction of many steps, once it is committed. ContendedError.

        It may be run again, when others changed what it has read.
        """
        return await self.database.interact(body)

    async def read(self, work: Callable[[Cursor], T]) -> T:
        """What `work` answers, from one state of the database; it writes nothing."""
        return await self.database.read(work)


class Store:
    """An open database; made by `open`, ended by `close`, used on one event loop."""

    def __init__(self, database: Database, data_dir: Path) -> None:
        self._database = database
        self._data_dir = data_dir
        self._answers = Answers(database)
        self._memory = Memory(database)
        self._founding = Founding(database)
        self._shapes: WeakValueDictionary[str, Shape] = WeakValueDictionary()
        self._me: Me | None = None
        self._asked: dict[Asked, Mapping[str, int]] = {}

    @classmethod
    async def open(  # noqa: PLR0913 - all that is to be said of a database, once
        cls,
        database_url: str | None,
        data_dir: Path,
        *,
        durability: Durability = "full",
        max_waiting: int = MAX_WAITING,
        tenure: Tenure = "shared",
        in_line: bool = False,
    ) -> Store:
        """Open or make the database: at the URL (see `database`), else in the data directory.

        Over `max_waiting` writes (with a server: requests) that wait for it, more are refused. `in_line`: it is one of
        several processes that write.
        StoreError, with the place, when it cannot be opened, is not one of ours, or was written by
        a newer version; not on a server also when another process has it open and this one wants it
        `alone`, or when another leads where this one wants to.
        """
        database = await open_database(
            database_url, data_dir, durability=durability, max_waiting=max_waiting, tenure=tenure, in_line=in_line
        )
        try:
            await database.change(catalog_tables.create)
            await database.change(partial(answers.create, now=int(time.time())))
        except StoreError as error:
            await database.close()
            raise StoreError(f"cannot use the database {database.shown}: {error}") from error
        return cls(database, data_dir)

    async def close(self, timeout: float = 10) -> None:  # noqa: ASYNC109 - a deadline for the queue, not for the caller
        """Finish the writes that wait within `timeout` seconds, then end all threads and connections."""
        if self._me is not None:
            # Else the others wait until they take this process for dead.
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await self._database.write(partial(holders.leave, me=self._me))
            self._me = None
        await self._database.close(timeout)

    def usage(self) -> Usage:
        """How busy the database is now."""
        return self._database.usage()

    async def health(self) -> str | None:
        """Why the database does not answer now, for people; None when it does."""
        return await self._database.health()

    async def catalog(self) -> Mapping[str, Applied]:
        """Everything that was ever applied, by folded model name."""
        return MappingProxyType(await self._database.read(records.applied))

    async def revisions(self, model: str) -> tuple[KeptRevision, ...]:
        """The last good revisions of a model, newest first."""
        return await self._database.read(partial(records.revisions, model=model))

    async def plan(self, linked: LinkedModel) -> SchemaPlan:
        """What it takes to serve a model, compared with what was last applied; nothing is changed.

        Rows in the way are among the rejections, as of now: `expand` looks again.
        """
        layouts = await self._memory.recall()
        layout = layouts.get(linked.spec.name, Layout(linked.spec.name))
        old = former_name(linked)
        former = None if old is None else layouts.get(old)
        settled = self._memory.settled(linked.spec.name)
        plan = differ(linked, layout, self._memory.around(layouts, linked), former, settled)
        if plan.rejections or not (plan.scans or plan.questions):
            return plan
        return await self._database.read(lambda cursor: apply.with_rows(cursor, plan))

    def bind(self, plan: SchemaPlan) -> ModelTables:
        """The rows of every entity, under the names that the plan gives; usable once it is expanded."""
        shapes = {name: self._shape(plan, name) for name in plan.names}
        rows = {}
        for name, shape in shapes.items():
            stored = plan.after.of_table(plan.names[name].table)
            rows[name] = Rows(self._database, stored, shape.columns, shape.codecs, shape.statements)
        return ModelTables(MappingProxyType(rows), self._answers, self._database, tuple(shapes.values()))

    async def expand(self, plan: SchemaPlan, record: Record) -> tuple[Rejection, ...]:
        """Bring the tables and the catalog to the plan, all or nothing.

        Empty when it is done, else why not: rows may have come in the way since the plan was made.
        StalePlanError when the plan has to be made again; StoreUnavailableError. A plan without
        steps only writes the record, and nothing when that is applied already.
        """
        apart = self._database.dialect.readers_wait and apply.adds_to_rows(plan) and not plan.rejections
        seen = self._memory.take_seen(plan.after.model)

        def change(cursor: Cursor, how: Expand = apply.expand) -> Seen:
            moment = cursor.moment
            return Seen(how(cursor, plan, record, seen), moment)

        try:
            if apart:
                await self._database.change(lambda cursor: apply.add_columns(cursor, plan))
            try:
                if founds(plan):
                    applied = Seen(await self._founding.expand(plan, record))
                else:
                    # That an older source speaks is an administrator's decision: it is kept here alone.
                    from_files = record.overrides is None
                    at_once = partial(change, how=apply.expand_at_once)
                    applied = await self._database.change(
                        change,
                        apart=plan.rebuilds,
                        from_files=from_files,
                        at_once=at_once if from_files and apply.is_small(plan, record) else None,
                    )
            except ApartError:
                applied = await self._database.change(change, apart=True)
        except apply.RejectedError as rejected:
            self._memory.forget(plan.after.model)
            if apart:
                await self._database.change(lambda cursor: apply.take_columns_back(cursor, plan))
            return rejected.rejections
        except BaseException:
            # Stale, failed, or nobody waited for it: what is there now has to be read, of other models
            # too, since another process may have changed them.
            self._memory.forget_all()
            raise
        if plan.renamed_model is not None:
            self._memory.forget(plan.renamed_model)
        self._memory.keep(applied)
        return ()

    async def empty(self, plan: SchemaPlan) -> None:
        """Make the tables of a plan as they were at first: only for a database of nobody's, see `scratch`."""
        await self._database.write(partial(scratch.empty, tables=[names.table for names in plan.names.values()]))

    async def park(self, model: str) -> None:
        """Mark a model whose file is gone for good; its tables stay, an `unloaded` mark goes with the file."""
        await self._database.write(partial(records.set_parked, model=model))

    async def set_unloaded(self, model: str, *, unloaded: bool) -> None:
        """Keep the admin's decision about a model; StoreError when it was never applied."""
        await self._database.write(partial(records.set_unloaded, model=model, unloaded=unloaded))

    async def enter(self) -> None:
        """Be counted among the processes that hold revisions, until the store is closed. StoreError."""
        self._me = holders.me()
        await self._database.write(partial(holders.enter, me=self._me))

    async def speak(self, holds: Mapping[str, int] | None) -> Heard:
        """Say which is the oldest revision that this process holds of each model, and hear of the others.

        Only after `enter`. None: it cannot say yet. StoreError.
        """
        assert self._me is not None  # noqa: S101 - see above
        return await self._database.write(partial(holders.speak, me=self._me, holds=holds))

    async def hear(self) -> Heard:
        """What was last applied and decided of all models, whoever did it; nothing is said. StoreError."""
        return await self._database.read(holders.hear)

    async def applied(self, model: str) -> Applied | None:
        """What was last applied of a (folded) model, whoever did it; what is remembered of it is read again."""
        self._memory.forget(model)
        return await self._database.read(partial(records.applied_one, model=model))

    async def loosen(self, plan: SchemaPlan, revision: int | None = None) -> None:
        """Take away what the plan's model no longer has.

        To be called when this process has no revision older than the plan's, which is `revision`,
        in flight. HeldElsewhereError when another process may have: to be called again after a
        while. What a later plan has taken into service again meanwhile stays.
        """
        if not plan.loosen:
            return
        asked = (plan.after.model, _ANY if revision is None else revision, "loosen")

        def change(cursor: Cursor) -> None:
            self._refuse_while_held(cursor, plan, asked, f"cannot take away what {plan.after.model} no longer has")
            apply.loosen(cursor, plan)

        self._memory.forget(plan.after.model)
        try:
            rebuilds = any(step.kind is StepKind.RELEASE for step in plan.loosen)
            try:
                await self._database.change(change, apart=rebuilds)
            except ApartError:
                await self._database.change(change, apart=True)
            self._asked.pop(asked, None)
        finally:
            self._memory.forget(plan.after.model)

    async def look_again(self, plan: SchemaPlan, revision: int) -> tuple[Rejection, ...]:
        """The rows that older revisions have written since the plan was applied, and that it would have rejected.

        To be called as `loosen`, with the same HeldElsewhereError. StoreError.
        """
        asked = (plan.after.model, revision, "look")

        def read(cursor: Cursor) -> tuple[Rejection, ...]:
            self._refuse_while_held(cursor, plan, asked, f"cannot say yet what rows of {plan.after.model} are like")
            return rows_in_the_way(cursor, plan.again)

        found = await self._database.read(read)
        self._asked.pop(asked, None)
        return found

    async def drift(self) -> Mapping[str, tuple[Difference, ...]]:
        """How the tables differ from what the catalog says, by domain; only what others did makes a difference.

        StoreUnavailableError.
        """
        sight = await self._database.read(drift.look)
        return await asyncio.to_thread(drift.drift, sight)

    async def parked(self) -> tuple[Parked, ...]:
        """Everything out of service, with the number of rows that it keeps."""
        return await self._database.read(prune.parked)

    async def prune(self, chosen: Sequence[Parked]) -> Path:
        """Save what is chosen of `parked`, then drop it; returns where it was saved.

        SQLite is copied as a whole, only for a store that was opened `alone`; of a server's
        database the rows that go are saved in the data directory. StoreError when it cannot be
        done; then nothing is dropped.
        """
        saved = await self._database.back_up()
        if saved is None:
            work = partial(prune.save_and_drop, chosen=chosen, data_dir=self._data_dir)
            saved = await self._database.change(work)
        else:
            await self._database.change(partial(prune.drop, chosen=chosen), apart=True)
        self._memory.forget_all()
        return saved

    def _refuse_while_held(self, cursor: Cursor, plan: SchemaPlan, asked: Asked, why: str) -> None:
        """HeldElsewhereError while another process may still write as a revision before the plan's does."""
        mine = None if self._me is None else self._me.process
        before = self._asked.setdefault(asked, holders.said(cursor, mine))
        names = [asked[:2]] if plan.renamed_model is None else [asked[:2], (plan.renamed_model, _ANY)]
        for model, oldest in names:
            who = holders.in_the_way(cursor, mine, model, oldest, before)
            if who is not None:
                raise HeldElsewhereError(f"{why}: {who}")

    def _shape(self, plan: SchemaPlan, name: str) -> Shape:
        """The shape that the table was last bound in, if it is still the right one, else another."""
        attributes = plan.linked.spec.entities[name].attributes
        table, columns = plan.names[name].table, plan.names[name].columns
        key = plan.after.of_table(table).key
        held = tuple(physical(plan.linked, one) for one in attributes.values())
        shape = self._shapes.get(table)
        if shape is None or not shape.fits(columns, key, held):
            codecs = {one: codec_for(kept) for one, kept in zip(attributes, held, strict=True)}
            numbered = key.type == "integer"
            declared = attributes[key.name]
            chosen = not (declared.implied or declared.auto_increment)
            dialect = self._database.dialect
            conditions = Conditions(dialect, name, dict(zip(attributes, held, strict=True)), columns)
            statements = Statements(
                dialect, table, columns, key.name, codecs, numbered=numbered, chosen=chosen, conditions=conditions
            )
            shape = self._shapes[table] = Shape(columns, key, held, codecs, statements)
        return shape
