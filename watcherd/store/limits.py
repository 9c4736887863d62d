"""What a model demands of stored values, as conditions that SQL can look for.

Owns the facts of an attribute that the catalog remembers, the comparison "is it stricter than
before", and the SQL of a value that breaks a limit or a sentence. Does not own when one looks
(`differ`, `scan`). Limits stand in the validators alone; sentences that compare become checks of the table.

Each condition is true for a value in the way, and null or false otherwise: null passes everything
but `required`. Limits of a list are those of its items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from watcherd.errors import StoreError
from watcherd.pim.spec import Attribute, Constraint, Kind, Rule
from watcherd.store.codecs import DEFAULT_PRECISION, TEXT_KINDS, TIME_KINDS, literal, scale_of, scaled

NARROWER: Final = "PIM605"
MEMBER_REMOVED: Final = "PIM606"
RENAMED_FROM: Final = "renamed_from"
SUPERSEDED: Final = "superseded"
"""Of a parked column: the column that has its attribute now, of another type or under another name before.

That one says all that this one says."""

AHEAD: Final = "ahead"
"""Of a parked column: it was made ahead of its attribute, and nobody has written to it."""

UNFILLED: Final = "unfilled"
"""Of a parked column that is being made: the column whose values it is going to have."""

Facts = Mapping[str, Any]
"""JSON-native: what the catalog keeps of an attribute, without what is at its default."""

_UPPER = ("max_length", "maximum", "exclusive_maximum", "precision")
_LOWER = ("min_length", "minimum", "exclusive_minimum")
_NUMERIC = frozenset({Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL})
_COMPARISONS: Final = {Rule.GREATER: "<=", Rule.AT_LEAST: "<", Rule.LESS: ">=", Rule.AT_MOST: ">"}


@dataclass(frozen=True, slots=True)
class Limit:
    """One demand on one attribute: `violation` is SQL over a value's SQL; None: `pattern` or `multiple_of`.

    What SQL cannot say is looked at value by value: `regex` is a pattern of the validators' engine,
    `multiple_of` the step of a float.
    """

    code: str
    text: str
    violation: Callable[[str], str] | None = None
    regex: str | None = None
    multiple_of: Decimal | None = None


def facts_of(attribute: Attribute, held: Attribute) -> Facts:
    """What to remember of an attribute; `held` is what its column really holds."""
    facts: dict[str, Any] = {
        "required": attribute.required or None,
        "members": list(attribute.members) or None,
        "format": attribute.kind.value if attribute.kind in {Kind.EMAIL, Kind.URL} else None,
        "precision": (held.precision or DEFAULT_PRECISION) if held.kind is Kind.DECIMAL else None,
        "pattern": attribute.pattern,
        "id": attribute.stable_id,
        RENAMED_FROM: attribute.renamed_from,
        "on_delete": attribute.on_delete.value if attribute.kind is Kind.REFERENCE else None,
        "min_length": attribute.min_length,
        "max_length": attribute.max_length,
    }
    for name in ("minimum", "maximum", "exclusive_minimum", "exclusive_maximum", "multiple_of"):
        value = getattr(attribute, name)
        facts[name] = None if value is None else str(value)
    return {name: value for name, value in facts.items() if value is not None}


def tightened(old: Facts, new: Facts) -> tuple[str, ...]:
    """The names of the facts in which `new` refuses a value that `old` let through."""
    return tuple(name for name, value in new.items() if _stricter(name, old.get(name), value))


def stricter(old: Attribute, new: Attribute) -> tuple[str, ...]:
    """The same for two attributes of one type, as their files declare them."""
    return tightened(facts_of(old, old), facts_of(new, new))


def limits(attribute: Attribute, held: Attribute, old: Facts, names: tuple[str, ...]) -> tuple[Limit, ...]:
    """The limits to look for, of the facts called `names` (as `tightened` answers them)."""
    found = []
    for name in names:
        limit = _limit(attribute, held, old, name)
        if limit is not None:
            found.append(limit)
    return tuple(found)


def sentence_violation(constraint: Constraint, held: Mapping[str, Attribute], sql: Callable[[str], str]) -> str | None:
    """SQL that is true for a row that breaks a sentence; None when the database does not watch it.

    `held` are the entity's attributes as stored, `sql` gives the SQL of an attribute's value.
    Required, unique and member sentences are not watched here: the first and the last are limits,
    like the attribute's own, so that a draining revision that does not know the attribute can
    still write; unique is an index.
    """
    if constraint.rule in {None, Rule.CHECK} or len(constraint.attributes) != 1:
        return None
    name = constraint.attributes[0]
    attribute, value = held[name], sql(name)
    if constraint.rule is Rule.NOT_EMPTY:
        return _empty(attribute, value)
    if attribute.is_list:
        return None
    if constraint.rule is Rule.EMAIL:
        return _not_an_email(value) if attribute.kind in TEXT_KINDS else None
    if constraint.other is not None:
        return _against_other(constraint.rule, (attribute, value), (held[constraint.other], sql(constraint.other)))
    return _against_bounds(constraint, attribute, value) if attribute.kind in _NUMERIC else None


def _empty(attribute: Attribute, value: str) -> str | None:
    if attribute.is_list:
        return f"{value} = '[]'"
    if attribute.kind is Kind.JSON:
        return f"""{value} IN ('""', '[]', '{{}}')"""
    return f"{value} = ''" if attribute.kind in TEXT_KINDS else None


def _against_bounds(constraint: Constraint, attribute: Attribute, value: str) -> str | None:
    if constraint.rule is Rule.BETWEEN and constraint.bounds is not None:
        low, high = (_number(attribute, bound) for bound in constraint.bounds)
        return f"({value} < {low} OR {value} > {high})"
    if constraint.rule in _COMPARISONS and constraint.bound is not None:
        return f"{value} {_COMPARISONS[constraint.rule]} {_number(attribute, constraint.bound)}"
    return None


def _against_other(rule: Rule, one: tuple[Attribute, str], two: tuple[Attribute, str]) -> str | None:
    """Two columns of a row; None when their kinds have no common order in the database."""
    (attribute, value), (other, other_value) = one, two
    if rule not in _COMPARISONS or other.is_list:
        return None
    operator = _COMPARISONS[rule]
    if attribute.kind in _NUMERIC and other.kind in _NUMERIC:
        places = scale_of(attribute) if attribute.kind is Kind.DECIMAL else 0
        other_places = scale_of(other) if other.kind is Kind.DECIMAL else 0
        left = f"{_exact(value)} * {10 ** max(other_places - places, 0)}"
        right = f"{_exact(other_value)} * {10 ** max(places - other_places, 0)}"
        return f"{left} {operator} {right}"
    if attribute.kind is other.kind and attribute.kind in TIME_KINDS:
        return f"{value} {operator} {other_value}"
    return None


def _stricter(name: str, old: Any, new: Any) -> bool:
    if name in {"id", "on_delete", RENAMED_FROM}:
        return False
    if name == "members":
        return old is None or not set(old) <= set(new)
    if name in _UPPER or name in _LOWER:
        if old is None:
            return True
        return Decimal(new) < Decimal(old) if name in _UPPER else Decimal(new) > Decimal(old)
    return bool(new != old)


def _limit(attribute: Attribute, held: Attribute, old: Facts, name: str) -> Limit | None:  # noqa: PLR0911 - one each
    if name == "members":
        members = ", ".join(literal(member) for member in attribute.members)
        code = MEMBER_REMOVED if "members" in old else NARROWER
        text = f"one of {', '.join(attribute.members)}"
        return Limit(code, text, lambda value: f"{value} NOT IN ({members})")
    if name == "format":
        broken = _not_an_email if attribute.kind is Kind.EMAIL else _not_a_url
        return Limit(NARROWER, f"an {attribute.kind.value}", broken)
    if name == "pattern":
        return Limit(NARROWER, f"matched by {attribute.pattern}", regex=attribute.pattern)
    if name == "precision":
        digits = held.precision or DEFAULT_PRECISION
        above = 10**digits
        return Limit(NARROWER, f"of at most {digits} digits", lambda value: f"abs({value}) >= {above}")
    if name in {"min_length", "max_length"}:
        length = getattr(attribute, name)
        operator = "<" if name == "min_length" else ">"
        text = f"{'at least' if name == 'min_length' else 'at most'} {length} characters long"
        return Limit(NARROWER, text, lambda value: f"length({value}) {operator} {length}")
    if name == "multiple_of" and attribute.multiple_of is not None:
        return _multiple(held, attribute.multiple_of)
    return _bound(attribute, held, name)


def _multiple(held: Attribute, step: Decimal) -> Limit:
    text = f"a multiple of {step}"
    if held.kind is Kind.FLOAT:
        return Limit(NARROWER, text, multiple_of=step)
    # In whole numbers, also where the step is finer than what is stored: v % (n/m) is (v * m) % n.
    places = scale_of(held) if held.kind is Kind.DECIMAL else 0
    n, m = (Fraction(step) * 10**places).as_integer_ratio()
    return Limit(NARROWER, text, lambda value: f"{_exact(value)} * {m} % {n} <> 0")


def _bound(attribute: Attribute, held: Attribute, name: str) -> Limit | None:
    words = {
        "minimum": ("<", "at least"),
        "maximum": (">", "at most"),
        "exclusive_minimum": ("<=", "greater than"),
        "exclusive_maximum": (">=", "less than"),
    }
    bound = getattr(attribute, name, None)
    if name not in words or bound is None or held.kind not in _NUMERIC:
        return None
    operator, wording = words[name]
    number = _number(held, bound)
    return Limit(NARROWER, f"{wording} {bound}", lambda value: f"{value} {operator} {number}")


def _number(attribute: Attribute, bound: Decimal) -> str:
    """A bound as SQL that compares with the stored form of the attribute's values."""
    if attribute.kind is not Kind.DECIMAL:
        return str(int(bound)) if bound == bound.to_integral_value() else repr(float(bound))
    try:
        return str(scaled(bound, scale_of(attribute)))
    except StoreError:
        # Finer than the column's scale, or beyond 64 bits: SQL compares with a real number then.
        return repr(float(bound.scaleb(scale_of(attribute))))


def _exact(value: str) -> str:
    """The value for a product beyond 64 bits: PostgreSQL takes no larger integer, to SQLite it says nothing."""
    return f"CAST({value} AS NUMERIC)"


def _not_an_email(value: str) -> str:
    return f"({value} NOT LIKE '_%@_%' OR {value} LIKE '% %')"


def _not_a_url(value: str) -> str:
    return f"({value} NOT LIKE '_%:_%' OR {value} LIKE '% %')"
