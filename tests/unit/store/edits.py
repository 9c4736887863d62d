"""A model that is edited again and again, and what every edit means for the values that were stored.

Owns the edits that a generated test makes, and the book that it keeps: which stored column each
attribute continues, by the rules that users are told. Does not know how the store does it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, TypeVar

from tests.unit.store.models import attribute, entity, key, model, sentence
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Attribute, Constraint, Entity, Rule

T = TypeVar("T")

ATTRIBUTES = ("a", "b", "c", "d")
ENTITIES = ("Team", "User", "Loan")
DOMAINS = ("shop", "store", "mall")
CLUB = "club"
"""Another model, whose entities this one refers to; they are renamed at times."""

KEYS = ("uuid", "integer", "text")
WIDER = {"integer": ("decimal", "text"), "decimal": ("integer",), "uuid": ("text",)}
"""The types that each type may become, where every value has a counterpart."""

KINDS = {"text": "string", "integer": "integer", "decimal": "decimal", "json": "json", "tags": "string", "uuid": "uuid"}
"""The types that stay themselves whatever an edit does, with what each is as a kind."""

VALUES: dict[str, Sequence[Any]] = {
    "text": ("a", "bb", "çç'"),
    "integer": (7, 0, -5, 2**53 + 1),
    "decimal": ("1.50", "-0.25"),
    "json": ([1], {"a": None}, "x"),
    "tags": (["a"], [], ["bb", "a"]),
}
"""What is written; the first of each passes every limit, and is the default."""

MEMBERS = ((), ("a",), ("a", "bb"), ("bb", "a", "çç'"))
_ORDERED = frozenset({"text", "integer", "decimal", "uuid"})


Key = str | int


@dataclass(slots=True, eq=False)
class Column:
    """What was accepted for one attribute, by the key of its row, under whatever name and type it went.

    `values` are of the type `family`, the last one that was accepted.
    """

    family: str
    last: Shape
    values: dict[Key, Any] = field(default_factory=dict)

    def seen_as(self, family: str) -> dict[Key, Any]:
        """What a revision reads that knows the attribute under another type."""
        return {row: converted(value, self.family, family) for row, value in self.values.items()}


@dataclass(frozen=True, slots=True)
class Shape:
    """What the file says of an attribute; `left` is the name that it had before, `declared`: the file says so.

    `to` is an entity of the model, or one of the other as `club.Person`.
    """

    family: str = ""
    required: bool = False
    unique: bool = False
    index: bool = False
    positive: bool = False
    default: bool = False
    limit: int | None = None
    members: tuple[str, ...] = ()
    to: str | None = None
    stable_id: str | None = None
    left: str | None = None
    declared: bool = False


@dataclass(slots=True, eq=False)
class Table:
    """An entity: what serves it now, what is parked of it; shared by all its revisions: its rows and `book`."""

    key: str = "uuid"
    rows: set[Any] = field(default_factory=set)
    book: list[Column] = field(default_factory=list)
    live: dict[str, tuple[Column, Shape]] = field(default_factory=dict)
    parked: dict[tuple[str, str], Column] = field(default_factory=dict)
    left: str | None = None

    def columns(self) -> Iterable[tuple[str, Column]]:
        """All that is stored of it, by the name of the attribute."""
        yield from ((name, column) for name, (column, _) in self.live.items())
        yield from ((name, column) for (name, _), column in self.parked.items())

    def park(self, name: str) -> None:
        column, column.last = self.live.pop(name)
        self.parked[name, column.family] = column

    def serve(self, name: str, family: str, shape: Shape) -> None:
        column = self.parked.pop((name, family), None)
        if column is None:
            column = Column(family, shape)
            self.book.append(column)
        self.live[name] = column, replace(shape, family=family)


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit, as numbers of whatever there is to choose from by then."""

    what: str
    table: int
    column: int
    choice: int


