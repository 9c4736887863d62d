"""One file's bytes to one `Parsed`: the story of `pim`, top to bottom, and what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from watcherd.pim.findings import Findings, SourceText, Span, quote
from watcherd.pim.names import is_domain
from watcherd.pim.nodes import MapNode, Node, ScalarNode, read_tree, span_at
from watcherd.pim.resolve import resolve
from watcherd.pim.shapes import shape
from watcherd.pim.source import DEFAULT_LIMITS, Limits, decode

if TYPE_CHECKING:
    from watcherd.pim.diagnostics import Diagnostic, Position
    from watcherd.pim.spec import EntityRef, ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What is known of one file after reading it.

    `spec` is None exactly when a diagnostic is an error. `domain` is the declared domain, if it is
    a well-formed one and could be read, also from a file that is rejected. `diagnostics` are in
    the order of the file. `references` are the entities of other models that the spec refers to,
    each at every place where it does.
    """

    file: str
    spec: ModelSpec | None
    domain: str | None
    diagnostics: tuple[Diagnostic, ...]
    references: tuple[tuple[EntityRef, Position], ...] = ()
    _source: SourceText = field(repr=False, compare=False)
    _root: Node | None = field(repr=False, compare=False)

    def locate(self, *path: str | int) -> Position:
        """Where a path of the document is written, or its nearest ancestor that is.

        Items of a list go by index or by name: `locate("entities", "User", "attributes", "email")`.
        A mapping or a list is where its key is, a scalar where it is itself, an item of a list
        where its name is.
        """
        return self._source.position(span_at(self._root, path).start)


def parse(
    source: bytes,
    file: str,
    *,
    limits: Limits = DEFAULT_LIMITS,
    reserved_domains: frozenset[str] = frozenset(),
) -> Parsed:
    """Read a model file; `file` is how diagnostics name it. Never raises, whatever the bytes are.

    `reserved_domains` are the first path segments that are taken where the API has no prefix.
    """
    text, fault = decode(source, limits)
    findings = Findings(SourceText(file, text))
    if fault is not None:
        findings.add(*fault)
        return _rejected(findings, None)
    root, is_complete = read_tree(text, limits, findings)
    if not is_complete:
        return _rejected(findings, root)
    if not isinstance(root, MapNode):
        _report_root(findings, root)
        return _rejected(findings, root)
    draft = shape(root, findings, limits)
    if draft is None:
        return _rejected(findings, root)
    spec, foreign = resolve(draft, reserved_domains)
    if findings.errors:
        return _rejected(findings, root)
    return Parsed(
        file=file,
        spec=spec,
        domain=spec.domain,
        diagnostics=findings.sorted(),
        references=tuple((reference, findings.source.position(draft.span(path).start)) for reference, path in foreign),
        _source=findings.source,
        _root=root,
    )


def _rejected(findings: Findings, root: Node | None) -> Parsed:
    return Parsed(
        file=findings.source.file,
        spec=None,
        domain=_declared_domain(root),
        diagnostics=findings.sorted(),
        _source=findings.source,
        _root=root,
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
