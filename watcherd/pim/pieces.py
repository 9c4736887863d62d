"""Text to a tree piece by piece: what an edit left as it was is not read again.

The lines of a block mapping or list that stand at its indentation begin its entries. Each entry is a
text of its own: read by itself it gives the nodes that it gives where it stands, unless something in
it reaches beyond it. So the nodes of entries are kept by their text, and an edit costs the reading of
the entries that hold it.

Owns the cutting, and when it is not to be relied upon: then nothing is answered, and `yaml_reader`
reads the text as a whole. The same goes for every text that has a finding, however small: nodes that are
taken up again know no places.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from watcherd.pim.findings import Findings, SourceText, Span
from watcherd.pim.meanings import Meanings
from watcherd.pim.nodes import ListNode, MapNode, Node, ScalarNode, kind_of
from watcherd.pim.yaml_reader import read_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcherd.pim.source import Limits

_DEPTH: Final = 8
_REFERS: Final = re.compile(r"(?:^|[\s:,\[{-])(?:&(?!&)|\*|!(?!=))\S", re.MULTILINE)
_AS_A_WHOLE: Final[tuple[tuple[str, re.Pattern[str] | None], ...]] = (
    *((sign, None) for sign in ("\t", "\r", "\x85", "\u2028", "\u2029", "\ufeff", "<<")),
    ("%", re.compile(r"^%", re.MULTILINE)),
    ("---", re.compile(r"^---", re.MULTILINE)),
    ("...", re.compile(r"^\.\.\.", re.MULTILINE)),
    *((sign, re.compile(r"^ *-(?: *$|  )", re.MULTILINE)) for sign in ("-\n", "- \n", "-  ")),
    ("?", re.compile(r"^ *\?(?: |$)", re.MULTILINE)),
    *((sign, _REFERS) for sign in "&*!"),
)
"""What gives a text meaning beyond its line: marks, anchors, tags, merge keys, and rare ways to write a block.

