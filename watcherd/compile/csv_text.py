"""CSV (RFC 4180) as it is exported and imported: cells and lines, nothing about entities.

An empty cell is null and a quoted empty cell is empty text, which a reader that unquotes first
cannot tell apart: hence a reader of our own. Cells are data as they are: one that a spreadsheet
would take for a formula (`=1+1`) is not changed, since then it would come back as something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

QUOTE = b'"'
END_OF_LINE = "\r\n"

_NEEDS_QUOTES = re.compile(r'[",\r\n]|^\s|\s$|^$')
_CELL = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n]*))(,|\Z)')


def write_line(cells: Iterable[str | None]) -> str:
    """One line with its end; None is an empty cell."""
    return ",".join(["" if cell is None else _quoted(cell) for cell in cells]) + END_OF_LINE


def _quoted(cell: str) -> str:
    if _NEEDS_QUOTES.search(cell) is None:
        return cell
    return '"' + cell.replace('"', '""') + '"'


def read_line(line: str) -> list[str | None]:
    """The cells of one line without its end; None is an empty cell. ValueError where the quotes are wrong."""
    if '"' not in line:
        return [cell or None for cell in line.split(",")]
    cells: list[str | None] = []
    place = 0
    while True:
        found = _CELL.match(line, place)
        if found is None:
            raise ValueError(f"a quote is out of place in cell {len(cells) + 1}")
        quoted, plain, end = found.groups()
        cells.append((plain or None) if quoted is None else quoted.replace('""', '"'))
        if not end:
            return cells
        place = found.end()
