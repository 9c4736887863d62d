"""The pages of one model: what it consists of, its endpoints, flows, file and revisions.

Owns which model or file a page is about, and what each tab is given. How a page looks is the
template's, how it is drawn is `drawing`, and what is in the file is `sources`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from watcherd.admin import browse, entities, overview, sources, views
from watcherd.admin.drawing.flows import draw_flow
from watcherd.admin.drawing.relations import draw_relations
from watcherd.admin.drawing.states import draw_states
from watcherd.admin.pages import Pages
from watcherd.admin.parts import Parts
from watcherd.ledger import Live, World
from watcherd.pim.coverage import Coverage, coverage
from watcherd.pim.diagnostics import Diagnostic
from watcherd.pim.spec import ModelSpec
from watcherd.store import KeptRevision

TABS = ("overview", "data", "api", "flows", "file", "revisions")
NEED_SPEC = frozenset({"overview", "flows"})
NEED_LIVE = frozenset({"data", "api"})
SHARES = {
    "constraints": ("Constraints", "enforced"),
    "rules": ("Rules", "enforced"),
    "methods": ("Methods", "executable"),
    "steps": ("Flow steps", "executable"),
}
"""What each part of a coverage is called, and what is said of those that are more than prose."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a page is about: a file, the model that it speaks for, and what is known of both."""

    path: str
    model: str | None
    spec: ModelSpec | None
    live: Live | None


class ModelPages:
    """The pages, on the parts of the daemon that they show."""

    def __init__(self, parts: Parts, pages: Pages) -> None:
        self._parts = parts
        self._pages = pages

    async def model(self, request: Request) -> Response:
        """A tab of a model's page; without a name the first that has something to show."""
        seen, name = await overview.look(self._parts), request.path_params["name"]
        subject = find(seen.world, name)
        wanted = request.path_params.get("tab")
        if subject is None or (wanted is not None and wanted not in TABS):
            return await self._missing(request, name if subject is None else f"{name}/{wanted}")
        tabs = _tabs(subject)
        tab = wanted if wanted in tabs else tabs[0]
        values = await self._common(request, seen, subject, tab, tabs)
        return await self._pages.answer(request, f"{tab}.html", values)

    async def file(self, request: Request) -> Response:
        """A file that speaks for no model, by its path."""
        seen, name = await overview.look(self._parts), request.query_params.get("path", "")
        path = next((path for path, file in seen.world.files.items() if file.source.display == name), None)
        if path is None:
            return await self._missing(request, name)
        values = await self._common(request, seen, _subject(seen.world, path), "file", [])
        return await self._pages.answer(request, "file.html", values)

    async def _missing(self, request: Request, name: str) -> Response:
        return await self._pages.answer(
            request,
            "missing.html",
            {"name": name, "directory": str(self._parts.settings.models)},
            status=404,
        )

    async def _common(
        self, request: Request, seen: overview.Seen, subject: Subject, tab: str, tabs: Sequence[str]
    ) -> dict[str, Any]:
        parts, world = self._parts, seen.world
        spec, live = subject.spec, subject.live
        row = overview.row(seen, subject.path)
        values: dict[str, Any] = {
            "row": row,
            "states": overview.STATES,
            "tab": tab,
            "tabs": tabs,
            "spec": spec,
            "live": live,
            "base": "" if live is None else f"{parts.settings.api_prefix}/{live.spec.domain}",
            "findings": world.diagnostics_of(subject.path),
            "rolled_back": subject.model in world.rolled_back,
            "refused_since": world.refusals[subject.path].since if subject.path in world.refusals else None,
            "drift": [] if subject.model is None else list(parts.reloader.drift.of(subject.model)),
            "draining": []
            if subject.model is None
            else [views.draining(one, seen.survey) for one in parts.drains.draining(subject.model)],
            "dependants": [] if subject.model is None else world.dependants(subject.model),
        }
        return values | await self._tab(request, subject, tab, values)

    def _described(self, subject: Subject, wanted: str) -> dict[str, Any]:
        """The entity that is asked for, else the first."""
        assert subject.live is not None  # noqa: S101 - the tab is there only then
        known = subject.live.spec.entities
        entity = known.get(wanted) or next(iter(known.values()))
        world, prefix = self._parts.reloader.world, self._parts.settings.api_prefix
        return browse.described(subject.live, entity, world.live, prefix)

    async def _tab(self, request: Request, subject: Subject, tab: str, common: Mapping[str, Any]) -> dict[str, Any]:
        """What one tab shows beside what all do; long work is done in a thread."""
        reloader = self._parts.reloader
        found: dict[str, Any] = {}
        match tab:
            case "overview":
                found = await asyncio.to_thread(_overview, subject)
            case "data":
                found = {"description": self._described(subject, request.query_params.get("entity", ""))}
            case "api":
                address = str(request.base_url).rstrip("/") + common["base"]
                found = {"groups": await asyncio.to_thread(_groups, subject, address)}
            case "flows":
                found = await asyncio.to_thread(_flows, subject)
            case "file":
                content = reloader.world.files[subject.path].source.content
                found = {"source": await asyncio.to_thread(_source, content, common["findings"])}
            case "revisions":
                kept = await reloader.kept(subject.model or "")
                found = {"revisions": await asyncio.to_thread(_revisions, kept, subject.live)}
        return found


