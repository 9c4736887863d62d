"""Which stored name a name of the model continues: renames as they are declared, never guessed.

Owns the rule for attributes and entities alike; a rename of a whole model is `apply`'s, who asks
the catalog for the other model's tables. A rename that is in effect already is nothing, and one
that is taken back is undone: the catalog remembers the last name that was left.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final, Protocol, TypeVar

from watcherd.store.layout import StoredAttribute, StoredEntity

_SIMILAR: Final = 0.6
"""From this ratio on two names look alike; `mail` and `email` have 0.89, `name` and `title` 0.2."""

_IMPLIED: Final = frozenset({"created_at", "updated_at"})
"""What every entity has, alike or not."""


class Named(Protocol):
    """What a table and a column have in common."""

    @property
    def name(self) -> str:
        """The name that it serves, or served."""

    @property
    def parked(self) -> bool:
        """Whether it is out of service."""

    @property
    def renamed_from(self) -> str | None:
        """The last name that it had before this one."""


S = TypeVar("S", bound=Named)


@dataclass(frozen=True, slots=True)
class Clash:
    """Why a declared rename cannot be: two stores of data would have one name."""

    message: str
    hint: str


def predecessor(name: str, old: str | None, stored: Sequence[S], wanted: Container[str]) -> S | Clash | None:
    """What `name` continues under its declared old name; None where it is not a rename.

    `wanted` are all names that the model has now. What is parked under the old name follows too. What
    is parked under the new one has to be empty, see `namesakes`.
    """
    live = {one.name: one for one in stored if not one.parked}
    parked = {one.name: one for one in stored if one.parked}
    if old is None or old == name:
        return None if name in live else _taken_back(name, stored, wanted)
    if name in live and (old not in live or live[name].renamed_from == old):
        return None
    if name in live:
        return _clash(name, old, f"{name} has stored data of its own", f"remove `renamed_from: {old}` from {name}")
    source = live.get(old, parked.get(old))
    if source is not None and old in wanted:
        return _clash(name, old, f"{old} is still there", f"remove {old}, or `renamed_from: {old}` from {name}")
    return source


def same_id(stable_id: str | None, stored: Sequence[StoredAttribute], wanted: Container[str]) -> StoredAttribute | None:
    """The column in service whose attribute had this `id`, and whose name the model no longer has."""
    if stable_id is None:
        return None
    return next(
        (one for one in stored if not one.parked and one.name not in wanted and one.facts.get("id") == stable_id), None
    )


def namesakes(name: str, continued: S, stored: Sequence[S]) -> list[S]:
    """What is parked under the name that something else gets by a rename: it gives way where nothing is stored in it.

    So it is with a rename that was forgotten to be declared: what that has made is empty.
    """
    return [one for one in stored if one.parked and one.name == name and one is not continued]


def namesake_hint(old: str) -> str:
    """What can be done about a namesake that is not empty."""
    return f"choose another name, or drop what is parked with `watcherd prune`, or take back the rename from {old}"


def look_alike_table(gone: Sequence[StoredEntity], new: StoredEntity) -> StoredEntity | None:
    """What leaves service and may be the new entity under its old name: half of the attributes or more are the same."""
    own = _told_by(new)
    shared = {one.table: len(own & _told_by(one)) for one in gone}
    alike = [one for one in gone if 0 < max(len(own), len(_told_by(one))) <= 2 * shared[one.table]]
    return max(alike, key=lambda one: shared[one.table], default=None)


def _told_by(entity: StoredEntity) -> set[tuple[str, str]]:
    return {(one.name, one.type) for one in entity.attributes if not (one.parked or one.is_key or one.name in _IMPLIED)}


def look_alike(gone: Sequence[tuple[int, StoredAttribute]], place: int, new: StoredAttribute) -> StoredAttribute | None:
    """What leaves service and may be the new attribute under its old name; places are positions in the entity."""
    for position, one in gone:
        ratio = SequenceMatcher(None, one.name.casefold(), new.name.casefold()).ratio()
        if one.type == new.type and (position == place or ratio >= _SIMILAR):
            return one
    return None


def _taken_back(name: str, stored: Sequence[S], wanted: Container[str]) -> S | None:
    """What left this name by a declared rename, and leaves its newer name now."""
    if any(one.name == name for one in stored):
        return None
    return next((one for one in stored if not one.parked and one.renamed_from == name and one.name not in wanted), None)


def _clash(name: str, old: str, why: str, hint: str) -> Clash:
    return Clash(f"{old} cannot become {name}: {why}", hint)
