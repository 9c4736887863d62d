"""Handlers: Python files beside models, watched, loaded anew with each revision, and gone with it."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Walk, drained, serving
from watcherd import garbage
from watcherd.compile import Options
from watcherd.services import Allowance

SHOP = """\
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
      product_id: {type: reference, reference: Product, required: true}
      quantity: {type: integer, required: true}
      total: {type: decimal, scale: 2, read_only: true}
      due: {type: datetime}
services:
  - name: Desk
    methods:
      - name: order
        parameters:
          sku: string
          quantity: {type: integer, default: 1}
          due: {type: datetime, required: false}
        returns: Order
        handler: orders.py:order
"""

ORDERS = """\
from .pricing import total_of

async def order(ctx, params):
    [product] = await ctx.find("Product", sku=params["sku"])
    if product["stock"] < params["quantity"]:
        raise ctx.refused("out_of_stock", f"only {product['stock']} left", pointer="#/quantity")
    await ctx.update("Product", product["id"], {"stock": product["stock"] - params["quantity"]})
    made = {"product_id": product["id"], "quantity": params["quantity"], "due": params["due"]}
    made["total"] = total_of(product["price"], params["quantity"])
    ctx.emit("order.created", {"sku": product["sku"], "total": made["total"]})
    return await ctx.create("Order", made)
"""

IN_A_THREAD = ORDERS.replace("async def", "def").replace("await ", "")

PRICING = "def total_of(price, quantity):\n    return price * quantity\n"

PATH = "/api/shop/desk/order"
RAISED = [
    "ValueError('inside')",
    "SystemExit(3)",
    "KeyboardInterrupt()",
    "StopIteration()",
    "__import__('asyncio').CancelledError()",
    "type('Odd', (BaseException,), {})()",
    "BaseExceptionGroup('several', [KeyboardInterrupt()])",
]
FORMS = pytest.mark.parametrize("orders", [ORDERS, IN_A_THREAD], ids=["async", "thread"])
BYTES_AT_ALL = 150_000
"""What caches go on filling with for a while, over 250 edits. Copies that stayed would be 3.7 MB."""

OTHERS: set[str] = set()
BOTH = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])


@pytest.fixture(autouse=True)
def _leave_out_the_copies_of_other_tests() -> None:
    OTHERS.clear()
    OTHERS.update(copies())


def files(orders: str = ORDERS, model: str = SHOP) -> dict[str, str]:
    return {"shop.yaml": model, "orders.py": orders, "pricing.py": PRICING}


async def stocked(walk: Walk, stock: int = 10, price: str = "0.10") -> None:
    await walk.post("/api/shop/products", {"sku": "a", "stock": stock, "price": price})


async def stock(walk: Walk) -> int:
    return int((await walk.get("/api/shop/products")).json["items"][0]["stock"])


async def orders_made(walk: Walk) -> int:
    return int((await walk.get("/api/shop/orders")).json["total"])


def copies() -> list[str]:
    return [name for name in sys.modules if name.startswith("watcherd_handlers_shop") and name not in OTHERS]


# -- running -----------------------------------------------------------------------------------


@FORMS
@BOTH
async def test_a_handler_reads_and_writes_in_one_transaction_with_exact_decimals(
    tmp_path: Path, orders: str, kind: str, make_database_url: Callable[[str], str]
) -> None:
    async with serving(tmp_path, files(orders), handlers=True, database_url=make_database_url(kind)) as walk:
        await stocked(walk)
        reply = await walk.call("POST", PATH, {"sku": "a", "quantity": 3, "due": "2026-11-22T01:00:00Z"})
        assert reply.status == 200, reply.body
        assert (reply.json["total"], reply.json["due"]) == ("0.30", "2026-11-22T01:00:00.000000Z")
        assert await stock(walk) == 7
        row = await walk.get(f"/api/shop/orders/{reply.json['id']}")
        assert row.json == reply.json


@FORMS
@BOTH
async def test_fifty_orders_at_once_sell_the_stock_of_ten_exactly(
    tmp_path: Path, orders: str, kind: str, make_database_url: Callable[[str], str]
) -> None:
    async with serving(tmp_path, files(orders), handlers=True, database_url=make_database_url(kind)) as walk:
        await stocked(walk, 10)
        replies = await asyncio.gather(*(walk.call("POST", PATH, {"sku": "a"}) for _ in range(50)))
        assert sorted({reply.status for reply in replies}) == [200, 409]
        assert sum(reply.status == 200 for reply in replies) == 10
        told = {reply.json["type"] for reply in replies if reply.status == 409}
        assert told <= {"/problems/refused", "/problems/contended"}
        assert (await stock(walk), await orders_made(walk)) == (0, 10)


@FORMS
async def test_a_refusal_undoes_everything_and_tells_its_code_and_place(tmp_path: Path, orders: str) -> None:
    late = orders.replace("    if product", "    late = True\n    if product") + ""
    late = late.replace(
        "    return", "    raise ctx.refused('late', 'too late', status=422, pointer='#/sku')\n    return"
    )
    async with serving(tmp_path, files(late), handlers=True) as walk:
        await stocked(walk)
        reply = await walk.call("POST", PATH, {"sku": "a"})
        assert (reply.status, reply.json["type"], reply.json["code"]) == (422, "/problems/refused", "late")
        assert reply.json["errors"] == [{"pointer": "#/sku", "code": "late", "message": "too late"}]
        assert (await stock(walk), await orders_made(walk)) == (10, 0)


@FORMS
@pytest.mark.parametrize("raised", RAISED)
async def test_an_exception_is_a_500_with_the_request_id_and_nothing_is_written(
    tmp_path: Path, orders: str, raised: str
) -> None:
    broken = orders.replace("    return await ctx", f"    raise {raised}\n    return await ctx")
    broken = broken.replace("    return ctx", f"    raise {raised}\n    return ctx")
    async with serving(tmp_path, files(broken), handlers=True) as walk:
        await stocked(walk)
        reply = await walk.call("POST", PATH, {"sku": "a"})
        assert reply.status == 500, reply.body
        assert reply.json["request_id"] == reply.headers["x-request-id"]
        assert b"inside" not in reply.body
        assert await stock(walk) == 10


@FORMS
async def test_what_a_handler_writes_is_held_to_the_rules_of_the_model(tmp_path: Path, orders: str) -> None:
    below = orders.replace('product["stock"] - params["quantity"]}', "-1}")
    async with serving(tmp_path, files(below), handlers=True) as walk:
        await stocked(walk)
        reply = await walk.call("POST", PATH, {"sku": "a"})
        assert (reply.status, reply.json["errors"][0]["code"]) == (422, "minimum")
        assert reply.json["detail"] == "Product: expected at least 0"


@BOTH
async def test_nothing_is_among_nothing(tmp_path: Path, kind: str) -> None:
    counts = """\
