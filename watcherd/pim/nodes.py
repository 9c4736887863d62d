"""The positioned tree of a file: what YAML 1.2 reads in it, and where each part is written.

Owns the nodes, what a scalar means (`yes` and `2024-01-20` are text, `0o17` is a number), and looking
into a tree by paths. Does not own how a tree comes from text (`yaml_reader`). It knows nothing of models.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Final, TypeAlias

from watcherd.pim.findings import Span


class ScalarNode:
    """One scalar: its text as written, and what YAML 1.2 reads in it.

    `kind` is `text`, `null`, `boolean`, `integer` or `float`; `document` as in `MapNode`.
    """

    __slots__ = ("document", "end", "kind", "start", "text")

    def __init__(self, text: str, kind: str, start: int, end: int) -> None:
        self.text = text
        self.kind = kind
        self.document: object = None
        self.start = start
        self.end = end

    @property
    def span(self) -> Span:
        """Where it is written."""
        return Span(self.start, self.end)


class MapNode(dict[str, "Node"]):
    """A mapping; `keys_at` says where each key is written, `document` keeps what the mapping was found to say."""

    __slots__ = ("document", "end", "keys_at", "start")

    def __init__(self, start: int, end: int) -> None:
        super().__init__()
        self.keys_at: dict[str, Span] = {}
        self.document: object = None
        self.start = start
        self.end = end

    @property
    def span(self) -> Span:
        """Where it begins."""
        return Span(self.start, self.end)


class ListNode(list["Node"]):
    """A list."""

    __slots__ = ("end", "start")

    def __init__(self, start: int, end: int) -> None:
        super().__init__()
        self.start = start
        self.end = end

    @property
    def span(self) -> Span:
        """Where it begins."""
        return Span(self.start, self.end)


Node: TypeAlias = ScalarNode | MapNode | ListNode

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MAY_BE_NUMBER = frozenset("0123456789+-.")


def kind_of(text: str) -> str:
    """How the YAML 1.2 core schema reads a plain scalar."""
    if text in _NULL:
        return "null"
    if text[0] in _MAY_BE_NUMBER:
        if _INTEGER.fullmatch(text):
            return "integer"
        return "float" if _FLOAT.fullmatch(text) else "text"
    return "boolean" if text in _BOOLEANS else "text"


def number_of(node: ScalarNode) -> Decimal | None:
    """The exact number that a scalar is, or None: also for infinity, which no limit or default can be."""
    if node.kind not in {"integer", "float"}:
        return None
    if node.text.startswith(("0o", "0x")):
        return Decimal(int(node.text, 0))
    try:
        number = Decimal(node.text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def is_true(node: ScalarNode) -> bool:
    """What a boolean scalar says."""
    return _BOOLEANS[node.text]


def span_at(root: Node | None, path: tuple[str | int, ...], *, key: bool = False) -> Span:
    """Where `path` is written, or its nearest ancestor that is.

    A part of the path is a key, an index, or the `name` or `id` of a list's item. A mapping or a
    list is where its key is; with `key` so is a scalar. An item of a list is where its name is.
    """
    if root is None:
        return Span(0, 0)
    node, span = root, root.span
    for part in path:
        if isinstance(node, MapNode) and part in node:
            name = str(part)
            span, node = node.keys_at[name], node[name]
            if isinstance(node, ScalarNode) and not key:
                span = node.span
        elif isinstance(node, ListNode):
            found = item_at(node, part)
            if found is None:
                return span
            node = found
            span = node.span
            if isinstance(node, MapNode):
                span = next((node[name].span for name in ("name", "id") if name in node), span)
        else:
            return span
    return span


def node_at(root: Node | None, path: tuple[str | int, ...]) -> Node | None:
    """What the tree holds at `path`; None where there is nothing."""
    node = root
    for part in path:
        if isinstance(node, MapNode) and isinstance(part, str):
            node = node.get(part)
        elif isinstance(node, ListNode):
            node = item_at(node, part)
        else:
            return None
    return node


def item_at(node: ListNode, part: str | int) -> Node | None:
    """An item of a list by its index, or by its `name` or `id`."""
    if isinstance(part, int):
        return node[part] if 0 <= part < len(node) else None
    for item in node:
        if isinstance(item, MapNode):
            for name in ("name", "id"):
                named = item.get(name)
                if isinstance(named, ScalarNode) and named.text == part:
                    return item
    return None
