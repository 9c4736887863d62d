"""What a method returned -> its answer, or why it is none.

A method promises what it `returns`, and clients are generated from that promise: a result that
breaks it is a failure of the method, never an answer. Attributes that no answer shows are left out.
Without `returns` a method that returns nothing is answered 204, and anything else as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import PydanticSerializationError, SchemaValidator, core_schema, to_json

from watcherd.compile import reading
from watcherd.compile.relations import hidden_of
from watcherd.compile.validators import any_json, attribute_schema
from watcherd.errors import WatcherdError
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Attribute, Entity, Kind, Method
from watcherd.problems import Finding
from watcherd.services.access import wire
from watcherd.wire import Answer

Result = Callable[[Any], Answer]

_SHOWN = 3  # findings of a wrong result that are told


class InvalidResultError(WatcherdError):
    """A method returned what its `returns` does not allow; a failure of the method (500)."""


def compile_result(linked: LinkedModel, name: str, method: Method) -> Result:
    """What makes an answer of what the method returned. Raises `InvalidResultError`."""
    returns = method.returns
    if returns is None:
        return lambda value: _anything(name, value)
    entity = None if returns.entity is None else linked.spec.entities[returns.entity.entity]
    if entity is None:
        kind = returns.kind or Kind.JSON
        schema = attribute_schema(Attribute(name="result", kind=kind), linked.targets, nullable=kind is Kind.JSON)
    else:
        schema = _row_schema(entity, linked)
    if returns.is_list:
        schema = core_schema.list_schema(schema, strict=True)
    validator = SchemaValidator(core_schema.typed_dict_schema({"result": core_schema.typed_dict_field(schema)}))
    hidden = frozenset() if entity is None else hidden_of(entity)
    known = () if entity is None else tuple(one for one in entity.attributes if one not in hidden)

    def answer(value: Any) -> Answer:
        given = _shown(_wire(name, value), hidden)
        checked, findings = reading.check(validator, {"result": given}, lambda _: (name, known))
        if findings:
            raise _invalid(name, findings)
        return Answer(200, to_json(checked["result"]))

    return answer


def _row_schema(entity: Entity, linked: LinkedModel) -> core_schema.CoreSchema:
    """A whole row as answers show it; what a row may lack is null in it."""
    return core_schema.typed_dict_schema(
        {
            item.name: core_schema.typed_dict_field(
                attribute_schema(_stored(item), linked.targets, nullable=not item.primary_key), required=True
            )
            for item in entity.attributes.values()
            if not item.write_only
        },
        extra_behavior="forbid",
    )


def _stored(item: Attribute) -> Attribute:
    """The attribute without its limits: those of a row were checked when it was written, maybe by an older revision."""
    return Attribute(
        name=item.name,
        kind=item.kind,
        is_list=item.is_list,
        members=item.members,
        precision=item.precision,
        scale=item.scale,
        reference=item.reference,
    )


def _anything(name: str, value: Any) -> Answer:
    if value is None:
        return Answer(204)
    given = _wire(name, value)
    try:
        any_json(given)
        return Answer(200, to_json(given, inf_nan_mode="strings"))
    except (PydanticSerializationError, ValueError) as error:
        raise InvalidResultError(f"{name} returned what JSON cannot say: {error}") from error


def _wire(name: str, value: Any) -> Any:
    try:
        return wire(value)
    except (TypeError, RecursionError) as error:
        raise InvalidResultError(f"{name} returned what JSON cannot say: {error}") from error


def _shown(value: Any, hidden: frozenset[str]) -> Any:
    if not hidden:
        return value
    if isinstance(value, list):
        return [_shown(item, hidden) for item in value]
    if isinstance(value, Mapping):
        return {key: item for key, item in value.items() if key not in hidden}
    return value


def _invalid(name: str, findings: list[Finding]) -> InvalidResultError:
    told = "; ".join(f"{one.pointer.removeprefix('#/')}: {one.message}" for one in findings[:_SHOWN])
    return InvalidResultError(f"{name} returned what its `returns` does not allow: {told}")
