"""Running the code of a method: in one transaction, within its time, wherever it has to run.

Owns the time limit, the threads of plain functions and what becomes of what a handler raises. A
function in a thread cannot be stopped: when its time is over its transaction is undone, nobody
waits for it any more, and until it returns it counts against the threads that there may be.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

import structlog

from watcherd import problems
from watcherd.problems import Problem
from watcherd.services.access import EntityAccess
from watcherd.services.calls import settled
from watcherd.services.context import AsyncContext, Calls, Context, Core, Identity
from watcherd.services.threads import HandlerFailedError, in_thread
from watcherd.store import Body, Cursor, Session

T = TypeVar("T")
Interact = Callable[[Body[T]], Awaitable[T]]

MAX_THREADS: Final = 32


class Allowance:
    """What handlers may use: `seconds` for each call, and `threads` for all plain functions together."""

    def __init__(self, seconds: float = 30.0, threads: int = MAX_THREADS) -> None:
        self.seconds = seconds
        self._threads = threads
        self._running = 0
        self._lock = threading.Lock()

    def take(self) -> None:
        """Count a thread in. Raises `Problem` 503."""
        with self._lock:
            if self._running >= self._threads:
                raise Problem(
                    problems.UNAVAILABLE,
                    f"{self._threads} handlers are running in threads already",
                    headers={"retry-after": "1"},
                )
            self._running += 1

    def give(self) -> None:
        """Count a thread out."""
        with self._lock:
            self._running -= 1


@dataclass(frozen=True, slots=True)
class Task:
    """One request to a method: `params` in Python's types; `name` as people know the method.

    `first` is done before its code runs, in the same transaction: the method's transition.
    """

    name: str
    params: Mapping[str, Any]
    identity: Identity
    request_id: str
    now: datetime
    first: Callable[[Cursor], Any] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call: its value, as the handler returned it, and what it emitted."""

    value: Any
    emitted: tuple[tuple[str, Any], ...]


Code = Callable[[Core, dict[str, Any]], Awaitable[Any]]
"""What stands behind a method: a handler, or a flow that calls one; given the parameters."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """The code of a method with what it works on; made once for each method of a revision."""

    code: Code
    entities: Mapping[str, EntityAccess]
    calls: Calls
    allowance: Allowance


Finish = Callable[[Outcome, Session], Awaitable[T]]
"""What is made of the outcome, still inside of the transaction: what it raises undoes everything."""


async def run_code(invocation: Invocation, task: Task, interact: Interact[T], finish: Finish[T]) -> T:
    """Run the code of a method and answer what `finish` makes of it, once all is committed.

    Raises what the handler raises; `Problem` 503 when it took too long; ContendedError.
    """
    log = structlog.stdlib.get_logger("watcherd.handler").bind(method=task.name)

    async def body(session: Session) -> T:
        if task.first is not None:
            await session.run(task.first, writes=True)
        core = Core(
            invocation.entities,
            session,
            task.identity,
            task.request_id,
            task.now,
            log,
            invocation.calls,
            partial(_in_thread, invocation.allowance),
        )
        try:
            value = await invocation.code(core, dict(task.params))
        finally:
            core.give_up()
        return await finish(Outcome(value, tuple(core.emitted)), session)

    try:
        async with asyncio.timeout(invocation.allowance.seconds) as limit:
            return await interact(body)
    except TimeoutError as error:
        if not limit.expired():
            raise
        seconds = invocation.allowance.seconds
        log.warning("handler.timeout", seconds=seconds)
        message = f"{task.name} did not end within {seconds:g} seconds; nothing was written"
        raise Problem(problems.METHOD_TIMEOUT, message, headers={"retry-after": "1"}) from error


def handler(function: Callable[..., Any]) -> Code:
    """A handler as code."""
    is_async = inspect.iscoroutinefunction(inspect.unwrap(function))

    async def in_thread(core: Core, params: dict[str, Any]) -> Any:
        return await core.in_thread(lambda: settled(function(Context(core), params)))

    async def code(core: Core, params: dict[str, Any]) -> Any:
        try:
            return await function(AsyncContext(core), params)
        except Exception:
            raise
        except BaseException as error:
            # A cancellation that nobody asked for is of a task of the handler's own: it ends no more than its request.
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            raise HandlerFailedError(f"the handler raised {type(error).__name__}") from error

    return code if is_async else in_thread


def _is_cancelled() -> bool:
    """Whether somebody wants the request to end: its client is gone, or its time is over."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _in_thread(allowance: Allowance, call: Callable[[], Any]) -> Any:
    """What `call` answers, from a thread."""
    allowance.take()
    try:
        done = in_thread(call, "watcherd-handler", allowance.give)
    except RuntimeError:  # no thread to be had
        allowance.give()
        raise
    return await done
