"""Relationships: which attribute carries the key of which entity, and what both ends are called.

`belongs to`, `references`, `has many` and `has one` all speak of one thing, an attribute of the
child that holds the key of the parent; written as a string or a number, it becomes a reference
here. Every reference attribute is a to-one end, whether a relationship is written or not. Entities
of other models are looked up later, in `linking`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from watcherd.pim.attributes import entity_ref
from watcherd.pim.findings import Nearest, quote
from watcherd.pim.names import Place, Taken, name_fault, nfc, plural, snake
from watcherd.pim.spec import Attribute, EntityRef, Kind, OnDelete, ToMany, ToOne

if TYPE_CHECKING:
    from watcherd.pim.document import EntityDoc, RelationshipDoc
    from watcherd.pim.shapes import Draft, Path

_SENTENCE = re.compile(
    r"(?P<verb>belongs to|references|refers to|has many|has one)"
    r"(?: (?:an?|the|one|many))? (?P<target>[\w.-]+(?: [\w-]+)*?)"
    r"(?: (?:via|through|by|using) (?P<via>\w+))?(?: as (?P<name>\w+))?",
    re.IGNORECASE,
)
_VERBS = {"belongs to": "belongs_to", "references": "belongs_to", "refers to": "belongs_to"}
_LONGEST_SENTENCE = 500
_SPACES = re.compile(r"[-_ ]")
_KEY_ENDING = re.compile(r"(?<=.)(_id|Id|ID)$")
_CARRIES_KEY = frozenset({Kind.STRING, Kind.INTEGER, Kind.UUID, Kind.REFERENCE})
_LIMITS = (
    "min_length",
    "max_length",
    "pattern",
    "minimum",
    "maximum",
    "exclusive_minimum",
    "exclusive_maximum",
    "multiple_of",
)


@dataclass(frozen=True, slots=True)
class EntityParts:
    """An entity whose attributes are known; relationships still turn some of them into references."""

    name: str
    plural: str
    path: Path
    document: EntityDoc
    attributes: dict[str, Attribute]

    @property
    def key(self) -> Attribute:
        """The primary key."""
        return next(attribute for attribute in self.attributes.values() if attribute.primary_key)


class Relations(NamedTuple):
    """Both kinds of ends by entity name, and every place that speaks of an entity of another model."""

    to_one: dict[str, tuple[ToOne, ...]]
    to_many: dict[str, tuple[ToMany, ...]]
    foreign: tuple[tuple[EntityRef, Path], ...]


class _Said(NamedTuple):
    """One relationship as written."""

    verb: str  # belongs_to, has_many or has_one
    target: str
    via: str | None
    name: str | None
    path: Path


class _Carried(NamedTuple):
    """One relationship with the attribute that carries it."""

    said: _Said
    child: EntityParts
    attribute: str


def relate(draft: Draft, entities: dict[str, EntityParts]) -> Relations:
    """Resolve all relationships of a model; attributes in `entities` become references on the way."""
    foreign: list[tuple[EntityRef, Path]] = []
    carried: dict[str, list[_Carried]] = {}
    for entity in entities.values():
        _check_references(draft, entity, entities, foreign)
    for entity in entities.values():
        for index, document in enumerate(entity.document.relationships):
            said = _said(draft, (*entity.path, "relationships", index), document)
            found = said and _carry(draft, entity, said, entities, foreign)
            if found:
                carried.setdefault(entity.name, []).append(found)
    for entity in entities.values():
        _check_targets(draft, entity)
    to_one: dict[str, tuple[ToOne, ...]] = {}
    to_many: dict[str, tuple[ToMany, ...]] = {}
    for entity in entities.values():
        taken = Taken()
        for attribute in entity.attributes:
            taken.take(attribute, Place((*entity.path, "attributes", attribute), key=True))
        to_one[entity.name] = _to_one(draft, entity, carried.get(entity.name, []), taken)
        to_many[entity.name] = _to_many(draft, carried.get(entity.name, []), taken)
    return Relations(to_one, to_many, tuple(foreign))


def _check_references(
    draft: Draft,
    entity: EntityParts,
    entities: dict[str, EntityParts],
    foreign: list[tuple[EntityRef, Path]],
) -> None:
    for name, attribute in entity.attributes.items():
        target = attribute.reference
        if target is None:
            continue
        at = (*entity.path, "attributes", name)
        key = "reference" if draft.node((*at, "reference")) is not None else "reference_entity"
        if target.model != draft.model:
            foreign.append((target, (*at, key)))
        elif target.entity not in entities:
            if not draft.is_broken("entity", target.entity):
                _no_entity(draft, (*at, key), target.entity, entities)
        else:
            _check_key_type(draft, at, attribute, entities[target.entity])


def _no_entity(draft: Draft, path: Path, written: str, entities: dict[str, EntityParts]) -> None:
    hint = Nearest(written, entities, "an entity of another model is written `model.Entity`")
    draft.add("PIM307", path, f"there is no entity {quote(written)} in this model", hint)


def _said(draft: Draft, path: Path, document: RelationshipDoc) -> _Said | None:
    if document.sentence is not None:
        sentence = " ".join(nfc(document.sentence).split()).rstrip(".")
        found = _SENTENCE.fullmatch(sentence) if len(sentence) <= _LONGEST_SENTENCE else None
        if found is None:
            hint = "write `belongs to Order`, `references Product`, `has many OrderItems` or `has one Profile`"
            draft.add("PIM306", path, f"{quote(document.sentence)} is not a relationship", hint)
            return None
        verb = found["verb"].lower()
        return _Said(_VERBS.get(verb, verb.replace(" ", "_")), found["target"], found["via"], found["name"], path)
    kinds = ("belongs_to", "references", "has_many", "has_one")
    written = [kind for kind in kinds if getattr(document, kind) is not None]
    if len(written) != 1:
        draft.add("PIM306", path, f"expected exactly one of {', '.join(kinds)}")
        return None
    if document.name is not None and (fault := name_fault(nfc(document.name))):
        draft.add("PIM203", (*path, "name"), f"{quote(document.name)} cannot name a relation: {fault}")
        return None
    verb = "belongs_to" if written[0] == "references" else written[0]
    via, name = (None if text is None else nfc(text) for text in (document.via, document.name))
    return _Said(verb, nfc(getattr(document, written[0])), via, name, path)


def _carry(
    draft: Draft,
    entity: EntityParts,
    said: _Said,
    entities: dict[str, EntityParts],
    foreign: list[tuple[EntityRef, Path]],
) -> _Carried | None:
    """Find the attribute that carries a relationship, and make it a reference."""
    other = _target(draft, said, entities)
    if other is None:
        return None
    is_local = other.model == draft.model
    if said.verb == "belongs_to":
        child, parent = entity, other
        if not is_local:
            foreign.append((other, said.path))
    elif is_local:
        child, parent = entities[other.entity], EntityRef(draft.model, entity.name)
    else:
        message = f"{quote(said.target)} is in another model: write `belongs to` there, on the other end"
        draft.add("PIM307", said.path, message)
        return None
    name = _carrier(draft, said, child, parent)
    if name is None:
        return None
    carried = _Carried(said, child, name)
    target = entities[parent.entity] if parent.model == draft.model else None
    return carried if _make_reference(draft, carried, parent, target) else None


def _target(draft: Draft, said: _Said, entities: dict[str, EntityParts]) -> EntityRef | None:
    if "." in said.target:
        reference = entity_ref(said.target, draft.model)
        if reference is None:
            draft.add("PIM307", said.path, f"{quote(said.target)} names no entity")
            return None
        if reference.model != draft.model or reference.entity in entities:
            return reference
    elif said.target in entities:
        return EntityRef(draft.model, said.target)
    else:
        loose = _SPACES.sub("", said.target).casefold()
        for name, entity in entities.items():
            spellings = (name, entity.plural, plural(name))
            if any(_SPACES.sub("", spelling).casefold() == loose for spelling in spellings):
                return EntityRef(draft.model, name)
    wanted = said.target.rpartition(".")[2][:_LONGEST_SENTENCE]
    is_broken = any(
        kind == "entity" and (rest[0] == "*" or plural(rest[0]) == plural(wanted) or plural(rest[0]) == snake(wanted))
        for kind, *rest in draft.broken
    )
    if not is_broken:
        _no_entity(draft, said.path, wanted, entities)
    return None


def _carrier(draft: Draft, said: _Said, child: EntityParts, parent: EntityRef) -> str | None:
    """The attribute of `child` that holds the key of `parent`."""
    if said.via is not None:
        if said.via in child.attributes:
            return said.via
        if not draft.is_broken("attribute", child.name, said.via):
            message = f"entity {quote(child.name)} has no attribute {quote(said.via)}"
            draft.add("PIM308", said.path, message, Nearest(said.via, child.attributes))
        return None
    explicit = [name for name, one in child.attributes.items() if one.reference == parent]
    stem = snake(parent.entity)
    named = [
        name
        for name, one in child.attributes.items()
        if (one.reference is None or one.reference == parent)
        and (snake(name) == f"{stem}_id" or (snake(name) == stem and one.kind is Kind.REFERENCE))
    ]
    found = [name for name in explicit if name in named] or explicit or named
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(quote(name) for name in found)
        message = f"{shown} of {quote(child.name)} could each carry the key of {quote(parent.entity)}"
        draft.broken.update(("attribute", child.name, name) for name in found)
        draft.add("PIM309", said.path, message, f"say which: `{{{said.verb}: {parent.entity}, via: {found[0]}}}`")
    elif not draft.has_broken("attribute", child.name):
        expected = parent.entity[:1].lower() + parent.entity[1:] + "Id"
        message = f"no attribute of {quote(child.name)} carries the key of {quote(parent.entity)}"
        draft.add("PIM308", said.path, message, f"expected the attribute `{expected}` (or `{stem}_id`) on {child.name}")
    return None


def _make_reference(draft: Draft, carried: _Carried, parent: EntityRef, target: EntityParts | None) -> bool:
    said, child, name = carried
    attribute = child.attributes[name]
    if attribute.reference == parent:
        return True
    if attribute.reference is not None:
        message = f"{quote(name)} of {quote(child.name)} refers to {quote(attribute.reference.entity)} already"
        draft.add("PIM308", said.path, message)
        return False
    if attribute.kind not in _CARRIES_KEY or attribute.is_list or attribute.implied:
        message = f"{quote(name)} of {quote(child.name)} cannot carry a key: it is {attribute.kind.value}"
        draft.add("PIM308", said.path, message, "write `type: reference`")
        return False
    at = (*child.path, "attributes", name)
    if target is not None:
        _check_key_type(draft, at, attribute, target)
    for limit in _LIMITS:
        if getattr(attribute, limit) is not None:
            draft.add("PIM210", at, f"`{limit}` means nothing for a key of another entity: not enforced", key=True)
    child.attributes[name] = replace(
        attribute,
        kind=Kind.REFERENCE,
        reference=parent,
        min_length=None,
        max_length=None,
        pattern=None,
        minimum=None,
        maximum=None,
        exclusive_minimum=None,
        exclusive_maximum=None,
        multiple_of=None,
    )
    return True


def _check_key_type(draft: Draft, at: Path, attribute: Attribute, target: EntityParts) -> None:
    """Warn where the type as written cannot be that of the key; the key's type is what counts."""
    if attribute.default is not None or attribute.kind is not Kind.REFERENCE:
        is_number = isinstance(attribute.default.value, int) if attribute.default else attribute.kind is Kind.INTEGER
        if is_number != (target.key.kind is Kind.INTEGER):
            message = f"the key of {quote(target.name)} is {target.key.kind.value}, and so is {quote(attribute.name)}"
            draft.add("PIM311", at, message, "write `type: reference`")


