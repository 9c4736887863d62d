"""The ledger: what every file says, which file serves which model, and what serves now.

All values here are frozen: a reload builds a new `World` and assigns it once, together with the
route table, so a reload that fails anywhere leaves nothing half-changed. The functions are pure.
Does not own reading files (directory), judging them (pim, store) nor the order of a reload.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import compress
from operator import is_, is_not
from types import MappingProxyType
from typing import Any, TypeVar

from watcherd.directory import SourceFile
from watcherd.pim import CODES, Parsed
from watcherd.pim.diagnostics import Diagnostic
from watcherd.pim.linked import NO_CODE, Code, LinkedModel
from watcherd.pim.spec import EMPTY, ModelSpec, fold
from watcherd.revision import Revision
from watcherd.store import Notice, SchemaPlan

K = TypeVar("K")
V = TypeVar("V")


class State(StrEnum):
    """What a file's model is doing, as `GET /admin/pim` shows it."""

    STARTING = "starting"
    LIVE = "live"
    STALE = "stale"
    REJECTED = "rejected"
    UNLOADED = "unloaded"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One model file as it was last read. `parsed` is None where it could not be read at all."""

    source: SourceFile
    parsed: Parsed | None

    @property
    def path(self) -> str:
        """Relative path, the key of the file."""
        return self.source.path

    @property
    def spec(self) -> ModelSpec | None:
        """What the file means, if it is valid by itself."""
        return None if self.parsed is None else self.parsed.spec

    @property
    def own_diagnostics(self) -> tuple[Diagnostic, ...]:
        """What reading and parsing found, other models and the database apart."""
        if self.parsed is not None:
            return self.parsed.diagnostics
        return () if self.source.diagnostic is None else (self.source.diagnostic,)


@dataclass(frozen=True, slots=True)
class Live:
    """A model in service: its revision, the file and content it came from, its schema plan.

    `warnings` are what was found on the way into service, such as that its handlers may not run.
    """

    revision: Revision
    plan: SchemaPlan
    path: str
    digest: str
    loaded_at: datetime
    warnings: tuple[Diagnostic, ...] = ()

    @property
    def spec(self) -> ModelSpec:
        """What is served."""
        return self.revision.linked.spec


@dataclass(frozen=True, slots=True)
class Rollback:
    """An older source that serves instead of a file's, for as long as the file's digest is `overrides`.

    `code` is what its handlers were then.
    """

    source: bytes
    parsed: Parsed
    overrides: str
    code: Code = NO_CODE

    @property
    def spec(self) -> ModelSpec:
        """What serves: a kept source was valid, and still is."""
        assert self.parsed.spec is not None  # noqa: S101 - whoever makes one has looked
        return self.parsed.spec


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a file's latest content does not serve.

    `refused` is what the database refused, kept so that an unchanged file is not tried again by
    every reload of another one.
    """

    diagnostics: tuple[Diagnostic, ...]
    since: datetime
    refused: LinkedModel | None = None


