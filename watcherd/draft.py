"""A reload in the making: which file speaks for which model, what each would mean, who is refused.

Owns settling and linking, the two steps that look at all files together. Does not own building
what they lead to (build), nor when (reload).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType

from watcherd.directory import SourceFile
from watcherd.errors import WatcherdError
from watcherd.ledger import (
    FileEntry,
    Live,
    Refusal,
    Rollback,
    World,
    changed,
    copied,
    referred,
    referrers_of,
    settle_owners,
)
from watcherd.pim import (
    CodeFault,
    Parsed,
    code_diagnostics,
    gather,
    handlers,
    link,
    link_diagnostics,
    owned_elsewhere,
    parse,
)
from watcherd.pim.diagnostics import Diagnostic
from watcherd.pim.linked import NO_CODE, Code, LinkedModel
from watcherd.pim.spec import EMPTY, EntityRef, ModelSpec, fold
from watcherd.revision import Revision
from watcherd.store import Applied, Notice, Rejection, SchemaPlan


class RollbackRefusedError(WatcherdError):
    """A kept source cannot serve: the data or another model stands in its way. Nothing has changed."""

    def __init__(self, domain: str, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__(f"{domain} cannot be rolled back: {diagnostics[0].message}")
        self.diagnostics = diagnostics


class Draft:
    """One reload in the making. It is tried in rounds: each that refuses a file starts the next.

    `built` is what this round would put into service; `compiled` keeps what earlier rounds made;
    `expanded` are the plans that were applied, each for its revision;
    with `few` only what changed is looked at, else each step takes a while with a thousand models;
    `refusals` only grow and `rolled_back` only shrinks, which is why the rounds end.
    """

    def __init__(  # noqa: PLR0913 - what is known when a reload begins
        self,
        world: World,
        files: Mapping[str, FileEntry],
        unloaded: frozenset[str],
        applied: Mapping[str, Applied],
        *,
        full: bool,
        thorough: bool = False,
        code: Mapping[str, SourceFile] = MappingProxyType({}),
        allow_handlers: bool = False,
        behind: frozenset[str] = frozenset(),
    ) -> None:
        """`full`: what the database refused is tried again; `thorough`: what has not changed is looked at as well.

        `behind` are models to be built again though nothing has changed here.
        """
        self.before = world
        self.code = code
        self._allow_handlers = allow_handlers
        self._sources: Mapping[str, bytes] | None = None
        self._kept_specs: dict[str, ModelSpec | None] = {}
        self._by_file: dict[str, Applied] | None = None
        self.files = files
        self._behind = behind
        self.unloaded = unloaded
        self.full = full
        self.rolled_back = dict(world.rolled_back)
        self._ordered: Rollback | None = None
        self._applied = applied
        self.now = datetime.now(UTC)
        self.owners: Mapping[str, str] = world.owners
        self.built: dict[str, Live] = {}
        self.compiled: dict[str, Live] = {}
        self.expanded: list[tuple[SchemaPlan, Revision]] = []
        self.refusals: dict[str, Refusal] = {}
        self._specs: Mapping[str, ModelSpec] = world.specs
        self._changed = list(changed(world.files, files))
        self.few = not thorough and self._changes_contents_alone()
        for path in self._perhaps_refused() if self.few else files:
            if files[path].spec is None:
                self.refuse(path, files[path].own_diagnostics)

    @property
    def looks_at(self) -> int:
        """How many files each step that looks at all of them together goes through."""
        return len(self._changed) if self.few else len(self.files)

    def _changes_contents_alone(self) -> bool:
        """Whether each file still speaks for the model that it spoke for, and for that one alone.

        Then who speaks for what is known, and only what changed, and who refers to it, is looked at:
        of a thousand models the others cost nothing.
        """
        world, files = self.before, self.files
        return (
            len(files) == len(world.files) == len(world.owners)
            and self.unloaded == world.unloaded
            and self.code is world.code
            and not self.rolled_back
            and all(self._keeps_its_model(path) for path in self._perhaps_refused())
        )

    def _keeps_its_model(self, path: str) -> bool:
        model, spec = self.before.speaks_for.get(path), self.files[path].spec
        return model is not None and (spec is None or spec.name == model)

    def _perhaps_refused(self) -> list[str]:
        """All files that are not known to serve what they say: those that changed, and those that were refused."""
        return [*self._changed, *(path for path in self.before.refusals if path not in self._changed)]

    def refuse(self, path: str, diagnostics: tuple[Diagnostic, ...], linked: LinkedModel | None = None) -> None:
        """Refuse a file's content, since when: unless it was refused for the same before."""
        old = self.before.refusals.get(path)
        since = old.since if old is not None and old.diagnostics == diagnostics else self.now
        self.refusals[path] = Refusal(diagnostics, since, linked)

    def refuse_more(self, path: str, found: Iterable[Diagnostic], linked: LinkedModel | None = None) -> None:
        """Refuse a file that is valid by itself: its own warnings stay beside the errors."""
        found = sorted(found, key=lambda item: (item.line, item.column, item.code))
        self.refuse(path, (*found, *self.files[path].own_diagnostics), linked)

    def order_rollback(self, rollback: Rollback) -> None:
        """Let an older source speak for its model instead of the file."""
        self.few = False
        self._ordered = rollback
        self.rolled_back[rollback.spec.name] = rollback

    def turn(self, model: str, rollback: Rollback | None, source: bytes) -> None:
        """Serve of a model what another process does by an administrator's order, if that was about this file.

        That is `rollback`, which is given up where it cannot serve here; None: what the file says, `source` there.
        """
        file = self.files.get(self.owners.get(model, ""))
        if file is None:
            return
        if rollback is not None and rollback.overrides == file.source.digest:
            self.few = False
            self.rolled_back[model] = rollback
        elif rollback is None and file.source.content == source:
            self.rolled_back.pop(model, None)

    def order_load(self, path: str) -> None:
        """Let a file speak for its model, also where an older source has spoken in its place."""
        spec = self.files[path].spec if path in self.files else None
        if spec is not None:
            self.rolled_back.pop(spec.name, None)

    def give_up_rollback(self, model: str, found: Iterable[Diagnostic]) -> None:
        """Serve the file again. Raises RollbackRefusedError for what was ordered just now."""
        rollback = self.rolled_back.pop(model)
        if rollback is self._ordered:
            raise RollbackRefusedError(rollback.spec.domain, tuple(found))

    def serves_last_good(self, model: str) -> bool:
        """Whether the model's file is refused, and nothing else was ordered in its place."""
        return self.owners[model] in self.refusals and model not in self.rolled_back

    def still_served(self, linked: LinkedModel) -> Rejection | None:
        """Why a model cannot be renamed: another file still speaks for its old name."""
        spec = linked.spec
        old = None if spec.renamed_from is None else fold(spec.renamed_from)
        known = self._applied.get(spec.name)
        if old is None or old not in self._applied or old not in self.owners:
            return None
        if known is not None and known.renamed_from == old:
            return None
        file = self.files[self.owners[old]].source.display
        return Rejection(
            code="PIM610",
            entity=None,
            attribute=None,
            message=f"{spec.renamed_from} cannot become {spec.domain}: {file} still speaks for {spec.renamed_from}",
            hint=f"remove {file}, or `renamed_from` from this file",
        )

    def asking(self, plan: SchemaPlan) -> SchemaPlan:
        """The plan, with the question whether a model without tables is one that its file spoke for, renamed."""
        old = None if plan.base.layout.entities else self._perhaps_renamed(plan.linked.spec)
        if old is None:
            return plan
        new = plan.linked.spec.domain
        question = Notice(
            code="PIM612",
            entity=None,
            attribute=None,
            message=f"{new} is new and empty, and {old} is parked: "
            "if it is a rename, the stored rows have not followed",
            hint=f"take the change back, and write `renamed_from: {old}` beside the new domain",
        )
        return replace(plan, notices=(*plan.notices, question))

    def _perhaps_renamed(self, spec: ModelSpec) -> str | None:
        """The domain that the file of a model declared before, if half of the entities or more are the same."""
        if self._by_file is None:
            self._by_file = {one.file: one for one in self._applied.values() if one.state == "live"}
        old = self._by_file.get(self.owners[spec.name])
        if old is None or old.model == spec.name or old.model in self.owners:
            return None
        kept = self._kept(old)
        shared = 0 if kept is None else len(kept.entities.keys() & spec.entities.keys())
        if kept is None or not 0 < max(len(kept.entities), len(spec.entities)) <= 2 * shared:
            return None
        return old.domain

    def settle(self) -> bool:
        """Begin a round: say which file speaks for each model; False if files lost and are refused."""
        self.built = {}
        if self.few:
            return True
        self.owners, losers = settle_owners(self.files, self.refusals, self.before.owners, self.before.live)
        self.rolled_back = {
            model: rollback
            for model, rollback in self.rolled_back.items()
            if model in self.owners and self.files[self.owners[model]].source.digest == rollback.overrides
        }
        # All in one round: a loser that speaks for another model again takes that from none that is valid.
        lost = [path for path in losers if path not in self.refusals and self.files[path].parsed is not None]
        for path in lost:
            self.refuse_more(path, [owned_elsewhere(self._parsed(path), self.files[losers[path]].source.display)])
        return not lost

    def link(self) -> dict[str, LinkedModel] | None:
        """Link every model that changed or that refers to one that did; None if files were refused."""
        self._specs = specs = self._meant()
        linked: dict[str, LinkedModel] = {}
        missing: dict[str, tuple[EntityRef, ...]] = {}
        faulty: set[str] = set()
        for model in self._to_link(specs):
            spec, path = specs[model], self.owners[model]
            code = self._code_of(model, spec) if self._has_handlers(spec) else NO_CODE
            if isinstance(code, tuple):
                self.refuse_more(path, code_diagnostics(self._parsed(path), code))
                faulty.add(model)
                continue
            result = link(spec, specs, code)
            if isinstance(result, LinkedModel):
                linked[model] = result
            elif model in self.rolled_back:
                self.give_up_rollback(model, link_diagnostics(self.rolled_back[model].parsed, result, specs))
                return None
            elif path not in self.refusals:
                missing[model] = result
            elif model not in self.before.live:
                # The last good source at a start: what it refers to need not be in service.
                result = link(spec, self._remembered(specs), code)
                if isinstance(result, LinkedModel):
                    linked[model] = result
        if not missing and not faulty:
            return linked
        self._refuse_unlinked(missing, faulty, dict(specs))
        return None

    def _refuse_unlinked(
        self, missing: dict[str, tuple[EntityRef, ...]], refused: set[str], specs: dict[str, ModelSpec]
    ) -> None:
        """Refuse the models that lack what they refer to, and those that cannot do without them, in one round.

        One that lacks something of a model that is refused itself is looked at again: what that one
        means by then, which is its last good content, may have it. `refused` are models that are
        already, `specs` what each meant until now.
        """
        referring: dict[str, list[str]] = {}
        for model, spec in specs.items():
            for other in spec.depends_on:
                referring.setdefault(other, []).append(model)
        while missing or refused:
            changing = missing.keys() | refused
            sure = [model for model, refs in missing.items() if not {ref.model for ref in refs} & changing - {model}]
            if not sure and not refused:
                sure = [next(iter(missing))]  # they lack something of each other
            for model in sure:
                path = self.owners[model]
                self.refuse_more(path, link_diagnostics(self._parsed(path), missing.pop(model), specs))
            refused.update(sure)
            if any(self.before.speaks_for.get(self.owners[model], model) != model for model in refused):
                return  # who speaks for what has to be settled first
            meant = {model: self._meaning(model) for model in refused}
            specs = {model: spec for model, spec in (specs | meant).items() if spec is not None}
            again = dict.fromkeys([*missing, *(other for model in refused for other in referring.get(model, ()))])
            missing, refused = {}, set()
            for model in again:
                if self.owners[model] in self.refusals or model in self.rolled_back:
                    continue  # it does not mean what its file says
                result = link(specs[model], specs)
                if isinstance(result, tuple):
                    missing[model] = result

    def _to_link(self, specs: Mapping[str, ModelSpec]) -> list[str]:
        """The models to link: those that changed, that refer to one that did, or that were refused before."""
        live = self.before.live
        looked_at, touched = self._looked_at(specs)
        behind = self._behind & specs.keys()
        looked_at, touched = looked_at | behind, touched | behind
        found = []
        for model in looked_at if len(looked_at) == 1 else [model for model in specs if model in looked_at]:
            path, mine = self.owners[model], live.get(model)
            code_changed = self.code is not self.before.code and self._has_handlers(specs[model])
            if model not in touched and not code_changed and mine is not None and mine.path == path:
                needs = {ref.model for ref in mine.revision.linked.targets}
                if path not in self.before.refusals and not needs & touched:
                    continue
            found.append(model)
        return found

    def _has_handlers(self, spec: ModelSpec) -> bool:
        return self._allow_handlers and any(handlers(spec))

    def _parsed(self, path: str) -> Parsed:
        parsed = self.files[path].parsed
        assert parsed is not None  # noqa: S101 - a valid file was parsed
        return parsed

    def _code_of(self, model: str, spec: ModelSpec) -> Code | tuple[CodeFault, ...]:
        """What the handlers of a model need: as it is now, or as it was for what serves in its place."""
        if model in self.rolled_back:
            return self.rolled_back[model].code
        path = self.owners[model]
        if path in self.refusals:
            live = self.before.live.get(model)
            return self._applied[model].code if live is None else live.revision.linked.code
        if self._sources is None:
            self._sources = {one.path: one.content for one in self.code.values() if one.content is not None}
        return gather(spec, path.rpartition("/")[0], self._sources)

    def _looked_at(self, specs: Mapping[str, ModelSpec]) -> tuple[set[str], set[str]]:
        """The models that may have to be linked again (without knowing better, all), and those that did change."""
        live = self.before.live
        if not self.few:
            looked_at = set(specs)
        else:
            perhaps = {self.before.speaks_for[path] for path in self._perhaps_refused()}
            looked_at = (perhaps & specs.keys()) | (specs.keys() - live.keys())
        touched = {model for model in looked_at if model not in live or live[model].spec is not specs[model]}
        touched |= live.keys() - specs.keys()
        if self.few:
            referrers = self.before.referrers
            looked_at |= {other for model in touched for other in referrers.get(model, ()) if other in specs}
        return looked_at, touched

    def _meant(self) -> dict[str, ModelSpec]:
        """What each model would mean: its valid new content, else what serves, else what served."""
        specs: dict[str, ModelSpec] = {}
        looked_at = list(self.owners)
        if self.few:
            specs = copied(self.before.specs)
            speaks_for = self.before.speaks_for
            looked_at = [speaks_for[path] for path in {*self._perhaps_refused(), *self.refusals}]
        for model in looked_at:
            if model not in self.unloaded and (meant := self._meaning(model)) is not None:
                specs[model] = meant
        return specs

    def _meaning(self, model: str) -> ModelSpec | None:
        """What one model would mean."""
        path = self.owners[model]
        spec = self.files[path].spec
        if model in self.rolled_back:
            return self.rolled_back[model].spec
        if path not in self.refusals and spec is not None:
            return spec
        if model in self.before.live:
            return self.before.live[model].spec
        # What the catalog says was served last, for a file that is refused at a start.
        applied = self._applied.get(model)
        return None if applied is None or applied.state != "live" else self._kept(applied)

    def _kept(self, applied: Applied) -> ModelSpec | None:
        """What a source of the catalog means: parsed once, however many models are refused."""
        if applied.model not in self._kept_specs:
            self._kept_specs[applied.model] = parse(applied.source, applied.file).spec
        return self._kept_specs[applied.model]

    def _remembered(self, specs: Mapping[str, ModelSpec]) -> dict[str, ModelSpec]:
        """All specs that the catalog knows, parked and unloaded ones too, under the given ones."""
        remembered = {
            model: spec
            for model, applied in self._applied.items()
            if model not in specs and (spec := self._kept(applied)) is not None
        }
        return remembered | dict(specs)

    def live(self) -> dict[str, Live]:
        """What would serve: what served before, without what is gone, with what was built."""
        before = self.before.live
        if self.few:
            speaking = {self.before.speaks_for[path] for path in self._changed} & before.keys()
            return copied(before) | {model: self._up_to_date(before[model]) for model in speaking} | self.built
        kept = {
            model: self._up_to_date(live)
            for model, live in before.items()
            if model in self.owners and model not in self.unloaded
        }
        return kept | self.built

    def _referrers(self, live: Mapping[str, Live]) -> Mapping[str, frozenset[str]]:
        before = self.before.live
        same = len(live) == len(before) and all(
            model in before and referred(one.revision) == referred(before[model].revision)
            for model, one in self.built.items()
        )
        return self.before.referrers if self.few and same else referrers_of(one.revision for one in live.values())

    def _up_to_date(self, live: Live) -> Live:
        """The same revision, beside the newest content of its file that means the same."""
        entry = self.files.get(live.path)
        if entry is None or live.path in self.refusals or entry.source.digest == live.digest:
            return live
        return replace(live, digest=entry.source.digest)

    def so_far(self, now: World, waiting: Mapping[str, LinkedModel]) -> World:
        """The world in the middle of a start: what serves `now`, and what was built since.

        The `waiting` models are still to be built; what is wrong with their files counts when they are.
        """
        paths = {self.owners[model] for model in waiting}
        refusals = {path: refusal for path, refusal in self.refusals.items() if path not in paths}
        awaited = {ref.model for model, one in waiting.items() for ref in one.targets if ref.model != model}
        world = self._world(dict(now.live) | self.built, refusals)
        return replace(world, waiting=frozenset(waiting), awaited=frozenset(awaited & world.live.keys()))

    def world(self) -> World:
        """The next world."""
        return self._world(self.live(), self.refusals)

    def sizes(self) -> dict[str, int]:
        """How many bytes the file of each model has."""
        return {model: len(self.files[path].source.content or b"") for model, path in self.owners.items()}

    def _world(self, live: Mapping[str, Live], refusals: Mapping[str, Refusal]) -> World:
        return World(
            files=self.files,
            owners=self.owners,
            live=MappingProxyType(live),
            specs=MappingProxyType(self._specs),
            referrers=self._referrers(live),
            refusals=MappingProxyType(refusals),
            unloaded=frozenset(model for model in self.unloaded if model in self.owners),
            rolled_back=MappingProxyType(self.rolled_back),
            code=self.code,
            speaks_for=self.before.speaks_for if self.owners is self.before.owners else EMPTY,
        )
