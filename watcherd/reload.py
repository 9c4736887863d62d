"""THE STORY: one reload, from a change set to the swap, told by `Reloader._reload` top to bottom.

Owns the order of the steps, the lock that makes reloads follow one another, and the `World` that
is known between them. Everything else is called from here, in the order of the walk: reading
(intake), settling and linking (draft), the order of the models (waves), building each (build),
serving (gateway), other processes that serve (followers), telling (report), waiting (drain).

A failure at any step refuses the model that it is about, and the models that need it; the route
table and the world change once, at the end, with nothing awaited in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from types import MappingProxyType

import structlog

from watcherd import events, waves
from watcherd.ahead import Ahead
from watcherd.applied import AppliedModels
from watcherd.build import Builder, Round
from watcherd.compile import Options
from watcherd.draft import Draft
from watcherd.drain import Drains
from watcherd.drift import DriftAlarm
from watcherd.elsewhere import Elsewhere
from watcherd.errors import StoreError
from watcherd.followers import Followers, Nobody
from watcherd.garbage import tidy
from watcherd.gate import Gate
from watcherd.gateway import Gateway, RouteTable
from watcherd.holds import RELOAD, START, Closely, nobody_looks
from watcherd.intake import Intake
from watcherd.ledger import FileEntry, Live, Rollback, World, copied
from watcherd.pace import Pauses, Turns, apart
from watcherd.pim.linked import LinkedModel
from watcherd.plan import Preview, planned, preview
from watcherd.progress import Progress
from watcherd.report import Report, Stages, compare, finished, tell
from watcherd.store import MAX_TOGETHER, Heard, KeptRevision, Store
from watcherd.watch import ChangeSet, OvertakenError, Watcher, merged


@dataclass(frozen=True, slots=True)
class Order:
    """What an administrator wants beside the change set.

    `load` is the path of a file whose model goes (back) into service as the file says, also where an
    older source serves in its place; `unload` a folded model that leaves it, `rollback` an older source
    that serves instead of its file; `dry_run` builds everything and changes nothing.
    """

    load: str | None = None
    unload: str | None = None
    rollback: Rollback | None = None
    dry_run: bool = False


SIDE_BY_SIDE = 2 * MAX_TOGETHER
"""Models of one reload that are built at once: so many are compiled while as many are written."""

FIRST_ANSWERS_SECONDS = 0.002
"""For so long after a swap nothing is told, nor given back: whoever has waited for the change asks just now."""

TELLING_SECONDS = 0.0002
"""For so long, about two events, requests wait for what is told."""

RETRY_SECONDS = 5.0
"""A reload that the database failed is tried again after this long."""


class Reloader:
    """Runs reloads one after the other. `world` is what is known now; it is replaced, not edited."""

    def __init__(  # noqa: PLR0913 - the parts of the walk, composed once by the daemon
        self,
        intake: Intake,
        store: Store,
        gateway: Gateway,
        drains: Drains,
        *,
        options: Options,
        publish: events.Publish,
        allow_handlers: bool = False,
        followers: Followers | None = None,
        closely: Closely = nobody_looks,
    ) -> None:
        self.world = World()
        self.failure: str | None = None
        """Why what serves may lag behind the directory: the database failed a reload; None when all is read."""
        self.progress = Progress()
        """How far the latest reload is."""
        self.drift = DriftAlarm(store, publish)
        self._intake = intake
        self._store = store
        self._gateway = gateway
        self._drains = drains
        self._options = options
        self._allow_handlers = allow_handlers
        self._publish = publish
        self._followers = followers or Nobody()
        self._closely = closely
        self._lock = asyncio.Lock()
        self._turns = Turns()
        self._applied = AppliedModels(store)
        self._elsewhere = Elsewhere()
        self._builder = Builder(
            store,
            self._applied,
            self._elsewhere,
            self._followers,
            self._turns,
            options=options,
            allow_handlers=allow_handlers,
        )
        self._stages = Stages()
        self._retired: list[Live] = []
        self._log = structlog.stdlib.get_logger("watcherd.reload")

    async def recall(self) -> int:
        """Read the catalog; returns how many models were served before this start."""
        self.world = await self._applied.recall()
        return len(self.world.owners)

    async def kept(self, model: str) -> tuple[KeptRevision, ...]:
        """The last good revisions of a (folded) model, newest first. StoreError."""
        return await self._store.revisions(model)

    async def preview(self, content: bytes, file: str) -> Preview:
        """What a model's text would do if it were saved now; nothing is done. StoreError."""
        world = self.world
        specs = {model: live.spec for model, live in world.live.items()}
        specs |= {model: world.specs[model] for model in world.waiting}
        return await preview(content, file, specs, self._store, self._options)

    def heed_others(self, heard: Heard) -> bool:
        """Mark what the next reload has to take over from other processes; whether any of it is new."""
        return self._elsewhere.heed(heard, self.world)

    async def catch_up(self) -> None:
        """Take over what administrators have decided at other processes: orders are judged by that. StoreError."""
        news = self.heed_others(await self._store.hear())
        if news or self._elsewhere.decided:
            await self.reload(ChangeSet(paths=frozenset(), full=True, reason="restart"))

    async def follow(self, watcher: Watcher) -> None:
        """Reload what the watcher sees, for ever. A reload that fails is logged and tried again.

        What it sees of single files does not wait for a look at the whole directory, which takes a while.
        """
        asked: asyncio.Queue[ChangeSet] = asyncio.Queue()
        both = [
            asyncio.create_task(self._follow_saves(watcher, asked), name="follow saves"),
            asyncio.create_task(self._follow_looks(watcher, asked), name="look at all"),
        ]
        try:
            ended, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            await ended.pop()  # neither ends but by what nobody thought of, which is for the caller
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)

    async def _follow_saves(self, watcher: Watcher, asked: asyncio.Queue[ChangeSet]) -> None:
        while True:
            change = await watcher.next(early=True)
            if change.full:
                asked.put_nowait(change)
            else:
                await self._reload_seen(watcher, change)

    async def _follow_looks(self, watcher: Watcher, asked: asyncio.Queue[ChangeSet]) -> None:
        """Look at the whole directory as often as asked; what is asked for during one look is one more."""
        while True:
            change = await asked.get()
            while not asked.empty():
                change = merged(change, asked.get_nowait())
            await self._reload_seen(watcher, change)

    async def _reload_seen(self, watcher: Watcher, change: ChangeSet) -> None:
        try:
            await self.reload(change, settled=partial(watcher.settled, change))
        except OvertakenError:
            pass  # what has happened since is told by a later set
        except StoreError:
            asyncio.get_running_loop().call_later(RETRY_SECONDS, watcher.request, "restart")
        except Exception:  # noqa: BLE001 - whatever it was, the daemon must go on watching
            self._log.exception("reload.crashed", reason=change.reason)
            asyncio.get_running_loop().call_later(RETRY_SECONDS, watcher.request, "restart")

    async def reload(
        self, change: ChangeSet, order: Order | None = None, settled: Callable[[], Awaitable[bool]] | None = None
    ) -> Report:
        """Bring what is served in line with the directory, and answer when that is done.

        The whole directory is read before the lock is asked for: other reloads go on meanwhile.

        An early change set is read and built while it settles; before anything comes of it, `settled`
        says whether it has. Raises `StoreError` if the database fails, `RollbackRefusedError` if what
        was ordered cannot serve, `OvertakenError` for an early set that has not settled as it was
        seen; then nothing has changed.
        """
        ahead = await self._intake.look_ahead(change, self.world)
        with self._closely(START if change.reason == "start" else RELOAD):
            async with self._lock:
                self._stages, self.progress = Stages(0.0 if ahead is None else ahead.seconds), Progress()
                self._turns.begin()
                started = events.ReloadStarted(change.reason, len(change.paths))
                gate = Gate(None if change.early is None else settled, partial(self._publish, started))
                try:
                    report = await self._reload(change, order or Order(), gate, ahead)
                except OvertakenError:
                    raise
                except Exception as error:
                    self.failure = f"the last reload failed: {str(error) or type(error).__name__}"
                    self._publish(events.ReloadFailed(change.reason, str(error), self._stages.total()))
                    raise
                if change.full:
                    self.failure = None  # only a full one makes good for what others have missed
            await self._let_go()
            await self.drift.heed(change)
            return report

    async def _reload(self, change: ChangeSet, order: Order, gate: Gate, ahead: Ahead | None) -> Report:
        before = self.world
        with self._stages.timed("read"):
            taken = await self._intake.read(change, before, self._applied.records, ahead)
        decided, turned = frozenset(self._elsewhere.decided), frozenset(self._elsewhere.turned)
        await self._applied.learn(*(decided | turned))  # what was heard of them may be out of date
        unloaded = self._unloaded(taken.files, order, decided)
        draft = Draft(
            before,
            taken.files,
            unloaded,
            self._applied.records,
            full=change.full,
            thorough=change.full and change.reason != "reconcile",
            code=taken.code,
            allow_handlers=self._allow_handlers,
            behind=frozenset(self._elsewhere.behind),
        )
        for model in turned:
            if (turn := self._applied.turned(model)) is not None:
                draft.turn(model, *turn)
        if order.load is not None:
            draft.order_load(order.load)
        if order.rollback is not None:
            draft.order_rollback(order.rollback)
        is_start = change.reason == "start" and (not before.files or bool(before.waiting))
        await self._turns.take()
        while not await self._build(draft, order, gate, in_waves=is_start):
            pass  # each round refuses one more file or gives up a rollback, so this ends
        now = self.world
        after, last = await apart(lambda: self._compared(now, draft.world(), change.reason), draft.looks_at)
        report = last
        if now is not before:
            report = replace(self._compare(before, after, change.reason), generation=last.generation)
        if taken.unread is not None:
            report = replace(report, unread=taken.unread)
        if order.dry_run or (order.load is not None and order.load in after.refusals):
            await self._tell(_told_of_plans(before, draft))
            return report
        await gate.passed()
        await self._applied.write_decisions(before, after, decided)
        self._swap(after, last)
        self._elsewhere.decided -= decided
        self._elsewhere.turned -= turned
        told = chain(_told_of_plans(now, draft), tell(now, last), finished(before, report))
        await self._follow_up(now, last, told)
        for applied in await self._applied.park_what_is_gone(after.owners):
            self._publish(events.SchemaParked(applied.domain, (applied.domain,)))
        return report

    def _unloaded(
        self, files: Mapping[str, FileEntry], order: Order, decided_elsewhere: frozenset[str]
    ) -> frozenset[str]:
        records = self._applied.records
        unloaded = self.world.unloaded - decided_elsewhere
        unloaded |= {model for model in decided_elsewhere & records.keys() if records[model].unloaded}
        if order.unload is not None:
            unloaded |= {order.unload}
        if order.load is not None and order.load in files:
            spec = files[order.load].spec
            if spec is not None:
                unloaded -= {spec.name}
        return unloaded

    # -- build --------------------------------------------------------------------------------

    async def _build(self, draft: Draft, order: Order, gate: Gate, *, in_waves: bool) -> bool:
        """One round: settle, link, build. False if a file was refused on the way.

        A start serves each wave of it when that is built.
        """
        if not await apart(draft.settle, draft.looks_at):
            return False
        await self._turns.take()
        linked = await apart(draft.link, draft.looks_at)
        if linked is None:
            return False
        self.progress = Progress(0, len(linked), len(self.world.live))
        waiting = dict(linked)
        for wave in waves.by_size(linked, draft.sizes()) if in_waves else waves.one_wave(linked):
            at = Round(draft, self.world, gate, self._stages, dry_run=order.dry_run, alone=len(linked) == 1)
            for step in wave:
                if not await self._build_step([waiting.pop(model) for model in step], at):
                    return False
            if waiting:
                await self._serve_so_far(draft, waiting)
        if not draft.few:
            await self._turns.take()  # what follows looks at all models again
        return True

    async def _build_step(self, step: Sequence[LinkedModel], at: Round) -> bool:
        """Build models that do not wait for each other; False if a file was refused."""
        # Side by side, so that their writes share a transaction; each yields to requests first. Not
        # all at once: the queue of the database is bounded, and requests wait in it as well.
        slots = asyncio.Semaphore(SIDE_BY_SIDE)

        async def build(linked: LinkedModel) -> bool:
            async with slots:
                built = await self._builder.build(linked, at)
            self.progress = self.progress.one_more()
            return built

        if len(step) == 1:
            return await build(step[0])
        results = await asyncio.gather(*(build(linked) for linked in step), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return all(results)

    # -- swap, tell, retire -------------------------------------------------------------------

    async def _serve_so_far(self, draft: Draft, waiting: Mapping[str, LinkedModel]) -> None:
        """Put into service what a start has built by now; the models that are `waiting` come later."""
        now = self.world
        after, report = await apart(lambda: self._compared(now, draft.so_far(now, waiting), "start"), len(draft.files))
        if not report.changed:
            return  # a round that began anew has come to what serves already
        self._swap(after, report)
        self.progress = replace(self.progress, serving=len(after.live))
        await self._follow_up(now, report, chain(_told_of_plans(now, draft), tell(now, report)))

    def _compared(self, now: World, after: World, reason: str) -> tuple[World, Report]:
        return after, self._compare(now, after, reason)

    def _compare(self, before: World, after: World, reason: str) -> Report:
        generation = self._gateway.table.generation
        return compare(before, after, reason=reason, generation=generation, stages=self._stages)

    def _swap(self, after: World, report: Report) -> None:
        """Assign the new route table and the new world.

        Nothing is awaited here: no request and no reader of the world sees one without the other.
        """
        if report.changed or after.awaited != self._gateway.table.awaited:
            revisions = copied(self._gateway.table.revisions)
            for model in report.gone:
                revisions.pop(model, None)
            revisions.update((model, live.revision) for model, live in report.news.items())
            table = RouteTable(report.generation, MappingProxyType(revisions), after.referrers, after.awaited)
            self._gateway.swap(table)
            for replaced in _replaced(self.world, report):
                self._drains.hold(replaced.revision)
        self.world = after

    async def _follow_up(self, before: World, report: Report, told: Iterable[events.Event]) -> None:
        """What comes at once after a swap: requests, other processes, what is told, the end of what serves no more."""
        try:
            await asyncio.sleep(0)  # requests that have waited for the swap go first
            await self._followers.follow(report.generation, report.world)
            await asyncio.sleep(FIRST_ANSWERS_SECONDS)
            await self._tell(told)
        finally:
            self._retire(before, report)  # the last that is told of a revision is that it has drained

    async def _tell(self, told: Iterable[events.Event]) -> None:
        """Say what was done, with pauses for requests: some have waited for the swap."""
        pauses = Pauses(TELLING_SECONDS)
        for event in told:
            self._publish(event)
            await pauses.take()

    def _retire(self, before: World, report: Report) -> None:
        """Hand over to the drains what serves no more, and what is to be loosened after it."""
        news = report.news
        for replaced in _replaced(before, report):
            self._drains.retire(replaced.revision)
            self._retired.append(replaced)
        for model, new in news.items():
            old = before.live.get(new.plan.renamed_model or model)
            if new.plan.again and old is not None and old.revision is not new.revision:
                self._drains.after(new.plan.base.layout.model, partial(self._look_again, new))
            if new.plan.loosen:
                # Of a model that was renamed, the older revisions drain under the older name.
                loosen = partial(self._store.loosen, new.plan, new.revision.number)
                self._drains.after(new.plan.base.layout.model, loosen)

    async def _let_go(self) -> None:
        """Give back what retired revisions were made of, one after the other: of a hundred it takes a while."""
        while self._retired:
            await asyncio.sleep(0)
            self._retired.pop()
        tidy()

    async def _look_again(self, live: Live) -> None:
        """Tell of rows that older revisions wrote to the end, as nothing but the new one would have refused."""
        found = await self._store.look_again(live.plan, live.revision.number)
        if found:
            lines = tuple(one.message for one in found)
            self._publish(events.SchemaRowsLeft(live.revision.domain, live.revision.number, lines))


def _replaced(before: World, report: Report) -> Iterator[Live]:
    """What served before a swap and serves no more after it."""
    for model in (*report.news, *report.gone):
        old, new = before.live.get(model), report.news.get(model)
        if old is not None and (new is None or new.revision is not old.revision):
            yield old


def _told_of_plans(before: World, draft: Draft) -> Iterator[events.Event]:
    """What was done to the tables, and what clients will notice; found out when it is asked for, after the swap."""
    expanded, draft.expanded = draft.expanded, []
    for plan, revision in expanded:
        if plan.steps:
            old = before.live.get(plan.renamed_model or revision.model)
            known = None if old is None else (old.revision.linked, old.revision.operations)
            whole = planned(plan, revision.operations, known)
            steps = tuple(step.describe() for step in plan.steps)
            breaking = tuple(change.subject for change in whole.api if change.breaking) or None
            yield events.SchemaApplied(revision.domain, revision.number, steps, whole.hash, breaking)
        if plan.parked:
            yield events.SchemaParked(revision.domain, plan.parked)
