"""THE STORY of compiling: a linked spec and its tables -> a revision, ready to serve.

Everything that a request needs is built here, nothing by the first request. A revision refers to
its endpoints and they to the tables; nothing refers back, and nothing is cached outside, so a
retired revision goes when its last request has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from watcherd.compile import etag
from watcherd.compile.batch import BatchEndpoint
from watcherd.compile.dispatch import Dispatcher, Endpoint, Path
from watcherd.compile.entity import EntityEndpoints, compile_entity
from watcherd.compile.export import ExportEndpoint
from watcherd.compile.idempotency import PostEndpoint
from watcherd.compile.imports import ImportEndpoint
from watcherd.compile.openapi import Description, describe, document
from watcherd.compile.options import Options
from watcherd.compile.query import refuse_parameters
from watcherd.compile.service import compile_method
from watcherd.compile.writes import Prepare
from watcherd.pim.spec import LinkedModel, ModelSpec, Service
from watcherd.revision import OpenApiFragment, Revision
from watcherd.store import ModelTables
from watcherd.wire import JSON, Answer, Call


def compile_model(linked: LinkedModel, tables: ModelTables, number: int, *, options: Options) -> Revision:
    """Compile a model into revision `number`, on the tables that the store has bound for it.

    Raises `InvalidDefaultError` for a default that its attribute refuses.
    """
    spec = linked.spec
    description = describe(linked, options)
    entities = {
        entity.plural: compile_entity(entity, tables, linked.targets, options) for entity in spec.entities.values()
    }
    collections, items = _entity_paths(linked, entities, tables, options)
    dispatcher = Dispatcher(
        domain=spec.domain,
        index=Path.of("", {"GET": Index(spec, number).answer}),
        collections=collections,
        items=items,
        actions=_action_paths(linked, tables, options),
        system=_system_paths(linked, description, entities, tables, options),
        bulk=_bulk_paths(linked, entities, tables, options),
    )
    return Revision(
        linked,
        number,
        handle=dispatcher.handle,
        operations=description.operations,
        openapi=description.fragment,
    )


def _entity_paths(
    linked: LinkedModel, entities: Mapping[str, EntityEndpoints], tables: ModelTables, options: Options
) -> tuple[dict[str, Path], dict[str, Path]]:
    collections: dict[str, Path] = {}
    items: dict[str, Path] = {}
    for plural, endpoints in entities.items():
        create = _post(linked, f"/{plural}", endpoints.create, tables, options)
        collections[plural] = Path.of(f"/{plural}", {"GET": endpoints.list, "POST": create})
        items[plural] = Path.of(
            f"/{plural}/{{id}}",
            {
                "GET": endpoints.read,
                "PUT": endpoints.replace,
                "PATCH": endpoints.patch,
                "DELETE": endpoints.delete,
            },
        )
    return collections, items


def _bulk_paths(
    linked: LinkedModel, entities: Mapping[str, EntityEndpoints], tables: ModelTables, options: Options
) -> dict[tuple[str, str], Path]:
    paths: dict[tuple[str, str], Path] = {}
    for entity in linked.spec.entities.values():
        template = f"/{entity.plural}/-"
        endpoints = entities[entity.plural]
        export = ExportEndpoint(entity, tables.entities[entity.name], endpoints.query)
        name, bodies = f"/{linked.spec.name}{template}/import", endpoints.bodies
        import_ = ImportEndpoint(name, entity, tables, linked.targets, bodies=bodies, options=options)
        paths[entity.plural, "export"] = Path.of(f"{template}/export", {"GET": export.answer})
        paths[entity.plural, "import"] = Path.of(f"{template}/import", {"POST": import_.answer})
    return paths


def _action_paths(linked: LinkedModel, tables: ModelTables, options: Options) -> dict[tuple[str, str], Path]:
    """Every method under its kebab-case path, and under its name as declared."""
    paths: dict[tuple[str, str], Path] = {}
    for service in linked.spec.services.values():
        for method in service.methods:
            endpoint = compile_method(linked, service, method)
            template = f"/{service.path}/{method.path}"
            path = Path.of(template, {"POST": _post(linked, template, endpoint.call, tables, options)})
            for owner in (service.path, service.name):
                for name in (method.path, method.name):
                    paths[owner, name] = path
    return paths


def _post(linked: LinkedModel, template: str, prepare: Prepare, tables: ModelTables, options: Options) -> Endpoint:
    """A POST, which may have an idempotency key."""
    return PostEndpoint(f"/{linked.spec.name}{template}", prepare, tables, options.clock).answer


def _system_paths(
    linked: LinkedModel,
    description: Description,
    entities: Mapping[str, EntityEndpoints],
    tables: ModelTables,
    options: Options,
) -> Mapping[str, Path]:
    spec = linked.spec
    batch = _post(linked, "/-/batch", BatchEndpoint(spec.domain, entities).prepare, tables, options)
    return {
        "openapi.json": Path.of("/-/openapi.json", {"GET": Document(spec, description.fragment).answer}),
        "batch": Path.of("/-/batch", {"POST": batch}),
    }


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
                    "links": {"self": base, "openapi": f"{base}/-/openapi.json", "batch": f"{base}/-/batch"},
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

    __slots__ = ("_fragment", "_spec", "_tag")

    def __init__(self, spec: ModelSpec, fragment: OpenApiFragment) -> None:
        self._spec = spec
        self._fragment = fragment
        self._tag = etag.etag(0, document(spec, fragment))

    async def answer(self, call: Call) -> Answer:
        """200: the document; 304 when the client has it already."""
        refuse_parameters(call.query)
        headers = [(b"etag", self._tag)]
        if etag.is_known(call.header(b"if-none-match"), self._tag):
            return Answer(304, headers=headers)
        return Answer(200, document(self._spec, self._fragment), JSON, headers)
