"""What is told of a request that has ended: one line, where it tells somebody something."""

from __future__ import annotations

import io
import json

import pytest
import structlog

from watcherd import logs
from watcherd.exchange import Notes
from watcherd.metrics import Metrics


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
