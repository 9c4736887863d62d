"""What crosses the wire, free of any framework: a call comes in, an answer goes out.

Owns reading bodies within their bound and turning answers and problems into ASGI messages.
Does not own routing (gateway, compile) nor what a problem means (problems).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

import pydantic_core

from watcherd import problems
from watcherd.problems import Problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Neighbour = Callable[[str, str], object]
Headers = Sequence[tuple[bytes, bytes]]

JSON = b"application/json"
PROBLEM_JSON = b"application/problem+json"

GONE = "watcherd.gone"
"""In the ASGI scope once the connection is lost: a send that only returns would let a stream go on for ever."""

BODY = "watcherd.body"
"""In the ASGI scope where the whole body came together with the head: nothing has to be waited for."""

REPLY = "watcherd.reply"
"""In the ASGI scope where a complete answer can be handed over as one, with the lines of further headers."""

HandOver = Callable[[Scope, "Answer", bytes], bool]
"""Takes a complete answer to the request with this scope; False if it has to be sent by messages."""

UNMATCHED = "/*"
"""The template of a path below a model that matches nothing."""


class Callers(Protocol):
    """Who sends requests, where the daemon asks for API keys."""

    def name(self, headers: Headers, /) -> str | None:
        """The name of the key that was sent; None for one that is not known."""

    def may_read(self, headers: Headers, model: str, /) -> bool:
        """Whether the key that was sent opens a model."""


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete; nobody reads an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer. `headers` have lower-case names and no content-length.

    With `stream` the body is what it yields, and `body` is empty. A stream that goes on until it
    is asked to end, with a reason, is asked by `leave`.
    """

    status: int
    body: bytes = b""
    media: bytes = JSON
    headers: Headers = ()
    stream: AsyncIterator[bytes] | None = None
    leave: Callable[[str], None] | None = None


class Call:
    """One request inside a model: `segments` are the decoded path segments after the model.

    `base` is the path of the model as the client wrote it, such as `/api/user-management`.
    Whoever dispatches the call sets `template`, its path below the model with placeholders, such
    as `/users/{id}`: logs and metrics name requests by it. Until then it is `UNMATCHED`. `neighbour`
    answers what another model shows of one of its entities, by folded domain and entity name, as of
    the same route table; None when it does not serve.
    """

    __slots__ = (
        "_callers", "_digest", "_headers", "_receive", "_scope", "base", "max_body_bytes", "max_json_depth", "method",
        "neighbour", "path", "request_id", "segments", "template",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - the parts of one request, set once by the gateway
        self,
        scope: Scope,
        receive: Receive,
        *,
        base: str,
        segments: Sequence[str],
        request_id: str,
        max_body_bytes: int,
        neighbour: Neighbour,
        max_json_depth: int = 200,
        callers: Callers | None = None,
    ) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.base = base
        self.segments = segments
        self.request_id = request_id
        self.max_body_bytes = max_body_bytes
        self.max_json_depth = max_json_depth
        self.neighbour = neighbour
        self.template = UNMATCHED
        self._scope = scope
        self._receive = receive
        self._headers: dict[bytes, bytes] | None = None
        self._callers = callers
        self._digest: blake2b | None = None

    @property
    def query(self) -> bytes:
        """The raw query string."""
        query: bytes = self._scope["query_string"]
        return query

    def asks(self, allows: Callable[[Scope], bool]) -> bool:
        """Whether somebody who knows of requests as a whole allows something to this one."""
        return allows(self._scope)

    @property
    def identity(self) -> str | None:
        """The name of the API key that was sent, where the daemon asks for keys; looked up when asked."""
        return None if self._callers is None else self._callers.name(self._scope["headers"])

    def may_read(self, model: str) -> bool:
        """Whether its client may see the rows of another model."""
        return self._callers is None or self._callers.may_read(self._scope["headers"], model)

    def header(self, name: bytes) -> bytes | None:
        """A header by its lower-case name; of several, joined by a comma as HTTP says."""
        if self._headers is None:
            collected: dict[bytes, bytes] = {}
            for key, value in self._scope["headers"]:
                collected[key] = collected[key] + b", " + value if key in collected else value
            self._headers = collected
        return self._headers.get(name)

    async def body(self) -> bytes:
        """The whole body.

        Raises `Problem` (413) as soon as it is over the bound, `ClientGoneError` on a disconnect.
        """
        whole: bytes | None = self._scope.get(BODY)
        if whole is not None and len(whole) <= self.max_body_bytes:
            if self._digest is not None:
                self._digest.update(whole)
            return whole
        chunks = [chunk async for chunk in self.chunks(self.max_body_bytes)]
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def chunks(self, most: int) -> AsyncGenerator[bytes, None]:
        """The body as it comes, none of it empty; to be read once, and not beside `body`.

        Raises `Problem` (413) as soon as it is over `most` bytes, `ClientGoneError` on a disconnect.
        """
        declared = self.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > most:
            raise body_too_large(most)
        size, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            more = message.get("more_body", False)
            chunk: bytes = message.get("body", b"")
            if chunk:
                size += len(chunk)
                if size > most:
                    raise body_too_large(most)
                if self._digest is not None:
                    self._digest.update(chunk)
                yield chunk

    async def gone(self) -> None:
        """Wait until the client has closed the connection; for an answer that nobody may be left to read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def fingerprint_body(self) -> Callable[[], str]:
        """From now on take the hash of what is read of the body; what is answered tells it."""
        self._digest = digest = blake2b(digest_size=16)
        return digest.hexdigest


def as_lines(headers: Headers) -> bytes:
    """Headers as they stand on the wire."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def body_too_large(max_bytes: int) -> Problem:
    """413; the connection ends with it, since the rest of the body is not read."""
    return Problem(problems.BODY_TOO_LARGE, f"the body is over {max_bytes} bytes", headers={"connection": "close"})


