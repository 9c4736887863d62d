"""An entity as the code behind methods sees it: the same validators, rules and versions as the API.

Owns the one difference: `read_only` attributes are closed to clients, not to the model's own code,
which is how they come to have a value. What the server sets stays the server's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from watcherd import problems
from watcherd.compile import etag, reading, values
from watcherd.compile.bodies import Bodies, changed, compile_bodies, created, read
from watcherd.compile.deletions import Deletions
from watcherd.compile.entity import Rules
from watcherd.compile.operators import Filterable, filterable
from watcherd.compile.options import Options
from watcherd.compile.query import is_scalar
from watcherd.compile.reading import nearest
from watcherd.errors import TooManyRowsError
from watcherd.pim.linked import LinkedModel
from watcherd.pim.operators import MEMBERSHIP, ORDER, TEXT
from watcherd.pim.spec import Attribute, Entity
from watcherd.problems import Finding, Problem
from watcherd.services.access import Found, Plain, Step, plain
from watcherd.services.context import MAX_FOUND
from watcherd.store import Cursor, Filter, ModelTables, Row, Select


class RowAccess:
    """One entity, for the methods of one revision."""

    __slots__ = ("_bodies", "_deletions", "_filterables", "_key", "_key_name", "_plain", "_rows", "_sortable", "name")

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of an entity, put together once
        self,
        entity: Entity,
        linked: LinkedModel,
        tables: ModelTables,
        options: Options,
        deletions: Deletions,
        bodies: Bodies | None = None,
    ) -> None:
        """`bodies` are those of the API, where they are at hand: without `read_only` attributes they will do."""
        targets = linked.targets
        self.name = entity.name
        self._rows = tables.entities[entity.name]
        self._deletions = deletions
        if bodies is None or any(item.read_only for item in entity.attributes.values()):
            open_ = {name: replace(item, read_only=False) for name, item in entity.attributes.items()}
            bodies = compile_bodies(replace(entity, attributes=MappingProxyType(open_)), targets, options)
        self._bodies: Bodies = bodies
        self._filterables = {item.name: filterable(item, targets) for item in entity.attributes.values()}
        self._sortable = tuple(item.name for item in entity.attributes.values() if is_scalar(item))
        self._key = values.text_reader(entity.key, targets)
        self._key_name = entity.key.name
        kinds = ((item, values.resolve(item, targets).kind) for item in entity.attributes.values())
        self._plain = tuple(
            (item.name, convert) for item, kind in kinds if (convert := plain(kind, is_list=item.is_list)) is not None
        )

    def found(self, row: Row) -> Found:
        """A row with its values in Python's types."""
        found = Found(row.values, row.version)
        for name, convert in self._plain:
            if found[name] is not None:
                found[name] = convert(found[name])
        return found

    def get(self, key: Any) -> Step[Row | None]:
        """The row of this key, None where there is none."""
        read_key = self._read_key(key)
        return _no_row if read_key is None else self._rows.getting(read_key)

    def find(self, conditions: Mapping[str, Any], *, sort: str | None, limit: int | None, skip: int) -> Step[list[Row]]:
        """The rows that meet all conditions; null is neither above nor below anything, nor part of it.

        ValueError for a condition that makes no sense, `Problem` 422 for a value that none can have,
        TooManyRowsError.
        """
        most = MAX_FOUND if limit is None else limit
        if not 0 <= most <= MAX_FOUND or skip < 0:
            raise ValueError(f"find: limit is from 0 to {MAX_FOUND}, and skip is not negative")
        filters = [self._condition(name, value) for name, value in conditions.items()]
        if None in filters:
            return lambda _: []
        select = Select(
            filters=tuple(one for one in filters if one is not None),
            sort=self._sort(sort),
            skip=skip,
            limit=most if limit is not None else most + 1,
            count=False,
        )
        finding = self._rows.finding(select)

        def step(cursor: Cursor) -> list[Row]:
            rows = finding(cursor)
            if limit is None and len(rows) > MAX_FOUND:
                raise TooManyRowsError(f"find brings over {MAX_FOUND} rows of {self.name}: give it a limit")
            return rows

        return step

    def create(self, values: Mapping[str, Any]) -> Step[Row]:
        """A new row."""
        row, findings = created(self._bodies, values)
        if findings:
            raise self._invalid(findings)
        inserting = self._rows.inserting([row])

        def step(cursor: Cursor) -> Row:
            [new] = inserting(cursor)
            return new

        return step

    def seeding(self, values: Mapping[str, Any]) -> Step[Row]:
        """A row as an example gives it: in any state, and with a key and times where those are given."""
        fixed = {name: value for name, value in values.items() if name in self._bodies.unsent and value is not None}
        begun = replace(self._bodies, states=None)
        sent = {name: value for name, value in values.items() if name not in fixed}
        row, findings = created(begun, sent, fixed=fixed)
        if findings:
            raise self._invalid(findings)
        inserting = self._rows.inserting([row])
        return lambda cursor: inserting(cursor)[0]

    def update(self, key: Any, changes: Mapping[str, Any], *, version: int | None) -> Step[Row]:
        """A row with some values changed; JSON attributes are merged, as by a PATCH."""
        sent, known = read(self._bodies, changes, frozenset())

        def change(row: Row) -> Mapping[str, Any]:
            etag.require_version(None if version is None else {version}, row.version)
            new, findings = changed(self._bodies, row.values, sent, known, whole=False)
            if findings:
                raise self._invalid(findings)
            return new

        updating = self._rows.updating(self._required_key(key), change)

        def step(cursor: Cursor) -> Row:
            row = updating(cursor)
            if row is None:
                raise self._no_such_row(key)
            return row

        return step

    def delete(self, key: Any, *, version: int | None) -> Step[None]:
        """A row less."""
        wanted = None if version is None else {version}
        own = self._required_key(key)
        deleting = self._deletions.deleting(self.name, own, lambda found: etag.require_version(wanted, found))

        def step(cursor: Cursor) -> None:
            if not deleting(cursor):
                raise self._no_such_row(key)

        return step

    def _condition(self, parameter: str, value: Any) -> Filter | None:
        """The condition of a parameter; None for one that no row meets."""
        name, _, operator = parameter.rpartition("__")
        if not name or parameter in self._filterables:
            name, operator = parameter, "eq"
        item = self._filterables.get(name)
        if item is None:
            raise ValueError(f"find: {self.name} has no attribute {name!r}{nearest(name, self._filterables)}")
        if value is None and operator in {"eq", "ne"}:
            return Filter(name, "is_null" if operator == "eq" else "is_not_null")
        if operator not in item.operators:
            raise ValueError(f"find: {name} has no operator {operator!r}{nearest(operator, item.operators)}")
        if operator == "isnull":
            return Filter(name, "is_null" if value else "is_not_null")
        if value is None:
            return None
        try:
            compared = _compared(item, operator, value)
        except (ValueError, TypeError) as error:
            finding = Finding(reading.pointer(()), "value", f"{self.name}: {parameter}: {error}")
            raise Problem(problems.VALIDATION, finding.message, errors=[finding]) from error
        if operator in MEMBERSHIP and not compared.value:
            # Nothing is among nothing, and everything is not: the key is never null.
            return None if operator == "in" else Filter(self._key_name, "is_not_null")
        return compared

    def _sort(self, text: str | None) -> tuple[tuple[str, bool], ...]:
        order = []
        for part in text.split(",") if text else ():
            name = part.strip().removeprefix("-")
            if name not in self._sortable:
                raise ValueError(f"find: {self.name} cannot be sorted by {name!r}{nearest(name, self._sortable)}")
            order.append((name, part.strip().startswith("-")))
        return tuple(order)

    def _read_key(self, key: Any) -> Any:
        """The key as it is stored; None for what its type cannot have, which belongs to no row."""
        try:
            return None if key is None else self._key(_text(key))
        except ValueError:
            return None

    def _required_key(self, key: Any) -> Any:
        read_key = self._read_key(key)
        if read_key is None:
            raise self._no_such_row(key)
        return read_key

    def _invalid(self, findings: list[Finding]) -> Problem:
        problem = reading.invalid(findings)
        return Problem(problem.type, f"{self.name}: {problem.detail}", errors=problem.errors)

    def _no_such_row(self, key: Any) -> Problem:
        return Problem(problems.NO_SUCH_ROW, f"{self.name} has no row {str(key)!r}")


