"""What the dashboard's first page shows: a line for each file, and the daemon as a whole.

Plain values made from frozen ones, for a template. Does not own how they look.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from watcherd.admin.pages import q
from watcherd.admin.parts import Parts
from watcherd.admin.rates import Rate
from watcherd.admin.timeline import Timeline
from watcherd.drain import Drains
from watcherd.followers import Survey
from watcherd.ledger import State, World
from watcherd.pace import Pauses, apart
from watcherd.pim.diagnostics import Diagnostic
from watcherd.pim.spec import fold

STATES: Mapping[State, tuple[str, str]] = {
    State.STARTING: ("Starting", "The daemon starts, and has not built this model yet"),
    State.LIVE: ("Live", "What the file says is served"),
    State.STALE: ("Stale", "The file's newer content was rejected: the last good revision serves on"),
    State.REJECTED: ("Rejected", "The file has errors, and nothing serves"),
    State.ROLLED_BACK: ("Rolled back", "An older revision serves, until the file changes or is loaded"),
    State.UNLOADED: ("Unloaded", "Taken out of service by an administrator; file and data stay"),
}
"""What each state is called and what it means."""

URGENCY = (State.REJECTED, State.STALE, State.ROLLED_BACK)
"""The states that somebody should look at, those first that he should look at first."""

MOST_ROWS = 200


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the daemon: what is known, what workers hold (`survey`), how fast it goes (None: not known yet)."""

    world: World
    drains: Drains
    timeline: Timeline
    survey: Survey
    rates: Mapping[str, Rate] | None


async def look(parts: Parts) -> Seen:
    """Look once; where there are workers, they are asked."""
    survey = await parts.followers.survey()
    world = parts.reloader.world
    return Seen(world, parts.drains, parts.timeline, survey, _of_models(parts.rates.now(), world))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One file. `link` leads from `/` to its page; `model` is the domain that answers requests, if any."""

    name: str
    title: str
    file: str
    link: str
    state: State
    model: str | None
    revision: int | None
    version: str
    routes: int
    in_flight: int
    draining: int
    rate: Rate | None
    reloaded_at: datetime | None
    reload_ms: float | None
    errors: int
    warnings: int
    first: Diagnostic | None


async def rows(seen: Seen) -> list[Row]:
    """One for each file: what needs attention first, then by name. Made with pauses for requests."""
    pauses = Pauses()
    found = []
    for path in seen.world.files:
        found.append(row(seen, path))
        await pauses.take()
    return await apart(partial(sorted, found, key=_order), len(found))


def _order(one: Row) -> tuple[int, str, str]:
    return URGENCY.index(one.state) if one.state in URGENCY else len(URGENCY), one.name, one.file


def chosen(found: Iterable[Row], text: str, state: str) -> list[Row]:
    """Those whose name, title or file holds a text and, if one is named, of a state."""
    wanted = text.casefold().strip()
    return [
        one
        for one in found
        if (not state or one.state == state)
        and (not wanted or any(wanted in part.casefold() for part in (one.name, one.title, one.file)))
    ]


async def pulse(seen: Seen) -> dict[str, Any]:
    """What changes by itself, for every model that has something to say: in flight, draining, rates."""
    pauses = Pauses()
    models: dict[str, Any] = {}
    in_flight, rates = 0, seen.rates
    for model, live in seen.world.live.items():
        domain = live.spec.domain
        busy, draining = seen.survey.busy(live.revision), len(seen.drains.draining(model))
        rate = (rates or {}).get(domain)
        in_flight += busy
        if busy or draining or rate:
            models[domain] = [busy, draining, *_numbers(rate)]
        await pauses.take()
    total = None if rates is None else _numbers(sum(rates.values(), Rate()))
    return {"models": models, "in_flight": in_flight, "rates": total}


def link_of(world: World, path: str) -> str:
    """Where the page of a file's model is; of a file that speaks for no model, its own."""
    model = world.speaks_for.get(path)
    if model is None:
        return f"admin/file?path={q(world.files[path].source.display)}"
    return f"admin/models/{q(world.name_of(path))}"


def row(seen: Seen, path: str) -> Row:
    """The line of one file."""
    world, rates = seen.world, seen.rates
    model, live, file = world.speaks_for.get(path), world.live_of(path), world.files[path]
    spec = live.spec if live is not None else file.spec
    found = world.diagnostics_of(path)
    errors = [item for item in found if item.is_error]
    last = None if model is None else seen.timeline.last_of(model)
    return Row(
        name=world.name_of(path),
        title=spec.title if spec is not None else "",
        file=file.source.display,
        link=link_of(world, path),
        state=world.state_of(path),
        model=None if live is None else live.spec.domain,
        revision=None if live is None else live.revision.number,
        version=spec.version if spec is not None else "",
        routes=0 if live is None else len(live.revision.operations),
        in_flight=0 if live is None else seen.survey.busy(live.revision),
        draining=0 if model is None else len(seen.drains.draining(model)),
        rate=None if rates is None else rates.get(live.spec.domain if live is not None else "", Rate()),
        reloaded_at=last.at if last is not None else None if live is None else live.loaded_at,
        reload_ms=None if last is None else last.ms,
        errors=len(errors),
        warnings=len(found) - len(errors),
        first=next(iter(errors), None),
    )


def _of_models(rates: Mapping[str, Rate] | None, world: World) -> Mapping[str, Rate] | None:
    """The rates of what is served now: neither the host's own, nor those of what has gone."""
    if rates is None:
        return None
    served = ((domain, world.live.get(fold(domain))) for domain in rates)
    return {domain: rates[domain] for domain, live in served if live is not None and live.spec.domain == domain}


def _numbers(rate: Rate | None) -> list[float]:
    rate = rate or Rate()
    return [round(rate.requests, 2), round(rate.refused, 2), round(rate.failed, 2)]
