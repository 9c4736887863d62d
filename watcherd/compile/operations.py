"""The operations of a model in OpenAPI's words: what each takes and answers.

Owns paths, operation ids, parameters, responses; one function for each thing that has operations. Does
not own what values look like (schemas), nor how parts become a document (openapi).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from watcherd.compile import openapi_bulk as bulk
from watcherd.compile.export import PAGES, TAKEN
from watcherd.compile.idempotency import MAX_KEY_LENGTH
from watcherd.compile.naming import children_segment, one, operation_id, schema_ref, tag, title
from watcherd.compile.options import Options
from watcherd.compile.parameters import FILTERS, list_parameters, row_parameters
from watcherd.compile.schemas import Schema, listed_rules, method_schema, parameter_schema, result_schema
from watcherd.compile.service import is_executable
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Entity, Method, ModelSpec, Service
from watcherd.revision import Operation

SECURITY_SCHEMES: Mapping[str, Any] = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "BearerKey": {"type": "http", "scheme": "bearer", "description": "The API key as a bearer token."},
}
"""How an API key is sent, where models need one."""

_TEXT: Schema = {"type": "string"}
HEADERS: Schema = {
    "X-Request-ID": {"schema": _TEXT, "description": "The id of this request in the log."},
    "Watcherd-Generation": {"schema": {"type": "integer"}, "description": "The number of the route table."},
    "Watcherd-Revision": {"schema": {"type": "integer"}, "description": "The number of the model's revision."},
}
_SYSTEM_HEADERS: Schema = {name: {"$ref": f"#/components/headers/{name}"} for name in HEADERS}

_ETAG: Schema = {"ETag": {"schema": _TEXT, "description": "The row's version and a hash of what is shown."}}
_LOCATION: Schema = {"Location": {"schema": _TEXT, "description": "The path of the new row."}}
_LINK: Schema = {"Link": {"schema": _TEXT, "description": "The neighbouring pages, as `next` and `prev`."}}
_IF_MATCH: Schema = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "An ETag: write only if the row is still at its version.",
    "schema": _TEXT,
}
_IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A name of your own for this request, such as a UUID: sent again within 24 hours, it is answered as "
    "before (with `Idempotency-Replayed: true`) and nothing is written twice. With another body: 422.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "^[!-~]+$"},
}
_REPLAYED: Schema = {
    "Idempotency-Replayed": {"schema": _TEXT, "description": "`true` on an answer that was given before."}
}
_LAST_EVENT_ID: Schema = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The id of the last event that was read: go on after it.",
    "schema": _TEXT,
}
_IF_NONE_MATCH: Schema = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "ETags of what the client has: answer 304 if it is still shown like one of them.",
    "schema": _TEXT,
}
_DOCUMENT_ETAG: Schema = {"ETag": {"schema": _TEXT, "description": "A hash of the document."}}
_ANYTHING: Schema = {"application/json": {"schema": {"type": "object"}}}
_MODEL: Schema = {"application/json": {"schema": {"$ref": "#/components/schemas/Model"}}}


class Paths:
    """Collects the paths and operations of a part of a model; `taken` are the operation ids of other parts."""

    def __init__(self, spec: ModelSpec, options: Options, taken: Iterable[str] = ()) -> None:
        self.paths: dict[str, list[bytes]] = {}
        """The operations at each path, as members of an object, in JSON."""
        self.operations: list[Operation] = []
        self.tags: list[Schema] = []
        self._spec = spec
        self.max_rows = options.max_rows
        self._prefix = options.api_prefix
        self._needs_key = options.needs_key
        self._taken = set(taken)

    def add(  # noqa: PLR0913, PLR0917 - what an operation has
        self,
        method: str,
        path: str,
        owner: str,
        name: str,
        summary: str,
        parameters: Sequence[Schema | bytes] = (),
        **members: Any,
    ) -> None:
        """One operation; `members` are those of the operation object, None left out.

        Parameters may be JSON already, several to a text.
        """
        identity = operation_id(self._spec, owner, name, self._taken) if owner else f"{self._spec.name}_{name}"
        self._taken.add(identity)
        self.operations.append(Operation(method, path, identity, summary))
        operation = {
            "operationId": identity,
            "summary": summary,
            "tags": [tag(self._spec, owner)],
            **{key: value for key, value in members.items() if value is not None},
            **(_needs_key(members["responses"]) if self._needs_key else {}),
        }
        listed = b",".join([one if isinstance(one, bytes) else to_json(one) for one in parameters])
        text = b'"%s":{"parameters":[%s],%s' % (method.lower().encode("ascii"), listed, to_json(operation)[1:])
        self.paths.setdefault(f"{self._prefix}/{self._spec.domain}{path}", []).append(text)

    def add_tag(self, owner: str, description: str) -> None:
        """Say what the operations of an entity or a service are listed under; of the model itself without an owner.

        Tools group by it, and generated clients have a class or a package for each.
        """
        told = {"description": description} if description else {}
        self.tags.append({"name": tag(self._spec, owner), **told})

    def text(self) -> bytes:
        """All of it, as members of the object of paths."""
        return b",".join([b"%s:{%s}" % (to_json(path), b",".join(texts)) for path, texts in self.paths.items()])


def add_index(paths: Paths, spec: ModelSpec) -> None:
    """What the model consists of."""
    paths.add(
        "GET", "", "", "index", f"What {spec.title or spec.domain} consists of",
        responses=_responses(200, _MODEL, "Entities and services with their links", 400, 500),
    )  # fmt: skip


def add_entity(paths: Paths, linked: LinkedModel, entity: Entity) -> None:
    """Its collection, its items, and the lists below a row."""
    spec, name = linked.spec, entity.name
    row = _json(schema_ref(spec, name))
    viewed = _json({"anyOf": [schema_ref(spec, name), schema_ref(spec, name, "View")]})
    collection, item = f"/{entity.plural}", f"/{entity.plural}/{{id}}"
    paths.add_tag(name, entity.description)
    key: Schema = {
        "name": "id",
        "in": "path",
        "required": True,
        "description": f"The row's {entity.key.name}.",
        "schema": parameter_schema(entity.key, linked.targets),
    }
    page = _json(schema_ref(spec, name, "Page"))
    create = schema_ref(spec, name, "Create")
    rows = {
        "type": "object",
        "properties": {"items": {"type": "array", "items": schema_ref(spec, name)}},
        "required": ["items"],
    }
    paths.add(
        "GET", collection, name, "list", f"List rows of {name}",
        description="\n\n".join(part for part in (entity.description, FILTERS) if part),
        parameters=list_parameters(linked, entity),
        responses=_responses(200, page, "A page of rows", 400, 500, 503, headers=_LINK),
    )  # fmt: skip
    paths.add(
        "POST", collection, name, "create", f"Create {one(name)}, or several: all or none",
        parameters=[_IDEMPOTENCY_KEY],
        requestBody=_body(_json({"oneOf": [create, {"type": "array", "items": create, "maxItems": paths.max_rows}]})),
        responses=_responses(
            201, _json({"anyOf": [schema_ref(spec, name), rows]}), "The new row, or the new rows of an array in order",
            400, 409, 413, 415, 422, 500, 503, headers=_LOCATION | _ETAG | _REPLAYED,
        ),
    )  # fmt: skip
    paths.add(
        "GET", item, name, "read", f"Read {one(name)}",
        parameters=[key, *row_parameters(spec, entity), _IF_NONE_MATCH],
        responses=_responses(200, viewed, "The row", 400, 404, 500, 503, headers=_ETAG) | _unchanged(_ETAG),
    )  # fmt: skip
    paths.add(
        "PUT", item, name, "replace", f"Replace {one(name)} as a whole",
        parameters=[key, _IF_MATCH],
        requestBody=_body(_json(schema_ref(spec, name, "Replace"))),
        responses=_responses(200, row, "The row", 400, 404, 409, 412, 413, 415, 422, 500, 503, headers=_ETAG),
    )  # fmt: skip
    patch = schema_ref(spec, name, "Patch")
    paths.add(
        "PATCH", item, name, "patch", f"Change some attributes of {one(name)}",
        parameters=[key, _IF_MATCH],
        requestBody=_body({**_json(patch), "application/merge-patch+json": {"schema": patch}}),
        responses=_responses(200, row, "The row", 400, 404, 409, 412, 413, 415, 422, 500, 503, headers=_ETAG),
    )  # fmt: skip
    paths.add(
        "DELETE", item, name, "delete", f"Delete {one(name)}",
        parameters=[key, _IF_MATCH],
        responses=_responses(204, None, "The row is gone", 400, 404, 409, 412, 422, 500, 503),
    )  # fmt: skip

    for end in entity.to_many:
        if not end.single:
            child = spec.entities[end.child.entity]
            paths.add(
                "GET", f"{item}/{children_segment(end)}", name, f"list_{end.name}",
                f"List the {child.name} rows of {one(name)}",
                parameters=[key, *list_parameters(linked, child)],
                responses=_responses(
                    200, _json(schema_ref(spec, child.name, "Page")), "A page of rows", 400, 404, 500, 503,
                    headers=_LINK,
                ),
            )  # fmt: skip


def add_bulk(paths: Paths, linked: LinkedModel, entity: Entity) -> None:
    """Export and import."""
    name, path = entity.name, f"/{entity.plural}/-"
    rows = bulk.export_content(schema_ref(linked.spec, name))
    paths.add(
        "GET", f"{path}/export", name, "export", f"Export rows of {name}",
        description=bulk.EXPORT_WORDS,
        parameters=[bulk.FORMAT, *list_parameters(linked, entity, without=PAGES, taken=TAKEN)],
        responses=_responses(200, rows, "The rows", 400, 500, 503, headers=bulk.EXPORT_HEADERS),
    )  # fmt: skip
    paths.add(
        "POST", f"{path}/import", name, "import", f"Import rows of {name}",
        description=bulk.IMPORT_WORDS,
        parameters=[bulk.PARTIAL, _IDEMPOTENCY_KEY],
        requestBody=_body(bulk.IMPORT_CONTENT),
        responses=_responses(
            200, _json(bulk.IMPORTED), "How many rows came in", 400, 409, 413, 415, 422, 500, 503, headers=_REPLAYED
        ),
    )  # fmt: skip


def add_events(paths: Paths, entity: Entity) -> None:
    """The stream of changed rows."""
    paths.add(
        "GET", f"/{entity.plural}/-/events", entity.name, "events", f"Hear of changed rows of {entity.name}",
        description="Server-sent events: `created` and `updated` with the row, `deleted` with its key, "
        "`reset` where some may have been missed, `bye` before the stream ends.",
        parameters=[_LAST_EVENT_ID],
        responses=_responses(200, {"text/event-stream": {"schema": _TEXT}}, "A stream of events", 400, 500, 503),
    )  # fmt: skip


def add_service(paths: Paths, linked: LinkedModel, service: Service) -> None:
    """The methods of a service; one that is called like an entity stands beside that."""
    if service.name not in linked.spec.entities:
        paths.add_tag(service.name, service.description)
    for method in service.methods:
        _add_method(paths, linked, service, method)


def _add_method(paths: Paths, linked: LinkedModel, service: Service, method: Method) -> None:
    """A method of a service."""
    returns = method.returns
    described = _told(linked.spec, method)
    if returns is not None:
        result = returns.entity.entity if returns.entity is not None else str(returns.kind)
        described.append(f"Declared result: {result}{'[]' if returns.is_list else ''}.")
    if is_executable(linked, method):
        _add_executable(paths, linked, service, method)
        return
    described.append("Answers 501 until something executable stands behind it.")
    paths.add(
        "POST", f"/{service.path}/{method.path}", service.name, method.name, title(method.name),
        description="\n\n".join(described),
        parameters=[_IDEMPOTENCY_KEY],
        requestBody=_body(_json(method_schema(linked, method)), required=bool(method.parameters)),
        responses=_problems((400, 409, 413, 415, 422, 500, 501, 503)),
    )  # fmt: skip


def _add_executable(paths: Paths, linked: LinkedModel, service: Service, method: Method) -> None:
    errors = (400, 404, 409, 412, 413, 415, 422, 500, 503)
    if method.returns is None:
        answer = _responses(200, _json({}), "What the method answers, where it does", headers=_REPLAYED)
        responses = answer | _responses(204, None, "Done", *errors, headers=_REPLAYED)
    else:
        schema = result_schema(linked, method.returns)
        responses = _responses(200, _json(schema), "What the method answers", *errors, headers=_REPLAYED)
    paths.add(
        "POST", f"/{service.path}/{method.path}", service.name, method.name, title(method.name),
        description="\n\n".join(_told(linked.spec, method)) or None,
        parameters=[_IDEMPOTENCY_KEY, *([_IF_MATCH] if method.transition is not None else [])],
        requestBody=_body(_json(method_schema(linked, method)), required=bool(method.parameters)),
        responses=responses,
    )  # fmt: skip


def _told(spec: ModelSpec, method: Method) -> list[str]:
    """What a method is, what it does to the state of a row, and its rules: those that hold, and those that do not."""
    parts = [method.description] if method.description else []
    transition = method.transition
    if transition is not None:
        before = f"from {' or '.join(transition.before)} " if transition.before else ""
        parts.append(f"Changes `{transition.field}` of the {transition.entity} {before}to {transition.to}.")
    rules = [spec.rules[name] for name in method.rules if name in spec.rules]
    for heading, is_prose in (("Rules", False), ("Not enforced", True)):
        if listed := [rule for rule in rules if rule.is_prose is is_prose]:
            parts.append(listed_rules(heading, listed))
    return parts


def add_emitted(paths: Paths, spec: ModelSpec) -> None:
    """What the methods of a model emit."""
    paths.add(
        "GET", "/-/events", "", "events", f"Hear of what the methods of {spec.domain} emit",
        description="Server-sent events: each with the name and the data that a method gave it, once what it wrote "
        "is committed; `reset` where some may have been missed, `bye` before the stream ends.",
        parameters=[_LAST_EVENT_ID],
        responses=_responses(200, {"text/event-stream": {"schema": _TEXT}}, "A stream of events", 400, 500, 503),
    )  # fmt: skip


def add_batch(paths: Paths, spec: ModelSpec) -> None:
    """Several writes in one."""
    paths.add(
        "POST", "/-/batch", "", "batch", f"Write several rows of {spec.domain}: all or none",
        description=bulk.BATCH_WORDS,
        parameters=[_IDEMPOTENCY_KEY],
        requestBody=_body(_json(bulk.BATCH)),
        responses=_responses(
            200, _json(bulk.BATCH_RESULTS), "The answer to each operation, in order",
            400, 404, 409, 412, 413, 415, 422, 500, 503, headers=_REPLAYED,
        ),
    )  # fmt: skip


def add_document(paths: Paths, spec: ModelSpec) -> None:
    """The model's own document."""
    paths.add(
        "GET", "/-/openapi.json", "", "openapi", f"This document, of {spec.domain} alone",
        parameters=[_IF_NONE_MATCH],
        responses=_responses(200, _ANYTHING, "An OpenAPI document", 400, 500, headers=_DOCUMENT_ETAG)
        | _unchanged(_DOCUMENT_ETAG),
    )  # fmt: skip


def _needs_key(responses: Schema) -> Schema:
    """The members of an operation that takes no one without an API key."""
    return {"security": [{name: []} for name in SECURITY_SCHEMES], "responses": responses | _problems((401, 403))}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _body(content: Schema, *, required: bool = True) -> Schema:
    return {"required": required, "content": content}


def _responses(
    status: int, content: Schema | None, description: str, *errors: int, headers: Schema | None = None
) -> Schema:
    answer: Schema = {"description": description, "headers": {**(headers or {}), **_SYSTEM_HEADERS}}
    if content is not None:
        answer["content"] = content
    return {str(status): answer, **_problems(errors)}


def _unchanged(headers: Schema) -> Schema:
    return {"304": {"description": "The client has it already", "headers": headers | _SYSTEM_HEADERS}}


def _problems(statuses: Iterable[int]) -> Schema:
    return {str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in statuses}
