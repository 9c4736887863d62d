"""Bytes to a tree: YAML 1.2, exact places, and bounds against hostile files."""

from collections.abc import Callable

import pytest

from watcherd.pim import Parsed, Position, parse
from watcherd.pim.spec import Json, ModelSpec


def metadata(text: str) -> object:
    parsed = parse(f"domain: shop\nservices: [{{name: S}}]\nmetadata: {text}".encode(), "shop.yaml")
    assert parsed.spec is not None, parsed.diagnostics
    return parsed.spec.metadata.value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("yes", "yes"),
        ("off", "off"),
        ("TRUE", True),
        ("false", False),
        ("~", None),
        ("0o17", 15),
        ("017", 17),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("190:20:30", "190:20:30"),
        ("2024-01-20", "2024-01-20"),
        ("-1.5e3", -1500.0),
        ("+.5", 0.5),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!float 1", 1.0),
        ("! 1", "1"),
    ],
)
def test_scalars_are_read_as_yaml_1_2_does(written: str, value: object) -> None:
    read = metadata(f"{{a: {written}}}")
    assert Json.of(read) == Json.of({"a": value})


def test_merge_keys_add_what_the_mapping_does_not_say() -> None:
    assert metadata("{a: &a {x: 1, y: 2}, b: &b {y: 3, z: 4}, c: {<<: [*a, *b], x: 0}}") == {
        "a": {"x": 1, "y": 2},
        "b": {"y": 3, "z": 4},
        "c": {"x": 0, "y": 2, "z": 4},
    }


def test_columns_count_characters_also_after_names_of_several_bytes(parse_text: Callable[[str], Parsed]) -> None:
    text = "{domain: shop, entities: [{name: 订单, attributes: {姓名𝒳: {type: 文}}}]}"
    found = [(one.code, one.line, one.column, one.end_column) for one in parse_text(text).diagnostics]
    column = text.index("文") + 1
    assert found == [("PIM207", 1, column, column + 1)]


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_and_the_kind_of_line_break_change_nothing(line_break: str, mark: bytes) -> None:
    text = line_break.join(["domain: shop", "# 注", "entities:", "- name: A", "  titel: x"])
    parsed = parse(mark + text.encode(), "shop.yaml")
    assert [(one.code, one.line, one.column) for one in parsed.diagnostics] == [("PIM101", 5, 3)]


@pytest.mark.parametrize("source", [b"[" * 1_000_000, b"- " * 500_000, b"{a: " * 250_000, b"? " * 500_000])
def test_deep_nesting_ends_at_the_bound_and_not_in_a_crash(source: bytes) -> None:
    assert [one.code for one in parse(source, "deep.yaml").diagnostics] == ["PIM006"]


def test_an_alias_bomb_ends_at_the_bound() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    assert [one.code for one in parse("\n".join(lines).encode(), "bomb.yaml").diagnostics] == ["PIM007"]


def test_an_alias_of_a_long_text_counts_with_all_its_characters() -> None:
    source = f"a: &a {'x' * 500_000}\nb: [{', '.join(['*a'] * 100)}]"
    assert [one.code for one in parse(source.encode(), "bomb.yaml").diagnostics] == ["PIM007"]


def test_a_file_of_a_hundred_megabytes_is_refused_by_its_size_alone() -> None:
    assert [one.code for one in parse(b"[" * 100_000_000, "big.yaml").diagnostics] == ["PIM001"]


def test_a_hundred_thousand_mistakes_are_counted_but_not_all_kept() -> None:
    source = "domain: shop\n" + "".join(f"k{n}: 1\n" for n in range(40_000))
    parsed = parse(source.encode(), "shop.yaml")
    assert parsed.spec is None
    assert len(parsed.diagnostics) == 200


def test_the_domain_is_known_also_of_a_file_that_breaks_off(parse_text: Callable[[str], Parsed]) -> None:
    parsed = parse_text("domain: shop\nentities: [{name: A")
    assert parsed.spec is None
    assert parsed.domain == "shop"


def test_a_domain_that_cannot_be_one_is_not_told(parse_text: Callable[[str], Parsed]) -> None:
    assert parse_text("domain: Not One\n").domain is None


