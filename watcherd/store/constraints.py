"""Which indexes and checks an entity should have.

Owns the reading of `unique`, `index`, references, `indexes` and sentences as objects of the
database. Does not compare them with what is there: `table_changes` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from watcherd.expressions import BOOL, Expression, compile_expression
from watcherd.pim.scopes import check_scope
from watcherd.pim.spec import Attribute, Constraint, Entity, Kind, Rule
from watcherd.store.checks import Check, check_name
from watcherd.store.conditions import Translation, UntranslatableError
from watcherd.store.conditions import violation as expression_violation
from watcherd.store.dialect import Dialect
from watcherd.store.layout import StoredConstraint
from watcherd.store.limits import sentence_violation
from watcherd.store.names import alias, constraint_name, quoted
from watcherd.store.tables import create_index

_PREFIXES = {"unique": "uq", "index": "ix", "rule": "ru"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One index or check: how the catalog knows it, how it is made, who stands in its way.

    An index has `statements`. `check` is what the database watches, `violation` the same over
    attributes by their `alias`; `expression` is what a rule demands, which the database does not watch.
    """

    stored: StoredConstraint
    statements: tuple[str, ...] = ()
    check: Check | None = None
    violation: str | None = None
    expression: Expression | None = None


def wanted_constraints(
    dialect: Dialect, entity: Entity, table: str, columns: Mapping[str, str], held: Mapping[str, Attribute]
) -> tuple[Wanted, ...]:
    """All of them, each once: what is unique needs no other index on the same columns."""
    found: dict[tuple[str, ...], Wanted] = {}
    for label, attributes in _uniques(entity):
        found.setdefault(attributes, _index(dialect, "unique", label, attributes, table, columns))
    for label, attributes in _indexes(entity):
        found.setdefault(attributes, _index(dialect, "index", label, attributes, table, columns))
    found.pop((entity.key.name,), None)  # the key is unique and indexed by itself
    checks = {one.stored.name: one for one in _checks(dialect, entity, table, columns, held)}
    return (*found.values(), *checks.values())


def _uniques(entity: Entity) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Label and attributes; what people wrote themselves names it, so it comes first."""
    for constraint in entity.constraints:
        if constraint.rule is Rule.UNIQUE:
            yield constraint.name or constraint.text, constraint.attributes
    for index in entity.indexes:
        if index.unique:
            yield index.name or f"{' and '.join(index.attributes)} must be unique", index.attributes
    for attribute in entity.attributes.values():
        if attribute.unique:
            yield f"{attribute.name} must be unique", (attribute.name,)


def _indexes(entity: Entity) -> Iterator[tuple[str, tuple[str, ...]]]:
    for index in entity.indexes:
        yield index.name or ", ".join(index.attributes), index.attributes
    for attribute in entity.attributes.values():
        # A reference without one makes the deletion of what it refers to read the whole table.
        if attribute.index or attribute.kind is Kind.REFERENCE:
            yield attribute.name, (attribute.name,)


def _checks(
    dialect: Dialect, entity: Entity, table: str, columns: Mapping[str, str], held: Mapping[str, Attribute]
) -> Iterator[Wanted]:
    for constraint in entity.constraints:
        expression = _expression(entity, constraint)
        violation = _violation(dialect, constraint, expression, held, alias)
        stored_as = _violation(dialect, constraint, expression, held, lambda name: quoted(columns[name]))
        over_new = _violation(dialect, constraint, expression, held, _new(dialect, columns))
        attributes = constraint.attributes if constraint.other is None else (*constraint.attributes, constraint.other)
        places = tuple(columns[name] for name in attributes)
        label = constraint.name or constraint.text
        if violation is not None and stored_as is not None and over_new is not None:
            name = check_name(table, places, over_new)
            stored = StoredConstraint(kind="check", name=name, label=label, attributes=attributes, columns=places)
            check = Check(table=table, name=name, columns=places, violation=stored_as, of_new=over_new)
            yield Wanted(stored=stored, check=check, violation=violation)
        elif expression is not None:
            name = constraint_name(_PREFIXES["rule"], table, places, expression.text)
            stored = StoredConstraint(kind="rule", name=name, label=label, attributes=attributes, columns=places)
            yield Wanted(stored=stored, expression=expression)


def _expression(entity: Entity, constraint: Constraint) -> Expression | None:
    """What a check by expression demands of a row."""
    if constraint.rule is not Rule.CHECK or constraint.expression is None:
        return None
    return compile_expression(constraint.expression, check_scope(entity.name, entity.attributes), BOOL, clock=False)


def _violation(
    dialect: Dialect,
    constraint: Constraint,
    expression: Expression | None,
    held: Mapping[str, Attribute],
    sql: Callable[[str], str],
) -> str | None:
    """SQL that is true for a row in the way; None where the database does not watch it."""
    if expression is None:
        return sentence_violation(constraint, held, sql)
    try:
        return expression_violation(Translation(dialect, held, sql), expression.root)
    except UntranslatableError:
        return None


def _new(dialect: Dialect, columns: Mapping[str, str]) -> Callable[[str], str]:
    return lambda name: f"{dialect.new_row}{quoted(columns[name])}"


def _index(  # noqa: PLR0913, PLR0917 - what an index is
    dialect: Dialect,
    kind: Literal["unique", "index"],
    label: str,
    attributes: tuple[str, ...],
    table: str,
    columns: Mapping[str, str],
) -> Wanted:
    places = tuple(columns[name] for name in attributes)
    name = constraint_name(_PREFIXES[kind], table, places, f"{kind} {places}")
    stored = StoredConstraint(kind=kind, name=name, label=label, attributes=attributes, columns=places)
    return Wanted(stored=stored, statements=(create_index(dialect, name, table, places, unique=kind == "unique"),))
