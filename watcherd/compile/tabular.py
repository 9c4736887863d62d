"""Lines of an import -> what a create would have as its body.

Owns how a cell of CSV is read: like a value in a query, lists and json as JSON text. An empty cell
is null (not the default: leave out the column for that), a quoted empty one is empty text. The
header names attributes; those that it does not name get their defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from watcherd.compile import csv_text, reading, values
from watcherd.compile.bodies import Bodies
from watcherd.compile.query import is_scalar
from watcherd.compile.reading import pointer
from watcherd.compile.validators import Targets
from watcherd.pim.spec import Attribute, Entity
from watcherd.problems import Finding, Problem

ReadCell = Callable[[str], Any]


class ReadLine(Protocol):
    """Reads one line."""

    def __call__(self, line: bytes) -> tuple[Any, list[Finding]]:
        """What stands there, or what is wrong with it; neither for a line that is no row."""


class NdjsonReader:
    """Reads lines that are JSON each."""

    def __init__(self, bodies: Bodies, *, max_depth: int) -> None:
        self._exact = bodies.exact
        self._max_depth = max_depth

    def __call__(self, line: bytes) -> tuple[Any, list[Finding]]:
        """The JSON value of a line."""
        try:
            value = reading.parse(line, exact=self._exact, max_depth=self._max_depth)
        except Problem as problem:
            return None, list(problem.errors) or [Finding("#", "json", problem.detail.replace("body", "line", 1))]
        return value, [] if isinstance(value, dict) else [Finding("#", "type", "expected an object")]


class CsvReader:
    """Reads lines of cells; the first line that it is given is the header."""

    def __init__(self, entity: Entity, targets: Targets, *, max_depth: int) -> None:
        self._owner = entity.name
        self._readers = {one.name: cell_reader(one, targets, max_depth) for one in entity.attributes.values()}
        self._columns: list[tuple[str, ReadCell]] = []

    def __call__(self, line: bytes) -> tuple[Mapping[str, Any] | None, list[Finding]]:
        """The cells of a line by the names in the header. Raises `Problem` 422 for a header that does not fit."""
        try:
            cells = csv_text.read_line(line.decode())
        except ValueError as error:
            wrong = Finding("#", "csv", f"expected cells in UTF-8 as in RFC 4180: {error}")
            if not self._columns:
                raise reading.invalid([wrong]) from None
            return None, [wrong]
        if not self._columns:
            self._columns = self._read_header([cell or "" for cell in cells])
            return None, []
        if len(cells) != len(self._columns):
            expected = f"expected {len(self._columns)} cells as in the header, not {len(cells)}"
            return None, [Finding("#", "csv", expected)]
        return self._read_cells(cells)

    def _read_header(self, names: list[str]) -> list[tuple[str, ReadCell]]:
        findings = []
        for name in dict.fromkeys(names):
            if name not in self._readers:
                findings.append(reading.unknown((name,), self._readers, self._owner))
            elif names.count(name) > 1:
                findings.append(Finding(pointer((name,)), "repeated", f"the header names {name} more than once"))
        if findings:
            raise reading.invalid(findings)
        return [(name, self._readers[name]) for name in names]

    def _read_cells(self, cells: list[str | None]) -> tuple[Mapping[str, Any], list[Finding]]:
        body: dict[str, Any] = {}
        findings = []
        for (name, read), cell in zip(self._columns, cells, strict=True):
            try:
                body[name] = None if cell is None else read(cell)
            except ValueError as error:
                findings.append(Finding(pointer((name,)), "format", str(error)))
        return body, findings


def cell_reader(attribute: Attribute, targets: Targets, max_depth: int) -> ReadCell:
    """The reader of an attribute's cells; it raises ValueError."""
    return values.text_reader(attribute, targets) if is_scalar(attribute) else partial(_json_text, max_depth)


def _json_text(max_depth: int, text: str) -> Any:
    try:
        return reading.parse(text.encode(), exact=True, max_depth=max_depth)
    except Problem as problem:
        raise ValueError(
            problem.errors[0].message if problem.errors else "expected JSON text, such as [1, 2]"
        ) from None
