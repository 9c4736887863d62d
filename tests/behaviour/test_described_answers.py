"""What the document says of problems and of a model's index is all that clients get to see of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from tests.helpers import Reply, Walk, serving

DESK = """
domain: desk
title: An order desk
entities:
  - name: Buyer
    attributes: {name: {type: string, required: true, unique: true}}
  - name: Order
    attributes:
      number: {type: integer, primary_key: true}
      buyer: {reference: Buyer, on_delete: set_null}
      status: {enum: [open, paid, sent], default: open}
    states: {field: status, initial: open, transitions: {}}
services:
  - name: Desk
    methods:
      - name: send
        parameters: {order: integer}
        returns: Order
        transition: {entity: Order, from: [paid], to: sent}
      - {name: refuse, flow: refusing}
      - {name: nothing}
flows:
  refusing:
    steps:
      - {id: no, raise: closed, message: come back tomorrow}
rules:
  keeps_its_buyer:
    on: Order
    when: old != null
    assert: has(self.buyer)
    message: an order keeps its buyer
"""


async def schemas(walk: Walk) -> dict[str, Any]:
    document = (await walk.get("/api/desk/-/openapi.json")).json
    assert "components" in document, document
    found: dict[str, Any] = document["components"]["schemas"]
    return found


def fits(schema: dict[str, Any], reply: Reply) -> None:
    """Nothing is in the body that the schema does not name."""
    Draft202012Validator({**schema, "additionalProperties": False}).validate(reply.json)


async def test_every_member_of_a_problem_is_in_the_document(tmp_path: Path) -> None:
    async with serving(tmp_path, {"desk.yaml": DESK}) as walk:
        problem = (await schemas(walk))["Problem"]
        buyer = (await walk.call("POST", "/api/desk/buyers", {"name": "a"})).json["id"]
        await walk.call("POST", "/api/desk/orders", {"number": 1, "buyer": buyer})
        rows = b'{"name": "b"}\n{"nam": "c"}\n'
        told = {
            "code": await walk.call("POST", "/api/desk/desk/refuse", {}),
            "constraint": await walk.call("POST", "/api/desk/buyers", {"name": "a"}),
            "state": await walk.call("POST", "/api/desk/desk/send", {"order": 1}),
            "row": await walk.call("DELETE", f"/api/desk/buyers/{buyer}"),
            "operation": await walk.call(
                "POST", "/api/desk/-/batch", [{"method": "POST", "path": "/buyers", "body": {"name": "a"}}]
            ),
            "lacks": await walk.call("POST", "/api/desk/desk/nothing", {}),
            "refused": await walk.send("POST", "/api/desk/buyers/-/import", rows, "application/x-ndjson"),
            "errors": await walk.get("/api/desk/orders?nothing=1"),
        }
        for member, reply in told.items():
            assert member in reply.json, reply.body
            fits(problem, reply)


async def test_the_index_of_a_model_is_as_the_document_says(tmp_path: Path) -> None:
    async with serving(tmp_path, {"desk.yaml": DESK}) as walk:
        fits((await schemas(walk))["Model"], await walk.get("/api/desk"))
