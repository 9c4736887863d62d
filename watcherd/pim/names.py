"""What names are made of, and the spellings that are made from them: snake_case, kebab-case, plural.

Two names collide when they are the same after conversion, so every comparison goes through here.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pluralizer import Pluralizer

_DOMAIN = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_SEGMENT = re.compile(r"[^\W_]+([-_][^\W_]+)*")
_WORD_START = re.compile(r"(?<=[^\W_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_LONGEST_NAME = 128


def nfc(name: str) -> str:
    """The composed form: how a name is spelt must not depend on the editor that wrote it."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def is_domain(text: str) -> bool:
    """Whether a text may be a model's domain."""
    return len(text) <= _LONGEST_NAME and _DOMAIN.fullmatch(text) is not None


def is_segment(text: str) -> bool:
    """Whether a text may be a path segment of our own: words of any script, joined by `-` or `_`."""
    return len(text) <= _LONGEST_NAME and _SEGMENT.fullmatch(text) is not None


def name_fault(name: str) -> str | None:
    """What is wrong with the name of an entity, an attribute or a parameter; None where nothing is."""
    if not name:
        return "a name cannot be empty"
    if len(name) > _LONGEST_NAME:
        return f"a name has at most {_LONGEST_NAME} characters"
    hidden = next((letter for letter in name if letter != " " and (letter.isspace() or not letter.isprintable())), None)
    if hidden is not None:
        return f"it has the character U+{ord(hidden):04X}, which cannot be told from a space, or not be seen"
    if not name.isidentifier():
        return "a name is made of letters, digits and `_`, and begins with a letter"
    if name.startswith("_"):
        return "a name cannot begin with `_`"
    return "a name cannot contain `__`" if "__" in name else None


@lru_cache(maxsize=4096)
def snake(name: str) -> str:
    """`OrderItem`, `orderItem`, `order-item` -> `order_item`; `HTTPServer` -> `http_server`."""
    return _WORD_START.sub("_", name.replace("-", "_")).lower()


def kebab(name: str) -> str:
    """`registerUser` -> `register-user`."""
    return snake(name).replace("_", "-")


@lru_cache(maxsize=4096)
def forms(name: str) -> frozenset[str]:
    """What a name is compared by: two names that share a form cannot stand beside each other."""
    return frozenset({name.casefold(), snake(name)})


class Place(NamedTuple):
    """Where a name is declared: a path of the document, and whether at its key rather than at its value."""

    path: tuple[str | int, ...]
    key: bool = False


class Taken:
    """Names that stand beside each other, and where each was taken first."""

    def __init__(self) -> None:
        self._by_form: dict[str, str] = {}
        self._places: dict[str, Place] = {}

    def take(self, name: str, place: Place | None = None) -> str | None:
        """Take a name that is declared at a place; answers the one that has taken it before, if any."""
        shared = forms(name)
        for form in shared:
            if form in self._by_form:
                return self._by_form[form]
        self._by_form.update(dict.fromkeys(shared, name))
        if place is not None:
            self._places[name] = place
        return None

    def place_of(self, name: str) -> Place | None:
        """Where a name was taken, if that is known; `name` is what `take` answered."""
        return self._places.get(name)


@lru_cache(maxsize=4096)
def plural(name: str) -> str:
    """The path segment of an entity: `OrderItem` -> `order-items`; a name outside ASCII is its own plural."""
    if not name.isascii():
        return name
    *before, last = kebab(name).split("-")
    return "-".join([*before, str(_pluralizer().plural(last))])


@lru_cache(maxsize=1)
def _pluralizer() -> Pluralizer:
    from pluralizer import Pluralizer  # noqa: PLC0415 - compiles its rules on import, and few commands need them

    return Pluralizer()  # type: ignore[no-untyped-call]  # the library has no annotations
