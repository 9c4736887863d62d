"""A flow as a diagram: its steps from top to bottom, with the outcomes of decisions at their lines."""

from __future__ import annotations

from markupsafe import Markup

from watcherd.admin.drawing import svg
from watcherd.admin.drawing.layers import Box, Point, place
from watcherd.admin.drawing.text import width, wrap
from watcherd.pim.flow_spec import Flow, Step

MOST_STEPS = 150
"""A flow with more steps is told as a list alone: nobody finds his way in such a drawing."""

_WIDEST = 190.0
_LINE = 17.0
_ARROW = 7.0
_IMPLIED = ("start", "end")


def draw_flow(flow: Flow) -> Markup | None:
    """The SVG of a flow's steps; None where there are none to draw, or too many."""
    steps = {step.id: step for step in _with_implied(flow.steps)}
    if not flow.steps or len(steps) > MOST_STEPS:
        return None
    lines = {name: wrap(step.label or step.description or step.id, _WIDEST) for name, step in steps.items()}
    sizes = {name: _size(steps[name], lines[name]) for name in steps}
    edges = [(step.id, target, outcome) for step in steps.values() for outcome, target in step.next if target in steps]
    placed = place(sizes, [(tail, head) for tail, head, _ in edges])
    parts = []
    labels = []
    for (_, _, outcome), line in zip(edges, placed.lines, strict=True):
        parts.append(svg.path(svg.curve(line), "edge"))
        parts.append(_arrow(line))
        if outcome is not None:
            labels += _label(line, outcome)
    for name, step in steps.items():
        parts += _shape(step, placed.boxes[name])
        parts += _words(placed.boxes[name], lines[name])
    return svg.drawing(placed.width, placed.height, f"Diagram of {flow.name}", [*parts, *labels])


def _with_implied(steps: tuple[Step, ...]) -> list[Step]:
    """The steps, with the start and the end that a flow has without saying so."""
    known = {step.id for step in steps}
    lower = {name.lower() for name in known}
    targets = [target for step in steps for _, target in step.next]
    found = list(steps)
    if steps and "start" not in lower and not any(step.type == "start" for step in steps):
        entered = set(targets)
        first = next((step for step in steps if step.id not in entered), steps[0])
        found.insert(0, Step(id="Start", type="start", next=((None, first.id),)))
    implied = [name for name in dict.fromkeys(targets) if name not in known and name.lower() in _IMPLIED]
    return found + [Step(id=name, type=name.lower()) for name in implied]


def _size(step: Step, lines: list[str]) -> tuple[float, float]:
    broad = max(width(line) for line in lines)
    high = len(lines) * _LINE
    if step.type == "decision":
        return max(120.0, broad + 64), high + 30
    if step.type in _IMPLIED:
        return max(72.0, broad + 36), high + 14
    return max(110.0, broad + 28), high + 20


def _shape(step: Step, box: Box) -> list[str]:
    x, y, broad, high = box.x, box.y, box.width, box.height
    if step.type == "decision":
        side = 18.0
        corners = [
            (x + side, y), (x + broad - side, y), (x + broad, y + high / 2),
            (x + broad - side, y + high), (x + side, y + high), (x, y + high / 2),
        ]  # fmt: skip
        return [svg.polygon(corners, "node decision")]
    if step.type in _IMPLIED:
        return [svg.rectangle(box, "node end", radius=high / 2)]
    return [svg.rectangle(box, "node action")]


def _words(box: Box, lines: list[str]) -> list[str]:
    first = box.y + box.height / 2 - (len(lines) - 1) * _LINE / 2 + 4.5
    at = enumerate(lines)
    return [svg.text(box.middle, first + index * _LINE, line, "words", anchor="middle") for index, line in at]


def _arrow(line: tuple[Point, ...]) -> str:
    """The head of a line, in the direction in which it comes in: down, up, or from the right into a loop."""
    (_, before_y), (x, y) = line[-2], line[-1]
    if before_y == y:
        return svg.polygon([(x, y), (x + _ARROW, y - 4), (x + _ARROW, y + 4)], "arrow")
    back = -_ARROW if before_y < y else _ARROW
    return svg.polygon([(x, y), (x - 4, y + back), (x + 4, y + back)], "arrow")


def _label(line: tuple[Point, ...], outcome: str) -> list[str]:
    """The outcome of a decision, on the first stretch of its line."""
    (x, y), (to_x, to_y) = line[0], line[1]
    return svg.label(x + (to_x - x) * 0.42, y + (to_y - y) * 0.45, outcome)