class World:
    """A model as its file says it, with the book of what is stored; `edited` answers another one."""

    def __init__(self) -> None:
        self.domain = "shop"
        self.left: str | None = None
        team = Table()
        for name, family in (("a", "integer"), ("b", "decimal"), ("c", "text")):
            team.serve(name, family, Shape())
        self.live: dict[str, Table] = {"Team": team}
        self.parked: dict[str, Table] = {}
        self.club: dict[str, Table] = {"Person": Table(), "Badge": Table("integer")}

    def edited(self, edit: Edit) -> World | None:
        """The model after an edit, with the same columns; None where the edit has no sense."""
        after = World()
        after.domain, after.left = self.domain, self.left
        after.live = {name: _copy(table) for name, table in self.live.items()}
        after.parked = {name: _copy(table) for name, table in self.parked.items()}
        after.club = {name: _copy(table) for name, table in self.club.items()}
        return after if EDITS[edit.what](after, edit) else None

    def settle(self) -> None:
        """Keep in the book that the model was accepted: what became of values whose type has changed."""
        for table in self.live.values():
            for column, shape in table.live.values():
                column.values = column.seen_as(shape.family)
                column.family = shape.family

    def linked(self) -> LinkedModel:
        entities = [self._entity(name, table) for name, table in self.live.items()]
        return model(*entities, domain=self.domain, renamed_from=self.left, others=[self.linked_club()])

    def linked_club(self) -> LinkedModel:
        return model(*(self._entity(name, table) for name, table in self.club.items()), domain=CLUB)

    def target(self, to: str) -> Table:
        """The entity that is referred to."""
        return self.club[to.removeprefix(f"{CLUB}.")] if "." in to else self.live[to]

    def targets(self, family: str) -> list[str]:
        """The entities whose key is of this type."""
        own = [name for name, table in self.live.items() if table.key == family]
        return own + [f"{CLUB}.{name}" for name, table in self.club.items() if table.key == family]

    def columns(self) -> Iterable[tuple[str, str, Column]]:
        """Everything that was ever stored, under the names (entity, attribute) by which it comes back."""
        for entity_name, table in (*self.live.items(), *self.parked.items()):
            for name, column in table.columns():
                yield entity_name, name, column

    def _entity(self, name: str, table: Table) -> Entity:
        return entity(
            name,
            *(self._attribute(one, shape) for one, (_, shape) in table.live.items()),
            key=key_of(table),
            constraints=[_positive(one) for one, (_, shape) in table.live.items() if shape.positive],
            renamed_from=table.left,
        )

    def _attribute(self, name: str, shape: Shape) -> Attribute:
        family = shape.family
        facts: dict[str, Any] = {
            "required": shape.required,
            "unique": shape.unique,
            "index": shape.index,
            "stable_id": shape.stable_id,
            "renamed_from": shape.left if shape.declared else None,
            "default": VALUES[family][0] if shape.default and shape.to is None else None,
        }
        if shape.to is not None:
            to = shape.to if "." in shape.to else f"{self.domain}.{shape.to}"
            return attribute(name, "reference", to=to, **facts)
        if family == "text":
            facts |= {"max_length": shape.limit, "members": shape.members}
        elif family == "integer":
            facts |= {"maximum": None if shape.limit is None else Decimal(7 * shape.limit)}
        elif family == "tags":
            facts |= {"is_list": True}
        elif family == "decimal":
            facts |= {"scale": 2}
        return attribute(name, "enum" if shape.members else KINDS[family], **facts)


def plain(world: World, columns: Iterable[tuple[str, str, str]]) -> LinkedModel:
    """All entities that ever were, with some attributes (entity, name, type), nothing demanded of any of them."""
    chosen = list(columns)
    return model(
        *(
            entity(
                name,
                *(world._attribute(one, Shape(family=family)) for owner, one, family in chosen if owner == name),
                key=key_of(table),
            )
            for name, table in (*world.live.items(), *world.parked.items())
        ),
        domain=world.domain,
    )


def pick(choices: Iterable[T], number: int) -> T:
    found = list(choices)
    return found[number % len(found)]


def key_of(table: Table) -> Attribute:
    kind = {"text": "string"}.get(table.key, table.key)
    return attribute("id", kind, primary_key=True, required=True)


def key_for(family: str, number: int) -> Key:
    """A key that no other number gives."""
    if family == "integer":
        return number
    return key(number) if family == "uuid" else f"k{number}"


def converted(value: Any, before: str, after: str) -> Any:
    """A value in another type: None where it has no counterpart there."""
    if before == after or value is None:
        return value
    if before == "text":
        return _of_text(value, after)
    if after == "text":
        return None if before == "decimal" and _integer(value) is None else str(_integer(value) or value)
    if after == "integer":
        return _integer(value)
    return f"{value}.00" if after == "decimal" else None


def _of_text(value: str, after: str) -> Any:
    if after == "uuid":
        return value if len(value) == len(key(1)) else None
    if not re.fullmatch("0|-?[1-9][0-9]*", value):
        return None
    return int(value) if after == "integer" else f"{value}.00"


def _integer(value: Any) -> int | None:
    """Of an integer, or of a decimal without digits behind the point."""
    if isinstance(value, int):
        return value
    found = re.fullmatch(r"(-?[0-9]+)\.00", value)
    return None if found is None else int(found[1])


def value_for(shape: Shape, targets: Iterable[Key], number: int) -> Any:
    """A value that the revision's validators let through; not always one that the database takes."""
    family = shape.family
    if family == "uuid" or shape.to is not None:
        return pick((*sorted(targets), key_for(family, number)), number)
    fitting = [value for value in VALUES[family] if _fits(family, shape, value)]
    return pick(fitting if shape.required else (*fitting, None), number)


