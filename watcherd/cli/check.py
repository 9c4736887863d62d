"""`watcherd check`: the findings about model files, as compilers print them, once or at each save.

Owns the command and how it ends. What is found is `examine`'s; how it looks is `report`'s (for
people) and `formats`' (for machines); what the codes mean is told by `explain`.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watcherd.cli.examine import DEFAULT_DIRECTORY, examine, read_sources
from watcherd.cli.explain import complete_code

if TYPE_CHECKING:
    from watcherd.cli.examine import Checked, Source

EXIT_ERRORS = 1


class Format(StrEnum):
    """In which form findings are printed."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


def check(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="Model files, or directories of them.", show_default="pim_models"),
    ] = None,
    *,
    form: Annotated[
        Format,
        typer.Option("--format", help="text for people, json, github for annotations, sarif for code scanning."),
    ] = Format.TEXT,
    watch: Annotated[
        bool, typer.Option("--watch", help="Check again at each change of a file; Ctrl-C ends it.")
    ] = False,
    run: Annotated[
        bool, typer.Option("--run", help="Run the examples of sound models, too, on a database of their own.")
    ] = False,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            help="Tell what a code means, with an example, and exit.",
            autocompletion=complete_code,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show what is wrong with model files, and where.

    Exits with 0 when there is no error (warnings are none), with 1 when there is one, and with 2 when
    it cannot check: no such path, no such code, an option that is wrong.

    Example: `watcherd check pim_models/library.yaml`, and what its findings mean:
    `watcherd check --explain PIM207`
    """
    if explain is not None:
        from watcherd.cli.explain import show_explanation

        show_explanation(explain)
        return
    asked_for = paths or [DEFAULT_DIRECTORY]
    if watch:
        if form is not Format.TEXT:
            raise typer.BadParameter("goes with the format text alone", param_hint="--watch")
        from watcherd.cli.follow import follow

        raise typer.Exit(follow(asked_for, partial(_look, run=run)))
    gc.disable()  # for one look: collecting would take a third of the time, and find nothing
    try:
        answer = _look(list(read_sources(asked_for)), form, run=run)
    finally:
        gc.enable()
    raise typer.Exit(answer)


def _look(sources: Sequence[Source], form: Format = Format.TEXT, *, run: bool = False) -> int:
    """Examine, run examples where asked to, print, and say how it ends."""
    examined = examine(sources)
    if run:
        from watcherd.cli.run_examples import run_examples
        from watcherd.settings import load

        examined = run_examples(examined, sources, allow_handlers=load({}).allow_handlers)
    checked = [each for each in examined if each.source.asked_for]
    _show(checked, sources, form)
    has_errors = any(finding.is_error for each in checked for finding in each.diagnostics)
    return EXIT_ERRORS if has_errors else 0


def _show(checked: Sequence[Checked], sources: Sequence[Source], form: Format) -> None:
    if form is Format.TEXT:
        from watcherd.cli import report

        report.show(checked, sources)
        return
    from watcherd.cli import formats

    write = {Format.JSON: formats.as_json, Format.GITHUB: formats.as_github, Format.SARIF: formats.as_sarif}[form]
    sys.stdout.write(write(checked))
