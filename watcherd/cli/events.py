"""`watcherd events`: what happens to models, as it happens, one line an event."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from watcherd.cli.output import Url, complete_name, print_line

if TYPE_CHECKING:
    from watcherd.cli.client import ServerEvent

_STYLES = {"model.rejected": "red", "reload.failed": "red", "model.loaded": "green", "model.swapped": "green"}


def events(
    *,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only of this model.", autocompletion=complete_name, show_default="all"),
    ] = None,
    count: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="End after so many.", show_default="go on")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Begin with what came after this one, as --json shows ids.", show_default="now"
        ),
    ] = None,
    url: Url = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line: id, event, data.")] = False,
) -> None:
    """Follow what happens to models: loaded, swapped, rejected, drained, until Ctrl-C.

    A connection that ends is made again, and nothing is missed by that. Exits with 0 after `--count`
    events or Ctrl-C, and with 2 when the daemon cannot be asked, or has gone.

    Example: `watcherd events --model shop`
    """
    wanted = None if model is None else _fold(model)
    shown = 0
    try:
        for event in _followed(url, since):
            if wanted is not None and wanted not in _models(event.data):
                continue
            _show(event, as_json=as_json)
            shown += 1
            if shown == count:
                return
    except KeyboardInterrupt:
        sys.stderr.write("\n")


def _followed(url: str | None, last: str | None) -> Iterator[ServerEvent]:
    """All events, over as many connections as it takes."""
    from watcherd.cli.client import listen

    while True:
        retry = 0.0
        for event in listen("/admin/events", url=url, last_event_id=last):
            last = event.id or last
            if event.name == "bye":
                retry = event.retry_seconds
                break
            yield event
        time.sleep(retry)


def _show(event: ServerEvent, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"id": event.id, "event": event.name, "data": event.data}, ensure_ascii=False))
    else:
        told = "  ".join(f"{name}={_value(value)}" for name, value in event.data.items())
        print_line(f"{datetime.now():%H:%M:%S}  {event.name:<18}  {told}", _STYLES.get(event.name, ""))  # noqa: DTZ005 - the time of the person who looks
    sys.stdout.flush()


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        value = ", ".join(f"{name} {item}" for name, item in value.items())
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return json.dumps(text, ensure_ascii=False) if " " in text and isinstance(value, str) else text


def _models(data: Mapping[str, Any]) -> set[str]:
    """The models that an event is about, folded."""
    named = [data.get("model"), *(data.get("models") or ())]
    return {_fold(name) for name in named if isinstance(name, str)}


def _fold(name: str) -> str:
    return name.replace("-", "_")
