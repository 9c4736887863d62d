"""What goes out on a connection: answers as they stand on the wire, and a client that does not read them.

Owns their form, how long what was written may stand unread, and that nothing more is read while requests
wait for their turn. Does not own when an answer is sent, nor what comes in (connection).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sized
from http import HTTPStatus
from typing import Final, cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from watcherd.wire import GONE, REPLY, Answer, Scope, as_lines


def as_http(answer: Answer, *lines: bytes) -> bytes:
    """An answer that is complete, with further header lines, as it stands on the wire."""
    has_body = answer.status not in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
    return b"".join(
        [
            STATUS_LINE[answer.status],
            as_lines(answer.headers),
            b"content-type: %b\r\ncontent-length: %d\r\n" % (answer.media, len(answer.body)) if has_body else b"",
            *lines,
            b"\r\n",
            answer.body,
        ]
    )


def shown_client(client: tuple[str, int] | None) -> str:
    """A client's address for people."""
    if not client:
        return "-"  # of a unix socket
    host, port = client
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Unread:
    """Watches what a client leaves unread, from when it is too much; one that reads none of it is cut off."""

    __slots__ = ("_loop", "_seconds", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """`seconds` are those in which something has to be read."""
        self._transport = transport
        self._loop = loop
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Look again after a while whether it has become less."""
        self._timer = self._loop.call_later(self._seconds, self._look, self._transport.get_write_buffer_size())

    def end(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, before: int) -> None:
        if self._transport.get_write_buffer_size() < before:
            self.watch()
        else:
            self._timer = None
            self._transport.abort()  # a close would wait for what nobody reads


class Flow(FlowControl):
    """uvicorn's, which reads nothing more while requests that have been read wait for their turn.

    Otherwise each answer would let in another piece with a thousand requests.
    """

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Read on, unless somebody waits."""
        if not self._waiting:
            super().resume_reading()


def abandon(cycle: RequestResponseCycle) -> None:
    """Tell a request that runs that nobody is left to read its answer, nor to send its body."""
    scope = cast("Scope", cycle.scope)
    scope[GONE] = True
    scope.pop(REPLY, None)  # it leads back to the connection
    cycle.disconnected = True
    cycle.message_event.set()


class _Answered:
    """What stands in uvicorn's place for a request and its answer once that was answered at once: it is over."""

    response_complete = True
    keep_alive = True
    scope: Final[Scope] = {}
    message_event: Final = asyncio.Event()


ANSWERED: Final = _Answered()
