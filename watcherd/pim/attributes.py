"""Attributes: a document's mapping of one attribute to its frozen value, with every default filled in.

Checks what one attribute can be wrong about by itself: its type, members, limits, default, flags.
What it refers to is checked in `relations`, once all entities are known.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from watcherd.pim.findings import Hint, Nearest, quote
from watcherd.pim.kinds import ValueKind, type_hint, type_name
from watcherd.pim.limits import checked_limits
from watcherd.pim.names import Place, Taken, name_fault, nfc, snake
from watcherd.pim.nodes import Node, ScalarNode
from watcherd.pim.notation import boolean_hint
from watcherd.pim.scopes import has_syntax
from watcherd.pim.spec import Attribute, EntityRef, Json, Kind, OnDelete, fold
from watcherd.pim.values import (
    TEMPORAL,
    Limited,
    ValueFault,
    wire_value,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcherd.pim.document import AttributeDoc, EntityDoc
    from watcherd.pim.shapes import Draft, Path

KEY_KINDS = frozenset({Kind.INTEGER, Kind.STRING, Kind.UUID, Kind.EMAIL, Kind.ENUM, Kind.DATE})
_NEVER_UNIQUE = frozenset({Kind.JSON, None})  # None: a list
_BOTH_CLOCKS = "`auto_now` and `auto_now_add` contradict each other"
_CARRIES_KEY = frozenset({Kind.STRING, Kind.INTEGER, Kind.UUID, Kind.REFERENCE})


class _Refused(Exception):  # noqa: N818 - the finding is made; this attribute goes no further
    """An attribute whose type is not known has no further meaning to check."""


_POSSIBLE_KEYS = f"possible: {', '.join(sorted(KEY_KINDS))}"


def entity_attributes(draft: Draft, path: Path, entity: EntityDoc) -> dict[str, Attribute]:
    """All attributes of an entity, the implied ones included: key first, times last.

    An attribute that is wrong is left out and remembered as broken.
    """
    name = nfc(entity.name)
    if len(entity.attributes) > draft.limits.max_attributes:
        message = f"entity {quote(name)} has {len(entity.attributes)} attributes; at most {draft.limits.max_attributes}"
        draft.add("PIM106", (*path, "attributes"), message)
        draft.broken.add(("attribute", name, "*"))
        return _with_implied({})
    declared: dict[str, Attribute] = {}
    taken = Taken()
    for written, document in entity.attributes.items():
        at = (*path, "attributes", written)
        before = draft.findings.errors
        attribute = _attribute(draft, at, written, document, taken)
        if attribute is None or draft.findings.errors > before:
            draft.broken.add(("attribute", name, nfc(written)))
        if attribute is not None:
            declared[attribute.name] = attribute
    return _with_implied(_with_one_key(draft, (*path, "attributes"), declared))


def _attribute(
    draft: Draft,
    at: Path,
    written: str,
    document: AttributeDoc,
    taken: Taken,
) -> Attribute | None:
    name = nfc(written)
    if fault := name_fault(name):
        draft.add("PIM203", at, f"{quote(name)} cannot name an attribute: {fault}", key=True)
        return None
    if (first := taken.take(name, Place(at, key=True))) is not None:
        message = f"{quote(name)} is the same name as {quote(first)}"
        draft.add("PIM204", at, message, key=True, related=draft.declared_first(taken, first))
        return None
    if document.name is not None and nfc(document.name) != name:
        draft.add("PIM215", (*at, "name"), f"{quote(document.name)} is not the name of this attribute, {quote(name)}")
    return draft.meaning("attribute", document, (name,), lambda: _typed(draft, at, name, document))


def _typed(draft: Draft, at: Path, name: str, document: AttributeDoc) -> Attribute | None:
    """The attribute of this name, by itself."""
    try:
        typed = _type_of(draft, at, document)
    except _Refused:
        return None
    _check_flags(draft, at, document, typed)
    limited = checked_limits(draft, at, document, typed)
    default = _default(draft, at, document, typed, limited)
    return Attribute(
        name=name,
        kind=typed.kind,
        is_list=typed.is_list,
        required=document.required,
        unique=document.unique,
        index=document.index,
        default=default,
        description=document.description,
        example=_example(draft, at, document, typed, limited),
        members=typed.members,
        min_length=limited.min_length,
        max_length=limited.max_length,
        pattern=limited.pattern,
        minimum=limited.minimum,
        maximum=limited.maximum,
        exclusive_minimum=limited.exclusive_minimum,
        exclusive_maximum=limited.exclusive_maximum,
        precision=limited.precision,
        scale=limited.scale,
        multiple_of=limited.multiple_of,
        primary_key=document.primary_key,
        auto_increment=document.auto_increment,
        auto_now_add=document.auto_now_add,
        auto_now=document.auto_now,
        reference=typed.reference,
        on_delete=_on_delete(draft, at, document, typed),
        read_only=document.read_only or document.auto_increment or document.auto_now or document.auto_now_add,
        write_only=document.write_only,
        renamed_from=_renamed_from(draft, at, document),
        stable_id=document.id,
        using=_using(draft, at, document),
    )


def _type_of(draft: Draft, at: Path, document: AttributeDoc) -> ValueKind:
    members = _members(draft, at, document)
    target = draft.one_of(at, document, ("reference", "reference_entity"))
    if document.type is not None:
        declared = type_name(document.type)
        kind, is_list = declared.kind, declared.is_list
        if kind is None:
            entities = frozenset(entity.name for entity in draft.document.entities)
            hint = type_hint(declared.name, entities, may_be_entity=False)
            draft.add("PIM207", (*at, "type"), f"{quote(document.type)} is not a type", hint)
            raise _Refused
    elif members is not None:
        kind, is_list = Kind.ENUM, False
    elif target is not None:
        kind, is_list = Kind.REFERENCE, False
    else:
        draft.add("PIM102", at, f"attribute {quote(str(at[-1]))} has no `type`", "such as `type: string`", key=True)
        raise _Refused
    if members is not None:
        kind = _enum_kind(draft, at, kind)
    elif kind is Kind.ENUM:
        draft.add("PIM208", (*at, "type"), "an enum needs its members", "such as `enum: [active, inactive]`")
        raise _Refused
    reference = None
    if target is not None:
        reference = _reference(draft, at, target, kind)
        kind = Kind.REFERENCE
    if kind is Kind.REFERENCE and is_list:
        draft.add("PIM207", (*at, "type"), "a list of references is not a type", "write `has many` on this entity")
        raise _Refused
    return ValueKind(kind, is_list, members or (), reference)


def _members(draft: Draft, at: Path, document: AttributeDoc) -> tuple[str, ...] | None:
    key = draft.one_of(at, document, ("enum", "values", "enum_values"))
    if key is None:
        return None
    return checked_members(draft, (*at, key), getattr(document, key))


def checked_members(draft: Draft, at: Path, members: tuple[str, ...]) -> tuple[str, ...]:
    """The members of an enum, each once; what is wrong with them is a finding."""
    if not members:
        draft.add("PIM208", at, "an enum needs at least one member", key=True)
    seen: dict[str, None] = {}
    for index, member in enumerate(members):
        if member == "" or member in seen:
            message = "a member cannot be empty" if member == "" else f"the member {quote(member)} is here twice"
            draft.add("PIM208", (*at, index), message)
        seen[member] = None
    return tuple(seen)


def _enum_kind(draft: Draft, at: Path, kind: Kind) -> Kind:
    if kind not in {Kind.ENUM, Kind.STRING, Kind.TEXT}:
        message = f"an attribute of type {kind.value} cannot have members: members are text"
        draft.add("PIM208", (*at, "type"), message, "write `type: enum`")
        raise _Refused
    return Kind.ENUM


def _reference(draft: Draft, at: Path, key: str, kind: Kind) -> EntityRef | None:
    text = draft_text(draft, (*at, key))
    if kind not in _CARRIES_KEY:
        message = f"an attribute of type {kind.value} cannot refer to another entity"
        draft.add("PIM215", (*at, key), message, "write `type: reference`", key=True)
        raise _Refused
    reference = entity_ref(text, draft.model)
    if reference is None:
        draft.add("PIM217", (*at, key), f"{quote(text)} names no entity", "write `User`, or `user-management.User`")
        raise _Refused
    return reference


def draft_text(draft: Draft, path: Path) -> str:
    """The text of the scalar at a path that is known to hold one."""
    node = draft.node(path)
    return node.text if isinstance(node, ScalarNode) else ""


def entity_ref(text: str, model: str) -> EntityRef | None:
    """`User` (of `model`) or `user-management.User` as a reference; None where the text is neither."""
    other, dot, entity = nfc(text.strip()).rpartition(".")
    if name_fault(entity) or (dot and not other):
        return None
    return EntityRef(fold(other) if dot else model, entity)


def _check_flags(draft: Draft, at: Path, document: AttributeDoc, typed: ValueKind) -> None:
    """Hold each flag that is set against the type and against the other flags."""
    one = None if typed.is_list else typed.kind
    is_clock = one in TEMPORAL
    no_index = f"a {'list' if typed.is_list else 'json'} cannot be indexed or unique"
    wrong: tuple[tuple[str, bool, str, str, str | None], ...] = (
        ("primary_key", one not in KEY_KINDS, "PIM213", "this type cannot be a primary key", _POSSIBLE_KEYS),
        ("unique", one in _NEVER_UNIQUE, "PIM305", no_index, None),
        ("index", one in _NEVER_UNIQUE, "PIM305", no_index, None),
        ("auto_increment", one is not Kind.INTEGER, "PIM214", "only an integer can be counted up", None),
        ("auto_increment", not document.primary_key, "PIM214", "only the primary key can be counted up", None),
        ("auto_now", not is_clock, "PIM214", "`auto_now` needs a datetime, a date or a time", None),
        ("auto_now_add", not is_clock, "PIM214", "`auto_now_add` needs a datetime, a date or a time", None),
        ("auto_now", document.auto_now_add, "PIM214", _BOTH_CLOCKS, "`auto_now` alone sets it on create, too"),
        ("write_only", document.read_only, "PIM215", "`read_only` and `write_only` together leave nothing", None),
        ("write_only", document.primary_key, "PIM215", "the primary key cannot be `write_only`", None),
    )
    for flag, is_wrong, code, message, hint in wrong:
        if is_wrong and getattr(document, flag):
            draft.add(code, (*at, flag), message, hint, key=True)


def _default(draft: Draft, at: Path, document: AttributeDoc, typed: ValueKind, limited: Limited) -> Json | None:
    if document.default is None:
        return None
    by_server = next((key for key in ("auto_increment", "auto_now", "auto_now_add") if getattr(document, key)), None)
    if by_server is not None:
        draft.add("PIM214", (*at, "default"), f"a default contradicts `{by_server}`", key=True)
        return None
    return default_value(draft, (*at, "default"), document.default, typed, limited)


def default_value(draft: Draft, at: Path, node: Node, typed: ValueKind, limited: Limited) -> Json | None:
    """A declared default as a wire value; one that its type cannot have is a finding."""
    try:
        return Json.of(wire_value(node, typed.kind, limited, is_list=typed.is_list))
    except ValueFault as fault:
        hint: Hint = None
        if isinstance(node, ScalarNode):
            if typed.kind in TEMPORAL and node.text.lower().rstrip("()") in {"now", "today", "current_timestamp"}:
                hint = "write `auto_now_add: true` for the time of creation"
            elif typed.kind is Kind.ENUM:
                hint = Nearest(node.text, limited.members)
            elif typed.kind is Kind.BOOLEAN:
                hint = boolean_hint(node.text)
        draft.add("PIM209", at, f"the default is not valid: {fault}", hint)
        return None


def _example(draft: Draft, at: Path, document: AttributeDoc, typed: ValueKind, limited: Limited) -> Json | None:
    if document.example is None:
        return None
    try:
        return Json.of(wire_value(document.example, typed.kind, limited, is_list=typed.is_list))
    except ValueFault as fault:
        draft.add("PIM216", (*at, "example"), f"the example is not valid: {fault}; it is not shown")
        return None


def _on_delete(draft: Draft, at: Path, document: AttributeDoc, typed: ValueKind) -> OnDelete:
    if document.on_delete is None:
        return OnDelete.RESTRICT
    written = document.on_delete.strip().lower().replace(" ", "_").replace("-", "_")
    if written not in set(OnDelete):
        known = ", ".join(OnDelete)
        draft.add(
            "PIM218",
            (*at, "on_delete"),
            f"{quote(document.on_delete)} is not one of {known}",
            Nearest(written, tuple(OnDelete)),
        )
        return OnDelete.RESTRICT
    if typed.kind not in _CARRIES_KEY or typed.is_list:
        draft.add("PIM210", (*at, "on_delete"), f"`on_delete` means nothing for {typed.kind.value}", key=True)
        return OnDelete.RESTRICT
    if OnDelete(written) is OnDelete.SET_NULL and document.required:
        draft.add("PIM218", (*at, "on_delete"), "`set_null` contradicts `required`")
    return OnDelete(written)


def _renamed_from(draft: Draft, at: Path, document: AttributeDoc) -> str | None:
    if document.renamed_from is None:
        return None
    old = nfc(document.renamed_from)
    if fault := name_fault(old):
        draft.add("PIM203", (*at, "renamed_from"), f"{quote(old)} was never the name of an attribute: {fault}")
        return None
    return old


def _using(draft: Draft, at: Path, document: AttributeDoc) -> str | None:
    """The text, if it is an expression; what it may name is known to the plan alone, by the model as it was."""
    if document.using is None or not has_syntax(draft, (*at, "using"), document.using):
        return None
    return document.using


def _with_one_key(draft: Draft, at: Path, declared: dict[str, Attribute]) -> dict[str, Attribute]:
    """Settle which attribute is the key; an `id` that does not say so is it where no other says so.

    Such an `id` of type integer is counted up, unless it is required: then clients send it. A key
    is required unless the server makes it up when it is not sent (a counter, a UUID, a default).
    """
    keys = [name for name, attribute in declared.items() if attribute.primary_key]
    for name in keys[1:]:
        draft.add("PIM213", (*at, name, "primary_key"), f"{quote(keys[0])} is the primary key already", key=True)
        declared[name] = replace(declared[name], primary_key=False)
    if not keys:
        named_id = next((name for name in declared if snake(name) == "id"), None)
        if named_id is None:
            return declared
        implicit = declared[named_id]
        if implicit.kind not in KEY_KINDS or implicit.is_list:
            draft.add(
                "PIM213",
                (*at, named_id),
                f"{quote(named_id)} would be the primary key, but its type cannot be one",
                key=True,
            )
            return {name: attribute for name, attribute in declared.items() if name != named_id}
        counted = implicit.kind is Kind.INTEGER and not implicit.required and implicit.default is None
        declared[named_id] = replace(
            implicit, primary_key=True, auto_increment=counted, read_only=implicit.read_only or counted
        )
        keys = [named_id]
    key = declared[keys[0]]
    if key.using is not None:
        message = f"`using` means nothing for the primary key {quote(key.name)}: its type never changes"
        hint = "remove `using`, and give what is to be computed to another attribute"
        draft.add("PIM213", (*at, key.name, "using"), message, hint, key=True)
    made_up = key.auto_increment or key.kind is Kind.UUID or key.default is not None
    declared[keys[0]] = replace(key, required=key.required or not made_up)
    return declared


def _with_implied(declared: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """Add what every entity has and this one does not declare itself, in any spelling."""
    spellings = {snake(name) for name in declared}
    attributes: dict[str, Attribute] = {}
    key = next((attribute for attribute in declared.values() if attribute.primary_key), _IMPLIED_KEY)
    attributes[key.name] = key
    attributes.update(declared)
    for clock in _IMPLIED_TIMES:
        if clock.name not in spellings:
            attributes[clock.name] = clock
    return attributes


_IMPLIED_KEY = Attribute(
    name="id",
    kind=Kind.UUID,
    required=True,
    primary_key=True,
    read_only=True,
    implied=True,
    description="The key, given by the server",
)
_IMPLIED_TIMES = (
    Attribute(
        name="created_at",
        kind=Kind.DATETIME,
        required=True,
        auto_now_add=True,
        read_only=True,
        implied=True,
        description="When the row was created",
    ),
    Attribute(
        name="updated_at",
        kind=Kind.DATETIME,
        required=True,
        auto_now=True,
        read_only=True,
        implied=True,
        description="When the row was last written",
    ),
)
