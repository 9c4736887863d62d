"""Each mistake in a flow that runs is found, at its column."""

from __future__ import annotations

import pytest

from watcherd.pim import parse

MARK = "▸"
HEAD = """\
domain: shop
entities:
  - name: Product
    attributes:
      sku: {type: string, required: true}
      stock: {type: integer, required: true}
      price: {type: decimal, scale: 2}
services:
  - name: Desk
    methods:
      - {name: order, parameters: {sku: string, n: integer}, returns: Product, flow: order}
      - {name: other, parameters: {n: integer}, returns: integer, flow: other}
      - {name: idle, flow: prose}
flows:
  prose:
    steps:
      - {id: think}
  other:
    steps:
      - {id: done, return: n}
  order:
    steps:
"""
FIND = "{id: find, find: Product, where: {sku: sku}, as: found, next: done}"
STOP = "{id: b, raise: no, message: no}"
DONE = '{id: done, return: "found[0]"}'


def steps(*texts: str) -> str:
    return HEAD + "".join(f"      - {text}\n" for text in texts)


CASES = [
    # expressions: unknown names, wrong types, syntax
    ("PIM312", steps("{id: done, return: ▸found}")),
    ("PIM312", steps(FIND, "{id: done, return: 'found[0].▸stok'}")),
    ("PIM312", steps("{id: a, find: Product, where: {stock: ▸sku}, as: found, next: done}", DONE)),
    ("PIM312", steps("{id: a, find: Product, where: {stock__in: ▸n}, as: found, next: done}", DONE)),
    ("PIM312", steps("{id: a, create: Product, values: {sku: sku, stock: ▸sku}, next: b}", STOP)),
    ("PIM312", steps("{id: a, set: {x: n ▸+ sku}, next: b}", STOP)),
    ("PIM312", steps("{id: a, assert: ▸n, next: b}", STOP)),
    ("PIM312", steps("{id: a, raise: no, message: 'only {▸x} left'}")),
    ("PIM312", steps("{id: a, when: {yes: ▸n}, next: {yes: b, no: b}}", STOP)),
    ("PIM312", steps("{id: a, each: ▸n, as: one, do: [{set: {x: one}}], next: b}", STOP)),
    ("PIM312", steps("{id: a, each: '[1]', as: one, do: [{set: {x: one + ▸sku}}], next: b}",
                     STOP).replace("one + ▸sku", "one ▸+ sku")),
    ("PIM312", steps("{id: a, call: Desk.other, with: {n: ▸sku}, next: b}", STOP)),
    # known on one way only
    ("PIM312", steps("{id: a, when: {yes: n > 0}, next: {yes: b, no: c}}",
                     "{id: b, get: Product, key: sku, as: row, next: c}", "{id: c, return: ▸row}")),
    # what there is not
    ("PIM307", steps("{id: a, get: ▸Produkt, key: sku, as: row, next: b}", STOP)),
    ("PIM304", steps("{id: a, find: Product, where: {▸skew: sku}, as: found, next: done}", DONE)),
    ("PIM304", steps("{id: a, create: Product, values: {sku: sku, stock: n, ▸size: n}, next: b}",
                     STOP)),
    ("PIM433", steps("{id: a, call: ▸Desk.none, next: b}", STOP)),
    ("PIM433", steps("{id: a, call: Desk.other, with: {n: n, ▸m: n}, next: b}", STOP)),
    # keys
    ("PIM430", steps("{id: a, get: Product, ▸find: Product, key: sku, as: x, next: b}", STOP)),
    ("PIM430", steps("{id: a, ▸get: Product, as: x, next: b}", STOP)),
    ("PIM430", steps("{id: a, delete: Product, key: sku, ▸values: {}, next: b}", STOP)),
    ("PIM430", steps("{id: a, ▸key: sku, next: b}", STOP)),
    ("PIM431", steps("{id: a, ▸when: n > 0, next: b}", STOP)),
    ("PIM431", steps("{id: a, when: {▸maybe: n > 0}, next: {yes: b, no: b}}", STOP)),
    ("PIM431", steps("{id: a, when: {yes: n > 0}, ▸next: {yes: b, no: b, other: b}}", STOP)),
    ("PIM431", steps("{id: a, set: {x: n}, ▸next: [b, c]}", STOP, "{id: c, raise: no, message: no}")),
    ("PIM432", steps("{id: a, get: Product, key: sku, as: ▸sku, next: b}", STOP)),
    ("PIM432", steps("{id: a, get: Product, key: sku, as: x, next: c}", "{id: c, find: Product, as: ▸x, next: b}",
                     STOP)),
    ("PIM434", steps("{id: ▸a, set: {x: n}}")),
    ("PIM435", steps("{id: a, raise: ▸no way, message: no}")),
    ("PIM435", steps("{id: a, raise: no, message: no, status: ▸500}")),
    ("PIM435", steps("{id: a, emit: ▸bye, next: b}", STOP)),
    ("PIM203", steps("{id: a, get: Product, key: sku, as: ▸true, next: b}", STOP)),
    ("PIM101", steps("{id: a, ▸got: Product}")),
    ("PIM101", steps("{id: a, each: '[1]', as: x, do: [{set: {y: x}, ▸nex: b}], next: b}", STOP)),
    ("PIM103", steps("{id: a, set: ▸[1], next: b}", STOP)),
]  # fmt: skip


@pytest.mark.parametrize(("code", "marked"), CASES)
def test_each_mistake_is_the_only_finding_and_is_found_where_the_mark_stands(code: str, marked: str) -> None:
    before, _, after = marked.partition(MARK)
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    parsed = parse((before + after).encode(), "shop.yaml")
    found = [(one.code, one.line, one.column) for one in parsed.diagnostics if one.is_error]
    assert found == [(code, line, column)], [one.message for one in parsed.diagnostics]


def test_a_sound_flow_has_no_findings() -> None:
    parsed = parse(steps(FIND, DONE).encode(), "shop.yaml")
    assert parsed.diagnostics == ()
    assert parsed.spec is not None
    assert parsed.spec.flows["order"].is_executable
    assert not parsed.spec.flows["prose"].is_executable


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("Desk.idle", "nothing runs it"),
        ("Desk.order", "it would never end"),
    ],
)
def test_what_nothing_runs_or_never_ends_cannot_be_called(target: str, said: str) -> None:
    text = steps(f"{{id: a, call: {target}, with: {{}}, next: b}}", STOP)
    messages = [one.message for one in parse(text.encode(), "shop.yaml").diagnostics if one.code == "PIM433"]
    assert any(said in message for message in messages), messages


def test_what_a_handler_runs_can_be_called() -> None:
    text = steps("{id: a, call: Desk.handled, with: {}, next: b}", STOP)
    text = text.replace(
        "- {name: idle, flow: prose}", "- {name: idle, flow: prose}\n      - {name: handled, handler: 'a.py:f'}"
    )
    parsed = parse(text.encode(), "shop.yaml")
    assert not any(one.is_error for one in parsed.diagnostics), [one.message for one in parsed.diagnostics]
