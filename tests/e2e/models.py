"""Small models as text, in the variants that tests edit them into."""

from __future__ import annotations


def shop(*attributes: str, version: str = "1", domain: str = "shop", comment: str = "") -> str:
    """A model with one entity, `Item`, with a name and further string attributes."""
    lines = "".join(f"\n      {name}: string" for name in attributes)
    return f"""\
{comment}
domain: {domain}
version: "{version}"
entities:
  - name: Item
    attributes:
      name: {{type: string, required: true}}{lines}
"""


BROKEN = """\
domain: shop
entities:
  - name: Item
    attributes:
      name: {type: strnig}
"""