async def send_answer(send: Send, answer: Answer, *, head: bool = False, receive: Receive | None = None) -> None:
    """Send an answer; to a HEAD the same headers without the body.

    With `receive` a stream without an end is asked to leave when its client goes.
    """
    headers: list[tuple[bytes, bytes]] = list(answer.headers)
    if answer.stream is None:
        body = answer.body
        if answer.status not in {204, 304}:
            headers.append((b"content-type", answer.media))
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if head else body})
        return
    headers.append((b"content-type", answer.media))
    watching = None
    try:
        # Inside: a stream that is never begun holds something too.
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if not head:
            if answer.leave is not None and receive is not None:
                watching = asyncio.create_task(_until_gone(receive, answer.leave), name="disconnect")
            async for chunk in answer.stream:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
    finally:
        if watching is not None:
            watching.cancel()
        await close_stream(answer.stream)
    await send({"type": "http.response.body", "body": b""})


async def _until_gone(receive: Receive, leave: Callable[[str], None]) -> None:
    # A body that has no end, or too many bytes: nobody waits for it. Or whoever passes it on has gone as well.
    with contextlib.suppress(Problem, ClientGoneError):
        while (await receive())["type"] != "http.disconnect":
            pass
    leave("the client has gone")


async def close_stream(stream: AsyncIterator[bytes]) -> None:
    """Close an async generator, so that its `finally` blocks run now and not some day."""
    close = getattr(stream, "aclose", None)
    if close is not None:
        await asyncio.shield(close())


def problem_answer(problem: Problem, *, instance: str, request_id: str) -> Answer:
    """The answer that tells a client of a problem."""
    return Answer(
        problem.type.status,
        pydantic_core.to_json(problem.body(instance=instance, request_id=request_id)),
        PROBLEM_JSON,
        [(name.encode("latin-1"), value.encode("latin-1")) for name, value in problem.headers.items()],
    )
