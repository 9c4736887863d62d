"""What differs between the databases in the SQL that is made here.

Owns the two dialects: their types, the forms of tables and columns, and the few expressions
that one of them has no words for. Connections and errors are in `sqlite` and `postgres`.

Values have the same stored form in both (see `codecs`): text in wire form, 64-bit integers, double
precision. So the same conditions hold in both, texts compare by code point (`COLLATE "C"`), JSON is
exactly what was written, and a row can be carried from one to the other as it is. PostgreSQL's own
`timestamptz`, `numeric` and `jsonb` would each need a second codec and a second reading of every
limit, and `jsonb` knows neither NUL characters nor the order of keys.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Dialect as Compiler
from sqlalchemy.types import TypeEngine

from watcherd.store.names import quoted

FOLD: Final = "watcherd_fold"
"""The SQL function that takes the case out of a text, see `operators.folded`."""

# With the best knowledge of Unicode that the server has: its own (18), that of ICU, its own in part
# (17), else that of the system. The database's locale has no say.
_MAKE_FOLD: Final = f"""DO $do$
DECLARE found text;
BEGIN
  SELECT collname INTO found FROM pg_collation
  WHERE collname IN ('pg_unicode_fast', 'und-x-icu', 'C.UTF-8', 'C.utf8', 'default')
    AND collencoding IN (-1, (SELECT encoding FROM pg_database WHERE datname = current_database()))
  ORDER BY array_position(ARRAY['pg_unicode_fast', 'und-x-icu', 'C.UTF-8', 'C.utf8', 'default'], collname::text)
  LIMIT 1;
  EXECUTE format('CREATE OR REPLACE FUNCTION {FOLD}(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE '
    'AS $f$ SELECT normalize(upper(lower(normalize($1, NFC) COLLATE pg_catalog.%I)), NFC) $f$', found);
END $do$"""  # noqa: S608 - from a constant

_INTEGERS: Final = ("integer", "boolean", "decimal")


class Dialect(Protocol):
    """One database's way to say it. Types are signatures of the catalog, see `codecs.signature`."""

    def __hash__(self) -> int:
        """There is one of each kind."""

    @property
    def compiler(self) -> Compiler:
        """What SQLAlchemy makes statements with."""

    def parameter(self, number: int) -> str:
        """The parameter of a statement that is in the place `number`, from 1."""

    @property
    def locked(self) -> str:
        """What follows a SELECT of a row that is about to be changed."""

    @property
    def references_in_tables(self) -> bool:
        """Whether a table can refer to one that is not made yet; else foreign keys are added later."""

    @property
    def alters_checks(self) -> bool:
        """Whether a check can come to a table and go by ALTER TABLE; see `checks` for what is done else."""

    @property
    def readers_wait(self) -> bool:
        """Whether readers of a table wait from ALTER TABLE to the end of its transaction."""

    @property
    def is_server(self) -> bool:
        """Whether other hosts may use it too."""

    @property
    def milliseconds(self) -> str:
        """The time of the epoch by the database's clock, also in the middle of a transaction."""

    @property
    def first_version(self) -> str:
        """A version that no row had before: the time in milliseconds, and 20 bits by chance."""

    @property
    def blob(self) -> str:
        """The type of bytes."""

    @property
    def new_row(self) -> str:
        """What stands before a column of a row that is about to be written: in triggers, and in what names a check."""

    @property
    def position(self) -> str:
        """The function that answers where a text has a part, 0 where it has not."""

    @property
    def leaves_integers(self) -> bool:
        """Whether a sum that does not fit 64 bits goes on as a float; else integers are computed as `NUMERIC`."""

    @property
    def tables(self) -> str:
        """The query for the names of all tables."""

    def column_type(self, signature: str) -> TypeEngine[Any]:
        """The physical type of a column."""

    def indexed(self, column: str) -> str:
        """A column in an index that sorts as lists do: null comes before every value."""

    def identity(self, signature: str) -> tuple[sa.Identity, ...]:
        """What else a numbered key needs in its column."""

    def numbered(self, table: str, column: str, key: str) -> str:
        """The value of an integer key in an INSERT: the one that is given as the parameter, else the next number."""

    def typed(self, literal: str, signature: str) -> str:
        """A literal, or NULL, that is compared like a value of a column of this type."""

    def items(self, column: str, signature: str) -> str:
        """What stands in FROM for the items of a list, with the column `value`."""

    @property
    def functions(self) -> tuple[str, ...]:
        """Statements that make the functions used here, run when the database is opened."""

    def contains(self, text: sa.ColumnElement[Any], part: sa.BindParameter[Any]) -> sa.ColumnElement[bool]:
        """Whether a text has a part, character by character."""

    def has_item(self, column: sa.ColumnClause[Any], wanted: sa.BindParameter[Any]) -> sa.ColumnElement[bool]:
        """Whether a list has an item; `wanted` is the JSON text of the list of that item alone."""

    def keep_writers_out(self, table: str) -> tuple[str, ...]:
        """Statements after which nobody else writes to a table until the end of the transaction."""


