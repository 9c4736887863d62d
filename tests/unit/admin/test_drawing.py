"""Diagrams: boxes that do not overlap, lines that end at their boxes, and text that stays text, whatever the model."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watcherd.admin.drawing import text
from watcherd.admin.drawing.flows import MOST_STEPS, draw_flow
from watcherd.admin.drawing.layers import Box, Placement, place, place_sideways
from watcherd.admin.drawing.relations import MOST_ENTITIES, draw_relations
from watcherd.admin.drawing.states import draw_states
from watcherd.pim import link, parse
from watcherd.pim.flow_spec import Flow, Step
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Attribute, Entity, Kind, Method, ModelSpec, Service, States, Transition

NAMES = [f"n{number}" for number in range(12)]
SIZES = st.tuples(st.floats(20, 300), st.floats(20, 200))
GRAPHS = st.lists(st.sampled_from(NAMES), min_size=1, unique=True).flatmap(
    lambda names: st.tuples(
        st.fixed_dictionaries(dict.fromkeys(names, SIZES)),
        st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=20),
    )
)


def overlap(one: Box, other: Box) -> bool:
    return (
        one.x < other.x + other.width - 0.01
        and other.x < one.x + one.width - 0.01
        and one.y < other.y + other.height - 0.01
        and other.y < one.y + one.height - 0.01
    )


def at_border(box: Box, x: float, y: float) -> bool:
    inside = box.x - 0.01 <= x <= box.x + box.width + 0.01 and box.y - 0.01 <= y <= box.y + box.height + 0.01
    sides = (x - box.x, x - box.x - box.width, y - box.y, y - box.y - box.height)
    return inside and min(map(abs, sides)) < 0.01


def check(placed: Placement, sizes: dict[str, tuple[float, float]], edges: list[tuple[str, str]]) -> None:
    assert {name: (box.width, box.height) for name, box in placed.boxes.items()} == sizes
    for one, other in itertools.combinations(placed.boxes.values(), 2):
        assert not overlap(one, other)
    assert len(placed.lines) == len(edges)
    for (tail, head), line in zip(edges, placed.lines, strict=True):
        assert at_border(placed.boxes[tail], *line[0])
        assert at_border(placed.boxes[head], *line[-1])
    points = [point for line in placed.lines for point in line]
    points += [(box.x + box.width, box.y + box.height) for box in placed.boxes.values()]
    assert all(x <= placed.width + 27 and y <= placed.height + 27 for x, y in points)
    assert min(*(x for x, _ in points), *(box.x for box in placed.boxes.values())) > -0.01


@settings(max_examples=60, deadline=None)
@given(GRAPHS)
def test_whatever_is_joined_boxes_stand_free_and_lines_end_at_them(
    graph: tuple[dict[str, tuple[float, float]], list[tuple[str, str]]],
) -> None:
    sizes, edges = graph
    check(place(sizes, edges), sizes, edges)
    check(place_sideways(sizes, edges, gap=80, highest=500), sizes, edges)


def test_what_leads_to_something_is_above_it_and_a_way_back_does_not_turn_that_round() -> None:
    sizes = dict.fromkeys("abcd", (50.0, 20.0))
    placed = place(sizes, [("a", "b"), ("b", "c"), ("c", "a"), ("a", "d"), ("c", "d")])
    heights = {name: box.y for name, box in placed.boxes.items()}

    assert heights["a"] < heights["b"] < heights["c"] < heights["d"]


def test_a_drawing_is_the_same_each_time() -> None:
    sizes = dict.fromkeys("abcdefgh", (50.0, 20.0))
    edges = [("a", "b"), ("a", "c"), ("b", "h"), ("c", "d"), ("d", "h"), ("e", "f")]

    assert place(sizes, edges) == place(sizes, edges)


def test_lines_that_need_not_cross_do_not() -> None:
    placed = place(dict.fromkeys("abcd", (50.0, 20.0)), [("a", "d"), ("b", "c"), ("a", "c")])
    a, b, c, d = (placed.boxes[name].middle for name in "abcd")

    assert (a < b) == (d < c)


# -- text -------------------------------------------------------------------------------------------


def test_long_text_is_broken_and_cut() -> None:
    lines = text.wrap("one two three four five six seven eight nine ten eleven twelve", 60, most=3)
    assert len(lines) == 3
    assert lines[-1].endswith("…")
    assert all(text.width(line) <= 60 for line in lines)


@pytest.mark.parametrize("word", ["a" * 200, "挂号" * 60, "🙂" * 80])
def test_a_word_that_is_wider_than_a_line_is_broken_too(word: str) -> None:
    assert all(text.width(line) <= 100 for line in text.wrap(word, 100))


def test_wide_characters_count_as_wide() -> None:
    assert text.width("挂号挂号") > text.width("abcd") * 1.4


# -- flows ------------------------------------------------------------------------------------------


def shown(svg: str | None) -> list[str]:
    assert svg is not None
    return [element.text or "" for element in ET.fromstring(svg).iter() if element.tag.endswith("text")]


def test_a_flow_shows_its_steps_its_outcomes_and_its_implied_ends() -> None:
    steps = (
        Step(id="ask", type="decision", label="May they?", next=(("yes", "lend"), ("no", "End"))),
        Step(id="lend", label="Lend it", next=((None, "End"),)),
    )
    assert sorted(shown(draw_flow(Flow(name="f", steps=steps)))) == [
        "End",
        "Lend it",
        "May they?",
        "Start",
        "no",
        "yes",
    ]


def test_a_flow_that_names_its_start_has_no_other() -> None:
    steps = (Step(id="Start", type="start", next=((None, "End"),)), Step(id="End", type="end"))
    found = sorted(shown(draw_flow(Flow(name="f", steps=steps))))
    assert found == ["End", "Start"]


def test_a_flow_without_steps_or_with_too_many_is_not_drawn() -> None:
    assert draw_flow(Flow(name="f", diagram="graph TD")) is None
    assert draw_flow(Flow(name="f", steps=tuple(Step(id=str(number)) for number in range(MOST_STEPS + 1)))) is None


def test_what_a_flow_says_is_text() -> None:
    steps = (Step(id="a", label="<script>x</script>&", next=(('"><b>', "End"),)),)
    svg = draw_flow(Flow(name='f"><i>', steps=steps))
    assert svg is not None
    assert "<script" not in svg
    assert "<b>" not in svg
    assert "<i>" not in svg
    assert "<script>x</script>&" in "".join(shown(svg))


# -- relations --------------------------------------------------------------------------------------


def linked(text_: str, *others: str) -> LinkedModel:
    specs = {}
    for other in others:
        spec = parse(other.encode(), "o.yaml").spec
        assert spec is not None
        specs[spec.name] = spec
    parsed = parse(text_.encode(), "m.yaml")
    assert parsed.spec is not None, parsed.diagnostics
    found = link(parsed.spec, specs)
    assert isinstance(found, LinkedModel)
    return found


def entity(name: str, *attributes: str) -> str:
    return f"  - name: {name}\n    attributes:\n" + "".join(f"      {line}\n" for line in attributes)


def test_entities_are_joined_by_what_their_rows_refer_to() -> None:
    model = "domain: shop\nentities:\n"
    model += entity("Item", "name: string", "parentId: {type: reference, reference: Item}")
    model += entity(
        "Line", "itemId: {type: reference, reference: Item, required: true}",
        "userId: {type: reference, reference: users.User}",
    )  # fmt: skip
    found = shown(draw_relations(linked(model, "domain: users\nentities:\n" + entity("User", "name: string"))))

    assert {"Item", "Line", "users.User"} <= set(found)
    assert found.count("parentId") == found.count("itemId") == found.count("userId") == 2  # in the box, at the line


def test_a_very_large_model_is_not_drawn_and_a_large_entity_is_cut_short() -> None:
    many = "domain: m\nentities:\n" + "".join(
        entity(f"E{number}", "name: string") for number in range(MOST_ENTITIES + 1)
    )
    assert draw_relations(linked(many)) is None
    wide = "domain: m\nentities:\n" + entity("E", *(f"a{number}: string" for number in range(30)))
    assert "and 22 more" in shown(draw_relations(linked(wide)))


def test_a_drawing_has_no_style_of_its_own() -> None:
    svg = draw_relations(linked("domain: m\nentities:\n" + entity("E", "name: string")))
    assert svg is not None
    assert re.search(r"\sstyle=|<style|\son\w+=", svg) is None


def test_states_are_drawn_with_what_moves_a_row_on() -> None:
    status = Attribute(name="status", kind=Kind.ENUM, members=("draft", "placed", "gone"))
    states = States(field="status", initial=("draft",), moves=(("draft", ("gone",)),))
    order = Entity(name="Order", plural="orders", attributes={"status": status}, states=states)
    place_ = Transition(entity="Order", field="status", before=("draft",), to="placed", key="id")
    drop = Transition(entity="Order", field="status", before=(), to="gone", key="id")
    methods = [Method(name=name, path=name, transition=one) for name, one in (("place", place_), ("drop", drop))]
    service = Service(name="S", path="s", methods=tuple(methods))
    spec = ModelSpec(domain="shop", entities={"Order": order}, services={"S": service})

    found = shown(draw_states(order, spec))
    assert {"begins", "draft", "placed", "gone"} <= set(found)
    assert {"by a write, drop", "place", "drop"} <= set(found)
    assert draw_states(Entity(name="E", plural="e", attributes={}), spec) is None
