"""Building one model: from what its file means now to what can be put into service, or why nothing can.

Owns the steps in between: plan, load and try what stands behind it, compile, prepare, expand. Owns
too what a model that cannot serve leads to: its file is refused, or the rollback given up that spoke
in its place. Does not own which models are built nor in which order, nor what happens to them after
that (reload).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from watcherd.applied import AppliedModels
from watcherd.behind import CodeRefusedError, loaded, not_allowed
from watcherd.compile import InvalidDefaultError, Options, compile_model
from watcherd.draft import Draft
from watcherd.elsewhere import Elsewhere
from watcherd.errors import StoreError
from watcherd.examples import Failure, as_diagnostics, failures
from watcherd.followers import Followers
from watcherd.garbage import tidy
from watcherd.gate import Gate
from watcherd.ledger import Live, Refusal, World, as_diagnostic
from watcherd.pace import Turns
from watcherd.pim import CodeFault, Diagnostic, Parsed, code_diagnostics, ways
from watcherd.pim.linked import LinkedModel
from watcherd.report import Stages
from watcherd.services import NO_HANDLERS, Handlers
from watcherd.store import Rejection, StalePlanError, Store
from watcherd.watch import OvertakenError

Fault = Rejection | CodeFault | Failure
"""Why a model cannot serve: its tables, its handlers, its examples."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a reload, as the models see it that are built in it.

    `now` is the world beside which they are built; `alone` says that there is one model only;
    with `dry_run` everything is built and nothing is changed.
    """

    draft: Draft
    now: World
    gate: Gate
    stages: Stages
    dry_run: bool
    alone: bool


class Builder:
    """Builds models of any reload, several side by side; what came of each is in the draft."""

    def __init__(  # noqa: PLR0913 - what models are built with, composed once by the reloader
        self,
        store: Store,
        applied: AppliedModels,
        elsewhere: Elsewhere,
        followers: Followers,
        turns: Turns,
        *,
        options: Options,
        allow_handlers: bool,
    ) -> None:
        self._store = store
        self._applied = applied
        self._elsewhere = elsewhere
        self._followers = followers
        self._turns = turns
        self._options = options
        self._allow_handlers = allow_handlers
        self._log = structlog.stdlib.get_logger("watcherd.build")

    async def build(self, linked: LinkedModel, at: Round) -> bool:
        """Plan, compile and expand one model; False if its file was refused, or a rollback of it given up.

        Raises as `Reloader.reload`.
        """
        draft, model = at.draft, linked.spec.name
        path = draft.owners[model]
        if (known := self._known(linked, at)) is not None:
            await self._take_up(known, at)
            return True
        old = at.now.refusals.get(path)
        if old is not None and _refused_for(linked, old) and not (draft.full or _is_not_the_file(draft, model)):
            draft.refuse(path, old.diagnostics, linked)
            return False
        await self._turns.take()
        try:
            live, faults = await self._serveable(linked, at)
        except (StoreError, OvertakenError):
            raise
        except Exception as error:  # noqa: BLE001 - a bug of ours with one file must not take the others down
            display = draft.files[path].source.display
            self._log.exception("model.failed", model=linked.spec.domain, file=display)
            message = f"watcherd failed to build the model: {error}"
            live, faults = None, (Rejection(code="PIM611", entity=None, attribute=None, message=message, hint=None),)
        if faults:
            return _refuse(draft, linked, faults)
        assert live is not None  # noqa: S101 - there is no fault
        draft.built[model] = draft.compiled[model] = live
        self._elsewhere.behind.discard(model)
        return True

    def _known(self, linked: LinkedModel, at: Round) -> Live | None:
        """What was built of the same meaning already: in an earlier round, or it serves."""
        model = linked.spec.name
        is_behind = model in self._elsewhere.behind and not at.draft.serves_last_good(model)
        for known in (at.draft.compiled.get(model), None if is_behind else at.now.live.get(model)):
            if known is not None and known.revision.linked == linked:
                return known
        return None

    async def _take_up(self, known: Live, at: Round) -> None:
        """Have a model serve as it was built before, in the name of its file as that is now."""
        draft, model = at.draft, known.spec.name
        if draft.serves_last_good(model):
            draft.built[model] = known
            return
        path = draft.owners[model]
        entry = draft.files[path]
        draft.built[model] = replace(known, path=path, digest=entry.source.digest)
        if not at.dry_run:
            await at.gate.passed()
            await self._applied.note_file(known, entry, draft.rolled_back.get(model))

    async def _serveable(self, linked: LinkedModel, at: Round) -> tuple[Live | None, tuple[Fault, ...]]:
        """Plan, load handlers, run examples, compile, expand: what can be put into service, or why it can not."""
        draft, model = at.draft, linked.spec.name
        path = draft.owners[model]
        entry = draft.files[path]
        if (clash := draft.still_served(linked)) is not None:
            return None, (clash,)
        while True:
            with at.stages.timed("plan"):
                plan = draft.asking(await self._store.plan(linked))
            if plan.rejections:
                return None, plan.rejections
            old = at.now.live.get(model)
            identity = self._applied.identity(plan, old)
            functions, refused = await self._stand_behind(linked, at)
            if refused:
                return None, refused
            await self._turns.take(None if at.alone else tidy)
            try:
                with at.stages.timed("compile"):
                    before = None if old is None else old.revision
                    tables = self._store.bind(plan)
                    revision = compile_model(
                        linked, tables, identity.number, options=self._options, before=before, handlers=functions
                    )
            except InvalidDefaultError as error:
                return None, (_bad_default(error),)
            if not (at.dry_run or self._followers.alone):
                with at.stages.timed("prepare"):
                    await self._followers.prepare(revision, plan)
            if not (at.dry_run or draft.serves_last_good(model)):
                with at.stages.timed("settle"):
                    await at.gate.passed()
                try:
                    with at.stages.timed("expand"):
                        rejections = await self._applied.expand(plan, identity, entry, draft.rolled_back.get(model))
                except StalePlanError:
                    # A drain loosened the tables meanwhile, or another process changed them: compare again.
                    await self._applied.learn(model, plan.renamed_model)
                    continue
                if rejections:
                    return None, rejections
                draft.expanded.append((plan, revision))
            warnings = () if self._allow_handlers else not_allowed(linked, entry.parsed)
            return Live(revision, plan, path, entry.source.digest, draft.now, warnings), ()

    async def _stand_behind(self, linked: LinkedModel, at: Round) -> tuple[Handlers, tuple[Fault, ...]]:
        """Load the model's handlers and let its examples try it: before it is near any row.

        What has served before has been tried before.
        """
        try:
            with at.stages.timed("handlers"):
                functions = await loaded(linked)
        except CodeRefusedError as refused:
            return NO_HANDLERS, (refused.fault,)
        if at.draft.serves_last_good(linked.spec.name):
            return functions, ()
        with at.stages.timed("examples"):
            return functions, await failures(linked, self._options, functions)


def _is_not_the_file(draft: Draft, model: str) -> bool:
    """Whether something else than what the model's file says now speaks for it."""
    return draft.serves_last_good(model) or model in draft.rolled_back


