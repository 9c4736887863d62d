"""Examples guard the swap: run against the new revision, on a database of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.test_flows import MODEL, stock, stocked
from tests.helpers import model_text, serving
from watcherd import store
from watcherd.examples import compare
from watcherd.pim.spec import Example, Json

SELLS = """\
        examples:
          - name: sells what is there
            given: {Product: [{sku: a, stock: 10, price: "0.10"}]}
            call: {customer: c, sku: a, quantity: 3}
            expect: {status: 200, body: {total: "0.30", customer: c}}
          - name: does not sell what is not there
            given: {Product: [{sku: a, stock: 2, price: "0.10"}]}
            call: {customer: c, sku: a, quantity: 3}
            expect: {status: 409, code: out_of_stock}
"""
PRICED = """\
services:
  - name: Desk
    methods:
      - name: price
        returns: integer
        handler: desk.py:price
        examples: [{call: {}, expect: {status: 200, body: 4}}]
"""
GUARDED = MODEL.replace("        flow: create order\n", "        flow: create order\n" + SELLS, 1)


async def test_examples_that_hold_let_a_revision_in_and_touch_no_row(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": GUARDED}) as walk:
        assert (await walk.state("shop.yaml"), await walk.codes("shop.yaml")) == ("live", [])
        assert (await walk.get("/api/shop/products")).json["total"] == 0
        await stocked(walk)
        await walk.save("shop.yaml", GUARDED.replace("product.price * quantity", "quantity * product.price"))
        assert (walk.revision("shop").number, await stock(walk)) == (2, 10)


async def test_an_example_that_fails_keeps_the_revision_out_and_is_shown_with_expected_and_got(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": GUARDED}) as walk:
        wrong = GUARDED.replace("product.price * quantity", "product.price + 1.0")
        report = await walk.save("shop.yaml", wrong)
        assert report.swapped == ()
        listed = await walk.listed("shop.yaml")
        [found] = listed["diagnostics"]
        assert (listed["state"], listed["revision"], found["code"]) == ("stale", 1, "PIM440")
        assert wrong.splitlines()[found["line"] - 1].strip() == "- name: sells what is there"
        assert 'expected {"customer":"c","total":"0.30"}, got 200 ' in found["message"]
        assert '"total":"1.10"' in found["message"]
        await walk.save("shop.yaml", GUARDED)
        assert await walk.state("shop.yaml") == "live"


async def test_a_file_whose_example_fails_at_the_start_does_not_go_live(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": GUARDED.replace("stock: 2,", "stock: 20,")}) as walk:
        assert await walk.state("shop.yaml") == "rejected"
        [found] = (await walk.listed("shop.yaml"))["diagnostics"]
        assert "expected status 409, got 200" in found["message"]


async def test_examples_of_an_entity_create_a_row(tmp_path: Path) -> None:
    examples = """\
    examples:
      - {create: {name: a, size: 1}, expect: {status: 201, body: {size: 1}}}
      - {name: no size below, create: {name: a, size: -1}, expect: {status: 422, code: minimum}}
      - {given: {Item: [{name: a, size: 1}]}, create: {name: a, size: 2}, expect: {code: unique}}
"""
    text = model_text("shop", "size: {type: integer, minimum: 0}", extra=examples)
    text = text.replace("name: string", "name: {type: string, unique: true}")
    async with serving(tmp_path, {"shop.yaml": text}) as walk:
        assert (await walk.state("shop.yaml"), await walk.codes("shop.yaml")) == ("live", [])
        await walk.save("shop.yaml", text.replace("minimum: 0", "minimum: -5"))
        [found] = (await walk.listed("shop.yaml"))["diagnostics"]
        assert "`no size below` fails: expected status 422, got 201" in found["message"]


async def test_what_is_given_has_to_be_possible(tmp_path: Path) -> None:
    text = GUARDED.replace("stock: 10, price", "stok: 10, price")
    async with serving(tmp_path, {"shop.yaml": text}) as walk:
        [found] = (await walk.listed("shop.yaml"))["diagnostics"]
        assert "what it is given cannot be" in found["message"]
        assert "stok" in found["message"]


async def test_what_is_given_of_times_is_what_rules_see(tmp_path: Path) -> None:
    text = """\
