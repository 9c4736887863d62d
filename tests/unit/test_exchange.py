"""What is told of a request that has ended: one line, where it tells somebody something."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from watcherd import logs
from watcherd.errors import StoreUnavailableError
from watcherd.exchange import Exchange, Notes
from watcherd.feeds import Feed, Readers
from watcherd.metrics import Metrics
from watcherd.problems import BODY_TOO_LARGE, Problem
from watcherd.wire import Answer, ClientGoneError, Message, send_answer


def told(path: str, status: int) -> list[dict[str, object]]:
    stream = io.StringIO()
    configured = logs.configure("json", "info", stream)
    notes = Notes(structlog.stdlib.get_logger("watcherd.gateway"), Metrics())
    notes.ended(
        domain="", method="GET", template=path, path=path, status=status, seconds=0.001, size=2, request_id="r1"
    )
    configured.close()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_what_programs_ask_for_all_the_time_is_told_when_something_is_wrong(path: str) -> None:
    assert told(path, 200) == []
    [line] = told(path, 503)
    assert (line["event"], line["path"], line["status"]) == ("request", path, 503)


def test_every_other_request_is_told_of() -> None:
    [line] = told("/api/shop/products", 200)
    assert (line["method"], line["path"], line["status"], line["ms"]) == ("GET", "/api/shop/products", 200, 1.0)


@pytest.mark.parametrize("cut", [None, "the server is stopping"])
async def test_an_answer_that_ends_in_the_middle_by_a_fault_of_the_database_is_told_with_the_reason(
    cut: str | None,
) -> None:
    async def rows() -> AsyncIterator[bytes]:
        yield b"[\n"
        raise StoreUnavailableError("the database is not available now: the connection is lost")

    async def handle(_call: Any) -> Answer:
        return Answer(200, stream=rows())

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    sent: list[Message] = []
    stream = io.StringIO()
    configured = logs.configure("json", "info", stream)
    scope = {"type": "http", "method": "GET", "path": "/api/shop/items/-/export", "headers": []}
    notes = Notes(structlog.stdlib.get_logger("watcherd.gateway"), Metrics())
    exchange = Exchange(scope, receive, send, notes=notes, stall_timeout=1.0)
    revision: Any = SimpleNamespace(handle=handle, domain="shop", number=1)
    exchange.begin(1, revision).cut = cut
    call: Any = SimpleNamespace(base="/api/shop", template="/items/-/export")
    await exchange.answer(call, revision)
    configured.close()
    assert [message.get("body") for message in sent] == [None, b"[\n"], "it is not ended as if it were whole"
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    told = [(line["event"], line["path"], line["reason"]) for line in lines]
    reason = "the database is not available now: the connection is lost"
    assert told == ([("request.incomplete", scope["path"], reason)] if cut is None else [])


@pytest.mark.parametrize("raised", [ClientGoneError(), Problem(BODY_TOO_LARGE, "too large")])
async def test_a_stream_without_end_ends_however_it_is_known_that_its_client_has_gone(raised: Exception) -> None:
    readers = Readers()
    reader = Feed(readers).subscribe()
    sent: list[bytes] = []

    async def receive() -> Message:
        raise raised

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    await send_answer(send, Answer(200, stream=reader, leave=reader.leave), receive=receive)
    assert b"the client has gone" in b"".join(sent)
    assert readers.open == 0
