"""Flows whose steps do something: run in one transaction, held to the model's rules, traced for administrators."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Walk, serving
from tests.postgres import Postgres
from watcherd.compile import Options

MODEL = """\
domain: shop
entities:
  - name: Product
    attributes:
      sku: {type: string, required: true, unique: true}
      stock: {type: integer, required: true, minimum: 0}
      price: {type: decimal, required: true, scale: 2}
      secret: {type: string, write_only: true}
  - name: Order
    attributes:
      customer: {type: string, required: true}
      total: {type: decimal, scale: 2, read_only: true}
  - name: OrderItem
    attributes:
      order_id: {type: reference, reference: Order, required: true}
      product_id: {type: reference, reference: Product, required: true}
      quantity: {type: integer, required: true, minimum: 1}
services:
  - name: Desk
    methods:
      - name: createOrder
        parameters: {customer: string, sku: string, quantity: {type: integer, default: 1}}
        returns: Order
        flow: create order
      - name: restock
        parameters: {sku: string, quantity: integer}
        returns: integer
        flow: restock
      - name: cheapest
        parameters: {limit: {type: integer, default: 3}}
        returns: Product[]
        flow: cheapest
flows:
  create order:
    steps:
      - {id: start, type: start, next: find}
      - {id: find, find: Product, where: {sku: sku}, as: products, next: known}
      - {id: known, type: decision, when: {known: size(products) == 1}, next: {known: pick, unknown: refuse}}
      - {id: refuse, raise: unknown_product, message: "there is no product {sku}", status: 422, pointer: "#/sku"}
      - {id: pick, set: {product: "products[0]"}, next: enough}
      - {id: enough, when: {enough: product.stock >= quantity}, next: {enough: reserve, short: sold_out}}
      - {id: sold_out, type: end, raise: out_of_stock, message: "only {product.stock} of {product.sku} left"}
      - {id: reserve, update: Product, key: product.id, values: {stock: product.stock - quantity}, next: order}
      - {id: order, create: Order, values: {customer: customer, total: product.price * quantity}, as: order, next: item}
      - id: item
        create: OrderItem
        values: {order_id: order.id, product_id: product.id, quantity: quantity}
        next: tell
      - {id: tell, emit: order.created, data: {id: order.id, total: order.total}, next: done}
      - {id: done, type: end, return: order}
  restock:
    steps:
      - {id: check, assert: quantity > 0, message: "{quantity} is nothing to stock", code: quantity_positive, next: all}
      - {id: all, set: {sum: "0"}, next: find}
      - {id: find, find: Product, where: {sku: sku}, as: products, next: each}
      - id: each
        each: products
        as: product
        do:
          - {update: Product, key: product.id, values: {stock: product.stock + quantity}, as: changed}
          - {set: {sum: sum + changed.stock}, when: changed.stock > 0}
        next: done
      - {id: done, return: sum}
  cheapest:
    steps:
      - {id: find, find: Product, where: {stock__gte: "1"}, sort: price, as: found, next: done}
      - {id: done, return: found}
