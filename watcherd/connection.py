"""One connection: what a client may send before a request is one, and how long it may take over it.

Owns the limits that no ASGI application can set, since it is called only once a head is complete:
the size of a head (431, 414), the time for it (408), bytes that are no HTTP (400), and a client
that does not read its answer. uvicorn bounds none of them with httptools. Does not own bodies
(exchange) nor idle keep-alive connections (uvicorn's own timer).

The ways of a head: it is expected from the start of a connection and from the end of each request
on; its timer runs from the connection's start or its first byte, and ends with the empty line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from watcherd import problems
from watcherd.problems import Problem
from watcherd.wire import GONE, Answer, Scope

LINGER_SECONDS = 1.0
"""How long a client that was refused may go on sending."""

Refuse = Callable[[Problem], Answer]
"""Makes the answer to what never became a request, and notes it."""


@dataclass(frozen=True, slots=True)
class Patience:
    """What a connection may cost: bytes of a head, seconds for it, seconds without reading an answer."""

    head_bytes: int = 64 * 1024
    head_seconds: float = 10.0
    stall_seconds: float = 30.0


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with limits; see `bounded` for how it gets them."""

    patience: Patience
    refuse: Refuse

    # -- reading ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Expect a head."""
        super().connection_made(transport)
        self._expects_head = True
        self._head_bytes = 0
        self._chunk_bytes = 0
        self._lingers = False
        self._problem: Problem | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._head_timer: asyncio.TimerHandle | None = self.loop.call_later(
            self.patience.head_seconds, self._head_is_late
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers, which would keep the connection in memory; tell who still sends."""
        self._end_head_timer()
        self._end_stall_timer()
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None:
            cast("Scope", cycle.scope)[GONE] = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come; what is left of a head afterwards is timed and measured."""
        if self._lingers:
            return
        self._chunk_bytes = len(data)
        self._head_bytes += self._chunk_bytes
        super().data_received(data)
        if self.transport.is_closing() or not (self._expects_head and self._head_bytes):
            return
        if self._head_bytes > self.patience.head_bytes:
            self._answer_and_close(self._too_large())
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.patience.head_seconds, self._head_is_late)

    def on_message_begin(self) -> None:
        """The first byte of a head: what came before it in this chunk counts as part of it."""
        super().on_message_begin()
        self._head_bytes = self._chunk_bytes

    def on_headers_complete(self) -> None:
        """Let a head of a fair size become a request."""
        self._end_head_timer()
        if self._head_bytes > self.patience.head_bytes:
            # More than that has come, but part of it may be a body: now it can be told.
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.patience.head_bytes:
                self._problem = self._too_large()
                raise ValueError(self._problem.detail)  # ends the parser, which calls `send_400_response`
        self._expects_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the next head."""
        super().on_message_complete()
        self._expects_head = True
        self._head_bytes = 0

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refused, or what was refused while it ran."""
        self._answer_and_close(self._problem or Problem(problems.BAD_REQUEST, msg))

    def _too_large(self) -> Problem:
        most = self.patience.head_bytes
        if len(self.url) > most:
            return Problem(problems.URI_TOO_LONG, f"the address is over {most} bytes")
        return Problem(problems.HEADERS_TOO_LARGE, f"the address and the headers are over {most} bytes")

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._head_bytes == 0:
            self.transport.close()  # a connection that nobody has used
        else:
            seconds = self.patience.head_seconds
            self._answer_and_close(
                Problem(problems.REQUEST_TIMEOUT, f"the headers were not complete after {seconds:g} seconds")
            )

    def _end_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _answer_and_close(self, problem: Problem) -> None:
        self._end_head_timer()
        answer = self.refuse(problem)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            self.transport.write(_as_http(answer))
            self._linger()
        else:
            # An earlier answer is on its way: bytes in the middle of it would be taken for its own.
            self.transport.close()

    def _linger(self) -> None:
        """Close, but read on for a moment: what is closed unread is reset, and the answer lost with it."""
        self._lingers, self._expects_head = True, False
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._head_timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    # -- writing ------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The client reads slower than it is sent to."""
        super().pause_writing()
        self._watch_for_stall(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """The client has read."""
        self._end_stall_timer()
        super().resume_writing()

    def _watch_for_stall(self, unread: int) -> None:
        self._stall_timer = self.loop.call_later(self.patience.stall_seconds, self._has_stalled, unread)

    def _has_stalled(self, before: int) -> None:
        unread = self.transport.get_write_buffer_size()
        if unread < before:
            self._watch_for_stall(unread)
        else:
            self._stall_timer = None
            self.transport.abort()  # a close would wait for what nobody reads

    def _end_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


def bounded(patience: Patience, refuse: Refuse) -> type[Connection]:
    """The class of the connections of one server: uvicorn makes them itself, and gives them nothing of ours."""
    return type("BoundedConnection", (Connection,), {"patience": patience, "refuse": staticmethod(refuse)})


def _as_http(answer: Answer) -> bytes:
    headers = [
        *answer.headers,
        (b"content-type", answer.media),
        (b"content-length", b"%d" % len(answer.body)),
        (b"connection", b"close"),
    ]
    line = b"HTTP/1.1 %d %s\r\n" % (answer.status, HTTPStatus(answer.status).phrase.encode("ascii"))
    return b"".join([line, *(name + b": " + value + b"\r\n" for name, value in headers), b"\r\n", answer.body])
