"""One channel between two processes: calls, answers and tells, both ways, in order.

Owns the frames: eight bytes with two lengths, a JSON object, then bytes as they are. A *tell* is
handled on arrival, one after the other; a *call* is handled by a task of its own, and answered when
that ends; who gives up a call, cancels that task on the other side. Does not own what is said.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import structlog

from watcherd.errors import WatcherdError

_LENGTHS = struct.Struct("!II")
_MOST_UNREAD = 2**20
"""What may wait in our own buffer before the other process is not read from, in bytes."""

Fields = Mapping[str, Any]


class ChannelClosedError(WatcherdError):
    """The process at the other end has gone, or is going."""


class CallFailedError(WatcherdError):
    """The other process says why it cannot do what it was called for."""


@dataclass(frozen=True, slots=True)
class Said:
    """What was said, or answered: JSON values by name, and bytes."""

    fields: Fields = field(default_factory=dict)
    body: bytes = b""


Handle = Callable[[Said], Awaitable[Said | None]]
Hear = Callable[[Said], None]


class Channel:
    """One end. `calls` and `tells` say what is understood here, by kind; `run` reads until the end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls: dict[str, Handle] = {}
        self.tells: dict[str, Hear] = {}
        self._reader = reader
        self._writer = writer
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[Said]] = {}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._closed = False
        self._log = structlog.stdlib.get_logger("watcherd.workers")

    @classmethod
    async def over(cls, ours: socket.socket) -> Channel:
        """A channel over one end of a socket pair, which it closes in the end."""
        ours.setblocking(False)  # noqa: FBT003 - it takes no keywords
        return cls(*await asyncio.open_unix_connection(sock=ours, limit=_MOST_UNREAD))

    async def run(self) -> None:
        """Read and handle until the other end closes, or we do; then nothing waits for an answer any more."""
        try:
            while True:
                lengths = await self._reader.readexactly(_LENGTHS.size)
                head, body = _LENGTHS.unpack(lengths)
                frame = json.loads(await self._reader.readexactly(head))
                self._take(frame, await self._reader.readexactly(body) if body else b"")
        except (asyncio.IncompleteReadError, OSError):
            pass  # the end, whether it was said or not
        finally:
            await self._end()

    def tell(self, kind: str, body: bytes = b"", /, **fields: Any) -> None:
        """Say something that needs no answer; to nobody, once the channel is closed."""
        if not self._closed:
            self._send({"tell": kind, "with": fields}, body)

    async def call(self, kind: str, body: bytes = b"", /, **fields: Any) -> Said:
        """Ask for something and wait for its answer. CallFailedError; ChannelClosedError."""
        if self._closed:
            raise ChannelClosedError("the other process has gone")
        number = next(self._numbers)
        answer: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._send({"call": kind, "number": number, "with": fields}, body)
        try:
            return await answer
        except asyncio.CancelledError:
            if not self._closed:
                self._send({"cancel": number}, b"")
            raise
        finally:
            del self._waiting[number]

    def close(self) -> None:
        """Close both directions; what has been said already arrives."""
        self._closed = True
        self._writer.close()

    def _send(self, frame: Fields, body: bytes) -> None:
        head = json.dumps(frame, separators=(",", ":")).encode()
        self._writer.write(_LENGTHS.pack(len(head), len(body)) + head + body)

    def _take(self, frame: Fields, body: bytes) -> None:
        match frame:
            case {"tell": kind, "with": fields}:
                self.tells[kind](Said(fields, body))
            case {"call": kind, "number": number, "with": fields}:
                task = asyncio.create_task(self._handle(kind, number, Said(fields, body)), name=f"answers {kind}")
                self._running[number] = task
                task.add_done_callback(lambda _: self._running.pop(number, None))
            case {"cancel": number}:
                if number in self._running:
                    self._running[number].cancel()
            case {"answer": number, **rest}:
                self._answered(number, rest, body)

    def _answered(self, number: int, answer: Fields, body: bytes) -> None:
        waiting = self._waiting.get(number)
        if waiting is None or waiting.done():
            return  # nobody waits for it any more
        if "failed" in answer:
            waiting.set_exception(CallFailedError(answer["failed"]))
        else:
            waiting.set_result(Said(answer["with"], body))

    async def _handle(self, kind: str, number: int, said: Said) -> None:
        try:
            answer = await self.calls[kind](said) or Said()
        except WatcherdError as error:
            self._reply({"answer": number, "failed": str(error)})
        except Exception as error:  # noqa: BLE001 - whatever it was, who waits for the answer must hear of it
            self._log.exception("worker.call_failed", call=kind)
            self._reply({"answer": number, "failed": f"{type(error).__name__}: {error}"})
        else:
            self._reply({"answer": number, "with": answer.fields}, answer.body)

    def _reply(self, frame: Fields, body: bytes = b"") -> None:
        if not self._closed:
            self._send(frame, body)

    async def _end(self) -> None:
        self.close()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ChannelClosedError("the other process has gone"))
        running = tuple(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
