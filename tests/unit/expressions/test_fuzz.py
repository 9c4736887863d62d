"""Whatever is written, there is a fault or a value, and within bounds."""

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from watcherd.errors import EvaluationError, InvalidExpressionError
from watcherd.expressions import (
    ANY,
    BOOL,
    DATE,
    DECIMAL,
    FLOAT,
    INT,
    STRING,
    TIMESTAMP,
    compile_expression,
    list_of,
    object_of,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SCOPE = {
    "self": object_of(
        "Row", {"i": INT, "d": DECIMAL, "f": FLOAT, "s": STRING, "b": BOOL, "t": TIMESTAMP, "y": DATE, "j": ANY}
    ),
    "xs": list_of(INT),
    "ds": list_of(DECIMAL),
}
ROW = {
    "i": 2**63 - 1,
    "d": "999999999999.999999",
    "f": 1e300,
    "s": "text",
    "b": True,
    "t": "9999-12-31T23:59:59.000000Z",
    "y": "0001-01-01",
    "j": {"a": [1, 2.5, None, {"b": "c"}], "n": 1.5},
}
VALUES = [
    {"self": ROW, "xs": [1, 0, None, -5], "ds": ["0.1", None, "12345678901.5"]},
    {"self": dict.fromkeys(ROW), "xs": [], "ds": None},
    {},
]

LEAVES = st.sampled_from(
    ["self.i", "self.d", "self.f", "self.s", "self.b", "self.t", "self.y", "self.j", "self.j.a", "self.j.n", "xs", "ds",
     "x", "now", "null", "true", "false", "0", "1", "-3", "2.5", "0.1", "1e30", "9223372036854775807", "'a'", "''",
     "'2026-01-01'", "[]", "[1, 2]", "['a']", "self", "self.nope", "größe"]
)  # fmt: skip
BINARY = st.sampled_from(["+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!=", "&&", "||", "in"])
SIGNS = st.sampled_from(["(", ")", "[", "]", ".", ",", "?", ":", "{", "}"])
CALLS = st.sampled_from(
    ["size", "int", "decimal", "float", "string", "bool", "timestamp", "date", "time", "duration", "days", "abs",
     "round", "has", "nope"]
)  # fmt: skip
METHODS = st.sampled_from(
    ["size", "startsWith", "contains", "matches", "lowerAscii", "trim", "replace", "substring", "split", "join", "sum",
     "min", "max", "getFullYear", "getHours", "getDayOfYear", "nope"]
)  # fmt: skip
MACROS = st.sampled_from(["all", "exists", "exists_one", "map", "filter"])


def branches(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {})".format, inner, BINARY, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("!{}".format, inner),
        st.builds("-{}".format, inner),
        st.builds("{}({})".format, CALLS, inner),
        st.builds("{}.{}()".format, inner, METHODS),
        st.builds("{}.{}({})".format, inner, METHODS, inner),
        st.builds("{}.{}(x, {})".format, inner, MACROS, inner),
        st.builds("{}[{}]".format, inner, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("has({}.a)".format, inner),
    )


SHAPED = st.recursive(LEAVES, branches, max_leaves=12)
TEXTS = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="self.xd+-*/%()[]{}<>=!&|?:'\"\\,0123456789eu \n\tö", max_size=80),
    st.lists(st.one_of(LEAVES, BINARY, SIGNS), max_size=30)
    .map(" ".join),
)  # fmt: skip


def has_a_value_or_a_fault(text: str) -> None:
    try:
        expression = compile_expression(text, SCOPE)
    except InvalidExpressionError as fault:
        assert 0 <= fault.offset <= len(text)  # noqa: PT017 - any other exception has to get out
        return
    for values in VALUES:
        try:
            expression.evaluate(values, NOW)
        except EvaluationError:
            continue


def fuzz(examples: int, *, at_random: bool = False) -> settings:
    return settings(
        max_examples=examples, suppress_health_check=list(HealthCheck), database=None, derandomize=not at_random
    )


@fuzz(250)
@given(SHAPED)
def test_any_expression_has_a_value_or_a_fault(text: str) -> None:
    has_a_value_or_a_fault(text)


@fuzz(250)
@given(TEXTS)
def test_any_text_has_a_value_or_a_fault(text: str) -> None:
    has_a_value_or_a_fault(text)


@pytest.mark.slow
@pytest.mark.timeout(900)
@fuzz(10_000, at_random=True)
@given(st.one_of(SHAPED, TEXTS))
def test_ten_thousand_expressions_have_a_value_or_a_fault(text: str) -> None:
    has_a_value_or_a_fault(text)
