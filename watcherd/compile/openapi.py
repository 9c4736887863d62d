"""A model's part of the OpenAPI 3.1 document, made once per revision, and its own whole document.

Made of parts, one an entity, which the next revision takes up where they are still right. Owns how parts
are joined and what they share. Does not own the operations (operations), what values look like
(schemas), nor the host's document, which joins the fragments of all models.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from types import MappingProxyType
from typing import Any

from pydantic_core import to_json

from watcherd.compile.carried import Part, Parts, Sight, carried, carry_over, rest_sight, sights
from watcherd.compile.naming import component, title
from watcherd.compile.openapi_shared import SHARED_COMPONENTS
from watcherd.compile.operations import (
    SECURITY_SCHEMES,
    Paths,
    add_batch,
    add_bulk,
    add_document,
    add_emitted,
    add_entity,
    add_events,
    add_index,
    add_service,
)
from watcherd.compile.options import Options
from watcherd.compile.parameters import entity_parameters, shared_parameters
from watcherd.compile.schemas import Schema, entity_schemas, listed_rules, view_schema
from watcherd.compile.service import any_has_code
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import EMPTY, ModelSpec
from watcherd.revision import OpenApiFragment, Operation, Section

OPENAPI_VERSION = "3.1.0"


@dataclass(frozen=True, slots=True)
class Described:
    """A part of a description: operations, and their text."""

    operations: tuple[Operation, ...]
    fragment: OpenApiFragment

    @classmethod
    def of(
        cls, paths: Paths, schemas: Mapping[str, Schema] = EMPTY, parameters: Mapping[str, Schema] = EMPTY
    ) -> Described:
        """What was collected."""
        texts = [to_json(dict(members))[1:-1] for members in (schemas, parameters)]
        fragment = OpenApiFragment(paths.text(), texts[0], to_json(paths.tags)[1:-1], texts[1])
        return cls(tuple(paths.operations), fragment)


@dataclass(frozen=True, slots=True)
class Description:
    """What a model says of itself: its operations in the order of the file, its OpenAPI fragment.

    `entities` and `rest` are parts that the next description may take up.
    """

    operations: tuple[Operation, ...]
    fragment: OpenApiFragment
    entities: Parts[Described]
    rest: Part[Described] | None


def describe(
    linked: LinkedModel,
    options: Options,
    before: Description | None = None,
    seen: Mapping[str, Sight] | None = None,
) -> Description:
    """Describe every route of a model; `before` is how it was described last, `seen` what `sights` answers."""
    seen = sights(linked, options) if seen is None else seen
    known = EMPTY if before is None else before.entities
    entities = carry_over(seen, known, lambda sight: _describe_entity(linked, sight))
    known_rest = None if before is None else before.rest
    rest = carried(rest_sight(linked, options), known_rest, lambda _: _describe_rest(linked, options))
    described = [*(part.made for part in entities.values()), rest.made]
    identities = [one.operation_id for part in described for one in part.operations]
    if len(set(identities)) < len(identities):
        entities, alone = _describe_in_turn(linked, seen, options)
        described = [*(part.made for part in entities.values()), alone]
    parts = [_describe_index(linked.spec, options), *described]
    return Description(
        operations=tuple(operation for part in parts for operation in part.operations),
        fragment=OpenApiFragment(parts=tuple(part.fragment for part in parts)),
        entities=MappingProxyType(entities),
        rest=rest if described[-1] is rest.made else None,
    )


def _describe_index(spec: ModelSpec, options: Options) -> Described:
    paths = Paths(spec, options)
    prose = [rule for _, rule in sorted(spec.rules.items()) if rule.is_prose]
    told = (spec.title, spec.description, listed_rules("Not enforced", prose) if prose else "")
    paths.add_tag("", "\n\n".join(part for part in told if part))
    add_index(paths, spec)
    return Described.of(paths)


def _describe_entity(linked: LinkedModel, sight: Sight, taken: Sequence[str] = ()) -> Described:
    """The part of an entity: from what is in `sight`, as `linked` has it, and no more."""
    spec, entity = linked.spec, sight.entity
    paths = Paths(spec, sight.options, taken)
    add_entity(paths, linked, entity)
    add_bulk(paths, linked, entity)
    add_events(paths, entity)
    schemas: dict[str, Schema] = {}
    for shape, schema in entity_schemas(linked, entity).items():
        schemas[component(spec, entity.name, shape)] = schema  # type: ignore[arg-type] # the keys are shapes
    schemas[component(spec, entity.name, "View")] = view_schema(linked, entity)
    return Described.of(paths, schemas, entity_parameters(spec, entity))


def _describe_rest(linked: LinkedModel, options: Options, taken: Sequence[str] = ()) -> Described:
    """Services, and what a model has once: from what `rest_sight` answers, and no more."""
    paths = Paths(linked.spec, options, taken)
    for service in linked.spec.services.values():
        add_service(paths, linked, service)
    if any_has_code(linked):
        add_emitted(paths, linked.spec)
    add_batch(paths, linked.spec)
    add_document(paths, linked.spec)
    return Described.of(paths, parameters=shared_parameters(linked.spec, options))


def _describe_in_turn(
    linked: LinkedModel, seen: Mapping[str, Sight], options: Options
) -> tuple[dict[str, Part[Described]], Described]:
    """The same where operations of several parts have one name: each part gives way to those before it.

    Such parts depend on one another, and are not to be taken up.
    """
    taken: list[str] = []
    entities = {}
    for name, sight in seen.items():
        made = _describe_entity(linked, sight, taken)
        taken += [one.operation_id for one in made.operations]
        entities[name] = Part(replace(sight, names=()), made)
    return entities, _describe_rest(linked, options, taken)


def document(spec: ModelSpec, fragment: OpenApiFragment, *, needs_key: bool = False) -> bytes:
    """A model's own complete OpenAPI document."""
    components = b"".join(joined_components([fragment], {"securitySchemes": SECURITY_SCHEMES} if needs_key else {}))
    return b'{"openapi":"%s","info":%s,"paths":{%s},"components":%s,"tags":[%s]}' % (
        OPENAPI_VERSION.encode("ascii"),
        to_json(_info(spec)),
        fragment.paths,
        components,
        fragment.tags,
    )


def _info(spec: ModelSpec) -> dict[str, str]:
    info = {"title": spec.title or title(spec.name), "version": spec.version or "0"}
    return info | {"description": spec.description} if spec.description else info


def joined_components(fragments: Sequence[OpenApiFragment], own: Mapping[str, Mapping[str, Any]]) -> Iterator[bytes]:
    """The components of several fragments, what they share, and those that somebody has of his own; in pieces."""
    made: Mapping[str, Section] = {"schemas": "own_schemas", "parameters": "own_parameters"}
    yield b"{"
    for number, section in enumerate(dict.fromkeys([*made, *SHARED_COMPONENTS, *own])):
        rest = {**own.get(section, {}), **SHARED_COMPONENTS.get(section, {})}
        texts = chain.from_iterable(one.texts(made[section]) for one in fragments) if section in made else ()
        yield b"%s%s:{" % (b"," if number else b"", to_json(section))
        yield from listed(chain(texts, (to_json({name: one})[1:-1] for name, one in rest.items())))
        yield b"}"
    yield b"}"


def listed(members: Iterable[bytes]) -> Iterator[bytes]:
    """Members of an object or an array with what separates them; each may be empty."""
    between = b""
    for member in members:
        if member:
            yield between
            yield member
            between = b","
