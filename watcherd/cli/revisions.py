"""`watcherd revisions` and `watcherd rollback`: the kept revisions of a model, and the way back to one."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote

import typer

from watcherd.cli.output import (
    EXIT_FINDINGS,
    AsJson,
    Name,
    Url,
    print_findings,
    print_json,
    print_line,
    print_table,
)


def revisions(name: Name, *, url: Url = None, as_json: AsJson = False) -> None:
    """Show the last good revisions of a model, newest first.

    Exits with 0 when there are any, and with 2 when no such model was ever served or the daemon
    cannot be asked.

    Example: `watcherd revisions shop`
    """
    from watcherd.cli.client import ask

    answer = ask("GET", f"/admin/pim/{quote(name, safe='')}/revisions", url=url)
    if as_json:
        print_json(answer)
        return
    print_table(
        ("REVISION", "SERVING", "SINCE", "FILE"),
        (
            (kept["revision"], "yes" if kept["serving"] else None, kept["applied_at"], kept["file"])
            for kept in answer["revisions"]
        ),
    )


def rollback(
    name: Name,
    revision: Annotated[int, typer.Argument(metavar="REVISION", min=1, help="The number of a kept revision.")],
    *,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Serve a kept revision of a model again, as a new revision, until its file changes.

    Exits with 0 when it serves, with 1 when stored rows or other models stand in its way, which are
    shown and nothing changes, and with 2 when the daemon cannot be asked or there is no such revision.

    Example: `watcherd rollback shop 3`
    """
    from watcherd.cli.client import RefusedError, ask

    body = json.dumps({"revision": revision}).encode()
    path = f"/admin/pim/{quote(name, safe='')}/rollback"
    try:
        answer: dict[str, Any] = ask("POST", path, url=url, content=("application/json", body))
    except RefusedError as error:
        if error.status != HTTPStatus.CONFLICT:
            raise
        if as_json:
            print_json(error.answer)
        else:
            print_line(str(error.answer["detail"]), "bold red")
            print_findings(f"{name} revision {revision}", error.answer.get("diagnostics", ()))
        raise typer.Exit(EXIT_FINDINGS) from error
    if as_json:
        print_json(answer)
        return
    done = answer["result"]
    print_line(
        f"{done['pim_name']} serves revision {done['of']} again, as revision {done['revision']}, "
        "until its file changes."
    )
