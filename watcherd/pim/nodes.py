"""Text to a positioned tree: bounded on the event stream, before anything is composed.

Owns the reading of YAML 1.2: its scalars (`yes` and `2024-01-20` are text, `0o17` is a number),
duplicate keys, aliases, tags, documents. It knows nothing of models. Merge keys (`<<`) are not
YAML 1.2, but files that rely on them are common and their meaning is beyond doubt: they work.

libyaml parses without recursion, and stops where we stop asking for events: a million nested
brackets cost as much as the first sixty-four.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final, TypeAlias

import yaml

from watcherd.pim.findings import Findings, Span, quote
from watcherd.pim.slips import slip_of

try:
    from yaml.cyaml import CSafeLoader as EventParser
except ImportError:  # PyYAML without libyaml: the same events, slower
    from yaml import SafeLoader as EventParser  # type: ignore[assignment]  # both have get_event()

if TYPE_CHECKING:
    from watcherd.pim.source import Limits


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
_LONGEST_NUMBER = 400
_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = {"null": "null", "bool": "boolean", "int": "integer", "float": "float"}


@dataclass(slots=True)
class _Measured:
    """A node and what it counts for wherever an alias repeats it."""

    node: Node
    nodes: int = 1
    characters: int = 0
    height: int = 0


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is still open."""

    measured: _Measured
    anchor: str | None
    key: ScalarNode | None = None
    skips_value: bool = False
    merges: list[Node] = field(default_factory=list)


class _Refused(Exception):  # noqa: N818 - not an error of ours: it ends the reading, the finding is made
    """Reading ends here; the finding has been added."""


def read_tree(text: str, limits: Limits, findings: Findings) -> tuple[Node | None, bool]:
    """Read the first document of `text`: its root, and whether it was read to the end.

    What was read before a syntax error or a bound is still a tree (the domain is in it, mostly).
    An empty file has no root.
    """
    reader = _Reader(limits, findings)
    parser = EventParser(text)
    try:
        while (event := parser.get_event()) is not None:
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        slip = slip_of(error, findings.source)
        findings.add(slip.code, slip.span, slip.message, slip.hint)
        return reader.root, False
    except _Refused:
        return reader.root, False
    finally:
        parser.dispose()
    return reader.root, True


