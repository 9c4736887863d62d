"""Explaining an integrity error of the database in the words of the model.

Owns the reading of what the databases say and the few look-ups that say which value was refused.
Runs with the cursor that failed: on SQLite what is in the way can still be seen, PostgreSQL names
the constraint, and then only what was there before the transaction can be read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from watcherd.errors import ConstraintError, StoreError
from watcherd.store import catalog
from watcherd.store.cursor import AnyDatabaseError, Cursor, ServerIntegrityError, refused
from watcherd.store.layout import StoredAttribute, StoredConstraint, StoredEntity
from watcherd.store.names import quoted
from watcherd.store.tables import foreign_key_name

_CHECK: Final = re.compile(r"^(?:watcherd:check:|CHECK constraint failed: )(.+)$")
_UNIQUE: Final = re.compile(r"^UNIQUE constraint failed: (.+)$")
_FOREIGN_KEY: Final = "FOREIGN KEY constraint failed"
_STATES: Final[Mapping[str, Literal["check", "unique", "foreign-key", "length"]]] = {
    "23514": "check",
    "23505": "unique",
    "23503": "foreign-key",
    "54000": "length",
}


@dataclass(frozen=True, slots=True)
class _Violation:
    """What a database says of a constraint that was broken: its name in the database, or its columns.

    The problem is the `length` where a value is too long for an index, which it need not name.
    """

    problem: Literal["check", "unique", "foreign-key", "length"]
    constraint: str | None = None
    columns: tuple[str, ...] = ()


def write_refused(
    cursor: Cursor, error: AnyDatabaseError, entity: StoredEntity, values: Mapping[str, Any], stored: Mapping[str, Any]
) -> StoreError:
    """Why a row could not be written; its values by attribute name, as sent and as stored."""
    violation = _violation(error, entity)
    if violation is None:
        return refused(error)
    if violation.problem == "check":
        return _check(cursor, entity, str(violation.constraint))
    if violation.problem == "unique":
        return _unique(cursor, entity, violation, values)
    if violation.problem == "length":
        return _too_long(cursor, entity, stored)
    return _missing_target(cursor, entity, violation, values, stored)


def delete_refused(cursor: Cursor, error: AnyDatabaseError, entity: StoredEntity, key: object) -> StoreError:
    """Why a row could not be deleted; `key` is its stored key."""
    violation = _violation(error, entity)
    if violation is not None and violation.problem == "check":
        # Rows that nobody looks after, such as those of a model that is out of service.
        return _check_elsewhere(cursor, str(violation.constraint))
    if violation is None or violation.problem != "foreign-key":
        return refused(error)
    for one in catalog.referrers(cursor, entity.table):
        if one.restricts and _exists(cursor, one.table, one.column, key):
            where = f" in {one.attribute}, which is out of service" if one.parked else ""
            message = f"rows of {one.entity} still refer to it{where}"
            return ConstraintError("foreign-key", message, constraint=one.entity)
    # In the way are not its own referrers, but rows that refer to those which would go with it.
    return ConstraintError("foreign-key", "rows that would go with it are still referred to", constraint=entity.name)


def _violation(error: AnyDatabaseError, entity: StoredEntity) -> _Violation | None:
    """The constraint that an error is about; None when it is about something else."""
    if isinstance(error, ServerIntegrityError):
        problem = _STATES.get(error.sqlstate)
        return None if problem is None else _Violation(problem, error.constraint)
    message = str(error)
    if found := _CHECK.match(message):
        return _Violation("check", found[1])
    if found := _UNIQUE.match(message):
        return _Violation("unique", columns=_columns(entity, found[1]))
    return _Violation("foreign-key") if message == _FOREIGN_KEY else None


def _check(cursor: Cursor, entity: StoredEntity, name: str) -> ConstraintError:
    """The sentence; an older or newer revision's is in the catalog as well."""
    known = next((one for one in catalog.constraints_of(cursor, entity.table) if one.name == name), None)
    if known is None:
        return ConstraintError("check", f"it breaks a constraint: {name}", constraint=name)
    return ConstraintError("check", known.label, constraint=known.label, attributes=known.attributes)


