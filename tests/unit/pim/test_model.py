"""What a whole model file means, in the dialects that existing files are written in."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from watcherd.pim import Parsed
from watcherd.pim.flow_spec import Step
from watcherd.pim.spec import Entity, EntityRef, Json, Kind, ModelSpec, OnDelete, Rule, ToMany, ToOne, ValueType

ACCOUNTS = """
# Accounts
domain: account-keeping
version: 1.0
description: Accounts and who may use them

entities:
  - name: Account
    description: A person's account
    attributes:
      fullName: {type: string, required: true, description: The person's name}
      email:
        type: string
        required: true
        unique: true
      state:
        type: enum
        enum: [active, idle, NO, 1.10, 2024-01-20]
        default: active
      lastSeen:
        type: datetime
        required: false
    constraints:
      - email must be unique
      - state must be valid enum value
    indexes:
      - email
      - "state, lastSeen"

services:
  - name: AccountService
    description: What can be done
    methods:
      - name: openAccount
        parameters:
          accountData: Account
        flow: AccountService.openAccount
        rules:
          - email_is_new

flows:
  AccountService.openAccount:
    description: Opening
    diagram: |
      flowchart TD
        Start([Start]) --> A[Receive data]
        A --> B{Is it new?}
        B -->|No| C[Refuse]
        B -->|Yes| D[Create]
        C --> End([End])
        D --> End
    steps:
      - {id: Start, type: start, next: [A]}
      - {id: A, label: Receive data, type: action, next: B}
      - id: B
        type: decision
        next: {"yes": D, "no": C}
      - {id: C, next: [end]}
      - {id: D, next: [End]}

rules:
  email_is_new: The email must not exist yet

metadata:
  author: Someone
  created: 2024-01-20
  tags: [accounts, 1.0]
"""


def test_a_real_file_loads_without_any_finding(parse_text: Callable[[str], Parsed]) -> None:
    parsed = parse_text(ACCOUNTS)
    assert parsed.diagnostics == ()
    assert parsed.domain == "account-keeping"
    spec = parsed.spec
    assert spec is not None
    assert (spec.name, spec.version) == ("account_keeping", "1.0")
    account = spec.entities["Account"]
    assert list(account.attributes) == ["id", "fullName", "email", "state", "lastSeen", "created_at", "updated_at"]
    assert account.plural == "accounts"
    assert account.attributes["state"].members == ("active", "idle", "NO", "1.10", "2024-01-20")
    assert account.attributes["state"].default == Json.of("active")
    assert [one.rule for one in account.constraints] == [Rule.UNIQUE, Rule.MEMBER]
    assert [one.attributes for one in account.indexes] == [("email",), ("state", "lastSeen")]
    method = spec.services["AccountService"].methods[0]
    assert (spec.services["AccountService"].path, method.path) == ("account-service", "open-account")
    assert method.parameters[0].type == ValueType(entity=EntityRef("account_keeping", "Account"))
    assert spec.flows["AccountService.openAccount"].steps[2] == Step(
        id="B", type="decision", next=(("no", "C"), ("yes", "D"))
    )
    assert spec.metadata == Json.of({"author": "Someone", "created": "2024-01-20", "tags": ["accounts", 1.0]})


@pytest.mark.parametrize(
    ("written", "kind", "is_list"),
    [
        ("str", Kind.STRING, False),
        ("String", Kind.STRING, False),
        ("INT", Kind.INTEGER, False),
        ("double", Kind.FLOAT, False),
        ("number", Kind.FLOAT, False),
        ("Money", Kind.DECIMAL, False),
        ("bool", Kind.BOOLEAN, False),
        ("object", Kind.JSON, False),
        ("List[string]", Kind.STRING, True),
        ("list[Integer]", Kind.INTEGER, True),
        ("string[]", Kind.STRING, True),
        *((kind.value, kind, False) for kind in Kind if kind not in {Kind.ENUM, Kind.REFERENCE}),
    ],
)
def test_a_type_is_read_in_any_case_and_spelling(
    entity_of: Callable[[str], Entity], written: str, kind: Kind, is_list: bool
) -> None:
    attribute = entity_of(f"attributes: {{a: '{written}'}}").attributes["a"]
    assert (attribute.kind, attribute.is_list) == (kind, is_list)


@pytest.mark.parametrize("key", ["enum", "values", "enum_values"])
def test_members_without_a_type_make_an_enum(entity_of: Callable[[str], Entity], key: str) -> None:
    attribute = entity_of(f"attributes: {{a: {{{key}: [yes, on, 1.10, ~]}}}}").attributes["a"]
    assert (attribute.kind, attribute.members) == (Kind.ENUM, ("yes", "on", "1.10", "~"))


def test_attributes_as_a_list_mean_the_same_as_a_mapping(entity_of: Callable[[str], Entity]) -> None:
    listed = entity_of("attributes: [{name: a, type: int, minimum: 1}, {name: b, type: string}]")
    assert listed == entity_of("attributes: {a: {type: int, min: 1}, b: string}")


def test_implied_attributes_stand_around_the_declared_ones(entity_of: Callable[[str], Entity]) -> None:
    entity = entity_of("attributes: {a: int}")
    assert list(entity.attributes) == ["id", "a", "created_at", "updated_at"]
    assert entity.key.kind is Kind.UUID
    assert entity.key.implied
    assert entity.key.read_only
    assert entity.attributes["created_at"].auto_now_add
    assert entity.attributes["updated_at"].auto_now


def test_a_declared_attribute_takes_the_place_of_an_implied_one_in_any_spelling(
    entity_of: Callable[[str], Entity],
) -> None:
    entity = entity_of("attributes: {sku: {type: string, primary_key: true}, createdAt: datetime}")
    assert list(entity.attributes) == ["sku", "createdAt", "updated_at"]
    assert entity.key.required


def test_an_id_that_does_not_say_so_is_the_key_where_no_other_attribute_says_so(
    entity_of: Callable[[str], Entity],
) -> None:
    assert entity_of("attributes: {id: int}").key.auto_increment
    assert not entity_of("attributes: {id: {type: int, required: true}}").key.auto_increment
    assert entity_of("attributes: {a: int, id: string}").key.required
    assert not entity_of("attributes: {id: uuid}").key.required
    both = entity_of("attributes: {id: int, a: {type: int, primary_key: true}}")
    assert (both.key.name, both.attributes["id"].primary_key) == ("a", False)


def test_limits_and_flags_arrive_as_they_were_written(entity_of: Callable[[str], Entity]) -> None:
    entity = entity_of(
        """
        attributes:
          price: {type: decimal, minimum: 0.10, exclusive_maximum: 100, precision: 6, scale: 2, multiple_of: 0.05}
          code: {type: string, min_length: 2, max_length: 5, pattern: "^[A-Z]+$", write_only: true, renamed_from: old}
          seen: {type: datetime, auto_now: true, using: timestamp(day)}
          no: {type: integer, primary_key: true, auto_increment: true, id: stable}
        """
    )
    price, code = entity.attributes["price"], entity.attributes["code"]
    assert (price.minimum, price.exclusive_maximum, price.multiple_of) == (
        Decimal("0.1"),
        Decimal(100),
        Decimal("0.05"),
    )
    assert (price.precision, price.scale) == (6, 2)
    assert (code.min_length, code.max_length, code.pattern, code.write_only) == (2, 5, "^[A-Z]+$", True)
    assert code.renamed_from == "old"
    assert entity.attributes["seen"].read_only
    assert (entity.key.name, entity.key.read_only, entity.key.stable_id) == ("no", True, "stable")
    assert entity.attributes["seen"].using == "timestamp(day)"


@pytest.mark.parametrize(
    ("type_", "written", "wire"),
    [
        ("decimal, scale: 2", "12.5", "12.50"),
        ("decimal", "'12.500'", "12.5"),
        ("decimal", "-0.0", "0"),
        ("decimal", "1e3", "1000"),
        ("float", "1", 1.0),
        ("integer", "0o17", 15),
        ("string", "1.0", "1.0"),
        ("boolean", "true", True),
        ("date", "2024-02-29", "2024-02-29"),
        ("time", "1:02:03".rjust(8, "0"), "01:02:03.000000"),
        ("datetime", "2026-11-22T01:31:46+01:00", "2026-11-22T00:31:46.000000Z"),
        ("datetime", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("email", "a@example.org", "a@example.org"),
        ("url", "https://example.org/x", "https://example.org/x"),
        ("json", "{a: [1, 1.0, yes, null]}", {"a": [1, 1.0, "yes", None]}),
        ("'integer[]'", "[1, 2]", [1, 2]),
        ("enum, values: [yes, no]", "no", "no"),
    ],
)
def test_a_default_becomes_the_wire_value_of_its_type(
    entity_of: Callable[[str], Entity], type_: str, written: str, wire: object
) -> None:
    attribute = entity_of(f"attributes: {{a: {{type: {type_}, default: {written}}}}}").attributes["a"]
    assert attribute.default == Json.of(wire)


@pytest.mark.parametrize(
    ("type_", "written"),
    [
        ("integer", "9223372036854775808"),
        ("integer", "'5'"),
        ("integer, minimum: 5", "4"),
        ("integer, maximum: 5", "6"),
        ("integer, multiple_of: 5", "6"),
        ("float, exclusive_minimum: 5", "5"),
        ("float, exclusive_maximum: 5", "5.0"),
        ("float", ".inf"),
        ("float", "1e400"),
        ("decimal, scale: 2", "0.001"),
        ("decimal, precision: 4, scale: 2", "100"),
        ("decimal", "0.0000001"),
        ("boolean", "yes"),
        ("boolean", "1"),
        ("string, max_length: 2", "abc"),
        ("string, min_length: 2", "a"),
        ("string, pattern: ^a$", "b"),
        ("string", "[a]"),
        ("date", "2024-02-30"),
        ("date", "20240201"),
        ("time", "25:00:00"),
        ("time", "01:00:00Z"),
        ("datetime", "2024-01-20"),
        ("datetime", "now"),
        ("datetime", "9999-12-31T23:59:59-23:00"),
        ("uuid", "x"),
        ("email", "x"),
        ("url", "x"),
        ("json", ".nan"),
        ("'integer[]'", "1"),
        ("'integer[]'", "[a]"),
        ("enum, values: [a]", "b"),
    ],
)
def test_a_default_that_its_type_cannot_have_is_refused(
    findings_of: Callable[[str], list[str]], type_: str, written: str
) -> None:
    assert findings_of(f"attributes: {{a: {{type: {type_}, default: {written}}}}}") == ["PIM209"]


def test_a_relationship_turns_the_attribute_that_carries_the_key_into_a_reference(
    spec_of: Callable[[str], ModelSpec],
) -> None:
    spec = spec_of(
        """
        domain: shop
        entities:
          - name: Order
            attributes: {customerId: {reference: crm.Customer, on_delete: cascade}}
            relationships: [has many OrderItems, "has one Invoice", {has_many: Note, via: about, name: remarks}]
          - name: OrderItem
            attributes: {orderId: string, product_id: {type: uuid, required: true}}
            relationships: [belongs to Order, "references Product"]
          - {name: Product, attributes: {parent: {type: ref, reference: Product}}}
          - {name: Invoice, attributes: {order: reference}, relationships: [belongs to Order]}
          - {name: Note, attributes: {about: {reference: Order}, other: {reference: Order}}}
        """
    )
    order, item = EntityRef("shop", "Order"), spec.entities["OrderItem"]
    assert item.attributes["orderId"].kind is Kind.REFERENCE
    assert item.to_one == (
        ToOne(name="order", attribute="orderId", target=order),
        ToOne(name="product", attribute="product_id", target=EntityRef("shop", "Product")),
    )
    assert spec.entities["Order"].to_many == (
        ToMany(name="invoice", child=EntityRef("shop", "Invoice"), via="order", single=True),
        ToMany(name="order_items", child=EntityRef("shop", "OrderItem"), via="orderId"),
        ToMany(name="remarks", child=EntityRef("shop", "Note"), via="about"),
    )
    assert spec.entities["Invoice"].to_one[0].name == "order_row"
    assert spec.entities["Product"].to_one[0].name == "parent_row"
    assert spec.entities["Order"].attributes["customerId"].on_delete is OnDelete.CASCADE
    assert spec.depends_on == {"crm"}


def test_the_missing_key_of_a_relationship_is_named_in_the_hint(parse_text: Callable[[str], Parsed]) -> None:
    parsed = parse_text("{domain: shop, entities: [{name: Item, relationships: [belongs to Order]}, {name: Order}]}")
    assert [(one.code, one.hint) for one in parsed.diagnostics] == [
        ("PIM308", "expected the attribute `orderId` (or `order_id`) on Item")
    ]


def test_names_of_every_language_work_throughout(spec_of: Callable[[str], ModelSpec]) -> None:
    spec = spec_of(
        """
        domain: dingdan
        title: 订单管理
        entities:
          - {name: 客户, attributes: {姓名: {type: string, required: true}}, constraints: [姓名 must be unique]}
          - {name: 订单, attributes: {客户Id: string, 金额: money}, relationships: [belongs to 客户]}
        """
    )
    assert spec.entities["订单"].plural == "订单"
    assert [end.name for end in spec.entities["订单"].to_one] == ["客户"]
    assert spec.entities["客户"].constraints[0].attributes == ("姓名",)


def test_both_forms_of_parameters_are_read(spec_of: Callable[[str], ModelSpec]) -> None:
    spec = spec_of(
        """
        domain: todo
        entities: [{name: Todo, attributes: {done: bool}}]
        services:
          - name: TodoService
            methods:
              - name: change
                parameters:
                  - {name: todoId, type: integer}
                  - {name: completed, type: boolean, optional: true}
                  - {name: updates, type: Todo, exclude: [id], partial: true}
                return_type: List[Todo]
              - {name: count, parameters: {since: date, kind: {enum: [a, b], default: a}}, returns: int}
        """
    )
    change, count = spec.services["TodoService"].methods
    assert [(one.name, one.required) for one in change.parameters] == [
        ("todoId", True),
        ("completed", False),
        ("updates", True),
    ]
    assert (change.parameters[2].exclude, change.parameters[2].partial) == (("id",), True)
    assert change.returns == ValueType(entity=EntityRef("todo", "Todo"), is_list=True)
    assert [(one.name, one.required) for one in count.parameters] == [("kind", False), ("since", True)]
    assert count.returns == ValueType(kind=Kind.INTEGER)


def test_keys_without_a_value_and_extension_keys_are_as_if_absent(spec_of: Callable[[str], ModelSpec]) -> None:
    written = spec_of("{domain: shop, title: , x-note: [1], entities: [{name: A, constraints: , x-y: z}]}")
    assert written == spec_of("{domain: shop, entities: [{name: A}]}")
