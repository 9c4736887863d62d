"""What the OpenAPI document says of batch, export and import: schemas, parameters and words, as values.

Owns what these operations take and answer beside rows. Does not own where they stand in the
document, nor their problems (openapi).
"""

from __future__ import annotations

from typing import get_args

from watcherd.compile.batch import MAX_OPERATIONS, METHODS
from watcherd.compile.export import FormatName
from watcherd.compile.imports import CSV, NDJSON
from watcherd.compile.schemas import Schema

_TEXT: Schema = {"type": "string"}

BATCH_WORDS = (
    "The operations run in order, in one transaction. When one fails nothing is written; the problem is that of the "
    "operation, whose place is `operation`."
)
BATCH: Schema = {
    "type": "array",
    "maxItems": MAX_OPERATIONS,
    "items": {
        "type": "object",
        "properties": {
            "method": {"type": "string", "enum": list(METHODS)},
            "path": {"type": "string", "description": "The path of rows or of a row, below the model."},
            "body": {"description": "What a request of its own would have as its body."},
            "if_match": {"type": "string", "description": "An ETag: write only if the row is still at its version."},
        },
        "required": ["method", "path"],
        "additionalProperties": False,
    },
}
BATCH_RESULTS: Schema = {
    "type": "object",
    "properties": {
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "status": {"type": "integer"},
                    "headers": {"type": "object", "additionalProperties": _TEXT},
                    "body": {"description": "As the answer to a request of its own; null where that has none."},
                },
                "required": ["status", "headers", "body"],
            },
        }
    },
    "required": ["results"],
}

EXPORT_WORDS = (
    "All rows that the filters find, as of one moment, in one stream. In CSV null is an empty cell and empty text is "
    '`""`; lists and json are JSON text. Text is not changed, also where a spreadsheet would take it for a formula.'
)
EXPORT_HEADERS: Schema = {"Content-Disposition": {"schema": _TEXT, "description": "A file name."}}

IMPORT_WORDS = (
    "All or none; a line that is not valid is told with its number. In CSV the first line names attributes, the others "
    "get their defaults; an empty cell is null, a quoted empty one is empty text, lists and json are JSON text."
)
IMPORT_CONTENT: Schema = {CSV: {"schema": _TEXT}, NDJSON: {"schema": _TEXT}}
PARTIAL: Schema = {
    "name": "partial",
    "in": "query",
    "required": False,
    "description": "Whether the valid lines are imported although others are refused.",
    "schema": {"type": "boolean", "default": False},
}
IMPORTED: Schema = {
    "type": "object",
    "properties": {
        "imported": {"type": "integer"},
        "refused": {
            "type": "array",
            "description": "With `partial=true`: the first lines that were refused.",
            "items": {
                "type": "object",
                "properties": {"line": {"type": "integer"}, "errors": {"type": "array", "items": {"type": "object"}}},
                "required": ["line", "errors"],
            },
        },
        "refused_count": {"type": "integer", "description": "With `partial=true`: how many lines were refused."},
    },
    "required": ["imported"],
}


FORMAT: Schema = {
    "name": "format",
    "in": "query",
    "required": False,
    "description": "How rows are written.",
    "schema": {"type": "string", "enum": list(get_args(FormatName)), "default": "json"},
}
"""The parameter of an export."""


def export_content(row: Schema) -> Schema:
    """The rows in each format."""
    rows: Schema = {"application/json": {"schema": {"type": "array", "items": row}}}
    return {**rows, CSV: {"schema": _TEXT}, NDJSON: {"schema": _TEXT}}
