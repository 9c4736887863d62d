"""What the data browser has to know of an entity: its attributes as fields, filters and columns.

One JSON value for the scripts of the page, which then read and write rows through the models' own
API like any other client. Does not own what that API answers (compile).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from watcherd.compile.bodies import required_on_create
from watcherd.ledger import Live
from watcherd.pim.operators import operators_of
from watcherd.pim.spec import Attribute, Entity, Kind, ModelSpec

_NAMELIKE = ("name", "title", "label", "subject", "number", "code", "sku", "slug", "email")
_TEXTS = frozenset({Kind.STRING, Kind.TEXT, Kind.EMAIL})


def described(live: Live, entity: Entity, all_live: Mapping[str, Live], api_prefix: str) -> dict[str, Any]:
    """An entity of what serves; `base` is the address of its rows, below `/`."""
    spec = live.spec
    return {
        "model": spec.domain,
        "entity": entity.name,
        "base": _address(api_prefix, spec.domain, entity.plural),
        "key": entity.key.name,
        "label": label_of(entity),
        "attributes": [_attribute(one, entity, live, all_live, api_prefix) for one in _ordered(entity)],
    }


def label_of(entity: Entity) -> str:
    """The attribute that people know a row by: what is called a name, else the first text, else the key."""
    texts = [
        one.name
        for one in entity.attributes.values()
        if one.kind in _TEXTS and not (one.is_list or one.members or one.write_only)
    ]
    known = next((name for wanted in _NAMELIKE for name in texts if name.lower() == wanted), None)
    return known or next(iter(texts), entity.key.name)


def _ordered(entity: Entity) -> list[Attribute]:
    """A key that means something first, then what people know a row by, and last what every entity has."""
    label = label_of(entity)
    return sorted(
        entity.attributes.values(),
        key=lambda one: (one.implied, not one.primary_key, one.name != label),
    )


def _attribute(
    one: Attribute, entity: Entity, live: Live, all_live: Mapping[str, Live], api_prefix: str
) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": one.name,
        "kind": one.kind.value,
        "list": one.is_list,
        "key": one.primary_key,
        "required": one.name in required_on_create(entity),
        "nullable": not (one.required or one.primary_key),
        "given": not (one.server_set or one.read_only),
        "hidden": one.write_only,
        "members": list(one.members),
        "operators": [] if one.write_only else list(operators_of(one)),
        "default": None if one.default is None else one.default.value,
        "example": None if one.example is None else one.example.value,
        "description": one.description,
        "longest": one.max_length,
    }
    if one.reference is not None:
        shown["reference"] = _reference(one, entity, live, all_live, api_prefix)
    return shown


def _reference(
    one: Attribute, own: Entity, live: Live, all_live: Mapping[str, Live], api_prefix: str
) -> dict[str, Any]:
    assert one.reference is not None  # noqa: S101 - whoever asks has looked
    target = live.revision.linked.targets[one.reference]
    relation = next((end.name for end in own.to_one if end.attribute == one.name), "")
    there = _spec_of(one.reference.model, live, all_live)
    entity = there.entities.get(one.reference.entity) if there is not None else None
    return {
        "model": target.domain,
        "entity": one.reference.entity,
        "base": _address(api_prefix, target.domain, target.plural),
        "key": target.key.name,
        "relation": relation,
        "label": target.key.name if entity is None else label_of(entity),
        "searchable": entity is not None and "icontains" in operators_of(entity.attributes[label_of(entity)]),
    }


def _spec_of(model: str, live: Live, all_live: Mapping[str, Live]) -> ModelSpec | None:
    if model == live.spec.name:
        return live.spec
    found = all_live.get(model)
    return None if found is None else found.spec


def _address(api_prefix: str, domain: str, plural: str) -> str:
    return f"{api_prefix.lstrip('/')}/{domain}/{quote(plural)}".lstrip("/")
