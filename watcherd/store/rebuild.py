"""Making a table again where SQLite cannot alter it: foreign keys come and go, columns are dropped or filled.

Owns the copy: a new table, the rows, the old one dropped, the new one in its place with its indexes
and triggers. Runs in a transaction of `Writer.write` with `apart`, where foreign keys are off:
dropping a parent would cascade otherwise. What is copied is read from the database itself, so that
defaults and columns of which this version knows nothing stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from watcherd.store.cursor import Cursor
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
) -> None:
    """Make a table again with the foreign keys of `attributes`, and without some columns.

    A column of `filled` gets the value of the SQL beside it, one of `bare` loses its default.
    Indexes and triggers on a column that goes, go with it. Whether the foreign keys hold is for
    `remake.check_references` to say, once everything is in place.
    """
    columns = [
        replace(column, default=None) if column.name in bare else column
        for column in _columns(cursor, table)
        if column.name not in without
    ]
    references = {one.column: reference_clause(one) for one in attributes if one.target_table is not None}
    counted = _is_counted(cursor, table)
    attached = _attached(cursor, table, without)
    new = shortened(_TEMPORARY, table)
    cursor.execute(_create(new, columns, references, counted=counted))
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


def _columns(cursor: Cursor, table: str) -> list[_Column]:
    rows = cursor.execute(f"PRAGMA table_info({quoted(table)})").fetchall()
    return [_Column(name, kind, bool(not_null), default, bool(key)) for _, name, kind, not_null, default, key in rows]


def _is_counted(cursor: Cursor, table: str) -> bool:
    """Whether the database numbers the rows and never gives a number twice."""
    (sql,) = cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone()
    return "PRIMARY KEY AUTOINCREMENT" in sql.upper()


def _attached(cursor: Cursor, table: str, without: Collection[str]) -> list[str]:
    """The text of all indexes and triggers but those that name a column of `without`."""
    rows = cursor.execute(
        "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND type IN ('index', 'trigger') AND sql IS NOT NULL "
        "ORDER BY type, name",
        (table,),
    ).fetchall()
    return [sql for (sql,) in rows if not any(quoted(name) in sql for name in without)]


def _create(table: str, columns: Iterable[_Column], references: dict[str, str], *, counted: bool) -> str:
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
    return f"CREATE TABLE {quoted(table)} ({', '.join(lines)})"
