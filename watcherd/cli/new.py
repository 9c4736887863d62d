"""`watcherd new NAME`: a commented model to start from.

The text is data beside this module, `model.yaml`, and is held to having no findings by a test.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from watcherd.errors import WatcherdError


class CannotWriteModelError(WatcherdError):
    """A model file cannot be made; the message says why and what to do."""


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The domain: lower-case words joined by -.")],
    *,
    models: Annotated[
        Path, typer.Option(metavar="DIR", help="The directory of model files.", show_default="pim_models")
    ] = Path("pim_models"),
) -> None:
    """Write a commented model to start from, `NAME.yaml`, into the directory of models.

    A daemon that watches the directory serves it at once. Exits with 0 when it is written, and with 2
    when it is not: the name cannot be a domain, the file or another one of that domain exists.

    Example: `watcherd new shop`
    """
    from watcherd.pim.findings import quote
    from watcherd.pim.names import is_domain

    if not is_domain(name):
        suggestion = "-".join("".join(char if char.isalnum() else " " for char in name.lower()).split())
        hint = f", such as {suggestion!r}" if is_domain(suggestion) else ""
        raise CannotWriteModelError(f"{quote(name)} cannot be a domain: write lower-case words joined by `-`{hint}")
    if not models.is_dir():
        raise CannotWriteModelError(f"there is no directory {str(models)!r}: make it, or name another by --models")
    _refuse_taken(name, models)
    path = models / f"{name.replace('-', '_')}.yaml"
    text = files("watcherd.cli").joinpath("model.yaml").read_text("utf-8")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text.replace("domain: example", f"domain: {name}").replace("/api/example/", f"/api/{name}/"))
    except FileExistsError as error:
        raise CannotWriteModelError(f"{path} exists already: choose another name, or edit it") from error
    except OSError as error:
        raise CannotWriteModelError(f"cannot write {path}: {error.strerror}") from error
    typer.echo(
        f"{path} is written. Check it with `watcherd check {path}`; a daemon that watches it serves /api/{name}."
    )


def _refuse_taken(name: str, models: Path) -> None:
    """Two files of one domain would leave the second unserved."""
    from watcherd.cli.examine import read_sources
    from watcherd.pim import parse
    from watcherd.pim.spec import fold

    for source in read_sources([models]):
        domain = None if source.content is None else parse(source.content, source.file).domain
        if domain is not None and fold(domain) == fold(name):
            raise CannotWriteModelError(f"{source.file} is the model of the domain {domain}: choose another name")