A sign that is in every such text, and the pattern that tells it from what only looks like it. `&&` and
`!=` are operators of expressions; where they are an anchor or a tag, the piece has a finding.
"""

_KEY: Final = r" *([^\W\d][\w-]*):"
_KEYED: Final = re.compile(_KEY + r"(?: |$)")
_HEAD: Final = re.compile(_KEY + r"(?: +#.*| *)")
_PLAIN: Final = re.compile(_KEY + r" +(\w(?:[\w./()-]| (?=\w))*) *\n?")
_CONTENT: Final = re.compile(r"^ *((?![ #]).*\S.*)$", re.MULTILINE)
_NOWHERE: Final = Span(0, 0)


class _Piece(NamedTuple):
    """A node, and the texts of the pieces that are inside of it."""

    node: Node
    inside: tuple[str, ...] = ()


class Pieces:
    """The nodes of the last text that was read through here, by the text of each piece; and what they mean.

    One for each file that is edited. What a reading does not use is forgotten by the next one; what is
    inside of a piece that it uses is kept with it, since the next edit may be in there.
    """

    def __init__(self) -> None:
        self._now: dict[str, _Piece] = {}
        self._before: dict[str, _Piece] = {}
        self._read_in: list[list[str]] = []
        self.meanings = Meanings()
        """What the parts of the text were found to mean."""

    def read(self, text: str, limits: Limits) -> MapNode | None:
        """The tree of a text, without places; None where it has to be read as a whole."""
        self._before, self._now = self._now, {}
        self.meanings.turn()
        # So short that it is within every bound, whatever is in it; and the pieces stand in others.
        within = 2 * len(text) < limits.max_nodes and len(text) < limits.max_characters
        depth = limits.max_depth - 2 * _DEPTH
        if not within or depth < 1 or _is_a_whole(text):
            return None
        self._read_in = [[]]
        try:
            root = self._block(text, replace(limits, max_depth=depth), 0)
        except _ReachesBeyondError:
            return None
        return root if isinstance(root, MapNode) else None

    def forget(self) -> None:
        """Take up nothing next time: something was wrong with this text."""
        self._now = {}
        self.meanings.forget()

    def _block(self, text: str, limits: Limits, depth: int) -> Node:
        """The node of a mapping or a list, a scalar or nothing, that is written in lines of its own."""
        known = self._taken_up(text)
        if known is not None:
            return known
        entries = list(_entries(text)) if depth < _DEPTH else []
        if not entries:
            raise _ReachesBeyondError
        self._read_in.append([])
        node = self._list(entries, limits, depth) if _is_item(entries[0]) else self._mapping(entries, limits, depth)
        self._now[text] = _Piece(node, tuple(self._read_in.pop()))
        return node

    def _taken_up(self, text: str) -> Node | None:
        """A piece that this reading or the one before has used, with what is inside of it."""
        self._read_in[-1].append(text)
        if (known := self._now.get(text)) is not None:
            return known.node
        if (known := self._before.get(text)) is None:
            return None
        waiting = [text]
        while waiting:
            one = waiting.pop()
            if one not in self._now:
                piece = self._now[one] = self._before[one]
                waiting += piece.inside
        return known.node

    def _list(self, entries: list[str], limits: Limits, depth: int) -> ListNode:
        if not all(_is_item(entry) for entry in entries):
            raise _ReachesBeyondError
        node = ListNode(*_NOWHERE)
        node.extend(self._item(entry, limits, depth) for entry in entries)
        return node

    def _mapping(self, entries: list[str], limits: Limits, depth: int) -> MapNode:
        node = MapNode(*_NOWHERE)
        for entry in entries:
            self._enter(node, entry, limits, depth)
        return node

    def _item(self, entry: str, limits: Limits, depth: int) -> Node:
        """An item of a list, less its dash: a mapping in lines of its own, or whatever else."""
        rest = entry.replace("-", " ", 1)
        if _KEYED.match(rest.partition("\n")[0]):
            return self._block(rest, limits, depth + 1)
        leaf = self._leaf(entry, limits)
        if not isinstance(leaf, ListNode) or len(leaf) != 1:
            raise _ReachesBeyondError
        return leaf[0]

    def _enter(self, mapping: MapNode, entry: str, limits: Limits, depth: int) -> None:
        """Add an entry to its mapping; a key that is there already is a finding, which has a place."""
        first, _, below = entry.partition("\n")
        head = _HEAD.fullmatch(first)
        if head is not None and _has_content(below):
            key, value = head[1], self._block(below, limits, depth + 1)
        else:
            leaf = self._leaf(entry, limits)
            if not isinstance(leaf, MapNode) or len(leaf) != 1:
                raise _ReachesBeyondError
            key, value = next(iter(leaf.items()))
        if key in mapping:
            raise _ReachesBeyondError
        mapping[key] = value
        mapping.keys_at[key] = _NOWHERE

    def _leaf(self, text: str, limits: Limits) -> Node:
        """An entry that is not cut any more, read by itself."""
        known = self._taken_up(text)
        if known is None:
            known = _plain(text) or _read(text, limits)
            self._now[text] = _Piece(known)
        return known


class _ReachesBeyondError(Exception):
    """A piece is no whole by itself."""


def _is_a_whole(text: str) -> bool:
    """Whether something in it may give meaning to what is far from it."""
    return any(sign in text and (found is None or found.search(text)) for sign, found in _AS_A_WHOLE)


def _entries(text: str) -> Iterator[str]:
    """Cut a block at the lines of its own indentation. Blank lines and comments belong to what is before them."""
    first = _CONTENT.search(text)
    if first is None:
        return
    indent, is_list = first.start(1) - first.start(), text.startswith("- ", first.start(1))
    if _further_out(indent).search(text):
        raise _ReachesBeyondError
    begun = first.start()
    for line in _at(indent, is_list=is_list).finditer(text, first.end()):
        yield text[begun : line.start()]
        begun = line.start()
    yield text[begun:]


@lru_cache(maxsize=64)
def _at(indent: int, *, is_list: bool) -> re.Pattern[str]:
    """Lines of content at an indentation; the items of a list may stand below their key, as far out as it."""
    no_item = "" if is_list else "(?!- )"
    return re.compile(f"^ {{{indent}}}(?![ #]){no_item}(?=.*\\S)", re.MULTILINE)


@lru_cache(maxsize=64)
def _further_out(indent: int) -> re.Pattern[str]:
    """Lines of content with less of an indentation."""
    return re.compile(f"^ {{0,{indent - 1}}}(?![ #])(?=.*\\S)" if indent else r"(?!)", re.MULTILINE)


def _is_item(entry: str) -> bool:
    return entry.lstrip(" ").startswith("- ")


def _has_content(text: str) -> bool:
    return _CONTENT.search(text) is not None


def _plain(entry: str) -> MapNode | None:
    """The commonest entry, `key: word or words`, without a parser."""
    found = _PLAIN.fullmatch(entry)
    if found is None:
        return None
    mapping = MapNode(*_NOWHERE)
    mapping[found[1]] = ScalarNode(found[2], kind_of(found[2]), *_NOWHERE)
    mapping.keys_at[found[1]] = _NOWHERE
    return mapping


def _read(text: str, limits: Limits) -> Node:
    findings = Findings(SourceText("", text))
    root, is_complete = read_tree(text, limits, findings)
    if root is None or not is_complete or findings.count:
        raise _ReachesBeyondError
    return root
