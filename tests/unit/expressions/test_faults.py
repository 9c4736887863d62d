"""What is not an expression, or does not fit its scope: what is said, and where."""

from typing import Any

import pytest

from watcherd.errors import InvalidExpressionError
from watcherd.expressions import (
    BOOL,
    DATE,
    DECIMAL,
    FLOAT,
    INT,
    MAX_DEPTH,
    MAX_LENGTH,
    STRING,
    Type,
    compile_expression,
    enum_of,
    list_of,
    object_of,
)

ROW = object_of(
    "Order",
    {"total": DECIMAL, "rating": FLOAT, "count": INT, "status": enum_of(["open", "paid"]), "day": DATE, "名": STRING},
)
SCOPE = {"self": ROW, "tags": list_of(STRING), "total": DECIMAL}


@pytest.mark.parametrize(
    ("text", "offset", "message", "hint"),
    [
        ("", 0, "the expression is empty", None),
        ("self.total >", 12, "the expression ends too early", None),
        ("self.total > 1)", 14, "`)` does not belong here", None),
        ("self.total is 1", 11, "`is` does not belong here", None),
        ("self..total", 5, "`..` does not belong here", None),
        ("self.total > 'a", 13, "not an expression: token recognition error at: ''a'", None),
        ("self.totel > 1", 5, "there is no attribute of Order `totel`", "did you mean `total`?"),
        ("selv.total > 1", 0, "there is no name `selv`", "did you mean `self`?"),
        ("self.名 == 1", 7, "there is no `==` between a string and an int", None),
        ("self.名 == self.名前", 15, "there is no attribute of Order `名前`", "did you mean `名`?"),
        ("self.count > 'a'", 11, "there is no `>` between an int and a string", None),
        ("self.day > '2026-01-01'", 9, "there is no `>` between a date and a string",
         'write `date("...")` around the text'),
        ("self.status == 'payd'", 15, "there is no member `payd`", "did you mean `paid`?"),
        ("self.status in ['open', 'x']", 24, "there is no member `x`", "known: open, paid"),
        ("self.rating + self.total", 12, "`+` between a decimal and a float would round",
         "say which is meant: `decimal(x)` or `float(x)`"),
        ("self.total < self.rating", 11, "`<` between a decimal and a float would round",
         "say which is meant: `decimal(x)` or `float(x)`"),
        ("self.total % 2 == 1", 11, "`%` is for whole numbers", None),
        ("self.count && true", 5, "what stands beside `&&` must be true or false, not an int", None),
        ("!self.count", 6, "what `!` stands before must be true or false, not an int", None),
        ("-self.day == null", 0, "a date has no sign", None),
        ("true ? 1 : 'a'", 5, "one side of `:` is an int, the other a string", None),
        ("self == self", 5, "rows are compared by their attributes", "compare their keys"),
        ("self.total.x", 11, "a decimal has no attributes, such as `x`", None),
        ("self.total[0]", 10, "a decimal has no items", None),
        ("tags['a']", 5, "an item is chosen by its number, not by a string", None),
        ("1 in 2", 2, "`in` looks into a list, not into an int", None),
        ("1 in tags", 2, "there is no `in` between an int and a list of string", None),
        ("[1, 'a']", 4, "a list has items of one type, this one is a string", None),
        ("self.total.all(x, x)", 5, "`all` goes over a list, not over a decimal", None),
        ("tags.all(x, x)", 12, "the condition of `all` must be true or false, not a string", None),
        ("length(tags)", 6, "there is no function `length`", None),
        ("tags.sort()", 9, "there is no function `sort`", None),
        ("size(1)", 4, "`size` does not take int", "it takes string or list"),
        ("tags.join(1)", 9, "`join` does not take list of string, int", "it takes list, string"),
        ("tags[0].matches('(')", 16, "not a regular expression: unclosed group", None),
        ("tags[0].matches(tags[1])", 20, "the pattern of `matches` must be a literal", None),
        ("{'a': 1}", 0, "expressions have no mappings and no messages", None),
        ("1u == 1", 0, "expressions have no unsigned numbers: write it without `u`", None),
        ("b'a' == 1", 0, "expressions have no bytes", None),
        ("1e999 > 1", 0, "a number with too many digits", None),
        ("99999999999999999999 > 1", 0, "not an expression: invalid int literal", None),
        ("a\ud800", 1, "not valid Unicode text", None),
    ],
)  # fmt: skip
def test_a_fault_is_told_at_its_place(text: str, offset: int, message: str, hint: str | None) -> None:
    with pytest.raises(InvalidExpressionError) as caught:
        compile_expression(text, SCOPE)
    assert (str(caught.value), caught.value.offset) == (message, offset)
    if hint is not None:
        assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("text", "expects", "message"),
    [
        ("self.total", BOOL, "a condition must be a bool, not a decimal"),
        ("self.rating", DECIMAL, "the value must be a decimal, not a float"),
        ("self.total", FLOAT, "the value must be a float, not a decimal"),
        ("self.total", INT, "the value must be an int, not a decimal"),
        ("'x'", enum_of(["open"]), "there is no member `x`"),
        ("1", list_of(INT), "the value must be a list of int, not an int"),
        ("['a']", list_of(INT), "the value must be a list of int, not a list of string"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(text: str, expects: Type, message: str) -> None:
    with pytest.raises(InvalidExpressionError) as caught:
        compile_expression(text, SCOPE, expects)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "expects", "expected"),
    [
        ("1", DECIMAL, "1"),
        ("1", FLOAT, 1.0),
        ("1.5", FLOAT, 1.5),
        ("'open'", enum_of(["open"]), "open"),
        ("null", DECIMAL, None),
        ("[]", list_of(INT), []),
    ],
)
def test_a_value_that_can_be_of_the_wanted_type_becomes_one(text: str, expects: Type, expected: Any) -> None:
    assert compile_expression(text, SCOPE, expects).evaluate({}) == expected


@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000,
        "[" * (MAX_LENGTH - 1) + "1",
        "1" + "+1" * (MAX_DEPTH + 1),
        "1" + "+1" * 900,
        "self" + ".a" * 900,
        "true?1:" * 200 + "1",
        "x" * (MAX_LENGTH + 1),
        "\\" * MAX_LENGTH,
        "tags.all(a, " * 100 + "true" + ")" * 100,
    ],
)
def test_what_is_too_long_or_too_deep_is_refused(text: str) -> None:
    with pytest.raises(InvalidExpressionError):
        compile_expression(text, SCOPE)


def test_many_conditions_are_not_deep() -> None:
    text = " && ".join(["self.count > 1"] * 100)
    assert compile_expression(text, SCOPE, BOOL).holds({"self": {"count": 2}}) is True


def test_without_a_clock_now_is_no_name() -> None:
    with pytest.raises(InvalidExpressionError, match="no name `now`"):
        compile_expression("now == now", SCOPE, clock=False)