def _fits(family: str, shape: Shape, value: Any) -> bool:
    if family == "text":
        return (not shape.members or value in shape.members) and (shape.limit is None or len(value) <= shape.limit)
    return family != "integer" or shape.limit is None or value <= 7 * shape.limit


def _positive(name: str) -> Constraint:
    return sentence(f"{name} must be positive", Rule.GREATER, name, bound=Decimal(0))


def _copy(table: Table) -> Table:
    return Table(table.key, table.rows, table.book, dict(table.live), dict(table.parked), table.left)


# -- edits: each changes the model that it gets, or answers False ----------------------------------


def _table(world: World, edit: Edit) -> Table:
    return pick(world.live.values(), edit.table)


def _free(names: Iterable[str], taken: Iterable[str], number: int) -> str | None:
    found = [name for name in names if name not in set(taken)]
    return pick(found, number) if found else None


def _add(world: World, edit: Edit) -> bool:
    table = _table(world, edit)
    name = _free(ATTRIBUTES, table.live, edit.column)
    if name is None:
        return False
    family = pick((*KINDS, "text", "integer"), edit.choice)
    shape = Shape(
        required=edit.choice % 5 == 0,
        default=edit.choice % 3 == 0 and family != "uuid",
        unique=edit.choice % 7 == 0 and family in _ORDERED,
        index=edit.choice % 4 == 1 and family in _ORDERED,
        stable_id=f"id-{edit.choice}-{edit.column}" if edit.choice % 2 == 0 else None,
        to=_some_target(world, family, edit) if edit.choice % 3 else None,
    )
    if shape.stable_id in {other.stable_id for _, other in table.live.values()}:
        shape = replace(shape, stable_id=None)
    table.serve(name, family, shape)
    return True


def _some_target(world: World, family: str, edit: Edit) -> str | None:
    """Something to refer to; seldom for what is no UUID, so that there are plain values too."""
    found = world.targets(family)
    return pick(found, edit.choice) if found and (family == "uuid" or edit.choice % 2) else None


def _remove(world: World, edit: Edit) -> bool:
    table = _table(world, edit)
    if not table.live:
        return False
    table.park(pick(table.live, edit.column))
    return True


def _rename(world: World, edit: Edit) -> bool:
    return _move(world, edit, lambda shape, old: replace(shape, left=old, declared=True))


def _rename_by_id(world: World, edit: Edit) -> bool:
    def moved(shape: Shape, old: str) -> Shape | None:
        return None if shape.stable_id is None else replace(shape, left=old, declared=False)

    return _move(world, edit, moved)


def _move(world: World, edit: Edit, moved: Callable[[Shape, str], Shape | None]) -> bool:
    table = _table(world, edit)
    new = _free(ATTRIBUTES, table.live, edit.choice)
    if new is None or not table.live:
        return False
    old = pick(table.live, edit.column)
    column, shape = table.live[old]
    after = moved(shape, old)
    if after is None:
        return False
    del table.live[old]
    table.live[new] = column, after
    return True


def _take_rename_back(world: World, edit: Edit) -> bool:
    """Write the name as it was before, and no word of a rename: the data follows, unless that name has data."""
    table = _table(world, edit)
    renamed = [name for name, (_, shape) in table.live.items() if shape.left and shape.left not in table.live]
    if not renamed:
        return False
    name = pick(renamed, edit.column)
    column, shape = table.live[name]
    assert shape.left is not None
    bare = replace(shape, left=None, declared=False, stable_id=None)
    if any(parked == shape.left for parked, _ in table.parked):
        table.park(name)
        table.serve(shape.left, column.family, bare)
    else:
        del table.live[name]
        table.live[shape.left] = column, replace(bare, left=name)
    return True


def _bring_back(world: World, edit: Edit) -> bool:
    table = _table(world, edit)
    found = [(name, family) for name, family in table.parked if name not in table.live]
    if not found:
        return False
    name, family = pick(found, edit.column)
    shape = table.parked[name, family].last if edit.choice % 2 else Shape()
    if shape.to is not None and shape.to not in world.targets(family):
        shape = replace(shape, to=None)
    if not shape.declared:
        shape = replace(shape, left=None)
    table.serve(name, family, shape)
    return True


def _change_type(world: World, edit: Edit) -> bool:
    """Give an attribute another type, and take the limits away that this one may not have."""

    def change(family: str, shape: Shape) -> Shape:
        if family not in WIDER or shape.to is not None:
            return shape
        wider = pick(WIDER[family], edit.choice)
        return replace(shape, family=wider, limit=None, members=(), positive=False)

    return _change(world, edit, change)


