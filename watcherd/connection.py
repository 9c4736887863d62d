"""One connection: what a client may send before a request is one, and how long it may take over it.

Owns the limits that no ASGI application can set, since it is called only once a head is complete:
the size of a head and of what stands beside the chunks of a body (431, 414) and the time for a head
(408). uvicorn bounds none of them with httptools. Does not own what a head may say (heads), bodies
(exchange), answers as they are sent (sending) nor idle keep-alive connections (uvicorn's own timer).

A wish for another protocol (`Upgrade`) is not granted, which HTTP allows; the parser would take the body
of such a request for the next one, so it gets the head once more without the wish.

What can be answered at once, is, while the parser still has the head (see `prompt`); all else becomes
a request in the way of uvicorn.

The ways of a head: it is expected from the start of a connection and from the end of each request
on; its timer runs from the connection's start or its first byte, and ends with the empty line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, cast
from urllib.parse import unquote

import httptools
import structlog
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from watcherd import heads, problems
from watcherd.exchange import FAILED
from watcherd.problems import Problem
from watcherd.prompt import Reply
from watcherd.sending import ANSWERED, Flow, Unread, abandon, as_http, shown_client
from watcherd.wire import BODY, REPLY, Answer, Headers, Scope, as_lines

LINGER_SECONDS = 1.0
"""How long a client that was refused may go on sending."""

FULL: Final = "connections are open already"
"""What is said to one that is one too many, after their number."""

MOST_REFUSED: Final = 64
"""So many that are one too many are told so at a time; the others are closed."""

_PROMPT_IN_A_CHUNK: Final = 16
"""Requests that are answered at once out of one piece of what a client sends, before others have their turn."""

AtOnce = Callable[[Scope], Reply | None]
"""Answers a GET that needs no waiting; None for any other."""


class Refuse(Protocol):
    """Makes the answer to what never became a request, and notes it with the client's address and our own fault."""

    def __call__(self, problem: Problem, client: str, fault: BaseException | None = None, /) -> Answer:
        """The answer as it is to be sent, before the connection is closed."""