@dataclass(frozen=True, slots=True)
class World:
    """Everything that is known between two reloads.

    `files` and `refusals` by path; `owners` (model -> path) says which file speaks for a model,
    `speaks_for` (path -> model) is the same the other way round; `live` by model; `unloaded` are
    models that an administrator took out of service, `rolled_back` (by model) those that he took back.
    `code` are the Python files beside the models, by path; empty where handlers are not allowed.
    `specs` is what each model means, whether it serves or not; `referrers` are, for each model that
    others refer to, the live ones that do. In the middle of a start `waiting` are the models that are
    still to be built, `awaited` the live ones that any of them refers to.
    """

    files: Mapping[str, FileEntry] = field(default_factory=lambda: EMPTY)
    owners: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    live: Mapping[str, Live] = field(default_factory=lambda: EMPTY)
    refusals: Mapping[str, Refusal] = field(default_factory=lambda: EMPTY)
    unloaded: frozenset[str] = frozenset()
    rolled_back: Mapping[str, Rollback] = field(default_factory=lambda: EMPTY)
    code: Mapping[str, SourceFile] = field(default_factory=lambda: EMPTY)
    specs: Mapping[str, ModelSpec] = field(default_factory=lambda: EMPTY, repr=False, compare=False)
    referrers: Mapping[str, frozenset[str]] = field(default_factory=lambda: EMPTY, repr=False, compare=False)
    speaks_for: Mapping[str, str] = field(default_factory=lambda: EMPTY, repr=False, compare=False)
    waiting: frozenset[str] = frozenset()
    awaited: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """`speaks_for` follows from `owners`; whoever has taken these over may give it as well."""
        if len(self.speaks_for) != len(self.owners):
            turned = {path: model for model, path in self.owners.items()}
            object.__setattr__(self, "speaks_for", MappingProxyType(turned))

    def news(self, before: World) -> dict[str, Live]:
        """What serves otherwise than before, or since then only; of a thousand models a few."""
        return changed(before.live, self.live)

    def live_of(self, path: str) -> Live | None:
        """What serves of the model that a file speaks for."""
        model = self.speaks_for.get(path)
        return None if model is None else self.live.get(model)

    def name_of(self, path: str) -> str:
        """The model that a file speaks for, as declared; else its printable path."""
        live = self.live_of(path)
        if live is not None:
            return live.spec.domain
        return self._declared(path) or self.speaks_for.get(path) or self.files[path].source.display

    def path_of(self, name: str) -> str | None:
        """The file of a model, by its name in either spelling: that which speaks for it, else one of its name."""
        model = fold(name)
        path = self.owners.get(model)
        if path in self.files:
            return path
        return next((path for path in self.files if fold(self.name_of(path)) == model), None)

    def state_of(self, path: str) -> State:
        """The state of a file's model."""
        if self.speaks_for.get(path) in self.unloaded:
            return State.UNLOADED
        if self.live_of(path) is None:
            return State.STARTING if self.speaks_for.get(path) in self.waiting else State.REJECTED
        if self.speaks_for.get(path) in self.rolled_back:
            return State.ROLLED_BACK
        return State.STALE if path in self.refusals else State.LIVE

    def diagnostics_of(self, path: str) -> tuple[Diagnostic, ...]:
        """All findings about a file's latest content, warnings included."""
        refusal = self.refusals.get(path)
        if refusal is not None:
            return refusal.diagnostics
        entry = self.files[path]
        live = self.live_of(path)
        if live is None or live.spec is not entry.spec or entry.parsed is None:
            return entry.own_diagnostics
        noticed = [as_diagnostic(notice, entry.parsed) for notice in live.plan.notices]
        return tuple(
            sorted(
                (*entry.own_diagnostics, *noticed, *live.warnings), key=lambda item: (item.line, item.column, item.code)
            )
        )

    def dependants(self, model: str) -> list[str]:
        """The other live models that refer to a model, and those that are still to be built, as declared."""
        live = (
            live.spec.domain
            for name, live in self.live.items()
            if name != model and any(ref.model == model for ref in live.revision.linked.targets)
        )
        waiting = (self.specs[name].domain for name in self.waiting - {model} if model in self.specs[name].depends_on)
        return sorted({*live, *waiting})

    def _declared(self, path: str) -> str | None:
        parsed = self.files[path].parsed
        return None if parsed is None else parsed.domain


def copied(mapping: Mapping[K, V]) -> dict[K, V]:
    """A dictionary with what is in another; of a thousand entries as quickly as Python can."""
    return mapping.copy() if isinstance(mapping, MappingProxyType) else dict(mapping)


def changed(before: Mapping[K, V], after: Mapping[K, V]) -> dict[K, V]:
    """What is new, or another object than before. Of thousands a few, and found as quickly as Python can."""
    if len(before) == len(after) and all(map(is_, before, after)):  # an edit leaves the order as it was
        return dict(compress(after.items(), map(is_not, after.values(), before.values())))
    return {key: value for key, value in after.items() if before.get(key) is not value}


