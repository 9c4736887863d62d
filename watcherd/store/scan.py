"""The look at the rows before a change that depends on them.

Owns counting the rows in the way and naming the first of them. Runs on a reader for a plan, and
again in the write transaction of the change, where nothing can slip in between.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any, Final

from pydantic_core import SchemaValidator, ValidationError, core_schema

from watcherd.errors import EvaluationError
from watcherd.expressions import Expression
from watcherd.pim.scopes import SELF
from watcherd.pim.values import is_multiple
from watcherd.store.codecs import codec_for
from watcherd.store.cursor import Cursor
from watcherd.store.limits import Limit
from watcherd.store.names import alias
from watcherd.store.plan import KEY_ALIAS, Rejection, Scan

_SHOWN: Final = 3


def rows_in_the_way(cursor: Cursor, scans: tuple[Scan, ...]) -> tuple[Rejection, ...]:
    """One rejection for each scan that finds rows."""
    found = ((scan, *_look(cursor, scan)) for scan in scans)
    return tuple(_rejection(scan, count, first) for scan, count, first in found if count)


def _look(cursor: Cursor, scan: Scan) -> tuple[int, list[Any]]:
    """How many rows are in the way, and the keys of the first."""
    if scan.limit is not None:
        return _counted(_breaking(cursor, scan, scan.limit))
    if scan.expression is not None:
        return _counted(_failing(cursor, scan, scan.expression))
    condition = f"FROM {scan.source} WHERE {scan.violation}"
    first = cursor.execute(f"SELECT {KEY_ALIAS} {condition} ORDER BY {KEY_ALIAS} LIMIT {_SHOWN + 1}").fetchall()
    if len(first) <= _SHOWN:
        return len(first), [key for (key,) in first]
    (count,) = cursor.execute(f"SELECT count(*) {condition}").fetchone()
    return count, [key for (key,) in first[:_SHOWN]]


def _counted(keys: Iterable[Any]) -> tuple[int, list[Any]]:
    """How many there are, and the first of them; reads to the end, as a stream has to be."""
    count, first = 0, []
    for key in keys:
        count += 1
        if count <= _SHOWN:
            first.append(key)
    return count, first


def _breaking(cursor: Cursor, scan: Scan, limit: Limit) -> Iterator[Any]:
    """The keys of the rows that break a limit that SQL cannot express."""
    passes = _predicate(limit)
    column = alias(str(scan.column))
    rows = cursor.stream(
        f"SELECT {KEY_ALIAS}, {column} FROM {scan.source} WHERE {column} IS NOT NULL ORDER BY {KEY_ALIAS}"  # noqa: S608 - built by `looks`
    )
    for key, stored in rows:
        items = [item for item in json.loads(stored) if item is not None] if scan.is_list else [stored]
        if not all(passes(item) for item in items):
            yield key


def _failing(cursor: Cursor, scan: Scan, expression: Expression) -> Iterator[Any]:
    """The same for an expression that SQL does not answer; a row for which it fails is in the way as well."""
    codecs = [codec_for(one) for one in scan.held]
    columns = ", ".join(alias(name) for name in scan.attributes)
    for key, *stored in cursor.stream(f"SELECT {KEY_ALIAS}, {columns} FROM {scan.source} ORDER BY {KEY_ALIAS}"):  # noqa: S608 - built by `looks`
        row = {name: codec.wire(one) for name, codec, one in zip(scan.attributes, codecs, stored, strict=True)}
        try:
            passes = expression.holds({**row, SELF: row}) is not False
        except EvaluationError:
            passes = False
        if not passes:
            yield key


def _predicate(limit: Limit) -> Callable[[Any], bool]:
    if limit.regex is not None:
        # The validators' own engine: another one would understand some patterns differently.
        validator = SchemaValidator(core_schema.str_schema(pattern=limit.regex))

        def matches(value: Any) -> bool:
            try:
                validator.validate_python(value)
            except ValidationError:
                return False
            return True

        return matches
    step = limit.multiple_of
    return lambda value: step is None or is_multiple(Decimal(str(value)), step)


def _rejection(scan: Scan, count: int, first: list[Any]) -> Rejection:
    rows = "1 row" if count == 1 else f"{count} rows"
    ids = f"first ids {', '.join(map(str, first))}" if count > 1 else f"id {first[0]}"
    place = ".".join(name for name in (scan.entity, scan.attribute) if name)
    found = f"{rows} in the way ({ids}): they {scan.demand}"
    return Rejection(
        code=scan.code,
        entity=scan.entity or None,
        attribute=scan.attribute,
        message=f"{place}: {found}" if place else found,
        hint=scan.hint,
        rows=count,
        first_ids=tuple(map(str, first)),
    )
