"""The pages about codes, taken apart: their headings and the examples that tests hold them to."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from watcherd import pim

PAGES = Path(pim.__file__).parent / "explanations"
CODES = sorted(page.stem for page in PAGES.glob("*.md"))
DEFAULT_FILE = "shop.yaml"

_SECTION = re.compile(r"^## (\w+)\n", re.MULTILINE)
_BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Example:
    """One side of a page: model files by name, commands that make some, rows by the path that takes them."""

    files: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    rows: list[tuple[str, str]] = field(default_factory=list)

    def write(self, directory: Path) -> None:
        """Make the files of the example in an empty directory."""
        directory.mkdir(parents=True)
        for name, text in self.files.items():
            (directory / name).write_text(text, encoding="utf-8")
        for command in self.commands:
            subprocess.run(["sh", "-euc", command], cwd=directory, check=True, timeout=120)


@dataclass
class Page:
    """A page: its heading, its words, and its examples by section."""

    heading: str
    words: str
    sections: dict[str, Example]


def read_page(code: str) -> Page:
    text = (PAGES / f"{code}.md").read_text(encoding="utf-8")
    words, *parts = _SECTION.split(text)
    heading, _, words = words.partition("\n")
    sections = {name: _example(body) for name, body in zip(parts[::2], parts[1::2], strict=True)}
    return Page(heading, words, sections)


def _example(body: str) -> Example:
    example = Example()
    assert not _BLOCK.sub("", body).strip(), f"an example is made of fenced blocks alone: {body}"
    for kind, name, text in _BLOCK.findall(body):
        if kind == "yaml":
            example.files[name or DEFAULT_FILE] = text
        elif kind == "sh":
            example.commands.append(text)
        else:
            assert kind == "json", f"a block is yaml, sh or json, not {kind}"
            example.rows.append((name, text))
    return example
