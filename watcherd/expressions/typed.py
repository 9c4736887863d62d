"""A node with its type, and what is said and done of types wherever nodes are checked.

Owns how a value of one type becomes one of another, the type that two have in common, and the words of
faults. Which nodes there are and which types an operator has is `checking` and `operator_types`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final

from watcherd.errors import InvalidExpressionError
from watcherd.expressions.types import ANY, BOOL, DECIMAL, FLOAT, NULL, NUMBERS, STRING, Type, list_of, named

_MOST_NAMED: Final = 12


@dataclass(frozen=True, slots=True)
class Typed:
    """One node with its type.

    `op` is `literal`, `name`, `variable` (of a macro), `field`, `has`, `list`, `index`, `in`,
    `convert`, `call`, `each`, or an operator as it is written (`negative` for the sign). `value` is
    what the op needs beside its operands: the literal, the name, the field, the overloads of a
    function, the macro and its variable.
    `constant` says that nothing of the scope is in it.
    """

    op: str
    type: Type
    offset: int
    operands: tuple[Typed, ...] = ()
    value: Any = None
    constant: bool = False


def as_condition(typed: Typed, what: str) -> Typed:
    """The node, which may be true or false. Raises where it can never be; `what` names it then."""
    if typed.type not in {BOOL, ANY, NULL}:
        raise fault(f"{what} must be true or false, not {with_article(typed.type)}", typed.offset)
    return typed


def converted(typed: Typed, wanted: Type) -> Typed:
    """The node as a value of the wanted type, which it can become."""
    if typed.type == wanted or typed.type in {ANY, NULL}:
        return typed
    if typed.op == "literal":
        value = float(typed.value) if wanted is FLOAT else Decimal(typed.value) if wanted is DECIMAL else typed.value
        return replace(typed, type=wanted, value=value)
    return Typed("convert", wanted, typed.offset, (typed,), constant=typed.constant)


def common(one: Type, two: Type, places: list[Typed]) -> Type | None:
    """The type that both are, None where there is none."""
    if NULL in {one, two} or one == two:
        return two if one == NULL else one
    if ANY in {one, two}:
        return ANY
    found: Type | None = None
    if one.name in NUMBERS and two.name in NUMBERS:
        is_exact = any(place.type is DECIMAL and not place.constant for place in places)
        found = DECIMAL if FLOAT not in {one, two} else None if is_exact else FLOAT
    elif one.name == two.name == "string":
        found = STRING
    elif one.item is not None and two.item is not None:
        item = common(one.item, two.item, places)
        found = None if item is None else list_of(item)
    return found


def check_members(typed: Typed, other: Type) -> None:
    """An enum compared with a text that is none of its members is a mistake."""
    if typed.op == "literal" and other.members and typed.value not in other.members:
        raise unknown("member", str(typed.value), other.members, typed.offset)


def unknown(what: str, word: str, known: Collection[str], offset: int) -> InvalidExpressionError:
    """A word that names nothing, with the nearest that does."""
    close = get_close_matches(word, list(known), n=1)
    listed = ", ".join(sorted(known)[:_MOST_NAMED]) + (", …" if len(known) > _MOST_NAMED else "")
    hint = f"did you mean `{close[0]}`?" if close else f"known: {listed}" if known else None
    return fault(f"there is no {what} `{word}`", offset, hint)


def with_article(type_: Type) -> str:
    """The name of a type, as it stands in a sentence."""
    name = named(type_)
    return name if name == "null" else f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def fault(message: str, offset: int, hint: str | None = None) -> InvalidExpressionError:
    """What is wrong at a place in the text, to be raised."""
    return InvalidExpressionError(message, offset, hint)
