"""The page about each code: what it means, a wrong example and a right one.

The pages are Markdown files beside this module, `explanations/PIM203.md`, and are data: tests hold
each example to what it claims. A page begins with the code and its title as a heading; below
`## Wrong` and `## Right` stand the examples, one fenced block a file:

- `yaml NAME` is a model file, `NAME` where it is not `shop.yaml`;
- `sh` makes the files of the example, in an empty models directory;
- where tables are concerned, `## Before` has the model that serves already, and blocks
  `json /products` under it the rows that are stored.
"""

from __future__ import annotations

from importlib.resources import files


def explain(code: str) -> str:
    """The page about a code, as Markdown. Raises KeyError when there is none."""
    page = files("watcherd.pim").joinpath("explanations", f"{code}.md")
    if not page.is_file():
        raise KeyError(code)
    return page.read_text("utf-8")
