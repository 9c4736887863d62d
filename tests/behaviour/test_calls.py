"""Methods that call methods, flows and handlers alike: one transaction, typed, bounded, by one revision."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Reply, Walk, serving
from watcherd.compile import Options
from watcherd.services import Allowance

ON_BOTH_DATABASES = True

MODEL = """\
domain: shop
entities:
  - name: Product
    attributes:
      sku: {type: string, required: true, unique: true}
      stock: {type: integer, required: true, minimum: 0}
      price: {type: decimal, required: true, scale: 2}
      status: {enum: [new, sold], default: new}
    states: status
services:
  - name: Desk
    methods:
      - {name: sell, parameters: {sku: string, quantity: {type: integer, default: 1}}, returns: decimal, flow: sell}
      - {name: reserve, parameters: {sku: string, quantity: integer}, returns: Product, handler: "desk.py:reserve"}
      - {name: total, parameters: {price: decimal, quantity: integer}, returns: decimal, handler: "desk.py:total"}
      - name: close
        parameters: {productId: uuid}
        returns: Product
        transition: {entity: Product, from: [new], to: sold}
      - {name: restock, parameters: {sku: string, quantity: integer}, returns: Product, flow: restock}
      - {name: visit, parameters: {sku: string, what: string}, returns: json, handler: "desk.py:visit"}
      - {name: drop_in, parameters: {sku: string, what: string}, returns: json, handler: "desk.py:drop_in"}
      - {name: round, parameters: {n: integer}, returns: integer, flow: round}
      - {name: back, parameters: {n: integer}, returns: integer, handler: "desk.py:back"}
flows:
  sell:
    steps:
      - {id: reserve, call: Desk.reserve, with: {sku: sku, quantity: quantity}, as: product, next: total}
      - {id: total, call: Desk.total, with: {price: product.price, quantity: quantity}, as: sum, next: close}
      - {id: close, call: Desk.close, with: {productId: product.id}, as: closed, next: done}
      - {id: done, return: sum}
  restock:
    steps:
      - {id: find, find: Product, where: {sku: sku}, as: found, next: add}
      - id: add
        update: Product
        key: found[0].id
        values: {stock: "found[0].stock + quantity"}
        as: product
        next: tell
      - {id: tell, emit: restocked, data: {sku: sku}, next: enough}
      - {id: enough, assert: product.stock < 100, message: too much, code: too_much, next: done}
      - {id: done, return: product}
  round:
    steps:
      - {id: made, create: Product, values: {sku: "string(n)", stock: "0", price: "0.0"}, next: back}
      - {id: back, call: Desk.back, with: {n: n}, as: n2, next: done}
      - {id: done, return: n2}
"""
DESK = """\
async def reserve(ctx, params):
    [product] = await ctx.find("Product", sku=params["sku"])
    if product["stock"] < params["quantity"]:
        raise ctx.refused("out_of_stock", f"only {product['stock']} left")
    ctx.emit("reserved", params)
    return await ctx.update("Product", product["id"], {"stock": product["stock"] - params["quantity"]})


def total(ctx, params):
    assert type(params["price"]).__name__ == "Decimal"
    return params["price"] * params["quantity"]


async def visit(ctx, params):
    if params["what"] == "all":
        product = await ctx.call("Desk.restock", {"sku": params["sku"], "quantity": 5})
        product = await ctx.call("Desk.reserve", {"sku": product["sku"], "quantity": 1})
        closed = await ctx.call("Desk.close", {"productId": product["id"]})
        return [product["stock"], product["price"] * 2, closed["status"],
                await ctx.call("Desk.total", {"price": product["price"], "quantity": 3})]
    if params["what"] == "sell":
        return await ctx.call("Desk.sell", {"sku": params["sku"]})
    try:
        await ctx.call("Desk.restock", {"sku": params["sku"], "quantity": int(params["what"])})
    except Exception as error:
        return str(error)


def drop_in(ctx, params):
    if params["what"] == "all":
        product = ctx.call("Desk.restock", {"sku": params["sku"], "quantity": 5})
        product = ctx.call("Desk.reserve", {"sku": product["sku"], "quantity": 1})
        closed = ctx.call("Desk.close", {"productId": product["id"]})
        return [product["stock"], product["price"] * 2, closed["status"],
                ctx.call("Desk.total", {"price": product["price"], "quantity": 3})]
    if params["what"] == "sell":
        return ctx.call("Desk.sell", {"sku": params["sku"]})
    try:
        ctx.call("Desk.restock", {"sku": params["sku"], "quantity": int(params["what"])})
    except Exception as error:
        return str(error)


async def back(ctx, params):
    return await ctx.call("Desk.round", {"n": params["n"] + 1})
