"""A model as its page shows it: entities with their attributes in words, endpoints by what they are about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from watcherd.admin.samples import curl
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Attribute, Entity, ModelSpec, OnDelete, ValueType
from watcherd.revision import Operation, Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeShown:
    """One attribute: its type in a word, what is special about it, and what its values must be like."""

    name: str
    kind: str
    target: str
    """Where the entity that it refers to is shown, relatively; empty where it refers to none."""
    flags: tuple[str, ...]
    limits: tuple[str, ...]
    default: Any
    description: str
    implied: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointShown:
    """One operation, with a command that calls it."""

    method: str
    path: str
    summary: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointGroup:
    """The operations on an entity, a service, or the model itself."""

    title: str
    endpoints: tuple[EndpointShown, ...]


def attributes(entity: Entity, spec: ModelSpec, linked: LinkedModel | None) -> list[AttributeShown]:
    """The attributes of an entity; those of the file before those that every entity has, but for the key."""
    return [_attribute(one, spec, linked) for one in entity.attributes.values()]


def relations(entity: Entity) -> list[str]:
    """What else rows of an entity are joined to, as sentences."""
    return [f"has {'one' if end.single else 'many'} {end.child.entity} as {end.name}" for end in entity.to_many]


def indexes(entity: Entity) -> list[str]:
    """The indexes, as sentences."""
    return [f"{'unique ' if one.unique else ''}index on {', '.join(one.attributes)}" for one in entity.indexes]


def type_name(kind: ValueType | None) -> str:
    """The type of a parameter or a result in a word."""
    if kind is None:
        return "nothing"
    name = kind.entity.entity if kind.entity is not None else kind.kind.value if kind.kind is not None else "anything"
    return f"{name}[]" if kind.is_list else name


def endpoints(revision: Revision, spec: ModelSpec, base: str) -> list[EndpointGroup]:
    """The operations of a revision by what they are about; `base` is the address of the model."""
    titles = {one.plural: one.name for one in spec.entities.values()} | {
        one.path: one.name for one in spec.services.values()
    }
    groups: dict[str, list[Operation]] = {title: [] for title in titles.values()}
    whole = "The model itself"
    for operation in revision.operations:
        first = operation.path.lstrip("/").partition("/")[0]
        groups.setdefault(titles.get(first, whole), []).append(operation)
    return [
        EndpointGroup(
            title=title,
            endpoints=tuple(
                EndpointShown(
                    method=one.method, path=one.path or "/", summary=one.summary, command=curl(one, spec, base)
                )
                for one in found
            ),
        )
        for title, found in groups.items()
        if found
    ]


def _attribute(one: Attribute, spec: ModelSpec, linked: LinkedModel | None) -> AttributeShown:
    kind, target = one.kind.value, ""
    if one.reference is not None:
        kind = one.reference.entity
        target = f"#entity-{kind}"
        if one.reference.model != spec.name:
            known = linked.targets.get(one.reference) if linked is not None else None
            model = known.domain if known is not None else one.reference.model
            kind, target = f"{model}.{kind}", f"../{model}/overview#entity-{one.reference.entity}"
    return AttributeShown(
        name=one.name,
        kind=f"{kind}[]" if one.is_list else kind,
        target=target,
        flags=tuple(_flags(one)),
        limits=tuple(_limits(one)),
        default=None if one.default is None else one.default.value,
        description=one.description,
        implied=one.implied,
    )


def _flags(one: Attribute) -> Iterator[str]:
    known: Iterable[tuple[bool, str]] = (
        (one.primary_key, "key"),
        (one.required and not one.primary_key, "required"),
        (one.unique and not one.primary_key, "unique"),
        (one.index, "indexed"),
        (one.read_only, "read-only"),
        (one.write_only, "write-only"),
        (one.server_set, "set by the server"),
        (one.reference is not None and one.on_delete is OnDelete.CASCADE, "deleted with it"),
        (one.reference is not None and one.on_delete is OnDelete.SET_NULL, "emptied with it"),
    )
    return (word for is_so, word in known if is_so)


def _limits(one: Attribute) -> Iterator[str]:
    if one.members:
        yield "one of " + ", ".join(one.members)
    if one.min_length is not None:
        yield f"at least {one.min_length} long"
    if one.max_length is not None:
        yield f"at most {one.max_length} long"
    for bound, sign in (
        (one.minimum, "≥"),
        (one.exclusive_minimum, ">"),
        (one.maximum, "≤"),
        (one.exclusive_maximum, "<"),
    ):
        if bound is not None:
            yield f"{sign} {bound}"
    if one.multiple_of is not None:
        yield f"a multiple of {one.multiple_of}"
    if one.scale is not None:
        yield f"{one.scale} decimal places"
    if one.pattern is not None:
        yield f"matches {one.pattern}"
