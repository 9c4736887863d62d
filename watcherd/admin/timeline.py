"""The reloads since the start: when, how long, and what each changed for clients.

Owns the last reloads, told from events, and the comparison of the APIs before and after. Of what
served before it keeps the specs alone: a retired revision must be free to go. Does not own what
counts as a change (plan) nor the revisions that are kept across restarts (store).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from watcherd import events
from watcherd.ledger import World
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import fold
from watcherd.plan import ApiChange
from watcherd.plan.api import api_changes
from watcherd.revision import Operation

KEPT = 200
"""Reloads that are remembered."""

MOST_MODELS = 25
MOST_CHANGES = 60
"""How many models of a reload, and changes of a model, are told one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a reload did to one model.

    `what` is `loaded`, `changed`, `unloaded`, `rejected` or `rolled back`; `note` says more of it in
    a sentence; `changes` are at most `MOST_CHANGES`, of which there are `total`.
    """

    model: str
    what: str
    revision: int | None = None
    note: str = ""
    changes: tuple[ApiChange, ...] = ()
    total: int = 0
    tables: tuple[str, ...] = ()

    @property
    def breaking(self) -> int:
        """How many of the changes that are told break clients."""
        return sum(change.breaking for change in self.changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One reload. `more` counts the models that are not told one by one; `error` is why it failed, if it did."""

    number: int
    at: datetime
    reason: str
    ms: float
    generation: int | None = None
    stages: Mapping[str, float] = field(default_factory=dict)
    models: tuple[News, ...] = ()
    more: int = 0
    error: str = ""


_Seen = tuple[LinkedModel, tuple[Operation, ...]]


class Timeline:
    """Listens to events; `world` is asked for what serves when a reload has ended."""

    def __init__(self, world: Callable[[], World]) -> None:
        self.entries: deque[Entry] = deque(maxlen=KEPT)
        """Newest first."""
        self._world = world
        self._seen: dict[str, _Seen] = {}
        self._last: dict[str, Entry] = {}
        self._pending: list[events.Event] = []
        self._count = 0

    def last_of(self, model: str) -> Entry | None:
        """The last reload that did something to a (folded) model, if it is remembered."""
        return self._last.get(model)

    def heard(self, event: events.Event) -> None:
        """Note an event. Neither blocks nor raises."""
        match event:
            case (
                events.ModelLoaded()
                | events.ModelSwapped()
                | events.ModelUnloaded()
                | events.ModelRolledBack()
                | events.ModelRejected()
                | events.SchemaApplied()
            ):
                self._pending.append(event)
            case events.ReloadStarted():
                self._pending.clear()
            case events.ReloadFinished():
                self._note(event.reason, event.ms, self._told(), generation=event.generation, stages=event.stages)
            case events.ReloadFailed():
                error = event.error or "an unexpected error; the log has it"
                # A start may fail when some models serve already; of any other reload there is nothing to tell.
                self._note(event.reason, event.ms, self._told(), error=error)
            case _:
                pass

    def _note(  # noqa: PLR0913 - what an entry is made of
        self,
        reason: str,
        ms: float,
        news: list[News],
        *,
        generation: int | None = None,
        stages: Mapping[str, float] | None = None,
        error: str = "",
    ) -> None:
        self._pending.clear()
        if not news and not error:
            return  # it was looked, and nothing was different
        self._count += 1
        entry = Entry(
            number=self._count,
            at=datetime.now(UTC),
            reason=reason,
            ms=ms,
            generation=generation,
            stages=stages or {},
            models=tuple(news[:MOST_MODELS]),
            more=max(0, len(news) - MOST_MODELS),
            error=error,
        )
        self.entries.appendleft(entry)
        for one in news:
            self._last[fold(one.model)] = entry
        known = self._world().owners
        for model in [model for model in self._last if model not in known]:
            del self._last[model]

    def _told(self) -> list[News]:
        world = self._world()
        tables = {event.model: event.steps for event in self._pending if isinstance(event, events.SchemaApplied)}
        rolled_back = {event.model for event in self._pending if isinstance(event, events.ModelRolledBack)}
        found = [self._news(event, world, tables, rolled_back) for event in self._pending]
        return sorted((news for news in found if news is not None), key=lambda news: news.model)

    def _news(
        self, event: events.Event, world: World, tables: Mapping[str, tuple[str, ...]], rolled_back: Iterable[str]
    ) -> News | None:
        match event:
            case events.ModelLoaded(model, revision, _, _, routes):
                self._compare(world, model)
                note = f"{routes} route{'' if routes == 1 else 's'}"
                return News(model=model, what="loaded", revision=revision, note=note, tables=tables.get(model, ()))
            case events.ModelSwapped(model, revision):
                changes = self._compare(world, model)
                return News(
                    model=model,
                    what="rolled back" if model in rolled_back else "changed",
                    revision=revision,
                    note="" if changes else "nothing that a client would notice",
                    changes=changes[:MOST_CHANGES],
                    total=len(changes),
                    tables=tables.get(model, ()),
                )
            case events.ModelUnloaded(model, _, reason):
                self._seen.pop(fold(model), None)
                return News(model=model, what="unloaded", note="by an administrator" if reason == "admin" else reason)
            case events.ModelRejected(model, file, serving, errors, first):
                more = f", and {errors - 1} more" if errors > 1 else ""
                return News(model=model, what="rejected", revision=serving, note=f"{file}:{first}{more}")
            case _:
                return None

    def _compare(self, world: World, domain: str) -> tuple[ApiChange, ...]:
        """What is different from what was served of a model, which is forgotten for what is served."""
        model = fold(domain)
        live = world.live.get(model)
        if live is None:
            return ()
        before = self._seen.get(model)
        new = self._seen[model] = live.revision.linked, live.revision.operations
        return () if before is None else api_changes(*before, *new)
