"""What the OpenAPI documents of all models have in common: problems, errors, the index of a model.

Every member that a problem of a model may have is said here, so that generated clients know them.
"""

from __future__ import annotations

from collections.abc import Mapping

from watcherd.compile.operations import HEADERS
from watcherd.compile.schemas import Schema

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "integer"}
_LINKS: Schema = {"type": "object", "additionalProperties": _TEXT}


def _members(**properties: Schema) -> Schema:
    """An object that has all of these."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: Schema, description: str) -> Schema:
    return {"type": "array", "items": items, "description": description}


def _named(**more: Schema) -> Schema:
    """A list of things with a name and a description."""
    return {"type": "array", "items": _members(name=_TEXT, description=_TEXT, **more)}


_FINDING: Schema = _members(
    pointer={**_TEXT, "description": "A JSON pointer into the body, or the name of a parameter."},
    code=_TEXT,
    message=_TEXT,
)
_FINDINGS: Schema = {"type": "array", "items": _FINDING}
PROBLEM_SCHEMA: Schema = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457). `type` is a path that answers with an explanation.",
    "type": "object",
    "properties": {
        "type": {**_TEXT, "examples": ["/problems/validation"]},
        "title": _TEXT,
        "status": _NUMBER,
        "detail": _TEXT,
        "instance": {**_TEXT, "description": "The path of the request."},
        "request_id": {**_TEXT, "description": "The log has lines with this id."},
        "errors": _FINDINGS,
        "code": {**_TEXT, "description": "Of a method that refuses: its code."},
        "constraint": {**_TEXT, "description": "Of a 409: what would be broken."},
        "state": {"type": ["string", "null"], "description": "Of a transition that is refused: the state of the row."},
        "row": {
            **_members(entity=_TEXT, key={"type": ["string", "integer"]}),
            "description": "Of a deletion that is refused: the row that cannot do without.",
        },
        "operation": {**_NUMBER, "description": "Of a batch: the operation that failed, from 0."},
        "lacks": _list(_TEXT, "Of a 501: what the method would need to run."),
        "refused": _list(_members(line=_NUMBER, errors=_FINDINGS), "Of an import: the first lines that are not valid."),
        "refused_count": {**_NUMBER, "description": "Of an import: how many lines are not valid."},
        "trace": _list({}, "Of a flow that is asked for `?trace=true`: what each step was given, and what came of it."),
    },
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
}
INDEX_SCHEMA: Schema = {
    "title": "Model",
    "description": "What a model consists of; links are paths.",
    **_members(
        name=_TEXT,
        title=_TEXT,
        version=_TEXT,
        description=_TEXT,
        revision=_NUMBER,
        entities=_named(plural=_TEXT, links=_LINKS),
        services=_named(methods=_named(links=_LINKS)),
        links=_LINKS,
    ),
}

_PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_SYSTEM: Schema = {name: {"$ref": f"#/components/headers/{name}"} for name in HEADERS}
_RETRY_AFTER: Schema = {"Retry-After": {"schema": _NUMBER, "description": "Seconds to wait before it is sent again."}}
_MORE_HEADERS: Mapping[int, Schema] = {
    401: {"WWW-Authenticate": {"schema": _TEXT, "description": "How a key is sent."}},
    409: _RETRY_AFTER,
    503: _RETRY_AFTER,
}
_ERRORS: Mapping[str, Schema] = {
    f"Problem{status}": {
        "description": description,
        "headers": _MORE_HEADERS.get(status, {}) | _SYSTEM,
        "content": _PROBLEM_CONTENT,
    }
    for status, description in {
        401: "An API key is needed",
        403: "The API key may not do this",
        400: "Malformed JSON, or a query parameter that is unknown or not valid",
        404: "No such row",
        409: "A unique constraint, a foreign key or a check would be broken, or a request with the same key still runs",
        412: "The row is not at the version that `If-Match` names",
        413: "The body is too large",
        415: "The body has another content type",
        422: "The body is not valid; `errors` lists every finding",
        500: "The server failed",
        501: "Nothing executable stands behind the method; `lacks` lists what is missing",
        503: "Try again after `Retry-After` seconds",
    }.items()
}

SHARED_COMPONENTS: Mapping[str, Mapping[str, Schema]] = {
    "schemas": {"Problem": PROBLEM_SCHEMA, "Model": INDEX_SCHEMA},
    "responses": _ERRORS,
    "headers": HEADERS,
}
"""What the fragments of all models refer to; whoever joins them adds it once."""
