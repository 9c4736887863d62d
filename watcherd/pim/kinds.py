"""What a type is called: the synonyms of the kinds, and the two spellings of a list."""

from __future__ import annotations

import re
from typing import NamedTuple

from watcherd.pim.findings import Hint, Nearest
from watcherd.pim.names import nfc
from watcherd.pim.spec import EntityRef, Kind

KINDS: dict[str, Kind] = {kind.value: kind for kind in Kind} | {
    "str": Kind.STRING,
    "int": Kind.INTEGER,
    "double": Kind.FLOAT,
    "number": Kind.FLOAT,
    "money": Kind.DECIMAL,
    "bool": Kind.BOOLEAN,
    "object": Kind.JSON,
    "ref": Kind.REFERENCE,
}
_LIST = re.compile(r"list\s*[\[<]\s*(?P<a>[^\[\]<>]+?)\s*[\]>]|(?P<b>[^\[\]<>]+?)\s*\[\s*\]", re.IGNORECASE)
_LONGEST = 300  # no type is longer, and the work of the pattern grows with the square
_BARE_LISTS = frozenset({"list", "array"})


class TypeName(NamedTuple):
    """A type as written: the name of a kind or of an entity, and whether a list of it is meant."""

    name: str
    is_list: bool

    @property
    def kind(self) -> Kind | None:
        """The kind of this name; None where it names no kind."""
        return KINDS.get(self.name.lower())


class ValueKind(NamedTuple):
    """What one value is: a kind, perhaps a list of it, with members or a target where the kind has them."""

    kind: Kind
    is_list: bool
    members: tuple[str, ...]
    reference: EntityRef | None


def type_name(text: str) -> TypeName:
    """`List[string]`, `string[]`, `String`: the name, and whether it is a list."""
    text = nfc(text.strip())
    found = _LIST.fullmatch(text) if len(text) <= _LONGEST else None
    return TypeName(text, is_list=False) if found is None else TypeName(found["a"] or found["b"], is_list=True)


def type_hint(name: str, entities: frozenset[str], *, may_be_entity: bool) -> Hint:
    """What to write instead of a type that is not known."""
    if name.lower() in _BARE_LISTS:
        return "say of what: `string[]`"
    if name in entities and not may_be_entity:
        return f"for the key of another entity write `{{type: reference, reference: {name}}}`"
    known = [*KINDS, *(entities if may_be_entity else ())]
    return Nearest(name, known, f"known types: {', '.join(kind.value for kind in Kind)}")
