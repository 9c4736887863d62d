"""Attribute -> JSON Schema, for people and generated clients.

Written beside the validators from the same attributes, since a schema derived from the validators
would know neither titles nor formats nor examples. A test feeds both with the same values: what the
schema accepts, the validator accepts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal

from watcherd.compile import values
from watcherd.compile.bodies import required_on_create, unsent_on_create
from watcherd.compile.constraints import is_enforced
from watcherd.compile.demands import TEXTS, required_by_sentence, tightened
from watcherd.compile.naming import one, schema_ref, title
from watcherd.compile.remembering import Remembered
from watcherd.compile.service import as_attribute, entity_of, given_attributes, required_attributes
from watcherd.compile.validators import Targets, takes_null
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Attribute, Entity, Kind, Method, ModelRule, ModelSpec, Parameter, States, ValueType

Schema = dict[str, Any]
Direction = Literal["in", "out"]

_ANY_BUT_NULL = ["object", "array", "string", "number", "boolean"]
# The format `time` of JSON Schema demands an offset, which a time of day does not have.
_TIME_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?$"
_FORMATS: Mapping[Kind, str] = {
    Kind.DATETIME: "date-time",
    Kind.DATE: "date",
    Kind.UUID: "uuid",
    Kind.EMAIL: "email",
    Kind.URL: "uri",
}


def entity_schemas(linked: LinkedModel, entity: Entity) -> dict[str, Schema]:
    """The five shapes of an entity, by the suffix of their component."""
    spec, targets = linked.spec, linked.targets
    attributes = tightened(entity)
    unsent, key = unsent_on_create(entity), entity.key.name
    required = required_on_create(entity) | required_by_sentence(entity, unsent)
    given = [item for item in attributes if item.name not in unsent]
    locked = unsent | {key}
    described, named = _description(entity, targets), _titled(spec, entity)
    return {
        "": _object(
            named,
            described,
            {item.name: _property(item, targets, "out", locked) for item in attributes if not item.write_only},
            [item.name for item in attributes if not item.write_only],
        ),
        "Create": _object(
            f"{named}: create",
            described,
            {item.name: _property(item, targets, "in", ()) for item in given},
            [item.name for item in given if item.name in required],
            closed=True,
        ),
        "Replace": _object(
            f"{named}: replace",
            "What is not sent gets its default or null, but what is write-only stays as it is. "
            "Read-only attributes may be sent as they are stored.",
            {item.name: _property(item, targets, "in", locked) for item in attributes},
            [item.name for item in given if item.name in required and item.name != key and not item.write_only],
            closed=True,
        ),
        "Patch": _object(
            f"{named}: patch",
            "A merge patch (RFC 7396): what is not sent stays as it is, null sets null.",
            {
                item.name: {name: value for name, value in shape.items() if name != "default"}
                for item in attributes
                if (shape := _property(item, targets, "in", locked))
            },
            [],
            closed=True,
        ),
        "Page": _page(spec, entity),
    }


def view_schema(linked: LinkedModel, entity: Entity) -> Schema:
    """A row as `fields` and `expand` show it: whatever was asked for."""
    spec = linked.spec
    related: dict[str, Schema] = {}
    for to_one in entity.to_one:
        target = to_one.target
        other = schema_ref(spec, target.entity)
        if target.model != spec.name:
            # Its own schema is in the document of its model, which need not be at hand.
            described = f"{one(target.entity, 'A')} of the model {linked.targets[target].domain}."
            other = {"type": "object", "description": described}
        listed = entity.attributes[to_one.attribute].is_list
        related[to_one.name] = {"type": "array", "items": other} if listed else _row_or_null(other)
    for to_many in entity.to_many:
        other = schema_ref(spec, to_many.child.entity)
        related[to_many.name] = _row_or_null(other) if to_many.single else {"type": "array", "items": other}
    described = "The attributes that `fields` names, or all; the rows that `expand` names."
    return _object(f"{_titled(spec, entity)}: view", described, related, [])


def _titled(spec: ModelSpec, entity: Entity) -> str:
    """With the model: generators name classes by titles, and two models may each have a `Customer`."""
    return f"{title(spec.name)} {title(entity.name)}"


def _row_or_null(row: Schema) -> Schema:
    return {"anyOf": [row, {"type": "null"}]}


def attribute_schema(attribute: Attribute, targets: Targets, direction: Direction, *, nullable: bool) -> Schema:
    """The values of one attribute, without what is said about it."""
    return _shape(attribute, values.resolve(attribute, targets), direction, nullable=nullable)


def _shape(attribute: Attribute, actual: Attribute, direction: Direction, *, nullable: bool) -> Schema:
    schema = _scalar(actual, direction)
    if attribute.is_list:
        schema = {"type": "array", "items": schema}
    return _or_null(schema) if nullable else schema


def parameter_schema(attribute: Attribute, targets: Targets) -> Schema:
    """The values of a query or path parameter: of the type alone, limits do not matter for a search."""
    return bare_schema(values.resolve(attribute, targets))


@Remembered
def bare_schema(actual: Attribute) -> Schema:
    """The values of an attribute's type, without its limits."""
    bare = replace(actual, min_length=None, max_length=None, pattern=None, minimum=None, maximum=None,
                   exclusive_minimum=None, exclusive_maximum=None, multiple_of=None)  # fmt: skip
    return _scalar(bare, "out" if actual.kind is Kind.DECIMAL else "in")


