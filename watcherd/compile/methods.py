"""Methods that run: from the validated parameters of a request to the answer, in one transaction.

Owns putting together what a handler or a flow works on, and who may see the trace of a flow. Does not
own how they are run (services), what bodies a method takes (service), nor what its result may be
(results).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic_core import to_json

from watcherd import problems
from watcherd.compile.access import compile_access, plain_parameters
from watcherd.compile.deletions import Deletions
from watcherd.compile.entity import Rules
from watcherd.compile.options import Options
from watcherd.compile.query import parameters, refuse_parameters, refused
from watcherd.compile.results import Result, compile_result
from watcherd.compile.service import (
    MethodEndpoint,
    Run,
    any_has_code,
    as_attribute,
    compile_method,
    entity_of,
    is_executable,
)
from watcherd.compile.transitions import StateChange, compile_transition
from watcherd.compile.writes import Keep, Performance
from watcherd.pim.flow_types import method_of
from watcherd.pim.spec import Attribute, LinkedModel, Method, Service
from watcherd.problems import Finding, Problem
from watcherd.services import (
    Callee,
    CompiledFlow,
    EntityAccess,
    FlowRun,
    Handlers,
    Identity,
    Invocation,
    Outcome,
    Plain,
    Task,
    compile_flow,
    run_handler,
)
from watcherd.store import Cursor, ModelTables, Session
from watcherd.wire import Answer, Call


class Methods:
    """What runs the methods of one revision; entities are made accessible once something needs them."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a revision that methods work on
        self,
        linked: LinkedModel,
        tables: ModelTables,
        options: Options,
        handlers: Handlers,
        rules: Mapping[str, Rules],
        deletions: Deletions,
    ) -> None:
        self._linked = linked
        self._tables = tables
        self._options = options
        self._handlers = handlers
        self._rules = rules
        self._flows: dict[str, CompiledFlow] = {}
        self._entities: Mapping[str, EntityAccess] = {}
        if any_has_code(linked):
            self._entities = compile_access(linked, tables, options, rules, deletions)

    def endpoint(self, service: Service, method: Method) -> MethodEndpoint:
        """The endpoint of a method."""
        run = self._runner(f"{service.name}.{method.name}", method)
        return compile_method(self._linked, service, method, self._options.clock, run)

    def _runner(self, name: str, method: Method) -> Run | None:
        """What runs a method; None where nothing does."""
        if not is_executable(self._linked, method):
            return None
        transition = compile_transition(name, method, self._linked, self._tables, self._rules)
        if transition is not None and method.handler is None and method.flow is None:
            return transition.prepare
        parts = Parts(
            name,
            self._linked.spec.name,
            compile_result(self._linked, name, method),
            transition,
            self._tables,
            self._options,
        )
        if method.handler is None:
            return FlowMethod(parts, self._flow(name, method)).prepare
        invocation = Invocation(self._handlers.functions[method.handler], self._entities, self._options.allowance)
        return HandlerMethod(
            parts, invocation, plain_parameters(self._linked, _attributes(self._linked, method))
        ).prepare

    def _flow(self, name: str, method: Method) -> CompiledFlow:
        """The flow of a method, and of those that it calls; no flow comes back to itself."""
        if name not in self._flows:
            spec = self._linked.spec
            flow = spec.flows[method.flow or ""]
            self._flows[name] = compile_flow(flow, method, spec, self._entities, self._callee)
        return self._flows[name]

    def _callee(self, target: str) -> tuple[Callee, bool]:
        """What runs a method that a step calls, and whether that may change anything."""
        spec = self._linked.spec
        method = method_of(target, spec.services)
        assert method is not None  # noqa: S101 - the model was found sound
        flow = self._flow(target, method)
        service = spec.services[target.rpartition(".")[0]]
        endpoint = compile_method(self._linked, service, method, self._options.clock)
        transition = compile_transition(target, method, self._linked, self._tables, self._rules)
        promised = None if method.returns is None else compile_result(self._linked, target, method)

        def callee(run: FlowRun, given: Mapping[str, Any]) -> Any:
            values = endpoint.accepted({name: value for name, value in given.items() if value is not None})
            if transition is not None:
                transition.step_at(None, values)(run.cursor)
            value = flow.run(run, values)
            if promised is not None and value is not None:
                promised(value)  # the caller was checked against what the method says that it returns
            return value

        return callee, flow.writes or transition is not None


