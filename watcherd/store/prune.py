"""Dropping what is parked: the only way in which stored data ever leaves.

Owns the list of what is parked with its row counts, what holds it, and the drop. Does not own how
it is saved before (`backup`), who else uses the database (`hold`, on a server `holders`), nor
asking (the command line).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from watcherd.errors import StoreError
from watcherd.store import backup, catalog, holders, records, sync
from watcherd.store.cursor import Cursor
from watcherd.store.layout import Layout, StoredEntity
from watcherd.store.names import quoted
from watcherd.store.remake import check_references, drop_columns

Gone = Literal["attribute", "type", "entity", "model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """One column or table out of service.

    `gone` says what left the files: an attribute, the type that it had, an entity, or a whole
    model; a column of an earlier type holds nothing that its attribute does not. `rows` are those of
    the table, of a column those that have a value in it. `held_by` names the columns in service
    that refer to the table: while there are any, it cannot go.
    """

    model: str
    entity: str
    attribute: str | None
    table: str
    column: str | None
    gone: Gone
    rows: int
    held_by: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As people know it, such as `shop.User.phone`."""
        return ".".join(part for part in (self.model, self.entity, self.attribute) if part is not None)


def parked(cursor: Cursor) -> tuple[Parked, ...]:
    """Everything that is out of service, by model."""
    states = dict(cursor.execute("SELECT model, state FROM watcherd_model ORDER BY model").fetchall())
    found: list[Parked] = []
    for model, layout in catalog.layouts(cursor).items():
        for entity in layout.entities:
            if states[model] == "parked":
                found.append(_table(cursor, model, entity, "model"))
            elif entity.parked:
                found.append(_table(cursor, model, entity, "entity"))
            else:
                found += _columns(cursor, model, entity)
    return tuple(found)


def drop(cursor: Cursor, chosen: Sequence[Parked]) -> None:
    """Drop what is parked, and forget it. Runs apart; StoreError for what came back or is held meanwhile."""
    now = set(parked(cursor))
    for one in chosen:
        if one not in now:
            raise StoreError(f"cannot drop {one.name}: it has changed since it was listed")
        if one.held_by:
            raise StoreError(f"cannot drop {one.name}: {', '.join(one.held_by)} still refers to it")
    tables = {one.table for one in chosen if one.column is None}
    columns = {(one.table, one.column) for one in chosen if one.column is not None}
    _refuse_what_is_left(cursor, chosen, tables, columns)
    dropped: list[StoredEntity] = []
    remaining: list[str] = []
    for layout in catalog.layouts(cursor).values():
        after = _without(layout, tables, columns)
        for entity in layout.entities:
            if entity.table in tables:
                dropped.append(entity)
                continue
            gone = {column for table, column in columns if table == entity.table}
            if gone:
                drop_columns(cursor, entity, gone)
            remaining.append(entity.table)
        if after != layout:
            catalog.replace_layout(cursor, layout, after)
    _drop_tables(cursor, dropped)  # after the columns that referred to them
    check_references(cursor, remaining)


def _refuse_what_is_left(
    cursor: Cursor, chosen: Sequence[Parked], tables: set[str], columns: set[tuple[str, str]]
) -> None:
    """StoreError for what stays, out of service, and refers to what goes: it could not come back."""
    for one in chosen:
        if one.column is not None:
            continue
        for left in catalog.referrers(cursor, one.table):
            if left.table not in tables and (left.table, left.column) not in columns:
                name = f"{left.model}.{left.entity}.{left.attribute}"
                raise StoreError(
                    f"cannot drop {one.name}: {name}, which is out of service, still refers to it: drop both together"
                )


def save_and_drop(cursor: Cursor, chosen: Sequence[Parked], data_dir: Path) -> Path:
    """Save what is parked and drop it, on a server, in one transaction; returns the directory with what was saved.

    StoreError as `drop`, and while a process holds a revision that is not the one in service.
    """
    states = records.applied(cursor)
    for model in dict.fromkeys(one.model for one in chosen):
        applied = states.get(model)
        serves = None if applied is None or applied.state == "parked" else applied.revision
        who = holders.users(cursor, model, serves)
        if who is not None:
            raise StoreError(f"cannot drop what {model} has out of service: {who}: try again in a while")
    target = backup.new_directory(data_dir)
    layouts = catalog.layouts(cursor)
    content = []
    for one in chosen:
        stored = layouts[one.model].of_table(one.table)
        kept = [item for item in stored.attributes if one.column is None or item.is_key or item.column == one.column]
        where = "TRUE" if one.column is None else f"{quoted(one.column)} IS NOT NULL"
        file = f"{one.table}.ndjson" if one.column is None else f"{one.table}.{one.column}.ndjson"
        rows = backup.save_rows(cursor, one.table, [item.column for item in kept], where, target / file)
        types = {item.column: item.type for item in kept}
        content.append({"file": file, "name": one.name, "gone": one.gone, "rows": rows, "types": types})
    backup.save_description(target, content)
    drop(cursor, chosen)
    return target


def _drop_tables(cursor: Cursor, entities: Sequence[StoredEntity]) -> None:
    """Drop tables, which may refer to each other."""
    for entity in entities:
        for constraint in entity.constraints:
            if constraint.kind == "sync":
                # On a server its function would be left.
                for statement in sync.drop(cursor.dialect, constraint.name, entity.table):
                    cursor.execute(statement)
    tables = [quoted(entity.table) for entity in entities]
    # SQLite takes one at a time, and looks at no foreign key meanwhile; a server takes all at once, or none.
    for some in tables if cursor.dialect.references_in_tables else [", ".join(tables)] if tables else []:
        cursor.execute(f"DROP TABLE {some}")


def _table(cursor: Cursor, model: str, entity: StoredEntity, gone: Gone) -> Parked:
    return Parked(
        model=model,
        entity=entity.name,
        attribute=None,
        table=entity.table,
        column=None,
        gone=gone,
        rows=_count(cursor, f"SELECT count(*) FROM {quoted(entity.table)}"),  # noqa: S608 - quoted names
        held_by=tuple(
            f"{one.entity}.{one.attribute}" for one in catalog.referrers(cursor, entity.table) if not one.parked
        ),
    )


def _columns(cursor: Cursor, model: str, entity: StoredEntity) -> Iterable[Parked]:
    for one in entity.attributes:
        if one.parked:
            yield Parked(
                model=model,
                entity=entity.name,
                attribute=one.name,
                table=entity.table,
                column=one.column,
                gone="type" if one.is_rest else "attribute",
                rows=_count(cursor, f"SELECT count({quoted(one.column)}) FROM {quoted(entity.table)}"),  # noqa: S608 - quoted names
            )


def _count(cursor: Cursor, sql: str) -> int:
    row: tuple[Any, ...] = cursor.execute(sql).fetchone()
    return int(row[0])


def _without(layout: Layout, tables: set[str], columns: set[tuple[str, str]]) -> Layout:
    kept = []
    for entity in layout.entities:
        if entity.table in tables:
            continue
        gone = {column for table, column in columns if table == entity.table}
        kept.append(entity.without(gone) if gone else entity)
    return Layout(layout.model, tuple(kept), layout.renamed_from)
