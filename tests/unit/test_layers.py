"""The map of the package in its docstring: it has to name what there is, in the order that holds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import watcherd

ROOT = Path(watcherd.__file__).parent


def named() -> list[str]:
    """The modules that the map names, from the top."""
    assert watcherd.__doc__ is not None
    table = watcherd.__doc__.split("(`make check`)::\n")[1]
    columns = [re.split(r" {2,}", line.strip())[0] for line in table.splitlines() if line.strip()]
    return [name for column in columns for name in column.split(", ")]


def test_the_map_names_every_module_once() -> None:
    there = {path.stem for path in ROOT.glob("*.py")} | {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert sorted(named()) == sorted(there - {"__init__"})


def test_the_map_has_the_order_of_the_contract() -> None:
    contracts = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"]
    rank = {name: height for height, layer in enumerate(layers) for name in layer.split(" | ")}
    ranks = [rank[name] for name in named()]
    assert ranks == sorted(ranks)
