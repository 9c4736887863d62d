"""A text that is read piece by piece gives the tree, and the model, that it gives as a whole."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import watcherd.pim.pieces
from tests.samples import sample_texts
from watcherd.pim import DEFAULT_LIMITS, Limits, Pieces, parse
from watcherd.pim.findings import Findings, SourceText
from watcherd.pim.nodes import ListNode, MapNode, Node, ScalarNode
from watcherd.pim.yaml_reader import read_tree

MODELS = list(sample_texts().values())
ODD = """
domain: odd
# a comment at the edge
entities:
- name: Flat
  attributes:
    a: string
    b: {type: string,
      max_length: 3}
    c:
    "d": "quoted: text
      over lines"
    e: >
      folded
      # no comment

    # a comment
    f: |+
      kept

  constraints:
  - a must be unique
  - {unique: [a,
     b]}

-   name: Wide
    attributes:
        x: integer
- {name: Flow, attributes: {a: string}}
rules:
  one: plain text
    that goes on
  two: [a, [b, {c: d}]]
metadata:
  - - 1
    - 2
  - key : spaced
  - "x"
"""
TEXTS = [*MODELS, ODD]
LINES = sorted({line for text in TEXTS for line in text.split("\n")})
SCRAPS = [
    "- a",
    "  - b: c",
    "? x",
    ": y",
    "a: &b 1",
    "c: *b",
    "<<: {}",
    "---",
    "...",
    "\t",
    "'",
    '"',
    "{",
    "]",
    "a:",
    "-",
    "- ",
    "#",
    "x: >",
    "  : z",
    "%YAML 1.2",
    "a: !!str b",
    "key: value # said",
    "é: ü",
    "a b: c",
    "  a: 'it''s'",
    "a: b: c",
    "- - - a",
    "x: ?",
    "'q': r",
    "a: -",
    "a: - b",
]


def as_value(node: Node) -> object:
    """A tree without its places."""
    if isinstance(node, ScalarNode):
        return node.text, node.kind
    if isinstance(node, ListNode):
        return [as_value(item) for item in node]
    return {"keys": list(node), **{key: as_value(value) for key, value in node.items()}}


def whole(text: str) -> tuple[Node | None, int]:
    findings = Findings(SourceText("x.yaml", text))
    root, is_complete = read_tree(text, DEFAULT_LIMITS, findings)
    return (root if is_complete else None), findings.count


def edits(text: str, number: int, line: int, scrap: str) -> str:
    """One edit of a text, such as people and accidents make."""
    lines = text.split("\n")
    at = line % len(lines)
    match number % 6:
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[line * 7 % len(lines)])
        case 2:
            lines.insert(at, scrap)
        case 3:
            lines[at] = " " * (line % 9) + lines[at].lstrip()
        case 4:
            lines[at] = lines[at].replace(" ", "", 1) if line % 2 else " " + lines[at]
        case _:
            lines[at] += scrap
    return "\n".join(lines)


changes = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 400), st.sampled_from([*SCRAPS, *LINES])), min_size=1, max_size=6
)


@given(st.sampled_from(TEXTS), changes)
@settings(max_examples=400, deadline=None)
def test_whatever_is_edited_pieces_give_the_tree_of_the_whole_or_nothing(
    text: str, steps: list[tuple[int, int, str]]
) -> None:
    pieces = Pieces()
    pieces.read(text, DEFAULT_LIMITS)
    for step in steps:
        text = edits(text, *step)
        tree = pieces.read(text, DEFAULT_LIMITS)
        if tree is not None:
            expected, findings = whole(text)
            assert findings == 0
            assert expected is not None
            assert as_value(tree) == as_value(expected)


@given(st.sampled_from(TEXTS), changes)
@settings(max_examples=60, deadline=None)
def test_a_file_that_is_edited_means_what_it_means_when_it_is_new(text: str, steps: list[tuple[int, int, str]]) -> None:
    pieces = Pieces()
    for step in [None, *steps]:
        text = text if step is None else edits(text, *step)
        edited = parse(text.encode(), "x.yaml", pieces=pieces)
        fresh = parse(text.encode(), "x.yaml")
        assert edited == fresh
        assert edited.references == fresh.references
        if fresh.spec is not None:
            for name, entity in fresh.spec.entities.items():
                assert list(edited.spec.entities[name].attributes) == list(entity.attributes)  # type: ignore[union-attr]
                assert edited.locate("entities", name) == fresh.locate("entities", name)


@pytest.mark.parametrize("text", TEXTS)
def test_real_files_are_read_piece_by_piece(text: str) -> None:
    is_whole = text is ODD or "given: &" in text  # a wide dash, and rows of an example that another takes up
    assert (Pieces().read(text, DEFAULT_LIMITS) is None) == is_whole


@pytest.mark.parametrize("condition", ["a > 1 && b", "a != 1", "a && !b"])
def test_operators_of_expressions_are_no_anchors_and_no_tags(condition: str) -> None:
    text = f"domain: shop\nrules:\n  one:\n    assert: {condition}\n"
    tree = Pieces().read(text, DEFAULT_LIMITS)
    assert (tree is None) == ("!b" in condition)


def test_what_an_edit_left_as_it_was_is_the_same_node() -> None:
    text = MODELS[-1]
    pieces = Pieces()
    before = pieces.read(text, DEFAULT_LIMITS)
    after = pieces.read(
        text.replace("      homepage: url\n", "      homepage: url\n      more: text\n"), DEFAULT_LIMITS
    )
    assert before is not None
    assert after is not None
    old, new = before["entities"], after["entities"]
    assert isinstance(old, ListNode)
    assert isinstance(new, ListNode)
    assert [one is other for one, other in zip(old, new, strict=True)] == [False, True, True, True]
    user, known = new[0], old[0]
    assert isinstance(user, MapNode)
    assert isinstance(known, MapNode)
    attributes, known_attributes = user["attributes"], known["attributes"]
    assert isinstance(attributes, MapNode)
    assert isinstance(known_attributes, MapNode)
    assert [name for name, node in attributes.items() if known_attributes.get(name) is not node] == ["more"]


def test_an_edit_within_a_piece_that_was_not_opened_last_time_reads_that_edit_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pieces = Pieces()
    pieces.read(MODELS[-1], DEFAULT_LIMITS)
    pieces.read(MODELS[-1].replace("version: 1.0.0", "version: 1.0.1"), DEFAULT_LIMITS)
    read: list[str] = []
    real = watcherd.pim.pieces._read

    def noted(text: str, limits: Limits) -> Node:
        read.append(text)
        return real(text, limits)

    monkeypatch.setattr("watcherd.pim.pieces._read", noted)
    added = "      more: {type: string, max_length: 7}\n"
    pieces.read(MODELS[-1].replace("      homepage: url\n", f"      homepage: url\n{added}"), DEFAULT_LIMITS)
    assert read == [added]


def test_a_text_without_a_finding_takes_up_what_was_read_before_one() -> None:
    pieces = Pieces()
    text = "domain: shop\nentities:\n  - name: Thing\n    attributes: {a: string}\n"
    assert parse(text.encode(), "x.yaml", pieces=pieces).spec is not None
    broken = parse(text.replace("string", "strinng").encode(), "x.yaml", pieces=pieces)
    assert [(item.code, item.line) for item in broken.diagnostics] == [("PIM207", 4)]
    assert parse(text.encode(), "x.yaml", pieces=pieces) == parse(text.encode(), "x.yaml")
