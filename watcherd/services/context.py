"""`ctx`: what the code behind a method is given, so that it needs nothing of ours but that.

Owns its two forms: `Context` for a plain function, which runs in a thread, and `AsyncContext` for
an `async def`, where what touches the database is awaited. Both do the same things by the same
names, within one transaction that is committed when the code returns and undone when it raises.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Protocol

import structlog

from watcherd.problems import REFUSED, Finding, Problem
from watcherd.services.access import EntityAccess, Found, Step, wire
from watcherd.store import Cursor, Session

MAX_FOUND: Final = 10_000
"""Rows that one `find` may bring."""

MAX_EMITTED: Final = 1000
"""Events that one call may emit."""

_EVENT: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_RESERVED: Final = frozenset({"reset", "bye"})
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_CLIENT_ERRORS: Final = range(400, 500)


class Refusal(Problem):
    """What a method's code refuses: an answer to the client, not a failure. Made by `ctx.refused`."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sent the request: the name of the API key, where the daemon asks for keys."""

    key: str | None = None


class Calls(Protocol):
    """The methods of the model; `depth` says how many calls deep the caller is."""

    def here(self, core: Core, name: str, params: Mapping[str, Any], depth: int) -> Any:
        """The result of a method, from a thread."""

    async def awaited(self, core: Core, name: str, params: Mapping[str, Any], depth: int) -> Any:
        """The same on the event loop."""


@dataclass(slots=True)
class Core:
    """What both forms of `ctx` share during one run. `emitted` is told once everything is committed.

    `in_thread` runs what waits for steps of the session.
    """

    entities: Mapping[str, EntityAccess]
    session: Session
    identity: Identity
    request_id: str
    now: datetime
    log: structlog.stdlib.BoundLogger
    calls: Calls
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]]
    emitted: list[tuple[str, Any]] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    is_over: bool = False
    _waited_for: list[Future[Any]] = field(default_factory=list)

    def wait_for(self, future: Future[Any]) -> None:
        """Note what a thread waits for."""
        self._waited_for.append(future)
        if self.is_over:
            future.cancel()

    def give_up(self) -> None:
        """End what threads still wait for: their call is over."""
        self.is_over = True
        for future in self._waited_for:
            future.cancel()

    def entity(self, name: str) -> EntityAccess:
        """An entity of the model. LookupError, with those that there are."""
        found = self.entities.get(name)
        if found is None:
            raise LookupError(f"the model has no entity {name!r}; there are {', '.join(self.entities)}")
        return found

    def get(self, entity: str, key: Any) -> Step[Found | None]:
        """A row by its key."""
        access = self.entity(entity)
        step = access.get(wire(key))

        def found(cursor: Cursor) -> Found | None:
            row = step(cursor)
            return None if row is None else access.found(row)

        return found

    def find(
        self, entity: str, conditions: Mapping[str, Any], *, sort: str | None, limit: int | None, skip: int
    ) -> Step[list[Found]]:
        """Rows by conditions."""
        access = self.entity(entity)
        step = access.find(wire(conditions), sort=sort, limit=limit, skip=skip)
        return lambda cursor: [access.found(row) for row in step(cursor)]

    def create(self, entity: str, values: Mapping[str, Any]) -> Step[Found]:
        """A new row."""
        access = self.entity(entity)
        step = access.create(wire(values))
        return lambda cursor: access.found(step(cursor))

    def update(self, entity: str, key: Any, changes: Mapping[str, Any], version: int | None) -> Step[Found]:
        """A changed row."""
        access = self.entity(entity)
        step = access.update(wire(key), wire(changes), version=version)
        return lambda cursor: access.found(step(cursor))

    def delete(self, entity: str, key: Any, version: int | None) -> Step[None]:
        """A row less."""
        return self.entity(entity).delete(wire(key), version=version)

    def emit(self, event: str, payload: Any) -> None:
        """Note an event."""
        if _EVENT.fullmatch(event) is None or event in _RESERVED:
            raise ValueError(f"{event!r} cannot name an event: letters, digits, `_`, `.` and `-`; not reset or bye")
        if len(self.emitted) >= MAX_EMITTED:
            raise ValueError(f"one call emits at most {MAX_EMITTED} events")
        self.emitted.append((event, wire(payload)))


