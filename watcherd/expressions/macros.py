"""What the macros do with a list: `all`, `exists`, `exists_one`, `filter`, `map`.

A fold takes the items, the variable that stands for each of them, what is evaluated for each, and the
values of the evaluation, among which it puts the variable; whoever calls it takes that away again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from watcherd.errors import EvaluationError
from watcherd.expressions.evaluation import Run, Values


def _all(items: list[Any], variable: str, bodies: list[Run], values: Values) -> Any:
    return _quantified(items, variable, bodies[0], values, decisive=False)


def _exists(items: list[Any], variable: str, bodies: list[Run], values: Values) -> Any:
    return _quantified(items, variable, bodies[0], values, decisive=True)


def _quantified(items: list[Any], variable: str, body: Run, values: Values, *, decisive: bool) -> Any:
    failure = None
    unknown = False
    for item in items:
        values[variable] = item
        try:
            found = body(values)
        except EvaluationError as error:
            failure = error
            continue
        if found is decisive:
            return decisive
        unknown = unknown or found is None
    if failure is not None:
        raise failure
    return None if unknown else not decisive


def _exists_one(items: list[Any], variable: str, bodies: list[Run], values: Values) -> Any:
    return len(_filter(items, variable, bodies, values)) == 1


def _filter(items: list[Any], variable: str, bodies: list[Run], values: Values) -> list[Any]:
    kept = []
    for item in items:
        values[variable] = item
        if bodies[0](values):
            kept.append(item)
    return kept


def _map(items: list[Any], variable: str, bodies: list[Run], values: Values) -> list[Any]:
    make = bodies[-1]
    made = []
    for item in items:
        values[variable] = item
        if len(bodies) == 1 or bodies[0](values) is True:
            made.append(make(values))
    return made


FOLDS: Final[Mapping[str, Callable[[list[Any], str, list[Run], Values], Any]]] = {
    "all": _all,
    "exists": _exists,
    "exists_one": _exists_one,
    "filter": _filter,
    "map": _map,
}
