"""On real sockets: what is answered at once is, to the byte, what the usual way answers, and is noted alike."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from tests.helpers import Walk, listening, model_text
from tests.helpers import serving as walking
from tests.unit.test_metrics import counted, rendered
from watcherd.cors import Cors
from watcherd.gateway import Gateway, Limits
from watcherd.keys import Keys, make_key
from watcherd.metrics import Metrics
from watcherd.problems import NO_SUCH_MODEL, Problem
from watcherd.prompt import Reply
from watcherd.wire import Receive, Scope, Send

MODEL = model_text("shop", "id: {type: string, primary_key: true}", "price: float", "many: 'string[]'")
ITEMS = "/api/shop/items"
READER, READER_LINE = make_key("reader", ["shop"], [])
_, OTHER_LINE = make_key("other", ["library"], [])

Make = Callable[[Metrics], Gateway]


@dataclass(frozen=True)
class Heard:
    """What came back for some requests, and what was noted of them."""

    answers: Sequence[bytes]
    counted: dict[tuple[str, ...], float]
    logged: Sequence[dict[str, Any]]
    prompt: int
    """How many were answered at once."""


@pytest.fixture
async def walk(tmp_path: Path) -> AsyncIterator[Walk]:
    async with walking(tmp_path, {"shop.yaml": MODEL}) as walk:
        await walk.call("POST", ITEMS, [{"id": f"i{n}", "name": f"n{n}", "price": n / 7} for n in range(12)])
        await walk.post(ITEMS, {"id": "ö/ß %", "name": "odd"})
        await walk.get(f"{ITEMS}?limit=1")
        yield walk


@pytest.fixture
def log(quiet: None) -> LogCapture:
    """All lines, with what is bound to them."""
    capture = LogCapture()
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.stdlib.add_log_level, capture],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    return capture


async def host(scope: Scope, receive: Receive, send: Send) -> None:
    raise Problem(NO_SUCH_MODEL, "the host answers")


def gateway(walk: Walk, metrics: Metrics, **settings: Any) -> Gateway:
    made = Gateway(
        api_prefix=settings.pop("api_prefix", "/api"),
        max_body_bytes=100_000,
        missing=lambda name: Problem(NO_SUCH_MODEL, f"no model named {name} is served"),
        metrics=metrics,
        **settings,
    )
    made.host = host
    made.swap(walk.gateway.table)
    return made


async def hear(made: Make, requests: Sequence[bytes], log: LogCapture, *, at_once: bool) -> Heard:
    """Send each request on a connection of its own, with a second one behind it on the same connection."""
    metrics, prompt = Metrics(), 0
    edge = made(metrics)

    def counting(scope: Scope) -> Reply | None:
        nonlocal prompt
        reply = edge.answer_at_once(scope) if at_once else None
        prompt += reply is not None
        return reply

    log.entries.clear()
    answers = []
    async with listening(edge, at_once=counting) as address:
        for request in requests:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(request)
            answer = await one_answer(reader, head=request.startswith(b"HEAD"))
            answers.append(masked(answer))
            writer.close()
    lines = [{key: value for key, value in line.items() if key not in {"ms", "timestamp"}} for line in log.entries]
    for line in lines:
        if line["request_id"] != "mine":
            line["request_id"] = "made"
    return Heard(answers, counted(await rendered(metrics)), lines, prompt)


async def one_answer(reader: asyncio.StreamReader, *, head: bool) -> bytes:
    top = await reader.readuntil(b"\r\n\r\n")
    if top.startswith(b"HTTP/1.1 100"):
        top += await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", top)
    return top if head or length is None else top + await reader.readexactly(int(length[1]))


def masked(answer: bytes) -> bytes:
    answer = re.sub(rb"date: [^\r]*", b"date: then", answer)
    return re.sub(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", b"made", answer)


def request(path: str, *headers: str, method: str = "GET", body: bytes = b"", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


PLAIN = [
    request(f"{ITEMS}/i3"),
    request(f"{ITEMS}/i3/"),
    request(f"{ITEMS}/i3?"),
    request(f"{ITEMS}/%69%33"),
    request(f"{ITEMS}/%C3%B6%2F%C3%9F%20%25"),
    request(f"{ITEMS}/nobody"),
    request(f"{ITEMS}/%ff"),
    request(f"{ITEMS}//i3"),
    request(f"/{ITEMS}/i3"),
    request(f"{ITEMS}/i3/../i4"),
    request(f"{ITEMS}/i3#part"),
    request(f"http://elsewhere{ITEMS}/i3"),
    request(f"{ITEMS}/i3?fields=name"),
    request("/API/shop/items/i3"),
    request("/api/SHOP/items/i3"),
    request("/api/shop"),
    request("/api/none/items/i3"),
    request("/api/shop/none"),
    request("/elsewhere"),
    request(ITEMS),
    request(f"{ITEMS}?limit=3&sort=-name&fields=id,name"),
    request(f"{ITEMS}?limit=3&skip=3"),
    request(f"{ITEMS}?limit=3&cursor=none"),
    request(f"{ITEMS}?name=n3&name=n4"),
    request(f"{ITEMS}?none=1"),
    request(f"{ITEMS}?limit=many"),
    request(f"{ITEMS}?name=%C3%B6+%20%zz"),
    request(f"{ITEMS}?count=none&limit=2"),
    request(f"{ITEMS}/i3", method="HEAD"),
    request(ITEMS, method="HEAD"),
    request(f"{ITEMS}/i3", method="OPTIONS"),
    request(ITEMS, method="TRACE"),
    request(f"{ITEMS}/i3", "x-request-id: mine"),
    request(f"{ITEMS}/i3", "X-Request-Id: not well formed"),
    request(f"{ITEMS}/i3", "x-request-id: one", "x-request-id: mine"),
    request(f"{ITEMS}/i3", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    request(f"{ITEMS}/i3", "traceparent: 00-zz"),
    request(f"{ITEMS}/i3", "If-None-Match: *"),
    request(f"{ITEMS}/i3", 'If-None-Match: "1-0000000000000000"', 'If-None-Match: "2-0000000000000000"'),
    request(f"{ITEMS}/i3", "Accept: text/html"),
    request(f"{ITEMS}/i3", "Range: bytes=0-3"),
    request(f"{ITEMS}/i3", "Content-Length: 0"),
    request(f"{ITEMS}/i3", "Content-Length: 4", body=b"body"),
    request(f"{ITEMS}/i3", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    request(f"{ITEMS}/i3", "Expect: 100-continue"),
    request(f"{ITEMS}/i3", "Connection: close"),
    request(f"{ITEMS}/i3", "Connection: keep-alive"),
    request(f"{ITEMS}/i3", "Connection: Upgrade", "Upgrade: h2c"),
    request(f"{ITEMS}/i3", "Connection: Upgrade", "Upgrade: websocket"),
    request(f"{ITEMS}/i3", version="1.0"),
    request(f"{ITEMS}/i3", "Connection: keep-alive", version="1.0"),
    request(f"{ITEMS}/i3", "Origin: https://app.example"),
    request(f"{ITEMS}/i3", "Origin: https://evil.example"),
    request(f"{ITEMS}/i3", "X-API-Key: nonsense"),
]


async def alike(made: Make, requests: Sequence[bytes], log: LogCapture) -> Heard:
    """What both ways have in common, which is everything but how they went."""
    usual = await hear(made, requests, log, at_once=False)
    quick = await hear(made, requests, log, at_once=True)
    assert usual.prompt == 0
    for sent, one, other in zip(requests, usual.answers, quick.answers, strict=True):
        assert other == one, sent
    assert quick.counted == usual.counted
    assert list(quick.logged) == list(usual.logged)
    assert len(quick.logged) == len(requests)
    return quick


async def test_both_ways_answer_and_note_the_same(walk: Walk, log: LogCapture) -> None:
    heard = await alike(lambda metrics: gateway(walk, metrics), PLAIN, log)
    assert heard.prompt >= 20
    assert all(line["event"] == "request" for line in heard.logged)


async def test_other_prefixes_mean_the_same_either_way(walk: Walk, log: LogCapture) -> None:
    for prefix in ("", "/v1/models"):
        requests = [one.replace(b" /api/", f" {prefix}/".encode()) for one in PLAIN if b" /api/" in one]
        heard = await alike(lambda metrics, prefix=prefix: gateway(walk, metrics, api_prefix=prefix), requests, log)  # type: ignore[misc]
        assert heard.prompt >= 15
    odd = [request(path) for path in ("/v1%2Fmodels/shop/items/i3", "/%761/models/shop/items/i3", "/v1/models")]
    await alike(lambda metrics: gateway(walk, metrics, api_prefix="/v1/models"), odd, log)


@pytest.mark.parametrize("origins", ["https://app.example", "*"])
async def test_other_origins_are_told_the_same_either_way(walk: Walk, log: LogCapture, origins: str) -> None:
    preflight = ("Origin: https://app.example", "Access-Control-Request-Method: PATCH")
    requests = [*PLAIN, request(f"{ITEMS}/i3", *preflight, method="OPTIONS")]
    heard = await alike(lambda metrics: gateway(walk, metrics, cors=Cors.of(origins)), requests, log)
    assert heard.prompt >= 20
    assert sum(b"access-control-allow-origin" in answer for answer in heard.answers) >= 2


async def test_keys_open_the_same_either_way(walk: Walk, log: LogCapture) -> None:
    requests = [
        *(one.replace(b"Host: localhost", f"Host: localhost\r\nX-API-Key: {READER}".encode()) for one in PLAIN),
        request(f"{ITEMS}/i3", f"Authorization: Bearer {READER}"),
        request(f"{ITEMS}/i3", f"authorization: bearer  {READER} "),
        request(f"{ITEMS}/i3", "Authorization: Basic eDp5"),
        request(f"{ITEMS}/i3", "Authorization: Bearer wk_other"),
        request("/api/library/books", f"X-API-Key: {READER}"),
        request(f"{ITEMS}/i3"),
    ]
    keys = Keys(None, f"{READER_LINE};{OTHER_LINE}")
    heard = await alike(lambda metrics: gateway(walk, metrics, keys=keys), requests, log)
    assert heard.prompt >= 20
    assert {int(answer[9:12]) for answer in heard.answers[-4:]} == {401, 403}


async def test_what_is_too_much_is_refused_either_way(walk: Walk, log: LogCapture) -> None:
    def full(metrics: Metrics) -> Gateway:
        made = gateway(walk, metrics, limits=Limits(max_in_flight=2))
        made._busy = 2
        return made

    heard = await alike(full, [request(f"{ITEMS}/i3"), request(ITEMS), request("/elsewhere")], log)
    assert [int(answer[9:12]) for answer in heard.answers] == [503, 503, 404]
    assert b"retry-after: 1" in heard.answers[0]


async def test_who_stops_refuses_either_way(walk: Walk, log: LogCapture) -> None:
    def stopping(metrics: Metrics) -> Gateway:
        made = gateway(walk, metrics)
        made.stopping = True
        return made

    heard = await alike(stopping, [request(f"{ITEMS}/i3"), request(ITEMS)], log)
    assert all(answer.startswith(b"HTTP/1.1 503") and b"connection: close" in answer for answer in heard.answers)