domain: shop
entities:
  - name: Loan
    attributes: {lent: {type: datetime, auto_now_add: true}, due: date, code: {type: string, unique: true}}
    examples:
      - {given: {Loan: [{lent: '2026-01-01T00:00:00Z', due: 2026-01-02, code: a}]}, create: {code: a, due: 9999-12-31},
         expect: {status: 409, code: unique}}
rules: {due: {on: Loan, assert: self.due >= date(self.lent), message: due before it was lent}}
"""
    async with serving(tmp_path, {"shop.yaml": text}) as walk:
        assert await walk.codes("shop.yaml") == []
        [refused] = (await walk.save("shop.yaml", text.replace("2026-01-02", "2025-12-31"))).refused
        assert "what it is given cannot be: Loan: due before it was lent" in refused.diagnostics[0].message


async def test_an_example_finds_nothing_of_the_one_before_it(tmp_path: Path) -> None:
    example = "{given: {Parent: [{name: a}], Child: [{parent_id: 1}]}, create: {name: b}, expect: {body: {number: 2}}}"
    text = f"""\
domain: family
entities:
  - name: Parent
    attributes:
      number: {{type: integer, primary_key: true, auto_increment: true}}
      name: {{type: string, unique: true}}
      eldest_id: {{type: reference, reference: Child, on_delete: restrict}}
    examples:
      - {example}
      - {example}
  - name: Child
    attributes:
      parent_id: {{type: reference, reference: Parent, on_delete: restrict}}
    examples:
      - {{given: {{Parent: [{{name: a}}]}}, create: {{parent_id: 2}}, expect: {{code: foreign-key}}}}
"""
    async with serving(tmp_path, {"family.yaml": text}) as walk:
        assert (await walk.state("family.yaml"), await walk.codes("family.yaml")) == ("live", [])


async def test_a_default_that_no_row_can_have_is_why_examples_cannot_run(tmp_path: Path) -> None:
    text = model_text(
        "shop",
        "up_id: {type: reference, reference: Item, default: first}",
        extra="    examples: [{create: {name: a}}]\n",
    )
    async with serving(tmp_path, {"shop.yaml": text}) as walk:
        [found] = (await walk.listed("shop.yaml"))["diagnostics"]
        assert found["code"] == "PIM440"
        assert "Item.up_id cannot have the default 'first': expected a UUID" in found["message"]


async def test_examples_run_the_handlers_of_the_new_revision(tmp_path: Path) -> None:
    model = (
        model_text("shop", "size: integer")
        + """\
services:
  - name: Desk
    methods:
      - name: double
        parameters: {n: integer}
        returns: integer
        handler: desk.py:double
        examples: [{call: {n: 2}, expect: {body: 4}}]
