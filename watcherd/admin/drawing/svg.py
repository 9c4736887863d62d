"""The pieces that drawings are made of, as SVG text: everything that comes from a model is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from watcherd.admin.drawing.layers import Box, Point
from watcherd.admin.drawing.text import width

MARGIN = 12.0


def drawing(width: float, height: float, label: str, parts: Iterable[str], *, role: str = "img") -> Markup:
    """An SVG of a size, with a name for those who do not see it; one that holds links is a `group`."""
    broad, high = _n(width + 2 * MARGIN), _n(height + 2 * MARGIN)
    box = f"{_n(-MARGIN)} {_n(-MARGIN)} {broad} {high}"
    inside = "".join(parts)
    named = f'role="{role}" aria-label="{escape(label)}"'
    return Markup(  # noqa: S704 - made of numbers, classes and what was escaped below
        f'<svg class="drawing" {named} viewBox="{box}" width="{broad}" height="{high}">{inside}</svg>'
    )


def text(x: float, y: float, content: str, kind: str = "", *, anchor: str = "start") -> str:
    """A line of text; `kind` is its class."""
    return f'<text x="{_n(x)}" y="{_n(y)}" class="{kind}" text-anchor="{anchor}">{escape(content)}</text>'


def rectangle(box: Box, kind: str, *, radius: float = 6.0) -> str:
    """A box with round corners."""
    place = f'x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}" height="{_n(box.height)}"'
    return f'<rect {place} rx="{_n(radius)}" class="{kind}"/>'


def label(x: float, y: float, content: str) -> list[str]:
    """A word on a line, with the middle of its ground at a point."""
    broad = width(content, 11.5) + 10
    return [
        rectangle(Box(x - broad / 2, y - 9, broad, 18), "label", radius=9),
        text(x, y + 4, content, "outcome", anchor="middle"),
    ]


def polygon(points: Sequence[Point], kind: str) -> str:
    """A closed shape."""
    return f'<polygon points="{" ".join(f"{_n(x)},{_n(y)}" for x, y in points)}" class="{kind}"/>'


def ring(x: float, y: float) -> str:
    """A small circle."""
    return f'<circle cx="{_n(x)}" cy="{_n(y)}" r="4.5" class="ring"/>'


def path(data: str, kind: str) -> str:
    """A line whose data is ours."""
    return f'<path d="{data}" class="{kind}"/>'


def linked(target: str, parts: Iterable[str]) -> str:
    """What leads to another place of the page."""
    return f'<a href="{escape(target)}">{"".join(parts)}</a>'


def curve(points: Sequence[Point], *, sideways: bool = False) -> str:
    """A smooth line through points, upright at each of them, or level where it goes sideways."""
    (x, y), *rest = points
    data = [f"M{_n(x)} {_n(y)}"]
    for to_x, to_y in rest:
        bend_x, bend_y = ((to_x - x) / 2, 0.0) if sideways else (0.0, (to_y - y) / 2)
        bends = f"{_n(x + bend_x)} {_n(y + bend_y)} {_n(to_x - bend_x)} {_n(to_y - bend_y)}"
        data.append(f"C{bends} {_n(to_x)} {_n(to_y)}")
        x, y = to_x, to_y
    return "".join(data)


def straight(points: Sequence[Point]) -> str:
    """A line through points with corners."""
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