class _Reader:
    """Builds the tree event by event and keeps count; holds the open frames and the anchors."""

    def __init__(self, limits: Limits, findings: Findings) -> None:
        self.root: Node | None = None
        self._limits = limits
        self._findings = findings
        self._frames: list[_Frame] = []
        self._anchors: dict[str, _Measured | None] = {}
        self._documents = 0
        self._nodes = 0
        self._characters = 0

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            if event.tag is None and event.anchor is None and self._take_plain(event):
                return
            scalar = self._scalar(event)
            measured = _Measured(scalar, characters=len(scalar.text))
            self._count(1, len(scalar.text), scalar.span)
            if event.anchor is not None:
                self._anchors[event.anchor] = measured
            self._place(measured)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._open(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._close(event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                span = _span_of(event)
                self._findings.add("PIM011", span, "a second document begins here", "one file is one model")
                raise _Refused

    def _take_plain(self, event: yaml.ScalarEvent) -> bool:
        """Two events of three are scalars without tag and anchor: the same as for any scalar, in one step.

        False where something has to be said of it, and nothing is done.
        """
        text, start, end = event.value, event.start_mark, event.end_mark
        size = len(text)
        limits = self._limits
        if (
            start is None
            or end is None
            or size > _LONGEST_NUMBER
            or self._nodes >= limits.max_nodes
            or self._characters + size > limits.max_characters
            or not self._frames
        ):
            return False
        self._nodes += 1
        self._characters += size
        frame = self._frames[-1]
        frame.measured.nodes += 1
        frame.measured.characters += size
        self._put(frame, ScalarNode(text, "text" if event.style else kind_of(text), start.index, end.index))
        return True

    def _scalar(self, event: yaml.ScalarEvent) -> ScalarNode:
        text, tag, span = event.value, event.tag, _span_of(event)
        if tag is None:
            kind = "text" if event.style else kind_of(text)
        elif tag in {"!", _TAG + "str"}:
            kind = "text"
        else:
            kind = _SCALAR_TAGS.get(tag.removeprefix(_TAG), "")
            if kind == "" or (kind_of(text) != kind and not (kind == "float" and kind_of(text) == "integer")):
                self._refuse_tag(tag, span)
                kind = "text"
        if kind in {"integer", "float"} and len(text) > _LONGEST_NUMBER:
            self._findings.add("PIM016", span, f"a number of {len(text)} digits", "quote it to make it text")
            kind = "text"
        return ScalarNode(text, kind, *span)

    def _open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        span = _span_of(event)
        is_map = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in {None, "!", _TAG + ("map" if is_map else "seq")}:
            self._refuse_tag(event.tag, span)
        self._check_depth(len(self._frames) + 1, span)
        self._count(1, 0, span)
        node = MapNode(*span) if is_map else ListNode(*span)
        if not self._frames and self.root is None:
            self.root = node
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._frames.append(_Frame(_Measured(node), event.anchor))

    def _close(self, event: yaml.MappingEndEvent | yaml.SequenceEndEvent) -> None:
        frame = self._frames.pop()
        frame.measured.node.end = max(frame.measured.node.start, _span_of(event).start)
        if isinstance(frame.measured.node, MapNode):
            for source in frame.merges:
                self._merge(frame.measured.node, source)
        frame.measured.height += 1
        if frame.anchor is not None:
            self._anchors[frame.anchor] = frame.measured
        self._place(frame.measured)

    def _alias(self, event: yaml.AliasEvent) -> None:
        span = _span_of(event)
        anchor = event.anchor or ""
        measured = self._anchors.get(anchor)
        if measured is None:
            stands_for = "itself" if anchor in self._anchors else "nothing: no such anchor"
            message = f"{quote('*' + anchor)} stands for {stands_for}"
            self._findings.add("PIM014", span, message)
            raise _Refused
        self._check_depth(len(self._frames) + measured.height, span)
        self._count(measured.nodes, measured.characters, span)
        self._place(measured)

    def _place(self, measured: _Measured) -> None:
        """Hand a finished node to the mapping or list that is open around it."""
        node = measured.node
        if not self._frames:
            self.root = node
            return
        frame = self._frames[-1]
        around = frame.measured
        around.nodes += measured.nodes
        around.characters += measured.characters
        around.height = max(around.height, measured.height)
        self._put(frame, node)

    def _put(self, frame: _Frame, node: Node) -> None:
        around = frame.measured
        if isinstance(around.node, ListNode):
            around.node.append(node)
        elif frame.skips_value:
            frame.skips_value = False
        elif frame.key is not None:
            key, frame.key = frame.key, None
            self._enter(frame, key, node)
        elif isinstance(node, ScalarNode):
            frame.key = node
        elif isinstance(around.node, MapNode):
            self._findings.add("PIM009", node.span, "a key must be text, not a list or a mapping")
            frame.skips_value = True

    def _enter(self, frame: _Frame, key: ScalarNode, value: Node) -> None:
        mapping = frame.measured.node
        if not isinstance(mapping, MapNode):
            return
        if key.text == "<<" and key.end - key.start == len("<<"):
            frame.merges.append(value)
        elif key.text in mapping:
            first = self._findings.source.related(mapping.keys_at[key.text], "first written here")
            self._findings.add("PIM010", key.span, f"the key {quote(key.text)} is here twice", related=(first,))
        else:
            mapping[key.text] = value
            mapping.keys_at[key.text] = Span(key.start, key.end)

    def _merge(self, mapping: MapNode, source: Node) -> None:
        """Add what `mapping` does not say itself; of several sources the first wins."""
        for one in source if isinstance(source, ListNode) else [source]:
            if not isinstance(one, MapNode):
                self._findings.add("PIM015", one.span, "`<<` takes in a mapping or a list of mappings")
                continue
            for key, value in one.items():
                if key not in mapping:
                    mapping[key] = value
                    mapping.keys_at[key] = one.keys_at[key]

    def _refuse_tag(self, tag: str | None, span: Span) -> None:
        shown = quote((tag or "").replace(_TAG, "!!"))
        self._findings.add("PIM008", span, f"the tag {shown} means nothing in a model", "remove the tag")

    def _check_depth(self, depth: int, span: Span) -> None:
        if depth > self._limits.max_depth:
            self._findings.add("PIM006", span, f"nested deeper than {self._limits.max_depth} levels")
            raise _Refused

    def _count(self, nodes: int, characters: int, span: Span) -> None:
        self._nodes += nodes
        self._characters += characters
        if self._nodes > self._limits.max_nodes or self._characters > self._limits.max_characters:
            message = (
                f"more than {self._limits.max_nodes:,} values or {self._limits.max_characters:,} characters "
                "with every alias expanded"
            )
            self._findings.add("PIM007", span, message, "split the model into several")
            raise _Refused


def _span_of(event: yaml.Event) -> Span:
    start, end = event.start_mark, event.end_mark
    return Span(0, 0) if start is None or end is None else Span(start.index, end.index)


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
