"""Methods that run: from the validated parameters of a request to the answer, in one transaction.

Owns putting together what a handler or a flow works on, and who may see the trace of a flow. Does not
own how they are run (services), what bodies a method takes (service), nor what its result may be
(results).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from pydantic_core import to_json

from watcherd import problems
from watcherd.compile.access import compile_access, plain_parameters
from watcherd.compile.carried import Part, carried, method_sight
from watcherd.compile.deletions import Deletions
from watcherd.compile.entity import Rules
from watcherd.compile.options import Options
from watcherd.compile.query import parameters, refuse_parameters, refused
from watcherd.compile.results import Result, compile_result
from watcherd.compile.service import (
    MethodBody,
    MethodEndpoint,
    Run,
    any_has_code,
    as_attribute,
    compile_body,
    compile_method,
    entity_of,
    everybody,
    is_executable,
)
from watcherd.compile.transitions import StateChange, compile_transition
from watcherd.compile.writes import Admit, Keep, Performance
from watcherd.pim.flow_types import method_of
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Attribute, Method, Parameter, Service
from watcherd.problems import Finding, Problem
from watcherd.services import (
    Calls,
    Code,
    CompiledFlow,
    Core,
    EntityAccess,
    FlowRun,
    Handlers,
    Identity,
    Invocation,
    Outcome,
    Plain,
    Target,
    Task,
    compile_flow,
    handler,
    on_cursor,
    plain_values,
    run_code,
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
        known: Mapping[str, Part[MethodBody]],
    ) -> None:
        """`known` are the bodies of the methods of the last revision."""
        self.bodies: dict[str, Part[MethodBody]] = {}
        self._known = known
        self._linked = linked
        self._tables = tables
        self._options = options
        self._handlers = handlers
        self._rules = rules
        self._flows: dict[str, CompiledFlow] = {}
        self._targets: dict[str, Target] = {}
        self._calls = Calls(self._targets)
        self._entities: Mapping[str, EntityAccess] = {}
        if any_has_code(linked):
            self._entities = compile_access(linked, tables, options, rules, deletions)
        if linked.code.files:
            # A handler says what it calls only when it does.
            for service in linked.spec.services.values():
                for method in service.methods:
                    if is_executable(linked, method):
                        self._target(f"{service.name}.{method.name}")

    def endpoint(self, service: Service, method: Method) -> MethodEndpoint:
        """The endpoint of a method."""
        name = f"{service.name}.{method.name}"
        run, admit = self._runner(name, method) if is_executable(self._linked, method) else (None, everybody)
        return compile_method(self._linked, service, method, self._body(name, method), self._options.clock, run, admit)

    def _body(self, name: str, method: Method) -> MethodBody:
        """What the body of a method may say."""
        if name not in self.bodies:
            sight = method_sight(self._linked, method)
            known = self._known.get(name)
            self.bodies[name] = carried(sight, known, lambda seen: compile_body(self._linked, seen.method))
        return self.bodies[name].made

    def _runner(self, name: str, method: Method) -> tuple[Run, Admit]:
        """What runs a method, and what says whether a call may be made at all."""
        transition = compile_transition(name, method, self._linked, self._tables, self._rules)
        if transition is not None and method.handler is None and method.flow is None:
            return transition.prepare, everybody
        parts = Parts(
            name,
            self._linked.spec.name,
            compile_result(self._linked, name, method),
            transition,
            self._tables,
            self._options,
        )
        if method.handler is None:
            flow = self._flow(name, method)
            follows = FlowMethod(parts, flow, self._invocation if flow.needs_session else None)
            return follows.prepare, follows.wants_trace
        invocation = self._invocation(handler(self._handlers.functions[method.handler]))
        return HandlerMethod(parts, invocation, self._plain(method)).prepare, everybody

    def _invocation(self, code: Code) -> Invocation:
        return Invocation(code, self._entities, self._calls, self._options.allowance)

    def _plain(self, method: Method) -> Mapping[str, Plain]:
        """How the wire values of a method's parameters come to Python."""
        return plain_parameters(self._linked, _attributes(self._linked, method.parameters))

    def _flow(self, name: str, method: Method) -> CompiledFlow:
        """The flow of a method, and of those that it calls; no flow comes back to itself."""
        if name not in self._flows:
            spec = self._linked.spec
            flow = spec.flows[method.flow or ""]
            self._flows[name] = compile_flow(flow, method, spec, self._entities, self._target)
        return self._flows[name]

    def _target(self, name: str) -> Target:
        """A method as other methods see it."""
        if name in self._targets:
            return self._targets[name]
        linked, spec = self._linked, self._linked.spec
        method = method_of(name, spec.services)
        assert method is not None  # noqa: S101 - the model was found sound
        service = spec.services[name.rpartition(".")[0]]
        endpoint = compile_method(linked, service, method, self._body(name, method), self._options.clock)
        transition = compile_transition(name, method, linked, self._tables, self._rules)
        bare = method.handler is None and method.flow is None
        target = self._targets[name] = Target(
            name=name,
            accept=endpoint.accepted,
            first=None if transition is None else partial(transition.step_at, None),
            flow=None if bare or method.handler is not None else self._flow(name, method),
            function=None if method.handler is None else self._handlers.functions[method.handler],
            given=self._plain(method),
            answers=bare and method.returns is not None,
            promised=None if method.returns is None else compile_result(linked, name, method),
            result=self._result(method),
        )
        return target

    def _result(self, method: Method) -> Plain | None:
        """How the result of a method comes to Python."""
        if method.returns is None:
            return None
        result = Parameter(name="result", type=method.returns)
        return plain_parameters(self._linked, _attributes(self._linked, [result])).get("result")


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

    def task(self, call: Call, values: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> Task:
        """What the code behind it is to do for a request; `params` are what it is given, if not the wire `values`."""
        now = self.options.clock()
        given = values if params is None else params
        return Task(self.name, given, Identity(call.identity), call.request_id, now, self.first(call, values))

    async def perform(
        self, invocation: Invocation, task: Task, keep: Keep | None, answered: Callable[[Any], Answer]
    ) -> Answer:
        """The answer that is made of what the code came to, once all is committed and told."""

        async def finish(outcome: Outcome, session: Session) -> tuple[Answer, Outcome]:
            answer = answered(outcome.value)
            if keep is not None:
                await session.run(lambda cursor: keep(cursor, answer), writes=True)
            return answer, outcome

        answer, outcome = await run_code(invocation, task, self.tables.interact, finish)
        self.tell(outcome.emitted)
        return answer

    def tell(self, emitted: Iterable[tuple[str, Any]]) -> None:
        """Tell what was emitted: it is committed by now."""
        for event, payload in emitted:
            self.options.feeds.announce(self.model, event, payload)


class FlowMethod:
    """One method that a flow runs; where it calls handlers, `invoked` makes an invocation of code."""

    def __init__(self, parts: Parts, flow: CompiledFlow, invoked: Callable[[Code], Invocation] | None) -> None:
        self._parts = parts
        self._flow = flow
        self._invoked = invoked

    def prepare(self, call: Call, values: Mapping[str, Any]) -> Performance:
        """What the flow is to do for a request."""
        shown = self.wants_trace(call)
        logged = logging.getLogger("watcherd.flow").isEnabledFor(logging.DEBUG)
        first, tables = self._parts.first(call, values), self._parts.tables
        if self._invoked is not None:
            return self._in_session(self._invoked, self._parts.task(call, values), shown=shown, logged=logged)

        async def perform(keep: Keep | None) -> Answer:
            def work(cursor: Cursor) -> tuple[Answer, FlowRun]:
                now = self._parts.options.clock()
                run = FlowRun(on_cursor(cursor), now, trace=[] if shown or logged else None)
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

    def _in_session(
        self, invoked: Callable[[Code], Invocation], task: Task, *, shown: bool, logged: bool
    ) -> Performance:
        """The flow in a thread: there it waits for its steps, and for handlers on the event loop."""
        trace: list[dict[str, Any]] = []

        async def code(core: Core, params: Mapping[str, Any]) -> Answer:
            trace.clear()  # of a try that was undone
            run = FlowRun(
                core.session.run_here,
                core.now,
                emitted=core.emitted,
                trace=trace if shown or logged else None,
                core=core,
            )
            answer: Answer = await core.in_thread(lambda: self._answer(run, params, shown=shown))
            return answer

        async def perform(keep: Keep | None) -> Answer:
            answer = await self._parts.perform(invoked(code), task, keep, lambda came: came)
            if logged:
                self._log(trace)
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

    def wants_trace(self, call: Call) -> bool:
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
        task = self._parts.task(call, values, plain_values(values, self._plain))

        async def perform(keep: Keep | None) -> Answer:
            return await self._parts.perform(self._invocation, task, keep, self._parts.result)

        return Performance(perform)


def _attributes(linked: LinkedModel, parameters: Iterable[Parameter]) -> dict[str, Attribute | tuple[Attribute, ...]]:
    """The attributes of each parameter: those of its entity, or it as one."""
    found: dict[str, Attribute | tuple[Attribute, ...]] = {}
    for parameter in parameters:
        entity = entity_of(linked.spec, parameter)
        found[parameter.name] = tuple(entity.attributes.values()) if entity is not None else as_attribute(parameter)
    return found
