"""One file's bytes to one `Parsed`: the story of `pim`, top to bottom, and what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from watcherd.pim.findings import Findings, SourceText, Span, quote
from watcherd.pim.names import is_domain
from watcherd.pim.nodes import MapNode, Node, ScalarNode, node_at, span_at
from watcherd.pim.pieces import Pieces
from watcherd.pim.resolve import resolve
from watcherd.pim.scopes import character_span
from watcherd.pim.shapes import shape
from watcherd.pim.source import DEFAULT_LIMITS, Limits, decode
from watcherd.pim.yaml_reader import read_tree

if TYPE_CHECKING:
    from watcherd.pim.diagnostics import Diagnostic, Position
    from watcherd.pim.shapes import Path
    from watcherd.pim.spec import EntityRef, ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What is known of one file after reading it.

    `spec` is None exactly when a diagnostic is an error. `domain` is the declared domain, if it is
    a well-formed one and could be read, also from a file that is rejected. `diagnostics` are in
    the order of the file.
    """

    file: str
    spec: ModelSpec | None
    domain: str | None
    diagnostics: tuple[Diagnostic, ...]
    _source: SourceText = field(repr=False, compare=False)
    _limits: Limits = field(repr=False, compare=False)
    _foreign: tuple[tuple[EntityRef, Path], ...] = field(default=(), repr=False, compare=False)

    @property
    def references(self) -> tuple[tuple[EntityRef, Position], ...]:
        """The entities of other models that the spec refers to, each at every place where it does."""
        if not self._foreign:
            return ()
        root = self._root()
        return tuple((one, self._source.position(span_at(root, path).start)) for one, path in self._foreign)

    def locate(self, *path: str | int) -> Position:
        """Where a path of the document is written, or its nearest ancestor that is.

        Items of a list go by index or by name: `locate("entities", "User", "attributes", "email")`.
        A mapping or a list is where its key is, a scalar where it is itself, an item of a list
        where its name is.
        """
        return self._source.position(span_at(self._root(), path).start)

    def locate_character(self, path: tuple[str | int, ...], text: str, offset: int) -> Position:
        """Where a character of a scalar's text is written; where the scalar is, if it has another text."""
        node = node_at(self._root(), path)
        if not isinstance(node, ScalarNode):
            return self.locate(*path)
        return self._source.position(character_span(self._source.text, node, text, offset).start)

    def _root(self) -> Node | None:
        """The tree, read again: few files are ever asked for a place, and a tree is many times its text."""
        return read_tree(self._source.text, self._limits, Findings(self._source))[0]


def parse(
    source: bytes,
    file: str,
    *,
    limits: Limits = DEFAULT_LIMITS,
    reserved_domains: frozenset[str] = frozenset(),
    pieces: Pieces | None = None,
) -> Parsed:
    """Read a model file; `file` is how diagnostics name it. Never raises, whatever the bytes are.

    `reserved_domains` are the first path segments that are taken where the API has no prefix;
    `pieces` is what is kept of the file between its edits.
    """
    text, fault = decode(source, limits)
    findings = Findings(SourceText(file, text))
    if fault is not None:
        findings.add(*fault)
        return _rejected(findings, limits, None)
    if pieces is not None:
        root = pieces.read(text, limits)
        parsed = None if root is None else _resolved(root, findings, limits, reserved_domains, pieces)
        if parsed is not None and not findings.count:
            return parsed
        # What is to be said of it has to be said at its place.
        pieces.forget()
        findings = Findings(SourceText(file, text))
    whole, is_complete = read_tree(text, limits, findings)
    if not is_complete:
        return _rejected(findings, limits, whole)
    if not isinstance(whole, MapNode):
        _report_root(findings, whole)
        return _rejected(findings, limits, whole)
    return _resolved(whole, findings, limits, reserved_domains) or _rejected(findings, limits, whole)


def _resolved(
    root: MapNode, findings: Findings, limits: Limits, reserved_domains: frozenset[str], pieces: Pieces | None = None
) -> Parsed | None:
    """What a tree means; None where it has errors."""
    draft = shape(root, findings, limits)
    if draft is None:
        return None
    draft.meanings = None if pieces is None else pieces.meanings
    spec, foreign = resolve(draft, reserved_domains)
    if findings.errors:
        return None
    return Parsed(
        file=findings.source.file,
        spec=spec,
        domain=spec.domain,
        diagnostics=findings.sorted(),
        _source=findings.source,
        _limits=limits,
        _foreign=foreign,
    )


def _rejected(findings: Findings, limits: Limits, root: Node | None) -> Parsed:
    return Parsed(
        file=findings.source.file,
        spec=None,
        domain=_declared_domain(root),
        diagnostics=findings.sorted(),
        _source=findings.source,
        _limits=limits,
    )


def _declared_domain(root: Node | None) -> str | None:
    """The domain in what could be read of a file: also of one that breaks off in the middle."""
    domain = root.get("domain") if isinstance(root, MapNode) else None
    return domain.text if isinstance(domain, ScalarNode) and is_domain(domain.text) else None


def _report_root(findings: Findings, root: Node | None) -> None:
    if root is None or (isinstance(root, ScalarNode) and root.kind == "null"):
        findings.add("PIM012", Span(0, 0), "the file is empty", "a model begins with `domain: some-name`")
        return
    what = f"the text {quote(root.text)}" if isinstance(root, ScalarNode) else "a list"
    findings.add("PIM013", root.span, f"expected a mapping, found {what}", "a model begins with `domain: some-name`")
