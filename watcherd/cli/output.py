"""What the commands that ask a daemon share: their options, tables, findings, JSON, and how they end.

A table has lines and colours on a terminal; in a pipe it is plain columns of full width, so that it
can be read by `awk` as well. What files or clients wrote is shown without control characters: it
cannot write to the terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.text import Text

EXIT_FINDINGS = 1
"""The daemon answered, and something is not as it should be: a file is rejected, a model is not served."""

STYLES: Mapping[str, str] = {
    "live": "green",
    "ok": "green",
    "stale": "yellow",
    "rolled_back": "yellow",
    "degraded": "yellow",
    "warning": "yellow",
    "rejected": "red",
    "error": "red",
    "unloaded": "dim",
    "starting": "dim",
}
"""The style of a word, wherever it is a cell of its own."""


def complete_name(incomplete: str) -> list[str]:
    """The models of the daemon that begin like this, for the completion of shells; none where nobody answers."""
    from watcherd.cli.client import ask
    from watcherd.errors import WatcherdError

    try:
        answer = ask("GET", "/admin/pim", timeout=1)
    except WatcherdError:
        return []
    wanted = incomplete.replace("_", "-")
    return sorted({pim["name"] for pim in answer["pims"] if pim["name"].replace("_", "-").startswith(wanted)})


Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="The daemon: http://host:port or unix:/path.", show_default="by the settings"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the daemon's answer as JSON.")]
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The model's domain; - and _ are the same.", autocompletion=complete_name)
]


def print_json(value: object) -> None:
    """A JSON document, indented, in the script that it is written in."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_line(text: str, style: str = "") -> None:
    """One line, in a style on a terminal; it is never wrapped or cut."""
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False).print(Text(printable(text), style=style), soft_wrap=True)


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Rows under their head; cells are shown by `str`, None as `-`. Nothing where there are no rows."""
    from rich.console import Console

    cells = [["-" if cell is None or cell == "" else printable(str(cell)) for cell in row] for row in rows]
    if not cells:
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        for line in _columns([list(head), *cells]):
            typer.echo(line)
        return
    from rich import box
    from rich.table import Table

    table = Table(*head, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in cells:
        table.add_row(*(_styled(cell) for cell in row))
    console.print(table)


def _styled(cell: str) -> Text:
    from rich.text import Text

    return Text(cell, style=STYLES.get(cell, ""), overflow="fold")


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Aligned by what each cell takes on a screen, two blanks between columns, none at the end."""
    from rich.cells import cell_len

    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()


def print_findings(file: str, diagnostics: Iterable[Mapping[str, Any]]) -> None:
    """Findings that a daemon tells of, in the form of `check`, without the lines that only a file has."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for found in diagnostics:
        style = f"bold {STYLES.get(found['severity'], '')}"
        place = f"{printable(file)}:{found['line']}:{found['column']}: "
        told = Text.assemble((place, "bold"), (f"{found['code']} {found['severity']}: ", style))
        console.print(told.append(printable(found["message"])), soft_wrap=True)
        if found["hint"]:
            hint = Text.assemble(" " * 7, ("= hint: ", "bold cyan"), printable(found["hint"]))
            console.print(hint, soft_wrap=True)
        for other in found.get("related", ()):  # a daemon of an older version tells of none
            place = f"{printable(other['file'])}:{other['line']}:{other['column']}: "
            note = Text.assemble((place, "bold"), ("note: ", "bold cyan"), printable(other["message"]))
            console.print(note, soft_wrap=True)


def printable(text: str) -> str:
    """Each control character, a line break included, as one that can be seen; a tab as a blank."""
    return "".join(char if char.isprintable() else " " if char == "\t" else "�" for char in text)


@contextmanager
def progress(text: str) -> Iterator[None]:
    """Show on standard error, where that is a terminal, that something is under way."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
