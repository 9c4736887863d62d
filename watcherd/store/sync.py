"""Two columns of a table that are kept in step while revisions that know one of them are in use.

Owns the triggers that do it. A revision writes the one column that it knows, and names it in every
INSERT, so what it wrote can be told from what it does not know. The triggers follow each change of
one column in the other, and stop where the two agree already, so that chains of columns (a type
that was changed twice) end. A value that the newer type cannot hold is refused like one that breaks
a check, which is a 409.

Values that an expression computes have no way back: what a newer revision writes is null in the old
column. The two agree where the new value is the one computed. Taking the old value away must not
look like an older revision that writes null: before that wrote, the two agreed.

Neither column may have a default: what nobody wrote would look written. A row that is inserted by
a revision older than both columns has null in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from watcherd.store.conversions import Computed, Conversion
from watcherd.store.dialect import Dialect
from watcherd.store.names import constraint_name, quoted

_SUFFIXES: Final = ("_io", "_in", "_uo", "_un")
"""Of the triggers: on insert and on update, of the old column and of the new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """The columns of one table: names as they are, not quoted.

    `watched` are other columns that the value is computed from, which older revisions alone write.
    """

    table: str
    key: str
    old: str
    new: str
    conversion: Conversion
    watched: tuple[str, ...] = ()

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
    return _create_on_sqlite(sync, objects(dialect, sync.name))


def drop(dialect: Dialect, name: str, table: str) -> tuple[str, ...]:
    """The opposite of `create`, also where somebody dropped a part of it already."""
    if dialect.compiler.name == "postgresql":
        return (
            f"DROP TRIGGER IF EXISTS {quoted(name)} ON {quoted(table)}",
            f"DROP FUNCTION IF EXISTS {quoted(name)}()",
        )
    return tuple(f"DROP TRIGGER IF EXISTS {quoted(trigger)}" for trigger in objects(dialect, name))


def _create_on_sqlite(sync: Sync, names: tuple[str, ...]) -> tuple[str, ...]:
    refused = _refused(sync)
    guard = f"SELECT RAISE(ABORT, 'watcherd:check:{sync.name}') WHERE {refused}; " if refused else ""
    forward, backward = f"{guard}{_forward(sync)}; ", f"{_backward(sync)}; "
    sources = ", ".join(quoted(one) for one in (sync.old, *sync.watched))
    events = ("INSERT", "INSERT", f"UPDATE OF {sources}", f"UPDATE OF {quoted(sync.new)}")
    parts = zip(names, events, _conditions(sync), (forward, backward, forward, backward), strict=True)
    return tuple(
        f"CREATE TRIGGER {quoted(name)} AFTER {event} ON {quoted(sync.table)} WHEN {condition} BEGIN {does}END"
        for name, event, condition, does in parts
    )


def _conditions(sync: Sync) -> tuple[str, str, str, str]:
    """When each of SQLite's triggers does something."""
    old, new = quoted(sync.old), quoted(sync.new)
    if isinstance(sync.conversion, Computed):
        when = _Computing(sync, sync.conversion, "IS")
        both = f"NEW.{new} IS NOT NULL AND NEW.{old} IS NOT NULL AND NOT ({when.agree})"
        return when.inserted, both, when.by_the_old, when.by_the_new
    agree = f"NEW.{old} IS {sync.conversion.backward(f'NEW.{new}')}"
    return (
        f"NEW.{new} IS NULL AND NEW.{old} IS NOT NULL",
        f"NEW.{new} IS NOT NULL",
        f"NEW.{old} IS NOT OLD.{old} AND NOT ({agree})",
        f"NEW.{new} IS NOT OLD.{new} AND NOT ({agree})",
    )


def _create_on_postgresql(sync: Sync) -> tuple[str, ...]:
    """One function for all, after each row: what it writes calls the triggers of other pairs in turn."""
    refused = _refused(sync)
    guard = ""
    if refused:
        using = f"ERRCODE = '23514', CONSTRAINT = '{sync.name}', MESSAGE = 'watcherd:check:{sync.name}'"
        guard = f"IF {refused} THEN RAISE EXCEPTION USING {using}; END IF;"
    if isinstance(sync.conversion, Computed):
        does = _computing_body(sync, sync.conversion, guard)
    else:
        does = _converting_body(sync, guard)
    name = quoted(sync.name)
    # A column may be called like a variable that every function has.
    body = f"""
#variable_conflict use_column
BEGIN{does}
  RETURN NULL;
END"""
    columns = ", ".join(quoted(one) for one in (sync.old, sync.new, *sync.watched))
    events = f"INSERT OR UPDATE OF {columns} ON {quoted(sync.table)}"
    return (
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $watcherd${body}$watcherd$",
        f"CREATE TRIGGER {name} AFTER {events} FOR EACH ROW EXECUTE FUNCTION {name}()",
    )


