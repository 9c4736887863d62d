"""The tree to a document: every wrong shape is a finding, and all that is right goes on.

A file with one misspelt key still has all its other mistakes reported: what does not fit is cut
out of the tree, the rest is validated again, and `Draft.broken` remembers what was cut, so that
nobody later complains that it is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from pydantic import ValidationError

from watcherd.pim.document import (
    ActionDoc,
    AttributeDoc,
    ConstraintDoc,
    EntityDoc,
    ExampleDoc,
    ExpectDoc,
    FlowDoc,
    IndexDoc,
    MethodDoc,
    ModelDoc,
    ParameterDoc,
    Part,
    RelationshipDoc,
    ServiceDoc,
    StatesDoc,
    StepDoc,
    TransitionDoc,
)
from watcherd.pim.findings import Findings, Hint, Nearest, Span, quote
from watcherd.pim.nodes import ListNode, MapNode, Node, ScalarNode, item_at, node_at, span_at
from watcherd.pim.spec import fold

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic_core import ErrorDetails

    from watcherd.pim.diagnostics import Related
    from watcherd.pim.meanings import Meanings
    from watcherd.pim.names import Taken
    from watcherd.pim.source import Limits

T = TypeVar("T")
Path: TypeAlias = tuple[str | int, ...]
Cuts: TypeAlias = "dict[str | int, Cuts | None]"  # a part of a path -> the cuts below it; None: cut here

ANY = "*"
_MOST_ROUNDS = 6
_PARTS: dict[type[Part], dict[str, type[Part]]] = {
    ModelDoc: {"entities": EntityDoc, "services": ServiceDoc, "flows": FlowDoc},
    EntityDoc: {
        "attributes": AttributeDoc,
        "constraints": ConstraintDoc,
        "indexes": IndexDoc,
        "relationships": RelationshipDoc,
        "states": StatesDoc,
        "examples": ExampleDoc,
    },
    ServiceDoc: {"methods": MethodDoc},
    MethodDoc: {"parameters": ParameterDoc, "transition": TransitionDoc, "examples": ExampleDoc},
    ExampleDoc: {"expect": ExpectDoc},
    FlowDoc: {"steps": StepDoc},
    StepDoc: {"do": ActionDoc},
    ActionDoc: {"do": ActionDoc},
}
_ALONE: dict[type[Part], str] = {StatesDoc: "`states`", TransitionDoc: "`transition`", ExpectDoc: "`expect`"}
"""Parts that stand under their key by themselves, not in a list or under names."""
_REQUIRED = "an attribute may be without a value unless it says `required: true`"
_ELSEWHERE: dict[type[Part], dict[str, str]] = {
    ModelDoc: {
        "name": "a model is named by its `domain`",
        **dict.fromkeys(("models", "tables", "resources", "classes"), "did you mean `entities`?"),
    },
    EntityDoc: dict.fromkeys(("fields", "columns", "properties"), "did you mean `attributes`?"),
    AttributeDoc: {
        **dict.fromkeys(("nullable", "null", "optional", "notnull"), _REQUIRED),
        **dict.fromkeys(("choices", "options", "allowed"), "did you mean `enum`?"),
        **dict.fromkeys(("size", "length", "maxlen"), "did you mean `max_length`?"),
        **dict.fromkeys(("foreignkey", "fk", "references", "relation"), "did you mean `reference`?"),
    },
}
"""What other systems call a key, by its letters alone, and what to do here."""
_TYPE_BEARING = frozenset({"type", "enum", "values", "enum_values", "reference", "reference_entity"})
_LONGEST_EXAMPLE = 40
_ATTRIBUTE_DEPTH = 4  # entities, index, attributes, name


@dataclass(slots=True)
class Draft:
    """A document on its way to a spec: what it says, where it says it, and what was cut out of it.

    `broken` holds `("entity", name)`, `("attribute", entity, name)`, `("flow", name)` and so on;
    `*` as the last part means that nobody knows which. `meanings` keeps what parts were found to mean.
    """

    document: ModelDoc
    root: MapNode
    findings: Findings
    limits: Limits
    broken: set[tuple[str, ...]]
    meanings: Meanings | None = None
    model: str = field(init=False)
    """The folded domain: under this name the model's own entities are referred to."""

    def __post_init__(self) -> None:
        self.model = fold(self.document.domain)

    def add(  # noqa: PLR0913 - one finding has these parts
        self,
        code: str,
        path: Path,
        message: str,
        hint: Hint = None,
        *,
        key: bool = False,
        related: tuple[Related, ...] = (),
    ) -> None:
        """Add a finding at a path of the document; with `key` at the key rather than at its value."""
        self.findings.add(code, self.span(path, key=key), message, hint, related)

    def meaning(self, what: str, document: object, given: tuple[object, ...], make: Callable[[], T]) -> T:
        """What `make` answers from a document, the model's name and what is given; taken up where all are the same."""
        if self.meanings is None:
            return make()
        return self.meanings.of(what, document, (self.model, *given), make)

    def span(self, path: Path, *, key: bool = False) -> Span:
        """Where a path is written."""
        return span_at(self.root, path, key=key)

    def related(self, path: Path, message: str, *, key: bool = False) -> Related:
        """Another place that belongs to a finding; with `key` the key rather than its value."""
        return self.findings.source.related(self.span(path, key=key), message)

    def declared_first(self, taken: Taken, name: str) -> tuple[Related, ...]:
        """Where a name that `taken` answered was declared, to be shown beside the finding."""
        place = taken.place_of(name)
        return () if place is None else (self.related(place.path, "first declared here", key=place.key),)

    def one_of(self, path: Path, document: Part, keys: tuple[str, ...]) -> str | None:
        """Which of several spellings of one key is written at `path`; a second one is a finding."""
        written = [key for key in keys if getattr(document, key) is not None]
        for key in written[1:]:
            message = f"`{key}` and `{written[0]}` are two spellings of one key"
            first = self.related((*path, written[0]), "first written here", key=True)
            self.add("PIM104", (*path, key), message, "keep one of them", key=True, related=(first,))
        return written[0] if written else None

    def is_broken(self, *what: str) -> bool:
        """Whether something of this name is in the file, but had to be left out, or may have been."""
        return what in self.broken or (*what[:-1], ANY) in self.broken

    def has_broken(self, *what: str) -> bool:
        """Whether anything was left out, or may have been, of which this is the beginning."""
        return any(one[: len(what)] == what for one in self.broken)

    def node(self, path: Path) -> Node | None:
        """What the tree holds at a path; None where there is nothing."""
        return node_at(self.root, path)


