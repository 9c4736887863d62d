"""What the tables of the models are really like, whoever made them so.

Owns the questions to the database's own tables about itself, one for each kind of thing, however
many models there are. Does not judge what they find: `drift` does.

These are not SQLAlchemy's inspector nor Alembic's `compare_metadata`: both ask several times a
table on a connection of SQLAlchemy's, which nothing here has, and neither sees a trigger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

from watcherd.store.cursor import Cursor
from watcherd.store.definition import DefinitionError, checks_of

Kind = Literal["table", "column", "index", "check", "reference"]

Shape = dict[tuple[Kind, str], str]
"""A table: what is in it by kind and name, each in a few words of SQL. Two of them compare part by part."""


@dataclass(frozen=True, slots=True)
class _Questions:
    """Queries about the tables of the catalog, and no others; each row begins with the table.

    `columns`: name, type, not null. `indexes`, a row a column, in order, without the primary key's:
    name, unique, whole (neither partial nor left invalid), column or null for an expression.
    `checks` (triggers, too): name. `references`: column, the table that it refers to. `texts`: the
    CREATE TABLE, where checks are told by that alone.
    """

    columns: str
    indexes: str
    checks: str
    references: str
    texts: str | None = None


_SQLITE_TABLES: Final = (
    "FROM watcherd_entity AS e JOIN sqlite_master AS t ON t.type = 'table' AND t.name = e.table_name "
)
_SQLITE: Final = _Questions(
    columns=f"""
        SELECT t.name, c.name, c.type, c."notnull" {_SQLITE_TABLES} JOIN pragma_table_info(t.name) AS c""",
    indexes=f"""
        SELECT t.name, i.name, i."unique", i.partial = 0, c.name {_SQLITE_TABLES}
        JOIN pragma_index_list(t.name) AS i ON i.origin <> 'pk' JOIN pragma_index_info(i.name) AS c
        ORDER BY i.name, c.seqno""",
    checks=f"""
        SELECT t.name, k.name {_SQLITE_TABLES} JOIN sqlite_master AS k ON k.type = 'trigger' AND k.tbl_name = t.name""",
    references=f"""
        SELECT t.name, r."from", r."table" {_SQLITE_TABLES} JOIN pragma_foreign_key_list(t.name) AS r""",
    texts=f"SELECT t.name, t.sql {_SQLITE_TABLES} WHERE t.sql LIKE '%CHECK%'",
)
_POSTGRES_TABLES: Final = (
    "FROM watcherd_entity AS e JOIN pg_class AS t ON t.relname = e.table_name AND t.relkind IN ('r', 'p') "
    "AND t.relnamespace = current_schema()::regnamespace "
)
_POSTGRES: Final = _Questions(
    columns=f"""
        SELECT t.relname, c.attname, upper(format_type(c.atttypid, c.atttypmod))
          || CASE WHEN k.collname <> 'default' THEN ' COLLATE "' || k.collname || '"' ELSE '' END, c.attnotnull
        {_POSTGRES_TABLES} JOIN pg_attribute AS c ON c.attrelid = t.oid AND c.attnum > 0 AND NOT c.attisdropped
        LEFT JOIN pg_collation AS k ON k.oid = c.attcollation""",
    indexes=f"""
        SELECT t.relname, n.relname, i.indisunique, i.indisvalid AND i.indpred IS NULL, c.attname
        {_POSTGRES_TABLES} JOIN pg_index AS i ON i.indrelid = t.oid AND NOT i.indisprimary
        JOIN pg_class AS n ON n.oid = i.indexrelid
        CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (number, position)
        LEFT JOIN pg_attribute AS c ON c.attrelid = t.oid AND c.attnum = k.number
        ORDER BY n.relname, k.position""",
    checks=f"""
        SELECT t.relname, k.conname {_POSTGRES_TABLES}
        JOIN pg_constraint AS k ON k.conrelid = t.oid AND k.contype = 'c'
        UNION ALL
        SELECT t.relname, k.tgname {_POSTGRES_TABLES}
        JOIN pg_trigger AS k ON k.tgrelid = t.oid AND NOT k.tgisinternal""",
    references=f"""
        SELECT t.relname, c.attname, r.relname
        {_POSTGRES_TABLES} JOIN pg_constraint AS k ON k.conrelid = t.oid AND k.contype = 'f'
        JOIN pg_class AS r ON r.oid = k.confrelid
        JOIN pg_attribute AS c ON c.attrelid = t.oid AND c.attnum = ANY (k.conkey)""",
)
_QUESTIONS: Final = MappingProxyType({"sqlite": _SQLITE, "postgresql": _POSTGRES})


@dataclass(frozen=True, slots=True)
class Answers:
    """The rows that a database answered, not looked at yet: that takes long where there are many tables."""

    columns: list[tuple[Any, ...]]
    indexes: list[tuple[Any, ...]]
    checks: list[tuple[Any, ...]]
    references: list[tuple[Any, ...]]
    texts: list[tuple[Any, ...]]


def ask(cursor: Cursor) -> Answers:
    """Ask, inside somebody's transaction; a slice at a time, so that others have their turn in between."""
    questions = _QUESTIONS[cursor.dialect.compiler.name]
    return Answers(
        columns=list(cursor.stream(questions.columns)),
        indexes=list(cursor.stream(questions.indexes)),
        checks=list(cursor.stream(questions.checks)),
        references=list(cursor.stream(questions.references)),
        texts=[] if questions.texts is None else list(cursor.stream(questions.texts)),
    )


def shapes(answers: Answers) -> Mapping[str, Shape]:
    """The tables that are there, by name."""
    found: dict[str, Shape] = {}
    for table, name, type_, not_null in answers.columns:
        found.setdefault(table, {})["column", name] = column_words(type_, not_null=bool(not_null))
    for (table, name), (unique, whole, columns) in _indexes(answers).items():
        found[table]["index", name] = index_words(columns, unique=unique, whole=whole)
    for table, name in answers.checks:
        found[table]["check", name] = CHECK_WORDS
    for table, text in answers.texts:
        found[table].update({("check", name): CHECK_WORDS for name in _named(text)})
    for table, column, target in answers.references:
        found[table]["reference", column] = reference_words(target)
    return found


CHECK_WORDS: Final = "CHECK"
"""All that can be said of a check: its name follows from what it demands."""


def column_words(type_: str, *, not_null: bool) -> str:
    """A column's type."""
    return f"{type_} NOT NULL" if not_null else type_


def index_words(columns: list[str], *, unique: bool, whole: bool = True) -> str:
    """What an index is over; one that is not `whole` leaves rows out."""
    return f"{'UNIQUE ' if unique else ''}({', '.join(columns)}){'' if whole else ' of some rows'}"


def reference_words(target: str) -> str:
    """What a foreign key refers to."""
    return f"REFERENCES {target}"


def _named(text: str) -> list[str]:
    """The checks in a CREATE TABLE, by name; one that has none goes by its words."""
    try:
        return [check.text if check.name is None else check.name for check in checks_of(text)]
    except DefinitionError:
        return []


def _indexes(answers: Answers) -> dict[tuple[str, str], tuple[bool, bool, list[str]]]:
    """Unique, whole and columns of each index, by table and name."""
    found: dict[tuple[str, str], tuple[bool, bool, list[str]]] = {}
    for table, name, unique, whole, column in answers.indexes:
        columns = found.setdefault((table, name), (bool(unique), bool(whole), []))[2]
        columns.append("an expression" if column is None else column)
    return found