def _converting_body(sync: Sync, guard: str) -> str:
    old, new = quoted(sync.old), quoted(sync.new)
    agree = f"NEW.{old} IS NOT DISTINCT FROM {sync.conversion.backward(f'NEW.{new}')}"
    return f"""
  IF TG_OP = 'INSERT' THEN
    IF NEW.{new} IS NOT NULL THEN {_backward(sync)};
    ELSIF NEW.{old} IS NOT NULL THEN {guard} {_forward(sync)};
    END IF;
  ELSIF NOT ({agree}) THEN
    IF NEW.{new} IS DISTINCT FROM OLD.{new} THEN {_backward(sync)};
    ELSIF NEW.{old} IS DISTINCT FROM OLD.{old} THEN {guard} {_forward(sync)};
    END IF;
  END IF;"""


@dataclass(frozen=True, slots=True)
class _Computing:
    """When the triggers of a computed pair do something, as SQL; `same` compares two values, null included."""

    sync: Sync
    conversion: Computed
    same: str

    @property
    def inserted(self) -> str:
        """A row without the new value, in which an older revision wrote something that it is made of."""
        new = quoted(self.sync.new)
        return f"NEW.{new} IS NULL AND ({' OR '.join(f'NEW.{one} IS NOT NULL' for one in self._sources)})"

    @property
    def agree(self) -> str:
        """Whether the new value is the computed one."""
        return self._agreed("NEW")

    @property
    def by_the_new(self) -> str:
        """A new value, which is none that was computed just now."""
        return f"{self._changed(quoted(self.sync.new))} AND NOT ({self.agree})"

    @property
    def by_the_old(self) -> str:
        """What it is made of was written by an older revision, and not taken away by these triggers."""
        old, new = quoted(self.sync.old), quoted(self.sync.new)
        changed = " OR ".join(self._changed(one) for one in self._sources)
        written = f"(NEW.{old} IS NOT NULL AND {self._changed(old)}) OR {self._agreed('OLD')}"
        return f"NOT {self._changed(new)} AND ({changed}) AND NOT ({self.agree}) AND ({written})"

    @property
    def _sources(self) -> tuple[str, ...]:
        return tuple(quoted(one) for one in (self.sync.old, *self.sync.watched))

    def _agreed(self, row: str) -> str:
        return f"{row}.{quoted(self.sync.new)} {self.same} {self.conversion.of_row(f'{row}.')}"

    def _changed(self, column: str) -> str:
        return f"(NOT (NEW.{column} {self.same} OLD.{column}))"


def _computing_body(sync: Sync, conversion: Computed, guard: str) -> str:
    old, new = quoted(sync.old), quoted(sync.new)
    when = _Computing(sync, conversion, "IS NOT DISTINCT FROM")
    return f"""
  IF TG_OP = 'INSERT' THEN
    IF {when.inserted} THEN {guard} {_forward(sync)};
    ELSIF NEW.{new} IS NOT NULL AND NEW.{old} IS NOT NULL AND NOT ({when.agree}) THEN {_backward(sync)};
    END IF;
  ELSIF {when.by_the_new} THEN {_backward(sync)};
  ELSIF {when.by_the_old} THEN {guard} {_forward(sync)};
  END IF;"""


def _refused(sync: Sync) -> str | None:
    """Whether the new column could not hold what the old one got; over the row as it is in the table."""
    conversion = sync.conversion
    if isinstance(conversion, Computed):
        refused = conversion.refused
    elif conversion.violation is not None:
        refused = conversion.violation(quoted(sync.old))
    else:
        return None
    return f"EXISTS (SELECT 1 FROM {quoted(sync.table)} WHERE {_this_row(sync)} AND {refused})"  # noqa: S608 - quoted names


def _forward(sync: Sync) -> str:
    value = sync.conversion.forward(quoted(sync.old))
    return f"UPDATE {quoted(sync.table)} SET {quoted(sync.new)} = {value} WHERE {_this_row(sync)}"  # noqa: S608 - quoted names


def _backward(sync: Sync) -> str:
    value = sync.conversion.backward(quoted(sync.new))
    return f"UPDATE {quoted(sync.table)} SET {quoted(sync.old)} = {value} WHERE {_this_row(sync)}"  # noqa: S608 - quoted names


def _this_row(sync: Sync) -> str:
    return f"{quoted(sync.key)} = NEW.{quoted(sync.key)}"
