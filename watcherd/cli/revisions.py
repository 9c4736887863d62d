"""`watcherd revisions` and `watcherd rollback`: the kept revisions of a model, and the way back to one."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import quote

import typer

Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="The daemon: http://host:port or unix:/path.", show_default="by the settings"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Show the daemon's answer as it is.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's domain.")]


def revisions(name: Name, *, url: Url = None, as_json: AsJson = False) -> None:
    """Show the last good revisions of a model, newest first.

    Example: `watcherd revisions shop`
    """
    from watcherd.cli.client import ask

    answer = ask("GET", f"/admin/pim/{quote(name, safe='')}/revisions", url=url)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False, indent=2))
        return
    for kept in answer["revisions"]:
        serving = "  serving" if kept["serving"] else ""
        typer.echo(f"{kept['revision']:>6}  {kept['applied_at']}  {kept['file']}{serving}")


def rollback(
    name: Name,
    revision: Annotated[int, typer.Argument(metavar="REVISION", min=1, help="The number of a kept revision.")],
    *,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Serve a kept revision of a model again, as a new revision, until its file changes.

    What the stored rows do not allow is refused, and nothing changes.

    Example: `watcherd rollback shop 3`
    """
    from watcherd.cli.client import ask

    body = json.dumps({"revision": revision}).encode()
    path = f"/admin/pim/{quote(name, safe='')}/rollback"
    answer: dict[str, Any] = ask("POST", path, url=url, content=("application/json", body))
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False, indent=2))
        return
    done = answer["result"]
    typer.echo(
        f"{done['pim_name']} serves revision {done['of']} again, as revision {done['revision']}, "
        "until its file changes."
    )