def _refused_for(linked: LinkedModel, refusal: Refusal) -> bool:
    """Whether the very same was refused before: all of it, the ways that lead there too."""
    refused = refusal.refused
    return refused is not None and refused == linked and ways(refused.spec) == ways(linked.spec)


def _refuse(draft: Draft, linked: LinkedModel, faults: tuple[Fault, ...]) -> bool:
    """Say in the draft that a model cannot serve; whether the round goes on all the same."""
    model = linked.spec.name
    if draft.serves_last_good(model):
        return True  # refused already; there is nothing good of it to serve
    rollback = draft.rolled_back.get(model)
    if rollback is not None:
        draft.give_up_rollback(model, _as_diagnostics(faults, rollback.parsed))
        return False
    path = draft.owners[model]
    parsed = draft.files[path].parsed
    assert parsed is not None  # noqa: S101 - only a parsed file is planned
    # What another file stands in the way of is tried again when that one changes.
    again = draft.still_served(linked) is not None
    draft.refuse_more(path, _as_diagnostics(faults, parsed), None if again else linked)
    return False


def _as_diagnostics(faults: tuple[Fault, ...], parsed: Parsed) -> list[Diagnostic]:
    """Why a model cannot serve, each at its place."""
    code = [one for one in faults if isinstance(one, CodeFault)]
    rejections = [as_diagnostic(one, parsed) for one in faults if isinstance(one, Rejection)]
    failed = [one for one in faults if isinstance(one, Failure)]
    return [*rejections, *code_diagnostics(parsed, code), *as_diagnostics(failed, parsed)]


def _bad_default(error: InvalidDefaultError) -> Rejection:
    """A default that only a linked model can tell to be wrong, such as that of a reference."""
    return Rejection(code="PIM209", entity=error.entity, attribute=error.attribute, message=str(error), hint=None)
