"""The limits of an attribute: which of them mean something for its type, and whether they agree.

A limit that its type cannot have is a warning and not enforced; limits that no value can satisfy
are errors, and left out so that the default is not held against them as well.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from watcherd.pim.kinds import ValueKind
from watcherd.pim.nodes import Node, ScalarNode, number_of
from watcherd.pim.spec import Kind
from watcherd.pim.values import DEFAULT_PRECISION, INT64, NUMERIC, TEXTUAL, Limited, pattern_fault

if TYPE_CHECKING:
    from watcherd.pim.document import AttributeDoc
    from watcherd.pim.shapes import Draft, Path

_LENGTHS = ("min_length", "max_length", "pattern")
_BOUNDS = ("minimum", "maximum", "exclusive_minimum", "exclusive_maximum", "multiple_of")
_DIGITS = ("precision", "scale")
_MAX_PRECISION = DEFAULT_PRECISION  # scaled integers of 64 bits hold eighteen digits


def checked_limits(draft: Draft, at: Path, document: AttributeDoc, typed: ValueKind) -> Limited:
    """The limits that mean something for the type; of the others a warning is all that is left."""
    kind = typed.kind
    applicable: set[str] = set()
    if kind in TEXTUAL:
        applicable.update(_LENGTHS)
    if kind in NUMERIC:
        applicable.update(_BOUNDS, ("min", "max"))
    if kind is Kind.DECIMAL:
        applicable.update(_DIGITS)
    for key in (*_LENGTHS, *_BOUNDS, "min", "max", *_DIGITS):
        if getattr(document, key) is not None and key not in applicable:
            message = f"`{key}` means nothing for {kind.value}: not enforced"
            draft.add("PIM210", (*at, key), message, key=True)
    numbers = {
        key: value
        for key in (*_BOUNDS, "min", "max")
        if key in applicable and (value := _decimal_of(getattr(document, key))) is not None
    }
    for long, short in (("minimum", "min"), ("maximum", "max")):
        if short in numbers:
            draft.one_of(at, document, (long, short))
            numbers.setdefault(long, numbers[short])
    pattern = document.pattern if "pattern" in applicable else None
    if pattern is not None and (fault := pattern_fault(pattern)) is not None:
        draft.add(
            "PIM212",
            (*at, "pattern"),
            f"not a regular expression: {fault}",
            "look-around and back-references do not exist",
        )
        pattern = None
    limited = Limited(
        members=typed.members,
        min_length=document.min_length if "min_length" in applicable else None,
        max_length=document.max_length if "max_length" in applicable else None,
        pattern=pattern,
        minimum=numbers.get("minimum"),
        maximum=numbers.get("maximum"),
        exclusive_minimum=numbers.get("exclusive_minimum"),
        exclusive_maximum=numbers.get("exclusive_maximum"),
        precision=document.precision if "precision" in applicable else None,
        scale=document.scale if "scale" in applicable else None,
        multiple_of=numbers.get("multiple_of"),
    )
    return _consistent(draft, at, document, limited, kind)


def _decimal_of(node: Node | None) -> Decimal | None:
    return number_of(node) if isinstance(node, ScalarNode) else None


def _consistent(draft: Draft, at: Path, document: AttributeDoc, limited: Limited, kind: Kind) -> Limited:
    """The limits, less those that nothing can satisfy; each of these is a finding."""
    keeps = limited
    if limited.min_length is not None and limited.max_length is not None and limited.min_length > limited.max_length:
        draft.add("PIM211", (*at, "min_length"), "`min_length` is greater than `max_length`")
        keeps = replace(keeps, min_length=None, max_length=None)
    lows = [bound for bound in (limited.minimum, limited.exclusive_minimum) if bound is not None]
    highs = [bound for bound in (limited.maximum, limited.exclusive_maximum) if bound is not None]
    if lows and highs:
        excludes_ends = max(lows) == limited.exclusive_minimum or min(highs) == limited.exclusive_maximum
        if max(lows) > min(highs) or (max(lows) == min(highs) and excludes_ends):
            key = next(key for key in ("minimum", "min", "exclusive_minimum") if getattr(document, key) is not None)
            draft.add("PIM211", (*at, key), f"no number is at least {max(lows)} and at most {min(highs)}")
            keeps = replace(keeps, minimum=None, maximum=None, exclusive_minimum=None, exclusive_maximum=None)
    if limited.multiple_of is not None and limited.multiple_of <= 0:
        draft.add("PIM211", (*at, "multiple_of"), "`multiple_of` must be greater than 0")
        keeps = replace(keeps, multiple_of=None)
    if kind is Kind.INTEGER:
        bounds = (keeps.minimum, keeps.maximum, keeps.exclusive_minimum, keeps.exclusive_maximum)
        if any(bound is not None and not INT64.start - 1 <= bound <= INT64.stop for bound in bounds):
            draft.add("PIM211", at, "an integer has 64 bits: no value comes near a limit of more", key=True)
            keeps = replace(keeps, minimum=None, maximum=None, exclusive_minimum=None, exclusive_maximum=None)
    return _consistent_digits(draft, at, keeps)


def _consistent_digits(draft: Draft, at: Path, limited: Limited) -> Limited:
    if limited.precision is not None and not 1 <= limited.precision <= _MAX_PRECISION:
        draft.add("PIM219", (*at, "precision"), f"`precision` is 1 to {_MAX_PRECISION} digits")
        return replace(limited, precision=None, scale=None)
    if limited.scale is not None and limited.scale > (limited.precision or DEFAULT_PRECISION):
        message = f"`scale` is greater than the precision, {limited.precision or DEFAULT_PRECISION}"
        draft.add("PIM219", (*at, "scale"), message)
        return replace(limited, precision=None, scale=None)
    return limited
