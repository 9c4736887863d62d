"""The checks of tables: how they come and how they go, on either database.

Owns the choice of their form. A new table has them in its CREATE TABLE. PostgreSQL alters a table
that is there. SQLite has no words for that, and a copy of the table would take as long as it has
rows, so the definition is edited (`rewording`). That a condition holds for the rows that are there
was looked at before.

Where SQLite does not let its definitions be edited, as the builds of some systems are, or where
somebody has written the table in words that are not understood here, a check that comes later is a
pair of triggers, and one that goes takes a copy of the table. Triggers are not the rule: each is a
statement to make it, and a text more to read whenever a connection reads the definitions anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from watcherd.pim.spec import EMPTY
from watcherd.store import rewording
from watcherd.store.cursor import Cursor
from watcherd.store.definition import DefinitionError, with_constraints, without_checks
from watcherd.store.dialect import Dialect
from watcherd.store.names import constraint_name, quoted
from watcherd.store.rewording import Definition


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A condition that no row of a table may meet: `violation`, over its columns.

    `of_new` says the same of a row that is about to be written, as triggers do (`Dialect.new_row`).
    """

    table: str
    name: str
    columns: tuple[str, ...]
    violation: str
    of_new: str

    @property
    def clause(self) -> str:
        """The constraint, as in CREATE TABLE; null passes."""
        # Not `IS NOT TRUE`: where a column has that name, SQLite takes it for the column.
        return f"CONSTRAINT {quoted(self.name)} CHECK (NOT ({self.violation}))"

    @property
    def triggers(self) -> tuple[str, ...]:
        """The statements of the triggers that do the same."""
        listed = ", ".join(quoted(column) for column in self.columns)
        refusal = f"WHEN {self.of_new} BEGIN SELECT RAISE(ABORT, 'watcherd:check:{self.name}'); END"
        return tuple(
            f"CREATE TRIGGER {quoted(trigger)} BEFORE {event} ON {quoted(self.table)} {refusal}"
            for trigger, event in zip(trigger_names(self.name), ("INSERT", f"UPDATE OF {listed}"), strict=True)
        )


def check_name(table: str, columns: Sequence[str], of_new: str) -> str:
    """What a check is called: by what it demands, and with room for what is added to the names of triggers."""
    return constraint_name("ck", table, columns, of_new, room_for=trigger_names("")[0])


def forms(dialect: Dialect, name: str) -> tuple[tuple[str, ...], ...]:
    """What a check may be called in the database: as it is meant to be first, then the pair of triggers."""
    return ((name,),) if dialect.alters_checks else ((name,), trigger_names(name))


def trigger_names(name: str) -> tuple[str, str]:
    """The triggers on insert and on update."""
    return f"{name}_i", f"{name}_u"


def create(cursor: Cursor, checks: Sequence[Check], columns: Mapping[str, Sequence[str]] = EMPTY) -> None:
    """Refuse from now on what violates these checks, on tables that are there; the last step of a transaction.

    `columns` are statements that add columns, by table: they come together with the checks.
    """
    if cursor.dialect.alters_checks:
        _run(cursor, columns.values())
        for check in checks:
            # The rows have been looked at under a lock: no second look, which readers would wait for.
            cursor.execute(f"ALTER TABLE {quoted(check.table)} ADD {check.clause} NOT VALID")
        return
    changed: list[Definition] = []
    tables = dict.fromkeys((*columns, *(check.table for check in checks)))
    allowed = bool(tables) and rewording.is_allowed(cursor)
    for table in tables:
        new = [check for check in checks if check.table == table]
        added = columns.get(table, ())
        definition = _edited(cursor, table, added, more=[check.clause for check in new]) if allowed else None
        if definition is None:
            _run(cursor, [added, *(check.triggers for check in new)])
        else:
            changed.append(definition)
    rewording.reword(cursor, changed)


def drop(cursor: Cursor, gone: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The opposite of `create`, by table, also where somebody dropped a check already; the last step as well.

    Returns the tables that have still to be copied without theirs.
    """
    if cursor.dialect.alters_checks:
        for table, names in gone.items():
            for name in names:
                cursor.execute(f"ALTER TABLE IF EXISTS {quoted(table)} DROP CONSTRAINT IF EXISTS {quoted(name)}")
        return ()
    changed: list[Definition] = []
    for table, names in gone.items():
        for name in names:
            for trigger in trigger_names(name):
                cursor.execute(f"DROP TRIGGER IF EXISTS {quoted(trigger)}")
        definition = _edited(cursor, table, less=names)
        if definition is not None:
            changed.append(definition)
    if changed and not rewording.is_allowed(cursor):
        return tuple(definition.table for definition in changed)
    rewording.reword(cursor, changed)
    return ()


def _edited(
    cursor: Cursor, table: str, columns: Sequence[str] = (), *, more: Sequence[str] = (), less: Sequence[str] = ()
) -> Definition | None:
    """The definition of a table with more columns and checks, or less; None where it cannot be edited, or need not."""
    there = rewording.read(cursor, table)
    if there is None:
        return None
    try:
        grown = rewording.altered(there, columns)
    except sqlite3.Error:  # what is in the way there, ALTER TABLE itself says
        return None
    try:
        text = with_constraints(without_checks(grown.text, less), more)
    except DefinitionError:  # the words of somebody else
        return None
    edited = grown if text == grown.text else rewording.with_checks_of(grown, text)
    return None if edited == there else edited


def _run(cursor: Cursor, statements: Iterable[Iterable[str]]) -> None:
    for some in statements:
        for statement in some:
            cursor.execute(statement)