def method_schema(linked: LinkedModel, method: Method) -> Schema:
    """The body that a method takes."""
    return _object(
        title(method.name),
        "",
        {item.name: _parameter(linked, item) for item in method.parameters},
        [item.name for item in method.parameters if item.required],
        closed=True,
    )


def result_schema(linked: LinkedModel, returns: ValueType) -> Schema:
    """What a method answers."""
    if returns.entity is not None:
        schema = schema_ref(linked.spec, returns.entity.entity)
    else:
        kind = returns.kind or Kind.JSON
        schema = attribute_schema(
            Attribute(name="result", kind=kind), linked.targets, "out", nullable=kind is Kind.JSON
        )
    return {"type": "array", "items": schema} if returns.is_list else schema


def _parameter(linked: LinkedModel, parameter: Parameter) -> Schema:
    spec, targets = linked.spec, linked.targets
    if parameter.type.entity is None:
        return _property(as_attribute(parameter), targets, "in", ())
    entity = entity_of(spec, parameter)
    if entity is None:
        ref = parameter.type.entity
        schema: Schema = {
            "type": "object",
            "description": f"{one(ref.entity, 'A')} of the model {ref.model}.",
        }
    elif not parameter.partial and not parameter.exclude:
        schema = schema_ref(spec, entity.name, "Create")
    else:
        required = required_attributes(entity, parameter)
        given = given_attributes(entity, parameter)
        schema = _object(
            title(entity.name),
            "",
            {item.name: _property(item, targets, "in", ()) for item in given},
            [item.name for item in given if item.name in required],
            closed=True,
        )
    if parameter.type.is_list:
        schema = {"type": "array", "items": schema}
    if not parameter.required:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return {**schema, "description": parameter.description} if parameter.description else schema


def _property(attribute: Attribute, targets: Targets, direction: Direction, locked: Iterable[str]) -> Schema:
    return _described(attribute, values.resolve(attribute, targets), direction, attribute.name in locked)


@Remembered
def _described(attribute: Attribute, actual: Attribute, direction: Direction, locked: bool) -> Schema:  # noqa: FBT001 - by position, to be remembered
    """The values of an attribute, and what people want to know about it."""
    shape = _shape(attribute, actual, direction, nullable=takes_null(attribute))
    schema: Schema = {"title": title(attribute.name), **shape}
    described = attribute.description
    if attribute.reference is not None:
        described = f"{described}\n\n" if described else ""
        described += f"The key of {one(attribute.reference.entity)}."
    if described:
        schema["description"] = described
    if attribute.example is not None:
        schema["examples"] = [attribute.example.value]
    if direction == "in" and attribute.default is not None:
        schema["default"] = attribute.default.value
    if locked:
        schema["readOnly"] = True
    if attribute.write_only:
        schema["writeOnly"] = True
    return schema


def _scalar(attribute: Attribute, direction: Direction) -> Schema:  # noqa: PLR0911 - one return a kind
    if attribute.members:
        return {"type": "string", "enum": values.choices(attribute)}
    match attribute.kind:
        case Kind.DECIMAL:
            return _decimal(attribute, direction)
        case Kind.INTEGER:
            return {"type": "integer", "format": "int64", **_bounds(attribute)}
        case Kind.FLOAT:
            return {"type": "number", "format": "double", **_bounds(attribute)}
        case Kind.BOOLEAN:
            return {"type": "boolean"}
        case Kind.JSON:
            return {"type": list(_ANY_BUT_NULL), "items": {}}  # without it generators refuse the whole entity
        case _:
            return _text(attribute)


