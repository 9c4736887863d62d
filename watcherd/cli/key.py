"""`watcherd key new`: a new API key, and the line for the key file."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Keys for the API of models.")


@app.callback()
def key() -> None:
    """Make keys for the API of models."""


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is: it is shown when the key is refused.")],
    *,
    read: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Models that it may read; may be given again.")
    ] = None,
    write: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Models that it may read and write; may be given again.")
    ] = None,
) -> None:
    """Make a key. The line for the key file goes to standard output, the key itself to standard error, once.

    Example: `watcherd key new shop-app --read '*' --write 'shop' >> keys.txt`
    """
    from watcherd.keys import make_key

    if not (read or write):
        raise typer.BadParameter("say what it opens: --read GLOB, --write GLOB, or both")
    secret, line = make_key(name, read or (), write or ())
    typer.echo(line)
    sys.stderr.write(f"The key of {name}, which is shown only now: {secret}\n")
