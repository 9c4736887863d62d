"""`watcherd backup`: a copy of the SQLite database, while it is used or not."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from watcherd.cli.output import print_json


@contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """Have whoever ends the command do it so that half a copy is removed on the way out."""
    before = {which: signal.signal(which, signal.default_int_handler) for which in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def backup(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Where to, a file that is not there yet.", show_default="in `backups`"),
    ] = None,
    *,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The directory of the database.", show_default="by the settings")
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The database.", show_default="by the settings")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print where the copy is as JSON.")] = False,
) -> None:
    """Copy the SQLite database as of one moment, also while a daemon uses it.

    The copy has every row that was acknowledged before it began, and what is parked. It is in
    `backups` of the data directory unless FILE says otherwise, and is looked through before it is
    called whole. To go back to it stop the daemon, move the copy to `watcherd.db` with no `-wal` and
    `-shm` of the old one beside it, and start.

    Exits with 0 when the copy is whole, and with 2 when there is none: no database, no room, or a
    PostgreSQL one, which has means of its own.

    Example: `watcherd backup --data-dir .watcherd`
    """
    from watcherd import settings
    from watcherd.store import save_copy

    chosen = settings.load({"data_dir": data_dir, "database_url": database_url})
    with _ended_as_by_ctrl_c():
        saved = save_copy(chosen.database_url, chosen.data_dir, file)
    if as_json:
        print_json({"backup": str(saved)})
    else:
        typer.echo(f"The database is saved: {saved}")
