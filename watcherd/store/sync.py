"""Two columns of a table that are kept in step while revisions that know one of them are in use.

Owns the triggers that do it. A revision writes the one column that it knows, and names it in every
INSERT, so what it wrote can be told from what it does not know. The triggers follow each change of
one column in the other, and stop where the two agree already, so that chains of columns (a type
that was changed twice) end. A value that the newer type cannot hold is refused like one that breaks
a check, which is a 409.

Neither column may have a default: what nobody wrote would look written. A row that is inserted by
a revision older than both columns has null in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from watcherd.store.conversions import Conversion
from watcherd.store.dialect import Dialect
from watcherd.store.names import constraint_name, quoted

_SUFFIXES: Final = ("_io", "_in", "_uo", "_un")
"""Of the triggers: on insert and on update, of the old column and of the new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """The columns of one table: names as they are, not quoted."""

    table: str
    key: str
    old: str
    new: str
    conversion: Conversion

    @property
    def name(self) -> str:
        """What the catalog calls it."""
        forward = self.conversion.forward(quoted(self.old))
        return constraint_name("sy", self.table, (self.old, self.new), forward, room_for=_SUFFIXES[0])


def objects(dialect: Dialect, name: str) -> tuple[str, ...]:
    """The names of the triggers."""
    return (name,) if dialect.compiler.name == "postgresql" else tuple(f"{name}{suffix}" for suffix in _SUFFIXES)


def create(dialect: Dialect, sync: Sync) -> tuple[str, ...]:
    """Statements that keep the columns in step from now on."""
    if dialect.compiler.name == "postgresql":
        return _create_on_postgresql(sync)
    on_insert_old, on_insert_new, on_update_old, on_update_new = objects(dialect, sync.name)
    old, new = quoted(sync.old), quoted(sync.new)
    refused = _refused(sync)
    guard = f"SELECT RAISE(ABORT, 'watcherd:check:{sync.name}') WHERE {refused}; " if refused else ""
    forward, backward = f"{guard}{_forward(sync)}; ", f"{_backward(sync)}; "
    agree = f"NEW.{old} IS {sync.conversion.backward(f'NEW.{new}')}"
    parts = (
        (on_insert_old, "INSERT", f"NEW.{new} IS NULL AND NEW.{old} IS NOT NULL", forward),
        (on_insert_new, "INSERT", f"NEW.{new} IS NOT NULL", backward),
        (on_update_old, f"UPDATE OF {old}", f"NEW.{old} IS NOT OLD.{old} AND NOT ({agree})", forward),
        (on_update_new, f"UPDATE OF {new}", f"NEW.{new} IS NOT OLD.{new} AND NOT ({agree})", backward),
    )
    return tuple(
        f"CREATE TRIGGER {quoted(name)} AFTER {event} ON {quoted(sync.table)} WHEN {when} BEGIN {does}END"
        for name, event, when, does in parts
    )


def drop(dialect: Dialect, name: str, table: str) -> tuple[str, ...]:
    """The opposite of `create`, also where somebody dropped a part of it already."""
    if dialect.compiler.name == "postgresql":
        return (
            f"DROP TRIGGER IF EXISTS {quoted(name)} ON {quoted(table)}",
            f"DROP FUNCTION IF EXISTS {quoted(name)}()",
        )
    return tuple(f"DROP TRIGGER IF EXISTS {quoted(trigger)}" for trigger in objects(dialect, name))


def _create_on_postgresql(sync: Sync) -> tuple[str, ...]:
    """One function for all, after each row: what it writes calls the triggers of other pairs in turn."""
    old, new, name = quoted(sync.old), quoted(sync.new), quoted(sync.name)
    refused = _refused(sync)
    guard = ""
    if refused:
        using = f"ERRCODE = '23514', CONSTRAINT = '{sync.name}', MESSAGE = 'watcherd:check:{sync.name}'"
        guard = f"IF {refused} THEN RAISE EXCEPTION USING {using}; END IF;"
    agree = f"NEW.{old} IS NOT DISTINCT FROM {sync.conversion.backward(f'NEW.{new}')}"
    # A column may be called like a variable that every function has.
    body = f"""
#variable_conflict use_column
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.{new} IS NOT NULL THEN {_backward(sync)};
    ELSIF NEW.{old} IS NOT NULL THEN {guard} {_forward(sync)};
    END IF;
  ELSIF NOT ({agree}) THEN
    IF NEW.{new} IS DISTINCT FROM OLD.{new} THEN {_backward(sync)};
    ELSIF NEW.{old} IS DISTINCT FROM OLD.{old} THEN {guard} {_forward(sync)};
    END IF;
  END IF;
  RETURN NULL;
END"""
    events = f"INSERT OR UPDATE OF {old}, {new} ON {quoted(sync.table)}"
    return (
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $watcherd${body}$watcherd$",
        f"CREATE TRIGGER {name} AFTER {events} FOR EACH ROW EXECUTE FUNCTION {name}()",
    )


def _refused(sync: Sync) -> str | None:
    """Whether the new column could not hold what the old one got; over the row as it is in the table."""
    violation = sync.conversion.violation
    if violation is None:
        return None
    return f"EXISTS (SELECT 1 FROM {quoted(sync.table)} WHERE {_this_row(sync)} AND {violation(quoted(sync.old))})"  # noqa: S608 - quoted names


def _forward(sync: Sync) -> str:
    value = sync.conversion.forward(quoted(sync.old))
    return f"UPDATE {quoted(sync.table)} SET {quoted(sync.new)} = {value} WHERE {_this_row(sync)}"  # noqa: S608 - quoted names


def _backward(sync: Sync) -> str:
    value = sync.conversion.backward(quoted(sync.new))
    return f"UPDATE {quoted(sync.table)} SET {quoted(sync.old)} = {value} WHERE {_this_row(sync)}"  # noqa: S608 - quoted names


def _this_row(sync: Sync) -> str:
    return f"{quoted(sync.key)} = NEW.{quoted(sync.key)}"
