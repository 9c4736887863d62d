"""Flows that run against the methods that follow them: every finding about their expressions and calls.

Owns where in the file a finding is. What steps know, and of which types, is found out by `flow_types`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from watcherd.errors import InvalidExpressionError
from watcherd.expressions import Expression, Scope, Type, compile_expression
from watcherd.pim.findings import quote
from watcherd.pim.flow_types import Slot, Walk, called, method_of, walks
from watcherd.pim.scopes import fault_span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcherd.pim.flow_spec import Flow
    from watcherd.pim.shapes import Draft
    from watcherd.pim.spec import Entity, Service

_NAMED = frozenset({"where", "values", "with", "set"})
"""Keys below which names are keys: what is wrong with a name is found there."""


def check_flows(
    draft: Draft, flows: Mapping[str, Flow], services: Mapping[str, Service], entities: Mapping[str, Entity]
) -> None:
    """Look at each flow that runs: for each method that follows it, and at what is so for all of them."""
    followed = {}
    for flow, method in walks(flows, services):
        followed[flow.name] = flow
        compile_ = partial(_compiled, draft, flow.name)
        Walk(flow, method, entities, services, compile_, partial(_report, draft, flow.name)).run()
    for flow in followed.values():
        _check_calls(draft, flow, flows, services)
        _check_next(draft, flow)


def _compiled(  # noqa: PLR0913, PLR0917 - an expression, its place, and what it may be
    draft: Draft, flow: str, slot: Slot, text: str, scope: Scope, expects: Type | None, offset: int, whole: str
) -> Expression | None:
    try:
        return compile_expression(text, scope, expects)
    except InvalidExpressionError as fault:
        path = ("flows", flow, *(slot[:-1] if isinstance(slot[-1], int) else slot))
        draft.findings.add("PIM312", fault_span(draft, path, whole, offset + fault.offset), str(fault), fault.hint)
        return None


def _report(  # noqa: PLR0913, PLR0917 - a finding, and the flow that it is about
    draft: Draft, flow: str, code: str, slot: Slot, message: str, hint: str | None
) -> None:
    draft.add(code, ("flows", flow, *slot), message, hint, key=slot[-2] in _NAMED)


def _check_calls(draft: Draft, flow: Flow, flows: Mapping[str, Flow], services: Mapping[str, Service]) -> None:
    """A step calls what runs, and never, by whatever way that the model shows, itself."""
    for place, step in enumerate(flow.steps):
        for target in called([step]):
            method = method_of(target, services)
            if method is None:
                continue
            if method.handler is not None or (method.flow is None and method.transition is not None):
                continue
            followed = None if method.flow is None else flows.get(method.flow)
            at = ("flows", flow.name, "steps", place)
            if followed is None or not followed.is_executable:
                message = f"{quote(target)} cannot be called from a flow: nothing runs it"
                hint = "give it a handler, a transition, or a flow whose steps all say what they do"
                draft.add("PIM433", at, message, hint, key=True)
            elif flow.name in _reached(followed, flows, services):
                message = f"{quote(target)} comes back to this flow: it would never end"
                draft.add("PIM433", at, message, key=True)


def _reached(flow: Flow, flows: Mapping[str, Flow], services: Mapping[str, Service]) -> set[str]:
    """The flows that a flow runs, itself included."""
    found: set[str] = set()
    waiting = [flow]
    while waiting:
        one = waiting.pop()
        if one.name in found:
            continue
        found.add(one.name)
        methods = (method_of(target, services) for target in called(one.steps))
        names = (method.flow for method in methods if method is not None and method.handler is None)
        waiting += [flows[name] for name in names if name is not None and name in flows]
    return found


def _check_next(draft: Draft, flow: Flow) -> None:
    """An action has one successor; only a decision has several."""
    for place, step in enumerate(flow.steps):
        if step.binding is None or step.binding.does == "when" or len(step.next) <= 1:
            continue
        at = ("flows", flow.name, "steps", place, "next")
        message = f"{quote(step.id)} does not decide: one step follows it, not {len(step.next)}"
        draft.add("PIM431", at, message, "make a decision of it, with conditions in `when`", key=True)
