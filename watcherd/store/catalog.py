"""The catalog: what the database itself knows about the tables in it.

Owns the reading and writing of layouts: functions over a cursor, called inside somebody's transaction.
Which revision was applied from which file is in `records`, the catalog's own tables in `catalog_tables`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from watcherd.pim.linked import Target
from watcherd.pim.spec import EntityRef, OnDelete
from watcherd.store.cursor import Cursor, any_among, insert, put
from watcherd.store.layout import Layout, Referrer, StoredAttribute, StoredConstraint, StoredEntity, Surroundings
from watcherd.store.names import Names

T = TypeVar("T")

_ENTITY_COLUMNS: Final = ("table_name", "model", "entity", "position", "parked", "renamed_from")
_ATTRIBUTE_COLUMNS: Final = (
    "table_name", "column_name", "attribute", "position", "parked", "is_key", "type", "facts", "target_model",
    "target_entity", "target_table", "target_column",
)  # fmt: skip
_CONSTRAINT_COLUMNS: Final = (
    "name", "table_name", "position", "kind", "label", "attributes", "columns", "retired",
)  # fmt: skip

_ENTITIES: Final = (
    "SELECT e.model, e.table_name, e.entity, e.parked, e.renamed_from FROM watcherd_entity AS e {} ORDER BY e.position"
)
_ATTRIBUTES: Final = (
    "SELECT a.table_name, a.attribute, a.column_name, a.type, a.facts, a.is_key, a.parked, a.target_model, "
    "a.target_entity, a.target_table, a.target_column FROM watcherd_attribute AS a "
    "JOIN watcherd_entity AS e USING (table_name) {} ORDER BY a.position"
)
_CONSTRAINTS: Final = (
    "SELECT c.table_name, c.kind, c.name, c.label, c.attributes, c.columns, c.retired "
    "FROM watcherd_constraint AS c JOIN watcherd_entity AS e USING (table_name) {} ORDER BY c.position"
)

_PUT_ENTITY: Final = put("watcherd_entity", _ENTITY_COLUMNS, key=1)


def layout(cursor: Cursor, model: str) -> Layout:
    """The tables of a model as last applied."""
    entities = _entities(lambda sql: cursor.execute(sql.format("WHERE e.model = ?"), (model,)))
    named = cursor.execute("SELECT renamed_from FROM watcherd_model WHERE model = ?", (model,)).fetchone()
    return Layout(model, tuple(entities.get(model, ())), None if named is None else named[0])


def known(cursor: Cursor, model: str) -> Layout | None:
    """The tables of a model; None if the catalog has no record of it."""
    found = cursor.execute("SELECT 1 FROM watcherd_model WHERE model = ?", (model,)).fetchone()
    return None if found is None else layout(cursor, model)


def layouts(cursor: Cursor) -> dict[str, Layout]:
    """The tables of every model that was ever applied, by folded name."""
    entities = _entities(lambda sql: cursor.stream(sql.format("")))
    models = cursor.execute("SELECT model, renamed_from FROM watcherd_model ORDER BY model")
    return {model: Layout(model, tuple(entities.get(model, ())), renamed_from) for model, renamed_from in models}


def _entities(rows: Callable[[str], Iterable[Any]]) -> dict[str, list[StoredEntity]]:
    """The tables by model; `rows` are those of a query in which `{}` is the place for a condition on the entity."""
    attributes: dict[str, list[StoredAttribute]] = {}
    for row in rows(_ATTRIBUTES):
        attributes.setdefault(row[0], []).append(_attribute(row))
    constraints: dict[str, list[StoredConstraint]] = {}
    for row in rows(_CONSTRAINTS):
        constraints.setdefault(row[0], []).append(_constraint(row))
    found: dict[str, list[StoredEntity]] = {}
    for model, table, entity, parked, renamed_from in rows(_ENTITIES):
        stored = StoredEntity(
            name=entity,
            table=table,
            parked=bool(parked),
            renamed_from=renamed_from,
            attributes=tuple(attributes.get(table, ())),
            constraints=tuple(constraints.get(table, ())),
        )
        found.setdefault(model, []).append(stored)
    return found


def write_layout(cursor: Cursor, old: Layout, new: Layout) -> None:
    """Bring the catalog from one layout to the next, of another model where it was renamed.

    Only what differs is written: `old` is what the catalog says.
    """
    known = {entity.table: (position, entity) for position, entity in enumerate(old.entities)}
    if old.model != new.model:
        known.clear()
        cursor.execute("UPDATE watcherd_attribute SET target_model = ? WHERE target_model = ?", (new.model, old.model))
    for position, entity in enumerate(new.entities):
        place, before = known.get(entity.table, (-1, None))
        if before is None:
            _forget_entity(cursor, entity)
            _write_entities(cursor, [(new.model, position, entity)])
            continue
        own = entity.name, int(entity.parked), entity.renamed_from
        if (place, before.name, int(before.parked), before.renamed_from) != (position, *own):
            name, *rest = own
            cursor.execute(_PUT_ENTITY, (entity.table, new.model, name, position, *rest))
        if before is not entity:
            _KEPT_ATTRIBUTES.write(cursor, entity.table, before.attributes, entity.attributes)
            _KEPT_CONSTRAINTS.write(cursor, entity.table, before.constraints, entity.constraints)


def write_first(cursor: Cursor, layouts: Iterable[Layout]) -> None:
    """Write the layouts of models of which the catalog has none."""
    _write_entities(
        cursor, ((layout.model, place, entity) for layout in layouts for place, entity in enumerate(layout.entities))
    )


def replace_layout(cursor: Cursor, old: Layout, new: Layout) -> None:
    """Forget the tables that are gone, then as `write_layout`."""
    kept = {entity.table for entity in new.entities}
    for entity in old.entities:
        if entity.table not in kept:
            _forget_entity(cursor, entity)
    write_layout(cursor, old, new)


def _forget_entity(cursor: Cursor, entity: StoredEntity) -> None:
    for table in ("watcherd_entity", "watcherd_attribute", "watcherd_constraint"):
        cursor.execute(f"DELETE FROM {table} WHERE table_name = ?", (entity.table,))  # noqa: S608 - our own names


def has_table(cursor: Cursor, table: str) -> bool:
    """Whether a table of this name is in the catalog, of whatever model."""
    return cursor.execute("SELECT 1 FROM watcherd_entity WHERE table_name = ?", (table,)).fetchone() is not None


def any_table(cursor: Cursor, tables: Sequence[str]) -> bool:
    """Whether one of these tables is in the catalog."""
    return any_among(cursor, "watcherd_entity", "table_name", tables)


def place(cursor: Cursor, target: Target) -> tuple[str, str] | None:
    """Table and key column of what another model's entity is stored in; None if it is not yet.

    One that is renamed in the same change set is found under its old name.
    """
    places = [found for ref in (target.ref, *target.formerly) if (found := _place(cursor, ref)) is not None]
    return min(places, key=lambda one: one[2])[:2] if places else None


def surroundings(cursor: Cursor, targets: Iterable[Target]) -> Surroundings:
    """What a plan has to know of the tables there are, and of the `targets` in other models."""
    tables = cursor.execute("SELECT table_name FROM watcherd_entity").fetchall()
    return Surroundings(
        dialect=cursor.dialect,
        tables=Names(name for (name,) in tables),
        targets={target.ref: found for target in targets if (found := place(cursor, target)) is not None},
    )


def _place(cursor: Cursor, ref: EntityRef) -> tuple[str, str, int] | None:
    """Table, key column and parked of an entity by name; the one in service, if there are several."""
    found: tuple[str, str, int] | None = cursor.execute(
        "SELECT e.table_name, a.column_name, e.parked FROM watcherd_entity AS e "
        "JOIN watcherd_attribute AS a ON a.table_name = e.table_name AND a.is_key = 1 "
        "WHERE e.model = ? AND e.entity = ? ORDER BY e.parked LIMIT 1",
        (ref.model, ref.entity),
    ).fetchone()
    return found


def of_table(cursor: Cursor, table: str) -> StoredEntity:
    """What a table of the catalog is like."""
    (model,) = cursor.execute("SELECT model FROM watcherd_entity WHERE table_name = ?", (table,)).fetchone()
    return layout(cursor, model).of_table(table)


def constraints_of(cursor: Cursor, table: str) -> tuple[StoredConstraint, ...]:
    """The constraints of one table: what an integrity error has to be explained with."""
    rows = cursor.execute(
        "SELECT table_name, kind, name, label, attributes, columns, retired FROM watcherd_constraint "
        "WHERE table_name = ? ORDER BY position",
        (table,),
    )
    return tuple(_constraint(row) for row in rows)


def check_of(cursor: Cursor, name: str) -> tuple[str, str] | None:
    """The entity and the label of a check, of whatever table."""
    found: tuple[str, str] | None = cursor.execute(
        "SELECT e.entity, c.label FROM watcherd_constraint AS c JOIN watcherd_entity AS e USING (table_name) "
        "WHERE c.name = ?",
        (name,),
    ).fetchone()
    return found


def referrers(cursor: Cursor, table: str) -> tuple[Referrer, ...]:
    """The columns that refer to a table, those of other models and those out of service too."""
    rows = cursor.execute(
        "SELECT e.model, e.entity, a.attribute, e.table_name, a.column_name, "
        "e.parked + a.parked + CASE m.state WHEN 'parked' THEN 1 ELSE 0 END, a.facts "
        "FROM watcherd_attribute AS a JOIN watcherd_entity AS e USING (table_name) "
        "JOIN watcherd_model AS m USING (model) WHERE a.target_table = ? ORDER BY e.entity, a.position",
        (table,),
    )
    return tuple(
        Referrer(
            model=row[0],
            entity=row[1],
            attribute=row[2],
            table=row[3],
            column=row[4],
            parked=bool(row[5]),
            restricts=json.loads(row[6]).get("on_delete") == OnDelete.RESTRICT,
        )
        for row in rows
    )


def references(cursor: Cursor, tables: Iterable[str]) -> tuple[tuple[str, StoredAttribute], ...]:
    """The columns with a foreign key that are in one of these tables, or refer to one, each with its table."""
    found: dict[tuple[str, str], StoredAttribute] = {}
    for table in tables:
        for row in cursor.execute(
            "SELECT table_name, attribute, column_name, type, facts, is_key, parked, target_model, target_entity, "
            "target_table, target_column FROM watcherd_attribute "
            "WHERE target_table IS NOT NULL AND (table_name = ? OR target_table = ?)",
            (table, table),
        ).fetchall():
            found[row[0], row[2]] = _attribute(row)
    return tuple((table, attribute) for (table, _), attribute in found.items())


def awaiting(cursor: Cursor, tables: Sequence[str]) -> Mapping[str, list[StoredAttribute]]:
    """The columns that refer to one of these tables from other models, by their table."""
    found: dict[str, list[StoredAttribute]] = {}
    for table in tables:
        for row in cursor.execute(
            "SELECT a.table_name, a.attribute, a.column_name, a.type, a.facts, a.is_key, a.parked, a.target_model, "
            "a.target_entity, a.target_table, a.target_column FROM watcherd_attribute AS a "
            "JOIN watcherd_entity AS e USING (table_name) JOIN watcherd_entity AS t ON t.table_name = a.target_table "
            "WHERE a.target_table = ? AND e.model <> t.model",
            (table,),
        ).fetchall():
            found.setdefault(row[0], []).append(_attribute(row))
    return found


def drop_constraint(cursor: Cursor, name: str) -> bool:
    """Forget a constraint if it is still retired; whether it was: it may have come back to life, or be gone."""
    return cursor.execute("DELETE FROM watcherd_constraint WHERE name = ? AND retired = 1", (name,)).rowcount > 0


def _attribute(row: tuple[Any, ...]) -> StoredAttribute:
    return StoredAttribute(
        name=row[1],
        column=row[2],
        type=row[3],
        facts=json.loads(row[4]),
        is_key=bool(row[5]),
        parked=bool(row[6]),
        target=None if row[7] is None else EntityRef(row[7], row[8]),
        target_table=row[9],
        target_column=row[10],
    )


def _constraint(row: tuple[Any, ...]) -> StoredConstraint:
    return StoredConstraint(
        kind=row[1],
        name=row[2],
        label=row[3],
        attributes=tuple(json.loads(row[4])),
        columns=tuple(json.loads(row[5])),
        retired=bool(row[6]),
    )


def _write_entities(cursor: Cursor, entities: Iterable[tuple[str, int, StoredEntity]]) -> None:
    """Write tables that the catalog does not know, each with its model and its place in it."""
    entities = list(entities)
    insert(
        cursor,
        "watcherd_entity",
        _ENTITY_COLUMNS,
        [
            (entity.table, model, entity.name, position, int(entity.parked), entity.renamed_from)
            for model, position, entity in entities
        ],
    )
    insert(
        cursor,
        "watcherd_attribute",
        _ATTRIBUTE_COLUMNS,
        [
            _attribute_row(entity.table, place, attribute)
            for _, _, entity in entities
            for place, attribute in enumerate(entity.attributes)
        ],
    )
    insert(
        cursor,
        "watcherd_constraint",
        _CONSTRAINT_COLUMNS,
        [
            _constraint_row(entity.table, place, constraint)
            for _, _, entity in entities
            for place, constraint in enumerate(entity.constraints)
        ],
    )


def _attribute_row(table: str, place: int, attribute: StoredAttribute) -> tuple[Any, ...]:
    target = attribute.target
    return (
        table,
        attribute.column,
        attribute.name,
        place,
        int(attribute.parked),
        int(attribute.is_key),
        attribute.type,
        json.dumps(attribute.facts, ensure_ascii=False, sort_keys=True),
        None if target is None else target.model,
        None if target is None else target.entity,
        attribute.target_table,
        attribute.target_column,
    )


def _constraint_row(table: str, place: int, constraint: StoredConstraint) -> tuple[Any, ...]:
    return (
        constraint.name,
        table,
        place,
        constraint.kind,
        constraint.label,
        json.dumps(constraint.attributes, ensure_ascii=False),
        json.dumps(constraint.columns, ensure_ascii=False),
        int(constraint.retired),
    )


@dataclass(frozen=True, slots=True)
class _Parts(Generic[T]):
    """How one kind of what a table has is kept: what it goes by in its table, its row, and the statements."""

    name: Callable[[T], str]
    row: Callable[[str, int, T], tuple[Any, ...]]
    put: str
    delete: str

    def write(self, cursor: Cursor, table: str, old: Sequence[T], new: Sequence[T]) -> None:
        """Write those that differ, or stand at another place, and take away what is no more."""
        before = {self.name(part): (place, part) for place, part in enumerate(old)}
        rows = [
            self.row(table, place, part)
            for place, part in enumerate(new)
            if before.pop(self.name(part), None) != (place, part)
        ]
        if before:
            cursor.executemany(self.delete, [(table, name) for name in before])
        if rows:
            cursor.executemany(self.put, rows)


_KEPT_ATTRIBUTES: Final[_Parts[StoredAttribute]] = _Parts(
    lambda attribute: attribute.column,
    _attribute_row,
    put("watcherd_attribute", _ATTRIBUTE_COLUMNS, key=2),
    "DELETE FROM watcherd_attribute WHERE table_name = ? AND column_name = ?",
)
_KEPT_CONSTRAINTS: Final[_Parts[StoredConstraint]] = _Parts(
    lambda constraint: constraint.name,
    _constraint_row,
    put("watcherd_constraint", _CONSTRAINT_COLUMNS, key=1),
    "DELETE FROM watcherd_constraint WHERE table_name = ? AND name = ?",
)
