"""A command for each operation of a model that can be pasted into a terminal and does something sensible.

Owns the sample values, made from examples, defaults and types. A sample need not fit every
constraint of a model; it shows the shape. Does not own what operations there are (compile).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from watcherd.pim.spec import Attribute, Entity, Kind, ModelSpec, Parameter, ValueType
from watcherd.revision import Operation

_BY_KIND: Mapping[Kind, Any] = {
    Kind.STRING: "text",
    Kind.TEXT: "a longer text",
    Kind.INTEGER: 1,
    Kind.FLOAT: 1.5,
    Kind.DECIMAL: "9.90",
    Kind.BOOLEAN: True,
    Kind.DATETIME: "2026-01-31T12:00:00Z",
    Kind.DATE: "2026-01-31",
    Kind.TIME: "12:00:00",
    Kind.JSON: {"any": "value"},
    Kind.UUID: "019aa8f0-6e2b-7c41-9d1f-2f6b0c3f7a55",
    Kind.EMAIL: "name@example.org",
    Kind.URL: "https://example.org",
    Kind.ENUM: "member",
    Kind.REFERENCE: "ID",
}


def curl(operation: Operation, spec: ModelSpec, base: str) -> str:
    """The command; `base` is the address of the model, and `ID` stands where a key has to be written."""
    path = quote(operation.path.replace("{id}", "ID"))
    options = ["-sN" if path.endswith("/-/events") else "-s"]
    if operation.method not in {"GET", "POST"}:
        options.append(f"-X {operation.method}")
    kind, body = _body(operation, spec)
    if body is not None:
        options.append(f"-H 'Content-Type: {kind}'")
        options.append(f"-d {shlex.quote(body)}" if body else "--data-binary @rows.ndjson")
    elif operation.method == "POST":
        options.append("-X POST")
    return " \\\n  ".join([f"curl {options[0]} {base}{path}", *options[1:]])


def row(entity: Entity, *, required_only: bool = True, exclude: Iterable[str] = ()) -> dict[str, Any]:
    """A body that creates a row."""
    left_out = set(exclude)
    given = [
        one
        for one in entity.attributes.values()
        if not (one.server_set or one.read_only or one.name in left_out)
        and not (one.primary_key and one.kind is Kind.UUID)
    ]
    chosen = [one for one in given if one.required or not required_only] or given[:1]
    return {one.name: value(one) for one in chosen}


def value(attribute: Attribute) -> Any:
    """A value of an attribute: its example, else its default, else one of its type."""
    for known in (attribute.example, attribute.default):
        if known is not None and known.value not in (None, [], ""):
            return known.value
    if attribute.members:
        found: Any = attribute.members[0]
    elif attribute.kind is Kind.INTEGER and attribute.minimum is not None:
        found = int(attribute.minimum)
    else:
        found = _BY_KIND[attribute.kind]
    return [found] if attribute.is_list else found


def _body(operation: Operation, spec: ModelSpec) -> tuple[str, str | None]:
    """The content type and the body; an empty one comes from a file, None is none."""
    media = "application/json"
    segments = [part for part in operation.path.split("/") if part]
    if operation.method not in {"POST", "PUT", "PATCH"}:
        return media, None
    if segments[-2:] == ["-", "import"]:
        return "application/x-ndjson", ""
    if segments == ["-", "batch"]:
        return media, _json(_batch(spec))
    entity = next((one for one in spec.entities.values() if one.plural == segments[0]), None)
    if entity is not None:
        return media, _json(_row(entity, operation.method))
    called = ((service, method) for service in spec.services.values() for method in service.methods)
    method = next((one for service, one in called if [service.path, one.path] == segments), None)
    if method is None:
        return media, None
    return media, _json({one.name: _argument(one, spec) for one in method.parameters if one.required})


def _row(entity: Entity, method: str) -> dict[str, Any]:
    """The body of a write to rows of an entity."""
    if method != "PATCH":
        return row(entity, required_only=method == "POST")
    return dict(list(row(entity).items())[:1])


def _batch(spec: ModelSpec) -> list[dict[str, Any]]:
    entity = next(iter(spec.entities.values()), None)
    if entity is None:
        return []
    return [{"method": "POST", "path": f"/{entity.plural}", "body": row(entity)}]


def _argument(parameter: Parameter, spec: ModelSpec) -> Any:
    if parameter.default is not None:
        return parameter.default.value
    if parameter.members:
        return parameter.members[0]
    return _of_type(parameter.type, spec, parameter)


def _of_type(kind: ValueType, spec: ModelSpec, parameter: Parameter) -> Any:
    found: Any = _BY_KIND[kind.kind] if kind.kind is not None else {}
    if kind.entity is not None and kind.entity.model == spec.name and kind.entity.entity in spec.entities:
        found = row(spec.entities[kind.entity.entity], exclude=parameter.exclude)
    return [found] if kind.is_list else found


def _json(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False)
