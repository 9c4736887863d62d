"""Requests that a worker gets and its parent answers: ASGI over the channel, a call a step.

`Relay` is the host application of a worker: it has the parent answer, and the two calls of ASGI,
`receive` and `send`, come back as calls; so a slow client slows its answer down, a stream is a
stream, and a client that goes is noticed. `Relayed` is the other half: the parent's host
application sees the request as if it had come to the parent, from the address that the worker saw.
Headers, log line and count of the request are the worker's.
"""

from __future__ import annotations

import asyncio
import time
from itertools import count
from types import SimpleNamespace
from typing import Any

import structlog

from watcherd import problems
from watcherd.exchange import IN_FLIGHT, REQUEST_ID
from watcherd.gateway import TABLE, Gateway
from watcherd.problems import CATALOGUE, Problem
from watcherd.revision import InFlight
from watcherd.wire import ClientGoneError, Message, Receive, Scope, Send
from watcherd.workers.channel import CallFailedError, Channel, ChannelClosedError, Said

_LOST = "the process that answers this has gone; another one is starting"

_Raised = Problem | ClientGoneError


class Relay:
    """The worker's half: an ASGI application that asks the parent."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._numbers = count()
        self._requests: dict[int, _Request] = {}
        channel.calls["receive"] = self._receive
        channel.calls["send"] = self._send

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the parent answer. Raises what `receive` or `send` raised; Problem where nobody answers."""
        number = next(self._numbers)
        request = self._requests[number] = _Request(receive, send)
        try:
            answer = (await self._channel.call("request", request=number, scope=_plain(scope))).fields
        except (ChannelClosedError, CallFailedError) as error:
            raise Problem(problems.UNAVAILABLE, _LOST, headers={"retry-after": "1"}) from error
        finally:
            del self._requests[number]
        if answer["route"] is not None:
            scope["route"] = SimpleNamespace(path=answer["route"])
        if request.raised is not None:
            raise request.raised
        if answer["cut"] is not None:
            headers = {"retry-after": "1", "connection": "close"}
            raise Problem(problems.UNAVAILABLE, answer["cut"], headers=headers)

    async def _receive(self, said: Said) -> Said:
        request = self._requests[said.fields["request"]]
        try:
            message = await request.receive()
        except (Problem, ClientGoneError) as raised:
            return _raised(request, raised)
        body = message.pop("body", b"")
        return Said({"message": message}, body)

    async def _send(self, said: Said) -> Said:
        request = self._requests[said.fields["request"]]
        message = {**said.fields["message"]}
        if message["type"] == "http.response.start":
            message["headers"] = _decoded(message["headers"])
        else:
            message["body"] = said.body
        try:
            await request.send(message)
        except (Problem, ClientGoneError) as raised:
            return _raised(request, raised)
        return Said()


class _Request:
    """One request that the parent answers."""

    __slots__ = ("raised", "receive", "send")

    def __init__(self, receive: Receive, send: Send) -> None:
        self.receive = receive
        self.send = send
        self.raised: _Raised | None = None


def _raised(request: _Request, raised: _Raised) -> Said:
    request.raised = raised
    if isinstance(raised, Problem):
        return Said({"problem": [raised.type.slug, raised.detail, raised.headers]})
    return Said({"gone": True})


class Relayed:
    """The parent's half: answers the requests of one worker."""

    def __init__(self, channel: Channel, gateway: Gateway) -> None:
        self._channel = channel
        self._gateway = gateway
        self._log = structlog.stdlib.get_logger("watcherd.gateway")
        channel.calls["request"] = self._answer

    async def _answer(self, said: Said) -> Said:
        number, scope = said.fields["request"], _scope(said.fields["scope"])
        gateway, task = self._gateway, asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs is run by a task
        in_flight = InFlight(scope["method"], scope["path"], task)
        scope.update({TABLE: gateway.table, IN_FLIGHT: in_flight})
        structlog.contextvars.bind_contextvars(request_id=scope[REQUEST_ID])
        gateway.host_in_flight.add(in_flight)
        try:
            await gateway.host(scope, self._receiving(number, in_flight), self._sending(number, in_flight))
        except (Problem, ClientGoneError):
            pass  # the worker has it, and tells the client
        except asyncio.CancelledError:
            if in_flight.cut is None:
                raise
            task.uncancel()
        except Exception as error:  # noqa: BLE001 - the host has answered what it could; with the traceback, it is here
            self._log.error("request.failed", path=scope["path"], exc_info=error)
        finally:
            gateway.host_in_flight.discard(in_flight)
        route = scope.get("route")
        return Said({"route": None if route is None else route.path, "cut": in_flight.cut})

    def _receiving(self, number: int, in_flight: InFlight) -> Receive:
        async def receive() -> Message:
            said = await self._step("receive", b"", in_flight, request=number)
            message: Message = {**said.fields["message"]}
            if message["type"] == "http.request":
                message["body"] = said.body
            return message

        return receive

    def _sending(self, number: int, in_flight: InFlight) -> Send:
        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                head = {**message, "headers": _encoded(message.get("headers", ()))}
                await self._step("send", b"", in_flight, request=number, message=head)
            else:
                body = message.get("body", b"")
                rest = {name: value for name, value in message.items() if name != "body"}
                await self._step("send", body, in_flight, request=number, message=rest)

        return send

    async def _step(self, kind: str, body: bytes, in_flight: InFlight, **fields: Any) -> Said:
        """One call of ASGI, made in the worker; raises what it raised there."""
        try:
            said = await self._channel.call(kind, body, **fields)
        except (ChannelClosedError, CallFailedError) as error:
            raise ClientGoneError from error
        in_flight.progressed = time.monotonic()
        match said.fields:
            case {"problem": [slug, detail, headers]}:
                raise Problem(CATALOGUE[slug], detail, headers=headers)
            case {"gone": True}:
                raise ClientGoneError
        return said


_TEXTS = ("http_version", "scheme", "method", "path", "root_path")
_BYTES = ("raw_path", "query_string")


def _plain(scope: Scope) -> dict[str, Any]:
    """What of a request's scope the parent needs, as JSON values."""
    plain: dict[str, Any] = {name: scope[name] for name in _TEXTS}
    plain |= {name: scope[name].decode("latin-1") for name in _BYTES}
    addresses = {name: scope[name] for name in ("client", "server")}
    return plain | addresses | {"headers": _encoded(scope["headers"]), "request_id": scope[REQUEST_ID]}


def _scope(plain: dict[str, Any]) -> Scope:
    scope: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}}
    scope |= {name: plain[name] for name in _TEXTS}
    scope |= {name: plain[name].encode("latin-1") for name in _BYTES}
    scope |= {name: _pair(plain[name]) for name in ("client", "server")}
    return scope | {"headers": _decoded(plain["headers"]), REQUEST_ID: plain["request_id"]}


def _pair(given: list[Any] | None) -> tuple[Any, ...] | None:
    return None if given is None else tuple(given)


def _encoded(headers: Any) -> list[list[str]]:
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]


def _decoded(headers: Any) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
