from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import SchemaValidator

from watcherd.compile import values
from watcherd.compile.reading import check, parse
from watcherd.compile.validators import attribute_schema, body_schema
from watcherd.pim.linked import Target
from watcherd.pim.spec import Attribute, EntityRef, Kind

ON_BOTH_DATABASES = True

UUID = "019311f0-1c2b-7d3e-8f40-5a6b7c8d9e0f"


def attribute(kind: Kind, **more: Any) -> Attribute:
    return Attribute(name="x", kind=kind, **more)


def verdict(item: Attribute, text: str) -> Any:
    """What becomes of `{"x": text}`: the wire value, or the code of the finding."""
    validator = SchemaValidator(body_schema([item], {}))
    body = parse(b'{"x": %s}' % text.encode(), exact=item.kind is Kind.DECIMAL)
    found, findings = check(validator, body, lambda _: ("X", ["x"]))
    if not findings:
        return found["x"]
    assert all(finding.message.startswith("expected ") for finding in findings)
    return [finding.code for finding in findings]


ACCEPTED: list[tuple[Attribute, str, Any]] = [
    (attribute(Kind.STRING), '"Zoë\\n"', "Zoë\n"),
    (attribute(Kind.STRING), '""', ""),
    (attribute(Kind.STRING), "null", None),
    (attribute(Kind.STRING, min_length=2, max_length=3), '"日本語"', "日本語"),
    (attribute(Kind.STRING, pattern="^[A-Z]+$"), '"AB"', "AB"),
    (attribute(Kind.TEXT), '"long"', "long"),
    (attribute(Kind.INTEGER), "3", 3),
    (attribute(Kind.INTEGER), "-0", 0),
    (attribute(Kind.INTEGER), "3.0", 3),
    (attribute(Kind.INTEGER), "1e3", 1000),
    (attribute(Kind.INTEGER), str(2**63 - 1), 2**63 - 1),
    (attribute(Kind.INTEGER), str(-(2**63)), -(2**63)),
    (attribute(Kind.INTEGER, minimum=Decimal("0.5"), maximum=Decimal("2.5")), "1", 1),
    (attribute(Kind.INTEGER, exclusive_minimum=Decimal(0), exclusive_maximum=Decimal("2.5")), "2", 2),
    (attribute(Kind.INTEGER, multiple_of=Decimal(5)), "15", 15),
    (attribute(Kind.FLOAT), "3", 3.0),
    (attribute(Kind.FLOAT), "0.1", 0.1),
    (attribute(Kind.FLOAT, maximum=Decimal("0.1")), "0.1", 0.1),
    (attribute(Kind.FLOAT, multiple_of=Decimal("0.1")), "0.3", 0.3),
    (attribute(Kind.FLOAT, multiple_of=Decimal(2)), "1e308", 1e308),
    (attribute(Kind.DECIMAL), "0.1", "0.1"),
    (attribute(Kind.DECIMAL), '"12.500"', "12.5"),
    (attribute(Kind.DECIMAL), "100", "100"),
    (attribute(Kind.DECIMAL), '"-0"', "0"),
    (attribute(Kind.DECIMAL), "1e2", "100"),
    (attribute(Kind.DECIMAL), '"007.10"', "7.1"),
    (attribute(Kind.DECIMAL), "999999999999.123456", "999999999999.123456"),
    (attribute(Kind.DECIMAL, scale=2), "12.5", "12.50"),
    (attribute(Kind.DECIMAL, scale=2), '"-0.00"', "0.00"),
    (attribute(Kind.DECIMAL, scale=0), "12", "12"),
    (attribute(Kind.DECIMAL, scale=2, precision=18), '"9999999999999999.99"', "9999999999999999.99"),
    (attribute(Kind.DECIMAL, scale=2, precision=18), "9007199254740993.01", "9007199254740993.01"),
    (attribute(Kind.DECIMAL, scale=2, precision=4), "99.99", "99.99"),
    (attribute(Kind.DECIMAL, multiple_of=Decimal("0.05")), "0.15", "0.15"),
    (attribute(Kind.DECIMAL, minimum=Decimal("0.1"), maximum=Decimal("0.3")), "0.3", "0.3"),
    (attribute(Kind.BOOLEAN), "true", True),
    (attribute(Kind.DATETIME), '"2026-11-22T01:31:46Z"', "2026-11-22T01:31:46.000000Z"),
    (attribute(Kind.DATETIME), '"2026-11-22t01:31:46.5z"', "2026-11-22T01:31:46.500000Z"),
    (attribute(Kind.DATETIME), '"2026-11-22 01:31"', "2026-11-22T01:31:00.000000Z"),
    (attribute(Kind.DATETIME), '"2026-11-22T01:31:46.123456789+05:30"', "2026-11-21T20:01:46.123456Z"),
    (attribute(Kind.DATE), '"2024-02-29"', "2024-02-29"),
    (attribute(Kind.TIME), '"01:31"', "01:31:00.000000"),
    (attribute(Kind.TIME), '"23:59:59.5"', "23:59:59.500000"),
    (attribute(Kind.JSON), '{"a": [1, null, 1.5]}', {"a": [1, None, 1.5]}),
    (attribute(Kind.JSON), "0", 0),
    (attribute(Kind.UUID), f'"{UUID.upper()}"', UUID),
    (attribute(Kind.EMAIL), '"a.b+c@example.com"', "a.b+c@example.com"),
    (attribute(Kind.EMAIL), '"Ann@EXAMPLE.com"', "Ann@example.com"),
    (attribute(Kind.EMAIL), '"ann@host.test"', "ann@host.test"),
    (attribute(Kind.EMAIL), '"李@例え.jp"', "李@例え.jp"),
    (attribute(Kind.URL), '"https://example.com/a?b#c"', "https://example.com/a?b#c"),
    (attribute(Kind.URL), '"HTTP://Example.com"', "HTTP://Example.com"),
    (attribute(Kind.ENUM, members=("a", "no")), '"no"', "no"),
    (attribute(Kind.STRING, is_list=True), '["a", "b"]', ["a", "b"]),
    (attribute(Kind.STRING, is_list=True), "[]", []),
    (attribute(Kind.DECIMAL, is_list=True, scale=1), '[1, "2.5"]', ["1.0", "2.5"]),
    (attribute(Kind.JSON, is_list=True), "[null, {}]", [None, {}]),
]

