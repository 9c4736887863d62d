"""A document to a spec: one function tells in which order names get their meaning.

Entities first, then what refers to them, then what the paths of an API have to share. Whoever
finds an error adds it and goes on; the spec that comes out counts only if there was none.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from watcherd.pim.attributes import entity_attributes
from watcherd.pim.examples import examples
from watcherd.pim.findings import quote
from watcherd.pim.flow_checks import check_flows
from watcherd.pim.flows import flows, free_json
from watcherd.pim.names import Place, Taken, is_domain, is_segment, name_fault, nfc, plural
from watcherd.pim.relations import EntityParts, Relations, relate
from watcherd.pim.rules import check_method_rules, entity_rules, model_rules
from watcherd.pim.sentences import constraint, known_attributes, may_be_unique
from watcherd.pim.services import services
from watcherd.pim.spec import Constraint, Entity, EntityRef, Index, Json, ModelRule, ModelSpec, States, fold, read_only
from watcherd.pim.states import states

if TYPE_CHECKING:
    from watcherd.pim.document import EntityDoc
    from watcherd.pim.shapes import Draft, Path


def resolve(draft: Draft, reserved_domains: frozenset[str]) -> tuple[ModelSpec, tuple[tuple[EntityRef, Path], ...]]:
    """The spec of a document, and each place that refers to an entity of another model."""
    document = draft.document
    _check_domain(draft, reserved_domains)
    plurals = Taken()
    parts = _entities(draft, plurals)
    relations = relate(draft, parts)
    rules = model_rules(draft, parts)
    entities = {name: _entity(draft, one, relations, entity_rules(rules, name)) for name, one in parts.items()}
    _check_not_empty(draft)
    made_services = services(draft, parts, plurals)
    check_method_rules(draft, rules, made_services, entities)
    made_flows = flows(draft)
    check_flows(draft, made_flows, made_services, entities)
    metadata = Json.of({}) if document.metadata is None else free_json(draft, ("metadata",), document.metadata)
    declared = _depends_on(draft)
    spec = ModelSpec(
        domain=document.domain,
        title=document.title,
        version=document.version,
        description=document.description,
        renamed_from=_old_domain(draft),
        depends_on=frozenset({*declared, *(reference.model for reference, _ in relations.foreign)} - {draft.model}),
        entities=read_only(entities),
        services=read_only(made_services),
        flows=read_only(made_flows),
        rules=read_only(rules),
        metadata=metadata,
    )
    return spec, relations.foreign


def _check_domain(draft: Draft, reserved: frozenset[str]) -> None:
    domain = draft.document.domain
    if not is_domain(domain):
        hint = "lower-case ASCII words joined by `-`, such as `order-management`; `title` may be in any language"
        draft.add("PIM201", ("domain",), f"{quote(domain)} cannot be a domain", hint)
    elif draft.model in {fold(word) for word in reserved}:
        hint = "choose another domain, or set an API prefix"
        draft.add("PIM202", ("domain",), f"the path {quote('/' + domain)} is one of the daemon's own", hint)


def _depends_on(draft: Draft) -> set[str]:
    found = set()
    for index, domain in enumerate(draft.document.depends_on):
        if is_domain(domain):
            found.add(fold(domain))
        else:
            draft.add("PIM201", ("depends_on", index), f"{quote(domain)} cannot be the domain of a model")
    return found


def _old_domain(draft: Draft) -> str | None:
    old = draft.document.renamed_from
    if old is not None and not is_domain(old):
        draft.add("PIM201", ("renamed_from",), f"{quote(old)} was never a domain")
        return None
    return old


def _entities(draft: Draft, plurals: Taken) -> dict[str, EntityParts]:
    """The entities that have a sound name, with their attributes."""
    documents = draft.document.entities
    if len(documents) > draft.limits.max_entities:
        message = f"the model has {len(documents)} entities; at most {draft.limits.max_entities} are read"
        draft.add("PIM105", ("entities",), message, "split the model into several")
        draft.broken.add(("entity", "*"))
        return {}
    found: dict[str, EntityParts] = {}
    taken = Taken()
    for index, document in enumerate(documents):
        path: Path = ("entities", index)
        name = nfc(document.name)
        if _is_sound_name(draft, path, name, taken):
            segment = _plural(draft, path, name, document, plurals)
            attributes = draft.meaning("attributes", document, (), partial(entity_attributes, draft, path, document))
            # A copy: relationships turn some of them into references.
            found[name] = EntityParts(name, segment, path, document, dict(attributes))
    return found


def _is_sound_name(draft: Draft, path: Path, name: str, taken: Taken) -> bool:
    fault = name_fault(name)
    if fault is None and name.isascii() and not name[:1].isupper():
        fault = "in ASCII it is PascalCase, such as `OrderItem`"
    if fault is not None:
        draft.add("PIM203", (*path, "name"), f"{quote(name)} cannot name an entity: {fault}")
        draft.broken.add(("entity", name))
        return False
    first = taken.take(name, Place((*path, "name")))
    if first is not None:
        alike = f"{quote(name)} is the same name as {quote(first)}"
        message = f"the entity {quote(name)} is here twice" if first == name else alike
        draft.add("PIM204", (*path, "name"), message, related=draft.declared_first(taken, first))
        draft.broken.add(("entity", name))
    return first is None


def _plural(draft: Draft, path: Path, name: str, document: EntityDoc, plurals: Taken) -> str:
    declared = None if document.plural is None else nfc(document.plural)
    if declared is not None and not is_segment(declared):
        hint = "words joined by `-`, such as `order-items`"
        draft.add("PIM205", (*path, "plural"), f"{quote(declared)} cannot be a path segment", hint)
        declared = None
    segment = plural(name) if declared is None else declared
    at = (*path, "name" if declared is None else "plural")
    first = plurals.take(segment, Place(at))
    if first is not None:
        message = f"the path {quote(segment)} of {quote(name)} is taken: {quote(first)}"
        related = draft.declared_first(plurals, first)
        draft.add("PIM206", at, message, "give one of them another `plural`", related=related)
    return segment


def _entity(draft: Draft, parts: EntityParts, relations: Relations, rules: tuple[ModelRule, ...]) -> Entity:
    ends = relations.to_one[parts.name], relations.to_many[parts.name]
    given = (parts.plural, [*parts.attributes.values()], *ends, rules)
    return draft.meaning("entity", parts.document, given, lambda: _made(draft, parts, relations, rules))


def _made(draft: Draft, parts: EntityParts, relations: Relations, rules: tuple[ModelRule, ...]) -> Entity:
    constraints: list[Constraint] = []
    for index, document in enumerate(parts.document.constraints):
        made = constraint(draft, (*parts.path, "constraints", index), document, parts.name, parts.attributes)
        if made is not None:
            constraints.append(made)
    old = parts.document.renamed_from
    if old is not None and (fault := name_fault(nfc(old))):
        message = f"{quote(old)} was never the name of an entity: {fault}"
        draft.add("PIM203", (*parts.path, "renamed_from"), message)
        old = None
    return Entity(
        name=parts.name,
        plural=parts.plural,
        description=parts.document.description,
        renamed_from=None if old is None else nfc(old),
        attributes=read_only(parts.attributes),
        constraints=tuple(constraints),
        rules=rules,
        states=_states(draft, parts),
        indexes=_indexes(draft, parts),
        to_one=relations.to_one[parts.name],
        to_many=relations.to_many[parts.name],
        examples=examples(draft, (*parts.path, "examples"), parts.document.examples, "create"),
    )


def _states(draft: Draft, parts: EntityParts) -> States | None:
    document = parts.document.states
    return None if document is None else states(draft, (*parts.path, "states"), document, parts)


def _indexes(draft: Draft, parts: EntityParts) -> tuple[Index, ...]:
    found = []
    for index, document in enumerate(parts.document.indexes):
        path = (*parts.path, "indexes", index)
        at = (*path, "fields") if draft.node((*path, "fields")) is not None else path
        names = known_attributes(draft, at, document.fields, parts.name, parts.attributes)
        if names is not None and may_be_unique(draft, at, names, parts.attributes):
            found.append(Index(attributes=names, unique=document.unique, name=document.name))
    return tuple(found)


def _check_not_empty(draft: Draft) -> None:
    document = draft.document
    has_any = document.entities or document.services or draft.has_broken("entity") or draft.has_broken("service")
    if not has_any:
        hint = "add an entity under `entities`"
        draft.add("PIM107", ("domain",), "a model has at least one entity or one service", hint)