def test_a_path_is_located_by_index_or_name_or_at_its_nearest_ancestor(parse_text: Callable[[str], Parsed]) -> None:
    parsed = parse_text(
        """\
        domain: shop
        entities:
          - description: x
            name: User
            attributes:
              email:
                type: string
          - name: Other
            attributes:
              - {name: a, type: int}
        services:
          - name: Clerk
            methods: [{name: sell}]
        """
    )
    assert parsed.locate("domain") == Position(1, 9)
    assert parsed.locate("entities", "User", "attributes", "email", "type") == Position(7, 15)
    assert parsed.locate("entities", 0, "attributes", "email") == Position(6, 7)
    assert parsed.locate("entities", "User") == Position(4, 11)
    assert parsed.locate("entities", "User", "attributes", "phone", "type") == Position(5, 5)
    assert parsed.locate("entities", "Other", "attributes", "a", "type") == Position(10, 25)
    assert parsed.locate("services", "Clerk", "methods", "sell", "returns") == Position(13, 22)
    assert parsed.locate("nothing") == Position(1, 1)


def test_one_mistake_has_no_followers(parse_text: Callable[[str], Parsed]) -> None:
    parsed = parse_text(
        """\
        domain: shop
        entities:
          - name: Order
            attributes:
              sku: {typ: string}
              total: mony
            constraints: [sku must be unique, {unique: [sku, total]}, total must be positive]
            indexes: [sku, "sku, total"]
            relationships: [has many Item]
          - name: Item
            attributes: {orderId: [string]}
            relationships: [belongs to Order, belongs to Broken]
          - name: Broken
            attributes: {a: {reference: Lost}}
          - {name: lost, plural: [x]}
          - name: Lost
            plural: [x]
        services:
          - {name: Clerk, methods: [{name: sell, parameters: {a: Lost, b: lost}, flow: f, rules: [r]}]}
        flows: {f: 5}
        rules: {r: [5]}
        """
    )
    found = [(one.code, one.line) for one in parsed.diagnostics]
    assert found == [
        ("PIM101", 5),
        ("PIM207", 6),
        ("PIM103", 11),
        ("PIM203", 15),
        ("PIM103", 15),
        ("PIM103", 17),
        ("PIM103", 20),
        ("PIM103", 21),
    ]


def test_all_findings_of_a_file_come_at_once_in_its_order(parse_text: Callable[[str], Parsed]) -> None:
    parsed = parse_text(
        "{domain: Shop, titel: x, entities: [{name: a}, {name: B, attributes: {c: x, d: {}}}], rules: 5}"
    )
    assert [one.code for one in parsed.diagnostics] == ["PIM201", "PIM101", "PIM203", "PIM207", "PIM102", "PIM103"]


def test_yes_is_text_and_the_hint_says_what_to_write(parse_text: Callable[[str], Parsed]) -> None:
    parsed = parse_text("{domain: shop, entities: [{name: A, attributes: {a: {type: int, unique: yes}}}]}")
    assert [one.hint for one in parsed.diagnostics] == ["write `true`: in YAML 1.2 this is text"]


def test_reserved_domains_are_refused_only_where_asked_for(spec_of: Callable[[str], ModelSpec]) -> None:
    assert spec_of("{domain: metrics, services: [{name: S}]}").domain == "metrics"


@pytest.mark.parametrize(
    "part",
    [
        "flows: {f: {steps: [" + ", ".join(f"{{id: s{n}, next: END}}" for n in range(8000)) + "]}}",
        "flows: {f: {steps: [" + ", ".join(f"{{id: s{n}, next: q{n}}}" for n in range(8000)) + "]}}",
        "entities: [{name: A, indexes: [[" + "a, " * 20_000 + "]]}]",
        "entities: [{name: A, attributes: {a: 'x" + " " * 500_000 + "y'}}]",
        "entities: [{name: A, attributes: {a: {type: string, pattern: '" + "a" * 2000 + "'}}}]",
    ],
)
def test_the_work_for_a_file_grows_no_faster_than_the_file(part: str) -> None:
    """In each of these something could be compared with everything else: the time limit of a test would tell."""
    assert parse(f"domain: shop\nservices: [{{name: S}}]\n{part}".encode(), "x.yaml").diagnostics != ()
