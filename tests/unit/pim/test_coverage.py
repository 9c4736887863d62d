"""What of a model is enforced or can run, and what is prose."""

from __future__ import annotations

from watcherd.pim import parse
from watcherd.pim.coverage import Coverage, Share, coverage

SHOP = """
domain: shop
entities:
  - name: Order
    attributes: {total: decimal, status: {enum: [open, paid], default: open}}
    constraints: [total cannot be negative, {check: total < 100}, orders are nice]
services:
  - name: Desk
    methods:
      - {name: pay, parameters: {id: uuid}, rules: [kind], transition: {entity: Order, field: status, from: open, to: paid}}
      - {name: code, handler: "orders.py:code"}
      - {name: wish, flow: wishing}
      - {name: idle}
flows:
  wishing: {steps: [{id: Start, type: start, next: A}, {id: A, next: End}, {id: End, type: end}]}
rules:
  positive: {on: Order, assert: self.total > 0}
  kind: {assert: id != null}
  nobody: {assert: 1 > 0}
  words: Customers are thanked
  free: {description: Nothing is lost, severity: high}
"""  # noqa: E501 - a model file


def of(text: str, **options: bool) -> Coverage:
    spec = parse(text.encode(), "shop.yaml").spec
    assert spec is not None
    return coverage(spec, **options)


def test_each_part_of_a_model_is_counted_and_its_prose_is_named() -> None:
    found = of(SHOP)
    assert found == Coverage(
        constraints=Share(3, ("Order: orders are nice",)),
        rules=Share(5, ("free", "nobody", "words")),
        methods=Share(4, ("Desk.wish", "Desk.idle")),
        steps=Share(1, ("wishing: A",)),
    )
    assert (found.constraints.covered, found.rules.covered, found.methods.covered, found.steps.covered) == (2, 2, 2, 0)


def test_a_handler_that_may_not_run_covers_nothing() -> None:
    assert "Desk.code" in of(SHOP, handlers=False).methods.prose


def test_a_model_in_words_is_told_to_be_one() -> None:
    text = """
domain: user-management
entities:
  - name: User
    attributes: {email: {type: string, unique: true}, status: {enum: [active, inactive], default: active}}
    constraints: [email must be unique, status must be valid enum value]
services:
  - name: UserService
    methods: [{name: registerUser, flow: register, rules: [valid_email]}, {name: authenticateUser}]
flows:
  register:
    steps: [{id: Start, type: start, next: A}, {id: A, label: Receive, next: B}, {id: B, label: Store, next: End}]
rules: {valid_email: Email must contain @ symbol and valid domain}
"""
    assert of(text).as_json() == {
        "constraints": {"total": 2, "covered": 2, "prose": []},
        "rules": {"total": 1, "covered": 0, "prose": ["valid_email"]},
        "methods": {
            "total": 2, "covered": 0, "prose": ["UserService.registerUser", "UserService.authenticateUser"],
        },
        "steps": {"total": 2, "covered": 0, "prose": ["register: A", "register: B"]},
    }  # fmt: skip


def test_a_flow_whose_steps_say_what_they_do_covers_them_and_its_methods() -> None:
    text = SHOP.replace("{id: A, next: End}", '{id: A, return: "1", next: End}')
    found = of(text)
    assert (found.steps, "Desk.wish" in found.methods.prose) == (Share(1, ()), False)
