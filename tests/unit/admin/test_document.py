"""The joined document: valid JSON whatever is empty, of one generation, in order of name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from types import MappingProxyType
from typing import Any

import pytest
from fastapi import Request

from tests.helpers import counting_rounds
from watcherd.admin.document import Document, Text, pieces_of
from watcherd.gateway import TABLE, RouteTable
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import ModelSpec
from watcherd.revision import OpenApiFragment, Revision
from watcherd.wire import Answer, Call, Message

BASE: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "t", "version": "1"},
    "paths": {"/healthz": {}},
    "components": {"schemas": {"Own": {}}, "securitySchemes": {"bearer": {}}},
}
EMPTY = OpenApiFragment(b"", b"", b"")


def text_of(base: dict[str, Any], table: RouteTable) -> bytes:
    return b"".join(pieces_of(base, table))


async def read(made: Coroutine[Any, Any, Text]) -> Any:
    text = await made
    whole = b"".join(text.pieces)
    assert len(whole) == text.length
    return json.loads(whole)


async def answer(_call: Call) -> Answer:
    return Answer(200)


def a_table(generation: int, **fragments: OpenApiFragment) -> RouteTable:
    revisions = {
        name: Revision(
            LinkedModel(spec=ModelSpec(domain=name), targets={}), 1, handle=answer, operations=(), openapi=fragment
        )
        for name, fragment in fragments.items()
    }
    return RouteTable(generation, MappingProxyType(revisions))


def test_without_models_the_hosts_own_part_remains() -> None:
    document = json.loads(text_of(BASE, a_table(0)))

    assert document["x-watcherd-generation"] == 0
    assert list(document["paths"]) == ["/healthz"]
    assert set(document["components"]["schemas"]) == {"Own", "Problem", "Model"}
    assert document["components"]["securitySchemes"] == {"bearer": {}}
    assert document["tags"] == []


def test_fragments_are_joined_in_order_of_name_and_empty_ones_leave_no_trace() -> None:
    fragment = OpenApiFragment(b'"/api/b":{}', b'"b_B":{}', b'{"name":"b"}')
    other = OpenApiFragment(b'"/api/a":{}', b'"a_A":{}', b'{"name":"a"}')
    document = json.loads(text_of(BASE, a_table(3, b=fragment, a=other, c=EMPTY)))

    assert list(document["paths"]) == ["/api/a", "/api/b", "/healthz"]
    assert [tag["name"] for tag in document["tags"]] == ["a", "b"]
    assert {"a_A", "b_B", "Problem", "Model", "Own"} == set(document["components"]["schemas"])


def test_a_host_without_components_joins_as_well() -> None:
    assert json.loads(text_of({key: BASE[key] for key in ("openapi", "info", "paths")}, a_table(1)))["components"]


async def test_a_document_is_joined_once_a_generation_and_an_older_one_is_still_itself() -> None:
    document = Document(BASE)
    first, second = a_table(1), a_table(2)

    assert await document.of(first) is await document.of(first)
    assert (await read(document.of(second)))["x-watcherd-generation"] == 2
    assert (await read(document.of(first)))["x-watcherd-generation"] == 1
    assert await document.of(second) is await document.of(second)


async def test_who_asks_for_a_document_that_is_being_joined_waits_for_that_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("watcherd.pace.AT_A_TIME_SECONDS", 0)
    document, table = Document(BASE), a_table(1, shop=fragment("shop"))
    one, other = await asyncio.gather(document.of(table), document.of(table))
    assert one is other


async def test_others_have_their_turn_again_and_again_while_a_document_is_joined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("watcherd.pace.AT_A_TIME_SECONDS", 0)
    table = a_table(1, **{f"shop_{number}": fragment(f"shop_{number}") for number in range(1000)})
    async with counting_rounds() as rounds:
        text = await Document(BASE).of(table)
        assert len(text.pieces) / rounds() < 210, "so many pieces were found in one go"


async def test_the_document_of_one_model_has_nothing_of_others_and_of_the_host() -> None:
    table = a_table(3, shop=fragment("shop"), library=fragment("library"))
    document = await read(Document(BASE).of_model(3, table.revisions["shop"]))

    assert document["info"] == {"title": "shop", "version": "0", "description": ""}
    assert document["x-watcherd-generation"] == 3
    assert list(document["paths"]) == ["/api/shop"]
    assert "library_Item" not in document["components"]["schemas"]


def fragment(name: str) -> OpenApiFragment:
    return OpenApiFragment(
        own_paths=f'"/api/{name}": {{}}'.encode(),
        own_schemas=f'"{name}_Item": {{}}'.encode(),
        own_tags=f'{{"name": "{name}"}}'.encode(),
    )


async def test_a_long_document_is_sent_in_slices_and_says_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watcherd.admin.document.SLICE_BYTES", 100)
    table = a_table(1, **{f"shop_{number}": fragment(f"shop_{number}") for number in range(20)})
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(dict(message))

    scope = {"type": "http", "method": "GET", "path": "/openapi.json", "query_string": b"", "headers": [], TABLE: table}
    response = await Document(BASE).respond(Request(scope))
    await response(scope, receive, send)
    bodies = [message.get("body", b"") for message in sent[1:]]
    assert len(bodies) > 10
    assert max(map(len, bodies)) < 4000  # the longest piece is what all models share
    assert dict(sent[0]["headers"])[b"content-length"] == str(sum(map(len, bodies))).encode()
    assert len(json.loads(b"".join(bodies))["tags"]) == 20
