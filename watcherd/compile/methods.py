"""Methods that run: from the validated parameters of a request to the answer, in one transaction.

Owns putting together what a handler works on. Does not own how it is called (services), what bodies
a method takes (service), nor what its result may be (results).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from watcherd.compile.access import compile_access, plain_parameters
from watcherd.compile.options import Options
from watcherd.compile.results import Result, compile_result
from watcherd.compile.service import Run, as_attribute, entity_of, has_executable, is_executable
from watcherd.compile.writes import Keep, Performance
from watcherd.pim.spec import Attribute, LinkedModel, Method, Service
from watcherd.services import EntityAccess, Handlers, Identity, Invocation, Outcome, Plain, Task, run_handler
from watcherd.store import ModelTables, Session
from watcherd.wire import Answer, Call


class Methods:
    """What runs the methods of one revision; entities are made accessible once something needs them."""

    def __init__(self, linked: LinkedModel, tables: ModelTables, options: Options, handlers: Handlers) -> None:
        self._linked = linked
        self._tables = tables
        self._options = options
        self._handlers = handlers
        self._entities: Mapping[str, EntityAccess] = {}
        if has_executable(linked):
            self._entities = compile_access(linked, tables, options)

    def runner(self, service: Service, method: Method) -> Run | None:
        """What runs a method; None where nothing does."""
        if not is_executable(self._linked, method):
            return None
        assert method.handler is not None  # noqa: S101 - that is what makes it executable
        name = f"{service.name}.{method.name}"
        return HandlerRun(
            name,
            Invocation(self._handlers.functions[method.handler], self._entities, self._options.allowance),
            plain_parameters(self._linked, _attributes(self._linked, method)),
            compile_result(self._linked, name, method),
            self._tables,
            self._options,
            self._linked.spec.name,
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
    ) -> None:
        self._name = name
        self._invocation = invocation
        self._plain = plain
        self._result = result
        self._tables = tables
        self._options = options
        self._model = model

    def prepare(self, call: Call, values: Mapping[str, Any]) -> Performance:
        """What the handler is to do for a request."""
        params = {
            name: self._plain[name](value) if name in self._plain and value is not None else value
            for name, value in values.items()
        }
        task = Task(self._name, params, Identity(call.identity), call.request_id, self._options.clock())

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


def _attributes(linked: LinkedModel, method: Method) -> dict[str, tuple[Attribute, ...]]:
    """The attributes of each parameter: those of its entity, or it as one."""
    found: dict[str, tuple[Attribute, ...]] = {}
    for parameter in method.parameters:
        entity = entity_of(linked.spec, parameter)
        found[parameter.name] = tuple(entity.attributes.values()) if entity is not None else (as_attribute(parameter),)
    return found
