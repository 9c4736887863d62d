"""`watcherd reload`: have a running daemon read the whole directory again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

EXIT_REJECTED = 1


def reload(
    *,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when it is done; exit with 1 when a file is rejected.")
    ] = False,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The daemon: http://host:port or unix:/path.", show_default="by the settings"),
    ] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="How long to wait for it.")] = 300,
    as_json: Annotated[bool, typer.Option("--json", help="Show the daemon's answer as it is.")] = False,
) -> None:
    """Have the daemon read the whole models directory again, now.

    It does so by itself whenever a file changes; this is for file systems that tell of no change,
    and for scripts that go on when everything is served. The daemon is the one that these settings
    belong to (`WATCHERD_HOST`, `WATCHERD_PORT`, `WATCHERD_UDS`, `watcherd.toml`), or `--url`; the
    token is taken from `WATCHERD_ADMIN_TOKEN`.

    Example: `watcherd reload --wait`
    """
    from watcherd.cli.client import ask

    query = {} if wait else {"wait": "false"}
    answer = ask("POST", "/admin/reload", url=url, query=query, timeout=timeout)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False, indent=2))
    elif wait:
        _show(answer)
    else:
        typer.echo("The daemon reads the directory again.")
    if wait and answer["rejected"]:
        raise typer.Exit(EXIT_REJECTED)


def _show(answer: Mapping[str, Any]) -> None:
    """One line a finding, in the form of `check`, then one for the whole."""
    for file in answer["rejected"]:
        for found in file["diagnostics"]:
            place = f"{file['file']}:{found['line']}:{found['column']}"
            typer.echo(f"{place}: {found['code']} {found['severity']}: {found['message']}")
    counts = ", ".join(
        f"{len(answer[what])} {what}" for what in ("loaded", "swapped", "unloaded", "unchanged", "rejected")
    )
    typer.echo(f"Generation {answer['generation']}: {counts}.")
