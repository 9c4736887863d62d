"""Flows: the steps of a flow against each other and against its diagram; and free-form parts as JSON."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from watcherd.pim.bindings import binding
from watcherd.pim.findings import Nearest, quote
from watcherd.pim.flow_spec import IMPLIED_STEPS, STEP_TYPES, Flow, Step
from watcherd.pim.spec import Json
from watcherd.pim.values import ValueFault, free_value

if TYPE_CHECKING:
    from watcherd.pim.document import FlowDoc
    from watcherd.pim.nodes import Node
    from watcherd.pim.shapes import Draft, Path

_ARROW = re.compile(r"<?(?:--+|==+|-\.+-?)(?:[^-=>|]*(?:--+|==+|\.+-))?[>xo]?(?:\|[^|]*\|)?|~~~|&")
_NODE = re.compile(r"\s*(?P<id>[^\W\d]\w*|\d+)\s*(?=$|[\[({>;:@])")
_NO_NODES = re.compile(
    r"\s*(?:%%|flowchart\b|graph\b|subgraph\b|end\s*$|direction\b|class(?:Def)?\b|style\b|linkStyle\b|click\b|---)",
)
_NAMED = 12


def flows(draft: Draft) -> dict[str, Flow]:
    """All flows by name."""
    return {
        name: draft.meaning("flow", document, (name,), partial(_flow, draft, ("flows", name), name, document))
        for name, document in draft.document.flows.items()
    }


def free_json(draft: Draft, path: Path, node: Node) -> Json:
    """A free-form part of the document as JSON; what JSON cannot say is a finding."""
    try:
        return Json.of(free_value(node))
    except ValueFault as fault:
        draft.add("PIM016", path, f"a number in here has no JSON form: {fault}", "quote it to make it text", key=True)
        return Json("null")


def _flow(draft: Draft, path: Path, name: str, document: FlowDoc) -> Flow:
    steps: dict[str, Step] = {}
    places: dict[str, Path] = {}
    for index, one in enumerate(document.steps):
        at = (*path, "steps", index)
        if one.id in steps:
            first = draft.related((*places[one.id], "id"), "first written here")
            draft.add("PIM204", (*at, "id"), f"the step {quote(one.id)} is here twice", related=(first,))
            continue
        kind = one.type.strip().lower()
        if kind not in STEP_TYPES:
            hint = Nearest(kind, STEP_TYPES, f"known: {', '.join(STEP_TYPES)}")
            draft.add("PIM409", (*at, "type"), f"{quote(one.type)} is not a type of step", hint)
        steps[one.id] = Step(
            id=one.id,
            type=kind,
            label=one.label,
            description=one.description,
            next=one.next,
            binding=binding(draft, at, one),
        )
        places[one.id] = at
    drawn = diagram_nodes(document.diagram)
    if steps and not draft.is_broken("step", name):
        _check_next(draft, steps, places, drawn)
        _check_reach(draft, steps, places)
        _check_diagram(draft, path, steps, drawn)
    return Flow(name=name, description=document.description, diagram=document.diagram, steps=tuple(steps.values()))


def diagram_nodes(diagram: str) -> frozenset[str]:
    """The node ids of a Mermaid flowchart; an empty set where nothing looks like one."""
    found: set[str] = set()
    for line in re.split(r"[\n;]", diagram):
        if _NO_NODES.match(line):
            continue
        for piece in _ARROW.split(_without_labels(line)):
            node = _NODE.match(piece)
            if node is not None:
                found.add(node["id"])
    return frozenset(found)


def _without_labels(line: str) -> str:
    """A line less what stands in brackets and quotes, where arrows are only text."""
    kept: list[str] = []
    depth = 0
    is_quoted = False
    for character in line:
        if character == '"':
            is_quoted = not is_quoted
        elif is_quoted:
            continue
        elif character in "[({":
            depth += 1
            kept.append("[" if depth == 1 else "")
        elif character in "])}":
            depth = max(depth - 1, 0)
        elif depth == 0:
            kept.append(character)
    return "".join(kept).replace("[", "[ ")


def _known_ids(steps: dict[str, Step]) -> dict[str, str]:
    """The ids that `next` may name, and the steps that they mean: `Start` and `End` in any case, also where implied."""
    written = {step.lower(): step for step in steps if step.lower() in IMPLIED_STEPS}
    return {step: step for step in steps} | {
        name: written.get(name, name) for name in IMPLIED_STEPS if name not in steps
    }


def _canonical(step: str, known: dict[str, str]) -> str | None:
    return known.get(step) or (known.get(step.lower()) if step.lower() in IMPLIED_STEPS else None)


def _check_next(draft: Draft, steps: dict[str, Step], places: dict[str, Path], drawn: frozenset[str]) -> None:
    known = _known_ids(steps)
    for step in steps.values():
        for index, (outcome, following) in enumerate(step.next):
            if _canonical(following, known) is not None:
                continue
            at = (*places[step.id], "next", index if outcome is None else outcome)
            if following in drawn:
                draft.add("PIM407", at, f"{quote(following)} is a node of the diagram, but not a step")
            else:
                draft.add("PIM405", at, f"there is no step {quote(following)}", Nearest(following, steps))


def _check_reach(draft: Draft, steps: dict[str, Step], places: dict[str, Path]) -> None:
    """Warn of steps that nothing leads to; the walk begins at `Start`, else at the first step."""
    starts = [step.id for step in steps.values() if step.type == "start" or step.id.lower() == "start"]
    waiting = starts or [next(iter(steps))]
    reached: set[str] = set()
    known = _known_ids(steps)
    while waiting:
        step = waiting.pop()
        if step not in reached:
            reached.add(step)
            waiting.extend(
                after for _, following in steps[step].next if (after := _canonical(following, known)) in steps
            )
    for step in steps:
        if step not in reached and step.lower() not in IMPLIED_STEPS:
            draft.add("PIM406", (*places[step], "id"), f"no step leads to {quote(step)}")


def _check_diagram(draft: Draft, path: Path, steps: dict[str, Step], drawn: frozenset[str]) -> None:
    if not drawn:
        return
    stepped = {step for step in steps if step.lower() not in IMPLIED_STEPS}
    nodes = {node for node in drawn if node.lower() not in IMPLIED_STEPS}
    for names, where in (
        (stepped - nodes, "a step, but not in the diagram"),
        (nodes - stepped, "in the diagram, but not a step"),
    ):
        if names:
            shown = ", ".join(quote(name) for name in sorted(names)[:_NAMED]) + (", …" if len(names) > _NAMED else "")
            draft.add("PIM407", (*path, "diagram"), f"{shown}: {where}", key=True)
