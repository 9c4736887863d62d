"""Checks are told from everything else in a CREATE TABLE, and come and go without another character."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.store.definition import DefinitionError, checks_of, of_stored, with_constraints, without_checks
from watcherd.store.names import quoted

PLAIN = 'CREATE TABLE "t" (\n\t"id" TEXT NOT NULL, \n\t"n" INTEGER, \n\tPRIMARY KEY ("id")\n)'
WITH = 'CREATE TABLE "t" (\n\t"id" TEXT NOT NULL, \n\t"n" INTEGER, \n\tPRIMARY KEY ("id"), \n\t{}\n)'

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
HARD = st.text(st.sampled_from("""()[]"'`,;/*-\n aCHECKON"""), min_size=1, max_size=12)


def clause(name: str, violation: str) -> str:
    return f"CONSTRAINT {quoted(name)} CHECK (NOT ({violation}))"


def test_what_comes_later_reads_as_if_it_had_been_there_from_the_beginning() -> None:
    one = clause("a", '"n" <= 0')
    assert with_constraints(PLAIN, [one]) == WITH.format(one)
    assert without_checks(WITH.format(one), ["a"]) == PLAIN
    assert without_checks(PLAIN, ["a"]) == PLAIN


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        (PLAIN, []),
        ("create table t (a int, check (a > 0))", [(None, "check (a > 0)")]),
        ("create table t (a int, constraint b check(a in (1, 2)))", [("b", "constraint b check(a in (1, 2))")]),
        ("create table t (a int, constraint [b c] check (a))", [("b c", "constraint [b c] check (a)")]),
        ("create table t (a int, constraint `b``c` check (a))", [("b`c", "constraint `b``c` check (a)")]),
        ("create table t (a int check (a > 0), b text)", []),
        ("create table t (a int constraint c check (a > 0))", []),
        ('create table t ("check" int, "constraint" int)', []),
        ("create table t (a text, check (a <> ')')) -- , check (a))", [(None, "check (a <> ')')")]),
        ("create table t (a int /* , check (b) */, /* ( */ check (a) -- )\n)", [(None, "check (a)")]),
        ("create table t (a int, unique (a), foreign key (a) references u (b))", []),
        # What follows without a comma is left alone with it.
        ("create table t (a int, constraint b check (a) constraint c check (a))", []),
        ("create table t (a int, constraint b check (a) check (a))", []),
    ],
)
def test_the_checks_of_a_table_are_found_whoever_wrote_it(sql: str, found: list[tuple[str | None, str]]) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(sql.replace("check (b)", ""))
    assert [(one.name, one.text) for one in checks_of(sql)] == found


@pytest.mark.parametrize("sql", ["", "CHECK", 'CREATE VIRTUAL TABLE "check" USING fts5', "CREATE TABLE t (a CHECK (a)"])
def test_what_is_no_table_is_refused(sql: str) -> None:
    with pytest.raises(DefinitionError):
        with_constraints(sql, ["CHECK (1)"])


@given(
    table=NAMES | HARD, column=NAMES | HARD, names=st.lists(NAMES | HARD, min_size=1, max_size=3, unique_by=str.upper)
)
def test_whatever_the_names_and_texts_are_checks_come_and_go(table: str, column: str, names: list[str]) -> None:
    if table.lower().startswith("sqlite_"):
        return
    literal = "'" + "".join(names).replace("'", "''") + "'"
    clauses = [clause(name, f"{quoted(column)} = {literal}") for name in names]
    with closing(sqlite3.connect(":memory:")) as database:

        def kept(sql: str) -> str:
            database.execute(f"DROP TABLE IF EXISTS {quoted(table)}")
            database.execute(sql)
            found: str = database.execute("SELECT sql FROM sqlite_schema WHERE type = 'table'").fetchone()[0]
            return found

        bare = kept(f"CREATE TABLE {quoted(table)} ({quoted(column)} TEXT)")
        full = kept(with_constraints(bare, clauses))
        assert [one.name for one in checks_of(full)] == names
        with pytest.raises(sqlite3.IntegrityError):
            database.execute(f"INSERT INTO {quoted(table)} VALUES (?)", ("".join(names),))
        database.execute(f"INSERT INTO {quoted(table)} VALUES (NULL)")
        assert [one.name for one in checks_of(without_checks(full, names[:1]))] == names[1:]
        assert without_checks(full, names) == bare


@pytest.mark.parametrize(
    ("of_new", "of_stored_row"),
    [
        ('NEW."a" <= 0', '"a" <= 0'),
        ("""(NEW."a" = 'NEW."a"' AND NEW."NEW.b" IS NOT NULL)""", """("a" = 'NEW."a"' AND "NEW.b" IS NOT NULL)"""),
        ('''CAST(NEW."NEW" AS NUMERIC) * 1.5 < NEW."x.y"''', '''CAST("NEW" AS NUMERIC) * 1.5 < "x.y"'''),
    ],
)
def test_a_condition_of_triggers_becomes_one_of_columns(of_new: str, of_stored_row: str) -> None:
    assert of_stored(of_new, "NEW.") == of_stored_row
