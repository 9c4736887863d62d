"""Constraints: sentences from a fixed table, and mappings.

The table reads a sentence in any case and in the usual wordings; a sentence that it does not read,
or that does not fit the attribute, is kept as prose (`rule` None) with a warning. Nothing is
guessed: a sentence is understood from its first to its last character, or not at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from watcherd.pim.findings import Nearest, quote
from watcherd.pim.names import nfc
from watcherd.pim.scopes import attributes_in, check_scope, checked_expression
from watcherd.pim.spec import Attribute, Constraint, Kind, Rule
from watcherd.pim.values import NUMERIC, TEMPORAL, TEXTUAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcherd.pim.document import ConstraintDoc
    from watcherd.pim.shapes import Draft, Path

_LONGEST_SENTENCE = 500

_NAME = r"[^\W\d]\w*"
_NUMBER = r"[-+]?\d{1,40}(?:\.\d{1,40})?"
_OPERAND = rf"(?P<operand>{_NUMBER}|{_NAME})"
_BE = r"(?:must|should|shall|has to|have to|needs to) (?:always )?be"
_NOT = r"(?:(?:must|should|shall|may|can) ?not|can't|mustn't|shouldn't)"
_IS = rf"(?:{_BE}|is|are)"

_MORE = "(?:greater|more|larger|bigger|higher)"
_FEWER = "(?:less|smaller|lower|fewer)"
_OR_EQUAL = "than or equals?(?: to)?"
_AT_LEAST = (
    f"(?:at least|>=|≥|=>|(?:no|not) {_FEWER} than|not before|on or after|{_MORE} {_OR_EQUAL}|equal to or {_MORE} than)"
)
_AT_MOST = (
    f"(?:at most|<=|≤|=<|up to|(?:no|not) {_MORE} than|not after|on or before"
    f"|{_FEWER} {_OR_EQUAL}|equal to or {_FEWER} than)"
)
_COMPARISONS: tuple[tuple[str, Rule], ...] = (
    (_AT_LEAST, Rule.AT_LEAST),
    (_AT_MOST, Rule.AT_MOST),
    (f"(?:>|(?:strictly )?(?:{_MORE}|later) than|above|over|after)", Rule.GREATER),
    (f"(?:<|(?:strictly )?(?:{_FEWER}|earlier) than|below|under|before)", Rule.LESS),
)
_SIGNS: tuple[tuple[str, Rule], ...] = (
    ("(?:>=|≥)", Rule.AT_LEAST),
    ("(?:<=|≤)", Rule.AT_MOST),
    (">", Rule.GREATER),
    ("<", Rule.LESS),
)
_ONE_NAME = rf"(?P<name>{_NAME})"
_NAMES = rf"\(?(?P<names>{_NAME}(?: ?, ?{_NAME})*(?: ?,? (?:and|&|\+) {_NAME})?)\)?"


class _Pattern(NamedTuple):
    regex: re.Pattern[str]
    rule: Rule
    bound: Decimal | None = None


def _pattern(regex: str, rule: Rule, bound: int | None = None) -> _Pattern:
    return _Pattern(re.compile(regex, re.IGNORECASE), rule, None if bound is None else Decimal(bound))


_TABLE: tuple[_Pattern, ...] = (
    _pattern(rf"(?:the )?combination of {_NAMES} {_IS} unique(?: together)?", Rule.UNIQUE),
    _pattern(rf"{_NAMES} {_IS} unique together", Rule.UNIQUE),
    _pattern(rf"{_NAMES} {_IS} unique in combination", Rule.UNIQUE),
    _pattern(rf"{_ONE_NAME} {_IS} unique", Rule.UNIQUE),
    _pattern(rf"{_ONE_NAME} {_IS} (?:required|mandatory|present|provided|set|not null|non-null)", Rule.REQUIRED),
    _pattern(rf"{_ONE_NAME} {_NOT} be (?:null|missing|omitted|absent|none)", Rule.REQUIRED),
    _pattern(rf"{_ONE_NAME} {_NOT} be (?:empty|blank)", Rule.NOT_EMPTY),
    _pattern(rf"{_ONE_NAME} {_IS} (?:not empty|non-?empty|not blank)", Rule.NOT_EMPTY),
    _pattern(rf"{_ONE_NAME} {_IS} (?:a )?positive(?: number| integer)?", Rule.GREATER, 0),
    _pattern(rf"{_ONE_NAME} {_NOT} be negative", Rule.AT_LEAST, 0),
    _pattern(
        rf"{_ONE_NAME} {_IS} (?:a )?(?:not negative|non-?negative|zero or more|zero or positive)(?: number)?",
        Rule.AT_LEAST,
        0,
    ),
    _pattern(rf"{_ONE_NAME} {_IS} (?:a )?negative(?: number)?", Rule.LESS, 0),
    _pattern(
        rf"{_ONE_NAME} {_IS} (?:in |a |an |one of )?(?:the |its )?(?:valid |allowed )?enum(?:eration)?(?: values?)?",
        Rule.MEMBER,
    ),
    _pattern(rf"{_ONE_NAME} {_IS} (?:a |an |one of )?(?:the |its )?(?:valid|allowed|defined) values?", Rule.MEMBER),
    _pattern(rf"{_ONE_NAME} {_IS} (?:a |an )?(?:valid )?e-?mail(?: address| format)?", Rule.EMAIL),
    _pattern(
        rf"{_ONE_NAME} {_IS} (?:in the range )?(?:between|from) (?P<low>{_NUMBER}) (?:and|to) (?P<high>{_NUMBER})"
        r"(?: inclusive| \(inclusive\))?",
        Rule.BETWEEN,
    ),
    *(_pattern(rf"{_ONE_NAME} {_IS} {words} {_OPERAND}", rule) for words, rule in _COMPARISONS),
    *(_pattern(rf"{_ONE_NAME} ?{sign} ?{_OPERAND}", rule) for sign, rule in _SIGNS),
    _pattern(
        rf"{_ONE_NAME} {_NOT} (?:exceed|be (?:{_MORE}|later) than|be (?:above|over|after)) {_OPERAND}",
        Rule.AT_MOST,
    ),
    _pattern(
        rf"{_ONE_NAME} {_NOT} (?:be (?:{_FEWER}|earlier) than|be (?:below|under|before)) {_OPERAND}",
        Rule.AT_LEAST,
    ),
    _pattern(rf"{_ONE_NAME} (?:must|should|has to) exceed {_OPERAND}", Rule.GREATER),
)
_SEPARATORS = re.compile(r"\s*,\s*(?:and\s+)?|\s+(?:and|&|\+)\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sentence:
    """What a sentence says, before anyone has looked at the attributes that it names."""

    rule: Rule
    names: tuple[str, ...]
    bound: Decimal | None = None
    bounds: tuple[Decimal, Decimal] | None = None
    other: str | None = None


def read_sentence(text: str) -> Sentence | None:
    """Read a sentence by the table; None where it is not understood."""
    sentence = " ".join(nfc(text).split()).rstrip(" .!")
    if len(sentence) > _LONGEST_SENTENCE:
        return None
    for regex, rule, bound in _TABLE:
        found = regex.fullmatch(sentence)
        if found is None:
            continue
        groups = found.groupdict()
        names = tuple(_SEPARATORS.split(groups["names"])) if groups.get("names") else (groups["name"],)
        if rule is Rule.BETWEEN:
            return Sentence(rule, names, bounds=(Decimal(groups["low"]), Decimal(groups["high"])))
        operand = groups.get("operand")
        if operand is None:
            return Sentence(rule, names, bound=bound)
        if re.fullmatch(_NUMBER, operand):
            return Sentence(rule, names, bound=Decimal(operand))
        is_zero = operand.lower() == "zero"
        return Sentence(rule, names, bound=Decimal(0)) if is_zero else Sentence(rule, names, other=operand)
    return None


def constraint(
    draft: Draft, path: Path, document: ConstraintDoc, entity: str, attributes: Mapping[str, Attribute]
) -> Constraint | None:
    """One entry of `constraints`; None where it is an error or speaks of something that is one."""
    kinds = [kind for kind in ("sentence", "unique", "check") if getattr(document, kind) is not None]
    if len(kinds) != 1:
        draft.add("PIM103", path, "expected a sentence, or a mapping with either `unique` or `check`")
        return None
    if document.check is not None:
        return _from_check(draft, (*path, "check"), document, entity, attributes)
    if document.unique is not None:
        names = known_attributes(draft, (*path, "unique"), document.unique, entity, attributes)
        if names is None or not may_be_unique(draft, (*path, "unique"), names, attributes):
            return None
        text = " and ".join(names) + (" must be unique together" if len(names) > 1 else " must be unique")
        return Constraint(text=text, rule=Rule.UNIQUE, attributes=names, name=document.name, message=document.message)
    return _from_sentence(draft, path, document.sentence or "", entity, attributes)


def _from_check(
    draft: Draft, path: Path, document: ConstraintDoc, entity: str, attributes: Mapping[str, Attribute]
) -> Constraint | None:
    text = document.check or ""
    if draft.has_broken("attribute", entity):
        return None  # whatever it says of an attribute that is left out would be said twice
    expression = checked_expression(draft, path, text, check_scope(entity, attributes), clock=False)
    if expression is None:
        return None
    names = attributes_in(expression, attributes)
    if not names:
        draft.add("PIM312", path, "the check says nothing about the row", "name an attribute, such as `price > 0`")
        return None
    return Constraint(
        text=text,
        rule=Rule.CHECK,
        attributes=names,
        name=document.name,
        message=document.message,
        expression=text,
    )


def known_attributes(
    draft: Draft, path: Path, written: tuple[str, ...], entity: str, attributes: Mapping[str, Attribute]
) -> tuple[str, ...] | None:
    """Attribute names out of a mapping or an index, each of which must exist, once; None where one does not."""
    names = tuple(nfc(name) for name in written)
    sound = bool(names)
    seen: set[str] = set()
    if not names:
        draft.add("PIM103", path, "expected the names of attributes")
    for index, name in enumerate(names):
        if name in seen:
            draft.add("PIM304", (*path, index), f"{quote(name)} is here twice")
            sound = False
        elif name not in attributes:
            sound = False
            if not draft.is_broken("attribute", entity, name):
                message = f"entity {quote(entity)} has no attribute {quote(name)}"
                draft.add("PIM304", (*path, index), message, Nearest(name, attributes))
        seen.add(name)
    return names if sound else None


def may_be_unique(draft: Draft, path: Path, names: tuple[str, ...], attributes: Mapping[str, Attribute]) -> bool:
    """Whether the database can index these attributes; it is an error where it cannot."""
    for index, name in enumerate(names):
        if attributes[name].is_list or attributes[name].kind is Kind.JSON:
            draft.add("PIM305", (*path, index), f"{quote(name)} is a list or json: it cannot be indexed or unique")
            return False
    return True


def _from_sentence(draft: Draft, path: Path, text: str, entity: str, attributes: Mapping[str, Attribute]) -> Constraint:
    prose = Constraint(text=text, rule=None)
    said = read_sentence(text)
    if said is None:
        draft.add("PIM301", path, f"{quote(text)} is not understood: shown, but not enforced", _HINT)
        return prose
    names = (*said.names, *([said.other] if said.other is not None else []))
    for name in names:
        if name not in attributes:
            if not draft.is_broken("attribute", entity, name):
                message = f"{quote(text)} is not enforced: entity {quote(entity)} has no attribute {quote(name)}"
                draft.add("PIM303", path, message, Nearest(name, attributes))
            return prose
    fault = _misfit(said, [attributes[name] for name in names])
    if fault is not None:
        draft.add("PIM303", path, f"{quote(text)} is not enforced: {fault}")
        return prose
    return Constraint(
        text=text, rule=said.rule, attributes=said.names, bound=said.bound, bounds=said.bounds, other=said.other
    )


_HINT = "understood are sentences such as `price must be greater than 0` and `email must be unique`"


def _misfit(said: Sentence, about: list[Attribute]) -> str | None:
    """Why a rule cannot be held against its attributes; None where it can."""
    first = about[0]
    shown = f"{quote(first.name)} is {'a list' if first.is_list else first.kind.value}"
    if said.rule is Rule.UNIQUE:
        return _unique_misfit(about)
    if said.rule in _COMPARING:
        return _comparison_misfit(said, about, shown)
    if said.rule is Rule.REQUIRED or (said.rule is Rule.NOT_EMPTY and first.is_list):
        return None
    return None if first.kind in _FITTING[said.rule] and not first.is_list else shown


_COMPARING = frozenset({Rule.GREATER, Rule.AT_LEAST, Rule.LESS, Rule.AT_MOST, Rule.BETWEEN})
_FITTING = {
    Rule.NOT_EMPTY: TEXTUAL,
    Rule.MEMBER: frozenset({Kind.ENUM}),
    Rule.EMAIL: frozenset({Kind.EMAIL, Kind.STRING, Kind.TEXT}),
}


def _unique_misfit(about: list[Attribute]) -> str | None:
    unfit = next((one.name for one in about if one.is_list or one.kind is Kind.JSON), None)
    if unfit is not None:
        return f"{quote(unfit)} is a list or json"
    return "an attribute is named twice" if len({one.name for one in about}) < len(about) else None


def _comparison_misfit(said: Sentence, about: list[Attribute], shown: str) -> str | None:
    first, second = about[0], about[-1]
    if said.bounds is not None and said.bounds[0] > said.bounds[1]:
        return f"no number is at least {said.bounds[0]} and at most {said.bounds[1]}"
    if said.other is None:
        return None if first.kind in NUMERIC and not first.is_list else f"{shown}, not a number"
    if first is second:
        return "it compares an attribute with itself"
    numbers = first.kind in NUMERIC and second.kind in NUMERIC
    times = first.kind in TEMPORAL and first.kind is second.kind
    if (numbers or times) and not (first.is_list or second.is_list):
        return None
    return f"{shown} and {quote(second.name)} is {'a list' if second.is_list else second.kind.value}"
