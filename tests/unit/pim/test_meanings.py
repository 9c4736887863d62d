"""What a part of a file was found to mean is taken up as long as everything that it is made from is the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.samples import sample_texts
from watcherd.pim import Pieces, fingerprint, parse, shared, ways
from watcherd.pim.parsing import Parsed
from watcherd.pim.spec import ModelSpec

MODELS = list(sample_texts().values())
SHOP = """
domain: shop
entities:
  - name: Order
    attributes:
      code: {type: string, unique: true}
      state: {type: enum, enum: [new, paid], default: new}
      total: decimal
      customerId: uuid
    constraints:
      - total must be positive
    relationships:
      - belongs to Customer
    states: {field: state, transitions: {new: [paid]}}
  - name: Customer
    attributes:
      name: {type: string, required: true}
    relationships:
      - has many Orders
      - has many Notes
  - name: Note
    attributes: {customerId: uuid, text: text}
  - name: Slip
    attributes: {text: text, more: text}
  - name: Form
    attributes: {text: text}
services:
  - name: Desk
    methods:
      - name: open
        parameters: {order: Order, form: Form}
        flow: opening
        rules: [known]
  - name: Till
    methods:
      - name: pay
        parameters:
          order: uuid
          change: {type: Slip, exclude: [more]}
        transition: {entity: Order, from: new, to: paid, key: order}
flows:
  opening:
    steps:
      - {id: one, create: Order, values: {code: "'x'"}}
rules:
  known: Only who is known may order
  dear:
    "on": Order
    assert: self.total < 100000
"""
TEXTS = [SHOP, *MODELS]
EDITS = [
    ("domain: shop", "domain: store"),
    ("  - name: Customer", "  - name: Guest"),
    ("- belongs to Customer", "- belongs to Customer as buyer"),
    ("      customerId: uuid", "      customerId: {type: reference, reference: Customer, on_delete: cascade}"),
    ("      customerId: uuid\n", ""),
    ("code: {type", "sku: {type"),
    ("      total: decimal", "      total: integer"),
    ("      total: decimal", "      total: {type: decimal, using: 'old.total'}"),
    ("      name: {type: string, required: true}", "      id: integer\n      name: string"),
    ("    attributes:\n      name", "    plural: people\n    attributes:\n      name"),
    ("  opening:", "  closing:"),
    ("create: Order", "create: Customer"),
    ("  known: Only", "  unknown: Only"),
    ('    "on": Order', '    "on": Customer'),
    ("self.total < 100000", "self.total < 1"),
    ("enum: [new, paid]", "enum: [new, paid, sent]"),
    ("enum: [new, paid]", "enum: [new, done]"),
    ("- has many Orders", "- has one Order"),
    ("  - name: Desk", "  - name: Orders"),
    ("flow: opening", "handler: shop.py:open"),
    ("exclude: [more]", "exclude: [text]"),
    ("parameters: {order: Order,", "parameters: {order: uuid,"),
    ("      - has many Notes\n", ""),
    ("  - name: Note", "  - name: Note\n    plural: remarks"),
    ("  - name: Slip", "  - name: Scrap"),
    ("  - name: Form", "  - name: Sheet"),
    ("{text: text, more: text}", "{text: text}"),
]


def read(text: str, pieces: Pieces | None = None, before: ModelSpec | None = None) -> Parsed:
    """Read a text as a reload does: what means the same is the object that it was."""
    parsed = parse(text.encode(), "shop.yaml", pieces=pieces)
    if parsed.spec is not None and pieces is not None:
        pieces.meanings.adopt(parsed.spec if before is None else shared(parsed.spec, before))
    return parsed


def edited(text: str, edit: int) -> str:
    old, new = EDITS[edit % len(EDITS)]
    return text.replace(new, old, 1) if new and new in text else text.replace(old, new, 1)


@pytest.mark.parametrize("edit", range(len(EDITS)))
def test_after_each_edit_and_back_a_file_means_what_it_means_when_it_is_new(edit: int) -> None:
    pieces = Pieces()
    assert read(SHOP, pieces).spec is not None
    changed = edited(SHOP, edit)
    assert changed != SHOP
    for text in (changed, SHOP, changed):
        same(read(text, pieces), read(text))


@given(st.sampled_from(TEXTS), st.lists(st.integers(0, 200), min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_whatever_is_edited_a_file_means_what_it_means_when_it_is_new(text: str, steps: list[int]) -> None:
    pieces = Pieces()
    before = None
    for step in steps:
        if step < len(EDITS):
            text = edited(text, step)
        else:
            lines = text.split("\n")
            lines.insert(step % len(lines), lines.pop(step * 7 % len(lines)))
            text = "\n".join(lines)
        fresh = read(text)
        same(read(text, pieces, before), fresh)
        before = fresh.spec or before


def same(one: Parsed, other: Parsed) -> None:
    assert one == other
    assert one.references == other.references
    if one.spec is not None and other.spec is not None:
        assert ways(one.spec) == ways(other.spec)
        assert fingerprint(one.spec) == fingerprint(other.spec)
        for name, entity in one.spec.entities.items():
            assert list(entity.attributes) == list(other.spec.entities[name].attributes)
        assert list(one.spec.entities) == list(other.spec.entities)


def test_what_means_the_same_as_before_is_the_same_object() -> None:
    pieces = Pieces()
    first = parse(SHOP.encode(), "shop.yaml").spec
    assert first is not None
    objects = []
    for number in range(3):
        text = SHOP.replace("Only who is known may order", f"Only who is known may order {number}")
        spec = parse(text.encode(), "shop.yaml", pieces=pieces).spec
        assert spec is not None
        spec = shared(spec, first)
        pieces.meanings.adopt(spec)
        objects.append((spec.entities["Order"], spec.services["Desk"], spec.flows["opening"]))
    again = parse(text.encode(), "shop.yaml", pieces=pieces).spec
    assert again is not None
    assert again.entities["Order"] is first.entities["Order"]
    assert again.services["Desk"] is first.services["Desk"]
    assert again.flows["opening"] is first.flows["opening"]
    assert all(one is first.entities["Order"] for one, *_ in objects)


def test_how_rows_get_to_a_new_type_is_taken_up_with_what_says_it() -> None:
    plain = parse(SHOP.encode(), "shop.yaml").spec
    assert plain is not None
    pieces, text = Pieces(), SHOP.replace("total: decimal", "total: {type: decimal, using: 'old.total'}")
    for _ in range(3):
        parsed = parse(text.encode(), "shop.yaml", pieces=pieces)
        assert parsed.spec is not None
        assert ways(parsed.spec) == {("Order", "total", "old.total")}
        pieces.meanings.adopt(shared(parsed.spec, plain))


def test_nothing_is_taken_up_of_a_text_that_has_findings() -> None:
    pieces = Pieces()
    warned = SHOP.replace("- has many Orders", "- has many Orders\n      - Order has many things")
    for _ in range(2):
        parsed = read(warned, pieces)
        assert parsed.diagnostics == read(warned).diagnostics != ()


def test_what_no_reading_uses_is_forgotten() -> None:
    pieces = Pieces()
    for number in range(20):
        read(SHOP.replace("domain: shop", f"domain: shop{number}"), pieces)
    assert len(pieces.meanings._now) + len(pieces.meanings._before) < 60
