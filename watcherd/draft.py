"""A reload in the making: which file speaks for which model, what each would mean, who is refused.

Owns settling and linking, the two steps that look at all files together. Does not own building
what they lead to, nor when (reload).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType

from watcherd.directory import SourceFile
from watcherd.errors import WatcherdError
from watcherd.ledger import FileEntry, Live, Refusal, Rollback, World, settle_owners
from watcherd.pim import CodeFault, code_diagnostics, gather, handlers, link, link_diagnostics, owned_elsewhere, parse
from watcherd.pim.diagnostics import Diagnostic
from watcherd.pim.spec import NO_CODE, Code, LinkedModel, ModelSpec, fold
from watcherd.revision import Revision
from watcherd.store import Applied, Rejection, SchemaPlan


class RollbackRefusedError(WatcherdError):
    """A kept source cannot serve: the data or another model stands in its way. Nothing has changed."""

    def __init__(self, domain: str, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__(f"{domain} cannot be rolled back: {diagnostics[0].message}")
        self.diagnostics = diagnostics


class Draft:
    """One reload in the making. It is tried in rounds: each that refuses a file starts the next.

    `built` is what this round would put into service; `compiled` keeps what earlier rounds made;
    `expanded` are the plans that were applied, each for its revision;
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
        code: Mapping[str, SourceFile] = MappingProxyType({}),
        allow_handlers: bool = False,
    ) -> None:
        self.before = world
        self.code = code
        self._allow_handlers = allow_handlers
        self._sources: Mapping[str, bytes] | None = None
        self.files = files
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
        for path, entry in files.items():
            if entry.spec is None:
                self.refuse(path, entry.own_diagnostics)

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
        self._ordered = rollback
        self.rolled_back[rollback.spec.name] = rollback

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

    def settle(self) -> bool:
        """Begin a round: say which file speaks for each model; False if a file lost and is refused."""
        self.built = {}
        self.owners, losers = settle_owners(self.files, self.refusals, self.before.owners, self.before.live)
        self.rolled_back = {
            model: rollback
            for model, rollback in self.rolled_back.items()
            if model in self.owners and self.files[self.owners[model]].source.digest == rollback.overrides
        }
        for path, owner in losers.items():
            entry = self.files[path]
            if path not in self.refusals and entry.parsed is not None:
                self.refuse_more(path, [owned_elsewhere(entry.parsed, self.files[owner].source.display)])
                return False
        return True

    def link(self) -> dict[str, LinkedModel] | None:
        """Link every model that changed or that refers to one that did; None if a file was refused."""
        specs = self._specs()
        live = self.before.live
        touched = {model for model, spec in specs.items() if model not in live or live[model].spec is not spec}
        touched |= live.keys() - specs.keys()
        linked: dict[str, LinkedModel] = {}
        for model, spec in specs.items():
            path = self.owners[model]
            mine = live.get(model)
            has_handlers = self._allow_handlers and any(handlers(spec))
            code_changed = has_handlers and self.code is not self.before.code
            if model not in touched and not code_changed and mine is not None and mine.path == path:
                needs = {ref.model for ref in mine.revision.linked.targets}
                if path not in self.before.refusals and not needs & touched:
                    continue
            code = self._code_of(model, spec) if has_handlers else NO_CODE
            if isinstance(code, tuple):
                entry = self.files[path]
                assert entry.parsed is not None  # noqa: S101 - a valid file was parsed
                self.refuse_more(path, code_diagnostics(entry.parsed, code))
                return None
            result = link(spec, specs, code)
            if isinstance(result, LinkedModel):
                linked[model] = result
            elif model in self.rolled_back:
                self.give_up_rollback(model, link_diagnostics(self.rolled_back[model].parsed, result, specs))
                return None
            elif path not in self.refusals:
                entry = self.files[path]
                assert entry.parsed is not None  # noqa: S101 - a valid file was parsed
                self.refuse_more(path, link_diagnostics(entry.parsed, result, specs))
                return None
            elif mine is None:
                # The last good source at a start: what it refers to need not be in service.
                result = link(spec, self._remembered(specs), code)
                if isinstance(result, LinkedModel):
                    linked[model] = result
        return linked

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

    def _specs(self) -> dict[str, ModelSpec]:
        """What each model would mean: its valid new content, else what serves, else what served."""
        specs: dict[str, ModelSpec] = {}
        for model, path in self.owners.items():
            if model in self.unloaded:
                continue
            entry = self.files[path]
            if model in self.rolled_back:
                specs[model] = self.rolled_back[model].spec
            elif path not in self.refusals and entry.spec is not None:
                specs[model] = entry.spec
            elif model in self.before.live:
                specs[model] = self.before.live[model].spec
            elif (last_good := self._last_good(model)) is not None:
                specs[model] = last_good
        return specs

    def _last_good(self, model: str) -> ModelSpec | None:
        """What the catalog says was served last, for a file that is refused at a start."""
        applied = self._applied.get(model)
        if applied is None or applied.state != "live":
            return None
        return parse(applied.source, applied.file).spec

    def _remembered(self, specs: Mapping[str, ModelSpec]) -> dict[str, ModelSpec]:
        """All specs that the catalog knows, parked and unloaded ones too, under the given ones."""
        remembered = {
            model: spec
            for model, applied in self._applied.items()
            if model not in specs and (spec := parse(applied.source, applied.file).spec) is not None
        }
        return remembered | dict(specs)

    def live(self) -> dict[str, Live]:
        """What would serve: what served before, without what is gone, with what was built."""
        kept = {
            model: self._up_to_date(live)
            for model, live in self.before.live.items()
            if model in self.owners and model not in self.unloaded
        }
        return kept | self.built

    def _up_to_date(self, live: Live) -> Live:
        """The same revision, beside the newest content of its file that means the same."""
        entry = self.files.get(live.path)
        if entry is None or live.path in self.refusals or entry.source.digest == live.digest:
            return live
        return replace(live, digest=entry.source.digest)

    def world(self) -> World:
        """The next world."""
        return World(
            files=self.files,
            owners=self.owners,
            live=MappingProxyType(self.live()),
            refusals=MappingProxyType(self.refusals),
            unloaded=self.unloaded.intersection(self.owners),
            rolled_back=MappingProxyType(self.rolled_back),
            code=self.code,
        )


def dependencies_first(linked: Mapping[str, LinkedModel]) -> Iterator[list[str]]:
    """The models in steps: what a model of one step refers to is in an earlier one; cycles share one."""
    needs = {
        model: {ref.model for ref in one.targets if ref.model != model and ref.model in linked}
        for model, one in linked.items()
    }
    while needs:
        step = [model for model, wanted in needs.items() if not wanted & needs.keys()] or list(needs)
        yield step
        for model in step:
            del needs[model]
