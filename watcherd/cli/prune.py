"""`watcherd prune`: what is parked, and dropping it after a backup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watcherd.cli.output import counted, print_json
from watcherd.errors import StoreError

if TYPE_CHECKING:
    from watcherd.store import Parked

_GONE = {
    "attribute": "column",
    "type": "column of an earlier type",
    "entity": "table",
    "model": "table of a removed model",
}


def prune(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL", help="Only of these models.", show_default="all")
    ] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Drop what is shown, after a backup.")] = False,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The directory of the database.", show_default="by the settings")
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The database.", show_default="by the settings")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what is parked as JSON.")] = False,
) -> None:
    """Show what left the model files and is still stored; with `--yes`, drop it.

    Nothing stored is ever dropped by anything else. Before it is, it is saved in `backups` of the
    data directory: SQLite's whole database, for which a daemon has to be stopped first, or the rows
    that go from PostgreSQL, as NDJSON, while daemons go on that hold no older revision.

    Exits with 0 when it is done, and with 2 when it cannot: no database, or one that is in use.

    Example: `watcherd prune --data-dir .watcherd --yes`
    """
    from watcherd import settings
    from watcherd.pim.spec import fold
    from watcherd.store import database_exists

    chosen = settings.load({"data_dir": data_dir, "database_url": database_url})
    if not database_exists(chosen.database_url, chosen.data_dir):
        raise StoreError(f"there is no database in {chosen.data_dir}: name the directory of one as --data-dir")
    names = {fold(name) for name in models} if models else None
    import asyncio

    parked, backup = asyncio.run(_prune(chosen.database_url, chosen.data_dir, names, yes=yes))
    if as_json:
        shown = {"parked": [asdict(one) for one in parked], "backup": None if backup is None else str(backup)}
        print_json(shown)
        return
    _show(parked)
    droppable = sum(not one.held_by for one in parked)
    if backup is not None:
        what = "What was there" if backup.is_dir() else "The database as it was"
        typer.echo(f"Dropped {droppable}. {what}: {backup}")
    elif droppable:
        typer.echo("Nothing was dropped. To drop it, after a backup, add --yes.")


async def _prune(
    database_url: str | None, data_dir: Path, models: set[str] | None, *, yes: bool
) -> tuple[Sequence[Parked], Path | None]:
    """What is parked, and the path of the backup if it was dropped."""
    from watcherd.store import Store

    store = await Store.open(database_url, data_dir, tenure="alone" if yes else "shared")
    try:
        parked = [one for one in await store.parked() if models is None or one.model in models]
        droppable = [one for one in parked if not one.held_by]
        return parked, await store.prune(droppable) if yes and droppable else None
    finally:
        await store.close()


def _show(parked: Sequence[Parked]) -> None:
    if not parked:
        typer.echo("Nothing is parked.")
    width = max((len(one.name) for one in parked), default=0)
    for one in parked:
        held = f"; stays: {', '.join(one.held_by)} refers to it" if one.held_by else ""
        typer.echo(f"{one.name:<{width}}  {_GONE[one.gone]}, {counted(one.rows, 'row')}{held}")
