"""The query parameters of lists and single rows, as OpenAPI says them.

Owns the typed parameter of every operator of every attribute, and the parameters that many
operations share: those are components of the model, referred to. A filter stands where it is used:
a reference to one would be longer than what it refers to. What the suffixes mean is told once, in
the description of the list.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic_core import to_json

from watcherd.compile import values
from watcherd.compile.naming import component
from watcherd.compile.operators import MAX_VALUES, is_text
from watcherd.compile.options import Options
from watcherd.compile.query import MAX_SKIP, RESERVED, is_scalar
from watcherd.compile.remembering import Remembered
from watcherd.compile.schemas import Schema, bare_schema
from watcherd.expressions import MAX_LENGTH
from watcherd.pim.linked import LinkedModel
from watcherd.pim.operators import MEMBERSHIP, ORDER, TEXT, operators_of
from watcherd.pim.spec import Attribute, Entity, Kind, ModelSpec

# What text is compared with need not be a value itself: the empty text, or a part of an email address.
_ANY_TEXT: Schema = {"type": "string"}

FILTERS = (
    "Filters are joined by AND; an attribute alone means `__eq`. `__ne` and `__not_in` also find rows without a value. "
    f"`__in` takes values joined by commas, in double quotes where they hold one, {MAX_VALUES} in all. "
    "Text is compared by code points; `__icontains` knows no case, in any script."
)


def shared_parameters(spec: ModelSpec, options: Options) -> dict[str, Schema]:
    """The parameters that the operations of all entities refer to, by component key."""
    return {
        f"{spec.name}.skip": _query(
            "skip", {"type": "integer", "minimum": 0, "maximum": MAX_SKIP, "default": 0}, "How many rows to leave out."
        ),
        f"{spec.name}.limit": _query(
            "limit",
            {"type": "integer", "minimum": 0, "maximum": options.max_limit, "default": options.default_limit},
            "How many rows to answer at most.",
        ),
        f"{spec.name}.cursor": _query(
            "cursor",
            {"type": "string"},
            "What `next` of a page holds: go on behind it, whatever was inserted or deleted since. The same sort and "
            "filters, and no `skip`.",
        ),
        f"{spec.name}.filter": _query(
            "filter",
            {"type": "string", "maxLength": MAX_LENGTH},
            "An expression (CEL) that is true for the rows to answer, such as `price * quantity > 100 && has(note)`. "
            "What the database cannot compute exactly is refused with 400.",
        ),
        f"{spec.name}.count": _query(
            "count",
            {"type": "string", "enum": ["exact", "none"], "default": "exact"},
            "Whether `total` counts all rows; `none` is faster.",
        ),
    }


def entity_parameters(spec: ModelSpec, entity: Entity) -> dict[str, Schema]:
    """Those that the operations of one entity refer to."""
    return {f"{component(spec, entity.name)}.{name}": shown for name, shown in _of_entity(entity).items()}


def row_parameters(spec: ModelSpec, entity: Entity) -> list[Schema | bytes]:
    """The parameters of a single row."""
    return [_ref(spec, entity, name) for name in _of_entity(entity) if name != "sort"]


def list_parameters(
    linked: LinkedModel, entity: Entity, without: Collection[str] = (), taken: Collection[str] = RESERVED
) -> list[Schema | bytes]:
    """The parameters of a list, `without` those of these names; many of them are JSON text already.

    `taken` are names that mean something else than an attribute.
    """
    spec, shared = linked.spec, ("filter", "skip", "limit", "cursor", "count")
    seen = (item for item in entity.attributes.values() if not item.write_only)
    return [
        *(_filters(item, values.resolve(item, linked.targets), item.name in taken) for item in seen),
        *(_ref(spec, entity, name) for name in _of_entity(entity) if name not in without),
        *({"$ref": f"#/components/parameters/{spec.name}.{name}"} for name in shared if name not in without),
    ]


def _of_entity(entity: Entity) -> dict[str, Schema]:
    """What takes names of one entity."""
    seen = [item for item in entity.attributes.values() if not item.write_only]
    sortable = [sign + item.name for item in seen if is_scalar(item) for sign in ("", "-")]
    own = {
        "sort": _names("sort", sortable, "`-` before a name: descending. Null comes before every value, and ties "
                       "are broken by the key."),
        "fields": _names("fields", [item.name for item in seen], "Show exactly these."),
    }  # fmt: skip
    relations = [*(end.name for end in entity.to_one), *(end.name for end in entity.to_many)]
    if relations:
        own["expand"] = _names("expand", relations, "Show related rows beside the key, under these names.")
    return own


@Remembered
def _filters(attribute: Attribute, actual: Attribute, is_taken: bool) -> bytes:  # noqa: FBT001 - by position, to be remembered
    """One parameter an operator; the plain name stands for `__eq` unless it `is_taken` by something else.

    `actual` is what its values are. An entity is listed in several places, and most of its document are these.
    """
    name = attribute.name
    schema = _ANY_TEXT if actual.kind in (Kind.STRING, Kind.TEXT) and not actual.members else bare_schema(actual)
    found = []
    for operator in operators_of(attribute):
        parameter = name if operator == "eq" and not is_taken else f"{name}__{operator}"
        if operator in MEMBERSHIP:
            found.append(_query(parameter, {"type": "array", "items": schema, "minItems": 1}) | {"explode": False})
        elif operator == "isnull":
            found.append(_query(parameter, {"type": "boolean"}))
        else:
            as_text = is_text(attribute, actual) and operator in (*ORDER, *TEXT)
            found.append(_query(parameter, _ANY_TEXT if as_text else schema))
    return to_json(found)[1:-1]


def _names(name: str, names: list[str], description: str) -> Schema:
    schema = {"type": "array", "items": {"type": "string", "enum": names}, "minItems": 1, "uniqueItems": True}
    return _query(name, schema, description) | {"explode": False}


def _query(name: str, schema: Mapping[str, Any], description: str = "") -> Schema:
    said = {"description": description} if description else {}
    return {"name": name, "in": "query", **said, "schema": schema}


def _ref(spec: ModelSpec, entity: Entity, name: str) -> Schema:
    return {"$ref": f"#/components/parameters/{component(spec, entity.name)}.{name}"}
