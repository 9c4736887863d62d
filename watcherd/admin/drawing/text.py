"""How wide words are, without a font to ask: by the breadth of their characters, rather too wide than too narrow."""

from __future__ import annotations

import unicodedata

_NARROW = frozenset("fijlrtI.,:;'|!()[]{} -")
_BROAD = frozenset("mwMW@%—")


def width(text: str, size: float = 13.0) -> float:
    """The breadth of a line of text in a sans-serif font of `size` pixels."""
    return sum(_breadth(char) for char in text) * size


def wrap(text: str, widest: float, *, size: float = 13.0, most: int = 4) -> list[str]:
    """Break a text into at most `most` lines of at most `widest` pixels; what does not fit ends with `…`."""
    lines: list[str] = []
    line = ""
    for word in _words(text, widest, size):
        if line and width(f"{line} {word}", size) > widest:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    if line:
        lines.append(line)
    if len(lines) > most:
        lines = [*lines[: most - 1], shorten(" ".join(lines[most - 1 :]), widest, size=size)]
    return lines or [""]


def shorten(text: str, widest: float, *, size: float = 13.0) -> str:
    """The beginning of a text that is not wider than `widest`, with `…` where something is left out."""
    if width(text, size) <= widest:
        return text
    while text and width(text + "…", size) > widest:
        text = text[:-1]
    return text.rstrip() + "…"


def _words(text: str, widest: float, size: float) -> list[str]:
    """The words; one that is wider than a line, as in scripts without spaces, in pieces."""
    found: list[str] = []
    for word in text.split():
        piece = ""
        for char in word:
            if piece and width(piece + char, size) > widest:
                found.append(piece)
                piece = ""
            piece += char
        found.append(piece)
    return found


def _breadth(char: str) -> float:
    if unicodedata.combining(char):
        return 0.0
    if unicodedata.east_asian_width(char) in {"W", "F"}:
        return 1.05
    if char in _NARROW:
        return 0.38
    if char in _BROAD:
        return 0.95
    return 0.74 if char.isupper() else 0.62
