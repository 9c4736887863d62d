"""A model that is edited again and again, and what every edit means for the values that were stored.

Owns the edits that a generated test makes, and the book that it keeps: which stored column each
attribute continues, by the rules that users are told. Does not know how the store does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, TypeVar

from tests.unit.store.models import attribute, entity, key, model, sentence
from watcherd.pim.spec import Attribute, Constraint, Entity, LinkedModel, Rule

T = TypeVar("T")

ATTRIBUTES = ("a", "b", "c", "d")
ENTITIES = ("Team", "User", "Loan")
DOMAINS = ("shop", "store", "mall")
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


@dataclass(slots=True, eq=False)
class Column:
    """What was accepted for one attribute, by the key of its row, under whatever name it went."""

    family: str
    last: Shape
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shape:
    """What the file says of an attribute; `left` is the name that it had before, `declared`: the file says so."""

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

    rows: set[str] = field(default_factory=set)
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
        self.live[name] = column, shape


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
        self.live: dict[str, Table] = {"Team": Table()}
        self.parked: dict[str, Table] = {}

    def edited(self, edit: Edit) -> World | None:
        """The model after an edit, with the same columns; None where the edit has no sense."""
        after = World()
        after.domain, after.left = self.domain, self.left
        after.live = {name: _copy(table) for name, table in self.live.items()}
        after.parked = {name: _copy(table) for name, table in self.parked.items()}
        return after if EDITS[edit.what](after, edit) else None

    def linked(self) -> LinkedModel:
        entities = [self._entity(name, table) for name, table in self.live.items()]
        return model(*entities, domain=self.domain, renamed_from=self.left)

    def columns(self) -> Iterable[tuple[str, str, Column]]:
        """Everything that was ever stored, under the names (entity, attribute) by which it comes back."""
        for entity_name, table in (*self.live.items(), *self.parked.items()):
            for name, column in table.columns():
                yield entity_name, name, column

    def _entity(self, name: str, table: Table) -> Entity:
        return entity(
            name,
            *(self._attribute(one, column.family, shape) for one, (column, shape) in table.live.items()),
            constraints=[_positive(one) for one, (_, shape) in table.live.items() if shape.positive],
            renamed_from=table.left,
        )

    def _attribute(self, name: str, family: str, shape: Shape) -> Attribute:
        facts: dict[str, Any] = {
            "required": shape.required,
            "unique": shape.unique,
            "index": shape.index,
            "stable_id": shape.stable_id,
            "renamed_from": shape.left if shape.declared else None,
            "default": VALUES[family][0] if shape.default else None,
        }
        if family == "text":
            facts |= {"max_length": shape.limit, "members": shape.members}
        elif family == "integer":
            facts |= {"maximum": None if shape.limit is None else Decimal(7 * shape.limit)}
        elif family == "tags":
            facts |= {"is_list": True}
        elif family == "decimal":
            facts |= {"scale": 2}
        kind = "enum" if shape.members else KINDS[family]
        if shape.to is not None:
            kind, facts["to"] = "reference", f"{self.domain}.{shape.to}"
        return attribute(name, kind, **facts)


def plain(world: World, columns: Iterable[tuple[str, str, str]]) -> LinkedModel:
    """All entities that ever were, with some attributes (entity, name, type), nothing demanded of any of them."""
    chosen = list(columns)
    return model(
        *(
            entity(name, *(world._attribute(one, family, Shape()) for owner, one, family in chosen if owner == name))
            for name in (*world.live, *world.parked)
        ),
        domain=world.domain,
    )


def pick(choices: Iterable[T], number: int) -> T:
    found = list(choices)
    return found[number % len(found)]


def value_for(family: str, shape: Shape, targets: Iterable[str], number: int) -> Any:
    """A value that the revision's validators let through; not always one that the database takes."""
    if family == "uuid":
        return pick((*sorted(targets), key(number)), number)
    fitting = [value for value in VALUES[family] if _fits(family, shape, value)]
    return pick(fitting if shape.required else (*fitting, None), number)


def _fits(family: str, shape: Shape, value: Any) -> bool:
    if family == "text":
        return (not shape.members or value in shape.members) and (shape.limit is None or len(value) <= shape.limit)
    return family != "integer" or shape.limit is None or value <= 7 * shape.limit


def _positive(name: str) -> Constraint:
    return sentence(f"{name} must be positive", Rule.GREATER, name, bound=Decimal(0))


def _copy(table: Table) -> Table:
    return Table(table.rows, table.book, dict(table.live), dict(table.parked), table.left)


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
        to=pick(world.live, edit.choice) if family == "uuid" and edit.choice % 3 else None,
    )
    if shape.stable_id in {other.stable_id for _, other in table.live.values()}:
        shape = replace(shape, stable_id=None)
    table.serve(name, family, shape)
    return True


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
    if shape.to not in world.live:
        shape = replace(shape, to=None)
    if not shape.declared:
        shape = replace(shape, left=None)
    table.serve(name, family, shape)
    return True


def _change(world: World, edit: Edit, change: Callable[[str, Shape], Shape]) -> bool:
    table = _table(world, edit)
    if not table.live:
        return False
    name = pick(table.live, edit.column)
    column, shape = table.live[name]
    table.live[name] = column, change(column.family, shape)
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
        lambda family, shape: replace(shape, positive=not shape.positive and family in {"integer", "decimal"}),
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
    to = pick((None, *world.live), edit.choice)
    return _change(world, edit, lambda family, shape: replace(shape, to=to if family == "uuid" else None))


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
    table = world.parked.pop(name, None) or Table()
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
    "tidy": _tidy,
    "add an entity": _add_entity,
    "remove an entity": _remove_entity,
    "rename an entity": _rename_entity,
    "rename the model": _rename_model,
}