REFUSED: list[tuple[Attribute, str, str]] = [
    (attribute(Kind.STRING), "5", "type"),
    (attribute(Kind.STRING, required=True), "null", "type"),
    (attribute(Kind.STRING, min_length=2), '"a"', "min_length"),
    (attribute(Kind.STRING, max_length=2), '"abc"', "max_length"),
    (attribute(Kind.STRING, pattern="^[A-Z]+$"), '"ab"', "pattern"),
    (attribute(Kind.INTEGER), '"3"', "type"),
    (attribute(Kind.INTEGER), "3.5", "type"),
    (attribute(Kind.INTEGER), "true", "type"),
    (attribute(Kind.INTEGER), "1e300", "type"),
    (attribute(Kind.INTEGER), str(2**63), "range"),
    (attribute(Kind.INTEGER), str(-(2**63) - 1), "range"),
    (attribute(Kind.INTEGER), "9" * 400, "range"),
    (attribute(Kind.INTEGER, minimum=Decimal("0.5")), "0", "minimum"),
    (attribute(Kind.INTEGER, maximum=Decimal("2.5")), "3", "maximum"),
    (attribute(Kind.INTEGER, exclusive_minimum=Decimal(1)), "1", "exclusive_minimum"),
    (attribute(Kind.INTEGER, exclusive_maximum=Decimal("2.5")), "3", "exclusive_maximum"),
    (attribute(Kind.INTEGER, multiple_of=Decimal(5)), "16", "multiple_of"),
    (attribute(Kind.FLOAT), '"1.5"', "type"),
    (attribute(Kind.FLOAT), "false", "type"),
    (attribute(Kind.FLOAT), "1e999", "range"),
    (attribute(Kind.FLOAT, minimum=Decimal("0.5")), "0.4", "minimum"),
    (attribute(Kind.FLOAT, multiple_of=Decimal("0.1")), "0.35", "multiple_of"),
    (attribute(Kind.FLOAT, multiple_of=Decimal(7)), "1e308", "multiple_of"),
    (attribute(Kind.DECIMAL), '"abc"', "format"),
    (attribute(Kind.DECIMAL), '"1_000"', "format"),
    (attribute(Kind.DECIMAL), '" 1"', "format"),
    (attribute(Kind.DECIMAL), '"NaN"', "format"),
    (attribute(Kind.DECIMAL), '"１"', "format"),
    (attribute(Kind.DECIMAL), "1e999", "format"),
    (attribute(Kind.DECIMAL), '"1e9999"', "format"),
    (attribute(Kind.DECIMAL), '"1e-9999"', "format"),
    (attribute(Kind.DECIMAL), '"1e999999999999"', "format"),
    (attribute(Kind.DECIMAL), "true", "type"),
    (attribute(Kind.DECIMAL), "[]", "type"),
    (attribute(Kind.DECIMAL), "0.1234567", "format"),
    (attribute(Kind.DECIMAL), "1234567890123", "format"),
    (attribute(Kind.DECIMAL, scale=2), "12.505", "format"),
    (attribute(Kind.DECIMAL, scale=2), "0.1000000000000000055", "format"),
    (attribute(Kind.DECIMAL, scale=2, precision=4), "100", "format"),
    (attribute(Kind.DECIMAL, precision=4), "100.25", "format"),
    (attribute(Kind.DECIMAL, scale=2, precision=40), "9" * 30, "format"),
    (attribute(Kind.DECIMAL, minimum=Decimal("0.1")), "0.09", "minimum"),
    (attribute(Kind.DECIMAL, maximum=Decimal("0.3")), "0.300001", "maximum"),
    (attribute(Kind.DECIMAL, exclusive_minimum=Decimal(0)), "0", "exclusive_minimum"),
    (attribute(Kind.DECIMAL, exclusive_maximum=Decimal(1)), '"1.0"', "exclusive_maximum"),
    (attribute(Kind.DECIMAL, multiple_of=Decimal("0.05")), "0.16", "multiple_of"),
    (attribute(Kind.BOOLEAN), "1", "type"),
    (attribute(Kind.BOOLEAN), '"true"', "type"),
    (attribute(Kind.DATETIME), "1700000000", "type"),
    (attribute(Kind.DATETIME), '"1700000000"', "format"),
    (attribute(Kind.DATETIME), '"2026-11-22"', "format"),
    (attribute(Kind.DATETIME), '"2026-02-30T00:00:00Z"', "format"),
    (attribute(Kind.DATETIME), '"2026-11-22T01:31:46+25:00"', "format"),
    (attribute(Kind.DATETIME), '"0001-01-01T00:00:00+01:00"', "format"),
    (attribute(Kind.DATETIME), '"9999-12-31T23:59:59-01:00"', "format"),
    (attribute(Kind.DATE), '"2026-02-29"', "format"),
    (attribute(Kind.DATE), '"20260228"', "format"),
    (attribute(Kind.TIME), '"24:01"', "format"),
    (attribute(Kind.TIME), '"01:31:46Z"', "format"),
    (attribute(Kind.JSON), '{"a": [1e999]}', "range"),
    (attribute(Kind.UUID), f'"{UUID.replace("-", "")}"', "format"),
    (attribute(Kind.UUID), f'"{{{UUID}}}"', "format"),
    (attribute(Kind.UUID), "5", "type"),
    (attribute(Kind.EMAIL), '"nobody"', "format"),
    (attribute(Kind.EMAIL), '"a@b"', "format"),
    (attribute(Kind.EMAIL), '"a b@example.com"', "format"),
    (attribute(Kind.EMAIL), f'"{"a" * 65}@example.com"', "format"),
    (attribute(Kind.EMAIL, max_length=10), '"abcdef@example.com"', "max_length"),
    (attribute(Kind.URL), '"javascript:alert(1)"', "format"),
    (attribute(Kind.URL), '"example.com"', "format"),
    (attribute(Kind.URL), '" https://example.com"', "format"),
    (attribute(Kind.URL), '"https://"', "format"),
    (attribute(Kind.URL), '"https://a:99999"', "format"),
    (attribute(Kind.ENUM, members=("a", "no")), '"A"', "enum"),
    (attribute(Kind.ENUM, members=("a", "no")), "false", "enum"),
    (attribute(Kind.STRING, is_list=True), '"a"', "type"),
    (attribute(Kind.STRING, is_list=True), "[null]", "type"),
    (attribute(Kind.INTEGER, is_list=True, minimum=Decimal(1)), "[1, 0]", "minimum"),
]


