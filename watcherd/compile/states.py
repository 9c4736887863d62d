"""The states of rows: which change of a state a write may make.

Owns the finding for a change that it may not make. What becomes of it is for the answer: a request
that has nothing else against it is a conflict with the state of the row (409).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from watcherd.compile.reading import STATE, pointer
from watcherd.pim.spec import Entity
from watcherd.problems import Finding

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StateGuard:
    """The states of one entity; `moves` are the pairs that anybody may make."""

    entity: str
    field: str
    initial: tuple[str, ...]
    moves: frozenset[tuple[Any, Any]]

    def begun(self, row: Values) -> Finding | None:
        """What is wrong with the state in which a row begins."""
        state = row.get(self.field)
        if state in self.initial:
            return None
        return self._finding(f"a new {self.entity} begins as {' or '.join(self.initial)}, not as {_shown(state)}")

    def moved(self, old: Values, row: Values) -> Finding | None:
        """What is wrong with a change that is no transition."""
        before, after = old.get(self.field), row.get(self.field)
        if before == after or (before, after) in self.moves:
            return None
        return self._finding(f"{self.field} cannot be changed from {_shown(before)} to {_shown(after)} here")

    def _finding(self, message: str) -> Finding:
        return Finding(pointer((self.field,)), STATE, message)


def compile_states(entity: Entity) -> StateGuard | None:
    """The guard of an entity that has states."""
    states = entity.states
    if states is None:
        return None
    moves = frozenset((before, after) for before, following in states.moves for after in following)
    return StateGuard(entity.name, states.field, states.initial, moves)


def _shown(state: Any) -> str:
    return "nothing" if state is None else str(state)
