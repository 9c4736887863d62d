"""What expressions answer."""

from datetime import UTC, datetime
from typing import Any

import pytest

from watcherd.errors import EvaluationError
from watcherd.expressions import (
    ANY,
    BOOL,
    DATE,
    DECIMAL,
    FLOAT,
    INT,
    MAX_WORK,
    STRING,
    TIME,
    TIMESTAMP,
    compile_expression,
    enum_of,
    list_of,
    object_of,
)

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
ORDER = object_of(
    "Order",
    {
        "total": DECIMAL,
        "count": INT,
        "rating": FLOAT,
        "status": enum_of(["open", "paid"]),
        "name": STRING,
        "at": TIMESTAMP,
        "day": DATE,
        "clock": TIME,
        "meta": ANY,
        "tags": list_of(STRING),
        "prices": list_of(DECIMAL),
        "größe": INT,
        "paid": BOOL,
    },
)
ITEM = object_of("Item", {"price": DECIMAL, "quantity": INT})
SCOPE = {"self": ORDER, "items": list_of(ITEM), "other": ORDER}
ROW = {
    "total": "10.50",
    "count": 3,
    "rating": 4.5,
    "status": "open",
    "name": "Ada",
    "at": "2026-01-02T03:04:05.000000Z",
    "day": "2026-01-02",
    "clock": "03:04:05.000000",
    "meta": {"deep": {"x": 1.5}, "list": [1, 2, True]},
    "tags": ["a", "b"],
    "prices": ["0.1", "0.2"],
    "größe": 5,
    "paid": False,
}
ITEMS = [{"price": "0.10", "quantity": 3}, {"price": "0.20", "quantity": 1}]