def _check_elsewhere(cursor: Cursor, name: str) -> ConstraintError:
    """A check of rows that refer to a deleted one, and lose the reference."""
    known = catalog.check_of(cursor, name)
    entity, label = known if known is not None else ("some entity", name)
    return ConstraintError("check", f"rows of {entity} that refer to it would break: {label}", constraint=label)


def _unique(cursor: Cursor, entity: StoredEntity, violation: _Violation, values: Mapping[str, Any]) -> ConstraintError:
    known = next((one for one in catalog.constraints_of(cursor, entity.table) if _broken(one, violation)), None)
    attributes = known.attributes if known is not None else (entity.key.name,)
    label = known.label if known is not None else f"{entity.key.name} must be unique"
    shown = " and ".join(f"{name} {values[name]!r}" if name in values else name for name in attributes)
    verb = "already exists" if len(attributes) == 1 else "already exist together"
    return ConstraintError("unique", f"{shown} {verb}", constraint=label, attributes=attributes)


def _too_long(cursor: Cursor, entity: StoredEntity, stored: Mapping[str, Any]) -> ConstraintError:
    """The longest value in an index: a server takes about 2,700 bytes there, once they are compressed."""
    indexed = {name for one in catalog.constraints_of(cursor, entity.table) for name in one.attributes}
    lengths = {
        name: len(value.encode())
        for name, value in stored.items()
        if isinstance(value, str) and name in indexed | {entity.key.name}
    }
    longest = max(lengths, key=lengths.__getitem__, default=entity.key.name)
    message = f"{longest} is too long for the index that it is in: the database takes about 2,700 bytes there"
    return ConstraintError("check", message, constraint=f"{longest} is indexed", attributes=(longest,))


def _broken(one: StoredConstraint, violation: _Violation) -> bool:
    if violation.constraint is not None:
        return one.name == violation.constraint
    return one.kind == "unique" and one.columns == violation.columns


def _columns(entity: StoredEntity, listed: str) -> tuple[str, ...]:
    """`t.a, t.b` as SQLite writes it; identifiers have neither dots nor commas."""
    return tuple(place.removeprefix(f"{entity.table}.") for place in listed.split(", "))


def _missing_target(
    cursor: Cursor,
    entity: StoredEntity,
    violation: _Violation,
    values: Mapping[str, Any],
    stored: Mapping[str, Any],
) -> ConstraintError:
    for attribute in entity.attributes:
        value = stored.get(attribute.name)
        if attribute.parked or value is None or attribute.target_table is None or attribute.target is None:
            continue
        if _misses(cursor, entity, attribute, violation, value):
            label = f"{attribute.name} refers to {attribute.target.entity}"
            message = f"{attribute.name} {values[attribute.name]!r} does not exist"
            return ConstraintError("foreign-key", message, constraint=label, attributes=(attribute.name,))
    return ConstraintError("foreign-key", "it refers to a row that does not exist", constraint=entity.name)


def _misses(
    cursor: Cursor, entity: StoredEntity, attribute: StoredAttribute, violation: _Violation, value: object
) -> bool:
    """Whether this is the reference to nothing."""
    if violation.constraint is not None:
        return violation.constraint == foreign_key_name(entity.table, attribute.column)
    return not _exists(cursor, str(attribute.target_table), str(attribute.target_column), value)


def _exists(cursor: Cursor, table: str, column: str, stored: object) -> bool:
    sql = f"SELECT 1 FROM {quoted(table)} WHERE {quoted(column)} = ? LIMIT 1"  # noqa: S608 - quoted names
    return cursor.execute(sql, (stored,)).fetchone() is not None
