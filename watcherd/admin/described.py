"""What the host's own part of the OpenAPI document says of errors: they are problems.

FastAPI describes its own answer to what it finds not valid, a 422 with a body of its own, and takes
an error that a route declares for one without a body. The host answers both otherwise (host), and
this brings the document to say so. Does not own the models' parts (compile).
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_OF_FASTAPI = ("HTTPValidationError", "ValidationError")
_CONTENT: Schema = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def describe_problems(base: Schema) -> None:
    """Change a document that FastAPI made: every error that has no body of its own is a problem."""
    for path in base["paths"].values():
        for operation in path.values():
            operation["responses"] = _responses(operation)
    schemas = base.get("components", {}).get("schemas", {})
    for name in _OF_FASTAPI:
        schemas.pop(name, None)


def _responses(operation: Schema) -> Schema:
    """The responses of an operation, with those that the host gives by itself."""
    declared = {status: one for status, one in operation["responses"].items() if not _is_of_fastapi(one)}
    by_itself = {"500": "Problem500", "503": "Problem503"}
    if any(parameter["in"] in {"query", "path"} for parameter in operation.get("parameters", ())):
        by_itself["400"] = "Problem400"
    if "application/json" in operation.get("requestBody", {}).get("content", ()):
        by_itself |= {"400": "Problem400", "413": "Problem413", "422": "Problem422"}
    shared = {status: {"$ref": f"#/components/responses/{name}"} for status, name in by_itself.items()}
    told = {
        status: one if "content" in one or int(status) < 400 else {**one, "content": _CONTENT}  # noqa: PLR2004 - errors
        for status, one in declared.items()
    }
    return shared | told


def _is_of_fastapi(response: Schema) -> bool:
    shown = response.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref", "")
    return bool(shown.endswith("/HTTPValidationError"))