"""
HELD = DESK.replace("    [product]", "    ENTERED.set()\n    await GATE.wait()\n    [product]", 1)
HELD = f"import asyncio\nENTERED, GATE = asyncio.Event(), asyncio.Event()\n{HELD}"
PRODUCTS = "/api/shop/products"
BOTH_FORMS = pytest.mark.parametrize("visit", ["visit", "drop-in"])


def files(desk: str = DESK, model: str = MODEL) -> dict[str, str]:
    return {"shop.yaml": model, "desk.py": desk}


async def desk(walk: Walk, method: str, **params: Any) -> Reply:
    return await walk.call("POST", f"/api/shop/desk/{method}", params)


async def stocked(walk: Walk, stock: int = 10) -> None:
    await walk.post(PRODUCTS, {"sku": "a", "stock": stock, "price": "0.10"})


async def product(walk: Walk) -> tuple[int, str]:
    [row] = (await walk.get(PRODUCTS)).json["items"]
    return row["stock"], row["status"]


async def test_a_flow_calls_handlers_and_a_transition_in_its_own_transaction(tmp_path: Path, database_url: str) -> None:
    async with serving(tmp_path, files(), database_url=database_url, handlers=True) as walk:
        assert await walk.codes("shop.yaml") == []
        await stocked(walk)
        sold = await desk(walk, "sell", sku="a", quantity=3)
        assert (sold.status, sold.json) == (200, "0.3")
        assert await product(walk) == (7, "sold")
        again = await desk(walk, "sell", sku="a", quantity=3)
        assert (again.status, again.json["type"]) == (409, "/problems/state"), again.body
        short = await desk(walk, "sell", sku="a", quantity=30)
        assert (short.status, short.json["code"]) == (409, "out_of_stock")
        assert await product(walk) == (7, "sold"), "what a handler wrote before the refusal is taken back"


@BOTH_FORMS
async def test_a_handler_calls_flows_handlers_and_transitions_and_gets_values_of_python(
    tmp_path: Path, database_url: str, visit: str
) -> None:
    async with serving(tmp_path, files(), database_url=database_url, handlers=True) as walk:
        await stocked(walk)
        assert (await desk(walk, visit, sku="a", what="all")).json == [14, "0.20", "sold", "0.3"]
        assert await product(walk) == (14, "sold")


@BOTH_FORMS
async def test_a_handler_calls_a_flow_that_calls_handlers(tmp_path: Path, database_url: str, visit: str) -> None:
    async with serving(tmp_path, files(), database_url=database_url, handlers=True) as walk:
        await stocked(walk)
        sold = await desk(walk, visit, sku="a", what="sell")
        assert (sold.status, sold.json) == (200, "0.1"), sold.body
        assert await product(walk) == (9, "sold")


@BOTH_FORMS
async def test_a_refusal_that_a_handler_catches_takes_back_what_the_flow_wrote_and_emitted(
    tmp_path: Path, database_url: str, visit: str
) -> None:
    async with serving(tmp_path, files(), database_url=database_url, handlers=True) as walk:
        await stocked(walk)
        reader = walk.reloader._options.feeds.subscribe("shop", "-", (), None)
        for quantity, said in (("200", "too much"), ("5", None)):
            assert (await desk(walk, visit, sku="a", what=quantity)).json == said
        assert await product(walk) == (15, "new")
        assert (await anext(reader)).count(b"event: restocked") == 1
        await reader.aclose()


async def test_what_a_caller_gives_is_held_to_what_the_method_takes(tmp_path: Path, database_url: str) -> None:
    wrong = DESK.replace('"quantity": 5}', '"quantity": "five"}').replace('"Desk.total"', '"Desk.totals"')
    async with serving(tmp_path, files(wrong), database_url=database_url, handlers=True) as walk:
        await stocked(walk)
        refused = await desk(walk, "visit", sku="a", what="all")
        assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "#/quantity")
        await walk.save("desk.py", DESK.replace('"Desk.total"', '"Desk.totals"'))
        assert (await desk(walk, "visit", sku="a", what="all")).status == 500
        assert await product(walk) == (10, "new")


async def test_methods_that_call_each_other_without_an_end_are_given_up_and_undone(
    tmp_path: Path, database_url: str
) -> None:
    for text in (DESK, DESK.replace("async def back", "def back").replace("return await ctx.call", "return ctx.call")):
        path = tmp_path / str(len(text))
        path.mkdir()
        async with serving(path, files(text), database_url=database_url, handlers=True) as walk:
            reply = await desk(walk, "round", n=1)
            assert (reply.status, reply.json["type"]) == (503, "/problems/method-timeout"), reply.body
            assert reply.json["detail"] == "methods call each other over 16 deep; nothing was written"
            assert (await walk.get(PRODUCTS)).json["total"] == 0


async def test_a_flow_waits_for_a_handler_no_longer_than_a_call_may_take(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = HELD.replace("await GATE.wait()", "\n    try: await GATE.wait()\n    finally: GATE.set()")
    monkeypatch.setattr("tests.helpers.Options", lambda **given: Options(**given, allowance=Allowance(0.2)))
    async with serving(tmp_path, files(told), database_url=database_url, handlers=True) as walk:
        await stocked(walk)
        reply = await desk(walk, "sell", sku="a")
        assert (reply.status, reply.json["type"]) == (503, "/problems/method-timeout")
        await module(walk).GATE.wait()  # the handler is not left behind: it was told
        assert await product(walk) == (10, "new")


async def test_where_handlers_are_not_allowed_a_flow_that_calls_one_answers_501(
    tmp_path: Path, database_url: str
) -> None:
    async with serving(tmp_path, files(), database_url=database_url) as walk:
        reply = await desk(walk, "sell", sku="a")
        lacks = ["leave to run the handler desk.py:reserve: set WATCHERD_ALLOW_HANDLERS=true"]
        assert (reply.status, reply.json["lacks"]) == (501, lacks)
        assert (await desk(walk, "restock", sku="a", quantity=1)).status == 422, "a flow that calls none runs"


async def test_a_flow_that_calls_handlers_is_traced_and_answers_a_key_once(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.helpers.Options", lambda **given: Options(**given, may_trace=lambda _: True))
    async with serving(tmp_path, files(), database_url=database_url, handlers=True) as walk:
        await stocked(walk)
        path, body = "/api/shop/desk/sell?trace=true", {"sku": "a", "quantity": 2}
        first = await walk.call("POST", path, body, idempotency_key="k")
        assert (first.status, first.json["result"]) == (200, "0.2"), first.body
        trace = first.json["trace"]
        assert [(one["step"], one["does"]) for one in trace] == [
            ("reserve", "call"), ("total", "call"), ("close", "call"), ("done", "return"),
        ]  # fmt: skip
        assert trace[0]["inputs"] == {"sku": "a", "quantity": 2}
        again = await walk.call("POST", path, body, idempotency_key="k")
        assert (again.json, again.headers["idempotency-replayed"]) == (first.json, "true")
        refused = await walk.call("POST", path, {"sku": "a", "quantity": 99})
        assert (refused.status, refused.json["trace"][-1]["outcome"]) == (409, "only 8 left")
        assert await product(walk) == (8, "sold")


async def test_calls_at_the_same_time_within_one_handler_follow_each_other(tmp_path: Path, database_url: str) -> None:
    both = """
    import asyncio
    calls = (ctx.call("Desk.restock", {"sku": params["sku"], "quantity": number}) for number in (1, 2, 3))
    return [product["stock"] for product in await asyncio.gather(*calls)]