def shape(root: MapNode, findings: Findings, limits: Limits) -> Draft | None:
    """Validate the shape of a whole file; None when not even its rest has one."""
    broken: set[tuple[str, ...]] = set()
    silenced: set[Path] = set()
    for _ in range(_MOST_ROUNDS):
        try:
            return Draft(ModelDoc.model_validate(root, context=findings), root, findings, limits, broken)
        except ValidationError as refusal:
            cuts: Cuts = {}
            for error in refusal.errors(include_url=False, include_input=False):
                _report(error, root, findings, silenced)
                unit = _unit(error, root)
                silenced.add(unit)
                if unit:
                    _cut(unit, cuts)
            _remember(cuts, root, broken)
            rest = _without(root, cuts)
            root = _with_domain(rest) if isinstance(rest, MapNode) else root
    return None


def _report(error: ErrorDetails, root: MapNode, findings: Findings, silenced: set[Path]) -> None:
    loc = error["loc"]
    if error["type"] == "missing":
        if loc in silenced:
            return
        span = span_at(root, loc[:-1], key=True)
        findings.add("PIM102", span, f"{_what(loc[:-1])} has no `{loc[-1]}`")
    elif error["type"] == "extra_forbidden":
        key = str(loc[-1])
        part = _part_at(loc[:-1])
        known = [] if part is None else [name.rstrip("_") for name in part.model_fields if name != "sentence"]
        meant = _ELSEWHERE.get(part or ModelDoc, {}).get(key.casefold().replace("_", ""))
        hint = meant or Nearest(key, known, f"known here: {', '.join(known)}" if known else None)
        findings.add("PIM101", span_at(root, loc, key=True), f"{_what(loc[:-1])} has no key {quote(key)}", hint)
    else:
        expected = error.get("ctx", {}).get("expected") or {"dict_type": "a mapping", "list_type": "a list"}.get(
            error["type"], "something else"
        )
        name = f" for {quote(str(loc[-1]))}" if loc and isinstance(loc[-1], str) and loc[-1].isprintable() else ""
        advice = error.get("ctx", {}).get("hint") or _list_hint(loc, root)
        findings.add("PIM103", _value_span(root, loc), f"expected {expected}{name}", advice)


