"""The gateway: one revision per request, an in-flight count that is always true."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from types import MappingProxyType
from typing import Any

import pytest

from watcherd import problems
from watcherd.drain import cut
from watcherd.errors import StoreUnavailableError
from watcherd.feeds import Feed, Readers
from watcherd.gateway import TABLE, Gateway, Limits, RouteTable
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import ModelSpec
from watcherd.problems import Problem
from watcherd.revision import OpenApiFragment, Revision
from watcherd.wire import Answer, Call, Message, Receive, Scope, Send

Handle = Callable[[Call], Awaitable[Answer]]


def a_revision(handle: Handle, number: int = 1, domain: str = "shop") -> Revision:
    linked = LinkedModel(spec=ModelSpec(domain=domain), targets={})
    return Revision(linked, number, handle=handle, operations=(), openapi=OpenApiFragment())


async def host(scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(scope[TABLE].generation).encode()})


def a_gateway(*revisions: Revision, generation: int = 7, prefix: str = "/api") -> Gateway:
    gateway = Gateway(
        api_prefix=prefix,
        max_body_bytes=10,
        missing=lambda name: Problem(problems.NO_SUCH_MODEL, f"no model named {name}"),
    )
    gateway.host = host
    gateway.swap(RouteTable(generation, MappingProxyType({item.model: item for item in revisions})))
    return gateway


class Client:
    """One request on the ASGI side: what is sent, what came back."""

    def __init__(self, path: str, method: str = "GET", headers: list[tuple[bytes, bytes]] | None = None) -> None:
        raw, _, query = path.partition("?")
        self.scope: Scope = {
            "type": "http",
            "method": method,
            "path": raw.replace("%2F", "/").replace("%20", " "),
            "raw_path": raw.encode(),
            "query_string": query.encode(),
            "headers": headers or [],
        }
        self.sent: list[Message] = []
        self.body: asyncio.Queue[Message] = asyncio.Queue()

    def send_body(self, body: bytes = b"", *, more: bool = False) -> None:
        self.body.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def disconnect(self) -> None:
        self.body.put_nowait({"type": "http.disconnect"})

    async def call(self, gateway: Gateway) -> Client:
        async def send(message: Message) -> None:
            self.sent.append(dict(message))

        await gateway(self.scope, self.body.get, send)
        return self

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def text(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.text)
        return value


async def segments_of(call: Call) -> Answer:
    return Answer(200, json.dumps([call.base, *call.segments]).encode())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/shop", ["/api/shop"]),
        ("/api/shop/", ["/api/shop"]),
        ("/api/shop/orders/1/", ["/api/shop", "orders", "1"]),
        ("/api/shop/orders/a%2Fb", ["/api/shop", "orders", "a/b"]),
        ("/api/shop/orders/a%20b", ["/api/shop", "orders", "a b"]),
    ],
)
async def test_a_path_is_split_before_it_is_decoded_and_a_trailing_slash_never_matters(
    path: str, expected: list[str]
) -> None:
    client = await Client(path).call(a_gateway(a_revision(segments_of)))

    assert json.loads(client.text) == expected


@pytest.mark.parametrize("path", ["/api", "/api/", "/api%2Fshop", "/%2Fapi/shop", "/api//orders"])
async def test_what_only_looks_like_a_models_path_is_the_hosts(path: str) -> None:
    assert (await Client(path).call(a_gateway(a_revision(segments_of)))).text == b"7"


async def test_both_spellings_of_a_name_are_the_same_model() -> None:
    gateway = a_gateway(a_revision(segments_of, domain="user-management"))

    assert (await Client("/api/user_management").call(gateway)).status == 200
    assert (await Client("/api/user-management").call(gateway)).status == 200


async def test_without_a_prefix_models_and_system_routes_share_the_root() -> None:
    gateway = a_gateway(a_revision(segments_of), prefix="")

    assert json.loads((await Client("/shop/orders").call(gateway)).text) == ["/shop", "orders"]
    assert (await Client("/admin/pim").call(gateway)).text == b"7"
    assert (await Client("/").call(gateway)).text == b"7"
    assert (await Client("/nothing").call(gateway)).status == 404


async def _reads(call: Call) -> Answer:
    return Answer(200, await call.body())


async def test_a_request_sees_the_revision_that_it_entered_although_the_table_is_swapped_before_its_body_ends() -> None:
    old, new = a_revision(_reads, 1), a_revision(_reads, 2)
    gateway = a_gateway(old, generation=1)
    client = Client("/api/shop/orders", "POST")
    client.send_body(b"half", more=True)
    answering = asyncio.create_task(client.call(gateway))
    await asyncio.sleep(0)
    assert len(old.in_flight) == 1

    gateway.swap(RouteTable(2, MappingProxyType({"shop": new})))
    client.send_body(b"done")
    await answering

    assert client.text == b"halfdone"
    assert client.headers[b"watcherd-revision"] == b"1"
    assert client.headers[b"watcherd-generation"] == b"1"
    assert not old.in_flight
    assert not new.in_flight
    later = Client("/api/shop")
    later.send_body()
    assert (await later.call(gateway)).headers[b"watcherd-revision"] == b"2"


async def test_a_request_is_in_flight_until_the_last_byte_of_a_stream() -> None:
    seen: list[int] = []

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            seen.append(len(revision.in_flight))
            yield b"x"

    async def stream(_call: Call) -> Answer:
        return Answer(200, stream=chunks())

    revision = a_revision(stream)
    client = await Client("/api/shop").call(a_gateway(revision))

    assert client.text == b"xxx"
    assert seen == [1, 1, 1]
    assert not revision.in_flight


async def _fails(_call: Call) -> Answer:
    raise RuntimeError("planted-secret")


async def _is_refused(_call: Call) -> Answer:
    raise Problem(problems.NO_SUCH_ROW, "no such row")


async def _is_busy(_call: Call) -> Answer:
    raise StoreUnavailableError("the database is busy")


@pytest.mark.parametrize(("handle", "status"), [(_fails, 500), (_is_refused, 404), (_is_busy, 503)])
async def test_whatever_is_raised_leaves_the_revision_and_becomes_a_problem_body(handle: Handle, status: int) -> None:
    revision = a_revision(handle)
    client = await Client("/api/shop/x", headers=[(b"x-request-id", b"abc")]).call(a_gateway(revision))

    assert client.status == client.json["status"] == status
    assert client.headers[b"content-type"] == b"application/problem+json"
    assert client.json["request_id"] == "abc"
    assert client.json["instance"] == "/api/shop/x"
    assert b"planted-secret" not in client.text
    assert not revision.in_flight


async def test_a_client_that_goes_away_leaves_the_revision() -> None:
    revision = a_revision(_reads)
    client = Client("/api/shop", "POST")
    client.send_body(b"half", more=True)
    client.disconnect()
    await client.call(a_gateway(revision))

    assert not client.sent
    assert not revision.in_flight


async def test_a_cancelled_request_leaves_the_revision() -> None:
    revision = a_revision(_reads)
    answering = asyncio.create_task(Client("/api/shop", "POST").call(a_gateway(revision)))
    await asyncio.sleep(0)
    assert len(revision.in_flight) == 1
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering

    assert not revision.in_flight


async def test_a_request_that_a_drain_cuts_is_told_so_and_leaves() -> None:
    revision = a_revision(_reads)
    client = Client("/api/shop", "POST")
    answering = asyncio.create_task(client.call(a_gateway(revision)))
    await asyncio.sleep(0)
    cut(list(revision.in_flight), "the model has changed")
    await answering

    assert client.status == 503
    assert client.json["detail"] == "the model has changed"
    assert client.headers[b"retry-after"] == b"1"
    assert not revision.in_flight


async def test_a_body_over_the_limit_is_refused_as_soon_as_it_is_known() -> None:
    gateway = a_gateway(a_revision(_reads))
    declared = await Client("/api/shop", "POST", [(b"content-length", b"11")]).call(gateway)
    chunked = Client("/api/shop", "POST")
    chunked.send_body(b"12345678", more=True)
    chunked.send_body(b"9abc", more=True)
    await chunked.call(gateway)

    assert declared.status == chunked.status == 413
    assert declared.json["type"] == "/problems/body-too-large"


async def test_a_malformed_request_id_is_replaced_by_one_of_ours() -> None:
    gateway = a_gateway(a_revision(segments_of))
    taken = await Client("/api/shop", headers=[(b"x-request-id", b"abc-1")]).call(gateway)
    made = await Client("/api/shop", headers=[(b"x-request-id", b"a b\r\n")]).call(gateway)

    assert taken.headers[b"x-request-id"] == b"abc-1"
    assert made.headers[b"x-request-id"] != b"a b\r\n"
    assert len(made.headers[b"x-request-id"]) == 36


async def test_while_stopping_new_requests_are_refused_but_health_is_answered() -> None:
    gateway = a_gateway(a_revision(segments_of))
    gateway.stopping = True
    refused = await Client("/api/shop").call(gateway)

    assert refused.status == 503
    assert refused.headers[b"retry-after"] == b"1"
    assert refused.headers[b"connection"] == b"close"
    assert (await Client("/readyz").call(gateway)).status == 200


async def test_head_has_the_headers_of_get_and_no_body() -> None:
    client = await Client("/api/shop", "HEAD").call(a_gateway(a_revision(segments_of)))

    assert client.status == 200
    assert client.headers[b"content-length"] == b"13"
    assert client.text == b""


async def test_the_cost_of_a_request_does_not_depend_on_how_many_models_are_loaded() -> None:
    class Counting(dict[str, Revision]):
        lookups = 0

        def get(self, key: str, default: Any = None) -> Any:
            Counting.lookups += 1
            return super().get(key, default)

        def __iter__(self) -> Any:
            raise AssertionError("a request must not walk over the models")

    gateway = a_gateway()
    revisions = Counting({f"m{number}": a_revision(segments_of, domain=f"m{number}") for number in range(1000)})
    gateway.swap(RouteTable(8, revisions))
    client = await Client("/api/m999/x").call(gateway)

    assert client.status == 200
    assert Counting.lookups == 1


async def reading_host(_scope: Scope, receive: Receive, send: Send) -> None:
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_the_host_reads_no_larger_bodies_than_models_do() -> None:
    gateway = a_gateway()
    gateway.host = reading_host
    client = Client("/admin/pim/load", "POST")
    client.send_body(b"12345678", more=True)
    client.send_body(b"9abc", more=True)
    await client.call(gateway)

    assert client.status == 413
    assert client.json["type"] == "/problems/body-too-large"


async def test_a_host_that_waits_for_a_body_in_vain_answers_408() -> None:
    gateway = Gateway(
        api_prefix="/api",
        max_body_bytes=10,
        missing=lambda name: Problem(problems.NO_SUCH_MODEL, name),
        limits=Limits(stall_timeout=0.01),
    )
    gateway.host = reading_host
    client = Client("/admin/pim/load", "POST")
    client.send_body(b"half", more=True)
    await client.call(gateway)

    assert client.status == 408
    assert not gateway.host_in_flight


async def test_waiting_for_a_disconnect_after_the_body_has_no_deadline() -> None:
    async def long_answer(call: Call) -> Answer:
        await call.body()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.03):
                await call._receive()
        return Answer(200)

    gateway = Gateway(
        api_prefix="/api",
        max_body_bytes=10,
        missing=lambda name: Problem(problems.NO_SUCH_MODEL, name),
        limits=Limits(stall_timeout=0.01),
    )
    gateway.swap(a_gateway(a_revision(long_answer)).table)
    client = Client("/api/shop", "POST")
    client.send_body(b"whole")

    assert (await client.call(gateway)).status == 200


async def test_while_too_many_requests_are_in_flight_models_answer_503_and_the_host_answers() -> None:
    go = asyncio.Event()

    async def wait(_call: Call) -> Answer:
        await go.wait()
        return Answer(200)

    gateway = Gateway(
        api_prefix="/api",
        max_body_bytes=10,
        missing=lambda name: Problem(problems.NO_SUCH_MODEL, name),
        limits=Limits(max_in_flight=2),
    )
    gateway.host = host
    gateway.swap(a_gateway(a_revision(wait)).table)
    waiting = [asyncio.create_task(Client("/api/shop").call(gateway)) for _ in range(2)]
    await asyncio.sleep(0)

    refused = await Client("/api/shop").call(gateway)
    assert (refused.status, refused.headers[b"retry-after"]) == (503, b"1")
    assert (await Client("/admin/pim").call(gateway)).status == 200
    assert (await Client("/healthz").call(gateway)).status == 200

    go.set()
    assert [client.status for client in await asyncio.gather(*waiting)] == [200, 200]
    assert (await Client("/api/shop").call(gateway)).status == 200


async def test_streams_do_not_count_as_requests_in_flight_and_are_told_to_go_also_if_they_begin_late() -> None:
    feed_readers = Readers()
    feed = Feed(feed_readers)
    may_begin = asyncio.Event()

    async def stream(call: Call) -> Answer:
        if call.segments == ["late"]:
            await may_begin.wait()
        reader = feed.subscribe()
        return Answer(200, stream=reader, leave=reader.leave)

    gateway = Gateway(
        api_prefix="/api",
        max_body_bytes=10,
        missing=lambda name: Problem(problems.NO_SUCH_MODEL, name),
        limits=Limits(max_in_flight=1),
        streams=feed_readers,
    )
    revision = a_revision(stream)
    gateway.swap(RouteTable(1, MappingProxyType({"shop": revision})))
    clients = [Client("/api/shop"), Client("/api/shop"), Client("/api/shop/late")]
    tasks = []
    for client in clients:
        client.send_body()
        tasks.append(asyncio.create_task(client.call(gateway)))
        await asyncio.sleep(0)
    assert len(revision.in_flight) == 3
    assert (await Client("/api/shop").call(gateway)).status == 503  # the late one is no stream yet

    revision.retire()
    may_begin.set()
    await asyncio.gather(*tasks)

    assert [client.status for client in clients] == [200, 200, 200]
    assert all(b"event: bye" in client.text for client in clients)
    assert not revision.in_flight
    assert feed_readers.open == 0
