"""What expressions cost in a flow of ten steps: beside its database work alone, and a handler that does the same.

One model, one process, no network: a request is answered by the revision itself. The three take turns,
so that a noisy machine is noisy for all. The database work alone is the same reads and writes by the
store's own functions, in one transaction.

    python benchmarks/flow_steps.py [--calls 400]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic_core import to_json

from watcherd.behind import loaded
from watcherd.compile import Options, compile_model
from watcherd.pim import gather, link, parse
from watcherd.pim.linked import Code, LinkedModel
from watcherd.revision import Revision
from watcherd.store import Cursor, Filter, ModelTables, Record, Select, Store
from watcherd.wire import Call, Message

MODEL = """\
domain: shop
entities:
  - name: Product
    attributes:
      sku: {type: string, required: true, unique: true}
      stock: {type: integer, required: true}
      price: {type: decimal, required: true, scale: 2}
  - name: Order
    attributes: {product_id: {reference: Product, required: true}, quantity: integer, total: {type: decimal, scale: 2}}
services:
  - name: Desk
    methods:
      - {name: by_flow, parameters: {sku: string, quantity: integer}, returns: Order, flow: order}
      - {name: by_handler, parameters: {sku: string, quantity: integer}, returns: Order, handler: "desk.py:order"}
flows:
  order:
    steps:
      - {id: one, assert: quantity > 0 && quantity < 1000, next: two}
      - {id: two, find: Product, where: {sku: sku}, as: found, next: three}
      - {id: three, when: {known: size(found) == 1}, next: {known: four, unknown: none}}
      - {id: none, raise: unknown, message: "no {sku}"}
      - {id: four, set: {product: "found[0]", total: "found[0].price * quantity"}, next: five}
      - {id: five, when: {enough: product.stock >= quantity}, next: {enough: six, short: out}}
      - {id: out, raise: out_of_stock, message: "only {product.stock} left"}
      - {id: six, assert: total > 0.00 && total < 100000.00, next: seven}
      - {id: seven, update: Product, key: product.id, values: {stock: product.stock - quantity}, next: eight}
      - id: eight
        create: Order
        values: {product_id: product.id, quantity: quantity, total: total}
        as: order
        next: nine
      - {id: nine, assert: order.total == total && order.quantity == quantity, next: ten}
      - {id: ten, return: order}
"""

HANDLER = """\
async def order(ctx, params):
    quantity = params["quantity"]
    if not 0 < quantity < 1000:
        raise ctx.refused("quantity", "no")
    found = await ctx.find("Product", sku=params["sku"])
    if len(found) != 1:
        raise ctx.refused("unknown", "no")
    product = found[0]
    total = product["price"] * quantity
    if product["stock"] < quantity or not 0 < total < 100000:
        raise ctx.refused("out_of_stock", "no")
    await ctx.update("Product", product["id"], {"stock": product["stock"] - quantity})
    made = await ctx.create("Order", {"product_id": product["id"], "quantity": quantity, "total": total})
    assert made["total"] == total and made["quantity"] == quantity
    return made
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what expressions cost in a flow of ten steps.")
    parser.add_argument("--calls", type=int, default=400, help="calls of each (default 400)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flow-steps-") as directory:
        asyncio.run(measure(Path(directory), options.calls))


async def measure(directory: Path, calls: int) -> None:
    """Take turns, then tell."""
    store = await Store.open(None, directory, durability="normal")
    try:
        revision, tables = await serve(store)
        [row] = await tables.entities["Product"].insert([product()])
        key = row.values["id"]
        ways: dict[str, Callable[[], Awaitable[object]]] = {
            "database work alone": lambda: alone(tables, key),
            "flow": lambda: post(revision, "/desk/by_flow"),
            "handler": lambda: post(revision, "/desk/by_handler"),
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(calls + 50):
            for name, way in ways.items():
                began = time.perf_counter()
                await way()
                if number >= 50:
                    taken[name].append((time.perf_counter() - began) * 1000)
    finally:
        await store.close()
    medians = {name: statistics.median(times) for name, times in taken.items()}
    for name, median in medians.items():
        print(f"{name:<22} {median:7.3f} ms (median of {calls})")
    print(f"flow on top of its database work: {medians['flow'] - medians['database work alone']:.3f} ms")
    print(f"flow / handler: {medians['flow'] / medians['handler']:.2f}")


async def serve(store: Store) -> tuple[Revision, ModelTables]:
    """The model, compiled on its tables."""
    spec = parse(MODEL.encode(), "shop.yaml").spec
    assert spec is not None
    code = gather(spec, "", {"desk.py": HANDLER.encode()})
    assert isinstance(code, Code)
    linked = link(spec, MappingProxyType({}), code)
    assert isinstance(linked, LinkedModel)
    plan = await store.plan(linked)
    record = Record(model="shop", domain="shop", file="", revision=1, source=b"", fingerprint="")
    assert not await store.expand(plan, record)
    tables = store.bind(plan)
    return compile_model(linked, tables, 1, options=Options(), handlers=await loaded(linked)), tables


def product() -> dict[str, Any]:
    """A row that never runs out."""
    now = "2026-11-22T00:00:00.000000Z"
    key = "019311f0-0000-7000-8000-000000000001"
    return {"id": key, "sku": "a", "stock": 10**9, "price": "0.10", "created_at": now, "updated_at": now}


async def alone(tables: ModelTables, key: str) -> None:
    """The reads and writes of the flow, in one transaction."""
    products, orders = tables.entities["Product"], tables.entities["Order"]
    find = products.finding(Select(filters=(Filter("sku", "eq", "a"),), limit=2, count=False))
    update = products.updating(key, lambda row: {"stock": row.values["stock"] - 1})
    now = "2026-11-22T00:00:00.000000Z"
    made = {"id": Options().make_id(), "product_id": key, "quantity": 1, "total": "0.10"}
    insert = orders.inserting([{**made, "created_at": now, "updated_at": now}])

    def work(cursor: Cursor) -> None:
        find(cursor)
        update(cursor)
        insert(cursor)

    await tables.write(work)


async def post(revision: Revision, path: str) -> None:
    """One call; it must come out well."""
    message: Message = {"type": "http.request", "body": to_json({"sku": "a", "quantity": 1}), "more_body": False}

    async def receive() -> Message:
        return message

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}
    call = Call(
        scope, receive, base="/shop", segments=path.split("/")[1:], request_id="b", max_body_bytes=10_000,
        neighbour=lambda _model, _entity: None,
    )  # fmt: skip
    answer = await revision.handle(call)
    assert answer.status == 200, answer.body


if __name__ == "__main__":
    main()