def as_diagnostic(notice: Notice, parsed: Parsed) -> Diagnostic:
    """What the store says of a file, at the attribute (or entity, or model) that it is about."""
    path: list[str | int] = []
    if notice.entity is not None:
        path += ["entities", notice.entity]
        if notice.attribute is not None:
            path += ["attributes", notice.attribute]
    place = parsed.locate(*path)
    if notice.using is not None:
        place = parsed.locate_character((*path, "using"), notice.using, notice.offset)
    severity = CODES[notice.code].severity
    return Diagnostic(notice.code, severity, parsed.file, place.line, place.column, notice.message, notice.hint)


def settle_owners(
    files: Mapping[str, FileEntry], refused: Iterable[str], before: Mapping[str, str], live: Mapping[str, Live]
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Say which file speaks for each model.

    A valid file claims the domain it declares. A refused one goes on speaking for the model that
    it spoke for `before` (model -> path), so that a mistake in it never hands its model to
    somebody else; if there was none, it claims what it declares. Of several claimants the one
    that spoke before stays, unless it declares another domain by now and one of the others is
    valid: that one is what the directory says of the model. Else it is one that says what is
    `live` (it was renamed), then the first by path, valid ones first.

    Returns the owners (model -> path) and the losers (path -> path of the owner).
    """
    refused = set(refused)
    spoke_for = {path: model for model, path in before.items()}
    claims: dict[str, list[str]] = {}
    for path, entry in files.items():
        model = _claim(entry, spoke_for.get(path), refused=path in refused)
        if model is not None:
            claims.setdefault(model, []).append(path)
    owners: dict[str, str] = {}
    losers: dict[str, str] = {}
    for model, paths in claims.items():
        owner = before.get(model)
        if owner not in paths or (_moved_away(files[owner], model) and not refused.issuperset(paths)):
            renamed = [path for path in paths if model in live and files[path].spec == live[model].spec]
            owner = min(renamed or paths, key=lambda path: (path in refused, path))
        owners[model] = owner
        losers.update({path: owner for path in paths if path != owner})
    return MappingProxyType(owners), MappingProxyType(losers)


def referrers_of(revisions: Iterable[Revision]) -> Mapping[str, frozenset[str]]:
    """For each model, the others that refer to it."""
    found: dict[str, set[str]] = {}
    for one in revisions:
        for target in referred(one):
            found.setdefault(target, set()).add(one.model)
    return MappingProxyType({model: frozenset(others) for model, others in found.items()})


def referred(revision: Revision) -> set[str]:
    """The other models that a model refers to."""
    return {ref.model for ref in revision.linked.targets} - {revision.model}


def _moved_away(entry: FileEntry, model: str) -> bool:
    """Whether a file is valid by itself and meant for another model."""
    return entry.spec is not None and entry.spec.name != model


def _claim(entry: FileEntry, before: str | None, *, refused: bool) -> str | None:
    if not refused and entry.spec is not None:
        return entry.spec.name
    if before is not None:
        return before
    if entry.parsed is not None and entry.parsed.domain is not None:
        return fold(entry.parsed.domain)
    return None


def shrinks(old: ModelSpec, new: ModelSpec) -> bool:
    """Whether `new` lacks something that `old` has: perhaps the rest is still being written."""
    if old.name != new.name:
        return True
    pairs: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = [
        (old.entities, new.entities),
        (old.services, new.services),
        (old.flows, new.flows),
        (old.rules, new.rules),
    ]
    for name, entity in old.entities.items():
        if name in new.entities:
            pairs.append((entity.attributes, new.entities[name].attributes))
            if len(new.entities[name].constraints) < len(entity.constraints):
                return True
    for name, service in old.services.items():
        if name in new.services and len(new.services[name].methods) < len(service.methods):
            return True
    return any(before.keys() - after.keys() for before, after in pairs)
