"""The joined document: valid JSON whatever is empty, of one generation, in order of name."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

from watcherd.admin.document import Document, join
from watcherd.gateway import RouteTable
from watcherd.pim.spec import LinkedModel, ModelSpec
from watcherd.revision import OpenApiFragment, Revision
from watcherd.wire import Answer, Call

BASE: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "t", "version": "1"},
    "paths": {"/healthz": {}},
    "components": {"schemas": {"Own": {}}, "securitySchemes": {"bearer": {}}},
}
EMPTY = OpenApiFragment(b"", b"", b"")


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
    document = json.loads(join(BASE, a_table(0)))

    assert document["x-watcherd-generation"] == 0
    assert list(document["paths"]) == ["/healthz"]
    assert set(document["components"]["schemas"]) == {"Own", "Problem"}
    assert document["components"]["securitySchemes"] == {"bearer": {}}
    assert document["tags"] == []


def test_fragments_are_joined_in_order_of_name_and_empty_ones_leave_no_trace() -> None:
    fragment = OpenApiFragment(b'"/api/b":{}', b'"b_B":{}', b'{"name":"b"}')
    other = OpenApiFragment(b'"/api/a":{}', b'"a_A":{}', b'{"name":"a"}')
    document = json.loads(join(BASE, a_table(3, b=fragment, a=other, c=EMPTY)))

    assert list(document["paths"]) == ["/api/a", "/api/b", "/healthz"]
    assert [tag["name"] for tag in document["tags"]] == ["a", "b"]
    assert {"a_A", "b_B", "Problem", "Own"} == set(document["components"]["schemas"])


def test_a_host_without_components_joins_as_well() -> None:
    assert json.loads(join({key: BASE[key] for key in ("openapi", "info", "paths")}, a_table(1)))["components"]


def test_a_document_is_joined_once_a_generation_and_an_older_one_is_still_itself() -> None:
    document = Document(BASE)
    first, second = a_table(1), a_table(2)

    assert document.of(first) is document.of(first)
    assert json.loads(document.of(second))["x-watcherd-generation"] == 2
    assert json.loads(document.of(first))["x-watcherd-generation"] == 1
    assert document.of(second) is document.of(second)


def test_the_document_of_one_model_has_nothing_of_others_and_of_the_host() -> None:
    table = a_table(3, shop=fragment("shop"), library=fragment("library"))
    document = json.loads(Document(BASE).of_model(3, table.revisions["shop"]))

    assert document["info"] == {"title": "shop", "version": "0", "description": ""}
    assert document["x-watcherd-generation"] == 3
    assert list(document["paths"]) == ["/api/shop"]
    assert "library_Item" not in document["components"]["schemas"]


def fragment(name: str) -> OpenApiFragment:
    return OpenApiFragment(
        own_paths=f'"/api/{name}": {{}}'.encode(),
        own_schemas=f'"{name}_Item": {{}}'.encode(),
        tags=f'{{"name": "{name}"}}'.encode(),
    )
