"""Transitions: a method changes the state of a row, once.

Owns what has to be so for it: the row is there, in one of the states that the model says, at the
version that the conditions of the request allow, and keeps constraints and rules in its new state. All of that is
looked at in the write itself: of two calls at the same time one finds the row as the other left it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import to_json

from watcherd import problems
from watcherd.compile import etag, reading
from watcherd.compile.bodies import Bodies, moved
from watcherd.compile.entity import Rules
from watcherd.compile.reading import STATE, pointer
from watcherd.compile.relations import hidden_of, shown
from watcherd.compile.writes import Work
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Method, Transition
from watcherd.problems import Finding, Problem
from watcherd.store import Cursor, ModelTables, Row, Rows
from watcherd.wire import JSON, Answer, Call

Values = Mapping[str, Any]
Step = Callable[[Cursor], Row]


class StateChange:
    """The transition of one method, on the rows of its entity."""

    __slots__ = ("_bodies", "_entity", "_hidden", "_key", "_name", "_returns", "_rows", "_transition")

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a method, put together once
        self, name: str, method: Method, transition: Transition, linked: LinkedModel, tables: ModelTables, rules: Rules
    ) -> None:
        entity = linked.spec.entities[transition.entity]
        self._name = name
        self._transition = transition
        self._entity = entity.name
        self._rows: Rows = tables.entities[entity.name]
        self._bodies: Bodies = rules.bodies
        self._key = rules.key
        self._hidden = hidden_of(entity)
        self._returns = method.returns is not None

    def prepare(self, call: Call, values: Values) -> Work:
        """What a call of a method that does nothing else writes: 200 with the row, or 204. Raises `Problem`."""
        step = self.step(call, values)

        def work(cursor: Cursor) -> Answer:
            row = step(cursor)
            if not self._returns:
                return Answer(204)
            body = to_json(shown(row, self._hidden))
            return Answer(200, body, JSON, [(b"etag", etag.etag(row.version, body))])

        return work

    def step(self, call: Call, values: Values) -> Step:
        """The change itself. Raises `Problem`: 404, 409 in another state, 412, 422."""
        return self.step_at(etag.conditions(call), values)

    def step_at(self, wanted: etag.Wanted, values: Values) -> Step:
        """The same for a row at one of the `wanted` versions, or at any. Raises `Problem`."""
        given = values.get(self._transition.key)
        if given is None:
            place = pointer((self._transition.key,))
            raise reading.invalid([Finding(place, "required", f"expected the key of the {self._entity}")])
        try:
            key = self._key(str(given))
        except ValueError:
            raise self._no_such_row(given) from None
        updating = self._rows.updating(key, lambda row: self._changed(row, wanted))

        def change(cursor: Cursor) -> Row:
            row = updating(cursor)
            if row is None:
                raise self._no_such_row(given)
            return row

        return change

    def _changed(self, row: Row, wanted: etag.Wanted) -> Values:
        etag.require_version(wanted, row.version)
        transition = self._transition
        state = row.values[transition.field]
        if transition.before and state not in transition.before:
            found = "in no state" if state is None else state
            message = f"{self._name}: the {self._entity} is {found}, expected {' or '.join(transition.before)}"
            finding = Finding(pointer((transition.key,)), STATE, message)
            raise Problem(problems.STATE, message, errors=[finding], extra={"state": state})
        values, findings = moved(self._bodies, row.values, transition.field, transition.to)
        if findings:
            raise reading.invalid([Finding(pointer(()), one.code, one.message) for one in findings])
        return values

    def _no_such_row(self, key: object) -> Problem:
        return Problem(problems.NO_SUCH_ROW, f"{self._entity} has no row {str(key)!r}")


def compile_transition(
    name: str, method: Method, linked: LinkedModel, tables: ModelTables, rules: Mapping[str, Rules]
) -> StateChange | None:
    """The transition of a method, where it has one; `rules` are those of its model's entities."""
    transition = method.transition
    if transition is None:
        return None
    return StateChange(name, method, transition, linked, tables, rules[transition.entity])
