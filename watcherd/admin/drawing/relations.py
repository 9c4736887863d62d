"""The entities of a model and how their rows refer to one another, as a diagram.

An entity stands to the right of those that it refers to; at its end of the line a fork says that many of its
rows may refer to one. Entities of other models have a dashed frame.
"""

from __future__ import annotations

from markupsafe import Markup

from watcherd.admin.drawing import svg
from watcherd.admin.drawing.layers import Box, Point, place_sideways
from watcherd.admin.drawing.text import shorten, width
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Attribute, Entity, EntityRef, ToOne

MOST_ENTITIES = 120
MOST_ATTRIBUTES = 8

_HEAD = 30.0
_ROW = 19.0
_WIDEST = 250.0
_SIZE = 12.0
_GAP = 96.0
_HIGHEST = 620.0


def draw_relations(linked: LinkedModel) -> Markup | None:
    """The SVG; None where there is nothing to draw, or too much."""
    spec = linked.spec
    if not spec.entities or len(spec.entities) > MOST_ENTITIES:
        return None
    own = {_name(EntityRef(spec.name, name)): entity for name, entity in spec.entities.items()}
    foreign = {
        _name(one.target): linked.targets[one.target].domain + "." + one.target.entity
        for entity in spec.entities.values()
        for one in entity.to_one
        if one.target.model != spec.name
    }
    shown = {name: _shown(entity) for name, entity in own.items()}
    sizes = {name: _size(entity, shown[name]) for name, entity in own.items()}
    sizes |= {name: (width(label) + 28, _HEAD) for name, label in foreign.items()}
    ends = [
        (_name(EntityRef(spec.name, entity.name)), one) for entity in spec.entities.values() for one in entity.to_one
    ]
    edges = [(_name(one.target), child) for child, one in ends]
    placed = place_sideways(sizes, edges, gap=_GAP, highest=_HIGHEST)
    parts: list[str] = []
    labels: list[str] = []
    for (child, one), line in zip(ends, placed.lines, strict=True):
        attribute = own[child].attributes[one.attribute]
        parts += _line(line, attribute)
        labels += _label(line, one)
    parts += [part for name, label in foreign.items() for part in _foreign(placed.boxes[name], label)]
    for name, entity in own.items():
        parts.append(svg.linked(f"#entity-{entity.name}", _entity(placed.boxes[name], entity, shown[name])))
    label = f"How the entities of {spec.domain} relate"
    return svg.drawing(placed.width, placed.height, label, [*parts, *labels], role="group")


def _name(ref: EntityRef) -> str:
    return f"{ref.model}.{ref.entity}"


def _shown(entity: Entity) -> list[Attribute]:
    """The attributes that a box shows: those of the file, the key first where it is declared."""
    declared = [one for one in entity.attributes.values() if not one.implied]
    return sorted(declared, key=lambda one: not one.primary_key)[:MOST_ATTRIBUTES]


def _kind(attribute: Attribute) -> str:
    return attribute.kind.value + ("[]" if attribute.is_list else "")


def _size(entity: Entity, shown: list[Attribute]) -> tuple[float, float]:
    rows = [width(one.name, _SIZE) + width(_kind(one), 11) + 44 for one in shown]
    broad = min(_WIDEST, max(130.0, width(entity.name, 13.5) + 28, *rows))
    more = _more(entity, shown)
    return broad, _HEAD + _ROW * (len(shown) + bool(more)) + (8 if shown else 0)


def _more(entity: Entity, shown: list[Attribute]) -> int:
    return sum(not one.implied for one in entity.attributes.values()) - len(shown)


def _entity(box: Box, entity: Entity, shown: list[Attribute]) -> list[str]:
    parts = [
        svg.rectangle(box, "node entity"),
        svg.path(f"M{box.x:.1f} {box.y + _HEAD:.1f}h{box.width:.1f}", "rule") if shown else "",
        svg.text(box.x + 12, box.y + 20, shorten(entity.name, box.width - 20, size=13.5), "name"),
    ]
    y = box.y + _HEAD + 17
    for one in shown:
        name = shorten(one.name, box.width - 34 - width(_kind(one), 11), size=_SIZE)
        parts.append(svg.text(box.x + 12, y, name, "key" if one.primary_key else "attribute"))
        parts.append(svg.text(box.x + box.width - 12, y, _kind(one), "kind", anchor="end"))
        y += _ROW
    more = _more(entity, shown)
    if more:
        parts.append(svg.text(box.x + 12, y, f"and {more} more", "kind"))
    return parts


def _foreign(box: Box, label: str) -> list[str]:
    return [
        svg.rectangle(box, "node foreign"),
        svg.text(box.middle, box.y + 20, label, "words", anchor="middle"),
    ]


def _line(line: tuple[Point, ...], attribute: Attribute) -> list[str]:
    """From the row that is referred to, with a bar (a ring where there may be none), to the fork of the many."""
    if _is_loop(line):
        (_, _), (x, y) = line[0], line[-1]
        return [
            svg.path(svg.straight(line), "edge"),
            svg.path(svg.straight([(x - 5, y), (x, y + 9), (x + 5, y)]), "edge"),
        ]
    (x, y), (end_x, end_y) = line[0], line[-1]
    out = 1 if line[1][0] > x else -1
    into = 1 if end_x > line[-2][0] else -1
    here = svg.path(svg.straight([(x + 8 * out, y - 6), (x + 8 * out, y + 6)]), "edge")
    there = [(end_x, end_y - 7), (end_x - 11 * into, end_y), (end_x, end_y + 7)]
    if attribute.unique:
        there = [(end_x - 8 * into, end_y - 6), (end_x - 8 * into, end_y + 6)]
    return [
        svg.path(svg.curve(line, sideways=True), "edge"),
        here if attribute.required else svg.ring(x + 7 * out, y),
        svg.path(svg.straight(there), "edge"),
    ]


def _label(line: tuple[Point, ...], one: ToOne) -> list[str]:
    """The attribute that holds the key, on the last stretch of its line."""
    if _is_loop(line):
        return svg.label((line[0][0] + line[-1][0]) / 2, line[1][1] + 9, one.attribute)
    (x, y), (to_x, to_y) = line[-2], line[-1]
    return svg.label(x + (to_x - x) * 0.5, y + (to_y - y) * 0.5, one.attribute)


def _is_loop(line: tuple[Point, ...]) -> bool:
    """Whether a line leads from the lower side of a box back to it."""
    return line[0][1] == line[-1][1] and line[1][1] > line[0][1] and line[1][0] == line[0][0]