"""
    )
    code = "def double(ctx, params):\n    return params['n'] * 2\n"
    async with serving(tmp_path, {"shop.yaml": model, "desk.py": code}, handlers=True) as walk:
        assert await walk.state("shop.yaml") == "live"
        walk.write("desk.py", code.replace("* 2", "* 3"))
        [refused] = (await walk.see("desk.py")).refused
        assert "expected 4, got 200 6" in refused.diagnostics[0].message
        assert (await walk.call("POST", "/api/shop/desk/double", {"n": 5})).json == 10


MUTE = "type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})()"


async def test_an_error_that_cannot_say_what_it_is_is_told_by_its_name(tmp_path: Path) -> None:
    text = model_text("shop", extra=PRICED)
    files = {"shop.yaml": text, "desk.py": "def price(ctx, params):\n    return 4\n"}
    async with serving(tmp_path, files, handlers=True) as walk:
        walk.write("desk.py", f"raise {MUTE}\ndef price(ctx, params): ...\n")
        [refused] = (await walk.see("desk.py")).refused
        [found] = refused.diagnostics
        assert (found.code, found.file, found.message) == ("PIM424", "desk.py", "desk.py: Mute")
        walk.write("desk.py", f"def price(ctx, params):\n    raise {MUTE}\n")
        [refused] = (await walk.see("desk.py")).refused
        assert '"detail":"Mute"' in refused.diagnostics[0].message
        await walk.save("shop.yaml", text.replace("        examples", "        x-examples"))
        reply = await walk.call("POST", "/api/shop/desk/price", {})
        assert (reply.status, reply.json["type"]) == (500, "/problems/internal")


@pytest.mark.parametrize("raised", ["__import__('asyncio').CancelledError()", "type('Odd', (BaseException,), {})()"])
async def test_an_example_that_a_handler_ends_in_an_odd_way_fails_and_the_next_save_is_seen(
    tmp_path: Path, raised: str
) -> None:
    text = model_text("shop", extra=PRICED)
    files = {"shop.yaml": text, "desk.py": "async def price(ctx, params):\n    return 4\n"}
    async with serving(tmp_path, files, handlers=True) as walk:
        walk.write("desk.py", f"async def price(ctx, params):\n    raise {raised}\n")
        [refused] = (await walk.see("desk.py")).refused
        assert "the handler raised" in refused.diagnostics[0].message
        walk.write("desk.py", "async def price(ctx, params):\n    return 2 + 2\n")
        await walk.see("desk.py")
        assert (await walk.state("shop.yaml"), walk.revision("shop").number) == ("live", 2)


async def test_references_into_other_models_are_plain_values_in_examples(tmp_path: Path) -> None:
    users = model_text("users", entity="User")
    orders = model_text(
        "orders",
        "user_id: {type: reference, reference: users.User}",
        extra="    examples: [{create: {name: a, user_id: 019311f0-1c2b-7d3e-8f40-5a6b7c8d9e0f}}]\n",
    )
    async with serving(tmp_path, {"users.yaml": users, "orders.yaml": orders}) as walk:
        assert (await walk.state("orders.yaml"), await walk.codes("orders.yaml")) == ("live", [])


async def test_a_model_without_examples_opens_no_other_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, {"shop.yaml": MODEL}) as walk:

        async def refuse(*_: Any, **__: Any) -> Any:
            raise AssertionError("a database was opened")

        monkeypatch.setattr(store.Store, "open", refuse)
        report = await walk.save("shop.yaml", MODEL.replace("out_of_stock", "sold_out"))
        assert report.swapped == ("shop",)


def test_check_runs_examples_without_a_daemon(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    for text, status in ((GUARDED, 0), (GUARDED.replace("stock: 2,", "stock: 20,"), 1)):
        file.write_text(text)
        command = [sys.executable, "-m", "watcherd", "check", "--run", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        assert ("PIM440" in done.stdout) == bool(status)
        assert done.stdout.rstrip().endswith(" examples run.")
    done = subprocess.run([*command, "--format", "json"], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, json.loads(done.stdout)["summary"]["examples"]) == (1, 2)


@pytest.mark.parametrize(
    ("expected", "got", "is_same"),
    [
        ("1", "1.0", True),
        ("1.0", "1", True),
        ("1", "true", False),
        ("true", "1", False),
        ("0", "false", False),
        ("1", "1.5", False),
        ("0.3", '"0.30"', False),  # decimals are text, and expected as they are shown
        ('"0.30"', '"0.30"', True),
        ('{"n":[1,{"m":2}]}', '{"n":[1.0,{"m":2.0,"o":3}],"p":0}', True),
        ('{"n":[1]}', '{"n":[1.0,2]}', False),
        ("null", "0", False),
    ],
)
def test_numbers_are_the_same_by_what_they_are_and_nothing_else_is(expected: str, got: str, is_same: bool) -> None:
    example = Example(expected=Json.of(json.loads(expected)))
    assert (compare(example, 200, json.loads(got)) is None) is is_same
