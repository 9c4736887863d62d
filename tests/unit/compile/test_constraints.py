from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from watcherd.compile.constraints import compile_checks, is_enforced
from watcherd.pim.spec import Attribute, Constraint, Kind, Rule

ON_BOTH_DATABASES = True


def sentence(text: str, rule: Rule | None, *attributes: str, **more: Any) -> Constraint:
    return Constraint(text=text, rule=rule, attributes=attributes, **more)


KINDS = {
    "n": Kind.INTEGER,
    "f": Kind.FLOAT,
    "d": Kind.DECIMAL,
    "s": Kind.STRING,
    "begin": Kind.DATE,
    "end": Kind.DATE,
    "at": Kind.DATETIME,
    "flag": Kind.BOOLEAN,
}


@pytest.fixture
def find(entity: Callable[..., Any]) -> Callable[..., list[str]]:
    """The messages that a sentence has about a row."""

    def messages(constraint: Constraint, row: dict[str, Any], **lists: bool) -> list[str]:
        attributes = [Attribute(name=name, kind=kind, is_list=lists.get(name, False)) for name, kind in KINDS.items()]
        attributes.append(Attribute(name="e", kind=Kind.ENUM, members=("a", "b")))
        checks = compile_checks(entity("Thing", *attributes, constraints=(constraint,)), {})
        return [broken.message for _, check in checks if (broken := check(row)) is not None]

    return messages


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        (sentence("n > 0", Rule.GREATER, "n", bound=Decimal(0)), [{"n": 1}, {"n": None}, {}], [{"n": 0}, {"n": -1}]),
        (sentence("d > 0", Rule.GREATER, "d", bound=Decimal(0)), [{"d": "0.01"}, {}], [{"d": "0.00"}, {"d": "-1.00"}]),
        (sentence("d <= 10", Rule.AT_MOST, "d", bound=Decimal(10)), [{"d": "9.99"}, {"d": "10.00"}], [{"d": "10.01"}]),
        (sentence("n >= 2.5", Rule.AT_LEAST, "n", bound=Decimal("2.5")), [{"n": 3}], [{"n": 2}]),
        (sentence("f <= 0.1", Rule.AT_MOST, "f", bound=Decimal("0.1")), [{"f": 0.1}], [{"f": 0.11}]),
        (sentence("f < 0.1", Rule.LESS, "f", bound=Decimal("0.1")), [{"f": 0.09}], [{"f": 0.1}]),
        (
            sentence("n 1..3", Rule.BETWEEN, "n", bounds=(Decimal(1), Decimal(3))),
            [{"n": 1}, {"n": 3}, {"n": None}],
            [{"n": 0}, {"n": 4}],
        ),
        (sentence("s not empty", Rule.NOT_EMPTY, "s"), [{"s": "x"}, {"s": None}], [{"s": ""}]),
        (sentence("s required", Rule.REQUIRED, "s"), [{"s": ""}], [{"s": None}, {}]),
        (sentence("s email", Rule.EMAIL, "s"), [{"s": "a@example.com"}, {}], [{"s": "nobody"}]),
        (sentence("e member", Rule.MEMBER, "e"), [{"e": "a"}, {}], [{"e": "c"}]),
        (
            sentence("end after begin", Rule.GREATER, "end", other="begin"),
            [{"begin": "2026-01-01", "end": "2026-01-02"}, {"end": "2026-01-01"}, {"begin": "2026-01-01"}],
            [{"begin": "2026-01-02", "end": "2026-01-02"}],
        ),
        (
            sentence("at from begin on", Rule.AT_LEAST, "at", other="begin"),
            [{"begin": "2026-01-01", "at": "2026-01-01T00:00:00.000000Z"}],
            [{"begin": "2026-01-01", "at": "2025-12-31T23:59:59.999999Z"}],
        ),
        (sentence("d >= n", Rule.AT_LEAST, "d", other="n"), [{"d": "10.00", "n": 10}], [{"d": "9.99", "n": 10}]),
        (sentence("d < f", Rule.LESS, "d", other="f"), [{"d": "0.1", "f": 0.2}], [{"d": "0.1", "f": 0.1}]),
    ],
)
def test_a_sentence_holds_or_is_quoted(
    find: Callable[..., list[str]], constraint: Constraint, good: list[dict[str, Any]], bad: list[dict[str, Any]]
) -> None:
    assert [find(constraint, row) for row in good] == [[]] * len(good)
    assert [find(constraint, row) for row in bad] == [[constraint.text]] * len(bad)


