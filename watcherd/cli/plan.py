"""`watcherd plan`: what changed model files would do, before they are saved where the daemon watches.

Asks a running daemon, or a database without one. Each file is planned by itself beside what serves
now. Owns how a plan looks on a terminal; what is in it is `watcherd.plan`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from watcherd.cli.output import EXIT_FINDINGS, Url, counted, print_findings, print_json, print_line, print_table
from watcherd.errors import StoreError

if TYPE_CHECKING:
    from watcherd.cli.examine import Source

EXIT_BREAKING = 2


def plan(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="Model files, or directories of them.", show_default="pim_models"),
    ] = None,
    *,
    url: Url = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Ask the database in this directory instead of a daemon.", show_default=False),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Ask this database instead of a daemon.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plans as JSON.")] = False,
) -> None:
    """Show what model files would do to the tables and to clients; nothing is done.

    Each change of the API is breaking (a request that was accepted may be refused, an answer may lack or
    hold what it did not) or compatible. Exits with 0 when no client breaks, with 1 when a file would be
    rejected, with 2 when a change breaks clients, and with 2 and nothing on standard output when neither
    a daemon nor a database can be asked. The daemon is the one that these settings belong to, or
    `--url`; the token is taken from `WATCHERD_ADMIN_TOKEN`.

    Example: `watcherd plan pim_models/shop.yaml`
    """
    from watcherd.cli.examine import DEFAULT_DIRECTORY, read_sources

    sources = [each for each in read_sources(paths or [DEFAULT_DIRECTORY]) if each.asked_for]
    if data_dir is not None or database_url is not None:
        import asyncio

        previews = asyncio.run(_from_database(sources, data_dir, database_url))
    else:
        previews = [_from_daemon(source, url) for source in sources]
    answers = [{"file": source.file, **preview} for source, preview in zip(sources, previews, strict=True)]
    if as_json:
        print_json(answers)
    else:
        _show(answers)
    if any(_is_refused(answer) for answer in answers):
        raise typer.Exit(EXIT_FINDINGS)
    if any(answer["plan"] is not None and answer["plan"]["breaking"] for answer in answers):
        raise typer.Exit(EXIT_BREAKING)


def _from_daemon(source: Source, url: str | None) -> Mapping[str, Any]:
    from watcherd.cli.client import ask

    if source.content is None:
        return _unreadable(source)
    answer: Mapping[str, Any] = ask("POST", "/admin/pim/plan", url=url, content=("application/yaml", source.content))
    return answer


async def _from_database(
    sources: Sequence[Source], data_dir: Path | None, database_url: str | None
) -> list[Mapping[str, Any]]:
    """The same from what the catalog remembers of the models that served last."""
    from watcherd.compile import Options
    from watcherd.pim import parse
    from watcherd.plan import preview
    from watcherd.store import Store, database_exists

    where = data_dir or Path()
    if not database_exists(database_url, where):
        raise StoreError(f"there is no database in {where}: name the data directory of a daemon, or the daemon")
    store = await Store.open(database_url, where)
    try:
        applied = (await store.catalog()).values()
        parsed = {one.model: parse(one.source, one.file).spec for one in applied if one.state == "live"}
        models = {model: spec for model, spec in parsed.items() if spec is not None}
        return [
            _unreadable(source)
            if source.content is None
            else (await preview(source.content, source.file, models, store, Options())).as_json()
            for source in sources
        ]
    finally:
        await store.close()


def _unreadable(source: Source) -> Mapping[str, Any]:
    found = source.unreadable
    assert found is not None  # noqa: S101 - without content there is a reason
    shown = {"code": found.code, "severity": "error", "line": 1, "column": 1, "message": found.message, "hint": None}
    return {"diagnostics": [shown], "plan": None}


def _show(answers: Sequence[Mapping[str, Any]]) -> None:
    """For each file its findings as `check` prints them, a verdict and what is behind it; then one line for all."""
    for answer in answers:
        print_findings(answer["file"], answer["diagnostics"])
        if answer["plan"] is not None:
            _show_plan(answer["plan"])
    if len(answers) > 1:
        print_line(_summary(answers))


def _show_plan(told: Mapping[str, Any]) -> None:
    """The verdict, what happens to the tables, what clients notice, and which rows stand in the way."""
    if not (told["tables"] or told["api"] or told["in_the_way"]):
        print_line(f"{told['model']}: nothing changes.")
        return
    verdict, style = _verdict(told)
    print_line(f"{told['model']}: {verdict}; plan {told['hash'][:12]}", style)
    print_table(("TABLES", "WHAT"), ((row["class"], row["text"]) for row in told["tables"]))
    print_table(
        ("API", "CHANGE", "OF", "WHY"),
        (
            ("breaking" if row["breaking"] else "compatible", row["change"], row["subject"], row["reason"])
            for row in told["api"]
        ),
    )
    print_table(
        ("IN THE WAY", "OF", "ROWS", "FIRST IDS"),
        (
            (
                row["code"],
                ".".join(name for name in (row["entity"], row["attribute"]) if name),
                row["rows"],
                ", ".join(str(one) for one in row["first_ids"]),
            )
            for row in told["in_the_way"]
        ),
    )


def _verdict(told: Mapping[str, Any]) -> tuple[str, str]:
    """In words, and the style that goes with them."""
    if not told["applicable"]:
        return "would be rejected", "bold red"
    if told["breaking"]:
        return "breaks clients", "bold yellow"
    return "new, breaks no client" if told["new"] else "breaks no client", "bold green"


def _summary(answers: Sequence[Mapping[str, Any]]) -> str:
    plans = [answer["plan"] for answer in answers]
    rejected = sum(_is_refused(answer) for answer in answers)
    changing = sum(bool(plan and (plan["tables"] or plan["api"])) for plan in plans)
    breaking = sum(bool(plan and plan["breaking"]) for plan in plans)
    return (
        f"{counted(len(answers), 'file')}: {changing} would change something, {breaking} would break clients, "
        f"{rejected} would be rejected."
    )


def _is_refused(answer: Mapping[str, Any]) -> bool:
    return any(item["severity"] == "error" for item in answer["diagnostics"])
