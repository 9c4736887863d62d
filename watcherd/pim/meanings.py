"""What parts of a file were found to mean is not found out again as long as they are the same parts.

A part is the very document that `pieces` took up for a text that an edit left as it was. Owns that
memory: one reading uses what the one before has used or made, with what is inside of it, and what no
reading uses is forgotten by the next. Nothing is kept of a text that has findings: see `forget`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from watcherd.pim.spec import ModelSpec

T = TypeVar("T")
_Key = tuple[str, int]


class _Meaning(NamedTuple):
    """What a document means, given something else; `inside` are the meanings that it was made from."""

    document: object
    given: tuple[object, ...]
    value: object
    inside: tuple[_Key, ...]


class Meanings:
    """The meanings of documents, by what is asked of them. The document is kept, so that no other has its identity."""

    def __init__(self) -> None:
        self._now: dict[_Key, _Meaning] = {}
        self._before: dict[_Key, _Meaning] = {}
        self._inside: list[list[_Key]] = [[]]

    def turn(self) -> None:
        """Begin another reading."""
        self._before, self._now = self._now, {}
        self._inside = [[]]

    def forget(self) -> None:
        """Take up nothing next time: something is wrong with this text, and has to be told again."""
        self._now = {}

    def of(self, what: str, document: object, given: tuple[object, ...], make: Callable[[], T]) -> T:
        """What `make` answers, or has answered for the very same document, given the same.

        It must depend on nothing else, but for findings. Nobody may change what it answers.
        """
        key = (what, id(document))
        self._inside[-1].append(key)
        known = self._now.get(key) or self._before.get(key)
        if known is not None and known.document is document and known.given == given:
            self._keep(key)
            return known.value  # type: ignore[return-value] # what was made for this question
        self._inside.append([])
        value = make()
        self._now[key] = _Meaning(document, given, value, tuple(self._inside.pop()))
        return value

    def adopt(self, spec: ModelSpec) -> None:
        """Let what is named in a spec be its objects: those of the spec before, where these mean the same."""
        named: dict[str, Mapping[str, object]] = {"entity": spec.entities, "service": spec.services, "flow": spec.flows}
        for key, kept in self._now.items():
            if key[0] in named:
                same = named[key[0]].get(kept.value.name)  # type: ignore[attr-defined] # all of them have names
                if same is not None and same is not kept.value and not _converts(kept.value):
                    self._now[key] = kept._replace(value=same)

    def _keep(self, key: _Key) -> None:
        """Take a meaning of the reading before into this one, with what is inside: the next edit may be in there."""
        waiting = [key]
        while waiting:
            one = waiting.pop()
            if one not in self._now and one in self._before:
                kept = self._now[one] = self._before[one]
                waiting += kept.inside


def _converts(value: object) -> bool:
    """Whether it says how rows get to a new type, in which equal entities may differ."""
    attributes: Mapping[str, object] = getattr(value, "attributes", {})
    return any(getattr(one, "using", None) is not None for one in attributes.values())
