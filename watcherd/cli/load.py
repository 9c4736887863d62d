"""`watcherd load` and `watcherd unload`: a model into service and out of it."""

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
    complete_name,
    counted,
    print_findings,
    print_json,
    print_line,
)


def load(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The model's domain.", autocompletion=complete_name)
    ] = None,
    *,
    file: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Its file, relative to the daemon's models directory.", show_default="by the name"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen, change nothing.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Put a model into service as its file says, also one that was unloaded or rolled back.

    Exits with 0 when it is served, with 1 when its file has errors, which are shown, and with 2 when
    the daemon cannot be asked or refuses: no such file, another model's file, already served.

    Example: `watcherd load shop`, or the first time `watcherd load --file new/shop.yaml`
    """
    from watcherd.cli.client import RefusedError, ask

    if name is None and file is None:
        raise typer.BadParameter("say which model: NAME, --file PATH, or both")
    asked = {"pim_name": name, "pim_file": file, "dry_run": dry_run}
    body = json.dumps({key: value for key, value in asked.items() if value is not None}).encode()
    try:
        answer: dict[str, Any] = ask("POST", "/admin/pim/load", url=url, content=("application/json", body))
    except RefusedError as error:
        if error.status != HTTPStatus.UNPROCESSABLE_ENTITY or "diagnostics" not in error.answer:
            raise
        if as_json:
            print_json(error.answer)
        else:
            print_line(str(error.answer["detail"]), "bold red")
            print_findings(file or str(name), error.answer["diagnostics"])
        raise typer.Exit(EXIT_FINDINGS) from error
    if as_json:
        print_json(answer)
        return
    done = answer["result"]
    would = "would be served" if dry_run else "is served"
    print_line(f"{done['pim_name']} {would} as revision {done['revision']}: {counted(done['routes_count'], 'route')}.")


def unload(
    name: Name,
    *,
    force: Annotated[bool, typer.Option("--force", help="Also when other live models refer to it.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Take a model out of service; its file and its data stay, and `watcherd load` brings it back.

    New requests are answered 404 at once, those in flight finish. Exits with 0 when it is done, and
    with 2 when the daemon cannot be asked or refuses: no such model, other models refer to it.

    Example: `watcherd unload shop`
    """
    from watcherd.cli.client import ask

    query = {"force": "true"} if force else {}
    answer = ask("DELETE", f"/admin/pim/{quote(name, safe='')}", url=url, query=query)
    if as_json:
        print_json(answer)
    else:
        print_line(f"{answer['message']}.")
