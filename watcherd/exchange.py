"""One request and its answer at the edge: what is added to every answer, and what is noted of it.

Owns the system headers, the progress of a request, the last resort for whatever an endpoint
raises, and the one place where a request ends: there it is logged and counted. Does not own which
revision answers (gateway) nor how the answer is made (compile, the host application).
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, NamedTuple

import structlog
import uuid_utils

from watcherd import problems
from watcherd.errors import StoreUnavailableError
from watcherd.metrics import METHODS, NOBODY, Metrics
from watcherd.problems import Problem
from watcherd.revision import InFlight, Revision
from watcherd.wire import (
    GONE,
    REPLY,
    UNMATCHED,
    Answer,
    AsgiApp,
    Call,
    ClientGoneError,
    HandOver,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
    as_lines,
    body_too_large,
    problem_answer,
    send_answer,
)

CLIENT_GONE = 499
"""The status in the log of a request whose client went away: nothing, or not all, was sent."""

REQUEST_ID = "watcherd.request_id"
IN_FLIGHT = "watcherd.in_flight"
"""The keys of the ASGI scope under which the host application finds the request's id and its `InFlight`."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_NO_TRACE: Mapping[str, str] = MappingProxyType({})


CACHE: Final = b"cache-control"

FAILED: Final = "the server failed to answer; its log has a line with this request id"
"""What a client is told of a fault of ours: nothing of the inside."""

QUIET: Final = frozenset({"/admin/pulse"})
"""What open pages ask for by themselves, all the time: counted, and not told."""

PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""What the watchdog and other programs ask for, all the time: told where the answer is not 200."""


class Notes:
    """Where the end of a request is noted: counted, and told in one line where the log shows such lines."""

    __slots__ = ("_tells", "log", "metrics")

    def __init__(self, log: structlog.stdlib.BoundLogger, metrics: Metrics) -> None:
        # Bound once: a logger that is not is made anew for each line.
        self.log = log.bind()
        self.metrics = metrics
        self._tells = self.log.is_enabled_for(logging.INFO)

    def ended(  # noqa: PLR0913 - what is noted of a request, for all three ways that one can end
        self,
        *,
        domain: str,
        method: str,
        template: str,
        path: str,
        status: int,
        seconds: float,
        size: int,
        request_id: str,
        **context: object,
    ) -> None:
        """Note a request: `template` is its path below the model `domain`, `path` what the log calls it.

        `context` is what the log's bound context does not have already.
        """
        # Whatever clients send, the number of operations stays bounded: templates, and methods that exist.
        operation = f"{method} {template}" if template != UNMATCHED and method in METHODS else NOBODY
        self.metrics.request_ended(domain, operation, status, seconds)
        if self._tells and path not in QUIET and not (path in PROBES and status == HTTPStatus.OK):
            self.log.info(
                "request",
                **context,
                method=method,
                path=path,
                status=status,
                ms=round(seconds * 1000, 2),
                bytes=size,
                request_id=request_id,
            )


class Sender(NamedTuple):
    """Who sends a request, as far as the log knows: its id, and the ids of its trace where it has them."""

    request_id: str
    trace: Mapping[str, str]


class Exchange:
    """One request and its answer: adds the system headers, notes progress, tells of its end once.

    `shared` are further headers of its answer, whatever that is; what it says itself of caches counts.
    """

    __slots__ = (
        "_body_ended",
        "_in_flight",
        "_notes",
        "_operation",
        "_receive",
        "_scope",
        "_send",
        "_stall_timeout",
        "_started_at",
        "bytes_sent",
        "generation",
        "request_id",
        "revision",
        "shared",
        "status",
        "template",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, notes: Notes, stall_timeout: float) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._notes = notes
        self._stall_timeout = stall_timeout
        self._body_ended = False
        self.shared: Headers = ()
        self._operation = UNMATCHED
        self._started_at = time.monotonic()
        self._in_flight: InFlight | None = None
        self.request_id, trace = identify(scope)
        if trace:
            structlog.contextvars.bind_contextvars(**trace)
        self.generation = 0
        self.revision: Revision | None = None
        self.template = "-"
        self.status = 0
        self.bytes_sent = 0

    def close_after(self) -> None:
        """Have the answer close the connection. Not one that is handed over as a whole: only uvicorn's way closes."""
        self.shared = (*self.shared, (b"connection", b"close"))
        self._scope.pop(REPLY, None)

    def begin(self, generation: int, revision: Revision | None) -> InFlight:
        """Fix what this request sees (None: the host), and bind it to the log; must not await."""
        self.generation = generation
        self.revision = revision
        if revision is None:
            self._scope[REQUEST_ID] = self.request_id
            structlog.contextvars.bind_contextvars(request_id=self.request_id)
        else:
            structlog.contextvars.bind_contextvars(
                request_id=self.request_id, model=revision.domain, revision=revision.number, generation=generation
            )
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs is run by a task
        self._in_flight = self._scope[IN_FLIGHT] = InFlight(self._scope["method"], self._scope["path"], task)
        return self._in_flight

    async def answer(self, call: Call, revision: Revision) -> None:
        """Let the revision answer; whatever it raises becomes a problem body."""
        try:
            answer = await revision.handle(call)
            if answer.leave is not None and self._in_flight is not None:
                self._in_flight.on_leave(answer.leave)
            await self._deliver(answer)
        except Problem as problem:
            await self._send_problem(problem)
        except StoreUnavailableError as error:
            await self._send_problem(Problem(problems.UNAVAILABLE, str(error), headers={"retry-after": "1"}))
        except ClientGoneError:
            self.status = CLIENT_GONE
        except asyncio.CancelledError:
            if not await self._told_of_cut():
                raise
        except Exception as error:  # noqa: BLE001 - the edge: whatever it was is logged, and the client is told
            await self._failed(error)
        finally:
            self._operation = call.template
            self.template = call.base + call.template

    async def pass_to(self, host: AsgiApp, *, max_body_bytes: int) -> None:
        """Let the host application answer, with the same headers, bounds and last resort."""
        self.template = self._scope["path"]
        received = 0

        async def receive() -> Message:
            nonlocal received
            message = await self.receive()
            received += len(message.get("body", b""))
            if received > max_body_bytes:
                raise body_too_large(max_body_bytes)
            return message

        try:
            await host(self._scope, receive, self.send)
        except Problem as problem:
            await self._send_problem(problem)
        except ClientGoneError:
            self.status = CLIENT_GONE
        except asyncio.CancelledError:
            if not await self._told_of_cut():
                raise
        except Exception as error:  # noqa: BLE001 - as above
            await self._failed(error)
        route = self._scope.get("route")
        if route is not None:
            self.template = self._operation = route.path
        elif self.status >= HTTPStatus.BAD_REQUEST:
            self.template = "-"  # a path that matches nothing: one name for all of them

    async def reply(self, answer: Answer, generation: int) -> None:
        """Answer a request that needs no revision and no host."""
        self.generation = generation
        await self._deliver(answer)

    async def refuse(self, problem: Problem, generation: int) -> None:
        """Answer a request that enters no revision and no host."""
        self.generation = generation
        await self._send_problem(problem)

    async def receive(self) -> Message:
        """The next message from the client; counts as progress.

        Raises `Problem` (408) where a body that is not complete stands still.
        """
        message = await (self._receive() if self._body_ended else self._next_of_body())
        if self._in_flight is not None:
            self._in_flight.progressed = time.monotonic()
        return message

    async def _next_of_body(self) -> Message:
        try:
            async with asyncio.timeout(self._stall_timeout):
                message = await self._receive()
        except TimeoutError:
            raise Problem(
                problems.REQUEST_TIMEOUT,
                f"the body stood still for {self._stall_timeout:g} seconds",
                headers={"connection": "close"},
            ) from None
        self._body_ended = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send to the client, with the system headers; counts as progress once it is taken.

        Raises `ClientGoneError` where nobody is left to take it.
        """
        if GONE in self._scope:
            raise ClientGoneError
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            headers.append((b"x-request-id", self.request_id.encode("ascii")))
            headers.append((b"watcherd-generation", b"%d" % self.generation))
            if self.revision is not None:
                headers.append((b"watcherd-revision", b"%d" % self.revision.number))
            own = {name for name, _ in headers}
            headers.extend(header for header in self.shared if header[0] != CACHE or CACHE not in own)
            message = {**message, "headers": headers}
        else:
            self.bytes_sent += len(message.get("body", b""))
        await self._send(message)
        if self._in_flight is not None:
            self._in_flight.progressed = time.monotonic()

    def end(self) -> None:
        """Log and count this request: the one place where every request ends."""
        self._notes.ended(
            domain=NOBODY if self.revision is None else self.revision.domain,
            method=self._scope["method"],
            template=self._operation,
            path=self.template,
            status=self.status,
            seconds=time.monotonic() - self._started_at,
            size=self.bytes_sent,
            request_id=self.request_id,
        )

    async def _send_problem(self, problem: Problem) -> None:
        if GONE in self._scope:
            return
        if self.status:
            # Too late for an answer: uvicorn closes the connection of an answer left incomplete. What ends for somebody
            # who asked for that (a drain, a stop) is told of by him.
            if self._in_flight is None or self._in_flight.cut is None:
                self._notes.log.warning("request.incomplete", path=self._scope["path"], reason=problem.detail)
            return
        await self._deliver(problem_answer(problem, instance=self._scope["path"], request_id=self.request_id))

    async def _deliver(self, answer: Answer) -> None:
        """Send an answer: as one where the connection takes it so, else by messages."""
        hand_over: HandOver | None = self._scope.get(REPLY)
        if hand_over is not None and answer.stream is None and GONE not in self._scope:
            lines = system_lines(self.request_id, self.generation, self.revision, as_lines(self.shared))
            if hand_over(self._scope, answer, lines):
                self.status = answer.status
                self.bytes_sent = len(answer.body)
                return
        await send_answer(self.send, answer, head=self._scope["method"] == "HEAD", receive=self.receive)

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

    async def _failed(self, error: Exception) -> None:
        self._notes.log.error("request.failed", path=self._scope["path"], exc_info=error)
        await self._send_problem(Problem(problems.INTERNAL, FAILED))


def refuse_unread(problem: Problem, client: str, notes: Notes, fault: BaseException | None = None) -> Answer:
    """The answer to what never became a request; logged and counted like one that matches nothing.

    `client` is its address: nothing else says whose it was. With a `fault` it is we who failed.
    """
    request_id = str(uuid_utils.uuid7())
    if fault is not None:
        notes.log.error("request.failed", path=NOBODY, client=client, request_id=request_id, exc_info=fault)
    answer = problem_answer(problem, instance=UNMATCHED, request_id=request_id)
    notes.ended(
        domain=NOBODY,
        method=NOBODY,
        template=UNMATCHED,
        path=NOBODY,
        status=answer.status,
        seconds=0.0,
        size=len(answer.body),
        request_id=request_id,
        reason=problem.detail,
        client=client,
    )
    return replace(answer, headers=[*answer.headers, (b"x-request-id", request_id.encode("ascii"))])


def system_lines(request_id: str, generation: int, revision: Revision | None, shared: bytes = b"") -> bytes:
    """The system headers as they stand on the wire, with `shared` lines; the same as `Exchange.send` adds."""
    lines = b"x-request-id: %b\r\nwatcherd-generation: %d\r\n" % (request_id.encode("ascii"), generation)
    if revision is not None:
        lines += b"watcherd-revision: %d\r\n" % revision.number
    return lines + shared


def identify(scope: Scope) -> Sender:
    """The client's request id where it is well formed, else a new one; and its trace's ids."""
    request_id: str | None = None
    trace: Mapping[str, str] = _NO_TRACE
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            request_id = value.decode("ascii")
        elif name == b"traceparent" and (match := _TRACEPARENT.fullmatch(value)):
            trace = {"trace_id": match[1].decode(), "span_id": match[2].decode()}
    return Sender(request_id or str(uuid_utils.uuid7()), trace)