"""
CREATE = "/api/shop/desk/create-order"
BOTH = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])


async def stocked(walk: Walk, stock: int = 10, sku: str = "a", price: str = "0.10") -> None:
    await walk.post("/api/shop/products", {"sku": sku, "stock": stock, "price": price, "secret": "s"})


async def order(walk: Walk, quantity: int = 1, path: str = CREATE, sku: str = "a") -> Any:
    return await walk.call("POST", path, {"customer": "c", "sku": sku, "quantity": quantity})


async def total(walk: Walk, plural: str) -> int:
    return int((await walk.get(f"/api/shop/{plural}")).json["total"])


async def stock(walk: Walk) -> int:
    return int((await walk.get("/api/shop/products")).json["items"][0]["stock"])


@BOTH
async def test_a_flow_reads_decides_and_writes_exactly(
    tmp_path: Path, kind: str, make_database_url: Callable[[str], str]
) -> None:
    async with serving(tmp_path, {"shop.yaml": MODEL}, database_url=make_database_url(kind)) as walk:
        assert await walk.codes("shop.yaml") == []
        await stocked(walk)
        reply = await order(walk, 3)
        assert reply.status == 200, reply.body
        assert (reply.json["customer"], reply.json["total"]) == ("c", "0.30")
        assert (await stock(walk), await total(walk, "orders"), await total(walk, "order-items")) == (7, 1, 1)


@BOTH
async def test_fifty_orders_at_once_sell_the_stock_of_ten_and_nothing_by_halves(
    tmp_path: Path, kind: str, make_database_url: Callable[[str], str]
) -> None:
    async with serving(tmp_path, {"shop.yaml": MODEL}, database_url=make_database_url(kind)) as walk:
        await stocked(walk)
        replies = await asyncio.gather(*(order(walk) for _ in range(50)))
        assert sum(reply.status == 200 for reply in replies) == 10
        assert {reply.status for reply in replies} == {200, 409}
        told = {(reply.json["type"], reply.json.get("code")) for reply in replies if reply.status == 409}
        assert told <= {("/problems/refused", "out_of_stock"), ("/problems/contended", None)}
        assert (await stock(walk), await total(walk, "orders"), await total(walk, "order-items")) == (0, 10, 10)


async def test_a_refusal_tells_its_code_its_message_and_its_place(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": MODEL}) as walk:
        await stocked(walk, 2)
        short = await order(walk, 3)
        assert (short.status, short.json["code"], short.json["detail"]) == (409, "out_of_stock", "only 2 of a left")
        unknown = await order(walk, 1, sku="b")
        assert (unknown.status, unknown.json["code"]) == (422, "unknown_product")
        assert unknown.json["errors"][0]["pointer"] == "#/sku"


async def test_an_assertion_that_fails_undoes_everything(tmp_path: Path) -> None:
    late = MODEL.replace("- {id: tell,", "- {id: late, assert: order.total > 1.0, next: tell}\n      - {id: tell,")
    late = late.replace("        next: tell\n", "        next: late\n")
    async with serving(tmp_path, {"shop.yaml": late}) as walk:
        await stocked(walk)
        reply = await order(walk)
        assert (reply.status, reply.json["code"]) == (422, "assertion")
        assert reply.json["detail"] == "late does not hold: order.total > 1.0"
        assert (await stock(walk), await total(walk, "orders")) == (10, 0)


async def test_what_a_flow_writes_is_held_to_the_rules_of_the_model(tmp_path: Path) -> None:
    model = MODEL.replace("product.stock >= quantity", "product.stock >= 0")
    async with serving(tmp_path, {"shop.yaml": model}) as walk:
        await stocked(walk, 2)
        reply = await order(walk, 3)
        assert (reply.status, reply.json["detail"]) == (422, "Product: expected at least 0")
        assert await total(walk, "orders") == 0


async def test_each_goes_through_a_list_and_a_guard_passes_a_step_over(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": MODEL}) as walk:
        await stocked(walk, 2)
        reply = await walk.call("POST", "/api/shop/desk/restock", {"sku": "a", "quantity": 5})
        assert (reply.status, reply.json) == (200, 7)
        refused = await walk.call("POST", "/api/shop/desk/restock", {"sku": "a", "quantity": 0})
        assert (refused.json["code"], refused.json["detail"]) == ("quantity_positive", "0 is nothing to stock")


async def test_attributes_that_no_answer_shows_are_left_out_of_a_result(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": MODEL}) as walk:
        await stocked(walk)
        reply = await walk.call("POST", "/api/shop/desk/cheapest", {})
        assert (reply.status, "secret" in reply.json[0]) == (200, False)


async def test_the_same_idempotency_key_gives_the_same_answer_and_runs_the_flow_once(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": MODEL}) as walk:
        await stocked(walk)
        body = {"customer": "c", "sku": "a"}
        first = await walk.call("POST", CREATE, body, idempotency_key="k")
        again = await walk.call("POST", CREATE, body, idempotency_key="k")
        assert (first.body, await total(walk, "orders")) == (again.body, 1)


async def test_what_a_flow_emits_is_told_once_it_is_committed(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": MODEL}) as walk:
        await stocked(walk, 1)
        reader = walk.reloader._options.feeds.subscribe("shop", "-", (), None)
        done, _ = await order(walk), await order(walk)
        said = await anext(reader)
        assert said.count(b"event: order.created") == 1
        assert done.json["id"].encode() in said
        await reader.aclose()


# -- reloads -----------------------------------------------------------------------------------


async def test_a_flow_that_waits_for_a_row_across_a_reload_ends_as_the_revision_that_began_it(
    tmp_path: Path, postgres: Postgres, schema: str
) -> None:
    async with serving(tmp_path, {"shop.yaml": MODEL}, database_url=postgres.url(schema)) as walk:
        await stocked(walk)
        other = await postgres.connect(schema)
        try:
            async with other.transaction():
                await other.fetch('SELECT * FROM "shop__product" FOR UPDATE')
                held = asyncio.create_task(order(walk, 3))
                waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
                while not await other.fetch(waiting):
                    await asyncio.sleep(0)
                double = MODEL.replace("total: product.price * quantity", "total: product.price * quantity * 2")
                assert (await walk.save("shop.yaml", double)).swapped == ("shop",)
                assert not held.done()
            reply = await held
        finally:
            await other.close()
        assert (reply.status, reply.revision, reply.json["total"]) == (200, 1, "0.30")
        new = await order(walk, 3)
        assert (new.status, new.revision, new.json["total"]) == (200, 2, "0.60")


# -- traces ------------------------------------------------------------------------------------


async def test_a_trace_is_for_administrators_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path, {"shop.yaml": MODEL}) as walk:
        await stocked(walk)
        assert (await order(walk, path=CREATE + "?trace=true")).status == 403
        assert (await order(walk, path=CREATE + "?trace=maybe")).status == 400
        assert (await order(walk, path=CREATE + "?verbose=1")).status == 400
        assert (await order(walk, path=CREATE + "?trace=false")).status == 200
    monkeypatch.setattr("tests.helpers.Options", lambda **given: Options(**given, may_trace=lambda _: True))
    async with serving(tmp_path) as walk:
        reply = await order(walk, 2, path=CREATE + "?trace=true")
        steps = [entry["step"] for entry in reply.json["trace"]]
        assert steps == ["start", "find", "known", "pick", "enough", "reserve", "order", "item", "tell", "done"]
        found = reply.json["trace"][1]
        assert (found["does"], found["inputs"]) == ("find", {"sku": "a"})
        assert reply.json["trace"][4]["outcome"] == "enough"
        assert reply.json["result"]["total"] == "0.20"
        assert all(entry["ms"] >= 0 for entry in reply.json["trace"])
        refused = await order(walk, 99, path=CREATE + "?trace=true")
        assert (refused.status, refused.json["trace"][-1]["step"]) == (409, "sold_out")


async def test_a_trace_that_was_kept_is_given_again_to_administrators_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admins = [True]
    monkeypatch.setattr("tests.helpers.Options", lambda **given: Options(**given, may_trace=lambda _: admins[0]))
    async with serving(tmp_path, {"shop.yaml": MODEL}) as walk:
        await stocked(walk)
        path, body = f"{CREATE}?trace=true", {"customer": "c", "sku": "a", "quantity": 1}
        first = await walk.call("POST", path, body, idempotency_key="k")
        assert (first.status, "trace" in first.json) == (200, True)
        admins[0] = False
        assert (await walk.call("POST", path, body, idempotency_key="k")).status == 403
        admins[0] = True
        again = await walk.call("POST", path, body, idempotency_key="k")
        assert (again.status, again.json, again.headers["idempotency-replayed"]) == (200, first.json, "true")
        assert await total(walk, "orders") == 1


# -- calls -------------------------------------------------------------------------------------

CALLING = """\
domain: bank
entities:
  - name: Account
    attributes:
      owner: {type: string, required: true, unique: true}
      balance: {type: decimal, scale: 2, required: true, minimum: 0}
