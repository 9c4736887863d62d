"""How findings look on a terminal: place, message, the line with the text marked, the hint, a summary.

Owns the text form and nothing else: what is found is decided in `check`. Text from files is shown
without control characters, so that a model file cannot write to the terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from watcherd.pim.diagnostics import Diagnostic, Severity

if TYPE_CHECKING:
    from watcherd.cli.check import Checked

WINDOW = 160
"""Characters of a source line that are shown at most; of a longer one, those around the finding."""

_LINE_BREAK = re.compile(r"\r\n|\r|\n")  # what the modelling language counts as lines
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow"}


def show(checked: Sequence[Checked], console: Console | None = None) -> None:
    """Print every finding, then one line that counts; colours only on a terminal."""
    console = console or Console(highlight=False)
    for each in checked:
        content = each.source.content
        lines = [] if content is None else _LINE_BREAK.split(content.decode("utf-8-sig", "replace"))
        for finding in each.diagnostics:
            for text in _finding(finding, lines):
                console.print(text, soft_wrap=True)
    console.print(_summary(checked), soft_wrap=True)


def _finding(finding: Diagnostic, lines: Sequence[str]) -> Iterable[Text]:
    style = _STYLES[finding.severity]
    yield Text.assemble(
        (f"{_printable(finding.file)}:{finding.line}:{finding.column}: ", "bold"),
        (f"{finding.code} {finding.severity}: ", style),
        _printable(finding.message),
    )
    if finding.line <= len(lines):
        yield from _excerpt(finding, lines[finding.line - 1], style)
    if finding.hint:
        yield Text.assemble(" " * 7, ("= hint: ", "bold cyan"), _printable(finding.hint))
    for place in finding.related:
        where = f"{_printable(place.file)}:{place.line}:{place.column}: "
        yield Text.assemble((where, "bold"), ("note: ", "bold cyan"), _printable(place.message))


def _excerpt(finding: Diagnostic, line: str, style: str) -> Iterable[Text]:
    """Show the line and, below it, carets under the finding, however wide its characters are."""
    start = min(finding.column - 1, len(line))
    end = min(max(finding.end_column - 1 if finding.end_column else 0, start + 1), max(len(line), start + 1))
    first = max(0, start - WINDOW // 2) if len(line) > WINDOW else 0
    shown = _printable(line[first : first + WINDOW])
    before = cell_len(shown[: start - first])
    marked = max(1, cell_len(shown[start - first : end - first]))
    yield Text.assemble((f"{finding.line:>5} | ", "dim"), shown.rstrip())
    yield Text.assemble((" " * 5 + " | ", "dim"), " " * before, ("^" * marked, style))


def _printable(text: str) -> str:
    """One character for each character, so that columns stay; a tab is one column, as in the finding."""
    return "".join(char if char.isprintable() else " " if char == "\t" else "�" for char in text)


def _summary(checked: Sequence[Checked]) -> Text:
    findings = [finding for each in checked for finding in each.diagnostics]
    errors = sum(finding.is_error for finding in findings)
    counts = ", ".join(
        (
            _count(len(checked), "file"),
            _count(errors, "error"),
            _count(len(findings) - errors, "warning"),
        )
    )
    specs = [each.spec for each in checked if each.spec is not None]
    entities = sum(len(spec.entities) for spec in specs)
    methods = sum(len(service.methods) for spec in specs for service in spec.services.values())
    style = "bold red" if errors else "bold yellow" if findings else "bold green"
    without = f", {_count(methods, 'service method')} without anything to execute (501)" if methods else ""
    return Text.assemble(
        (counts, style), f"; {_count(len(specs), 'model')} with {_count(entities, 'entity', 'entities')}{without}."
    )


def _count(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
