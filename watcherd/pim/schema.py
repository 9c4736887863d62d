"""The JSON Schema of model files, for editors: it completes keys, explains them, and marks what is wrong.

The shape comes from the pydantic models of `document`, what is said of each key from `key_words`.
The schema accepts whatever the language accepts, in every spelling, and offers the first one; what
spans several keys (a default that does not fit its type, an entity that does not exist) is for
`watcherd check` alone.
"""

from __future__ import annotations

from typing import Any

from watcherd.pim.document import ModelDoc
from watcherd.pim.key_words import KEYS, Key

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the format, for editors; a fresh dict, the caller's to change."""
    raw = ModelDoc.model_json_schema(mode="validation", ref_template="#/$defs/{model}")
    parts = {name.removesuffix("Doc"): part for name, part in raw.pop("$defs").items()}
    schema = {
        "$schema": DIALECT,
        **_told("Model", raw),
        "title": "watcherd model",
        "$defs": {name: _told(name, part) for name, part in parts.items()},
    }
    renamed = _renamed(schema)
    assert isinstance(renamed, dict)  # noqa: S101 - what goes in is one
    return renamed


def _told(name: str, part: dict[str, Any]) -> dict[str, Any]:
    """One part of the format with what is said of its keys; a bare value in its place is as its key would be."""
    if "anyOf" not in part:
        return _mapping(name, part)
    bare, full = part["anyOf"]
    made = _mapping(name, full)
    shorthand = {"Attribute": "type", "Parameter": "type", "Index": "fields"}.get(name)
    offered = made["properties"][shorthand] if shorthand is not None else _plain(bare)
    told = _not_null({key: value for key, value in offered.items() if key not in {"description", "examples"}})
    return {"description": made.pop("description"), "anyOf": [told, made]}


def _mapping(name: str, part: dict[str, Any]) -> dict[str, Any]:
    required = part.get("required", [])
    return {
        "type": "object",
        "description": part["description"],
        "properties": {
            key: _key(KEYS.get(name, {}).get(key), shape, required=key in required)
            for key, shape in part["properties"].items()
        },
        "patternProperties": {"^x-": {"description": "For other programs: not interpreted."}},
        "required": required,
        "additionalProperties": False,
    }


def _key(key: Key | None, shape: dict[str, Any], *, required: bool) -> dict[str, Any]:
    """One key; without a value it is as if absent, so that it is allowed where it need not be there."""
    told: dict[str, Any] = _plain(shape)
    if key is None:
        return told
    if key.values:
        told = {"anyOf": [{"enum": list(key.values)}, {"type": "string", "pattern": key.pattern}]}
    elif key.pattern is not None:
        told = {"type": "string", "pattern": key.pattern}
    elif key.names is not None:
        named = [{**one, "propertyNames": {"pattern": key.names}} for one in told["anyOf"] if one["type"] == "object"]
        told = {"anyOf": [*named, *(one for one in told["anyOf"] if one["type"] != "object")]}
    if not required:
        told = _or_null(told)
    return {"description": key.description, **told, "examples": list(key.examples)}


def _plain(shape: Any) -> Any:
    """Without titles and with `type: [...]` in place of alternatives that are types alone."""
    if isinstance(shape, list):
        return [_plain(item) for item in shape]
    if not isinstance(shape, dict):
        return shape
    told: dict[str, Any] = {key: _plain(value) for key, value in shape.items() if key not in {"title", "default"}}
    if set(told) == {"anyOf"} and all(set(one) == {"type"} for one in told["anyOf"]):
        return {"type": [one["type"] for one in told["anyOf"]]}
    return told


def _or_null(told: dict[str, Any]) -> dict[str, Any]:
    if not told:  # anything goes already
        return told
    if "anyOf" in told:
        return {**told, "anyOf": [*(one for one in told["anyOf"] if one != {"type": "null"}), {"type": "null"}]}
    types = told.get("type")
    if set(told) == {"type"} and types is not None:
        listed = types if isinstance(types, list) else [types]
        return {"type": [*(one for one in listed if one != "null"), "null"]}
    return {"anyOf": [told, {"type": "null"}]}


def _not_null(told: dict[str, Any]) -> dict[str, Any]:
    """A bare value is there, where it stands in place of a mapping."""
    if "anyOf" in told:
        return {**told, "anyOf": [one for one in told["anyOf"] if one != {"type": "null"}]}
    return {**told, "type": [one for one in told["type"] if one != "null"]}


def _renamed(value: Any) -> Any:
    """References by the names that people see: `Attribute`, not that of the class."""
    if isinstance(value, dict):
        return {key: item.removesuffix("Doc") if key == "$ref" else _renamed(item) for key, item in value.items()}
    return [_renamed(item) for item in value] if isinstance(value, list) else value