def find(world: World, name: str) -> Subject | None:
    """The model of a name, in either spelling; of several files, the one that speaks for it."""
    path = world.path_of(name)
    return None if path is None else _subject(world, path)


def _subject(world: World, path: str) -> Subject:
    live = world.live_of(path)
    return Subject(path, world.speaks_for.get(path), live.spec if live is not None else world.files[path].spec, live)


def _tabs(subject: Subject) -> list[str]:
    """The tabs that have something to show."""
    spec, left_out = subject.spec, set[str]()
    if spec is None:
        left_out |= NEED_SPEC
    elif not (spec.flows or spec.rules or any(entity.states for entity in spec.entities.values())):
        left_out.add("flows")
    if subject.live is None:
        left_out |= NEED_LIVE
    elif not subject.live.spec.entities:
        left_out.add("data")
    if subject.model is None:
        left_out.add("revisions")
    return [tab for tab in TABS if tab not in left_out]


def _overview(subject: Subject) -> dict[str, Any]:
    spec = subject.spec
    assert spec is not None  # noqa: S101 - the tab is there only then
    linked = subject.live.revision.linked if subject.live is not None else None
    covered = _covered(subject, spec)
    return {
        "drawing": draw_relations(linked) if linked is not None else None,
        "shares": _shares(covered),
        "idle": frozenset(covered.methods.prose),
        "entities": [
            {
                "entity": entity,
                "attributes": entities.attributes(entity, spec, linked),
                "relations": entities.relations(entity),
                "indexes": entities.indexes(entity),
            }
            for entity in spec.entities.values()
        ],
        "type_name": entities.type_name,
    }


def _covered(subject: Subject, spec: ModelSpec) -> Coverage:
    """Of what serves; of a file that does not serve, as if its handlers were there."""
    return views.covered(subject.live) if subject.live is not None else coverage(spec)


def _shares(covered: Coverage) -> list[dict[str, Any]]:
    """The parts that the model has: `title`, `word`, `total`, `covered`, and `prose`, the names of the others."""
    return [
        {"title": SHARES[name][0], "word": SHARES[name][1], **share}
        for name, share in covered.as_json().items()
        if share["total"]
    ]


def _groups(subject: Subject, address: str) -> list[entities.EndpointGroup]:
    assert subject.live is not None  # noqa: S101 - the tab is there only then
    return entities.endpoints(subject.live.revision, subject.live.spec, address)


def _source(content: bytes | None, findings: Sequence[Diagnostic]) -> sources.Source | None:
    return None if content is None else sources.annotated(content, findings)


def _flows(subject: Subject) -> dict[str, Any]:
    spec = subject.spec
    assert spec is not None  # noqa: S101 - the tab is there only then
    covered = _covered(subject, spec)
    rules = [(name, rule.text if rule.free is None else rule.free.value, rule) for name, rule in spec.rules.items()]
    drawn = [(entity, draw_states(entity, spec)) for entity in spec.entities.values() if entity.states is not None]
    return {
        "flows": [(flow, draw_flow(flow)) for flow in spec.flows.values()],
        "rules": rules,
        "states_of": drawn,
        "idle": frozenset(covered.rules.prose),
        "wordy": frozenset(covered.steps.prose),
    }


def _revisions(kept: Sequence[KeptRevision], live: Live | None) -> list[dict[str, Any]]:
    """Newest first, each with what it changed of the text of the one before."""
    return [
        {
            "kept": one,
            "serving": live is not None and live.revision.number == one.revision,
            "difference": sources.difference(before.source, one.source) if before is not None else None,
            "lines": one.source.count(b"\n") + 1,
        }
        for one, before in zip(kept, [*kept[1:], None], strict=False)
    ]