@dataclass(frozen=True, slots=True)
class Parts:
    """What all methods consist of: the name, the (folded) model, what is made of a result, a change of state first."""

    name: str
    model: str
    result: Result
    transition: StateChange | None
    tables: ModelTables
    options: Options

    def first(self, call: Call, values: Mapping[str, Any]) -> Callable[[Cursor], object] | None:
        """What is done before anything else, in the same transaction. Raises `Problem`."""
        return None if self.transition is None else self.transition.step(call, values)

    def tell(self, emitted: Iterable[tuple[str, Any]]) -> None:
        """Tell what was emitted: it is committed by now."""
        for event, payload in emitted:
            self.options.feeds.announce(self.model, event, payload)


class FlowMethod:
    """One method that a flow runs."""

    def __init__(self, parts: Parts, flow: CompiledFlow) -> None:
        self._parts = parts
        self._flow = flow

    def prepare(self, call: Call, values: Mapping[str, Any]) -> Performance:
        """What the flow is to do for a request."""
        shown = self._wants_trace(call)
        logged = logging.getLogger("watcherd.flow").isEnabledFor(logging.DEBUG)
        first, tables = self._parts.first(call, values), self._parts.tables

        async def perform(keep: Keep | None) -> Answer:
            def work(cursor: Cursor) -> tuple[Answer, FlowRun]:
                run = FlowRun(cursor, self._parts.options.clock(), trace=[] if shown or logged else None)
                if first is not None:
                    first(cursor)
                answer = self._answer(run, values, shown=shown)
                if keep is not None:
                    keep(cursor, answer)
                return answer, run

            writes = self._flow.writes or keep is not None or first is not None
            answer, run = await (tables.transact(work) if writes else tables.read(work))
            if logged:
                self._log(run.trace or ())
            self._parts.tell(run.emitted)
            return answer

        return Performance(perform)

    def _answer(self, run: FlowRun, values: Mapping[str, Any], *, shown: bool) -> Answer:
        try:
            answer = self._parts.result(self._flow.run(run, values))
        except Problem as problem:
            if not shown:
                raise
            extra = {**problem.extra, "trace": run.trace}
            raise Problem(
                problem.type, problem.detail, errors=problem.errors, headers=problem.headers, extra=extra
            ) from problem
        if not shown:
            return answer
        return Answer(200, b'{"result":%s,"trace":%s}' % (answer.body or b"null", to_json(run.trace)))

    def _wants_trace(self, call: Call) -> bool:
        """Whether the answer is to have the trace. Raises `Problem`: 400, 403."""
        if not call.query:
            return False
        given = parameters(call.query)
        unknown = [
            Finding(name, "unknown", f"there is no parameter {name} here") for name, _ in given if name != "trace"
        ]
        if unknown or len(given) > 1 or given[0][1] not in {"true", "false"}:
            raise refused(unknown or [Finding("trace", "value", "trace: expected true or false, once")])
        if given[0][1] == "false":
            return False
        if not call.asks(self._parts.options.may_trace):
            raise Problem(problems.FORBIDDEN, "a trace shows what a flow has read: it is for those who may administer")
        return True

    def _log(self, trace: Sequence[Mapping[str, Any]]) -> None:
        log = structlog.stdlib.get_logger("watcherd.flow")
        for entry in trace:
            log.debug("flow.step", method=self._parts.name, step=entry["step"], does=entry["does"], ms=entry["ms"])


class HandlerMethod:
    """One method that a handler runs."""

    def __init__(self, parts: Parts, invocation: Invocation, plain: Mapping[str, Plain]) -> None:
        self._parts = parts
        self._invocation = invocation
        self._plain = plain

    def prepare(self, call: Call, values: Mapping[str, Any]) -> Performance:
        """What the handler is to do for a request."""
        refuse_parameters(call.query)
        params = {
            name: self._plain[name](value) if name in self._plain and value is not None else value
            for name, value in values.items()
        }
        parts = self._parts
        first, now = parts.first(call, values), parts.options.clock()
        task = Task(parts.name, params, Identity(call.identity), call.request_id, now, first)

        async def perform(keep: Keep | None) -> Answer:
            async def finish(outcome: Outcome, session: Session) -> tuple[Answer, Outcome]:
                answer = parts.result(outcome.value)
                if keep is not None:
                    await session.run(lambda cursor: keep(cursor, answer), writes=True)
                return answer, outcome

            answer, outcome = await run_handler(self._invocation, task, parts.tables.interact, finish)
            parts.tell(outcome.emitted)
            return answer

        return Performance(perform)


def _attributes(linked: LinkedModel, method: Method) -> dict[str, Attribute | tuple[Attribute, ...]]:
    """The attributes of each parameter: those of its entity, or it as one."""
    found: dict[str, Attribute | tuple[Attribute, ...]] = {}
    for parameter in method.parameters:
        entity = entity_of(linked.spec, parameter)
        found[parameter.name] = tuple(entity.attributes.values()) if entity is not None else as_attribute(parameter)
    return found