def test_a_sentence_about_a_list_is_about_its_items(find: Callable[..., list[str]]) -> None:
    positive = sentence("n > 0", Rule.GREATER, "n", bound=Decimal(0))
    assert find(positive, {"n": [1, 2]}, n=True) == []
    assert find(positive, {"n": [1, 0]}, n=True) == ["n > 0"]
    assert find(sentence("s not empty", Rule.NOT_EMPTY, "s"), {"s": []}, s=True) == ["s not empty"]


def test_a_message_of_its_own_stands_in_for_the_sentence(find: Callable[..., list[str]]) -> None:
    constraint = sentence("n > 0", Rule.GREATER, "n", bound=Decimal(0), message="buy at least one")
    assert find(constraint, {"n": 0}) == ["buy at least one"]


def test_what_cannot_be_compared_is_not_enforced(entity: Callable[..., Any]) -> None:
    thing = entity("Thing", *(Attribute(name=name, kind=kind) for name, kind in KINDS.items()))
    for constraint in (
        sentence("prose", None),
        sentence("s > 0", Rule.GREATER, "s", bound=Decimal(0)),
        sentence("s > n", Rule.GREATER, "s", other="n"),
        sentence("flag > flag", Rule.GREATER, "flag", other="flag"),
        sentence("n > nothing", Rule.GREATER, "n"),
    ):
        assert not is_enforced(constraint, thing, {})
        assert not compile_checks(replace(thing, constraints=(constraint,)), {})
    unique = sentence("n unique", Rule.UNIQUE, "n")
    assert is_enforced(unique, thing, {})
    assert not compile_checks(replace(thing, constraints=(unique,)), {}), "the database does that"


@pytest.fixture
async def till(serve: Any, entity: Any) -> Any:
    """Prices and costs, with sentences."""
    return await serve(
        entity(
            "Item",
            Attribute(name="price", kind=Kind.DECIMAL, scale=2, required=True),
            Attribute(name="cost", kind=Kind.DECIMAL, scale=2),
            Attribute(name="note", kind=Kind.STRING),
            constraints=(
                sentence("price must be at least cost", Rule.AT_LEAST, "price", other="cost"),
                sentence("cost cannot be negative", Rule.AT_LEAST, "cost", bound=Decimal(0)),
                sentence("note is required", Rule.REQUIRED, "note"),
            ),
        )
    )


GOOD = {"price": 10, "cost": 8, "note": "x"}


async def test_sentences_are_checked_on_every_write_path(till: Any) -> None:
    refused = await till.post("/items", {"price": 5, "cost": 8})
    assert (refused.status, refused.slug) == (422, "validation")
    assert refused.messages == {"#/price": "price must be at least cost", "#/note": "note is required"}
    assert set(refused.findings.values()) == {"constraint"}
    path = f"/items/{(await till.post('/items', GOOD)).json['id']}"
    assert (await till.put(path, {"price": 5, "cost": 8, "note": "x"})).findings == {"#/price": "constraint"}
    assert (await till.patch(path, {"price": 5})).findings == {"#/price": "constraint"}
    assert (await till.patch(path, {"note": None})).findings == {"#/note": "constraint"}
    assert (await till.patch(path, {"price": 5, "cost": 4})).status == 200
    assert (await till.post("/items", [GOOD, {**GOOD, "cost": -1}])).findings == {"#/1/cost": "constraint"}


async def test_sentences_and_types_are_told_together(till: Any) -> None:
    refused = await till.post("/items", {"price": "much", "cost": -1})
    assert refused.findings == {"#/price": "format", "#/cost": "constraint", "#/note": "constraint"}


async def test_a_sentence_is_silent_about_an_attribute_that_is_wrong_already(till: Any) -> None:
    path = f"/items/{(await till.post('/items', GOOD)).json['id']}"
    assert (await till.patch(path, {"cost": "x", "price": 5})).findings == {"#/cost": "format"}
