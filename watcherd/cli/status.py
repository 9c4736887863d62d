"""`watcherd status` and `watcherd drains`: what the daemon serves, and who holds what it has retired."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import typer

from watcherd.cli.output import EXIT_FINDINGS, AsJson, Url, print_findings, print_json, print_line, print_table

NOT_SERVED_AS_WRITTEN = frozenset({"stale", "rejected"})
_NOT_READY = 503


def status(*, url: Url = None, as_json: AsJson = False) -> None:
    """Show every model file, the state of its model, and what is wrong with it.

    Exits with 0 when all is well, with 1 when a file is rejected or the daemon is not ready or
    degraded, and with 2 when it cannot be asked. The daemon is the one that these settings belong to
    (`WATCHERD_HOST`, `WATCHERD_PORT`, `WATCHERD_UDS`, `watcherd.toml`), or `--url`; the token is taken
    from `WATCHERD_ADMIN_TOKEN`.

    Example: `watcherd status`
    """
    from watcherd.cli.client import ask

    readiness = ask("GET", "/readyz", url=url, accepted={_NOT_READY})
    answer = ask("GET", "/admin/pim", url=url)
    if as_json:
        print_json({"status": readiness["status"], "reasons": readiness["reasons"], **answer})
    else:
        _show(readiness, answer)
    is_well = readiness["status"] == "ok" and not any(pim["state"] in NOT_SERVED_AS_WRITTEN for pim in answer["pims"])
    raise typer.Exit(0 if is_well else EXIT_FINDINGS)


def _show(readiness: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    style = "bold green" if readiness["status"] == "ok" else "bold yellow"
    print_line(f"{readiness['status']}, generation {answer['generation']}", style)
    for reason in readiness["reasons"]:
        print_line(f"  {reason}", "yellow")
    print_table(
        ("MODEL", "STATE", "REVISION", "VERSION", "ROUTES", "IN FLIGHT", "DRAINING", "FILE"),
        (
            (
                pim["name"],
                pim["state"],
                pim["revision"],
                pim["version"],
                pim["routes_count"],
                pim["in_flight"],
                len(pim["draining"]),
                pim["file"],
            )
            for pim in answer["pims"]
        ),
    )
    workers = answer.get("workers", ())
    if workers:
        print_table([name.upper().replace("_", " ") for name in workers[0]], ([*worker.values()] for worker in workers))
    for pim in answer["pims"]:
        print_findings(pim["file"], pim["diagnostics"])


def drains(*, url: Url = None, as_json: AsJson = False) -> None:
    """Show the retired revisions that still have requests, and which these are.

    Exits with 0, also when nothing drains, and with 2 when the daemon cannot be asked.

    Example: `watcherd drains`
    """
    from watcherd.cli.client import ask

    pims = ask("GET", "/admin/pim", url=url)["pims"]
    found = [{"name": pim["name"], **one} for pim in pims for one in pim["draining"]]
    if as_json:
        print_json({"draining": found})
    elif not found:
        print_line("Nothing drains.")
    else:
        print_table(("MODEL", "REVISION", "METHOD", "PATH", "AGE"), _held(found))


def _held(found: Sequence[Mapping[str, Any]]) -> Iterator[tuple[object, ...]]:
    for one in found:
        for request in one["held_by"]:
            age = f"{request['age_seconds']:.1f} s"
            yield one["name"], one["revision"], request["method"], request["path"], age
        if not one["held_by"]:
            yield one["name"], one["revision"], None, None, None
