"""An expression: compiled once for a scope, evaluated for many values; the same text is compiled once.

A revision is compiled again and again while its file is edited, and each stage asks for the same
expressions: what was compiled is remembered, a bounded number of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from watcherd.errors import EvaluationError
from watcherd.expressions.checking import check, demand
from watcherd.expressions.evaluation import Run, Values
from watcherd.expressions.lowering import lower
from watcherd.expressions.syntax import Node, parse
from watcherd.expressions.typed import Typed
from watcherd.expressions.types import BOOL, TIMESTAMP, Scope, Type, wire

NOW = "now"
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression, ready to run; immutable, free of any state between evaluations.

    `type` is that of its value, `root` the typed nodes (for who translates them), `names` the names
    of the scope that it reads; `reads_clock` says whether its value depends on the time of day.
    """

    text: str
    type: Type
    root: Typed = field(compare=False, repr=False)
    names: frozenset[str] = field(compare=False)
    reads_clock: bool = field(compare=False)
    _run: Run = field(compare=False, repr=False)

    def evaluate(self, values: Mapping[str, Any], now: datetime | None = None) -> Any:
        """Its value for wire values, as a wire value; null where it is unknown.

        A name of the scope that `values` lack is null. `now` (aware) must be given where
        `reads_clock`. Raises `EvaluationError`.
        """
        return wire(self._value(values, now))

    def holds(self, values: Mapping[str, Any], now: datetime | None = None) -> bool | None:
        """The same of a condition; None where it is unknown."""
        value = self._value(values, now)
        if value is not None and not isinstance(value, bool):
            raise EvaluationError("the condition is neither true nor false")
        return value

    def _value(self, values: Mapping[str, Any], now: datetime | None) -> Any:
        given = Values(values)
        if now is not None and NOW not in given:
            given[NOW] = now.astimezone(UTC).isoformat()
        return self._run(given)


def compile_expression(text: str, scope: Scope, expects: Type | None = None, *, clock: bool = True) -> Expression:
    """Compile a text for a scope: each name with its type.

    With `expects` its value must be one of that type (`BOOL` for a condition). `clock` puts `now`
    into the scope, unless a name of the scope is called so. Raises `InvalidExpressionError` with
    the offset in the text.
    """
    return _compiled(text, frozenset(scope.items()), expects, clock)


def check_syntax(text: str) -> None:
    """Read a text whose scope is not known yet. Raises `InvalidExpressionError` as `compile_expression` does."""
    _parsed(text)


@lru_cache(maxsize=_REMEMBERED)
def _compiled(text: str, scope: frozenset[tuple[str, Type]], expects: Type | None, clock: bool) -> Expression:  # noqa: FBT001 - a part of what is remembered by
    known = dict(scope)
    is_clock = clock and NOW not in known
    if is_clock:
        known[NOW] = TIMESTAMP
    typed = check(_parsed(text), known)
    if expects is not None:
        typed = demand(typed, expects, "a condition" if expects is BOOL else "the value")
    names = _names(typed)
    reads_clock = is_clock and NOW in names
    return Expression(text, typed.type, typed, names, reads_clock, lower(typed))


@lru_cache(maxsize=_REMEMBERED)
def _parsed(text: str) -> Node:
    return parse(text)


def constant_of(node: Typed, now: datetime | None = None) -> tuple[bool, Any]:
    """Whether the value of a node depends on nothing but the clock, and that value, as it is inside.

    Without `now`, what reads the clock is no constant. Raises `EvaluationError`.
    """
    if not node.constant and (now is None or _names(node) != {NOW} or _has_variables(node)):
        return False, None
    values = Values({})
    if now is not None:
        values[NOW] = now.astimezone(UTC).isoformat()
    return True, lower(node)(values)


def _has_variables(node: Typed) -> bool:
    return node.op in {"variable", "each"} or any(map(_has_variables, node.operands))


def _names(typed: Typed) -> frozenset[str]:
    """The names of the scope in it."""
    own = frozenset({typed.value} if typed.op == "name" else ())
    return own.union(*map(_names, typed.operands))