@pytest.mark.parametrize(("item", "text", "wire"), ACCEPTED)
def test_a_value_is_stored_in_its_wire_form(item: Attribute, text: str, wire: Any) -> None:
    found = verdict(item, text)
    assert found == wire
    assert type(found) is type(wire)


@pytest.mark.parametrize(("item", "text", "code"), REFUSED)
def test_a_value_that_is_not_of_its_type_is_refused(item: Attribute, text: str, code: str) -> None:
    assert verdict(item, text) == [code]


def test_every_item_of_a_list_is_pointed_at() -> None:
    validator = SchemaValidator(body_schema([attribute(Kind.INTEGER, is_list=True)], {}))
    _, findings = check(validator, {"x": [1, "2", None]}, lambda _: ("X", []))
    assert [item.pointer for item in findings] == ["#/x/1", "#/x/2"]


def test_a_reference_takes_what_the_key_at_its_end_takes() -> None:
    far, near = EntityRef("other", "Far"), EntityRef("shop", "Near")
    targets = {
        near: Target(ref=near, domain="shop", plural="nears", key=attribute(Kind.REFERENCE, reference=far)),
        far: Target(ref=far, domain="other", plural="fars", key=attribute(Kind.INTEGER, primary_key=True)),
    }
    schema = attribute_schema(attribute(Kind.REFERENCE, reference=near), targets, nullable=False)
    assert SchemaValidator(schema).validate_python(3) == 3
    assert values.resolve(attribute(Kind.REFERENCE, reference=near), {}).kind is Kind.STRING


