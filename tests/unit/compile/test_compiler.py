from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urljoin

import pytest
from openapi_spec_validator import validate

from watcherd.compile import InvalidDefaultError, Options, compile_model
from watcherd.compile.bodies import Bodies, compile_bodies
from watcherd.compile.dispatch import Dispatcher
from watcherd.compile.entity import EntityEndpoints
from watcherd.compile.service import MethodEndpoint
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Attribute, EntityRef, Json, Kind, Method, Service
from watcherd.store import Record, Store


async def test_a_revision_knows_what_it_was_compiled_from(shop: Any) -> None:
    revision = shop.revision
    assert (revision.model, revision.domain, revision.number) == ("shop", "shop", 7)
    assert revision.linked.spec.entities.keys() == {"Product", "Review"}
    assert [(item.method, item.path) for item in revision.operations[:3]] == [
        ("GET", ""),
        ("GET", "/products"),
        ("POST", "/products"),
    ]


def test_a_default_that_its_attribute_refuses_is_named(
    options: Options, entity: Callable[..., Any], model: Callable[..., LinkedModel]
) -> None:
    linked = model(
        entity("Todo"),
        entity(
            "Step",
            Attribute(name="todo", kind=Kind.REFERENCE, reference=EntityRef("shop", "Todo"), default=Json.of("first")),
        ),
    )
    with pytest.raises(
        InvalidDefaultError, match=r"Step.todo cannot have the default 'first': expected a UUID"
    ) as raised:
        compile_bodies(linked.spec.entities["Step"], linked.targets, options)
    assert (raised.value.entity, raised.value.attribute) == ("Step", "todo")


async def test_the_models_own_document_is_complete_and_cacheable(shop: Any) -> None:
    found = await shop.get("/-/openapi.json")
    validate(found.json)
    assert found.media == "application/json"
    known = await shop.get("/-/openapi.json", if_none_match=found.headers["etag"])
    assert (known.status, known.body) == (304, b"")
    fragment = shop.revision.openapi
    assert json.loads(b"{%s}" % fragment.paths).keys() == found.json["paths"].keys()
    assert json.loads(b"[%s]" % fragment.tags) == found.json["tags"]


@pytest.mark.parametrize("path", ["/-/docs", "/-/docs/"])
async def test_the_models_own_page_is_that_of_all_models_with_its_name(shop: Any, path: str) -> None:
    found = await shop.get(path)
    assert found.status == 307
    assert (
        urljoin(f"http://a.example{shop.base}{path}", found.headers["location"]) == "http://a.example/docs?model=shop"
    )


async def test_a_revision_that_nobody_holds_is_collected(
    store: Store, options: Options, entity: Callable[..., Any], model: Callable[..., LinkedModel]
) -> None:
    service = Service(name="Jobs", path="jobs", methods=(Method(name="run", path="run"),))
    linked = model(entity("Todo"), services={"Jobs": service})
    plan = await store.plan(linked)
    await store.expand(
        plan, Record(model="shop", domain="shop", file="shop.yaml", revision=1, source=b"", fingerprint="")
    )
    before = count_endpoints()
    old = compile_model(linked, store.bind(plan), 1, options=options)
    gone = weakref.ref(old)
    assert count_endpoints() > before
    del old
    assert gone() is None
    assert count_endpoints() == before


def count_endpoints() -> int:
    """How many parts of revisions there are; they have no weak references of their own."""
    gc.collect()
    return sum(isinstance(item, EntityEndpoints | MethodEndpoint | Dispatcher | Bodies) for item in gc.get_objects())


def test_the_clock_by_default_is_utc_and_keys_by_default_grow() -> None:
    options = Options()
    assert options.clock().utcoffset() == timedelta(0)
    assert options.make_id() < options.make_id()
