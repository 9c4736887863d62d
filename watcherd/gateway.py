"""The edge of the request path: the route table, the swap, entering and leaving revisions.

Owns the ONE reference that requests read (`Gateway.table`), which is replaced and never edited.
Reading it and entering the revision happen with no `await` between them, and leaving happens in
`finally` after the last body byte: so a request sees exactly one revision, and a revision's
in-flight count is true at every moment. Does not own what a model answers (compile), nor the
system routes (the host application), nor when to swap (reload).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from urllib.parse import unquote

import structlog
import uuid_utils

from watcherd import problems
from watcherd.errors import StoreUnavailableError
from watcherd.pim.spec import fold
from watcherd.problems import Problem
from watcherd.revision import InFlight, Revision
from watcherd.wire import AsgiApp, Call, ClientGoneError, Message, Receive, Scope, Send, problem_answer, send_answer

SYSTEM_SEGMENTS = frozenset(
    {"", "admin", "docs", "redoc", "healthz", "readyz", "metrics", "problems", "static", "openapi.json"}
)
"""First path segments that are never a model, also where the API prefix is empty."""

ANSWERED_WHILE_STOPPING = frozenset({"/healthz", "/readyz"})

TABLE = "watcherd.route_table"
REQUEST_ID = "watcherd.request_id"
"""Keys of the ASGI scope under which the host application finds what its request sees."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Which revision serves each model, by folded name; `generation` grows with each swap."""

    generation: int = 0
    revisions: Mapping[str, Revision] = field(default_factory=lambda: MappingProxyType({}))


