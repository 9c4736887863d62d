from collections.abc import Callable
from decimal import Decimal

import pytest

from watcherd.pim.sentences import Sentence, read_sentence
from watcherd.pim.spec import Constraint, Entity, Rule

ZERO = Decimal(0)


def said(rule: Rule, *names: str, **operand: object) -> Sentence:
    return Sentence(rule, names or ("x",), **operand)  # type: ignore[arg-type]  # the operands of the table below


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x must be unique", said(Rule.UNIQUE)),
        ("X IS UNIQUE.", said(Rule.UNIQUE, "X")),
        ("a and b must be unique together", said(Rule.UNIQUE, "a", "b")),
        ("combination of (a, b) must be unique", said(Rule.UNIQUE, "a", "b")),
        ("The combination of a, b and c should be unique", said(Rule.UNIQUE, "a", "b", "c")),
        ("x is required", said(Rule.REQUIRED)),
        ("x is mandatory", said(Rule.REQUIRED)),
        ("x can not be null", said(Rule.REQUIRED)),
        ("x must not be empty", said(Rule.NOT_EMPTY)),
        ("x cannot be blank", said(Rule.NOT_EMPTY)),
        ("x must be positive", said(Rule.GREATER, bound=ZERO)),
        ("x must be a positive number", said(Rule.GREATER, bound=ZERO)),
        ("x cannot be negative", said(Rule.AT_LEAST, bound=ZERO)),
        ("x must be non-negative", said(Rule.AT_LEAST, bound=ZERO)),
        ("x must be negative", said(Rule.LESS, bound=ZERO)),
        ("x must be > 0.5", said(Rule.GREATER, bound=Decimal("0.5"))),
        ("x must be greater than zero", said(Rule.GREATER, bound=ZERO)),
        ("x must be greater than or equal to 5", said(Rule.AT_LEAST, bound=Decimal(5))),
        ("x should be at least 5", said(Rule.AT_LEAST, bound=Decimal(5))),
        ("x must not be less than 5", said(Rule.AT_LEAST, bound=Decimal(5))),
        ("x must be no more than 5", said(Rule.AT_MOST, bound=Decimal(5))),
        ("x must not exceed y", said(Rule.AT_MOST, other="y")),
        ("x  must be  at most -5", said(Rule.AT_MOST, bound=Decimal(-5))),
        ("x must be less than y", said(Rule.LESS, other="y")),
        ("x must be after y", said(Rule.GREATER, other="y")),
        ("x<=y", said(Rule.AT_MOST, other="y")),
        ("x must be between 1 and 5.5", said(Rule.BETWEEN, bounds=(Decimal(1), Decimal("5.5")))),
        ("x must be valid enum value", said(Rule.MEMBER)),
        ("x must be one of the allowed values", said(Rule.MEMBER)),
        ("x must be a valid email", said(Rule.EMAIL)),
        ("价格 must be positive", said(Rule.GREATER, "价格", bound=ZERO)),
        ("x must be at least 8 characters", None),
        ("passwords must contain a digit", None),
        ("x must be valid", None),
        ("a and b must be positive", None),
        ("x must be unique " + "very " * 200, None),
    ],
)
def test_a_sentence_is_read_by_the_table_from_end_to_end_or_not_at_all(text: str, sentence: Sentence | None) -> None:
    assert read_sentence(text) == sentence


BODY = (
    "attributes: {{s: string, e: {{values: [a]}}, n: int, p: money, d: date, t: time, l: 'int[]'}}\nconstraints: [{}]"
)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("n must be positive", Rule.GREATER),
        ("n must be less than p", Rule.LESS),
        ("d is required", Rule.REQUIRED),
        ("l cannot be empty", Rule.NOT_EMPTY),
        ("s cannot be empty", Rule.NOT_EMPTY),
        ("e must be valid enum value", Rule.MEMBER),
        ("s must be a valid email", Rule.EMAIL),
        ("n and s must be unique together", Rule.UNIQUE),
    ],
)
def test_a_sentence_that_fits_its_attributes_is_enforced(
    entity_of: Callable[[str], Entity], text: str, rule: Rule
) -> None:
    constraint = entity_of(BODY.format(f"'{text}'")).constraints[0]
    assert (constraint.rule, constraint.text) == (rule, text)


@pytest.mark.parametrize(
    "text",
    [
        "s must be positive",
        "s must be less than n",
        "d must be before t",
        "d must be at least 5",
        "n must be less than n",
        "n must be less than l",
        "l must be positive",
        "l must be unique",
        "s and s must be unique together",
        "n cannot be empty",
        "s must be valid enum value",
        "n must be a valid email",
        "n must be between 5 and 1",
        "nobody must be unique",
    ],
)
def test_a_sentence_that_does_not_fit_stays_as_prose_with_a_warning(
    entity_of: Callable[[str], Entity], findings_of: Callable[[str], list[str]], text: str
) -> None:
    assert entity_of(BODY.format(text)).constraints == (Constraint(text=text, rule=None),)
    assert findings_of(BODY.format(text)) == ["PIM303"]


def test_mappings_carry_their_name_and_message(entity_of: Callable[[str], Entity]) -> None:
    entity = entity_of(BODY.format("{unique: 's, n', name: key}, {check: n > 0, message: more}"))
    assert entity.constraints == (
        Constraint(text="s and n must be unique together", rule=Rule.UNIQUE, attributes=("s", "n"), name="key"),
        Constraint(text="n > 0", rule=Rule.CHECK, attributes=("n",), message="more", expression="n > 0"),
    )
