"""What a compiled model is: its number, its endpoints, its OpenAPI fragment, its in-flight count.

A revision is immutable but for that count. It is made by `compile`, entered and left by the
`gateway`, and waited for by `drain`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from watcherd.pim.linked import LinkedModel
from watcherd.wire import Answer, Call

Handle = Callable[[Call], Awaitable[Answer]]
Section = Literal["own_paths", "own_schemas", "own_tags", "own_parameters"]

AtOnce = Callable[[Call], Answer | None]
"""Answers a GET without waiting, or answers None: then `Handle` does it."""


def never(_: Call) -> None:
    """Nothing is answered at once."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, as the admin API and the logs name it.

    `path` is a template below the model, such as `/users/{id}`; the model's index is the empty
    string.
    """

    method: str
    path: str
    operation_id: str
    summary: str


@dataclass(frozen=True, slots=True)
class OpenApiFragment:
    """A model's part of `/openapi.json`, as JSON text that only has to be joined.

    `paths` and `schemas` are the members of an object without its braces (`"/api/x": {...},...`),
    `parameters` too, `tags` the elements of an array without its brackets; each may be empty. It may
    be made of `parts`, which other fragments of the model hold as well.
    """

    own_paths: bytes = b""
    own_schemas: bytes = b""
    own_tags: bytes = b""
    own_parameters: bytes = b""
    parts: tuple[OpenApiFragment, ...] = ()

    @property
    def paths(self) -> bytes:
        """Its own, and those of its parts."""
        return b",".join(self.texts("own_paths"))

    @property
    def schemas(self) -> bytes:
        """Its own, and those of its parts."""
        return b",".join(self.texts("own_schemas"))

    @property
    def tags(self) -> bytes:
        """Its own, and those of its parts."""
        return b",".join(self.texts("own_tags"))

    @property
    def parameters(self) -> bytes:
        """Its own, and those of its parts."""
        return b",".join(self.texts("own_parameters"))

    def texts(self, section: Section) -> list[bytes]:
        """The texts of a section that are there: its own, and those of its parts; not copied."""
        own: bytes = getattr(self, section)
        found = [own] if own else []
        for part in self.parts:
            found += part.texts(section)
        return found


class InFlight:
    """One request that entered a revision and has not left it.

    `entered` and `progressed` are monotonic seconds; `progressed` is the last byte in or out.
    `cut` says why the request was cancelled by the drain, if it was.
    """

    __slots__ = ("__weakref__", "_leave", "_reason", "cut", "entered", "method", "path", "progressed", "task")

    def __init__(self, method: str, path: str, task: asyncio.Task[object]) -> None:
        self.method = method
        self.path = path
        self.task = task
        self.entered = self.progressed = time.monotonic()
        self.cut: str | None = None
        self._leave: Callable[[str], None] | None = None
        self._reason: str | None = None

    def on_leave(self, leave: Callable[[str], None]) -> None:
        """Let a stream, which has no end of its own, be asked for it; at once, if it has been already."""
        self._leave = leave
        if self._reason is not None:
            leave(self._reason)

    def ask_to_leave(self, reason: str) -> None:
        """Ask for the end: a stream says goodbye and ends, any other request ends anyway."""
        self._reason = reason
        if self._leave is not None:
            self._leave(reason)

    def describe(self, now: float) -> str:
        """`METHOD path age`, for logs and the admin API."""
        return f"{self.method} {self.path} {now - self.entered:.1f}s"


def _nothing() -> None:
    """What most revisions have to let go of when they have drained."""


class Revision:
    """One compiled model. `model` is the folded domain, `linked` what it was compiled from.

    `on_drained` lets go of what it holds outside of itself, once it is retired and nothing is in flight.

    `exposed` is what requests to other models may see of its entities, by name; `carried` is what the
    next revision may take up of it; `compile`, which made them, knows what they are.
    """

    __slots__ = ("__weakref__", "_idle", "at_once", "carried", "domain", "exposed", "handle", "in_flight", "linked",
                 "model", "number", "on_drained", "openapi", "operations")  # fmt: skip

    def __init__(  # noqa: PLR0913 - the parts of a compiled model, put together once
        self,
        linked: LinkedModel,
        number: int,
        *,
        handle: Handle,
        at_once: AtOnce = never,
        operations: tuple[Operation, ...],
        openapi: OpenApiFragment,
        exposed: Mapping[str, object] = MappingProxyType({}),
        carried: object = None,
        on_drained: Callable[[], None] = _nothing,
    ) -> None:
        self.model = linked.spec.name
        self.domain = linked.spec.domain
        self.linked = linked
        self.number = number
        self.handle = handle
        self.at_once = at_once
        self.operations = operations
        self.openapi = openapi
        self.exposed = exposed
        self.carried = carried
        self.on_drained = on_drained
        self.in_flight: set[InFlight] = set()
        self._idle: asyncio.Event | None = None

    def enter(self, request: InFlight) -> None:
        """Count a request in. The caller read the route table with no `await` in between."""
        self.in_flight.add(request)

    def leave(self, request: InFlight) -> None:
        """Count a request out, after its last byte; wakes whoever waits for the drain."""
        self.in_flight.discard(request)
        if not self.in_flight and self._idle is not None:
            self._idle.set()

    def retire(self) -> None:
        """Ask what is in flight to go, streams above all: no new request enters, the route table names it no more."""
        for request in tuple(self.in_flight):
            request.ask_to_leave("the model has changed or was unloaded")

    async def idle(self) -> None:
        """Wait until nothing is in flight. Only sensible once retired."""
        while self.in_flight:
            self._idle = asyncio.Event()
            await self._idle.wait()
