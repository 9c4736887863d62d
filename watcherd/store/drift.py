"""The drift alarm: the tables as they are against the tables as the catalog says they were made.

Owns the comparison. Nothing is changed by it, nor by what it finds: plans follow the catalog alone.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from watcherd.store import checks, reflection, sync
from watcherd.store.cursor import Cursor
from watcherd.store.dialect import Dialect
from watcherd.store.reflection import Kind, Shape
from watcherd.store.tables import VERSION_COLUMN

_TABLES: Final = "SELECT e.table_name, m.domain FROM watcherd_entity AS e JOIN watcherd_model AS m USING (model)"
_COLUMNS: Final = "SELECT table_name, column_name, type, is_key, target_table FROM watcherd_attribute"
_CONSTRAINTS: Final = "SELECT table_name, name, kind, columns FROM watcherd_constraint"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that somebody else changed; `wanted` is what the catalog says, `found` what is there.

    Without `wanted` nobody here made it, without `found` it is missing; the words are SQL's. The
    name of a `reference` is that of its column.
    """

    table: str
    kind: Kind
    name: str
    wanted: str | None
    found: str | None

    def __str__(self) -> str:
        """Say it in a line."""
        what = f"the table {self.table}" if self.kind == "table" else f"the {self.kind} {self.name} of {self.table}"
        if self.found is None:
            return f"{what} is missing"
        return f"{what} is not ours" if self.wanted is None else f"{what} is {self.found}, not {self.wanted}"


@dataclass(frozen=True, slots=True)
class Sight:
    """The catalog and the tables as of one moment, not compared yet: that needs no connection."""

    dialect: Dialect
    tables: list[tuple[Any, ...]]
    columns: list[tuple[Any, ...]]
    constraints: list[tuple[Any, ...]]
    answers: reflection.Answers


def look(cursor: Cursor) -> Sight:
    """Read the catalog and the tables, in one transaction that sees one state of both."""
    return Sight(
        dialect=cursor.dialect,
        tables=list(cursor.stream(_TABLES)),
        columns=list(cursor.stream(_COLUMNS)),
        constraints=list(cursor.stream(_CONSTRAINTS)),
        answers=reflection.ask(cursor),
    )


def drift(sight: Sight) -> Mapping[str, tuple[Difference, ...]]:
    """The differences of each model that has some, by domain, in a stable order."""
    found = reflection.shapes(sight.answers)
    wanted = _wanted(sight, found)
    existing = {reflection.reference_words(name) for name in found}
    differences: dict[str, list[Difference]] = {}
    for table, domain in sight.tables:
        for one in _compare(table, wanted[table], found.get(table), existing):
            differences.setdefault(domain, []).append(one)
    return {domain: tuple(sorted(differences[domain], key=_place)) for domain in sorted(differences)}


def _wanted(sight: Sight, found: Mapping[str, Shape]) -> Mapping[str, Shape]:
    """What the catalog says of every table: what is parked or retired is there as well.

    Of a check the form in which it was found, at least in part.
    """
    dialect = sight.dialect
    type_of = cache(lambda signature: str(dialect.column_type(signature).compile(dialect=dialect.compiler)))
    version = reflection.column_words(type_of("integer"), not_null=True)
    wanted: dict[str, Shape] = {table: {("column", VERSION_COLUMN): version} for table, _ in sight.tables}
    for table, column, signature, is_key, target in sight.columns:
        wanted[table]["column", column] = reflection.column_words(type_of(signature), not_null=bool(is_key))
        if target is not None:
            wanted[table]["reference", column] = reflection.reference_words(target)
    for table, name, kind, columns in sight.constraints:
        if kind in {"check", "sync"}:
            forms = checks.forms(dialect, name) if kind == "check" else (sync.objects(dialect, name),)
            there = found.get(table, {})
            made = next((form for form in forms if any(("check", one) in there for one in form)), forms[0])
            wanted[table].update({("check", one): reflection.CHECK_WORDS for one in made})
        elif kind != "rule":
            words = reflection.index_words(json.loads(columns), unique=kind == "unique")
            wanted[table]["index", name] = words
    return wanted


def _compare(table: str, wanted: Shape, found: Shape | None, existing: Container[str]) -> Iterator[Difference]:
    """The differences of one table; `existing` are the words of references to tables that are there."""
    if found is None:
        yield Difference(table, "table", table, wanted="TABLE", found=None)
        return
    for part in wanted.keys() | found.keys():
        expected, there = wanted.get(part), found.get(part)
        if expected == there:
            continue
        kind, name = part
        # A foreign key may wait for a table of another model; that one is missing itself if it should be there.
        if kind == "reference" and there is None and expected not in existing:
            continue
        yield Difference(table, kind, name, expected, there)


def _place(one: Difference) -> tuple[str, str, str]:
    return one.table, one.kind, one.name