def _change(world: World, edit: Edit, change: Callable[[str, Shape], Shape]) -> bool:
    table = _table(world, edit)
    if not table.live:
        return False
    name = pick(table.live, edit.column)
    column, shape = table.live[name]
    table.live[name] = column, change(shape.family, shape)
    return table.live[name][1] != shape


def _require(world: World, edit: Edit) -> bool:
    return _change(world, edit, lambda _, shape: replace(shape, required=not shape.required))


def _make_unique(world: World, edit: Edit) -> bool:
    return _change(world, edit, lambda family, shape: replace(shape, unique=not shape.unique and family in _ORDERED))


def _index(world: World, edit: Edit) -> bool:
    return _change(world, edit, lambda family, shape: replace(shape, index=not shape.index and family in _ORDERED))


def _check(world: World, edit: Edit) -> bool:
    return _change(
        world,
        edit,
        lambda family, shape: replace(
            shape, positive=not shape.positive and family in {"integer", "decimal"} and shape.to is None
        ),
    )


def _limit(world: World, edit: Edit) -> bool:
    return _change(world, edit, lambda _, shape: replace(shape, limit=pick((None, 1, 2), edit.choice)))


def _enumerate(world: World, edit: Edit) -> bool:
    return _change(
        world,
        edit,
        lambda family, shape: replace(shape, members=pick(MEMBERS, edit.choice) if family == "text" else ()),
    )


def _refer(world: World, edit: Edit) -> bool:
    def change(family: str, shape: Shape) -> Shape:
        to = pick((None, *world.targets(family)), edit.choice)
        return replace(shape, to=to, positive=shape.positive and to is None)

    return _change(world, edit, change)


def _tidy(world: World, edit: Edit) -> bool:
    """Remove every word of a rename from the file, as one may once it was applied."""
    world.left = None
    for table in world.live.values():
        table.left = None
        for name, (column, shape) in table.live.items():
            table.live[name] = column, replace(shape, declared=False)
    return True


def _add_entity(world: World, edit: Edit) -> bool:
    name = _free(ENTITIES, world.live, edit.choice)
    if name is None:
        return False
    table = world.parked.pop(name, None) or Table(pick(KEYS, edit.column))
    # What it had is not in the file that brings it back: its attributes are parked one by one.
    for one in list(table.live):
        table.park(one)
    table.left = None
    world.live[name] = table
    return True


def _remove_entity(world: World, edit: Edit) -> bool:
    if len(world.live) == 1:
        return False
    gone = pick(world.live, edit.table)
    for table in world.live.values():
        for name, (_, shape) in list(table.live.items()):
            if shape.to == gone:
                table.park(name)
    world.parked[gone] = world.live.pop(gone)
    return True


def _rename_entity(world: World, edit: Edit) -> bool:
    new = _free(ENTITIES, world.live, edit.choice)
    if new is None:
        return False
    old = pick(world.live, edit.table)
    # A parked table of that name stays in the book: then the rename is refused.
    world.live[new] = world.live.pop(old)
    world.live[new].left = old
    for table in world.live.values():
        for name, (column, shape) in table.live.items():
            if shape.to == old:
                table.live[name] = column, replace(shape, to=new)
    return True


def _rename_in_the_club(world: World, edit: Edit) -> bool:
    """The other model renames an entity that this one refers to, in one change set."""
    old = pick(world.club, edit.table)
    new = pick([name for name in ("Person", "Human", "Badge", "Token") if name not in world.club], edit.choice)
    world.club[new] = world.club.pop(old)
    world.club[new].left = old
    for table in world.live.values():
        for name, (column, shape) in table.live.items():
            if shape.to == f"{CLUB}.{old}":
                table.live[name] = column, replace(shape, to=f"{CLUB}.{new}")
    return True


def _rename_model(world: World, edit: Edit) -> bool:
    world.left, world.domain = world.domain, pick((one for one in DOMAINS if one != world.domain), edit.choice)
    return True


EDITS: dict[str, Callable[[World, Edit], bool]] = {
    "add": _add,
    "remove": _remove,
    "rename": _rename,
    "rename by id": _rename_by_id,
    "take a rename back": _take_rename_back,
    "bring back": _bring_back,
    "require": _require,
    "make unique": _make_unique,
    "index": _index,
    "check": _check,
    "limit": _limit,
    "enumerate": _enumerate,
    "refer": _refer,
    "change the type": _change_type,
    "tidy": _tidy,
    "add an entity": _add_entity,
    "remove an entity": _remove_entity,
    "rename an entity": _rename_entity,
    "rename the model": _rename_model,
    "rename in the club": _rename_in_the_club,
}
