"""`watcherd reload`: have a running daemon read the whole directory again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from watcherd.cli.output import EXIT_FINDINGS, AsJson, Url, print_findings, print_json, print_line, progress


def reload(
    *,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when it is done; exit with 1 when a file is rejected.")
    ] = False,
    url: Url = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="How long to wait for it.")] = 300,
    as_json: AsJson = False,
) -> None:
    """Have the daemon read the whole models directory again, now.

    It does so by itself whenever a file changes; this is for file systems that tell of no change,
    and for scripts that go on when everything is served. The daemon is the one that these settings
    belong to (`WATCHERD_HOST`, `WATCHERD_PORT`, `WATCHERD_UDS`, `watcherd.toml`), or `--url`; the
    token is taken from `WATCHERD_ADMIN_TOKEN`.

    Exits with 0 when it is done (without `--wait`: begun), with 1 after `--wait` when a file is
    rejected, and with 2 when the daemon cannot be asked, or cannot read the directory.

    Example: `watcherd reload --wait`
    """
    from watcherd.cli.client import ask

    query = {} if wait else {"wait": "false"}
    with progress("The daemon reads its models …"):
        answer = ask("POST", "/admin/reload", url=url, query=query, timeout=timeout)
    if as_json:
        print_json(answer)
    elif wait:
        _show(answer)
    else:
        print_line("The daemon reads the directory again.")
    if wait and answer["rejected"]:
        raise typer.Exit(EXIT_FINDINGS)


def _show(answer: Mapping[str, Any]) -> None:
    """What is wrong, in the form of `check`, then one line for the whole."""
    for file in answer["rejected"]:
        print_findings(file["file"], file["diagnostics"])
    counts = ", ".join(
        f"{len(answer[what])} {what}" for what in ("loaded", "swapped", "unloaded", "unchanged", "rejected")
    )
    print_line(f"Generation {answer['generation']}: {counts}.")
