"""`watcherd schema`: the JSON Schema of the modelling language, for editors."""

from __future__ import annotations

import json

import typer


def schema() -> None:
    """Print the JSON Schema of model files, with which editors complete and check them.

    Example: `watcherd schema > pim.schema.json`, and as the first line of a model
    `# yaml-language-server: $schema=pim.schema.json`
    """
    from watcherd import pim

    typer.echo(json.dumps(pim.json_schema(), indent=2, ensure_ascii=False))
