"""Services: methods, the types of their parameters and results, and the paths that they get."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from watcherd.pim.attributes import checked_members, default_value, entity_ref
from watcherd.pim.examples import examples
from watcherd.pim.findings import Nearest, quote
from watcherd.pim.kinds import ValueKind, type_hint, type_name
from watcherd.pim.names import Place, Taken, is_segment, kebab, name_fault, nfc
from watcherd.pim.nodes import ListNode
from watcherd.pim.spec import EntityRef, HandlerRef, Kind, Method, Parameter, Service, ValueType
from watcherd.pim.states import transition
from watcherd.pim.values import Limited

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcherd.pim.document import MethodDoc, ParameterDoc, ServiceDoc
    from watcherd.pim.relations import EntityParts
    from watcherd.pim.shapes import Draft, Path

_NOTHING = frozenset({"void", "none", "nothing"})


def services(draft: Draft, entities: Mapping[str, EntityParts], plurals: Taken) -> dict[str, Service]:
    """All services; `plurals` are the path segments that entities have taken already."""
    made: dict[str, Service] = {}
    names = (*entities,), (*draft.document.flows,), (*draft.document.rules,)
    for index, document in enumerate(draft.document.services):
        path: Path = ("services", index)
        name = nfc(document.name)
        if _is_free(draft, (*path, "name"), name, "service", plurals):
            make = partial(_service, draft, path, name, document, entities)
            made[name] = draft.meaning("service", document, names, make) if _needs_names_alone(document) else make()
    return made


def _needs_names_alone(document: ServiceDoc) -> bool:
    """Whether a service means the same whatever the entities are that it names."""
    return not any(
        method.transition is not None or any(one.exclude for one in method.parameters.values())
        for method in document.methods
    )


def _is_free(draft: Draft, path: Path, name: str, noun: str, taken: Taken) -> bool:
    """Whether a service or method can have this name: well formed, and its path not taken."""
    if name_fault(name.replace("-", "_")) or not is_segment(kebab(name)):
        message = f"{quote(name)} cannot name a {noun}: a name is made of letters, digits, `_` and `-`"
        draft.add("PIM203", path, message)
        return False
    first = taken.take(name, Place(path))
    if first is not None:
        message = f"the {noun} {quote(name)} has the path of {quote(first)}: {quote(kebab(name))}"
        draft.add("PIM206", path, message, related=draft.declared_first(taken, first))
    return first is None


def _service(draft: Draft, path: Path, name: str, document: ServiceDoc, entities: Mapping[str, EntityParts]) -> Service:
    taken = Taken()
    methods = []
    for index, method in enumerate(document.methods):
        at = (*path, "methods", index)
        method_name = nfc(method.name)
        if _is_free(draft, (*at, "name"), method_name, "method", taken):
            methods.append(_method(draft, at, method_name, method, entities))
    return Service(name=name, path=kebab(name), description=document.description, methods=tuple(methods))


def _method(draft: Draft, path: Path, name: str, document: MethodDoc, entities: Mapping[str, EntityParts]) -> Method:
    taken = Taken()
    parameters = [
        made
        for written, one in document.parameters.items()
        if (made := _parameter(draft, (*path, "parameters", written), one, entities, taken))
    ]
    if not isinstance(draft.node((*path, "parameters")), ListNode):
        parameters.sort(key=lambda parameter: parameter.name)  # the order of a mapping means nothing
    key = draft.one_of(path, document, ("returns", "return_type"))
    written = None if key is None else getattr(document, key)
    returns = None
    if key is not None and written is not None and written.strip().lower() not in _NOTHING:
        returns = _value_type(draft, (*path, key), written, entities)
    flow = document.flow
    if flow is not None and flow not in draft.document.flows and not draft.is_broken("flow", flow):
        draft.add("PIM403", (*path, "flow"), f"there is no flow {quote(flow)}", Nearest(flow, draft.document.flows))
    for index, rule in enumerate(document.rules):
        if rule not in draft.document.rules and not draft.is_broken("rule", rule):
            hint = Nearest(rule, draft.document.rules)
            draft.add("PIM404", (*path, "rules", index), f"there is no rule {quote(rule)}", hint)
    return Method(
        name=name,
        path=kebab(name),
        description=document.description,
        parameters=tuple(parameters),
        returns=returns,
        flow=flow,
        rules=document.rules,
        examples=examples(draft, (*path, "examples"), document.examples, "call"),
        handler=None if document.handler is None else _handler(draft, (*path, "handler"), document.handler),
        transition=transition(draft, path, document, parameters, returns, entities),
    )


def _handler(draft: Draft, path: Path, text: str) -> HandlerRef | None:
    """`orders.py:create_order`: a file at or below the model's own folder, and a function in it."""
    file, _, function = text.strip().rpartition(":")
    parts = file.split("/")
    is_path = file.endswith(".py") and all(part not in {"", ".", ".."} and not part.startswith(".") for part in parts)
    if not is_path or not function.isidentifier() or any("." in part for part in (*parts[:-1], parts[-1][:-3])):
        hint = "such as `orders.py:create_order`: a file beside this one or below it, and a function in it"
        draft.add("PIM420", path, f"{quote(text)} cannot be a handler", hint)
        return None
    return HandlerRef(file, function)


