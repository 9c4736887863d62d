"""Flows that run: steps compiled once for a method, done one after the other in one transaction.

Owns what each step does, and the bounds: at most `MAX_STEPS` steps and `MAX_SECONDS`. All values are
wire values; expressions are exact inside. A flow runs as one function over a cursor, so it needs no
thread of its own, and on SQLite it shares its commit with other writes; one that calls a handler (see
`calls`) takes its steps in the session that the handler has. It may be run again from its start, so
it keeps nothing but what is in its `Run`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

from pydantic_core import to_json

from watcherd import problems
from watcherd.errors import EvaluationError, InvalidExpressionError
from watcherd.expressions import Expression, compile_expression
from watcherd.pim.flow_types import BRACED, Slot, Walk, first_step, successors
from watcherd.pim.spec import Binding, Flow, Method, ModelSpec, Step
from watcherd.problems import Problem
from watcherd.services.access import EntityAccess
from watcherd.services.context import MAX_EMITTED, Core, refusal
from watcherd.store import HOLD_SECONDS, Cursor, Row

MAX_STEPS: Final = 10_000
MAX_SECONDS: Final = HOLD_SECONDS

_WRITES: Final = frozenset({"create", "update", "delete"})

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
            raise _over(f"it takes over {MAX_STEPS} steps")
        if time.monotonic() > self.deadline:
            raise _over(f"it takes over {MAX_SECONDS:g} seconds")


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


class CompiledFlow:
    """A flow for one method.

    `writes` says whether it may change anything, `needs_session` whether it calls a handler.
    """

    def __init__(self, name: str, first: str, nodes: Mapping[str, Node], *, writes: bool, needs_session: bool) -> None:
        self.name = name
        self.writes = writes
        self.needs_session = needs_session
        self._first = first
        self._nodes = nodes

    def run(self, run: Run, parameters: Mapping[str, Any]) -> Any:
        """The result of the flow. Raises `Problem`, and what the database refuses."""
        values = Values(parameters)
        at: str | None = self._first
        while at is not None:
            node = self._nodes[at]
            came = perform(node, run, values)
            if isinstance(came, Returned):
                return came.value
            at = node.following.get(came)
        return None


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


def compile_flow(
    flow: Flow,
    method: Method,
    spec: ModelSpec,
    access: Mapping[str, EntityAccess],
    callee: Callable[[str], Callee],
) -> CompiledFlow:
    """Compile a flow for a method that follows it; the model was found sound.

    `callee` answers what runs a method (`Service.method`).
    """
    walk = Walk(flow, method, spec.entities, spec.services, _compiled, _sound)
    walk.run()
    maker = _Maker(walk.expressions, access, callee)
    nodes = {}
    for place, step in enumerate(flow.steps):
        if step.id not in walk.reached:
            continue
        act = _pass if step.binding is None else maker.act(("steps", place), step.binding, step.id)
        guard = walk.expressions.get(("steps", place, "when")) if step.binding is not None else None
        does = "pass" if step.binding is None else step.binding.does
        nodes[step.id] = Node(step.id, does, act, guard, dict(_following(flow, step)))
    first = first_step(flow).id
    return CompiledFlow(flow.name, first, nodes, writes=maker.writes, needs_session=maker.needs_session)


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


def _over(reason: str) -> Problem:
    return Problem(
        problems.METHOD_TIMEOUT, f"the flow was given up: {reason}; nothing was written", headers={"retry-after": "1"}
    )


def _pass(run: Run, values: Values) -> None:
    """A step that only marks a place."""


def _following(flow: Flow, step: Step) -> Iterator[tuple[str | None, str]]:
    """Where each outcome leads; one that leads to the implied end leads nowhere."""
    named = successors(flow, step)
    lowered = {name.lower(): name for name in named}
    for outcome, name in step.next:
        actual = name if name in named else lowered.get(name.lower())
        if actual is not None:
            binding = step.binding
            yield (outcome if binding is not None and binding.does == "when" else None), actual


def _compiled(*given: Any) -> Expression | None:
    _, text, scope, expects, _, _ = given
    try:
        return compile_expression(text, scope, expects)
    except InvalidExpressionError as error:  # the model was found sound
        raise AssertionError(f"{text!r} is no expression any more: {error}") from error


def _sound(code: str, slot: Slot, message: str, hint: str | None) -> None:
    raise AssertionError(f"{code} at {slot}: {message} ({hint}), in a model that was found sound")


class _Maker:
    """Makes what each step does of its binding and its compiled expressions."""

    def __init__(
        self,
        expressions: Mapping[Slot, Expression],
        access: Mapping[str, EntityAccess],
        callee: Callable[[str], Callee],
    ) -> None:
        self.writes = False
        self.needs_session = False
        self._expressions = expressions
        self._access = access
        self._callee = callee

    def act(self, at: Slot, binding: Binding, name: str) -> Act:
        """What a step does."""
        self.writes |= binding.does in _WRITES
        make = getattr(self, f"_{binding.does}")
        made: Act = make(at, binding, name)
        return made

    def _evaluate(self, slot: Slot) -> Callable[[Run, Values], Any]:
        expression = self._expressions[slot]
        return lambda run, values: expression.evaluate(values, run.now)

    def _named(self, at: Slot, key: str, binding: Binding) -> Callable[[Run, Values], dict[str, Any]]:
        found = [(name, self._expressions[*at, key, name]) for name, _ in binding.values]
        return lambda run, values: {name: one.evaluate(values, run.now) for name, one in found}

    def _get(self, at: Slot, binding: Binding, name: str) -> Act:  # noqa: ARG002 - as every maker
        access, key = self._access[binding.target], self._evaluate((*at, "key"))

        def act(run: Run, values: Values) -> None:
            wanted = key(run, values)
            values.inputs = {"key": wanted}
            row = run.do(access.get(wanted))
            if row is None and not binding.optional:
                raise Problem(problems.NO_SUCH_ROW, f"{access.name} has no row {str(wanted)!r}")
            values[binding.name or ""] = None if row is None else row.values

        return act

    def _find(self, at: Slot, binding: Binding, name: str) -> Act:  # noqa: ARG002 - as above
        access, where = self._access[binding.target], self._named(at, "where", binding)

        def act(run: Run, values: Values) -> None:
            values.inputs = conditions = where(run, values)
            rows = run.do(access.find(conditions, sort=binding.sort, limit=binding.limit, skip=0))
            values[binding.name or ""] = [row.values for row in rows]

        return act

    def _body(self, at: Slot, binding: Binding) -> Callable[[Run, Values], Mapping[str, Any]]:
        """What a row is made of: values by name, or an object as a whole."""
        if binding.expression is None:
            return self._named(at, "values", binding)
        whole = self._evaluate((*at, "values"))

        def body(run: Run, values: Values) -> Mapping[str, Any]:
            found = whole(run, values)
            if not isinstance(found, Mapping):
                raise EvaluationError("the values of a row have to be an object")
            return found

        return body

    def _create(self, at: Slot, binding: Binding, name: str) -> Act:  # noqa: ARG002 - as above
        access, body = self._access[binding.target], self._body(at, binding)

        def act(run: Run, values: Values) -> None:
            values.inputs = given = body(run, values)
            _bind(binding, values, run.do(access.create(given), writes=True))

        return act

    def _update(self, at: Slot, binding: Binding, name: str) -> Act:  # noqa: ARG002 - as above
        access, key, body = self._access[binding.target], self._evaluate((*at, "key")), self._body(at, binding)

        def act(run: Run, values: Values) -> None:
            wanted, given = key(run, values), body(run, values)
            values.inputs = {"key": wanted, **given}
            _bind(binding, values, run.do(access.update(wanted, given, version=None), writes=True))

        return act

    def _delete(self, at: Slot, binding: Binding, name: str) -> Act:  # noqa: ARG002 - as above
        access, key = self._access[binding.target], self._evaluate((*at, "key"))

        def act(run: Run, values: Values) -> None:
            wanted = key(run, values)
            values.inputs = {"key": wanted}
            run.do(access.delete(wanted, version=None), writes=True)

        return act

    def _set(self, at: Slot, binding: Binding, name: str) -> Act:  # noqa: ARG002 - as above
        found = [(one, self._expressions[*at, "set", one]) for one, _ in binding.values]

        def act(run: Run, values: Values) -> None:
            for one, expression in found:  # in order: one may speak of those before it
                values[one] = expression.evaluate(values, run.now)
            values.inputs = {one: values[one] for one, _ in found}

        return act

    def _each(self, at: Slot, binding: Binding, name: str) -> Act:
        listed, item = self._evaluate((*at, "each")), binding.name or ""
        nodes = [
            Node(step.id, step.binding.does, self.act((*at, "do", place), step.binding, step.id),
                 self._expressions.get((*at, "do", place, "when")), {})
            for place, step in enumerate(binding.steps)
            if step.binding is not None
        ]  # fmt: skip

        def act(run: Run, values: Values) -> Any:
            items = listed(run, values)
            if items is not None and (isinstance(items, str) or not isinstance(items, Sequence)):
                raise EvaluationError(f"{name} goes through a list")
            for one in items or ():
                run.count()
                values[item] = one
                for node in nodes:
                    came = perform(node, run, values)
                    if isinstance(came, Returned):
                        return came
            values.pop(item, None)
            values.inputs = {"items": len(items or ())}
            return None

        return act

    def _assert(self, at: Slot, binding: Binding, name: str) -> Act:
        condition = self._expressions[*at, "assert"]
        message = self._message(at, binding.message) if binding.message is not None else None
        code, status = binding.code or "assertion", binding.status or 422

        def act(run: Run, values: Values) -> None:
            if condition.holds(values, run.now) is not True:
                told = f"{name} does not hold: {binding.expression}" if message is None else message(run, values)
                raise refusal(code, told, status=status, pointer=binding.pointer)

        return act

    def _raise(self, at: Slot, binding: Binding, name: str) -> Act:  # noqa: ARG002 - as above
        message = self._message(at, binding.message or "")

        def act(run: Run, values: Values) -> None:
            told = message(run, values)
            raise refusal(binding.target, told, status=binding.status or 409, pointer=binding.pointer)

        return act

    def _return(self, at: Slot, binding: Binding, name: str) -> Act:  # noqa: ARG002 - as above
        result = self._one_or_named(at, "return", binding)
        return lambda run, values: Returned(result(run, values))

    def _emit(self, at: Slot, binding: Binding, name: str) -> Act:  # noqa: ARG002 - as above
        data = self._one_or_named(at, "data", binding)

        def act(run: Run, values: Values) -> None:
            told = data(run, values)
            values.inputs = {"data": told}
            if len(run.emitted) >= MAX_EMITTED:
                raise _over(f"it emits over {MAX_EMITTED} events")
            run.emitted.append((binding.target, told))

        return act

    def _call(self, at: Slot, binding: Binding, name: str) -> Act:  # noqa: ARG002 - as above
        with_ = self._named(at, "with", binding)
        callee = self._callee(binding.target)
        self.writes |= callee.writes
        self.needs_session |= callee.needs_session

        def act(run: Run, values: Values) -> None:
            given = with_(run, values)
            result = callee.run(run, given)
            values.inputs = given
            if binding.name is not None:
                values[binding.name] = result

        return act

    def _when(self, at: Slot, binding: Binding, name: str) -> Act:  # noqa: ARG002 - as above
        conditions = [(outcome, self._expressions[*at, "when", outcome]) for outcome, _ in binding.values]

        def act(run: Run, values: Values) -> str | None:
            for outcome, condition in conditions:
                if condition.holds(values, run.now):
                    return outcome
            return binding.otherwise

        return act

    def _one_or_named(self, at: Slot, key: str, binding: Binding) -> Callable[[Run, Values], Any]:
        if binding.expression is not None:
            return self._evaluate((*at, key))
        if binding.values:
            return self._named(at, key, binding)
        return lambda _run, _values: None

    def _message(self, at: Slot, text: str) -> Callable[[Run, Values], str]:
        """The text with what its expressions answer in their places."""
        pieces: list[str | Expression] = []
        end = 0
        for found in BRACED.finditer(text):
            pieces += [text[end : found.start()], self._expressions[*at, "message", found.start()]]
            end = found.end()
        pieces.append(text[end:])
        return lambda run, values: "".join(
            piece if isinstance(piece, str) else _shown(piece.evaluate(values, run.now)) for piece in pieces
        )


def _bind(binding: Binding, values: Values, row: Row) -> None:
    if binding.name is not None:
        values[binding.name] = row.values


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return to_json(value).decode()
    return "null" if value is None else str(value)
