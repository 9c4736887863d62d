"""Foreign keys where a table cannot refer to one that is not made yet.

Owns adding them once both ends are there: entities may refer to each other, and so may models that
are applied one after the other, of which one may be refused in the end. What should be there is in
the catalog, so that it does not matter who comes last.

PostgreSQL makes no foreign key to a table that is not there, whatever the model: `complete` adds
them. SQLite makes one, which is as good within one transaction; but as long as the other table is
missing it takes no write to this one at all. So a foreign key to a table of another model that is
still to come is left out, and comes with that table, in the same transaction: `add_awaited`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from watcherd.store import catalog, remake, rewording
from watcherd.store.cursor import Cursor
from watcherd.store.definition import DefinitionError, with_constraints
from watcherd.store.layout import StoredAttribute
from watcherd.store.rewording import Definition
from watcherd.store.tables import add_foreign_key, foreign_key, foreign_key_name

_FOREIGN_KEYS: Final = """
SELECT conname FROM pg_constraint WHERE contype = 'f' AND connamespace = current_schema()::regnamespace"""


def complete(cursor: Cursor, tables: Iterable[str]) -> None:
    """Add every foreign key from or to these tables that is still missing; nothing where it came with the table."""
    if cursor.dialect.references_in_tables:
        return
    existing = {name for (name,) in cursor.execute(cursor.dialect.tables).fetchall()}
    done = {name for (name,) in cursor.execute(_FOREIGN_KEYS).fetchall()}
    for table, attribute in catalog.references(cursor, tables):
        if foreign_key_name(table, attribute.column) in done or not {table, str(attribute.target_table)} <= existing:
            continue
        cursor.execute(add_foreign_key(table, attribute))


def add_awaited(cursor: Cursor, made: Sequence[str]) -> None:
    """Add the foreign keys of other models that have waited for these tables; nothing where `complete` does.

    One of the last steps of a transaction, see `rewording`. ApartError where it takes a copy of a table.
    """
    if not cursor.dialect.references_in_tables:
        return
    changed: list[Definition] = []
    for table, referring in catalog.awaiting(cursor, made).items():
        there = {column for (column,) in cursor.execute('SELECT "from" FROM pragma_foreign_key_list(?)', (table,))}
        missing = [one for one in referring if one.column not in there]
        if not missing:
            continue
        for one in missing:
            remake.refuse_orphans(cursor, table, one)
        definition = _referring(cursor, table, missing)
        if definition is None:
            remake.add_references(cursor, catalog.of_table(cursor, table))
        else:
            changed.append(definition)
    rewording.reword(cursor, changed)


def _referring(cursor: Cursor, table: str, missing: Sequence[StoredAttribute]) -> Definition | None:
    """The definition of a table with more foreign keys; None where it cannot be edited."""
    there = rewording.read(cursor, table) if rewording.is_allowed(cursor) else None
    if there is None:
        return None
    try:
        text = with_constraints(there.text, [foreign_key(one) for one in missing])
    except DefinitionError:  # the words of somebody else
        return None
    return rewording.with_references_of(there, text, [one.column for one in missing])
