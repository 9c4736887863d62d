from watcherd.pim import parse, shared
from watcherd.pim.spec import ModelSpec

TEXT = """
domain: shop
version: "1"
entities:
  - {name: Order, attributes: {total: decimal, note: text}}
  - {name: Line, attributes: {quantity: integer}}
services: [{name: Jobs, methods: [{name: run}]}]
rules: {a: x}
"""


def spec_of(text: str) -> ModelSpec:
    spec = parse(text.encode(), "x.yaml").spec
    assert spec is not None
    return spec


def test_what_says_the_same_is_the_same_object() -> None:
    old, new = spec_of(TEXT), spec_of(TEXT.replace("note: text", "note: text, more: text").replace('"1"', '"2"'))
    both = shared(new, old)
    assert both == new
    assert both.entities["Line"] is old.entities["Line"]
    assert both.entities["Order"] is not old.entities["Order"]
    assert both.entities["Order"].attributes["total"] is old.entities["Order"].attributes["total"]
    assert list(both.entities["Order"].attributes) == list(new.entities["Order"].attributes)
    assert both.services["Jobs"] is old.services["Jobs"]
    assert both.rules["a"] is old.rules["a"]


def test_another_order_of_attributes_is_another_entity() -> None:
    old = spec_of(TEXT)
    new = spec_of(TEXT.replace("total: decimal, note: text", "note: text, total: decimal"))
    both = shared(new, old)
    assert list(both.entities["Order"].attributes)[1:3] == ["note", "total"]
    assert both.entities["Order"].attributes["note"] is old.entities["Order"].attributes["note"]


def test_names_that_came_and_went_are_left_alone() -> None:
    old, new = spec_of(TEXT), spec_of(TEXT.replace("Line", "Row"))
    both = shared(new, old)
    assert list(both.entities) == ["Order", "Row"]
    assert both.entities["Order"] is old.entities["Order"]