class _Shared:
    """What needs no database."""

    __slots__ = ("_core", "_depth")

    def __init__(self, core: Core, depth: int = 0) -> None:
        self._core = core
        self._depth = depth

    @property
    def identity(self) -> Identity:
        """Who sent the request."""
        return self._core.identity

    @property
    def request_id(self) -> str:
        """The id of the request, as in the log and in `X-Request-ID`."""
        return self._core.request_id

    @property
    def now(self) -> datetime:
        """The time of the call, in UTC; the same during all of it."""
        return self._core.now

    @property
    def log(self) -> structlog.stdlib.BoundLogger:
        """A logger that is bound to the request: `ctx.log.info("reserved", sku=...)`."""
        return self._core.log

    def emit(self, event: str, payload: Any = None) -> None:
        """Tell those who listen at `/-/events` of the model, once everything is committed, and only then."""
        self._core.emit(event, payload)

    def refused(self, code: str, message: str, *, status: int = 409, pointer: str | None = None) -> Refusal:
        """What to raise so that the client is told why not: `raise ctx.refused("out_of_stock", "only 3 left")`."""
        return refusal(code, message, status=status, pointer=pointer)


def refusal(code: str, message: str, *, status: int = 409, pointer: str | None = None) -> Refusal:
    """The problem that a method's code refuses with. ValueError for a status that is no client's error."""
    if status not in _CLIENT_ERRORS:
        raise ValueError(f"a refusal has a status from 400 to 499, not {status}")
    if _CODE.fullmatch(code) is None:
        raise ValueError(f"{code!r} cannot be a code: letters, digits, `_`, `.` and `-`")
    errors = [] if pointer is None else [Finding(pointer, code, message)]
    return Refusal(replace(REFUSED, status=status), message, errors=errors, extra={"code": code})


class Context(_Shared):
    """`ctx` of a plain function."""

    __slots__ = ()

    def get(self, entity: str, key: Any) -> Found | None:
        """The row of this key, None where there is none."""
        return self._core.session.run_here(self._core.get(entity, key))

    def find(
        self, entity: str, *, sort: str | None = None, limit: int | None = None, skip: int = 0, **conditions: Any
    ) -> list[Found]:
        """The rows that meet all conditions: `ctx.find("Product", stock__gte=1, sort="-price")`."""
        found = self._core.find(entity, conditions, sort=sort, limit=limit, skip=skip)
        return self._core.session.run_here(found)

    def create(self, entity: str, values: Mapping[str, Any]) -> Found:
        """A new row, as it is stored."""
        return self._core.session.run_here(self._core.create(entity, values), writes=True)

    def update(self, entity: str, key: Any, changes: Mapping[str, Any], *, version: int | None = None) -> Found:
        """A row with some values changed, as it is stored."""
        step = self._core.update(entity, key, changes, version)
        return self._core.session.run_here(step, writes=True)

    def delete(self, entity: str, key: Any, *, version: int | None = None) -> None:
        """Delete a row."""
        step = self._core.delete(entity, key, version)
        self._core.session.run_here(step, writes=True)

    def call(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """What a method of the model returns, in the same transaction: `ctx.call("Desk.restock", {"sku": sku})`.

        Raises its refusal; what a flow has written by then is taken back, even if that is caught.
        """
        return self._core.calls.here(self._core, method, params or {}, self._depth)


class AsyncContext(_Shared):
    """`ctx` of an `async def`: as `Context`, awaited."""

    __slots__ = ()

    async def get(self, entity: str, key: Any) -> Found | None:
        """The row of this key, None where there is none."""
        return await self._core.session.run(self._core.get(entity, key))

    async def find(
        self, entity: str, *, sort: str | None = None, limit: int | None = None, skip: int = 0, **conditions: Any
    ) -> list[Found]:
        """The rows that meet all conditions: `await ctx.find("Product", stock__gte=1, sort="-price")`."""
        found = self._core.find(entity, conditions, sort=sort, limit=limit, skip=skip)
        return await self._core.session.run(found)

    async def create(self, entity: str, values: Mapping[str, Any]) -> Found:
        """A new row, as it is stored."""
        return await self._core.session.run(self._core.create(entity, values), writes=True)

    async def update(self, entity: str, key: Any, changes: Mapping[str, Any], *, version: int | None = None) -> Found:
        """A row with some values changed, as it is stored."""
        step = self._core.update(entity, key, changes, version)
        return await self._core.session.run(step, writes=True)

    async def delete(self, entity: str, key: Any, *, version: int | None = None) -> None:
        """Delete a row."""
        step = self._core.delete(entity, key, version)
        await self._core.session.run(step, writes=True)

    async def call(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """What a method of the model returns: `await ctx.call("Desk.restock", {"sku": sku})`, as `Context.call`."""
        return await self._core.calls.awaited(self._core, method, params or {}, self._depth)
