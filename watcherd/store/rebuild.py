"""Making a table again where SQLite cannot alter it: foreign keys come and go, columns are dropped or filled.

Owns the copy: a new table, the rows, the old one dropped, the new one in its place with its indexes
and triggers. Runs in a transaction of `Writer.write` with `apart`, where foreign keys are off:
dropping a parent would cascade otherwise. What is copied is read from the database itself, so that
defaults, columns and checks of which this version knows nothing stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from watcherd.store import rewording
from watcherd.store.cursor import Cursor
from watcherd.store.definition import checks_of
from watcherd.store.layout import StoredAttribute
from watcherd.store.names import quoted, shortened
from watcherd.store.tables import reference_clause

_TEMPORARY: Final = "watcherd_rebuild"


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    type: str
    not_null: bool
    default: str | None
    is_key: bool


def rebuild(  # noqa: PLR0913 - all that a copy can do on its way
    cursor: Cursor,
    table: str,
    attributes: Iterable[StoredAttribute],
    *,
    without: Collection[str] = (),
    filled: Mapping[str, str] = MappingProxyType({}),
    bare: Collection[str] = (),
    without_checks: Collection[str] = (),
) -> None:
    """Make a table again with the foreign keys of `attributes`, and without some columns, or checks.

    A column of `filled` gets the value of the SQL beside it, one of `bare` loses its default.
    Indexes, checks and triggers on a column that goes, go with it. Whether the foreign keys hold is for
    `remake.check_references` to say, once everything is in place.
    """
    columns = [
        replace(column, default=None) if column.name in bare else column
        for column in _columns(cursor, table)
        if column.name not in without
    ]
    references = {one.column: reference_clause(one) for one in attributes if _refers(cursor, table, one)}
    definition = rewording.read(cursor, table)
    text = "" if definition is None else definition.text
    counted = "PRIMARY KEY AUTOINCREMENT" in text.upper()  # then it never gives a number twice
    checks = [
        check.text
        for check in checks_of(text)
        if check.name not in without_checks and not any(quoted(name) in check.text for name in without)
    ]
    attached = _attached(cursor, table, without)
    new = shortened(_TEMPORARY, table)
    cursor.execute(_create(new, columns, references, checks, counted=counted))
    listed = ", ".join(quoted(column.name) for column in columns)
    values = ", ".join(filled.get(column.name, quoted(column.name)) for column in columns)
    cursor.execute(f"INSERT INTO {quoted(new)} ({listed}) SELECT {values} FROM {quoted(table)}")  # noqa: S608 - quoted names
    if counted:
        # The copy counts on from its highest key; what was given to rows that are gone must stay used.
        cursor.execute("DELETE FROM sqlite_sequence WHERE name = ?", (new,))
        cursor.execute(
            "INSERT INTO sqlite_sequence (name, seq) SELECT ?, seq FROM sqlite_sequence WHERE name = ?", (new, table)
        )
    cursor.execute(f"DROP TABLE {quoted(table)}")
    cursor.execute(f"ALTER TABLE {quoted(new)} RENAME TO {quoted(table)}")
    for statement in attached:
        cursor.execute(statement)


def _refers(cursor: Cursor, table: str, column: StoredAttribute) -> bool:
    """Whether a column has a foreign key already: not to a table that is still to come, see `foreign_keys`."""
    if column.target_table is None:
        return False
    found = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?"
    return column.target_table == table or cursor.execute(found, (column.target_table,)).fetchone() is not None


def _columns(cursor: Cursor, table: str) -> list[_Column]:
    rows = cursor.execute(f"PRAGMA table_info({quoted(table)})").fetchall()
    return [_Column(name, kind, bool(not_null), default, bool(key)) for _, name, kind, not_null, default, key in rows]


def _attached(cursor: Cursor, table: str, without: Collection[str]) -> list[str]:
    """The text of all indexes and triggers but those that name a column of `without`."""
    rows = cursor.execute(
        "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND type IN ('index', 'trigger') AND sql IS NOT NULL "
        "ORDER BY type, name",
        (table,),
    ).fetchall()
    return [sql for (sql,) in rows if not any(quoted(name) in sql for name in without)]


def _create(
    table: str, columns: Iterable[_Column], references: dict[str, str], checks: Iterable[str], *, counted: bool
) -> str:
    lines = []
    for column in columns:
        parts = [quoted(column.name), column.type]
        if column.not_null:
            parts.append("NOT NULL")
        if column.default is not None:
            parts.append(f"DEFAULT {column.default}")
        if column.is_key:
            parts.append("PRIMARY KEY AUTOINCREMENT" if counted else "PRIMARY KEY")
        if column.name in references:
            parts.append(references[column.name])
        lines.append(" ".join(parts))
    return f"CREATE TABLE {quoted(table)} ({', '.join((*lines, *checks))})"