services:
  - name: Bank
    methods:
      - {name: move, parameters: {from_: string, to: string, amount: decimal}, returns: decimal, flow: move}
      - {name: add, parameters: {owner: string, amount: decimal}, returns: Account, flow: add}
flows:
  move:
    steps:
      - {id: give, call: Bank.add, with: {owner: to, amount: amount}, next: take}
      - {id: take, call: Bank.add, with: {owner: from_, amount: -amount}, as: left, next: done}
      - {id: done, return: left.balance}
  add:
    steps:
      - {id: find, find: Account, where: {owner: owner}, as: found, next: one}
      - {id: one, assert: size(found) == 1, message: "no account of {owner}", next: pick}
      - {id: pick, set: {one: "found[0]"}, next: add}
      - {id: add, update: Account, key: one.id, values: {balance: one.balance + amount}, as: account, next: done}
      - {id: done, return: account}
"""


@BOTH
async def test_a_method_that_is_called_is_part_of_the_same_transaction(
    tmp_path: Path, kind: str, make_database_url: Callable[[str], str]
) -> None:
    async with serving(tmp_path, {"bank.yaml": CALLING}, database_url=make_database_url(kind)) as walk:
        assert await walk.codes("bank.yaml") == []
        for owner in "ab":
            await walk.post("/api/bank/accounts", {"owner": owner, "balance": "10"})
        path = "/api/bank/bank/move"
        assert (await walk.call("POST", path, {"from_": "a", "to": "b", "amount": "2.50"})).json == "7.5"
        over = await walk.call("POST", path, {"from_": "a", "to": "b", "amount": "100"})
        assert over.status == 422
        nobody = await walk.call("POST", path, {"from_": "x", "to": "b", "amount": "1"})
        assert nobody.json["detail"] == "no account of x"
        rows = (await walk.get("/api/bank/accounts?sort=owner")).json["items"]
        assert [row["balance"] for row in rows] == ["7.50", "12.50"]


# -- prose -------------------------------------------------------------------------------------


async def test_a_flow_of_which_a_step_does_nothing_is_prose_and_lists_what_lacks(tmp_path: Path) -> None:
    model = MODEL.replace(
        '- {id: pick, set: {product: "products[0]"}, next: enough}', "- {id: pick, next: enough, label: Pick}"
    )
    async with serving(tmp_path, {"shop.yaml": model}) as walk:
        reply = await order(walk)
        assert (reply.status, reply.json["lacks"]) == (
            501,
            ["a handler", "a binding of step pick (Pick) of the flow create order"],
        )


# -- bounds ------------------------------------------------------------------------------------


async def test_a_flow_that_goes_round_for_ever_is_given_up_and_undone(tmp_path: Path) -> None:
    model = MODEL.replace("        next: tell\n", "        next: pick\n").replace("product.stock - quantity", "10")
    async with serving(tmp_path, {"shop.yaml": model}) as walk:
        await stocked(walk)
        reply = await order(walk)
        assert (reply.status, reply.json["type"]) == (503, "/problems/method-timeout")
        assert await total(walk, "orders") == 0


async def test_an_expression_without_an_answer_is_told_with_its_step(tmp_path: Path) -> None:
    model = MODEL.replace("product.stock - quantity", "product.stock / (quantity - quantity)")
    async with serving(tmp_path, {"shop.yaml": model}) as walk:
        await stocked(walk)
        reply = await order(walk)
        assert (reply.status, reply.json["code"]) == (422, "evaluation")
        assert reply.json["detail"].startswith("step reserve: ")


ANYTHING = """\
domain: shop
entities: [{name: Item, attributes: {name: string, n: integer}}]
services:
  - name: Desk
    methods:
      - {name: promise, parameters: {x: json}, returns: integer, flow: promise}
      - {name: caller, parameters: {x: json}, returns: json, flow: caller}
      - {name: count, parameters: {x: json}, returns: integer, flow: count}
      - {name: among, parameters: {x: json}, returns: 'Item[]', flow: among}
      - {name: refuse, parameters: {x: json}, flow: refuse}
