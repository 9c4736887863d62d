"""What a reload did, as one frozen value, and the events that tell of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from watcherd import events
from watcherd.ledger import Live, World
from watcherd.pim.diagnostics import Diagnostic

SILENT = frozenset({"start", "restart", "reconcile"})
"""Reasons for which a reload that finds nothing new says nothing."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A file whose latest content does not serve."""

    model: str
    file: str
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What a reload did, by model name as declared.

    `refused` are all files refused now; `world` is what came of it, or would have come, `news` what
    serves otherwise in it than before, `gone` the (folded) models that serve no more; `stages` are
    milliseconds by stage; `unread` says why the directory could not be read, if it could not.
    """

    reason: str
    generation: int
    loaded: tuple[str, ...]
    swapped: tuple[str, ...]
    unloaded: tuple[str, ...]
    unchanged: tuple[str, ...]
    refused: tuple[Refused, ...]
    ms: float
    world: World
    news: Mapping[str, Live]
    gone: tuple[str, ...]
    stages: Mapping[str, float]
    unread: str | None = None

    @property
    def changed(self) -> bool:
        """Whether the route table was swapped."""
        return bool(self.loaded or self.swapped or self.unloaded)


class Stages:
    """How long each stage of one reload took, in milliseconds; a stage that comes again adds up."""

    def __init__(self, ahead_seconds: float = 0.0) -> None:
        """For `ahead_seconds` files have been read already."""
        self.ms: dict[str, float] = {"read": ahead_seconds * 1000} if ahead_seconds else {}
        self._started = time.monotonic() - ahead_seconds

    def total(self) -> float:
        """Since the first stage began."""
        return round((time.monotonic() - self._started) * 1000, 2)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time of a `with` block to a stage, however the block ends."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.ms[stage] = self.ms.get(stage, 0.0) + (time.monotonic() - started) * 1000


def compare(before: World, after: World, *, reason: str, generation: int, stages: Stages) -> Report:
    """Say what differs between two worlds; `generation` is the one before."""
    loaded, swapped, unchanged = [], [], []
    news, away = after.news(before), _gone(before, after)
    for model, live in news.items():
        old = before.live.get(model)
        if old is None:
            loaded.append(live.spec.domain)
        elif old.revision is not live.revision:
            swapped.append(live.spec.domain)
        elif old.digest != live.digest:
            unchanged.append(live.spec.domain)
    unloaded = [before.live[model].spec.domain for model in away]
    return Report(
        reason,
        generation + 1 if loaded or swapped or unloaded else generation,
        tuple(loaded),
        tuple(swapped),
        tuple(unloaded),
        tuple(unchanged),
        tuple(
            Refused(after.name_of(path), after.files[path].source.display, refusal.diagnostics)
            for path, refusal in sorted(after.refusals.items())
        ),
        stages.total(),
        after,
        news,
        away,
        {stage: round(taken, 2) for stage, taken in stages.ms.items()},
    )


def _gone(before: World, after: World) -> tuple[str, ...]:
    """The models that serve no more, in the order in which they were known."""
    if before.live.keys() <= after.live.keys():
        return ()
    missing = before.live.keys() - after.live.keys()
    return tuple(model for model in before.live if model in missing)


def tell(before: World, report: Report) -> Iterator[events.Event]:
    """The events of a swap: one a model that something happened to."""
    after = report.world
    for model, live in report.news.items():
        old = before.live.get(model)
        name, number, routes = live.spec.domain, live.revision.number, len(live.revision.operations)
        file = after.files[live.path].source.display
        if old is None:
            yield events.ModelLoaded(name, number, report.generation, file, routes)
        elif old.revision is not live.revision:
            yield events.ModelSwapped(name, number, report.generation, file, routes)
        elif old.digest != live.digest:
            yield events.ModelUnchanged(name, file)
    for model in report.gone:
        live = before.live[model]
        reason = "admin" if model in after.unloaded else _renamed(after, model) or _moved(after, live) or "file removed"
        yield events.ModelUnloaded(live.spec.domain, report.generation, reason)
    yield from _rolled_back(before, after, report.generation)
    for path in _newly_refused(before, after):
        yield _rejected(after, path)


def finished(before: World, report: Report) -> Iterator[events.Event]:
    """The event of a whole reload, if there is anything to say; `before` is the world when it began."""
    if report.changed or any(_newly_refused(before, report.world)) or report.reason not in SILENT:
        yield events.ReloadFinished(
            report.reason,
            report.generation,
            swapped=len(report.loaded) + len(report.swapped),
            unloaded=len(report.unloaded),
            unchanged=len(report.unchanged),
            rejected=len(report.refused),
            ms=report.ms,
            stages=report.stages,
        )


def _rolled_back(before: World, after: World, generation: int) -> Iterator[events.Event]:
    for model, rollback in after.rolled_back.items():
        if rollback is not before.rolled_back.get(model) and model in after.live:
            live = after.live[model]
            file = after.files[live.path].source.display
            yield events.ModelRolledBack(live.spec.domain, live.revision.number, generation, file)


def _renamed(after: World, old: str) -> str | None:
    new = next((live.spec.domain for live in after.live.values() if live.plan.renamed_model == old), None)
    return None if new is None else f"renamed to {new}"


def _moved(after: World, old: Live) -> str | None:
    """Where the file is still there, and speaks for another model now."""
    new = after.live_of(old.path) if old.path in after.files else None
    return None if new is None else f"its file declares {new.spec.domain}"


def _newly_refused(before: World, after: World) -> Iterator[str]:
    """The files that are refused now, or for another reason than before."""
    for path, refusal in after.refusals.items():
        old = before.refusals.get(path)
        if old is None or old.diagnostics != refusal.diagnostics:
            yield path


def _rejected(world: World, path: str) -> events.ModelRejected:
    errors = [item for item in world.refusals[path].diagnostics if item.is_error]
    first, live = errors[0], world.live_of(path)
    return events.ModelRejected(
        world.name_of(path),
        world.files[path].source.display,
        None if live is None else live.revision.number,
        len(errors),
        f"{first.line}:{first.column} {first.code} {first.message}",
    )
