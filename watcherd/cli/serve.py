"""`watcherd serve`: settings from the command line, then the daemon."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from watcherd.daemon import Greet
    from watcherd.settings import Settings


def serve(
    *,
    models: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The directory of model files.", show_default="pim_models")
    ] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(help="The port to listen on; 0 takes a free one.", show_default="8000")
    ] = None,
    uds: Annotated[
        Path | None, typer.Option(metavar="PATH", help="A unix socket to listen on instead.", show_default=False)
    ] = None,
    fd: Annotated[
        int | None, typer.Option(metavar="N", help="An inherited descriptor to listen on instead.", show_default=False)
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where rows are stored.", show_default="SQLite in the data directory"),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The directory of the database.", show_default="$STATE_DIRECTORY or .watcherd"
        ),
    ] = None,
    durability: Annotated[
        Literal["full", "normal"] | None,
        typer.Option(help="With normal, a power cut may lose the last writes.", show_default="full"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="How many processes answer requests.", show_default="1")
    ] = None,
    log_format: Annotated[
        Literal["json", "console"] | None,
        typer.Option(help="How log lines look.", show_default="console on a terminal, else json"),
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None,
        typer.Option(help="The lowest level that is logged.", show_default="info"),
    ] = None,
    api_prefix: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="The path under which models are served; may be empty.", show_default="/api"),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Show each setting and where its value comes from, and exit.")
    ] = False,
) -> None:
    """Watch a directory of models and serve each of them, until told to stop.

    Each option is also a variable `WATCHERD_...` and a key of an optional `watcherd.toml`;
    `--print-config` shows these and the settings that have no option.

    Exits with 0 after an orderly stop, with 1 when a stop ran over its time or the daemon failed, and with
    2 when it cannot start: settings, a directory, an address or a database that cannot be used.

    Example: `watcherd serve --models pim_models --port 9000`
    """
    # Imports take a while, and a hang-up in the middle would end the process: the first scan reads
    # everything anyway. The daemon takes this signal over, and the others, once it has a loop.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    from watcherd import settings

    chosen = settings.load(
        {
            "models": models,
            "host": host,
            "port": port,
            "uds": uds,
            "fd": fd,
            "database_url": database_url,
            "data_dir": data_dir,
            "durability": durability,
            "workers": workers,
            "log_format": log_format,
            "log_level": log_level,
            "api_prefix": api_prefix,
        }
    )
    if print_config:
        _print_config(chosen)
        return
    from watcherd import daemon

    raise typer.Exit(daemon.run(chosen, _greeting(chosen)))


def _greeting(chosen: Settings) -> Greet | None:
    """What tells a person that all is ready; None where no person watches."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        return None
    from watcherd.cli.welcome import welcome

    return lambda address, world: typer.echo(welcome(chosen, address, world), err=True)


def _print_config(chosen: Settings) -> None:
    from watcherd.settings import origins

    rows = [(origin.name, origin.value, origin.source) for origin in origins(chosen)]
    names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    for name, value, source in rows:
        typer.echo(f"{name:<{names}}  {value:<{values}}  {source}")
