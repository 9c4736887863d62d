"""Explaining an integrity error of the database in the words of the model.

Owns the reading of SQLite's messages and the few look-ups that say which value was refused. Runs
in the transaction that failed, before it is rolled back: what is in the way can still be seen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from watcherd.errors import ConstraintError, StoreError
from watcherd.store import catalog
from watcherd.store.cursor import Cursor, DatabaseError, refused
from watcherd.store.layout import StoredEntity
from watcherd.store.names import quoted

_CHECK: Final = re.compile(r"^watcherd:check:(.+)$")
_UNIQUE: Final = re.compile(r"^UNIQUE constraint failed: (.+)$")
_FOREIGN_KEY: Final = "FOREIGN KEY constraint failed"


def write_refused(
    cursor: Cursor, error: DatabaseError, entity: StoredEntity, values: Mapping[str, Any], stored: Mapping[str, Any]
) -> StoreError:
    """Why a row could not be written; its values by attribute name, as sent and as stored."""
    message = str(error)
    if found := _CHECK.match(message):
        return _check(cursor, entity, found[1])
    if found := _UNIQUE.match(message):
        return _unique(cursor, entity, _columns(entity, found[1]), values)
    if message == _FOREIGN_KEY:
        return _missing_target(cursor, entity, values, stored)
    return refused(error)


def delete_refused(cursor: Cursor, error: DatabaseError, entity: StoredEntity, key: object) -> StoreError:
    """Why a row could not be deleted; `key` is its stored key."""
    if str(error) != _FOREIGN_KEY:
        return refused(error)
    for one in catalog.referrers(cursor, entity.table):
        if one.restricts and _exists(cursor, one.table, one.column, key):
            where = f" in {one.attribute}, which is out of service" if one.parked else ""
            message = f"rows of {one.entity} still refer to it{where}"
            return ConstraintError("foreign-key", message, constraint=one.entity)
    # In the way are not its own referrers, but rows that refer to those which would go with it.
    return ConstraintError("foreign-key", "rows that would go with it are still referred to", constraint=entity.name)


def _check(cursor: Cursor, entity: StoredEntity, name: str) -> ConstraintError:
    """The sentence; an older or newer revision's is in the catalog as well."""
    known = next((one for one in catalog.constraints_of(cursor, entity.table) if one.name == name), None)
    if known is None:
        return ConstraintError("check", f"it breaks a constraint: {name}", constraint=name)
    return ConstraintError("check", known.label, constraint=known.label, attributes=known.attributes)


def _unique(
    cursor: Cursor, entity: StoredEntity, columns: tuple[str, ...], values: Mapping[str, Any]
) -> ConstraintError:
    constraints = catalog.constraints_of(cursor, entity.table)
    known = next((one for one in constraints if one.kind == "unique" and one.columns == columns), None)
    attributes = known.attributes if known is not None else (entity.key.name,)
    label = known.label if known is not None else f"{entity.key.name} must be unique"
    shown = " and ".join(f"{name} {values[name]!r}" if name in values else name for name in attributes)
    verb = "already exists" if len(attributes) == 1 else "already exist together"
    return ConstraintError("unique", f"{shown} {verb}", constraint=label, attributes=attributes)


def _columns(entity: StoredEntity, listed: str) -> tuple[str, ...]:
    """`t.a, t.b` as SQLite writes it; identifiers have neither dots nor commas."""
    return tuple(place.removeprefix(f"{entity.table}.") for place in listed.split(", "))


def _missing_target(
    cursor: Cursor, entity: StoredEntity, values: Mapping[str, Any], stored: Mapping[str, Any]
) -> ConstraintError:
    for attribute in entity.attributes:
        value = stored.get(attribute.name)
        if attribute.parked or value is None or attribute.target_table is None or attribute.target is None:
            continue
        if not _exists(cursor, attribute.target_table, str(attribute.target_column), value):
            label = f"{attribute.name} refers to {attribute.target.entity}"
            message = f"{attribute.name} {values[attribute.name]!r} does not exist"
            return ConstraintError("foreign-key", message, constraint=label, attributes=(attribute.name,))
    return ConstraintError("foreign-key", "it refers to a row that does not exist", constraint=entity.name)


def _exists(cursor: Cursor, table: str, column: str, stored: object) -> bool:
    sql = f"SELECT 1 FROM {quoted(table)} WHERE {quoted(column)} = ? LIMIT 1"  # noqa: S608 - quoted names
    return cursor.execute(sql, (stored,)).fetchone() is not None