def _list_hint(loc: Path, root: MapNode) -> str | None:
    """How a list is written where a mapping stands, or a type of lists where a list stands."""
    found = node_at(root, loc)
    if isinstance(found, MapNode) and loc[-1:] in {("entities",), ("services",), ("methods",)}:
        return f"each is an item of a list, with its name: `- name: {next(iter(found), 'Name')[:_LONGEST_EXAMPLE]}`"
    if found is None and loc[-1:] == ("type",):
        found = node_at(root, loc[:-1])  # the short form, `tags: [string]`
    if (
        isinstance(found, ListNode)
        and loc[:1] == ("entities",)
        and len(found) == 1
        and isinstance(found[0], ScalarNode)
    ):
        return f"a list of them is `{found[0].text[:_LONGEST_EXAMPLE]}[]`" if loc[-1:] == ("type",) else None
    return None


def _value_span(root: MapNode, loc: Path) -> Span:
    node = node_at(root, loc)
    return node.span if isinstance(node, (ScalarNode, ListNode)) else span_at(root, loc)


def _what(loc: Path) -> str:
    """How messages speak of the mapping at a path."""
    part = _part_at(loc)
    if part is None or part is ModelDoc:
        return "a model"
    if part in _ALONE:
        return _ALONE[part]
    noun = part.__name__.removesuffix("Doc").lower()
    return f"{noun} {quote(loc[-1])}" if isinstance(loc[-1], str) else ("an " if noun[0] in "aei" else "a ") + noun


def _part_at(loc: Path) -> type[Part] | None:
    part: type[Part] = ModelDoc
    for key in loc[::2]:
        below = _PARTS.get(part, {}).get(str(key))
        if below is None:
            return None
        part = below
    return part if len(loc) % 2 == 0 or part in _ALONE else None


def _unit(error: ErrorDetails, root: MapNode) -> Path:
    """What has to be cut so that the rest is sound and nothing that follows is nonsense."""
    loc = error["loc"]
    if len(loc) > _ATTRIBUTE_DEPTH and loc[0] == "entities" and loc[2] == "attributes":
        attribute = loc[:_ATTRIBUTE_DEPTH]
        entries = node_at(root, attribute)
        is_typed = isinstance(entries, MapNode) and not _TYPE_BEARING.isdisjoint(entries)
        return loc if is_typed and error["type"] == "extra_forbidden" else attribute
    return loc[:-1] if error["type"] == "missing" and len(loc) > 1 else loc


def _cut(unit: Path, cuts: Cuts) -> None:
    """Enter a path into the tree of cuts, unless something around it is cut already."""
    for part in unit[:-1]:
        below = cuts.setdefault(part, {})
        if below is None:
            return
        cuts = below
    cuts[unit[-1]] = None


def _without(node: MapNode | ListNode, cuts: Cuts) -> MapNode | ListNode:
    """A copy less what is cut: copied along the cuts only, as aliases share their nodes."""
    if isinstance(node, MapNode):
        rest = MapNode(node.start, node.end)
        for key, value in node.items():
            below = cuts.get(key, {})
            if below is None:
                continue
            rest[key] = _without(value, below) if below and not isinstance(value, ScalarNode) else value
            rest.keys_at[key] = node.keys_at[key]
        return rest
    by_item = {id(item_at(node, part)): below for part, below in cuts.items()}
    remaining = ListNode(node.start, node.end)
    for item in node:
        below = by_item.get(id(item), {})
        if below is not None:
            remaining.append(_without(item, below) if below and not isinstance(item, ScalarNode) else item)
    return remaining


def _with_domain(root: MapNode) -> MapNode:
    """A root without a domain is rejected, but the rest of it is still looked at: under some name."""
    if "domain" not in root or (isinstance(domain := root["domain"], ScalarNode) and domain.kind == "null"):
        root["domain"] = ScalarNode("unnamed", "text", root.start, root.start)
        root.keys_at["domain"] = Span(root.start, root.start)
    return root


def _remember(cuts: Cuts, root: MapNode, broken: set[tuple[str, ...]]) -> None:
    """Note the names of what is cut, as far as others may refer to them."""
    for key, kind in (("entities", "entity"), ("services", "service"), ("flows", "flow"), ("rules", "rule")):
        if key not in cuts:
            continue
        below = cuts[key]
        if below is None:
            broken.add((kind, ANY))
            continue
        for part, inner in below.items():
            name = _name_of(root, (key, part))
            if inner is None or "name" in inner:
                broken.add((kind, name))
            if key == "flows" and inner is not None:
                broken.add(("step", name, ANY))
            if key == "entities" and inner is not None and "attributes" in inner:
                attributes = inner["attributes"]
                names = [ANY] if attributes is None else [str(one) for one in attributes if attributes[one] is None]
                broken.update(("attribute", name, one) for one in names)


def _name_of(root: MapNode, path: Path) -> str:
    if isinstance(path[-1], str):
        return path[-1]
    name = node_at(root, (*path, "name"))
    return name.text if isinstance(name, ScalarNode) else ANY
