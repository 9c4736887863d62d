"""`watcherd plan`: what changed model files would do, before they are saved where the daemon watches.

Asks a running daemon, or a database without one. Each file is planned by itself beside what serves
now. Owns how a plan looks on a terminal; what is in it is `watcherd.plan`'s.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from watcherd.errors import StoreError

if TYPE_CHECKING:
    from rich.table import Table

    from watcherd.cli.examine import Source

EXIT_ERRORS = 1
EXIT_BREAKING = 2


def plan(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Model files, or directories of them.", show_default="pim_models"),
    ] = None,
    *,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The daemon: http://host:port or unix:/path.", show_default="by the settings"),
    ] = None,
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

    Exits with 1 when a file would be rejected, and with 2 when a change breaks clients. The daemon is
    the one that these settings belong to, or `--url`; the token is taken from `WATCHERD_ADMIN_TOKEN`.

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
        typer.echo(json.dumps(answers, ensure_ascii=False, indent=2))
    else:
        _show(answers)
    if any(item["severity"] == "error" for answer in answers for item in answer["diagnostics"]):
        raise typer.Exit(EXIT_ERRORS)
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


def _show(answers: Iterable[Mapping[str, Any]]) -> None:
    """Findings as `check` prints them, then two tables for each file that changes something."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for answer in answers:
        for item in answer["diagnostics"]:
            place = f"{answer['file']}:{item['line']}:{item['column']}"
            console.print(Text(f"{place}: {item['code']} {item['severity']}: {item['message']}"), soft_wrap=True)
            if item["hint"]:
                console.print(Text(f"       = hint: {item['hint']}"), soft_wrap=True)
        if answer["plan"] is not None:
            for part in _plan(answer["plan"]):
                console.print(part, soft_wrap=True)


def _plan(told: Mapping[str, Any]) -> Iterable[Any]:
    """The verdict, then what happens to the tables and what clients notice."""
    from rich.text import Text

    if not (told["tables"] or told["api"] or told["in_the_way"]):
        yield Text(f"{told['model']}: nothing changes.")
        return
    verdict = "breaks clients" if told["breaking"] else "breaks no client"
    if not told["applicable"]:
        verdict = "would be rejected"
    yield Text(f"{told['model']}: {verdict}; plan {told['hash'][:12]}")
    if told["tables"]:
        yield _table(("tables", "what"), ((row["class"], row["text"]) for row in told["tables"]))
    if told["api"]:
        rows = (
            (f"{row['change']}{', breaking' if row['breaking'] else ''}", row["subject"], row["reason"])
            for row in told["api"]
        )
        yield _table(("API", "what", "why"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(*head, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