async def order(ctx, params):
    among = await ctx.find("Product", sku__in=[])
    others = await ctx.find("Product", secret__not_in=[None])
    raise ctx.refused("found", f"{len(among)} and {len(others)}")
"""
    async with serving(tmp_path, files(counts), handlers=True) as walk:
        await stocked(walk)
        reply = await walk.call("POST", PATH, {"sku": "a"})
        assert (reply.status, reply.json["detail"]) == (409, "0 and 1")


@FORMS
async def test_a_refused_step_takes_back_itself_alone_and_the_handler_may_go_on(tmp_path: Path, orders: str) -> None:
    wait = "await " if "await" in orders else ""
    again = orders.replace(
        "    made =",
        "    try:\n"
        f"        {wait}ctx.create('Product', {{'sku': 'a', 'stock': 1, 'price': '1'}})\n"
        "    except Exception as error:\n"
        "        ctx.log.info('there already', error=str(error))\n"
        "    made =",
        1,
    )
    async with serving(tmp_path, files(again), handlers=True) as walk:
        await stocked(walk)
        reply = await walk.call("POST", PATH, {"sku": "a"})
        assert reply.status == 200, reply.body
        assert (await stock(walk), await orders_made(walk)) == (9, 1)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("None", "expected an object, not null"),
        ("{'id': 1}", "expected"),
        ("{**made, 'other': object()}", "JSON cannot say"),
        ("[made]", "expected an object, not an array"),
    ],
)
async def test_a_result_that_breaks_the_promise_of_the_model_is_a_failure_and_undone(
    tmp_path: Path, result: str, said: str
) -> None:
    wrong = ORDERS.replace(
        "return await ctx.create", f"await ctx.create('Order', made)\n    return {result} or ctx.create"
    )
    wrong = wrong.replace(f'{result} or ctx.create("Order", made)', result)
    async with serving(tmp_path, files(wrong), handlers=True) as walk:
        await stocked(walk)
        assert (await walk.call("POST", PATH, {"sku": "a"})).status == 500
        assert (await stock(walk), await orders_made(walk)) == (10, 0)


async def test_attributes_that_no_answer_shows_are_left_out_of_a_result(tmp_path: Path) -> None:
    model = SHOP.replace("returns: Order", "returns: Product[]")
    code = "async def order(ctx, params):\n    return await ctx.find('Product', sort='-stock')\n"
    async with serving(tmp_path, files(code, model), handlers=True) as walk:
        await walk.post("/api/shop/products", {"sku": "a", "stock": 1, "price": "1", "secret": "s"})
        reply = await walk.call("POST", PATH, {"sku": "a"})
        assert (reply.status, [sorted(row) for row in reply.json]) == (
            200,
            [["created_at", "id", "price", "sku", "stock", "updated_at"]],
        )


async def test_a_method_without_a_declared_result_answers_what_it_is_given(tmp_path: Path) -> None:
    model = SHOP.replace("        returns: Order\n", "")
    code = """\
