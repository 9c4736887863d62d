"""A condition in SQL against the same expression here: true, false and null for the same rows, on any database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.store.conftest import Query
from watcherd.errors import EvaluationError, InvalidExpressionError
from watcherd.expressions import BOOL, Expression, compile_expression
from watcherd.pim.scopes import check_scope
from watcherd.pim.spec import Attribute, Kind
from watcherd.store.codecs import codec_for, literal
from watcherd.store.conditions import Translation, UntranslatableError, violation
from watcherd.store.dialect import POSTGRESQL, SQLITE, Dialect
from watcherd.store.names import quoted

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ATTRIBUTES = {
    one.name: one
    for one in (
        Attribute(name="i", kind=Kind.INTEGER),
        Attribute(name="n", kind=Kind.INTEGER),
        Attribute(name="d", kind=Kind.DECIMAL, scale=2, precision=12),
        Attribute(name="e", kind=Kind.DECIMAL),
        Attribute(name="f", kind=Kind.FLOAT),
        Attribute(name="s", kind=Kind.STRING),
        Attribute(name="t", kind=Kind.TEXT),
        Attribute(name="k", kind=Kind.ENUM, members=("a", "b")),
        Attribute(name="b", kind=Kind.BOOLEAN),
        Attribute(name="m", kind=Kind.DATETIME),
        Attribute(name="y", kind=Kind.DATE),
        Attribute(name="tags", kind=Kind.STRING, is_list=True),
        Attribute(name="j", kind=Kind.JSON),
        Attribute(name="r", kind=Kind.REFERENCE),
    )
}
HELD = {**ATTRIBUTES, "r": Attribute(name="r", kind=Kind.UUID)}
SCOPE = check_scope("Row", ATTRIBUTES)
CHOICES: dict[str, list[Any]] = {
    "i": [1, 0, -5, 7, 2**63 - 1],
    "n": [7, 1, -(2**63), 3, 1000],
    "d": ["1.00", "0.10", "-5.00", "9999999999.99", "7.00"],
    "e": ["1", "0.1", "0.000001", "7", "999999999999.999999"],
    "f": [1.0, 0.1, -2.5, 1e300, 7.0],
    "s": ["", "a", "a%b", "é", "ab'c"],
    "t": ["a", "", "ab", "é", "a%b"],
    "k": ["a", "b", "a", "b", "a"],
    "b": [True, False, True, False, True],
    "m": ["2026-11-22T00:00:00.000000Z", "2025-01-01T12:00:00.000000Z", "0001-01-01T00:00:00.000000Z",
          "9999-12-31T23:59:59.999999Z", "2026-11-21T23:59:59.999999Z"],
    "y": ["2026-11-22", "2025-01-01", "0001-01-01", "9999-12-31", "2026-11-23"],
    "tags": [["a"], [], ["b", "c"], ["a", "b"], ["é"]],
    "j": [{"a": 1}, 1, "x", [], True],
    "r": [f"00000000-0000-0000-0000-00000000000{number}" for number in range(5)],
}  # fmt: skip
PLACES = {name: place for place, name in enumerate(ATTRIBUTES)}


def value_of(name: str, row: int) -> Any:
    """Every value stands beside different ones in different rows, and each attribute is null in some."""
    place = (row * (PLACES[name] + 1) + PLACES[name]) % 6
    return None if place == 5 else CHOICES[name][place]


ROWS = [{name: value_of(name, row) for name in ATTRIBUTES} for row in range(30)] + [dict.fromkeys(ATTRIBUTES)]

NUMBERS = st.sampled_from(["i", "n", "d", "e", "self.i", "self.d", "0", "1", "7", "-5", "0.1", "1.005", "1e12", "e"])
TEXTS = st.sampled_from(["s", "t", "self.s", "'a'", "''", "'a%b'", "'é'", '"ab\'c"', "s + t"])
MOMENTS = st.sampled_from(["m", "y", "now", "now - days(1)", "timestamp('2025-01-01T12:00:00Z')", "date('2026-11-22')"])
SUMS = st.recursive(
    NUMBERS,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*"), inner) | st.builds("-({})".format, inner)
    ),
    max_leaves=3,
)
ORDERS = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
CONDITIONS = st.recursive(
    st.one_of(
        st.builds("({} {} {})".format, SUMS, ORDERS, SUMS),
        st.builds("({} {} {})".format, TEXTS, ORDERS, TEXTS),
        st.builds("({} {} {})".format, MOMENTS, ORDERS, MOMENTS),
        st.builds("{}.{}({})".format, TEXTS, st.sampled_from(["startsWith", "endsWith", "contains"]), TEXTS),
        st.builds("({} in [{}, {}])".format, NUMBERS, NUMBERS, NUMBERS),
        st.builds("({} in [{}, {}, null])".format, TEXTS, TEXTS, TEXTS),
        st.builds("(size({}) {} {})".format, TEXTS, ORDERS, SUMS),
        st.sampled_from(
            ["b", "!b", "true", "false", "has(self.i)", "has(self.tags)", "tags == null", "j != null", "k == 'a'",
             "k in ['a']", "f > 0.1", "f == 0.1", "b == true", "abs(d) > 1", "r == null", "now > m", "i == null",
             "r == '00000000-0000-0000-0000-000000000001'", "f < 7"]
        ),
    ),
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["&&", "||"]), inner) | st.builds("!({})".format, inner)
    ),
    max_leaves=4,
)  # fmt: skip


@pytest.fixture
def dialect(database_url: str, query: Query) -> Dialect:
    """A table of the rows, as they are stored."""
    found: Dialect = POSTGRESQL if database_url.startswith("postgresql") else SQLITE
    types = dict.fromkeys("indeb", "BIGINT") | {"f": "DOUBLE PRECISION"}
    collation = ' COLLATE "C"' if found is POSTGRESQL else ""
    columns = ", ".join(f"{quoted(name)} {types.get(name, f'TEXT{collation}')}" for name in ATTRIBUTES)
    query(f"CREATE TABLE tried (place INTEGER, {columns})")
    for place, row in enumerate(ROWS):
        stored = [codec_for(HELD[name]).stored(value) for name, value in row.items()]
        values = ", ".join("NULL" if one is None else literal(one) for one in stored)
        query(f"INSERT INTO tried VALUES ({place}, {values})")
    return found


def outcome(expression: Expression, row: dict[str, Any]) -> bool | str | None:
    try:
        return expression.holds({**row, "self": row}, NOW)
    except EvaluationError:
        return "failed"


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(text=CONDITIONS)
def test_the_database_answers_what_is_answered_here(text: str, dialect: Dialect, query: Query) -> None:
    try:
        expression = compile_expression(text, SCOPE, BOOL)
        translation = Translation(dialect, HELD, quoted, NOW)
        condition = translation.condition(expression.root)
    except (InvalidExpressionError, UntranslatableError):
        return
    answers = query(f"SELECT place, CASE WHEN {condition} THEN 1 WHEN NOT {condition} THEN 0 END FROM tried")
    unsure: set[int] = set()
    if dialect is SQLITE and translation.inexact:
        floats = " OR ".join(f"typeof({sql}) = 'real'" for sql in translation.inexact)
        unsure = {place for (place,) in query(f"SELECT place FROM tried WHERE {floats}")}
    for place, answer in answers:
        expected = outcome(expression, ROWS[place])
        if expected != "failed" and place not in unsure:
            assert (None if answer is None else bool(answer)) is expected, (ROWS[place], condition)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(text=CONDITIONS)
def test_no_row_that_passes_here_is_a_violation_there(text: str, dialect: Dialect, query: Query) -> None:
    try:
        expression = compile_expression(text, SCOPE, BOOL, clock=False)
        condition = violation(Translation(dialect, HELD, quoted), expression.root)
    except (InvalidExpressionError, UntranslatableError):
        return
    for (place,) in query(f"SELECT place FROM tried WHERE {condition}"):
        assert outcome(expression, ROWS[place]) in {False, "failed"}, (ROWS[place], condition)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("i / 2 == 1", "`/` is not computed in the database"),
        ("i % 2 == 1", "`%` is not computed in the database"),
        ("f + 1 > 2", "`+` is not computed in the database"),
        ("s.matches('a')", "`matches` is not computed in the database"),
        ("tags.size() == 1", "`size` is not computed in the database"),
        ("tags.exists(x, x == 'a')", "`exists` is not computed in the database"),
        ("tags == ['a']", "`list` is not computed in the database"),
        ("tags[0] == 'a'", "an item of a list is not computed in the database"),
        ("j.a == 1", "a part of a value is not computed in the database"),
        ("(i > 1) == (n > 1)", "`>` is not computed in the database"),
        ("(b ? i : n) > 1", "`?:` is not computed in the database"),
        ("r == i", "`==` is not computed in the database"),
        ("1 / 0 == i", "it has no value: a division by zero"),
    ],
)
def test_what_the_database_would_answer_otherwise_is_not_translated(text: str, message: str) -> None:
    expression = compile_expression(text, SCOPE, BOOL)
    with pytest.raises(UntranslatableError) as caught:
        Translation(SQLITE, HELD, quoted, NOW).condition(expression.root)
    assert str(caught.value) == message
