"""What the admin API shows of the world: plain JSON values made from frozen ones."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import partial
from operator import itemgetter
from typing import Any

from watcherd.compile.values import wire_moment
from watcherd.drain import Drains
from watcherd.followers import Survey
from watcherd.ledger import Live, World
from watcherd.pace import Pauses, apart
from watcherd.pim.coverage import Coverage, coverage
from watcherd.pim.diagnostics import Diagnostic
from watcherd.pim.spec import Json
from watcherd.report import Report
from watcherd.revision import Revision
from watcherd.store import Difference


async def listing(world: World, drains: Drains, generation: int, survey: Survey) -> dict[str, Any]:
    """`GET /admin/pim`: one entry per file, by name, and the workers where there are several. With pauses."""
    pauses = Pauses()
    entries = []
    for path in world.files:
        entries.append(entry(world, path, drains, survey))
        await pauses.take()
    return {
        "generation": generation,
        "workers": [dataclasses.asdict(worker) for worker in survey.workers],
        "pims": await apart(partial(sorted, entries, key=itemgetter("name", "file")), len(entries)),
    }


def entry(world: World, path: str, drains: Drains, survey: Survey) -> dict[str, Any]:
    """One file: its model's name, what state that is in, and why. In flight is what is so in any process."""
    file = world.files[path]
    model, live = world.speaks_for.get(path), world.live_of(path)
    spec = live.spec if live is not None else file.spec
    refusal = world.refusals.get(path)
    return {
        "name": world.name_of(path),
        "file": file.source.display,
        "state": world.state_of(path).value,
        "revision": None if live is None else live.revision.number,
        "version": None if spec is None else spec.version,
        "routes_count": 0 if live is None else len(live.revision.operations),
        "in_flight": 0 if live is None else survey.busy(live.revision),
        "draining": [] if model is None else [draining(revision, survey) for revision in drains.draining(model)],
        "loaded_at": None if live is None else wire_moment(live.loaded_at),
        "rejected_since": None if refusal is None else wire_moment(refusal.since),
        "diagnostics": [diagnostic(item) for item in world.diagnostics_of(path)],
    }


def full(  # noqa: PLR0913, PLR0917 - what is known of it, each from another part
    world: World, path: str, drains: Drains, survey: Survey, api_prefix: str, drift: Iterable[Difference]
) -> dict[str, Any]:
    """`GET /admin/pim/{name}`: the entry, and all that is known of what serves."""
    shown = entry(world, path, drains, survey) | {"drift": [dataclasses.asdict(one) for one in drift]}
    live = world.live_of(path)
    if live is None:
        return shown | {"endpoints": [], "tables": {}, "coverage": None, "spec": None}
    return shown | {
        "endpoints": endpoints(live.revision, api_prefix),
        "tables": tables(live),
        "coverage": covered(live).as_json(),
        "spec": plain(live.spec),
    }


def endpoints(revision: Revision, api_prefix: str) -> list[str]:
    """`METHOD /path` of every operation, as a person would call it."""
    return [f"{item.method} {api_prefix}/{revision.domain}{item.path}" for item in revision.operations]


def covered(live: Live) -> Coverage:
    """How much of what serves is enforced or can run."""
    return coverage(live.spec, handlers=bool(live.revision.linked.code.files))


def tables(live: Live) -> dict[str, Any]:
    """Entity -> its physical table and columns."""
    return {name: {"table": names.table, "columns": dict(names.columns)} for name, names in live.plan.names.items()}


def draining(revision: Revision, survey: Survey) -> dict[str, Any]:
    """A retired revision and who holds it; the worker where there are several."""
    now = time.monotonic()
    here = [
        {"method": request.method, "path": request.path, "age_seconds": round(now - request.entered, 3)}
        for request in revision.in_flight
    ]
    elsewhere = [
        {"method": held.method, "path": held.path, "age_seconds": round(held.age, 3), "worker": held.worker}
        for held in survey.held.get((revision.model, revision.number), ())
    ]
    held_by = [*here, *elsewhere]
    return {"revision": revision.number, "in_flight": len(held_by), "held_by": held_by}


def diagnostic(item: Diagnostic) -> dict[str, Any]:
    """A finding; its file stands beside, but for one about a handler's code."""
    return ({"file": item.file} if item.file.endswith(".py") else {}) | item.as_json()


def report(done: Report) -> dict[str, Any]:
    """What a reload changed and what it rejected."""
    return {
        "generation": done.generation,
        "loaded": list(done.loaded),
        "swapped": list(done.swapped),
        "unloaded": list(done.unloaded),
        "unchanged": list(done.unchanged),
        "rejected": [
            {"name": item.model, "file": item.file, "diagnostics": [diagnostic(found) for found in item.diagnostics]}
            for item in done.refused
        ],
    }


def plain(value: object) -> Any:
    """A spec as JSON values: what is empty or as by default is left out."""
    if isinstance(value, Json):
        return value.value
    if dataclasses.is_dataclass(value):
        return {
            field.name: plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if not _is_default(field, getattr(value, field.name))
        }
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Decimal) else value


def _is_default(field: dataclasses.Field[Any], value: object) -> bool:
    if field.default is not dataclasses.MISSING:
        return bool(value == field.default)
    return field.default_factory is not dataclasses.MISSING and value == field.default_factory()
