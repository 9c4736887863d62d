"""What each step of a flow does: made once of its binding and its compiled expressions.

All values are wire values; expressions are exact inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pydantic_core import to_json

from watcherd.errors import EvaluationError
from watcherd.expressions import Expression
from watcherd.pim.flow_spec import Binding
from watcherd.pim.flow_types import BRACED, Slot
from watcherd.problems import NO_SUCH_ROW, Problem
from watcherd.services.access import EntityAccess
from watcherd.services.context import MAX_EMITTED, refusal
from watcherd.services.runs import Act, Callee, Node, Returned, Run, Values, over, perform
from watcherd.store import Row

_WRITES: Final = frozenset({"create", "update", "delete"})


class StepMaker:
    """Makes what the steps of one flow do.

    Then `writes` says whether one may change anything, `needs_session` whether one calls a handler.
    """

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
                raise Problem(NO_SUCH_ROW, f"{access.name} has no row {str(wanted)!r}")
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
                raise over(f"it emits over {MAX_EMITTED} events")
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
