"""What a revision takes up of the one before it is what would have been made anew."""

from __future__ import annotations

import asyncio
import re
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import SchemaValidator

from watcherd.compile import Options, compile_model
from watcherd.compile.carried import Parts
from watcherd.compile.compiler import Carried
from watcherd.compile.openapi import document
from watcherd.pim import link, parse, shared
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import ModelSpec
from watcherd.revision import Revision
from watcherd.store import Record, SchemaPlan, Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)

SHOP = """
domain: shop
version: "1"
description: Things and who wants them
entities:
  - name: Customer
    attributes:
      name: {type: string, required: true}
      email: {type: email, unique: true}
    relationships: [has many Orders]
  - name: Order
    attributes:
      customerId: {type: reference, reference: Customer}
      total: {type: decimal, scale: 2}
    constraints: [total must be greater than 0]
    relationships: [belongs to Customer, has many Lines]
  - name: Line
    attributes:
      orderId: {type: reference, reference: Order}
      quantity: {type: integer, default: 1}
    relationships: [belongs to Order]
services:
  - name: Checkout
    methods:
      - {name: pay, parameters: {order: Order, note: string}}
      - name: alter
        parameters: {line: {type: Line, exclude: [orderId]}, who: {type: Customer, partial: true}, by: decimal}
        rules: [told, small]
      - {name: ship, parameters: {order: uuid}, flow: shipping}
      - {name: wait, rules: [told]}
flows:
  shipping:
    description: To the door
    steps:
      - {id: one, get: Order, key: order, as: found}
rules:
  told: Somebody has to be told
  small: {assert: by < 10}
"""

EDITS = {
    "version": ('version: "1"', 'version: "2"'),
    "description": ("Things and who wants them", "Things"),
    "added": ("      email:", "      phone: {type: string, max_length: 20}\n      email:"),
    "required": ("note: string", "note: {type: string, required: false}"),
    "moved": (
        "      orderId: {type: reference, reference: Order}\n      quantity: {type: integer, default: 1}",
        "      quantity: {type: integer, default: 1}\n      orderId: {type: reference, reference: Order}",
    ),
    "default": ("default: 1}", "default: 2}"),
    "sentence": ("total must be greater than 0", "total must be at least 1"),
    "entity": ("services:\n", "  - {name: LineCreate, attributes: {a: string}}\nservices:\n"),
    "list": ("  - name: Line\n", "  - name: Line\n    plural: rows\n"),
    "relation": ("[belongs to Customer, has many Lines]", "[belongs to Customer]"),
    "key": ("      email: {type: email, unique: true}", "      email: {type: email, unique: true, index: true}"),
    "rule": ("by < 10", "by < 9"),
    "prose": ("Somebody has", "Everybody has"),
    "flow": ("To the door", "To the gate"),
    "step": ("as: found}", "as: found, optional: true}"),
    "code": ("get: Order, key: order, as: found}", "label: by hand}"),
    "excluded": ("exclude: [orderId]", "exclude: [quantity]"),
    "whole": ("{type: Customer, partial: true}", "Customer"),
    "taken": ("  - name: Checkout", "  - name: Customer_list\n    methods: [{name: orders}]\n  - name: Checkout"),
}
"""What a text has before, and after; each can be done and undone by itself."""


def spec_of(done: frozenset[str]) -> ModelSpec:
    text = SHOP
    for name, (before, after) in EDITS.items():
        if name in done:
            text = text.replace(before, after)
    parsed = parse(text.encode(), "shop.yaml")
    assert parsed.spec is not None, parsed.diagnostics
    return parsed.spec


def linked_to(spec: ModelSpec) -> LinkedModel:
    linked = link(spec, {})
    assert isinstance(linked, LinkedModel)
    return linked


async def apply(store: Store, linked: LinkedModel, number: int) -> SchemaPlan:
    plan = await store.plan(linked)
    assert await store.expand(plan, record_of(linked, number)) == ()
    return plan


def record_of(linked: LinkedModel, number: int) -> Record:
    name = linked.spec.name
    return Record(model=name, domain=name, file="x.yaml", revision=number, source=b"", fingerprint=str(number))


def parts_of(revision: Revision) -> Carried:
    assert isinstance(revision.carried, Carried)
    return revision.carried


@given(st.lists(st.sampled_from(sorted(EDITS)), max_size=8))
@settings(max_examples=25, deadline=None)
def test_after_any_edits_a_revision_is_what_it_would_be_by_itself(edits: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_edit(edits, Path(directory)))


