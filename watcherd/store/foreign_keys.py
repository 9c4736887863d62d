"""Foreign keys where a table cannot refer to one that is not made yet.

Owns adding them once both ends are there: entities may refer to each other, and so may models that
are applied one after the other. What should be there is in the catalog, so that it does not matter
who comes last, and what a kill left undone is done by the next change of either model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from watcherd.store import catalog
from watcherd.store.cursor import Cursor
from watcherd.store.tables import add_foreign_key, foreign_key_name

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
