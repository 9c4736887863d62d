"""The sample models do what they say: an order adds up and reserves, a loan has its states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.helpers import Walk, serving
from tests.samples import sample_texts


async def test_every_sample_goes_live_with_its_examples(tmp_path: Path) -> None:
    async with serving(tmp_path, sample_texts()) as walk:
        for file in sample_texts():
            listed = await walk.listed(file)
            assert (listed["state"], [one for one in listed["diagnostics"] if one["severity"] == "error"]) == (
                "live",
                [],
            )


async def ordered(walk: Walk, product: str, customer: str, number: str, quantity: int) -> Any:
    body = {"number": number, "customerId": customer, "items": [{"productId": product, "quantity": quantity}]}
    return await walk.call("POST", "/api/order-management/order-service/place-order", body)


async def test_an_order_reserves_adds_up_and_leaves_nothing_behind_when_it_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, sample_texts()) as walk:
        shop = "/api/order-management"
        customer = (await walk.post(f"{shop}/customers", {"name": "Grace", "email": "g@example.org"}))["id"]
        product = (await walk.post(f"{shop}/products", {"sku": "T", "name": "Trowel", "price": "0.10"}))["id"]
        await walk.post(f"{shop}/stock-levels", {"productId": product, "onHand": 3})
        done = await ordered(walk, product, customer, "2026-00001", 3)
        assert (done.status, done.json["total"], done.json["status"]) == (200, "0.30", "placed"), done.body
        refused = await ordered(walk, product, customer, "2026-00002", 1)
        assert (refused.status, refused.json["code"]) == (409, "out_of_stock")
        for plural in ("orders", "order-items"):
            assert (await walk.get(f"{shop}/{plural}")).json["total"] == 1
        assert (await walk.get(f"{shop}/stock-levels")).json["items"][0]["reserved"] == 3


async def test_a_copy_is_lent_and_given_back_once(tmp_path: Path) -> None:
    async with serving(tmp_path, sample_texts()) as walk:
        author = (await walk.post("/api/library/authors", {"name": "Ursula"}))["id"]
        title = {"isbn": "9780061054884", "title": "The Dispossessed", "authorId": author}
        book = (await walk.post("/api/library/books", title))["id"]
        await walk.post("/api/library/copies", {"barcode": "LIB1", "bookId": book})
        card = (await walk.post("/api/library/members", {"name": "Grace"}))["cardNumber"]
        desk = "/api/library/loan-service"
        loan = await walk.call("POST", f"{desk}/lend", {"barcode": "LIB1", "cardNumber": card})
        assert (loan.status, loan.json["status"]) == (200, "lent"), loan.body
        path = f"/api/library/loans/{loan.json['id']}"
        assert (await walk.call("PATCH", path, {"status": "returned"})).status == 409
        back = await walk.call("POST", f"{desk}/give-back", {"loanId": loan.json["id"]})
        assert (back.status, back.json["status"]) == (200, "returned"), back.body
        assert back.json["returnedAt"] >= back.json["lentAt"]
        assert (await walk.call("POST", f"{desk}/give-back", {"loanId": loan.json["id"]})).status == 409
