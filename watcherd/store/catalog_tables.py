"""The tables of the catalog itself, and how those of an older version become what they are now.

Owns every version that was ever released: a step is added, none is changed. Does not own what stands in
the tables (`catalog`, `records`, `holders`); answers make their own (`answers`).
"""

from __future__ import annotations

from typing import Final

from watcherd.errors import StoreError
from watcherd.store import old_checks
from watcherd.store.cursor import Cursor

_TABLES: Final = (
    """CREATE TABLE watcherd_catalog (version INTEGER NOT NULL)""",
    """INSERT INTO watcherd_catalog (version) VALUES (1)""",
    """CREATE TABLE watcherd_model (
        model TEXT NOT NULL PRIMARY KEY, domain TEXT NOT NULL, file TEXT NOT NULL, revision INTEGER NOT NULL,
        next_revision INTEGER NOT NULL, fingerprint TEXT NOT NULL, state TEXT NOT NULL, unloaded INTEGER NOT NULL,
        applied_at TEXT NOT NULL)""",
    """CREATE TABLE watcherd_revision (
        model TEXT NOT NULL, revision INTEGER NOT NULL, source BLOB NOT NULL, fingerprint TEXT NOT NULL,
        file TEXT NOT NULL, applied_at TEXT NOT NULL, PRIMARY KEY (model, revision))""",
    """CREATE TABLE watcherd_entity (
        table_name TEXT NOT NULL PRIMARY KEY, model TEXT NOT NULL, entity TEXT NOT NULL, position INTEGER NOT NULL,
        parked INTEGER NOT NULL)""",
    """CREATE TABLE watcherd_attribute (
        table_name TEXT NOT NULL, column_name TEXT NOT NULL, attribute TEXT NOT NULL, position INTEGER NOT NULL,
        parked INTEGER NOT NULL, is_key INTEGER NOT NULL, type TEXT NOT NULL, facts TEXT NOT NULL,
        target_model TEXT, target_entity TEXT, target_table TEXT, target_column TEXT,
        PRIMARY KEY (table_name, column_name))""",
    """CREATE TABLE watcherd_constraint (
        name TEXT NOT NULL PRIMARY KEY, table_name TEXT NOT NULL, position INTEGER NOT NULL, kind TEXT NOT NULL,
        label TEXT NOT NULL, attributes TEXT NOT NULL, columns TEXT NOT NULL, retired INTEGER NOT NULL)""",
    """CREATE INDEX watcherd_entity_model ON watcherd_entity (model)""",
    """CREATE INDEX watcherd_attribute_target ON watcherd_attribute (target_table)""",
    """CREATE INDEX watcherd_constraint_table ON watcherd_constraint (table_name)""",
)
_RENAMES_AND_ROLLBACKS: Final = (
    """ALTER TABLE watcherd_entity ADD COLUMN renamed_from TEXT""",
    """ALTER TABLE watcherd_model ADD COLUMN renamed_from TEXT""",
    """ALTER TABLE watcherd_model ADD COLUMN overrides TEXT""",
)
_HOLDERS: Final = (
    """CREATE TABLE watcherd_process (
        process TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, pid BIGINT NOT NULL, born TEXT NOT NULL,
        beat_at BIGINT NOT NULL, spoken BIGINT NOT NULL)""",
    """CREATE TABLE watcherd_hold (
        process TEXT NOT NULL, model TEXT NOT NULL, revision INTEGER NOT NULL, PRIMARY KEY (process, model))""",
)
_CODE: Final = ("""ALTER TABLE watcherd_revision ADD COLUMN code TEXT""",)
_CHECKS_IN_TABLES: Final = ()  # in SQLite, where versions before this one would not find them
_VERSIONS: Final = (_TABLES, _RENAMES_AND_ROLLBACKS, _HOLDERS, _CODE, _CHECKS_IN_TABLES)
"""What each version of the catalog does to the one before it; the first starts from nothing."""

CATALOG_VERSION: Final = len(_VERSIONS)
_WITH_CHECKS_IN_TABLES: Final = 5


def create(cursor: Cursor) -> None:
    """Make the catalog in an empty database, or bring it to this version; StoreError if it is not one of ours."""
    tables = {name for (name,) in cursor.execute(cursor.dialect.tables)}
    version = 0
    if "watcherd_catalog" in tables:
        version = cursor.execute("SELECT version FROM watcherd_catalog").fetchone()[0]
        if version > CATALOG_VERSION:
            raise StoreError(
                f"it was written by a newer version of watcherd (catalog {version}, this one knows {CATALOG_VERSION})"
            )
    elif tables:
        raise StoreError(f"it is not a database of watcherd: it has the tables {', '.join(sorted(tables)[:3])}")
    for statements in _VERSIONS[version:]:
        for statement in statements:
            cursor.execute(statement.replace("BLOB", cursor.dialect.blob))
    if 0 < version < _WITH_CHECKS_IN_TABLES:
        old_checks.convert(cursor)
    if version < CATALOG_VERSION:
        cursor.execute("UPDATE watcherd_catalog SET version = ?", (CATALOG_VERSION,))
    for statement in cursor.dialect.functions:
        cursor.execute(statement)