flows:
  promise: {steps: [{id: done, return: x}]}
  caller: {steps: [{id: ask, call: Desk.promise, with: {x: x}, as: n, next: done}, {id: done, return: {n: n + 1}}]}
  count:
    steps:
      - {id: begin, set: {n: "0"}, next: each}
      - {id: each, each: x, as: one, do: [{set: {n: n + 1}}], next: done}
      - {id: done, return: n}
  among: {steps: [{id: find, find: Item, where: {n__in: x}, as: found, next: done}, {id: done, return: found}]}
  refuse: {steps: [{id: no, raise: refused, message: "not {x}"}]}
"""


@pytest.mark.parametrize("x", ["abc", "1.5", 1.5, True, [], {}])
async def test_what_a_called_method_must_not_return_comes_to_no_caller(tmp_path: Path, x: Any) -> None:
    async with serving(tmp_path, {"shop.yaml": ANYTHING}) as walk:
        assert (await walk.call("POST", "/api/shop/desk/caller", {"x": 1})).json == {"n": 2}
        assert (await walk.call("POST", "/api/shop/desk/caller", {"x": x})).status == 500


@pytest.mark.parametrize("x", ["abc", 1.5, True, 3, {"a": 1}])
async def test_each_goes_through_nothing_but_a_list(tmp_path: Path, x: Any) -> None:
    async with serving(tmp_path, {"shop.yaml": ANYTHING}) as walk:
        assert (await walk.call("POST", "/api/shop/desk/count", {"x": ["a", 1]})).json == 2
        reply = await walk.call("POST", "/api/shop/desk/count", {"x": x})
        assert (reply.status, reply.json["detail"]) == (422, "step each: each goes through a list")


@BOTH
async def test_nothing_is_found_among_nothing(tmp_path: Path, kind: str) -> None:
    async with serving(tmp_path, {"shop.yaml": ANYTHING}) as walk:
        await walk.post("/api/shop/items", {"name": "a", "n": 1})
        found = [(await walk.call("POST", "/api/shop/desk/among", {"x": x})).json for x in ([1], [], [None])]
        assert [len(rows) for rows in found] == [1, 0, 0]


async def test_a_message_shows_an_object_as_json(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": ANYTHING}) as walk:
        reply = await walk.call("POST", "/api/shop/desk/refuse", {"x": {"a": [True, None]}})
        assert reply.json["detail"] == 'not {"a":[true,null]}'
