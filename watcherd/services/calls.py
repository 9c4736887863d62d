"""Methods that call methods: what a step of a flow and `ctx.call` of a handler reach, in the same transaction.

Owns the ways from one to the other. A flow that calls flows alone is one function over a cursor, and
stays one. Where a handler comes in, each step asks the session of the whole call, and the flow runs in
a thread, as plain functions do. However methods call each other, they do so `MAX_CALLS` deep at most.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from watcherd import problems
from watcherd.problems import Problem
from watcherd.services.access import Plain, Step, wire
from watcherd.services.context import AsyncContext, Context, Core
from watcherd.services.flows import CompiledFlow
from watcherd.services.runs import Do, Run, on_cursor
from watcherd.services.threads import HandlerFailedError
from watcherd.store import Cursor

MAX_CALLS: Final = 16

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A method as other methods of its model see it; `name` is `Service.method`.

    `accept` answers the wire values of all parameters, or raises `Problem` 422; `first` is its change
    of a state; then its `flow` runs, or its handler `function`, which takes values as `given` makes
    them. With neither, its change of a state is all, and `answers` says whether it returns the row.
    `promised` raises what is wrong with a result, `result` makes it one of Python's types.
    """

    name: str
    accept: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    first: Callable[[Mapping[str, Any]], Step[Any]] | None = None
    flow: CompiledFlow | None = None
    function: Function | None = None
    given: Mapping[str, Plain]
    answers: bool = False
    promised: Callable[[Any], object] | None = None
    result: Plain | None = None

    @property
    def writes(self) -> bool:
        """Whether it may change anything."""
        return self.first is not None or self.function is not None or (self.flow is not None and self.flow.writes)

    @property
    def needs_session(self) -> bool:
        """Whether it takes more than a cursor: a handler is among what it runs."""
        return self.function is not None or (self.flow is not None and self.flow.needs_session)

    def run(self, run: Run, given: Mapping[str, Any]) -> Any:
        """Its result for wire values, in wire values; from the thread of the run."""
        deeper(run.depth)
        values = self.accept({name: value for name, value in given.items() if value is not None})
        run.depth += 1
        value = self._started(run, values)
        if self.flow is not None:
            value = self.flow.run(run, values)
        elif self.function is not None:
            assert run.core is not None  # noqa: S101 - see `needs_session`
            value = wire(_called(self.function, run.core, self.plain(values), run.depth))
        run.depth -= 1
        return self.checked(value)

    def _started(self, run: Run, values: Mapping[str, Any]) -> Any:
        if self.first is None:
            return None
        row = run.do(self.first(values), writes=True)
        return row.values if self.answers else None

    def plain(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters in Python's types."""
        return plain_values(values, self.given)

    def checked(self, value: Any) -> Any:
        """A result that callers may rely on: they were checked against what the method says that it returns."""
        if self.promised is not None and (value is not None or self.function is not None):
            self.promised(value)
        return value


Targets = Mapping[str, Target]


def plain_values(values: Mapping[str, Any], given: Mapping[str, Plain]) -> dict[str, Any]:
    """Wire values of parameters in Python's types."""
    return {
        name: given[name](value) if name in given and value is not None else value for name, value in values.items()
    }


def deeper(depth: int) -> None:
    """Raise `Problem` 503 where one more call would be too deep."""
    if depth >= MAX_CALLS:
        message = f"methods call each other over {MAX_CALLS} deep; nothing was written"
        raise Problem(problems.METHOD_TIMEOUT, message, headers={"retry-after": "1"})


class Calls:
    """`ctx.call`: the methods of a model, for what runs in one session. Made once for each revision."""

    def __init__(self, targets: Targets) -> None:
        """`targets` may be filled after this: methods may call each other in a circle."""
        self._targets = targets

    def here(self, core: Core, name: str, params: Mapping[str, Any], depth: int) -> Any:
        """The result, from the thread of a plain function."""
        target = self._target(name)
        given = wire(params)
        if target.needs_session:
            value = target.run(_run(core, core.session.run_here, depth), given)
        else:
            value = core.session.run_here(_whole(target, core, given, depth), writes=target.writes)
        return _result(target, value)

    async def awaited(self, core: Core, name: str, params: Mapping[str, Any], depth: int) -> Any:
        """The result, on the event loop."""
        target = self._target(name)
        given = wire(params)
        if not target.needs_session:
            value = await core.session.run(_whole(target, core, given, depth), writes=target.writes)
        elif target.function is not None and _is_async(target.function):
            value = await self._handler(core, target, given, depth)
        else:
            run = _run(core, core.session.run_here, depth)
            value = await core.in_thread(lambda: target.run(run, given))
        return _result(target, value)

    async def _handler(self, core: Core, target: Target, given: Mapping[str, Any], depth: int) -> Any:
        assert target.function is not None  # noqa: S101 - who asks has looked
        deeper(depth)
        values = target.accept({name: value for name, value in given.items() if value is not None})
        if target.first is not None:
            await core.session.run(target.first(values), writes=True)
        return target.checked(wire(await target.function(AsyncContext(core, depth + 1), target.plain(values))))

    def _target(self, name: str) -> Target:
        found = self._targets.get(name)
        if found is None:
            there = f"there are {', '.join(self._targets)}" if self._targets else "there are none"
            raise LookupError(f"no method {name!r} can be called; {there}")
        return found


def _is_async(function: Function) -> bool:
    return inspect.iscoroutinefunction(inspect.unwrap(function))


def _run(core: Core, do: Do, depth: int) -> Run:
    return Run(do, core.now, emitted=core.emitted, core=core, depth=depth)


def _whole(target: Target, core: Core, given: Mapping[str, Any], depth: int) -> Callable[[Cursor], Any]:
    """All of a method as one step: if it is refused, what it has written is taken back, and what it emitted."""

    def step(cursor: Cursor) -> Any:
        run = Run(on_cursor(cursor), core.now, depth=depth)
        value = target.run(run, given)
        core.emitted.extend(run.emitted)
        return value

    return step


def _result(target: Target, value: Any) -> Any:
    return value if value is None or target.result is None else target.result(value)


def _called(function: Function, core: Core, params: dict[str, Any], depth: int) -> Any:
    """What a handler answers, from the thread of the flow that calls it."""
    if not _is_async(function):
        return settled(function(Context(core, depth), params))
    waiting: Awaitable[Any] = function(AsyncContext(core, depth), params)
    future = asyncio.run_coroutine_threadsafe(_awaited(waiting), core.loop)
    core.wait_for(future)
    return future.result()


async def _awaited(waiting: Awaitable[Any]) -> Any:
    """A handler in a task of its own, which ends no more than its call."""
    try:
        return await waiting
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as error:
        raise HandlerFailedError(f"the handler raised {type(error).__name__}") from error


def settled(result: Any) -> Any:
    """What a plain function answered. HandlerFailedError where that would still have to be awaited."""
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise HandlerFailedError("the handler returned something to be awaited: make it an `async def`")
    return result