async def _edit(edits: list[str], directory: Path) -> None:
    options = Options()
    store = await Store.open(None, directory, durability="normal")
    try:
        done: frozenset[str] = frozenset()
        before: Revision | None = None
        for number, edit in enumerate(["version", *edits], 1):
            done ^= {edit}
            spec = spec_of(done)
            carried = linked_to(spec if before is None else shared(spec, before.linked.spec))
            alone = linked_to(spec)
            assert carried == alone
            await _expect_the_same_plan(store, carried, alone, directory)
            plan = await apply(store, carried, number)
            revision = compile_model(carried, store.bind(plan), number, options=options, before=before)
            fresh = compile_model(alone, store.bind(plan), number, options=options)
            assert document(carried.spec, revision.openapi) == document(alone.spec, fresh.openapi)
            assert revision.operations == fresh.operations
            _expect_the_same_rules(revision, fresh)
            before = revision
    finally:
        await store.close()


async def _expect_the_same_plan(store: Store, carried: LinkedModel, alone: LinkedModel, directory: Path) -> None:
    """A store that remembers plans what one that has just been opened plans."""
    other = await Store.open(None, directory, durability="normal")
    try:
        assert await store.plan(carried) == await other.plan(alone)
    finally:
        await other.close()


def _shape(validator: SchemaValidator) -> str:
    """What a validator is made of, without where that is in memory."""
    return re.sub(r"0x[0-9a-f]+", "", repr(validator))


def _expect_the_same_rules(revision: Revision, fresh: Revision) -> None:
    bodies, anew_bodies = parts_of(revision).bodies, parts_of(fresh).bodies
    assert list(bodies) == list(anew_bodies)
    for name, own in bodies.items():
        one, another = own.made, anew_bodies[name].made
        assert _shape(one.validator) == _shape(another.validator)
        assert (one.parameters, one.defaults, len(one.rules)) == (
            another.parameters,
            another.defaults,
            len(another.rules),
        )
        for rule, expected in zip(one.rules, another.rules, strict=True):
            values = {"by": Decimal("9.5"), "line": {}, "who": {}}
            assert rule(values, NOW) == expected(values, NOW)
        for parameter, entity in one.entities.items():
            expected_entity = another.entities[parameter]
            assert (entity.entity, entity.names, entity.partial, entity.defaults) == (
                expected_entity.entity,
                expected_entity.names,
                expected_entity.partial,
                expected_entity.defaults,
            )
    for name, part in parts_of(revision).rules.items():
        made, anew = part.made, parts_of(fresh).rules[name].made
        for field in ("names", "required", "blank", "locked", "unsent", "stamps_create", "exact"):
            assert getattr(made.bodies, field) == getattr(anew.bodies, field)
        assert [check for check, _ in made.bodies.checks] == [check for check, _ in anew.bodies.checks]
        assert list(made.query.attributes) == list(anew.query.attributes)
        assert made.query.relations == anew.query.relations


EVERY_METHOD = {"Checkout.pay", "Checkout.alter", "Checkout.ship", "Checkout.wait"}


@pytest.mark.parametrize(
    ("edit", "taken_up", "methods", "rest"),
    [
        ("version", {"Customer", "Order", "Line"}, EVERY_METHOD, True),
        # What refers to a customer knows its key alone; a rule may speak of all that is passed.
        ("added", {"Order", "Line"}, EVERY_METHOD - {"Checkout.alter"}, False),
        ("moved", {"Customer"}, EVERY_METHOD - {"Checkout.alter"}, False),  # the order lists its lines, with filters
        ("sentence", {"Line", "Customer"} - {"Customer"}, {"Checkout.ship", "Checkout.wait"}, True),
        ("entity", set(), EVERY_METHOD - {"Checkout.alter"}, False),  # a name more may change what parts are called
        ("prose", {"Customer", "Order", "Line"}, {"Checkout.pay", "Checkout.ship"}, False),
        ("flow", {"Customer", "Order", "Line"}, EVERY_METHOD, False),
    ],
)
async def test_what_an_edit_does_not_touch_is_taken_up(
    store: Store, edit: str, taken_up: set[str], methods: set[str], *, rest: bool
) -> None:
    options = Options()
    old = linked_to(spec_of(frozenset()))
    before = compile_model(old, store.bind(await apply(store, old, 1)), 1, options=options)
    linked = linked_to(shared(spec_of(frozenset({edit})), old.spec))
    after = compile_model(linked, store.bind(await apply(store, linked, 2)), 2, options=options, before=before)
    new, known = parts_of(after), parts_of(before)
    assert new.description is not None
    assert known.description is not None
    assert _the_same(new.rules, known.rules) == taken_up
    assert _the_same(new.description.entities, known.description.entities) == taken_up
    assert _the_same(new.bodies, known.bodies) == methods
    assert (new.description.rest is known.description.rest) is rest


def _the_same(parts: Parts[Any], known: Parts[Any]) -> set[str]:
    return {name for name, part in parts.items() if known.get(name) is part}


async def test_statements_of_a_table_that_did_not_change_are_taken_up(store: Store) -> None:
    old = linked_to(spec_of(frozenset()))
    first = store.bind(await apply(store, old, 1))
    linked = linked_to(spec_of(frozenset({"added"})))
    second = store.bind(await apply(store, linked, 2))
    assert [one is two for one, two in zip(first.shapes, second.shapes, strict=True)] == [False, True, True]
