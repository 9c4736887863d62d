"""The checks of an SQLite database from before catalog 5: pairs of triggers, which become what new tables have.

Owns that one step, done when such a database is opened. It takes as long as there are tables, not
rows, and where it cannot be done the triggers serve on as they are: `checks` knows them as well.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from watcherd.store import checks, rewording
from watcherd.store.checks import Check
from watcherd.store.cursor import Cursor, is_passing
from watcherd.store.definition import DefinitionError, of_stored, with_constraints
from watcherd.store.rewording import Definition

_PAIRS: Final = """
SELECT t.rowid, t.name, t.sql, c.name, c.columns, i.rowid, i.sql, u.rowid, u.sql FROM watcherd_constraint AS c
JOIN sqlite_schema AS t ON t.type = 'table' AND t.name = c.table_name
JOIN sqlite_schema AS i ON i.type = 'trigger' AND i.tbl_name = t.name AND i.name = c.name || '_i'
JOIN sqlite_schema AS u ON u.type = 'trigger' AND u.tbl_name = t.name AND u.name = c.name || '_u'
WHERE c.kind = 'check' ORDER BY t.rowid, c.position"""
_WHEN: Final = re.compile(r" WHEN (.*) BEGIN SELECT RAISE\(ABORT, ", re.DOTALL)
_BACK: Final = "watcherd_old_checks"


@dataclass(slots=True)
class _Table:
    """A table that has such checks: its definition, its new checks, and the rows of their triggers."""

    row: int
    text: str
    clauses: list[str] = field(default_factory=list)
    triggers: list[int] = field(default_factory=list)


def convert(cursor: Cursor) -> None:
    """Take the checks into the definitions of their tables. sqlite3.Error for what may be over later."""
    if cursor.dialect.alters_checks or not rewording.is_allowed(cursor):
        return
    cursor.execute(f"SAVEPOINT {_BACK}")
    try:
        _convert(cursor)
    except (sqlite3.Error, DefinitionError) as error:
        if isinstance(error, sqlite3.Error) and is_passing(error):
            raise
        cursor.execute(f"ROLLBACK TO {_BACK}")
    cursor.execute(f"RELEASE {_BACK}")


def _convert(cursor: Cursor) -> None:
    tables: dict[str, _Table] = {}
    for row, name, text, label, columns, insert, on_insert, update, on_update in cursor.execute(_PAIRS).fetchall():
        check = _check(name, label, json.loads(columns), cursor.dialect.new_row, (on_insert, on_update))
        if check is not None:
            table = tables.setdefault(name, _Table(row, text))
            table.clauses.append(check.clause)
            table.triggers += insert, update
    changed = [
        rewording.with_checks_of(Definition(name, one.row, one.text), with_constraints(one.text, one.clauses))
        for name, one in tables.items()
    ]
    rewording.reword(cursor, changed, [row for one in tables.values() for row in one.triggers])


def _check(table: str, name: str, columns: Sequence[str], prefix: str, triggers: tuple[str, str]) -> Check | None:
    """What a pair of triggers demands; None where they are not as they were made, and mean what somebody meant."""
    when = _WHEN.search(triggers[0])
    if when is None or checks.check_name(table, columns, when[1]) != name:
        return None
    violation = of_stored(when[1], prefix)
    check = Check(table=table, name=name, columns=tuple(columns), violation=violation, of_new=when[1])
    return check if check.triggers == triggers else None