class Sqlite:
    """SQLite: types are affinities, checks are in the text of the table."""

    compiler: Final[Compiler] = SQLiteDialect_pysqlite(paramstyle="qmark")
    locked: Final = ""  # there is one writer
    references_in_tables: Final = True
    alters_checks: Final = False
    readers_wait: Final = False
    is_server: Final = False
    milliseconds: Final = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
    first_version: Final = f"({milliseconds} * 1048576 + (random() & 1048575))"
    blob: Final = "BLOB"
    new_row: Final = "NEW."
    position: Final = "instr"
    leaves_integers: Final = True
    tables: Final = "SELECT name FROM sqlite_master WHERE type = 'table'"
    functions: Final = ()  # a connection gets them from `operators.install`

    def column_type(self, signature: str) -> TypeEngine[Any]:
        """An affinity: INTEGER, REAL or TEXT."""
        base = _base(signature)
        if base.startswith(_INTEGERS):
            return sa.INTEGER()
        return sa.REAL() if base == "float" else sa.TEXT()

    def indexed(self, column: str) -> str:
        """As it is: null is first by nature."""
        return column

    def identity(self, signature: str) -> tuple[sa.Identity, ...]:  # noqa: ARG002 - every integer key is numbered
        """Nothing: every integer key is numbered."""
        return ()

    def parameter(self, number: int) -> str:  # noqa: ARG002 - the place tells
        """A question mark."""
        return "?"

    def numbered(self, table: str, column: str, key: str) -> str:  # noqa: ARG002 - the database numbers a key that is null
        """As it is: the database numbers a key that is null."""
        return key

    def typed(self, literal: str, signature: str) -> str:  # noqa: ARG002 - a literal has its type
        """As it is: a literal has its type."""
        return literal

    def items(self, column: str, signature: str) -> str:  # noqa: ARG002 - items have their types
        """The items of a JSON text, each of its own type."""
        return f"json_each({column}) AS item"

    def contains(self, text: sa.ColumnElement[Any], part: sa.BindParameter[Any]) -> sa.ColumnElement[bool]:
        """No pattern: no character means more than itself, and the case of ASCII counts."""
        return sa.func.instr(text, part) > sa.literal_column("0")

    def has_item(self, column: sa.ColumnClause[Any], wanted: sa.BindParameter[Any]) -> sa.ColumnElement[bool]:
        """Both sides are JSON of the same codec, read by the same function: a float is equal to itself."""
        items = sa.func.json_each(column).table_valued("value", name="item")
        asked = sa.func.json_each(wanted).table_valued("value", name="wanted")
        return sa.exists(sa.select(sa.literal_column("1")).where(items.c.value == asked.c.value))

    def keep_writers_out(self, table: str) -> tuple[str, ...]:  # noqa: ARG002 - whichever it is
        """Nothing: a transaction that may write is the only one."""
        return ()