"""
    text = DESK.replace('    if params["what"] == "all":', both + '    if params["what"] == "all":', 1)
    async with serving(tmp_path, files(text), database_url=database_url, handlers=True) as walk:
        await stocked(walk)
        stocks = await desk(walk, "visit", sku="a", what="")
        assert (stocks.status, max(stocks.json)) == (200, 16), stocks.body
        assert await product(walk) == (16, "new")


def module(walk: Walk) -> Any:
    """The copy of desk.py that serves now."""
    function = next(iter(walk.revision("shop").on_drained.__self__.functions.values()))  # type: ignore[attr-defined]
    return sys.modules[function.__module__]


async def test_a_flow_that_is_held_open_across_a_reload_ends_as_the_revision_that_began_it(
    tmp_path: Path, database_url: str
) -> None:
    async with serving(tmp_path, files(HELD), database_url=database_url, handlers=True) as walk:
        await stocked(walk)
        old = module(walk)
        selling = asyncio.create_task(desk(walk, "sell", sku="a", quantity=2))
        await old.ENTERED.wait()
        walk.write("desk.py", DESK)
        double = MODEL.replace("- {id: done, return: sum}", "- {id: done, return: sum * 2}")
        await walk.see("desk.py")
        assert (await walk.save("shop.yaml", double)).changed
        assert walk.drains.draining("shop")
        await walk.post(PRODUCTS, {"sku": "b", "stock": 1, "price": "0.10"})
        new = await desk(walk, "sell", sku="b", quantity=1)
        assert (new.status, new.json, new.revision) == (200, "0.2", 3)
        old.GATE.set()
        held = await selling
        assert (held.status, held.json, held.revision) == (200, "0.2", 1)
        rows = (await walk.get(f"{PRODUCTS}?sort=sku")).json["items"]
        assert [(row["stock"], row["status"]) for row in rows] == [(8, "sold"), (0, "sold")]
