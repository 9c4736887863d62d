"""Flows that run: steps compiled once for a method, done one after the other in one transaction.

Owns the order of the steps; what each does is in `steps`, what they share in a run in `runs`. A flow
runs as one function over a cursor, so it needs no thread of its own, and on SQLite it shares its commit
with other writes; one that calls a handler (see `calls`) takes its steps in the session that the handler
has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from watcherd.errors import InvalidExpressionError
from watcherd.expressions import Expression, compile_expression
from watcherd.pim.flow_spec import Flow, Step
from watcherd.pim.flow_types import Slot, Walk, first_step, successors
from watcherd.pim.spec import Method, ModelSpec
from watcherd.services.access import EntityAccess
from watcherd.services.runs import Callee, Node, Returned, Run, Values, perform
from watcherd.services.steps import StepMaker


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
    maker = StepMaker(walk.expressions, access, callee)
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
