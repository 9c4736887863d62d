"""How findings look on a terminal: place, message, the line with the text marked, the hint, a summary.

Owns the text form and nothing else: what is found is decided in `examine`. Text from files is shown
without control characters, so that a model file cannot write to the terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from watcherd.cli.examine import coverages, summarise
from watcherd.cli.output import counted
from watcherd.pim.diagnostics import Diagnostic, Severity

if TYPE_CHECKING:
    from watcherd.cli.examine import Checked, Source
    from watcherd.pim.coverage import Coverage, Share

WINDOW = 160
"""Characters of a source line that are shown at most; of a longer one, those around the finding."""

TAB_STOP = 4
"""Cells from one tab stop to the next."""

_LINE_BREAK = re.compile(r"\r\n|\r|\n")  # what the modelling language counts as lines
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow"}


def show(checked: Sequence[Checked], sources: Iterable[Source] = (), console: Console | None = None) -> None:
    """Print every finding, then one line that counts; colours only on a terminal.

    `sources` are further files that findings may refer to.
    """
    console = console or Console(highlight=False)
    texts = _Texts([*sources, *(each.source for each in checked)])
    for each in checked:
        for finding in each.diagnostics:
            for text in _finding(finding, texts):
                console.print(text, soft_wrap=True)
    for domain, covered in coverages(checked).items():
        if any(share.prose for share in (covered.constraints, covered.rules, covered.methods, covered.steps)):
            console.print(_coverage(domain, covered), soft_wrap=True)
    console.print(_summary(checked), soft_wrap=True)


class _Texts:
    """The lines of files, split when one is first asked for: most files have no findings."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._contents = {source.file: source.content for source in sources}
        self._lines: dict[str, list[str]] = {}

    def line(self, file: str, number: int) -> str | None:
        """A line, counted from 1; None where there is none."""
        if file not in self._lines:
            content = self._contents.get(file)
            text = None if content is None else content.decode("utf-8-sig", "replace")
            self._lines[file] = [] if text is None else _LINE_BREAK.split(text)
        lines = self._lines[file]
        return lines[number - 1] if number <= len(lines) else None


def _finding(finding: Diagnostic, texts: _Texts) -> Iterable[Text]:
    style = _STYLES[finding.severity]
    yield Text.assemble(
        (f"{_shown(finding.file)}:{finding.line}:{finding.column}: ", "bold"),
        (f"{finding.code} {finding.severity}: ", style),
        _shown(finding.message),
    )
    line = texts.line(finding.file, finding.line)
    if line is not None:
        yield from _excerpt(line, finding.line, Span(finding.column, finding.end_column), style)
    if finding.hint:
        yield Text.assemble(" " * 7, ("= hint: ", "bold cyan"), _shown(finding.hint))
    for place in finding.related:
        where = f"{_shown(place.file)}:{place.line}:{place.column}: "
        yield Text.assemble((where, "bold"), ("note: ", "bold cyan"), _shown(place.message))
        line = texts.line(place.file, place.line)
        if line is not None:
            yield from _excerpt(line, place.line, Span(place.column, place.end_column), "bold cyan")


class Span(NamedTuple):
    """Columns of one line, from 1; `end` is exclusive, None where only the beginning is known."""

    start: int
    end: int | None


def _excerpt(line: str, number: int, span: Span, style: str) -> Iterable[Text]:
    """Show the line and, below it, carets under the finding, however wide its characters are."""
    start = min(span.start - 1, len(line))
    end = min(max(span.end - 1 if span.end else 0, start + 1), max(len(line), start + 1))
    first = max(0, start - WINDOW // 2) if len(line) > WINDOW else 0
    shown = _printable(line[first : first + WINDOW])
    before = cell_len(_tabs_expanded(shown[: start - first]))
    until = cell_len(_tabs_expanded(shown[: end - first]))
    yield Text.assemble((f"{number:>5} | ", "dim"), _tabs_expanded(shown).rstrip())
    yield Text.assemble((" " * 5 + " | ", "dim"), " " * before, ("^" * max(1, until - before), style))


def _shown(text: str) -> str:
    return _tabs_expanded(_printable(text))


def _printable(text: str) -> str:
    """One character for each character, so that columns stay those of the finding; tabs stay tabs."""
    return "".join(char if char.isprintable() or char == "\t" else "�" for char in text)


def _tabs_expanded(text: str) -> str:
    """The text as a terminal with tab stops of four shows it: the line and its carets alike."""
    cells, shown = 0, []
    for part in re.split("(\t)", text):
        piece = " " * (TAB_STOP - cells % TAB_STOP) if part == "\t" else part
        cells += cell_len(piece)
        shown.append(piece)
    return "".join(shown)


def _summary(checked: Sequence[Checked]) -> Text:
    found = summarise(checked)
    counts = ", ".join(
        (counted(found.files, "file"), counted(found.errors, "error"), counted(found.warnings, "warning"))
    )
    style = "bold red" if found.errors else "bold yellow" if found.warnings else "bold green"
    missing = found.unexecutable
    without = f", {counted(missing, 'service method')} without anything to execute (501)" if missing else ""
    entities = counted(found.entities, "entity", "entities")
    examples = "" if found.examples is None else f", {counted(found.examples, 'example')} run"
    return Text.assemble((counts, style), f"; {counted(found.models, 'model')} with {entities}{without}{examples}.")


def _coverage(domain: str, covered: Coverage) -> Text:
    """What of a model is more than prose; parts that it does not have are left out."""
    enforced = _shares({"constraints": covered.constraints, "rules": covered.rules})
    executable = _shares({"methods": covered.methods, "flow steps": covered.steps})
    told = [f"{shares} {what}" for shares, what in ((enforced, "enforced"), (executable, "executable")) if shares]
    return Text.assemble((f"{domain}: ", "bold"), f"{', '.join(told)}.")


def _shares(shares: Mapping[str, Share]) -> str:
    return " and ".join(f"{share.covered} of {share.total} {name}" for name, share in shares.items() if share.total)