def _check_targets(draft: Draft, entity: EntityParts) -> None:
    for name, attribute in entity.attributes.items():
        at = (*entity.path, "attributes", name)
        if attribute.kind is not Kind.REFERENCE:
            if attribute.on_delete is not OnDelete.RESTRICT:
                draft.add("PIM210", (*at, "on_delete"), "`on_delete` means nothing without a reference", key=True)
            continue
        if attribute.reference is None and not draft.is_broken("attribute", entity.name, name):
            hint = "write `reference: User`, or `belongs to User` under `relationships`"
            draft.add("PIM217", (*at, "type"), f"{quote(name)} does not say to which entity it refers", hint)
        if attribute.primary_key:
            draft.add("PIM213", at, f"the primary key {quote(name)} cannot be the key of another entity", key=True)


def _to_one(draft: Draft, entity: EntityParts, carried: list[_Carried], taken: Taken) -> tuple[ToOne, ...]:
    named = {one.attribute: one.said for one in carried if one.said.verb == "belongs_to" and one.said.name is not None}
    ends = []
    for attribute in entity.attributes.values():
        if attribute.reference is None:
            continue
        said = named.get(attribute.name)
        name = (said.name if said else None) or to_one_name(attribute.name)
        path = said.path if said else (*entity.path, "attributes", attribute.name)
        if _take(draft, path, name, taken):
            ends.append(ToOne(name=name, attribute=attribute.name, target=attribute.reference))
    return tuple(sorted(ends, key=lambda end: end.name))


def to_one_name(attribute: str) -> str:
    """Under what a related row is expanded: `patientId` -> `patient`, `order` -> `order_row`."""
    stem = _KEY_ENDING.sub("", attribute)
    return f"{attribute}_row" if stem == attribute or name_fault(stem) else stem


def _to_many(draft: Draft, carried: list[_Carried], taken: Taken) -> tuple[ToMany, ...]:
    ends = []
    for said, child, via in carried:
        if said.verb == "belongs_to":
            continue
        is_single = said.verb == "has_one"
        name = said.name or (snake(child.name) if is_single else child.plural.replace("-", "_"))
        if _take(draft, said.path, name, taken):
            ends.append(ToMany(name=name, child=EntityRef(draft.model, child.name), via=via, single=is_single))
    return tuple(sorted(ends, key=lambda end: end.name))


def _take(draft: Draft, path: Path, name: str, taken: Taken) -> bool:
    first = taken.take(name, Place(path, key=True))
    if first is not None:
        message = f"the relation {quote(name)} has the name of {quote(first)}"
        hint = "name it otherwise: `name: ...` in the mapping form of the relationship"
        draft.add("PIM310", path, message, hint, key=True, related=draft.declared_first(taken, first))
    return first is None
