"""The command line: one module a command, put together here.

Owns how expected failures end (one line on standard error, exit code 2) and what every command
shares. Commands import what they need when they run, so that `--help` and `--version` answer at
once. Does not own what a command is about: `serve` hands over to the daemon, `check`, `new` and
`schema` to the modelling language, and those about a running daemon ask its admin API (`client`).
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

import watcherd
from watcherd.cli import key
from watcherd.cli.backup import backup
from watcherd.cli.check import check
from watcherd.cli.events import events
from watcherd.cli.load import load, unload
from watcherd.cli.new import new
from watcherd.cli.plan import plan
from watcherd.cli.prune import prune
from watcherd.cli.reload import reload
from watcherd.cli.revisions import revisions, rollback
from watcherd.cli.schema import schema
from watcherd.cli.serve import serve
from watcherd.cli.show import show
from watcherd.cli.status import drains, status
from watcherd.errors import WatcherdError

EXIT_UNUSABLE = 2

app = typer.Typer(
    name="watcherd",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a bug is shown as Python shows it, without the values of locals
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)
_PANELS = {
    "The daemon and its data": (serve, backup, prune),
    "Model files": (new, check, plan, schema),
    "A running daemon": (status, show, events, load, unload, reload, revisions, rollback, drains),
}
for panel, commands in _PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(key.app, name="key", rich_help_panel="The daemon and its data")


def main() -> None:
    """Run one command and exit with its code; what the console script and `python -m` call."""
    _tolerate_any_text()
    try:
        app()
    except WatcherdError as error:
        sys.stderr.write(f"watcherd: {error}\n")
        sys.exit(EXIT_UNUSABLE)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"watcherd {watcherd.__version__}")
        raise typer.Exit


@app.callback()
def _watcherd(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Serve a directory of YAML domain models as live, documented, persistent REST APIs.

    Every command exits with 0 when it did what it was told and all is well, with 1 when it did and
    something is wrong (a file has errors, a model is rejected), and with 2 when it could not: what it
    was told makes no sense, or nobody answers. `plan` exits with 2 also when a change breaks clients.

    Example: `watcherd serve --models pim_models`
    """


def _tolerate_any_text() -> None:
    """Escape what a terminal or a pipe cannot take, such as file names that are not UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