def _text(attribute: Attribute) -> Schema:
    least = attribute.min_length
    if attribute.primary_key and not least and attribute.kind in TEXTS:
        least = 1
    named = {
        "format": _FORMATS.get(attribute.kind),
        "minLength": least,
        "maxLength": attribute.max_length,
        "pattern": _TIME_PATTERN if attribute.kind is Kind.TIME else attribute.pattern,
    }
    schema: Schema = {"type": "string", **{name: value for name, value in named.items() if value is not None}}
    if attribute.primary_key and attribute.kind in TEXTS:
        schema["not"] = {"enum": list(values.UNADDRESSABLE)}
    return schema


def _decimal(attribute: Attribute, direction: Direction) -> Schema:
    scale = values.DEFAULT_SCALE if attribute.scale is None else attribute.scale
    whole = values.whole_digits(attribute)
    digits = rf"[0-9]{{1,{max(whole, 1)}}}"
    pattern = rf"^-?{digits}(\.[0-9]{{1,{scale}}})?$" if scale else f"^-?{digits}$"
    if direction == "out":
        return {"type": "string", "format": "decimal", "pattern": pattern}
    return {"type": ["string", "number"], "format": "decimal", "pattern": pattern, **_bounds(attribute)}


def _bounds(attribute: Attribute) -> Schema:
    named = {
        "minimum": attribute.minimum,
        "maximum": attribute.maximum,
        "exclusiveMinimum": attribute.exclusive_minimum,
        "exclusiveMaximum": attribute.exclusive_maximum,
        "multipleOf": attribute.multiple_of,
    }
    return {name: number(value) for name, value in named.items() if value is not None}


def number(value: Decimal) -> int | float:
    """A bound as a JSON number."""
    return int(value) if value == value.to_integral_value() else float(value)


def _or_null(schema: Schema) -> Schema:
    types = schema["type"]
    nullable = {**schema, "type": [*types, "null"] if isinstance(types, list) else [types, "null"]}
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    return nullable


def _object(name: str, description: str, properties: Schema, required: list[str], *, closed: bool = False) -> Schema:
    schema: Schema = {"title": name, "type": "object"}
    if description:
        schema["description"] = description
    schema["properties"] = properties
    if required:
        schema["required"] = required
    if closed:
        schema["additionalProperties"] = False
    return schema


def _page(spec: ModelSpec, entity: Entity) -> Schema:
    return _object(
        f"{_titled(spec, entity)}: page",
        "",
        {
            "items": {
                "type": "array",
                "items": {"anyOf": [schema_ref(spec, entity.name), schema_ref(spec, entity.name, "View")]},
            },
            "total": {"type": ["integer", "null"], "description": "How many rows there are; null with `count=none`."},
            "skip": {"type": "integer"},
            "limit": {"type": "integer"},
            "next": {"type": ["string", "null"], "description": "The `cursor` of the next page, if there is one."},
        },
        ["items", "total", "skip", "limit", "next"],
    )


def listed_rules(heading: str, rules: Iterable[ModelRule]) -> str:
    """Rules for people, one a line."""
    return f"{heading}:\n" + "\n".join(f"- {one.name}: {' '.join(one.text.split())}" for one in rules)


def _states(states: States) -> str:
    moves = [f"from {before} to {' or '.join(after)}" for before, after in states.moves]
    changes = f"it is changed {', '.join(moves)}, and else by methods alone" if moves else "methods alone change it"
    return f"`{states.field}` begins as {' or '.join(states.initial)}; {changes}."


def _description(entity: Entity, targets: Targets) -> str:
    """What the entity is, and every constraint: those that hold, and those that nobody enforces."""
    enforced = [item for item in entity.constraints if is_enforced(item, entity, targets)]
    prose = [item for item in entity.constraints if item not in enforced]
    parts = [entity.description] if entity.description else []
    if enforced:
        parts.append("Constraints:\n" + "\n".join(f"- {item.text}" for item in enforced))
    if entity.rules:
        parts.append(listed_rules("Rules", entity.rules))
    if entity.states is not None:
        parts.append(_states(entity.states))
    if prose:
        parts.append("Not enforced:\n" + "\n".join(f"- {item.text}" for item in prose))
    return "\n\n".join(parts)
