"""THE STORY of compiling: a linked spec and its tables -> a revision, ready to serve.

Everything that a request needs is built here, nothing by the first request. A revision refers to
its endpoints and they to the tables; nothing refers back, and what is remembered outside holds
no revision, so a retired one goes when its last request has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote

from pydantic_core import to_json

from watcherd.compile import etag
from watcherd.compile.batch import BatchEndpoint
from watcherd.compile.carried import Parts, carry_over, sights
from watcherd.compile.deletions import Deletions
from watcherd.compile.dispatch import Dispatcher, Endpoint, Path
from watcherd.compile.entity import Children, EntityEndpoints, Rules, compile_entity, compile_rules
from watcherd.compile.events import RowEvents, emitted
from watcherd.compile.export import ExportEndpoint
from watcherd.compile.idempotency import PostEndpoint
from watcherd.compile.imports import ImportEndpoint
from watcherd.compile.methods import Methods
from watcherd.compile.naming import children_segment
from watcherd.compile.openapi import Description, describe, document
from watcherd.compile.options import Options
from watcherd.compile.query import refuse_parameters
from watcherd.compile.relations import expose
from watcherd.compile.remembering import turn_all
from watcherd.compile.service import MethodBody, any_has_code
from watcherd.compile.writes import Admit, Prepare
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import EMPTY, ModelSpec, Service
from watcherd.revision import Revision
from watcherd.services import NO_HANDLERS, Handlers
from watcherd.store import ModelTables
from watcherd.wire import JSON, Answer, Call


@dataclass(frozen=True, slots=True)
class Carried:
    """The parts of a revision that the next one of the same model may take up."""

    description: Description | None = None
    rules: Parts[Rules] = field(default_factory=lambda: EMPTY)
    bodies: Parts[MethodBody] = field(default_factory=lambda: EMPTY)


def compile_model(  # noqa: PLR0913 - what a revision is made from
    linked: LinkedModel,
    tables: ModelTables,
    number: int,
    *,
    options: Options,
    before: Revision | None = None,
    handlers: Handlers = NO_HANDLERS,
) -> Revision:
    """Compile a model into revision `number`, on the tables that the store has bound for it.

    What still holds of the revision `before` it is taken up. `handlers` are the loaded functions of
    its handlers; they are let go with the revision. Raises `InvalidDefaultError` for a default that
    its attribute refuses.
    """
    turn_all()
    spec = linked.spec
    known = before.carried if before is not None and isinstance(before.carried, Carried) else Carried()
    seen = sights(linked, options)
    rules = carry_over(seen, known.rules, lambda sight: compile_rules(linked, sight))
    description = describe(linked, options, known.description, seen)
    made = {name: part.made for name, part in rules.items()}
    exposed = expose(spec, tables, {name: one.bodies for name, one in made.items()})
    deletions = Deletions(spec.name, exposed, options.beside)
    endpoints = {
        entity.name: compile_entity(entity, made[entity.name], tables, exposed, deletions, model=spec.name)
        for entity in spec.entities.values()
    }
    methods = Methods(linked, tables, options, handlers, made, deletions, known.bodies)
    collections, items = _entity_paths(linked, endpoints, tables, options)
    dispatcher = Dispatcher(
        domain=spec.domain,
        index=Path.of("", {"GET": Index(spec, number).answer}),
        collections=collections,
        items=items,
        children=_children_paths(spec, endpoints),
        actions=_action_paths(linked, methods, tables, options),
        system=_system_paths(linked, description, endpoints, tables, options),
        bulk=_bulk_paths(linked, endpoints, made, tables, options) | _stream_paths(linked, tables, options),
    )
    return Revision(
        linked,
        number,
        handle=dispatcher.handle,
        at_once=dispatcher.handle_at_once,
        operations=description.operations,
        openapi=description.fragment,
        exposed=exposed,
        carried=Carried(description, rules, methods.bodies),
        on_drained=handlers.unload,
    )


def _entity_paths(
    linked: LinkedModel, endpoints: Mapping[str, EntityEndpoints], tables: ModelTables, options: Options
) -> tuple[dict[str, Path], dict[str, Path]]:
    collections: dict[str, Path] = {}
    items: dict[str, Path] = {}
    for entity in linked.spec.entities.values():
        own, plural = endpoints[entity.name], entity.plural
        create = _post(linked, f"/{plural}", own.create, tables, options)
        collections[plural] = Path.of(f"/{plural}", {"GET": own.list, "POST": create}, own.list_at_once)
        items[plural] = Path.of(
            f"/{plural}/{{id}}",
            {
                "GET": own.read,
                "PUT": own.replace,
                "PATCH": own.patch,
                "DELETE": own.delete,
            },
            own.read_at_once,
        )
    return collections, items


def _children_paths(spec: ModelSpec, endpoints: Mapping[str, EntityEndpoints]) -> dict[tuple[str, str], Path]:
    """The lists below a row, by plural and by the relation's name: in kebab-case, and as it is."""
    paths: dict[tuple[str, str], Path] = {}
    for entity in spec.entities.values():
        for end in entity.to_many:
            if not end.single:
                children = Children(endpoints[entity.name], endpoints[end.child.entity], end.via)
                segment = children_segment(end)
                path = Path.of(f"/{entity.plural}/{{id}}/{segment}", {"GET": children.list})
                paths[entity.plural, end.name] = paths[entity.plural, segment] = path
    return paths


