"""Text to a positioned tree: bounded on the event stream, before anything is composed.

Owns the reading of YAML 1.2: duplicate keys, aliases, tags, documents. It knows nothing of models.
Merge keys (`<<`) are not YAML 1.2, but files that rely on them are common and their meaning is
beyond doubt: they work.

libyaml parses without recursion, and stops where we stop asking for events: a million nested
brackets cost as much as the first sixty-four.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml

from watcherd.pim.findings import Findings, Span, quote
from watcherd.pim.nodes import ListNode, MapNode, Node, ScalarNode, kind_of
from watcherd.pim.slips import slip_of

try:
    from yaml.cyaml import CSafeLoader as EventParser
except ImportError:  # PyYAML without libyaml: the same events, slower
    from yaml import SafeLoader as EventParser  # type: ignore[assignment]  # both have get_event()

if TYPE_CHECKING:
    from watcherd.pim.source import Limits

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
            is_item = len(self._frames) > 1 and isinstance(self._frames[-2].measured.node, ListNode)
            hint = "where another item of the list begins, write `- name:`" if is_item and key.text == "name" else None
            self._findings.add("PIM010", key.span, f"the key {quote(key.text)} is here twice", hint, (first,))
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