def value(text: str, **changes: Any) -> Any:
    values = {"self": {**ROW, **changes}, "items": ITEMS}
    return compile_expression(text, SCOPE).evaluate(values, NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.1 + 0.2", "0.3"),
        ("0.1 + 0.2 == 0.3", True),
        ("self.prices.sum() == 0.3", True),
        ("[0.1, 0.2].map(x, x * 3).sum()", "0.9"),
        ("items.map(i, i.price * i.quantity).sum()", "0.50"),
        ("self.total * 3", "31.50"),
        ("self.total - 10", "0.50"),
        ("999999999999.999999 * 999999999999.999999", "999999999999999998000000.000000000001"),
        ("round(self.total / 3.2, 2)", "3.28"),
        ("round(2.5)", "2"),
        ("round(0.125, 2)", "0.12"),
        ("self.total in [10.5, 1]", True),
        ("self.total == 10.5", True),
        ("self.total / 4 == 2.625", True),
        ("decimal(self.rating) + self.total", "15.00"),
        ("decimal('0.1') + 0.2", "0.3"),
        ("abs(-self.total)", "10.50"),
        ("[self.total, 1].max()", "10.50"),
    ],
)
def test_money_is_exact(text: str, expected: Any) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("7 % -2", 1),
        ("0x1F + 1", 32),
        ("self.rating + 0.5", 5.0),
        ("self.rating * 2", 9.0),
        ("self.rating > 4.4 && self.rating < 5", True),
        ("int('42') + int(2.9) + int(self.rating)", 48),
        ("float('1.5')", 1.5),
        ("size(self.name) + self.tags.size()", 5),
        ("self.name + '!'", "Ada!"),
        ("self.name.startsWith('A') && self.name.endsWith('a') && self.name.contains('d')", True),
        ("self.name.matches('^[A-Z][a-z]+$')", True),
        ("self.name.lowerAscii() + self.name.upperAscii()", "adaADA"),
        ("' x '.trim().replace('x', 'yy').substring(1)", "y"),
        ("self.tags.join(', ') + 'a b'.split(' ')[1]", "a, bb"),
        ("string(self.total) + string(true) + string(self.day)", "10.50true2026-01-02"),
        ("bool('true')", True),
        ("self.größe * 2", 10),
        ("'größe' + self.name", "größeAda"),
        ("self.paid ? 'yes' : 'no'", "no"),
        ("'a' in self.tags && !('z' in self.tags)", True),
        ("self.status in ['open', 'paid']", True),
        ("self.tags + ['c'] == ['a', 'b', 'c']", True),
        ("items.all(i, i.quantity > 0) && items.exists(i, i.quantity == 3)", True),
        ("items.exists_one(i, i.quantity == 3)", True),
        ("items.filter(i, i.quantity > 1).size()", 1),
        ("items.map(i, i.quantity > 1, i.price)", ["0.10"]),
        ("items.map(i, items.map(j, i.quantity * j.quantity).sum()).sum()", 16),
        ("items[1].price", "0.20"),
        ("[].size() + self.tags.filter(t, false).size()", 0),
        ("[self.count, 9].min()", 3),
    ],
)
def test_numbers_texts_and_lists(text: str, expected: Any) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2026-11-22T12:30:00.000000Z"),
        ("self.at + duration('1h30m')", "2026-01-02T04:34:05.000000Z"),
        ("self.at - timestamp('2026-01-02T03:04:04.5Z')", "0.5s"),
        ("self.at < now && self.day < now && self.day <= date(self.at)", True),
        ("self.day + days(30)", "2026-02-01"),
        ("(date('2026-01-05') - self.day).getHours()", 72),
        ("self.at.getFullYear() * 100 + self.at.getMonth()", 202600),
        ("now.getDayOfWeek()", 0),
        ("self.clock < time('04:00:00')", True),
        ("timestamp('2026-01-01T01:00:00+01:00') == timestamp(date('2026-01-01'))", True),
        ("duration('-90s')", "-90s"),
        ("self.at.getHours() == 3", True),
    ],
)
def test_times_are_counted_from_the_clock_that_is_given(text: str, expected: Any) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("self.count > 1", None),
        ("self.count + 1", None),
        ("-self.count", None),
        ("string(self.count)", None),
        ("self.count == null", True),
        ("self.count != 3", True),
        ("self.count in [1, 2]", False),
        ("has(self.count)", False),
        ("has(self.name)", True),
        ("!(self.count > 1)", None),
        ("self.count > 1 && false", False),
        ("false && self.count > 1", False),
        ("self.count > 1 || true", True),
        ("self.count > 1 || false", None),
        ("self.count > 1 ? 1 : 2", None),
        ("has(self.count) && self.count > 1", False),
        ("[1, self.count].sum()", None),
        ("[1, self.count].max()", 1),
        ("[self.count].all(x, x > 1)", None),
        ("[self.count, 0].all(x, x > 1)", False),
        ("[self.count, 5].exists(x, x > 1)", True),
        ("other.name == null", True),
        ("other.name.size()", None),
        ("other == null", True),
    ],
)
def test_null_is_unknown_to_all_but_equality(text: str, expected: Any) -> None:
    assert value(text, count=None) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("self.meta.deep.x + 1", "2.5"),
        ("self.meta['list'][0] + 1", 2),
        ("self.meta.list.exists(x, x == 2)", True),
        ("self.meta.list[2] == 1", False),
        ("self.meta.missing.deeper == null", True),
        ("has(self.meta.deep) && !has(self.meta.missing)", True),
        ("'deep' in self.meta", True),
        ("self.meta.deep.x > 1 && self.meta.deep.x < 2.5", True),
        ("size(self.meta.list)", 3),
        ("self.count in [self.meta.list[0], 3.0]", True),
        ("[self.count, self.meta.list[0]]", [3, 1]),
        ("self.meta.list.map(x, x)", [1, 2, True]),
    ],
)
def test_free_form_json_is_looked_at_when_it_is_there(text: str, expected: Any) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / (self.count - 3)", "a division by zero"),
        ("1.5 / (self.count - 3)", "a division by zero"),
        ("9223372036854775807 + self.count", "a whole number over 64 bits"),
        ("-(-9223372036854775807 - self.count + 2)", "a whole number over 64 bits"),
        ("items[2].price", "there is no item 2 in a list of 2"),
        ("int(self.name)", "'Ada' is not a whole number"),
        ("decimal(self.name)", "'Ada' is not a decimal"),
        ("decimal('NaN')", "'NaN' is not a decimal"),
        ("date(self.name)", "'Ada' is not a date"),
        ("duration('1 day')", "'1 day' is not a duration such as 1h30m"),
        ("self.at + days(9999999)", "the result of `+` has too many digits"),
        ("self.name.substring(2, 1)", "`substring` outside of the text"),
        ("self.meta.deep + 1", "there is no `+` between an object and an int"),
        ("self.meta.deep > 1", "there is no `>` between an object and an int"),
        ("self.meta.list[2] > 1", "there is no `>` between a bool and an int"),
        ("self.meta.deep.x.y", "there is no `y` in a decimal"),
        ("self.meta.list[0] && true", "an int is neither true nor false"),
        ("self.meta.list.join(',')", "`join` of something that is not text"),
        ("self.meta.deep.matches('a')", "`matches` does not take an object, a text"),
    ],
)
def test_what_has_no_value_says_why(text: str, message: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        value(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 / 0 > 1 || true", True),
        ("true || 1 / 0 > 1", True),
        ("1 / 0 > 1 && false", False),
        ("[0, 1].exists(x, 1 / x == 1)", True),
        ("[0, 2].all(x, 1 / x == 1)", False),
    ],
)
def test_a_failure_beside_a_decisive_side_does_not_matter(text: str, expected: Any) -> None:
    assert value(text) is expected


def test_a_failure_beside_an_indecisive_side_is_raised() -> None:
    with pytest.raises(EvaluationError):
        value("1 / 0 > 1 || false")
    with pytest.raises(EvaluationError):
        value("[0, 1].all(x, 1 / x == 1)")


def test_work_is_bounded() -> None:
    numbers = compile_expression("xs.all(a, xs.all(b, a + b >= 0))", {"xs": list_of(INT)})
    assert numbers.holds({"xs": list(range(10))}) is True
    with pytest.raises(EvaluationError, match="too much work"):
        numbers.holds({"xs": list(range(MAX_WORK // 100))})


def test_a_macro_gives_a_name_back_as_it_was() -> None:
    assert value("items.map(self, self.quantity).sum() + self.count") == 7


def test_an_attribute_called_now_hides_the_clock() -> None:
    expression = compile_expression("now + 1", {"now": INT})
    assert not expression.reads_clock
    assert expression.evaluate({"now": 1}, NOW) == 2


def test_an_expression_says_what_it_reads() -> None:
    expression = compile_expression("self.at < now && items.exists(i, i.quantity > 0)", SCOPE)
    assert expression.names == {"self", "now", "items"}
    assert expression.reads_clock
    assert not compile_expression("self.count > 0", SCOPE).reads_clock


def test_the_same_text_for_the_same_scope_is_compiled_once() -> None:
    one = compile_expression("self.count > 0", SCOPE, BOOL)
    assert compile_expression("self.count > 0", dict(SCOPE), BOOL) is one
    assert compile_expression("self.count > 0", {**SCOPE, "more": INT}, BOOL) is not one
