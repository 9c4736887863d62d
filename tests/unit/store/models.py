"""Model specs written by hand, short enough to see what differs between two of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from watcherd.pim.linked import LinkedModel, Target
from watcherd.pim.linking import former_names
from watcherd.pim.spec import Attribute, Constraint, Entity, EntityRef, Index, Json, Kind, ModelSpec, Rule
from watcherd.store import Record, Rejection, Rows, SchemaPlan, Store

ID = Attribute(name="id", kind=Kind.UUID, primary_key=True, required=True, read_only=True, implied=True)


def attribute(name: str, kind: str = "string", default: Any = None, **facts: Any) -> Attribute:
    """One attribute; `default` as JSON would hold it, `to` an entity of the same model or `model.Entity`."""
    to = facts.pop("to", None)
    if to is not None:
        model, _, entity = to.rpartition(".")
        facts["reference"] = EntityRef(model or "shop", entity)
    return Attribute(name=name, kind=Kind(kind), default=None if default is None else Json.of(default), **facts)


def sentence(text: str, rule: Rule, *attributes: str, **operand: Any) -> Constraint:
    return Constraint(text=text, rule=rule, attributes=attributes, **operand)


def entity(
    name: str,
    *attributes: Attribute,
    key: Attribute | None = ID,
    constraints: Iterable[Constraint] = (),
    indexes: Iterable[Index] = (),
    renamed_from: str | None = None,
) -> Entity:
    """One entity; the generated key comes first unless another attribute is the key."""
    every = attributes if key is None else (key, *attributes)
    return Entity(
        name=name,
        plural=f"{name.lower()}s",
        attributes={one.name: one for one in every},
        constraints=tuple(constraints),
        indexes=tuple(indexes),
        renamed_from=renamed_from,
    )


def model(
    *entities: Entity, domain: str = "shop", others: Iterable[LinkedModel] = (), renamed_from: str | None = None
) -> LinkedModel:
    """A model with its references resolved, also into `others`."""
    spec = ModelSpec(domain=domain, entities={one.name: one for one in entities}, renamed_from=renamed_from)
    known = {
        EntityRef(one.name, found.name): (one, found)
        for one in (spec, *(other.spec for other in others))
        for found in one.entities.values()
    }
    references = {one.reference for found in entities for one in found.attributes.values() if one.reference}
    targets = {}
    for ref in references:
        owner, found = known[ref]
        targets[ref] = Target(
            ref=ref, domain=owner.domain, plural=found.plural, key=found.key, formerly=former_names(owner, found)
        )
    return LinkedModel(spec=spec, targets=targets)


def record(linked: LinkedModel, revision: int = 1, source: bytes = b"") -> Record:
    return Record(
        model=linked.spec.name,
        domain=linked.spec.domain,
        file=f"{linked.spec.domain}.yaml",
        revision=revision,
        source=source or f"revision {revision}".encode(),
        fingerprint=f"fingerprint-{revision}",
    )


async def apply(store: Store, linked: LinkedModel, revision: int = 1) -> dict[str, Rows]:
    """Plan, expand and bind, where nothing stands in the way."""
    plan = await store.plan(linked)
    assert plan.rejections == ()
    assert await store.expand(plan, record(linked, revision)) == ()
    return dict(store.bind(plan).entities)


async def refuse(store: Store, linked: LinkedModel) -> tuple[Rejection, SchemaPlan]:
    """The one rejection, found by the plan and again by the change itself; nothing has changed."""
    before = await store.catalog()
    plan = await store.plan(linked)
    assert len(plan.rejections) == 1, plan.rejections
    assert await store.expand(plan, record(linked, 99)) == plan.rejections
    assert await store.catalog() == before
    assert (await store.plan(linked)).base == plan.base
    return plan.rejections[0], plan


def key(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012d}"