class Gateway:
    """The outermost ASGI application.

    `host` answers what is not a model; it is set once, by who composes the two. `missing` says
    why no model of a name is served.
    """

    host: AsgiApp

    def __init__(self, *, api_prefix: str, max_body_bytes: int, missing: Callable[[str], Problem]) -> None:
        self.table = RouteTable()
        self.stopping = False
        self.host_in_flight: set[InFlight] = set()
        self._prefix = api_prefix + "/"
        self._max_body_bytes = max_body_bytes
        self._missing = missing
        self._log = structlog.stdlib.get_logger("watcherd.gateway")

    def swap(self, table: RouteTable) -> None:
        """Let every request that comes from now on see `table`. One assignment: the swap."""
        self.table = table

    def in_flight(self) -> list[InFlight]:
        """Requests in flight on the host and on live revisions (not those on retired ones)."""
        requests = list(self.host_in_flight)
        for revision in self.table.revisions.values():
            requests.extend(revision.in_flight)
        return requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request from its first byte to its last."""
        if scope["type"] != "http":
            await self.host(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self._log)
        try:
            if self.stopping and scope["path"] not in ANSWERED_WHILE_STOPPING:
                await exchange.refuse(_stopping(), self.table.generation)
                return
            model, base, segments = self._split(scope)
            if model is None:
                await self._serve_host(exchange)
                return
            # No await from here to `enter`: the revision that was read is the one entered.
            table = self.table
            revision = table.revisions.get(fold(model))
            if revision is None:
                await exchange.refuse(self._missing(model), table.generation)
                return
            in_flight = exchange.begin(table, revision)
            revision.enter(in_flight)
            try:
                call = Call(
                    scope,
                    exchange.receive,
                    base=base,
                    segments=segments,
                    request_id=exchange.request_id,
                    max_body_bytes=self._max_body_bytes,
                )
                await exchange.answer(call, revision)
            finally:
                revision.leave(in_flight)
        finally:
            exchange.log()

    async def _serve_host(self, exchange: Exchange) -> None:
        in_flight = exchange.begin(self.table, None)
        self.host_in_flight.add(in_flight)
        try:
            await exchange.pass_to(self.host)
        finally:
            self.host_in_flight.discard(in_flight)

    def _split(self, scope: Scope) -> tuple[str | None, str, list[str]]:
        """The model's name, its base path, and the decoded segments after it; None: the host's."""
        path: str = scope["path"]
        if not path.startswith(self._prefix):
            return None, "", []
        raw: bytes = scope.get("raw_path") or b""
        # Split before decoding: `%2F` in a key is not a separator.
        segments = [unquote(part) for part in raw.decode("latin-1").split("/")] if b"%" in raw else path.split("/")
        depth = self._prefix.count("/")
        if len(segments) <= depth or "/".join(segments[:depth]) != self._prefix[:-1]:
            return None, "", []
        model, rest = segments[depth], segments[depth + 1 :]
        if model == "" or (depth == 1 and model in SYSTEM_SEGMENTS):
            return None, "", []
        while rest and rest[-1] == "":
            rest.pop()
        return model, self._prefix + model, rest


class Exchange:
    """One request and its answer: adds the system headers, notes progress, logs once at the end."""

    __slots__ = ("_in_flight", "_log", "_receive", "_scope", "_send", "_started_at", "bytes_sent", "generation",
                 "request_id", "revision", "status", "template")  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, send: Send, log: structlog.stdlib.BoundLogger) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._log = log
        self._started_at = time.monotonic()
        self._in_flight: InFlight | None = None
        self.request_id = _request_id(scope)
        self.generation = 0
        self.revision: Revision | None = None
        self.template = "-"
        self.status = 0
        self.bytes_sent = 0

    def begin(self, table: RouteTable, revision: Revision | None) -> InFlight:
        """Fix what this request sees, and bind it to the log; must not await."""
        self.generation = generation = table.generation
        self.revision = revision
        if revision is None:
            self._scope[TABLE] = table
            self._scope[REQUEST_ID] = self.request_id
            structlog.contextvars.bind_contextvars(request_id=self.request_id)
        else:
            structlog.contextvars.bind_contextvars(
                request_id=self.request_id, model=revision.domain, revision=revision.number, generation=generation
            )
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs is run by a task
        self._in_flight = InFlight(self._scope["method"], self._scope["path"], task)
        return self._in_flight

    async def answer(self, call: Call, revision: Revision) -> None:
        """Let the revision answer; whatever it raises becomes a problem body."""
        try:
            answer = await revision.handle(call)
            self.template = call.base + call.template
            await send_answer(self.send, answer, head=call.method == "HEAD")
        except Problem as problem:
            self.template = call.base + call.template
            await self._send_problem(problem)
        except StoreUnavailableError as error:
            self.template = call.base + call.template
            await self._send_problem(Problem(problems.UNAVAILABLE, str(error), headers={"retry-after": "1"}))
        except ClientGoneError:
            self.status = 499
        except asyncio.CancelledError:
            if not await self._told_of_cut():
                raise
        except Exception:  # noqa: BLE001 - the edge: whatever it was is logged, and the client is told
            self.template = call.base + call.template
            await self._failed()

    async def pass_to(self, host: AsgiApp) -> None:
        """Let the host application answer, with the same headers and the same last resort."""
        self.template = self._scope["path"]
        try:
            await host(self._scope, self.receive, self.send)
        except asyncio.CancelledError:
            if not await self._told_of_cut():
                raise
        except Exception:  # noqa: BLE001 - as above
            await self._failed()
        route = self._scope.get("route")
        if route is not None:
            self.template = route.path
        elif self.status >= HTTPStatus.BAD_REQUEST:
            self.template = "-"  # a path that matches nothing: one name for all of them

    async def refuse(self, problem: Problem, generation: int) -> None:
        """Answer a request that enters no revision and no host."""
        self.generation = generation
        await self._send_problem(problem)

    async def receive(self) -> Message:
        """The next message from the client; counts as progress."""
        message = await self._receive()
        if self._in_flight is not None:
            self._in_flight.progressed = time.monotonic()
        return message

    async def send(self, message: Message) -> None:
        """Send to the client, with the system headers; counts as progress once it is taken."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            headers.append((b"x-request-id", self.request_id.encode("latin-1")))
            headers.append((b"watcherd-generation", b"%d" % self.generation))
            if self.revision is not None:
                headers.append((b"watcherd-revision", b"%d" % self.revision.number))
            message = {**message, "headers": headers}
        else:
            self.bytes_sent += len(message.get("body", b""))
        await self._send(message)
        if self._in_flight is not None:
            self._in_flight.progressed = time.monotonic()

    def log(self) -> None:
        """The one line of this request."""
        self._log.info(
            "request",
            method=self._scope["method"],
            path=self.template,
            status=self.status,
            ms=round((time.monotonic() - self._started_at) * 1000, 2),
            bytes=self.bytes_sent,
            request_id=self.request_id,
        )

    async def _send_problem(self, problem: Problem) -> None:
        if self.status:
            # Too late for an answer: uvicorn closes the connection of an answer left incomplete.
            return
        answer = problem_answer(problem, instance=self._scope["path"], request_id=self.request_id)
        await send_answer(self.send, answer, head=self._scope["method"] == "HEAD")

    async def _told_of_cut(self) -> bool:
        """Tell a client whose request was cut by a drain; False for any other cancellation."""
        request = self._in_flight
        if request is None or request.cut is None:
            return False
        request.task.uncancel()
        await self._send_problem(
            Problem(problems.UNAVAILABLE, request.cut, headers={"retry-after": "1", "connection": "close"})
        )
        return True

    async def _failed(self) -> None:
        self._log.exception("request.failed", path=self._scope["path"])
        await self._send_problem(
            Problem(problems.INTERNAL, "the server failed to answer; its log has a line with this request id")
        )


def _request_id(scope: Scope) -> str:
    """The client's request id where it is well formed, else a new one; binds the trace's id."""
    request_id: str | None = None
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            request_id = value.decode("ascii")
        elif name == b"traceparent" and (match := _TRACEPARENT.fullmatch(value)):
            structlog.contextvars.bind_contextvars(trace_id=match[1].decode(), span_id=match[2].decode())
    return request_id or str(uuid_utils.uuid7())


def _stopping() -> Problem:
    return Problem(problems.UNAVAILABLE, "the server is stopping", headers={"retry-after": "1", "connection": "close"})