def _parameter(
    draft: Draft,
    path: Path,
    document: ParameterDoc,
    entities: Mapping[str, EntityParts],
    taken: Taken,
) -> Parameter | None:
    name = nfc(str(path[-1]))
    if fault := name_fault(name):
        draft.add("PIM203", path, f"{quote(name)} cannot name a parameter: {fault}", key=True)
        return None
    if (first := taken.take(name, Place(path, key=True))) is not None:
        message = f"{quote(name)} is the same name as {quote(first)}"
        draft.add("PIM204", path, message, key=True, related=draft.declared_first(taken, first))
        return None
    members_key = draft.one_of(path, document, ("enum", "values", "enum_values"))
    members: tuple[str, ...] = ()
    if members_key is not None:
        members = checked_members(draft, (*path, members_key), getattr(document, members_key))
    type_ = _parameter_type(draft, path, document, members, entities)
    if type_ is None:
        return None
    _check_entity_keys(draft, path, document, type_, entities)
    if document.required is not None and document.required == document.optional:
        draft.add("PIM215", (*path, "optional"), "`required` and `optional` contradict each other", key=True)
    default = None
    if document.default is not None and type_.kind is None:
        draft.add("PIM209", (*path, "default"), "a parameter that is an entity has no default", key=True)
    elif document.default is not None and type_.kind is not None:
        kind = ValueKind(type_.kind, type_.is_list, members, None)
        default = default_value(draft, (*path, "default"), document.default, kind, Limited(members=members))
    return Parameter(
        name=name,
        type=type_,
        required=document.default is None and document.optional is not True and document.required is not False,
        default=default,
        description=document.description,
        exclude=tuple(nfc(one) for one in document.exclude),
        partial=document.partial,
        members=members,
    )


def _parameter_type(
    draft: Draft,
    path: Path,
    document: ParameterDoc,
    members: tuple[str, ...],
    entities: Mapping[str, EntityParts],
) -> ValueType | None:
    if document.type is None:
        if members:
            return ValueType(kind=Kind.ENUM)
        draft.add("PIM102", path, f"parameter {quote(str(path[-1]))} has no `type`", key=True)
        return None
    at = (*path, "type") if draft.node((*path, "type")) is not None else path
    type_ = _value_type(draft, at, document.type, entities)
    if type_ is None:
        return None
    if members and type_.kind in {Kind.ENUM, Kind.STRING, Kind.TEXT}:
        return ValueType(kind=Kind.ENUM, is_list=type_.is_list)
    if members:
        draft.add("PIM208", at, "only an enum has members: members are text", "write `type: enum`")
    elif type_.kind is Kind.ENUM:
        draft.add("PIM208", at, "an enum needs its members", "such as `enum: [active, inactive]`")
    else:
        return type_
    return None


def _value_type(draft: Draft, path: Path, text: str, entities: Mapping[str, EntityParts]) -> ValueType | None:
    """A scalar kind, an entity of this model, or a list of either; anything else is a finding."""
    named = type_name(text)
    reference = entity_ref(named.name, draft.model)
    if reference is not None and reference.model == draft.model and reference.entity in entities:
        return ValueType(entity=reference, is_list=named.is_list)
    if named.kind is not None and named.kind is not Kind.REFERENCE:
        return ValueType(kind=named.kind, is_list=named.is_list)
    if reference is not None and reference.model != draft.model:
        message = f"{quote(text)} is in another model: only entities of this one can be parameters and results"
        draft.add("PIM408", path, message, "pass its key instead")
    elif reference is None or not draft.is_broken("entity", reference.entity):
        hint = type_hint(named.name, frozenset(entities), may_be_entity=True)
        draft.add("PIM401", path, f"{quote(text)} is neither a type nor an entity", hint)
    return None


def _check_entity_keys(
    draft: Draft, path: Path, document: ParameterDoc, type_: ValueType, entities: Mapping[str, EntityParts]
) -> None:
    if type_.entity is None:
        for key in ("exclude", "partial"):
            if getattr(document, key):
                message = f"`{key}` means something for a parameter that is an entity only"
                draft.add("PIM402", (*path, key), message, key=True)
        return
    entity: EntityRef = type_.entity
    attributes = entities[entity.entity].attributes
    for index, written in enumerate(document.exclude):
        if nfc(written) not in attributes and not draft.is_broken("attribute", entity.entity, nfc(written)):
            message = f"entity {quote(entity.entity)} has no attribute {quote(written)}"
            draft.add("PIM304", (*path, "exclude", index), message, Nearest(written, attributes))