def _no_row(_: Cursor) -> Row | None:
    return None


def _compared(item: Filterable, operator: str, value: Any) -> Filter:
    assert item.read is not None  # noqa: S101 - an attribute without a reader knows `isnull` alone
    if operator in MEMBERSHIP:
        if not isinstance(value, list):
            raise TypeError("expected a list")
        return Filter(item.name, operator, tuple(item.read(_text(one)) for one in value if one is not None))
    if item.is_list:
        return Filter(item.name, "has_item", item.read(_text(value)))
    read_value = item.read_text if operator in ORDER or operator in TEXT else item.read
    return Filter(item.name, operator, read_value(_text(value)))


def _text(value: Any) -> str:
    """A wire value as a query string would have it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def compile_access(
    linked: LinkedModel, tables: ModelTables, options: Options, rules: Mapping[str, Rules], deletions: Deletions
) -> Mapping[str, RowAccess]:
    """The entities of a model, by name, for its methods; `rules` are what its requests are held to."""
    return MappingProxyType(
        {
            entity.name: RowAccess(entity, linked, tables, options, deletions, rules[entity.name].bodies)
            for entity in linked.spec.entities.values()
        }
    )


class Seeds:
    """Stores the rows that examples give; what an entity takes for it is made once, for all examples."""

    def __init__(self, linked: LinkedModel, tables: ModelTables, options: Options) -> None:
        self._entities = linked.spec.entities
        self._tables = tables
        nothing = Deletions(linked.spec.name, {}, options.beside)  # nothing is deleted here
        self._access = lru_cache(None)(lambda name: RowAccess(self._entities[name], linked, tables, options, nothing))

    async def fill(self, given: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Store rows by entity, those first that others refer to. `Problem`, ConstraintError."""
        entities = self._entities
        unknown = next((name for name in given if name not in entities), None)
        if unknown is not None:
            raise Problem(problems.NO_SUCH_ENTITY, f"there is no entity {unknown!r}{nearest(unknown, entities)}")
        waiting = {
            name: {
                end.target.entity
                for end in entities[name].to_one
                if any(row.get(end.attribute) is not None for row in rows)
            }
            - {name}
            for name, rows in given.items()
        }
        while waiting:
            ready = [name for name, needs in waiting.items() if not needs & waiting.keys()] or list(waiting)
            for name in ready:
                for row in given[name]:
                    await self._tables.write(self._access(name).seeding(row))
                del waiting[name]


def plain_parameters(
    linked: LinkedModel, given: Mapping[str, Attribute | tuple[Attribute, ...]]
) -> Mapping[str, Plain]:
    """How the wire values of parameters come to Python: `given` is each as an attribute, or its entity's attributes."""
    converters: dict[str, Plain] = {}
    for name, attributes in given.items():
        if isinstance(attributes, Attribute):
            kind = values.resolve(attributes, linked.targets).kind
            if (convert := plain(kind, is_list=attributes.is_list)) is not None:
                converters[name] = convert
            continue
        kinds = {item.name: (values.resolve(item, linked.targets).kind, item.is_list) for item in attributes}
        own = {key: convert for key, (kind, many) in kinds.items() if (convert := plain(kind, is_list=many))}
        if own:
            converters[name] = _Converted(own)
    return MappingProxyType(converters)


class _Converted:
    """Converts the members of a row, or of each of a list of rows."""

    __slots__ = ("_own",)

    def __init__(self, own: Mapping[str, Plain]) -> None:
        self._own = own

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {
            name: self._own[name](one) if name in self._own and one is not None else one for name, one in value.items()
        }
