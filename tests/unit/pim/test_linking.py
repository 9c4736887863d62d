from dataclasses import replace
from decimal import Decimal

from jsonschema import Draft202012Validator

from watcherd.pim import fingerprint, json_schema, link, parse
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import EntityRef, ModelSpec

SHOP = """
domain: web-shop
depends_on: [stock]
entities:
  - {name: Order, attributes: {userId: {reference: user-management.User}, parent: {reference: web_shop.Order}}}
  - {name: Line, attributes: {price: {type: decimal, minimum: 1.50}}}
rules: {a: x, b: y}
"""
USERS = "{domain: user_management, entities: [{name: User, attributes: {login: {type: string, primary_key: true}}}]}"


def spec_of(text: str) -> ModelSpec:
    spec = parse(text.encode(), "x.yaml").spec
    assert spec is not None
    return spec


def test_references_into_both_models_are_resolved() -> None:
    spec, users = spec_of(SHOP), spec_of(USERS)
    linked = link(spec, {"user_management": users})
    assert isinstance(linked, LinkedModel)
    assert {(ref.model, ref.entity): (one.domain, one.plural, one.key.name) for ref, one in linked.targets.items()} == {
        ("user_management", "User"): ("user_management", "users", "login"),
        ("web_shop", "Order"): ("web-shop", "orders", "id"),
    }
    assert spec.depends_on == {"user_management", "stock"}


def test_what_is_missing_is_answered() -> None:
    spec = spec_of(SHOP)
    missing = (EntityRef("user_management", "User"),)
    assert link(spec, {}) == missing
    assert link(spec, {"user_management": replace(spec_of(USERS), entities={})}) == missing


def test_a_change_of_the_target_is_a_change_of_the_linked_model() -> None:
    spec = spec_of(SHOP)
    by_text = link(spec, {"user_management": spec_of(USERS)})
    assert by_text == link(spec_of(SHOP), {"user_management": spec_of(USERS)})
    assert by_text != link(spec, {"user_management": spec_of(USERS.replace("string", "integer"))})


def test_references_know_every_place_where_they_are_made() -> None:
    text = SHOP.replace("{name: Line,", "{name: Line, relationships: [belongs to user-management.User],")
    text = text.replace("price:", "user_id: string, price:")
    parsed = parse(text.encode(), "x.yaml")
    assert [(ref.entity, place.line) for ref, place in parsed.references] == [("User", 5), ("User", 6)]


def test_fingerprints_are_equal_exactly_when_specs_are() -> None:
    spec = spec_of(SHOP)
    reordered = spec_of(
        "rules: {b: y, a: x}\n# a comment\n" + SHOP.replace("rules: {a: x, b: y}", "").replace("1.50", "1.5")
    )
    assert reordered == spec
    assert fingerprint(reordered) == fingerprint(spec)
    assert len(fingerprint(spec)) == 64
    others = [
        SHOP.replace("1.50", "1.51"),
        SHOP.replace("a: x", "a: z"),
        SHOP.replace("stock", "stocks"),
        SHOP.replace("name: Line", "name: Lines"),
        SHOP + "version: 1.0\n",
        SHOP + "version: 1.00\n",
        SHOP + "metadata: {a: 1}\n",
        SHOP + "metadata: {a: 1.0}\n",
        SHOP + "metadata: {a: true}\n",
    ]
    specs = [spec, *map(spec_of, others)]
    assert len({fingerprint(one) for one in specs}) == len(specs)
    assert all(one != other for index, one in enumerate(specs) for other in specs[:index])


def test_numbers_of_equal_value_have_one_fingerprint() -> None:
    spec = spec_of(SHOP)
    line = spec.entities["Line"]
    price = replace(line.attributes["price"], minimum=Decimal("15e-1"))
    same = replace(
        spec, entities={**spec.entities, "Line": replace(line, attributes={**line.attributes, "price": price})}
    )
    assert (same == spec, fingerprint(same)) == (True, fingerprint(spec))


def test_the_published_schema_is_one_and_knows_the_format() -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    good = {
        "domain": "shop",
        "version": 1.0,
        "x-team": 5,
        "entities": [
            {
                "name": "A",
                "attributes": {"a": "string", "b": {"type": "int", "min": 1, "default": 5}},
                "constraints": ["a must be unique", {"check": "b > 0"}],
                "indexes": ["a", ["a", "b"], {"fields": "a"}],
                "relationships": ["has many B", {"belongs_to": "B"}],
            },
            {"name": "B", "attributes": [{"name": "a", "type": "text"}]},
        ],
        "flows": {
            "f": {"steps": [{"id": "a", "next": {"yes": "b"}}, {"id": "b", "next": ["c"]}, {"id": "c", "next": "a"}]}
        },
        "rules": {"r": "prose", "s": {"a": 1}},
    }
    assert list(validator.iter_errors(good)) == []
    for bad in (
        {},
        {"domain": "a", "titel": "x"},
        {"domain": "a", "entities": [{"name": "A", "attributes": {"a": {"typ": 1}}}]},
    ):
        assert list(validator.iter_errors(bad)) != []
    assert "\uffff" not in str(schema)
