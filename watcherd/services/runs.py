"""One run of a flow: what its steps share, how one of them is done, and the bounds.

Owns the bounds: at most `MAX_STEPS` steps and `MAX_SECONDS`. A run may be begun again, so nothing of it
is kept but what is in its `Run`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

from watcherd import problems
from watcherd.errors import EvaluationError
from watcherd.expressions import Expression
from watcherd.problems import Problem
from watcherd.services.context import Core, refusal
from watcherd.store import HOLD_SECONDS, Cursor

MAX_STEPS: Final = 10_000
MAX_SECONDS: Final = HOLD_SECONDS

T = TypeVar("T")


class Do(Protocol):
    """Takes a step over a cursor of the transaction."""

    def __call__(self, step: Callable[[Cursor], T], *, writes: bool = False) -> T:
        """What the step answers; it says whether it `writes`."""


def on_cursor(cursor: Cursor) -> Do:
    """Takes steps at once: for what runs inside of a write."""

    def do(step: Callable[[Cursor], T], *, writes: bool = False) -> T:  # noqa: ARG001 - all may write there
        return step(cursor)

    return do


@dataclass(slots=True)
class Run:
    """One run of a flow, those that it calls included. `emitted` is told once everything is committed.

    `trace`, where one is wanted, has an entry for each step that was done. `core` is what handlers that
    it calls share, `depth` how many calls deep it is.
    """

    do: Do
    now: datetime
    emitted: list[tuple[str, Any]] = field(default_factory=list)
    trace: list[dict[str, Any]] | None = None
    core: Core | None = None
    steps: int = 0
    depth: int = 0
    deadline: float = field(default_factory=lambda: time.monotonic() + MAX_SECONDS)

    def count(self) -> None:
        """Note that a step begins. Raises `Problem` 503 over a bound."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise over(f"it takes over {MAX_STEPS} steps")
        if time.monotonic() > self.deadline:
            raise over(f"it takes over {MAX_SECONDS:g} seconds")


@dataclass(frozen=True, slots=True)
class Returned:
    """The end of a flow, with its result."""

    value: Any


class Values(dict[str, Any]):
    """The names that are known in a run of one flow; `inputs` is what the step at hand was given, for traces."""

    inputs: Mapping[str, Any]


Act = Callable[[Run, Values], Any]
"""Does one step: answers `Returned`, the outcome of a decision, or nothing."""


@dataclass(frozen=True, slots=True)
class Node:
    """One step, ready to be done. `following` is the next step by outcome; of an action the outcome is None."""

    id: str
    does: str
    act: Act
    guard: Expression | None
    following: Mapping[str | None, str]


class Callee(Protocol):
    """A method that a step calls."""

    @property
    def writes(self) -> bool:
        """Whether it may change anything."""

    @property
    def needs_session(self) -> bool:
        """Whether a handler is among what it runs."""

    def run(self, run: Run, given: Mapping[str, Any]) -> Any:
        """Its result for wire values of its parameters."""


def perform(node: Node, run: Run, values: Values) -> Any:
    """Do one step; what an expression cannot answer is the client's problem, told with the step."""
    run.count()
    began = time.monotonic() if run.trace is not None else 0.0
    values.inputs = {}
    outcome: Any = "passed over"
    try:
        if node.guard is None or node.guard.holds(values, run.now):
            came = node.act(run, values)
            outcome = came.value if isinstance(came, Returned) else came
        else:
            came = None
    except EvaluationError as error:
        outcome = str(error)
        raise refusal("evaluation", f"step {node.id}: {error}", status=422) from error
    except Problem as problem:
        outcome = problem.detail
        raise
    finally:
        if run.trace is not None:
            ms = round((time.monotonic() - began) * 1000, 3)
            run.trace.append(
                {"step": node.id, "does": node.does, "inputs": dict(values.inputs), "outcome": outcome, "ms": ms}
            )
    return came


def over(reason: str) -> Problem:
    """503 for a flow that is given up."""
    return Problem(
        problems.METHOD_TIMEOUT, f"the flow was given up: {reason}; nothing was written", headers={"retry-after": "1"}
    )
