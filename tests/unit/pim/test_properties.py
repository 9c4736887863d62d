"""What holds for every file, sought by hypothesis."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from watcherd.pim import Limits, parse

LIMITS = Limits(max_bytes=5000, max_depth=10, max_nodes=300, max_characters=5000)

WORDS = st.sampled_from(
    [
        "domain",
        "entities",
        "services",
        "flows",
        "rules",
        "name",
        "attributes",
        "type",
        "string",
        "int",
        "ref",
        "reference",
        "Thing",
        "thing",
        "a",
        "b",
        "id",
        "enum",
        "values",
        "default",
        "required",
        "unique",
        "min",
        "max",
        "pattern",
        "constraints",
        "indexes",
        "relationships",
        "plural",
        "methods",
        "parameters",
        "returns",
        "steps",
        "next",
        "diagram",
        "metadata",
        "shop",
        "true",
        "null",
        "5",
        "1.5",
        ".inf",
        "has many Thing",
        "a must be unique",
        "<<",
        "*a",
        "&a",
    ]
)
SCALARS = st.one_of(WORDS, st.text(max_size=8), st.integers(), st.floats(), st.booleans(), st.none())
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(WORDS, st.text(max_size=4)), inner, max_size=5)
    ),
    max_leaves=25,
)
MODEL: dict[str, Any] = {
    "domain": "shop",
    "entities": [
        {
            "name": "Order",
            "attributes": {"state": {"enum": ["a", "b"], "default": "a"}, "total": {"type": "decimal", "min": 0}},
            "constraints": ["total must be positive", {"unique": ["state", "total"], "name": "x"}],
            "relationships": [{"has_many": "Line", "name": "lines"}],
        },
        {
            "name": "Line",
            "attributes": {"orderId": {"reference": "Order", "on_delete": "cascade"}, "n": "int", "m": "int"},
        },
    ],
    "services": [{"name": "S", "methods": [{"name": "m", "parameters": {"b": "int", "a": "Order"}, "rules": ["r"]}]}],
    "flows": {"f": {"description": "d", "steps": [{"id": "s", "next": {"x": "t", "w": "s"}}, {"id": "t"}]}},
    "rules": {"r": "prose", "q": {"b": 1, "a": [1, 1.0, True]}},
    "metadata": {"z": {"y": 1, "x": None}, "a": 1},
}


@given(
    st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
)
def test_no_bytes_make_it_raise(source: bytes) -> None:
    parsed = parse(source, "x.yaml", limits=LIMITS)
    assert (parsed.spec is None) == any(one.is_error for one in parsed.diagnostics)


@given(TREES, st.sampled_from(sorted(MODEL)))
@settings(max_examples=300)
def test_no_tree_in_place_of_any_part_makes_it_raise(tree: object, key: str) -> None:
    for document in (tree, {**MODEL, key: tree}, {**MODEL, "entities": [{"name": "A", "attributes": {"a": tree}}]}):
        source = json.dumps(document, ensure_ascii=True).encode()
        parsed = parse(source, "x.yaml", limits=LIMITS)
        assert (parsed.spec is None) == any(one.is_error for one in parsed.diagnostics)
        assert all(one.line == 1 and 1 <= one.column <= len(source) + 1 for one in parsed.diagnostics)


@given(st.data())
def test_the_order_of_keys_and_the_formatting_change_nothing(data: st.DataObject) -> None:
    def shuffled(value: object) -> object:
        if isinstance(value, dict):
            return {key: shuffled(value[key]) for key in data.draw(st.permutations(sorted(value)))}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    straight = parse(json.dumps(MODEL).encode(), "a.yaml")
    text = "# comment\n" + json.dumps(shuffled(MODEL), indent=data.draw(st.integers(1, 4))) + "\n\n# end\n"
    mixed = parse(text.encode(), "b.yaml")
    assert straight.spec is not None
    assert mixed.spec == straight.spec
