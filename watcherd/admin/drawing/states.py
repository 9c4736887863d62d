"""The states of an entity as a diagram: where rows begin, and what moves them on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from markupsafe import Markup

from watcherd.admin.drawing.flows import draw_flow
from watcherd.pim.flow_spec import Flow, Step
from watcherd.pim.spec import Entity, ModelSpec

BY_ANYBODY = "by a write"
"""What a line is called that any client may go."""

_BEGINNING = "begins"


def draw_states(entity: Entity, spec: ModelSpec) -> Markup | None:
    """The SVG; None where the entity has no states."""
    states = entity.states
    if states is None:
        return None
    lines: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for before, targets in states.moves:
        for after in targets:
            lines[before][after].append(BY_ANYBODY)
    members = entity.attributes[states.field].members
    for name, befores, after in _moved_by_methods(entity, spec):
        for before in befores or members:
            if before != after:
                lines[before][after].append(name)
    steps = [
        Step(id=f"·{_BEGINNING}", type="start", label=_BEGINNING, next=tuple((None, name) for name in states.initial)),
        *(
            Step(id=name, label=name, next=tuple((", ".join(words), after) for after, words in lines[name].items()))
            for name in members
        ),
    ]
    return draw_flow(Flow(name=f"the states of {entity.name}", steps=tuple(steps)))


def _moved_by_methods(entity: Entity, spec: ModelSpec) -> Iterator[tuple[str, tuple[str, ...], str]]:
    for service in spec.services.values():
        for method in service.methods:
            moved = method.transition
            if moved is not None and moved.entity == entity.name:
                yield method.name, moved.before, moved.to
