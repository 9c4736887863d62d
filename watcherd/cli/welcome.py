"""What somebody at a terminal is told when `watcherd serve` is ready: where to look, and what to try."""

from __future__ import annotations

from watcherd.cli.output import counted
from watcherd.ledger import World
from watcherd.settings import Settings

_ANYWHERE = ("//0.0.0.0", "//[::]")


def welcome(settings: Settings, address: str, world: World) -> str:
    """The text. `address` is where the daemon listens: a URL, or `unix:` and a path."""
    served = sorted(world.live.values(), key=lambda live: live.spec.domain)
    refused = len(world.refusals)
    rejected = f", {refused} rejected" if refused else ""
    lines = [
        "",
        f"  watcherd serves {counted(len(served), 'model')}{rejected}.",
        "",
        *_places(settings, address),
        "",
        "  To try:",
    ]
    example = next(
        (
            f"{settings.api_prefix}/{live.spec.domain}/{entity.plural}"
            for live in served
            for entity in live.spec.entities.values()
            if entity.plural.isascii()
        ),
        None,
    )
    if example is None:
        lines.append(
            f"    watcherd new todo --models {settings.models}     a model to start from, served once it is written"
        )
    else:
        lines.append(f"    {_curl(address)}{example}")
        lines.append("    Change a model file and save it: the API follows at once, and what is stored stays.")
    return "\n".join([*lines, "    Ctrl-C stops it; requests in flight finish.", ""])


def _places(settings: Settings, address: str) -> list[str]:
    directory = f"    Models      {settings.models.resolve()}"
    if address.startswith("unix:"):
        return [f"    Socket      {address.removeprefix('unix:')}", directory]
    here = _reachable(address)
    return [f"    Dashboard   {here}/", f"    API docs    {here}/docs", directory]


def _curl(address: str) -> str:
    if address.startswith("unix:"):
        return f"curl --unix-socket {address.removeprefix('unix:')} http://localhost"
    return f"curl {_reachable(address)}"


def _reachable(address: str) -> str:
    """An address that a browser on this machine can open."""
    for anywhere in _ANYWHERE:
        address = address.replace(anywhere, "//localhost")
    return address
