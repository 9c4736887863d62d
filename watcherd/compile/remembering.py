"""What was made of a value in the last compilation is taken up by the next one.

An edit changes few attributes of a model, and the same attribute is described in several places.
Owns that memory and its bound: what one compilation used is kept for the next one and no longer,
so it never grows with the number of reloads, and it holds values alone, never a revision.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, TypeVar, TypeVarTuple

Values = TypeVarTuple("Values")
R = TypeVar("R")
_UNKNOWN: Final = object()


class Remembered(Generic[*Values, R]):
    """A pure function of hashable values (given by position) that remembers its answers for a while.

    Nobody may change what it answers.
    """

    def __init__(self, function: Callable[[*Values], R]) -> None:
        self._function = function
        self._now: dict[Hashable, R | object] = {}
        self._before: dict[Hashable, R | object] = {}
        _ALL.append(self)

    def __call__(self, *values: *Values) -> R:
        """The answer, made if neither this compilation nor the one before needed it."""
        answer = self._now.get(values, _UNKNOWN)
        if answer is _UNKNOWN:
            answer = self._before.get(values, _UNKNOWN)
            if answer is _UNKNOWN:
                answer = self._function(*values)
            self._now[values] = answer
        return answer  # type: ignore[return-value] # it is known by now

    def turn(self) -> None:
        """Begin another compilation."""
        self._before, self._now = self._now, {}


_ALL: Final[list[Remembered[*tuple[Any, ...], Any]]] = []


def turn_all() -> None:
    """Begin another compilation: forget what the one before the last needed."""
    for one in _ALL:
        one.turn()
