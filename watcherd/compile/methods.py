"""Methods that run: from the validated parameters of a request to the answer, in one transaction.

Owns putting together what a handler works on. Does not own how it is called (services), what bodies
a method takes (service), nor what its result may be (results).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from watcherd.compile.access import compile_access, plain_parameters
from watcherd.compile.entity import Rules
from watcherd.compile.options import Options
from watcherd.compile.results import Result, compile_result
from watcherd.compile.service import Run, any_has_code, as_attribute, entity_of, is_executable
from watcherd.compile.transitions import StateChange, compile_transition
from watcherd.compile.writes import Keep, Performance
from watcherd.pim.spec import Attribute, LinkedModel, Method, Service
from watcherd.services import EntityAccess, Handlers, Identity, Invocation, Outcome, Plain, Task, run_handler
from watcherd.store import ModelTables, Session
from watcherd.wire import Answer, Call


class Methods:
    """What runs the methods of one revision; entities are made accessible once something needs them."""

    def __init__(
        self,
        linked: LinkedModel,
        tables: ModelTables,
        options: Options,
        handlers: Handlers,
        rules: Mapping[str, Rules],
    ) -> None:
        self._linked = linked
        self._tables = tables
        self._options = options
        self._handlers = handlers
        self._rules = rules
        self._entities: Mapping[str, EntityAccess] = {}
        if any_has_code(linked):
            self._entities = compile_access(linked, tables, options)

    def runner(self, service: Service, method: Method) -> Run | None:
        """What runs a method; None where nothing does."""
        if not is_executable(self._linked, method):
            return None
        name = f"{service.name}.{method.name}"
        transition = compile_transition(name, method, self._linked, self._tables, self._rules)
        if method.handler is None:
            return None if transition is None else transition.prepare
        return HandlerRun(
            name,
            Invocation(self._handlers.functions[method.handler], self._entities, self._options.allowance),
            plain_parameters(self._linked, _attributes(self._linked, method)),
            compile_result(self._linked, name, method),
            self._tables,
            self._options,
            self._linked.spec.name,
            transition,
        ).prepare


class HandlerRun:
    """One method that a handler runs."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a method, put together once
        self,
        name: str,
        invocation: Invocation,
        plain: Mapping[str, Plain],
        result: Result,
        tables: ModelTables,
        options: Options,
        model: str,
        transition: StateChange | None,
    ) -> None:
        self._name = name
        self._invocation = invocation
        self._plain = plain
        self._result = result
        self._tables = tables
        self._options = options
        self._model = model
        self._transition = transition

    def prepare(self, call: Call, values: Mapping[str, Any]) -> Performance:
        """What the handler is to do for a request."""
        params = {
            name: self._plain[name](value) if name in self._plain and value is not None else value
            for name, value in values.items()
        }
        first = None if self._transition is None else self._transition.step(call, values)
        task = Task(self._name, params, Identity(call.identity), call.request_id, self._options.clock(), first)

        async def perform(keep: Keep | None) -> Answer:
            async def finish(outcome: Outcome, session: Session) -> tuple[Answer, Outcome]:
                answer = self._result(outcome.value)
                if keep is not None:
                    await session.run(lambda cursor: keep(cursor, answer), writes=True)
                return answer, outcome

            answer, outcome = await run_handler(self._invocation, task, self._tables.interact, finish)
            for event, payload in outcome.emitted:
                self._options.feeds.announce(self._model, event, payload)
            return answer

        return Performance(perform)


def _attributes(linked: LinkedModel, method: Method) -> dict[str, Attribute | tuple[Attribute, ...]]:
    """The attributes of each parameter: those of its entity, or it as one."""
    found: dict[str, Attribute | tuple[Attribute, ...]] = {}
    for parameter in method.parameters:
        entity = entity_of(linked.spec, parameter)
        found[parameter.name] = tuple(entity.attributes.values()) if entity is not None else as_attribute(parameter)
    return found