@dataclass(frozen=True, slots=True)
class Patience:
    """What a connection may cost: bytes of a head, seconds for it, seconds without reading an answer.

    More than so many `connections` at once are refused: each takes a descriptor, and who has none left can
    neither read a model file nor its database.
    """

    head_bytes: int = 64 * 1024
    head_seconds: float = 10.0
    stall_seconds: float = 30.0
    connections: int = 2**31


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with limits; see `bounded` for how it gets them."""

    patience: Patience
    refuse: Refuse
    at_once: AtOnce
    full = False
    """Whether the server has as many connections as it may: of all of them, on their class."""

    # -- reading ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Expect a head."""
        super().connection_made(transport)
        self.flow = Flow(transport, self.pipeline)
        self._running: RequestResponseCycle | None = None
        self._expects_head = True
        self._head_bytes = 0
        self._doubtful_bytes = 0
        self._has_ended_one = False
        self._bytes_without_body = 0
        self._chunk_bytes = 0
        self._last_words = b""
        self._is_leaving = False
        self._is_one_piece = False
        self._prompt_left = 0
        self._idle_since = 0.0
        self._date: tuple[object, bytes] = (None, b"")
        self._plain: Headers | None = None
        self._wishes_upgrade = False
        self._unread = Unread(transport, self.loop, self.patience.stall_seconds)
        self._head_timer: asyncio.TimerHandle | None = None
        if len(self.connections) > self.patience.connections:
            self._turn_away()
        else:
            self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers, which would keep the connection in memory; tell who still sends."""
        self._end_head_timer()
        self._unread.end()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        # Not the last that came, which may wait behind the one that runs; those that wait never begin.
        cycle = self._running
        self.pipeline.clear()
        if cycle is not None and not cycle.response_complete:
            abandon(cycle)
        super().connection_lost(exc)
        if self.full and len(self.connections) < self.patience.connections:
            type(self).full = False

    def data_received(self, data: bytes) -> None:
        """Parse what has come; what is left of a head afterwards is timed and measured."""
        if self._last_words:
            return
        self._chunk_bytes = len(data)
        self._head_bytes += self._chunk_bytes
        self._prompt_left = _PROMPT_IN_A_CHUNK
        self._has_ended_one = False
        if not self._expects_head:
            self._bytes_without_body += self._chunk_bytes
        self._parse(data)
        self._is_one_piece = False
        if self.transport.is_closing() or self._last_words:
            return
        if not self._expects_head:
            if self._bytes_without_body > self.patience.head_bytes:
                self._answer_and_close(heads.too_much_beside_the_body(self.patience.head_bytes))
            return
        if not self._head_bytes:
            return
        if self._head_bytes - self._doubtful_bytes > self.patience.head_bytes:
            self._answer_and_close(heads.too_large(self.url, self.patience.head_bytes))
        elif self._head_timer is None:
            self._start_head_timer()

    def _parse(self, data: bytes) -> None:
        """Let the parser have it; what it cannot read, and what was refused while it ran, is answered and ends here."""
        left: bytes | memoryview = data
        try:
            while left:
                left = self._feed(left)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if isinstance(cause, Problem):
                self._answer_and_close(cause)
            else:
                self._answer_and_close(Problem(problems.INTERNAL, FAILED), cause or error)
        except httptools.HttpParserError as error:
            self._answer_and_close(Problem(problems.BAD_REQUEST, f"this is no HTTP request: {heads.in_words(error)}"))

    def _feed(self, data: bytes | memoryview) -> bytes | memoryview:
        """What the parser has not taken: it stops after a head that wishes for another protocol."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            self._wishes_upgrade = False
            parser = self.parser
            head = heads.without_upgrade(parser.get_method(), self.url, parser.get_http_version(), self.headers)
            parser.feed_data(head)
            return memoryview(data)[stopped.args[0] :]
        return b""

    def on_message_begin(self) -> None:
        """The first byte of a head: what came before it in this chunk counts as part of it, with a doubt."""
        super().on_message_begin()
        self._head_bytes = self._chunk_bytes
        # The parser does not tell where in the chunk it is: others may have had most of it.
        self._doubtful_bytes = self._chunk_bytes if self._has_ended_one else 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; one that comes after the body is dropped: it has not been measured, and looks like any other."""
        if self._expects_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let a head of a fair size become a request."""
        self._end_head_timer()
        if self._head_bytes > self.patience.head_bytes:
            # More than that has come, but part of it may be a body: now it can be told.
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.patience.head_bytes:
                raise heads.too_large(self.url, self.patience.head_bytes)
        telling = [header for header in self.headers if header[0] in heads.TELLING]
        if telling != self._plain or not self.url.startswith(b"/"):
            self._look_closely(telling)
            if self._wishes_upgrade:
                return
        self._expects_head = False
        self._bytes_without_body = 0
        if telling == self._plain and self._may_be_prompt() and self._is_answered_at_once():
            return
        heads.check_line(self.parser.get_method(), self.parser.get_http_version())
        super().on_headers_complete()
        cast("Scope", self.scope)[REPLY] = self._take_over
        self._is_one_piece = True

    def _look_closely(self, telling: Headers) -> None:
        """Refuse, by a `Problem`, a head that is not in order; make one of a proxy's into one of a server's."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        heads.check_line(method, version)
        if heads.check(telling, version):
            self._plain = telling
        if version == "1.0":
            self.expect_100_continue = False  # whoever passed it on for such a client did not mean it
        if not self.url.startswith(b"/"):
            self.url, host = heads.find_target(self.url, method)
            if host is not None:  # it counts, whatever the header says (RFC 9112, 3.2.2)
                self.headers[:] = [header for header in self.headers if header[0] != b"host"]
                self.headers.append((b"host", host))
        self._wishes_upgrade = self.parser.should_upgrade()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body: it is measured by who reads it, and what comes between two parts here."""
        self._bytes_without_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect the next head. What is called for the one that has ended has not run yet if it came in one piece."""
        if self._wishes_upgrade:
            return  # there was no request yet: it comes when the parser has the head again
        super().on_message_complete()
        cycle: RequestResponseCycle = self.cycle
        if self._is_one_piece and not cycle.response_complete and len(cycle.body) <= HIGH_WATER_LIMIT:
            cast("Scope", cycle.scope)[BODY] = bytes(cycle.body)
        self._expects_head = self._has_ended_one = True
        self._head_bytes = 0

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.flow.read_paused:
            self._start_head_timer()  # the rest may have come: it is this side that does not look
        elif self._head_bytes == 0:
            self.transport.close()  # a connection that nobody has used
        else:
            seconds = self.patience.head_seconds
            self._answer_and_close(
                Problem(problems.REQUEST_TIMEOUT, f"the headers were not complete after {seconds:g} seconds")
            )

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.patience.head_seconds, self._head_is_late)

    def _end_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _answer_and_close(self, problem: Problem, fault: BaseException | None = None) -> None:
        self._end_head_timer()
        answer = self.refuse(problem, shown_client(self.client), fault)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle is self._running and cycle.more_body and not cycle.response_started:
            abandon(cycle)  # it is its own body that cannot be read: nobody else waits for an answer
            cycle = None
        self._last_words = as_http(answer, b"connection: close\r\n")
        if cycle is None or cycle.response_complete:
            self._say_last_words()
        elif cycle is self._running and cycle.more_body:
            self.transport.close()  # its answer has begun: what is wrong with its body cannot be said any more
        elif self.pipeline and self.pipeline[0][0].more_body:
            self.pipeline.popleft()  # the newest of those that wait: it is its body that cannot be read

    def _say_last_words(self) -> None:
        """Tell why the connection ends: after earlier answers, in the middle of which it would be taken for theirs."""
        self.transport.write(self._last_words)
        self._linger()

    def _turn_away(self) -> None:
        """It is one too many: say so, as long as those who are told are few themselves."""
        most = self.patience.connections
        if not self.full:
            type(self).full = True
            hint = "raise the limit of open files (LimitNOFILE=), or serve with more workers"
            structlog.stdlib.get_logger("watcherd.server").warning("server.full", connections=most, hint=hint)
        if len(self.connections) > most + MOST_REFUSED:
            self.transport.abort()
            return
        detail = f"{most} {FULL}"
        self._answer_and_close(Problem(problems.UNAVAILABLE, detail, headers={"retry-after": "1"}))

    def _linger(self) -> None:
        """Close, but read on for a moment: what is closed unread is reset, and the answer lost with it."""
        self._expects_head = False
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._head_timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    # -- answering at once --------------------------------------------------------------------

    def _may_be_prompt(self) -> bool:
        """Whether this, whose headers are plain, is a GET as any other, and nothing else is being answered here."""
        cycle: RequestResponseCycle | None = self.cycle
        parser = self.parser
        self._prompt_left -= 1
        return (
            parser.get_method() == b"GET"
            and self._prompt_left >= 0
            and (cycle is None or cycle.response_complete)
            and not self.flow.write_paused
            and not self.expect_100_continue
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
        )

    def _is_answered_at_once(self) -> bool:
        """Answer, if that needs no waiting. The scope is what uvicorn would make of the head."""
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope = cast("Scope", self.scope)
        scope["method"] = "GET"
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = url.path
        scope["query_string"] = url.query or b""
        reply = self.at_once(scope)
        if reply is None:
            return False
        self.transport.write(as_http(reply.answer, reply.lines, self._default_lines()))
        self.cycle = cast("RequestResponseCycle", ANSWERED)
        self.server_state.total_requests += 1
        self._rest()
        return True

    def _default_lines(self) -> bytes:
        """The headers that uvicorn adds to every answer: the date. It makes a new list each second."""
        headers = self.server_state.default_headers
        if self._date[0] is not headers:
            self._date = (headers, as_lines(headers))
        return self._date[1]

    # -- between two requests -----------------------------------------------------------------

    def on_response_complete(self) -> None:
        """Begin with the next request that has come already, or rest."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        if self._last_words:
            self.flow.resume_reading()
            self._say_last_words()
            return
        if self.flow.read_paused and self._head_timer is not None:
            self._end_head_timer()
            self._start_head_timer()
        self.flow.resume_reading()
        self._rest()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _unset_keepalive_if_required(self) -> None:
        """Leave the timer: it looks when it is due. To end it and to set it again costs each request more."""

    def _rest(self) -> None:
        """Idle from now on; one timer sees to it that this does not last for ever."""
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self._has_rested)

    def _has_rested(self) -> None:
        """Close a connection that was idle all the time; look again, after what is left of it, at one that was not."""
        self.timeout_keep_alive_task = None
        cycle: RequestResponseCycle | None = self.cycle
        if self._head_bytes or (cycle is not None and not cycle.response_complete):
            return  # busy: it rests again when it has answered, and a head has a timer of its own
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self._has_rested)
        elif not self.transport.is_closing():
            self.transport.close()

    # -- writing ------------------------------------------------------------------------------

    def _take_over(self, scope: Scope, answer: Answer, lines: bytes) -> bool:
        """Send a complete answer in one piece; False where a client reads too slowly, and to a HEAD."""
        cycle: RequestResponseCycle = self.cycle
        if (
            cast("Scope", cycle.scope) is not scope  # others wait behind it
            or cycle.response_started
            or cycle.disconnected
            or self.flow.write_paused
            or scope["method"] == "HEAD"
        ):
            return False
        scope.pop(REPLY)
        closes = any(name == b"connection" for name, _ in answer.headers)
        if scope["http_version"] == "1.0" and not closes and self._may_stay(scope):
            lines += b"connection: keep-alive\r\n"
        elif not (cycle.keep_alive or closes):
            closes, lines = True, lines + b"connection: close\r\n"
        self.transport.write(as_http(answer, lines, self._default_lines()))
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if closes:
            self.transport.close()
        cycle.on_response()
        return True

    def _may_stay(self, scope: Scope) -> bool:
        """Whether a client of before HTTP/1.1 wants the connection to stay open, and knows where this answer ends."""
        wants = any(name == b"connection" and value.lower() == b"keep-alive" for name, value in scope["headers"])
        return wants and not self._is_leaving

    def shutdown(self) -> None:
        """End as soon as nothing is being answered."""
        self._is_leaving = True
        super().shutdown()

    def pause_writing(self) -> None:
        """The client reads slower than it is sent to."""
        super().pause_writing()
        self._unread.watch()

    def resume_writing(self) -> None:
        """The client has read."""
        self._unread.end()
        super().resume_writing()


def bounded(patience: Patience, refuse: Refuse, at_once: AtOnce) -> type[Connection]:
    """The class of the connections of one server: uvicorn makes them itself, and gives them nothing of ours."""
    ours = {"patience": patience, "refuse": staticmethod(refuse), "at_once": staticmethod(at_once)}
    return type("BoundedConnection", (Connection,), ours)
