"""Bars as SVG, written by hand: a few rectangles and labels need no library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_BAR, _GAP, _LEFT, _WIDTH, _TOP = 16, 6, 210, 420, 34
_OURS, _OTHERS = "#0b7285", "#adb5bd"


def bars(title: str, values: Mapping[str, float], shown: Mapping[str, str], ours: Sequence[str]) -> str:
    """One bar a system, as long as its value; `shown` is the text at its end, `ours` have their own colour."""
    most = max(values.values(), default=1.0) or 1.0
    height = _TOP + len(values) * (_BAR + _GAP) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 110}" height="{height}"',
        f'  font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="{escape(title)}">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="8" y="20" font-size="14" font-weight="600" fill="#212529">{escape(title)}</text>',
    ]
    for place, (name, value) in enumerate(values.items()):
        top = _TOP + place * (_BAR + _GAP)
        long = max(1.0, _WIDTH * value / most)
        colour = _OURS if name in ours else _OTHERS
        parts += [
            f'<text x="{_LEFT - 8}" y="{top + 12}" text-anchor="end" fill="#212529">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{top}" width="{long:.1f}" height="{_BAR}" rx="2" fill="{colour}"/>',
            f'<text x="{_LEFT + long + 6:.1f}" y="{top + 12}" fill="#495057">{escape(shown[name])}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