def test_references_that_go_in_circles_are_text() -> None:
    ref = EntityRef("shop", "Loop")
    key = attribute(Kind.REFERENCE, reference=ref)
    targets = {ref: Target(ref=ref, domain="shop", plural="loops", key=key)}
    assert values.resolve(key, targets).kind is Kind.STRING


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12) + 1, max_value=10**12 - 1))
def test_a_decimal_is_never_changed_on_its_way(number: Decimal) -> None:
    for text in (f"{number:f}", f'"{number:f}"'):
        wire = verdict(attribute(Kind.DECIMAL), text)
        assert Decimal(wire) == number
        assert "E" not in wire
        assert verdict(attribute(Kind.DECIMAL), f'"{wire}"') == wire


@given(st.text())
def test_no_text_breaks_a_reader(text: str) -> None:
    for kind in values.READERS:
        read = values.text_reader(attribute(kind), {})
        try:
            wire = read(text)
        except ValueError:
            continue
        if isinstance(wire, str):
            assert read(wire) == wire, "a wire value reads as itself"


@pytest.mark.parametrize("item", [attribute(Kind.JSON), attribute(Kind.STRING, is_list=True)])
def test_structured_values_have_no_text(item: Attribute) -> None:
    with pytest.raises(ValueError, match="cannot be written as text"):
        values.text_reader(item, {})


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match="valid Unicode"):
        values.plain_text("\ud800")