def order(ctx, params):
    return None if params["quantity"] == 1 else {"at": ctx.now, "who": ctx.identity.key}
"""
    async with serving(tmp_path, files(code, model), handlers=True) as walk:
        nothing = await walk.call("POST", PATH, {"sku": "a"})
        assert (nothing.status, nothing.body) == (204, b"")
        assert sorted((await walk.call("POST", PATH, {"sku": "a", "quantity": 2})).json) == ["at", "who"]


@FORMS
async def test_a_handler_that_takes_too_long_is_503_and_nothing_is_written(
    tmp_path: Path, orders: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forever = orders.replace(
        "    made =", "    import asyncio, threading\n    await asyncio.Event().wait()\n    made =", 1
    )
    if "async def" not in orders:
        forever = forever.replace("await asyncio.Event().wait()", "threading.Event().wait(5)")
    monkeypatch.setattr("tests.helpers.Options", lambda **given: Options(**given, allowance=Allowance(0.1)))
    async with serving(tmp_path, files(forever), handlers=True) as walk:
        await stocked(walk)
        reply = await walk.call("POST", PATH, {"sku": "a"})
        assert (reply.status, reply.json["type"]) == (503, "/problems/method-timeout")
        assert await stock(walk) == 10
        await walk.post("/api/shop/products", {"sku": "b", "stock": 1, "price": "1"})  # others can write again


async def test_a_handler_that_keeps_others_from_writing_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watcherd.store.sqlite_session.HOLD_SECONDS", 0.2)
    has_turn, go_on = asyncio.Event(), asyncio.Event()
    monkeypatch.setattr(asyncio, "has_turn", has_turn, raising=False)  # where the handler finds them
    monkeypatch.setattr(asyncio, "go_on", go_on, raising=False)
    sits = ORDERS.replace(
        "    made =", "    import asyncio\n    asyncio.has_turn.set()\n    await asyncio.go_on.wait()\n    made =", 1
    )
    async with serving(tmp_path, files(sits), handlers=True) as walk:
        await stocked(walk)
        ordering = asyncio.create_task(walk.call("POST", PATH, {"sku": "a"}))
        await has_turn.wait()
        await walk.post("/api/shop/products", {"sku": "b", "stock": 1, "price": "1"})
        go_on.set()
        reply = await ordering
        assert (reply.status, reply.json["type"]) == (503, "/problems/unavailable")
        assert "kept others from writing" in reply.json["detail"]
        assert await stock(walk) == 10


async def test_the_same_idempotency_key_gives_the_same_answer_and_runs_the_handler_once(tmp_path: Path) -> None:
    async with serving(tmp_path, files(), handlers=True) as walk:
        await stocked(walk)
        first = await walk.call("POST", PATH, {"sku": "a"}, idempotency_key="k1")
        again = await walk.call("POST", PATH, {"sku": "a"}, idempotency_key="k1")
        assert (first.status, again.status, first.body) == (200, 200, again.body)
        assert again.headers["idempotency-replayed"] == "true"
        assert await orders_made(walk) == 1


async def test_what_is_emitted_is_told_once_it_is_committed_and_only_then(tmp_path: Path) -> None:
    async with serving(tmp_path, files(), handlers=True) as walk:
        await stocked(walk, 1)
        feeds = walk.reloader._options.feeds
        reader = feeds.subscribe("shop", "-", (), None)
        assert (await walk.call("POST", PATH, {"sku": "a"})).status == 200
        assert (await walk.call("POST", PATH, {"sku": "a"})).status == 409
        said = b"".join([await anext(reader)])
        assert said.count(b"event: order.created") == 1
        assert b'data: {"sku":"a","total":"0.10"}' in said
        await reader.aclose()
        assert "get" in (await walk.get("/openapi.json")).json["paths"]["/api/shop/-/events"]


# -- not allowed -------------------------------------------------------------------------------


async def test_where_handlers_are_not_allowed_methods_answer_501_and_the_model_says_why(tmp_path: Path) -> None:
    async with serving(tmp_path, files("raise SystemExit('this must not run')")) as walk:
        reply = await walk.call("POST", PATH, {"sku": "a"})
        assert reply.status == 501
        assert reply.json["lacks"] == ["leave to run its handler orders.py:order: set WATCHERD_ALLOW_HANDLERS=true"]
        listed = await walk.listed("shop.yaml")
        assert (listed["state"], [item["code"] for item in listed["diagnostics"]]) == ("live", ["PIM425"])
        assert listed["diagnostics"][0]["line"] == 24


# -- edits -------------------------------------------------------------------------------------


async def test_an_edit_of_the_code_makes_a_new_revision_of_the_models_that_use_it_alone(tmp_path: Path) -> None:
    other = SHOP.replace("shop", "other").replace("orders.py", "own.py")
    beside = {"other.yaml": other, "own.py": "def order(ctx, params): ...\n"}
    async with serving(tmp_path, files() | beside, handlers=True) as walk:
        await stocked(walk)
        walk.write("pricing.py", PRICING.replace("price * quantity", "price * quantity * 2"))
        report = await walk.see("pricing.py")
        assert (report.swapped, walk.revision("shop").number, walk.revision("other").number) == (("shop",), 2, 1)
        assert (await walk.call("POST", PATH, {"sku": "a"})).json["total"] == "0.20"


async def test_two_edits_of_equal_size_within_a_second_run_the_last_one(tmp_path: Path) -> None:
    async with serving(tmp_path, files(), handlers=True) as walk:
        await stocked(walk, 1000)
        for number in range(2, 10):
            walk.write("pricing.py", PRICING.replace("price * quantity", f"price * quantity * {number}"))
            await walk.see("pricing.py")
            assert (await walk.call("POST", PATH, {"sku": "a"})).json["total"] == f"0.{number}0"


async def test_code_that_means_the_same_to_nobody_causes_no_swap(tmp_path: Path) -> None:
    async with serving(tmp_path, files(), handlers=True) as walk:
        walk.write("unrelated.py", "x = 1\n")
        assert (await walk.see("unrelated.py")).swapped == ()
        walk.write("pricing.py", PRICING)
        assert (await walk.see("pricing.py")).swapped == ()


@pytest.mark.parametrize(
    ("file", "text", "code", "at", "said"),
    [
        ("orders.py", "def order(ctx, params)\n    pass\n", "PIM422", ("orders.py", 1), "expected ':'"),
        ("orders.py", "def other(ctx, params): ...\n", "PIM423", ("shop.yaml", 24), "has no function `order`"),
        ("orders.py", "order = 3\n", "PIM423", ("shop.yaml", 24), "has, but cannot call, order"),
        (
            "orders.py",
            "\nimport nothing_of_this_name\ndef order(): ...\n",
            "PIM424",
            ("orders.py", 2),
            "No module named",
        ),
        (
            "orders.py",
            "from .pricing import gone\ndef order(): ...\n",
            "PIM424",
            ("orders.py", 1),
            "cannot import name",
        ),
        ("orders.py", "from .missing import x\ndef order(): ...\n", "PIM421", ("orders.py", 1), "there is no file"),
        ("orders.py", "from ..up import x\ndef order(): ...\n", "PIM421", ("orders.py", 1), "leads out of"),
        ("pricing.py", "total_of = 1 / 0\n", "PIM424", ("pricing.py", 1), "ZeroDivisionError"),
        ("pricing.py", "raise SystemExit(3)\n", "PIM424", ("pricing.py", 1), "SystemExit"),
    ],
)
async def test_code_that_cannot_be_loaded_rejects_the_revision_with_file_and_line(
    tmp_path: Path, file: str, text: str, code: str, at: tuple[str, int], said: str
) -> None:
    async with serving(tmp_path, files(), handlers=True) as walk:
        await stocked(walk)
        modules = copies()
        walk.write(file, text)
        report = await walk.see(file)
        [refused] = report.refused
        [found] = refused.diagnostics
        assert (found.code, (found.file, found.line)) == (code, at)
        assert said in found.message
        listed = await walk.listed("shop.yaml")
        assert (listed["state"], listed["revision"]) == ("stale", 1)
        assert (await walk.call("POST", PATH, {"sku": "a"})).status == 200  # the old one serves on
        gc.collect()
        assert copies() == modules
        walk.write(file, files()[file])
        await walk.see(file)
        assert await walk.state("shop.yaml") == "live"


async def test_code_that_does_not_come_to_an_end_rejects_the_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, files(), handlers=True) as walk:
        monkeypatch.setattr("watcherd.behind.LOAD_SECONDS", 0.1)
        over = threading.Event()
        monkeypatch.setattr(threading, "over", over, raising=False)  # where the code finds it
        walk.write("orders.py", "import threading\nthreading.over.wait(120)\n" + ORDERS)
        [refused] = (await walk.see("orders.py")).refused
        assert (refused.diagnostics[0].code, refused.diagnostics[0].line) == ("PIM424", 24)
        over.set()
        # It goes on where nobody waits for it, and makes modules that other tests would find.
        for loading in (one for one in threading.enumerate() if one.name == "watcherd-load"):
            await asyncio.to_thread(loading.join, 120)


async def test_a_file_that_handlers_need_and_that_is_deleted_rejects_the_revision_until_it_is_back(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, files(), handlers=True) as walk:
        await stocked(walk)
        await walk.remove("pricing.py")
        assert await walk.codes("shop.yaml") == ["PIM421"]
        assert (await walk.call("POST", PATH, {"sku": "a"})).status == 200
        walk.write("pricing.py", PRICING)
        await walk.see("pricing.py")
        assert await walk.state("shop.yaml") == "live"
        assert walk.revision("shop").number == 1


async def test_a_next_start_with_broken_code_serves_the_code_that_was_good(tmp_path: Path) -> None:
    async with serving(tmp_path, files(), handlers=True) as walk:
        await stocked(walk)
    (tmp_path / "models" / "pricing.py").write_text("def total_of(:\n")
    async with serving(tmp_path, handlers=True) as walk:
        assert await walk.state("shop.yaml") == "stale"
        assert (await walk.call("POST", PATH, {"sku": "a"})).json["total"] == "0.10"
        assert walk.revision("shop").number == 1


async def test_code_that_was_edited_while_nothing_ran_is_a_new_revision(tmp_path: Path) -> None:
    async with serving(tmp_path, files(), handlers=True) as walk:
        await stocked(walk)
    (tmp_path / "models" / "pricing.py").write_text(PRICING.replace("price *", "3 * price *"))
    async with serving(tmp_path, handlers=True) as walk:
        assert (await walk.call("POST", PATH, {"sku": "a"})).json["total"] == "0.30"
        assert walk.revision("shop").number == 2


async def test_a_rollback_brings_back_the_code_of_its_time(tmp_path: Path) -> None:
    async with serving(tmp_path, files(), handlers=True) as walk:
        await stocked(walk)
        walk.write("pricing.py", PRICING.replace("price *", "3 * price *"))
        await walk.see("pricing.py")
        reply = await walk.call("POST", "/admin/pim/shop/rollback", {"revision": 1})
        assert reply.status == 200, reply.body
        assert (await walk.call("POST", PATH, {"sku": "a"})).json["total"] == "0.10"


# -- copies ------------------------------------------------------------------------------------


async def test_a_request_in_flight_keeps_its_code_and_after_it_the_copy_is_gone(tmp_path: Path) -> None:
    held = "import asyncio\nGATE = asyncio.Event()\n" + ORDERS.replace("    if ", "    await GATE.wait()\n    if ", 1)
    async with serving(tmp_path, files(held), handlers=True) as walk:
        await stocked(walk)
        [name] = [one for one in copies() if one.endswith(".orders")]
        module = weakref.ref(sys.modules[name])
        gate: Any = sys.modules[name].GATE
        ordering = asyncio.create_task(walk.call("POST", PATH, {"sku": "a"}))
        while not gate._waiters:
            await asyncio.sleep(0)
        walk.write("orders.py", ORDERS)
        walk.write("pricing.py", PRICING.replace("price *", "3 * price *"))
        await walk.see("orders.py", "pricing.py")
        assert name in sys.modules
        gate.set()
        reply = await ordering
        assert (reply.json["total"], reply.revision) == ("0.10", 1)
        del gate, ordering
        await drained(walk, "shop")
        assert name not in sys.modules
        gc.collect()
        assert module() is None


async def edits_under_traffic(tmp_path: Path, count: int, *, measure: bool = False) -> None:
    async with serving(tmp_path, files(), handlers=True) as walk:
        await stocked(walk, 1_000_000)
        stop = asyncio.Event()
        failed: list[bytes] = []

        async def traffic() -> int:
            done = 0
            while not stop.is_set():
                reply = await walk.call("POST", PATH, {"sku": "a"})
                if reply.status not in {200, 409}:
                    failed.append(reply.body)
                done += 1
            return done

        clients = [asyncio.create_task(traffic()) for _ in range(4)]
        modules: list[weakref.ref[Any]] = []
        marks: list[int] = []
        for number in range(count):
            walk.write("pricing.py", f"{PRICING}EDIT = {1_000_000 + number}\n")
            await walk.see("pricing.py")
            modules += [weakref.ref(sys.modules[name]) for name in copies() if name.endswith(".pricing")][-1:]
            walk.events.clear()
            if measure and number in {count // 2, count - 1}:
                await drained(walk, "shop")
                gc.collect()
                marks.append(tracemalloc.get_traced_memory()[0])
        stop.set()
        answered = sum(await asyncio.gather(*clients))
        assert not failed
        assert answered > count / 10
        assert walk.revision("shop").number == count + 1
        await drained(walk, "shop")
        gc.collect()
        assert len(copies()) == 3  # the package and its two modules, of the last revision
        assert len(modules) == count
        assert sum(one() is not None for one in modules) == 1
        if measure:
            assert marks[1] - marks[0] < BYTES_AT_ALL


async def test_copies_that_are_kept_for_good_go_when_they_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "MOST_LEFT_BEHIND", 6)
    before = gc.get_threshold()
    try:
        async with serving(tmp_path, files(), handlers=True) as walk:
            tables: list[weakref.ref[Any]] = []
            for number in range(1, 10):
                walk.write("pricing.py", f"{PRICING}class Table: pass\nEDIT = {number}\n")
                await walk.see("pricing.py")
                [name] = [name for name in copies() if name.endswith(".pricing")]
                tables.append(weakref.ref(sys.modules[name].Table))
                gc.freeze()
                await drained(walk, "shop")
            # Each copy is a package and two modules: of two that are left behind all is looked at.
            assert sum(table() is not None for table in tables) <= 3
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


async def test_code_that_is_edited_under_traffic_fails_no_request_and_leaves_nothing_behind(tmp_path: Path) -> None:
    await edits_under_traffic(tmp_path, 20)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_code_that_is_edited_500_times_under_traffic_leaves_memory_flat(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        await edits_under_traffic(tmp_path, 500, measure=True)
    finally:
        tracemalloc.stop()