class Postgresql:
    """PostgreSQL: wide types that do not depend on the locale, checks are named constraints."""

    compiler: Final[Compiler] = PGDialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # SQLAlchemy's own gap
    locked: Final = " FOR UPDATE"
    references_in_tables: Final = False
    alters_checks: Final = True
    readers_wait: Final = True
    is_server: Final = True
    milliseconds: Final = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
    first_version: Final = f"({milliseconds} * 1048576 + CAST(floor(random() * 1048576) AS BIGINT))"
    blob: Final = "BYTEA"
    new_row: Final = ""
    position: Final = "strpos"
    leaves_integers: Final = False
    tables: Final = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
    functions: Final = (_MAKE_FOLD,)

    def column_type(self, signature: str) -> TypeEngine[Any]:
        """`bigint`, `double precision`, or text that is ordered by code point."""
        base = _base(signature)
        if base.startswith(_INTEGERS):
            return sa.BIGINT()
        return sa.DOUBLE_PRECISION() if base == "float" else sa.TEXT(collation="C")

    def indexed(self, column: str) -> str:
        """With null first, which is not what it would do."""
        return f"{column} NULLS FIRST"

    def identity(self, signature: str) -> tuple[sa.Identity, ...]:
        """A sequence for an integer that is no reference."""
        return (sa.Identity(always=False),) if signature == "integer" else ()

    def parameter(self, number: int) -> str:
        """A number."""
        return f"${number}"

    def numbered(self, table: str, column: str, key: str) -> str:
        """A number that is given moves the sequence on, as SQLite's AUTOINCREMENT does.

        Between the look at the sequence and the move, another connection may take a number: it
        would be given twice, and the second row refused as a duplicate; the one after it is free.
        """
        sequence = f"pg_get_serial_sequence({_text(quoted(table))}, {_text(column)})"
        given = f"CAST({key} AS BIGINT)"
        return (
            f"CASE WHEN {given} IS NULL THEN nextval({sequence}) "
            f"WHEN {given} > coalesce(pg_sequence_last_value({sequence}), 0) THEN setval({sequence}, {given}) "
            f"ELSE {given} END"
        )

    def typed(self, literal: str, signature: str) -> str:
        """A cast: a bare literal is compared as text, or not at all."""
        return f"CAST({literal} AS {self._name(signature)})"

    def items(self, column: str, signature: str) -> str:
        """The items of a JSON text, cast to what they are."""
        item = signature.removesuffix("[]")
        values = f"json_array_elements_text(CAST({column} AS json)) AS one"
        return f"(SELECT CAST(one AS {self._name(item)}) AS value FROM {values}) AS item"  # noqa: S608 - quoted names

    def contains(self, text: sa.ColumnElement[Any], part: sa.BindParameter[Any]) -> sa.ColumnElement[bool]:
        """No pattern here either."""
        return sa.func.strpos(text, part) > sa.literal_column("0")

    def has_item(self, column: sa.ColumnClause[Any], wanted: sa.BindParameter[Any]) -> sa.ColumnElement[bool]:
        """Containment, which JSON as it is kept does not know."""
        asked = sa.cast(sa.cast(wanted, sa.TEXT), JSONB)
        return sa.cast(column, JSONB).contains(asked)

    def keep_writers_out(self, table: str) -> tuple[str, ...]:
        """A lock that readers do not notice, and that a row locked by a writer waits for as well.

        A weaker one would let a writer lock its row and then wait for us, while we wait for it.
        """
        return (f"LOCK TABLE {quoted(table)} IN EXCLUSIVE MODE",)

    def _name(self, signature: str) -> str:
        """The type as CAST takes it."""
        base = _base(signature)
        if base.startswith(_INTEGERS):
            return "bigint"
        return "double precision" if base == "float" else "text"


SQLITE: Final = Sqlite()
POSTGRESQL: Final = Postgresql()


def _base(signature: str) -> str:
    """What decides the physical type: of a reference, what it holds; of a list, its JSON text."""
    return "text" if signature.endswith("[]") else signature.rpartition(":")[2]


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