def _bulk_paths(
    linked: LinkedModel,
    endpoints: Mapping[str, EntityEndpoints],
    rules: Mapping[str, Rules],
    tables: ModelTables,
    options: Options,
) -> dict[tuple[str, str], Path]:
    paths: dict[tuple[str, str], Path] = {}
    for entity in linked.spec.entities.values():
        template = f"/{entity.plural}/-"
        own = endpoints[entity.name]
        export = ExportEndpoint(entity.plural, tables.entities[entity.name], own.query, rules[entity.name].formats)
        name, bodies = f"/{linked.spec.name}{template}/import", own.bodies
        import_ = ImportEndpoint(name, entity, tables, linked.targets, bodies=bodies, options=options)
        paths[entity.plural, "export"] = Path.of(f"{template}/export", {"GET": export.answer})
        paths[entity.plural, "import"] = Path.of(f"{template}/import", {"POST": import_.answer})
    return paths


def _action_paths(
    linked: LinkedModel, methods: Methods, tables: ModelTables, options: Options
) -> dict[tuple[str, str], Path]:
    """Every method under its kebab-case path, and under its name as declared."""
    paths: dict[tuple[str, str], Path] = {}
    for service in linked.spec.services.values():
        for method in service.methods:
            endpoint = methods.endpoint(service, method)
            template = f"/{service.path}/{method.path}"
            post = _post(linked, template, endpoint.call, tables, options, endpoint.admit)
            path = Path.of(template, {"POST": post})
            for owner in (service.path, service.name):
                for name in (method.path, method.name):
                    paths[owner, name] = path
    return paths


def _post(  # noqa: PLR0913, PLR0917 - what a POST is made of
    linked: LinkedModel,
    template: str,
    prepare: Prepare,
    tables: ModelTables,
    options: Options,
    admit: Admit | None = None,
) -> Endpoint:
    """A POST, which may have an idempotency key."""
    return PostEndpoint(f"/{linked.spec.name}{template}", prepare, tables, options.clock, admit=admit).answer


def _system_paths(
    linked: LinkedModel,
    description: Description,
    endpoints: Mapping[str, EntityEndpoints],
    tables: ModelTables,
    options: Options,
) -> Mapping[str, Path]:
    spec = linked.spec
    own = Document(spec, description, needs_key=options.needs_key)
    by_plural = {entity.plural: endpoints[entity.name] for entity in spec.entities.values()}
    batch = _post(linked, "/-/batch", BatchEndpoint(spec.domain, by_plural).prepare, tables, options)
    emits = any_has_code(linked)
    events = {"events": Path.of("/-/events", {"GET": partial(emitted, spec.name, options.feeds)})} if emits else {}
    return {
        "openapi.json": Path.of("/-/openapi.json", {"GET": own.answer}),
        "docs": Path.of("/-/docs", {"GET": to_docs}),
        "batch": Path.of("/-/batch", {"POST": batch}),
        **events,
    }


def _stream_paths(linked: LinkedModel, tables: ModelTables, options: Options) -> dict[tuple[str, str], Path]:
    """The events of each entity's rows, which also hear of them from here on."""
    paths: dict[tuple[str, str], Path] = {}
    for entity in linked.spec.entities.values():
        events = RowEvents(linked.spec.name, entity, options.feeds)
        tables.entities[entity.name].listen(events)
        paths[entity.plural, "events"] = Path.of(f"/{entity.plural}/-/events", {"GET": events.answer})
    return paths


async def to_docs(call: Call) -> Answer:
    """307: the page that shows this model's document. Relative, so that it holds below a path of a proxy too."""
    to_root = "../" * (call.path.count("/") - 1)
    model = quote(call.base.rpartition("/")[2])
    return Answer(307, headers=[(b"location", f"{to_root}docs?model={model}".encode("ascii"))])


class Index:
    """What a model consists of, with links below the path that the client used."""

    __slots__ = ("_number", "_spec")

    def __init__(self, spec: ModelSpec, number: int) -> None:
        self._spec = spec
        self._number = number

    async def answer(self, call: Call) -> Answer:
        """200: name, title, version, description, revision, entities and services."""
        refuse_parameters(call.query)
        spec, base = self._spec, call.base
        return Answer(
            200,
            to_json(
                {
                    "name": spec.domain,
                    "title": spec.title,
                    "version": spec.version,
                    "description": spec.description,
                    "revision": self._number,
                    "entities": [
                        {
                            "name": entity.name,
                            "plural": entity.plural,
                            "description": entity.description,
                            "links": {
                                "self": f"{base}/{entity.plural}",
                                "export": f"{base}/{entity.plural}/-/export",
                                "import": f"{base}/{entity.plural}/-/import",
                            },
                        }
                        for entity in spec.entities.values()
                    ],
                    "services": [_service_entry(service, base) for service in spec.services.values()],
                    "links": {
                        "self": base,
                        "openapi": f"{base}/-/openapi.json",
                        "docs": f"{base}/-/docs",
                        "batch": f"{base}/-/batch",
                    },
                }
            ),
        )


def _service_entry(service: Service, base: str) -> dict[str, Any]:
    return {
        "name": service.name,
        "description": service.description,
        "methods": [
            {
                "name": method.name,
                "description": method.description,
                "links": {"self": f"{base}/{service.path}/{method.path}"},
            }
            for method in service.methods
        ],
    }


class Document:
    """The model's own OpenAPI document: joined when it is asked for, since nothing has to be made."""

    __slots__ = ("_fragment", "_needs_key", "_spec")

    def __init__(self, spec: ModelSpec, description: Description, *, needs_key: bool) -> None:
        self._spec = spec
        self._fragment = description.fragment
        self._needs_key = needs_key

    async def answer(self, call: Call) -> Answer:
        """200: the document; 304 when the client has it already."""
        refuse_parameters(call.query)
        text = document(self._spec, self._fragment, needs_key=self._needs_key)
        tag = etag.etag(0, text)
        headers = [(b"etag", tag)]
        if etag.is_known(call.header(b"if-none-match"), tag):
            return Answer(304, headers=headers)
        return Answer(200, text, JSON, headers)
