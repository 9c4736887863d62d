"""The endpoints of one entity: list, create, read, replace, patch, delete, and the lists below a row.

Owns the order of what happens in a request to an entity and its answers' headers. Does not own
what a body may say (bodies), what a query may say (query), what a list shows (pages), nor how rows are
kept (store).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from pydantic_core import to_json

from watcherd import problems
from watcherd.compile import etag, reading
from watcherd.compile.bodies import Bodies, changed, compile_bodies, created, read
from watcherd.compile.carried import Sight
from watcherd.compile.conflicts import conflict
from watcherd.compile.deletions import Deletions
from watcherd.compile.export import Format, FormatName, formats
from watcherd.compile.pages import Pages
from watcherd.compile.query import (
    ListQuery,
    compile_query,
    read_query,
    read_view,
    reader_of,
    refuse_parameters,
)
from watcherd.compile.relations import Exposed, compile_relations, shown
from watcherd.compile.values import Reader, text_reader
from watcherd.compile.writes import Work
from watcherd.errors import ConstraintError
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Entity
from watcherd.problems import Finding, Problem
from watcherd.store import Cursor, Filter, ModelTables, Row
from watcherd.wire import JSON, Answer, Call

_AT_A_TIME = 100
"""Rows that are validated before others have their turn: more of them take a thread."""

Values = Mapping[str, Any]
Change = Callable[[Row], Values]


class EntityEndpoints:
    """One entity's operations on its rows; made once per revision, holds no state of a request."""

    __slots__ = ("_asked", "_bodies", "_deletions", "_hidden", "_key", "_name", "_pages", "_plural", "_query", "_rows",
                 "_tables")  # fmt: skip

    def __init__(  # noqa: PLR0913 - the parts of an entity, put together once
        self,
        entity: Entity,
        siblings: Mapping[str, Exposed],
        tables: ModelTables,
        *,
        model: str,
        bodies: Bodies,
        query: ListQuery,
        key: Reader,
        deletions: Deletions,
    ) -> None:
        own = siblings[entity.name]
        self._name = entity.name
        self._plural = quote(entity.plural)
        self._rows = own.rows
        self._hidden = own.hidden
        self._pages = Pages(model, siblings, own, query)
        self._tables = tables
        self._bodies = bodies
        self._query = query
        self._asked = reader_of(query)
        self._key = key
        self._deletions = deletions

    @property
    def bodies(self) -> Bodies:
        """What clients may send."""
        return self._bodies

    @property
    def query(self) -> ListQuery:
        """What clients may ask of lists."""
        return self._query

    async def list(self, call: Call) -> Answer:
        """200: a page of rows."""
        return await self._pages.answer(call, self._asked(call.query), self._path(call))

    def list_at_once(self, call: Call) -> Answer | None:
        """The same without waiting; None where that cannot be."""
        return self._pages.at_once(call, self._asked(call.query), self._path(call))

    async def list_below(self, call: Call, within: Filter) -> Answer:
        """200: a page of the rows that belong to a row of another entity, at the path of the call."""
        asked = read_query(self._query, call.query, within)
        parent, key, children = call.segments[:3]
        path = "/".join([quote(call.base), *(quote(segment, safe="") for segment in (parent, key, children))])
        return await self._pages.answer(call, asked, path)

    async def create(self, call: Call) -> Work:
        """201: the new row, or the new rows of an array: all or none."""
        refuse_parameters(call.query)
        body = await reading.read_json(call, reading.JSON_ONLY, exact=self._bodies.exact)
        if isinstance(body, list) and len(body) > _AT_A_TIME:
            return await asyncio.to_thread(self.creating, body, call.base)
        return self.creating(body, call.base)

    def creating(self, body: Any, base: str) -> Work:
        """201: what a body creates, in a model at `base`. Raises `Problem` 422."""
        if isinstance(body, list):
            return self._creating_all(body)
        values, findings = created(self._bodies, body)
        if findings:
            raise reading.invalid(findings)
        insert = self._rows.inserting([values])

        def work(cursor: Cursor) -> Answer:
            [row] = insert(cursor)
            body = to_json(shown(row, self._hidden))
            key = quote(str(row.values[self._bodies.key]), safe="")
            # The path as the client wrote the model's name, percent-encoded.
            location = f"{_quoted(base)}/{self._plural}/{key}".encode("ascii")
            return Answer(201, body, JSON, [(b"location", location), (b"etag", etag.etag(row.version, body))])

        return work

    def _creating_all(self, items: Sequence[Any]) -> Work:
        if len(items) > self._bodies.max_rows:
            raise Problem(
                problems.BODY_TOO_LARGE, f"{len(items)} rows are over the {self._bodies.max_rows} of one request"
            )
        batch: list[dict[str, Any]] = []
        findings: list[Finding] = []
        for index, item in enumerate(items):
            values, found = created(self._bodies, item, (index,))
            batch.append(values)
            findings += found
            if len(findings) > reading.MAX_FINDINGS:
                break
        if findings:
            raise reading.invalid(findings)
        insert = self._rows.inserting(batch)

        def work(cursor: Cursor) -> Answer:
            try:
                rows = insert(cursor)
            except ConstraintError as error:
                raise conflict(error, batch=True) from error
            return Answer(201, to_json({"items": [shown(row, self._hidden) for row in rows]}))

        return work

    async def read(self, call: Call) -> Answer:
        """200: the row; 304 when the client has it already."""
        text = call.segments[1]
        key = self._key_of(text)
        if not call.query:
            row = await self._rows.get(key)
            return self._as_read(call, text, row, None if row is None else shown(row, self._hidden))
        found = await self._pages.row(call, key, read_view(self._query, call.query))
        return self._as_read(call, text, *(found or (None, None)))

    def read_at_once(self, call: Call) -> Answer | None:
        """The same without waiting; None where that cannot be."""
        if call.query or not self._rows.answers_at_once:
            return None
        text = call.segments[1]
        row = self._rows.get_at_once(self._key_of(text))
        return self._as_read(call, text, row, None if row is None else shown(row, self._hidden))

    def _as_read(self, call: Call, text: str, row: Row | None, values: Values | None) -> Answer:
        if row is None:
            raise self._no_such_row(text)
        body = to_json(values)
        tag = etag.etag(row.version, body)
        if etag.is_known(call.header(b"if-none-match"), tag):
            return Answer(304, headers=[(b"etag", tag)])
        return Answer(200, body, JSON, [(b"etag", tag)])

    async def require(self, call: Call) -> Any:
        """The key in the path, of a row that exists. Raises `Problem` 404."""
        text = call.segments[1]
        key = self._key_of(text)
        if await self._rows.get(key) is None:
            raise self._no_such_row(text)
        return key

    async def replace(self, call: Call) -> Answer:
        """200: the row, replaced as a whole."""
        return await self._write(call, reading.JSON_ONLY, whole=True)

    async def patch(self, call: Call) -> Answer:
        """200: the row, with a merge patch applied."""
        return await self._write(call, reading.JSON_OR_MERGE_PATCH, whole=False)

    async def _write(self, call: Call, accepted: Sequence[bytes], *, whole: bool) -> Answer:
        refuse_parameters(call.query)
        text = call.segments[1]
        key = self._key_of(text)
        wanted = etag.conditions(call)
        body = await reading.read_json(call, accepted, exact=self._bodies.exact)
        change, valid = self._change(body, wanted, whole=whole)
        if valid:
            return await self._tables.write(self._updating(text, key, change))
        # Nothing will be written; but a missing or changed row is told before what is wrong with
        # the body, and what only the row can tell belongs to the findings.
        row = await self._rows.get(key)
        if row is None:
            raise self._no_such_row(text)
        change(row)
        raise AssertionError("a body with findings has changed a row")

    def changing(self, text: str, body: Any, wanted: etag.Wanted, *, whole: bool) -> Work:
        """200: the row, replaced as a whole or merged with a patch. Raises `Problem` 404 for a key that none can have.

        `text` is the key as it stands in a path, `wanted` the versions that the write may be based on.
        """
        change, _ = self._change(body, wanted, whole=whole)
        return self._updating(text, self._key_of(text), change)

    def _change(self, body: Any, wanted: etag.Wanted, *, whole: bool) -> tuple[Change, bool]:
        """What a body makes of a row, and whether it is valid so far: if not, the change raises."""
        bodies = self._bodies
        sent, known = read(bodies, body, bodies.required - bodies.hidden - {bodies.key} if whole else frozenset())

        def change(row: Row) -> Values:
            """What to set, decided on the row as it is inside the write."""
            etag.require_version(wanted, row.version)
            values, findings = changed(bodies, row.values, sent, known, whole=whole)
            if findings:
                raise reading.invalid(findings)
            return values

        return change, not known

    def _updating(self, text: str, key: Any, change: Change) -> Work:
        update = self._rows.updating(key, change)

        def work(cursor: Cursor) -> Answer:
            row = update(cursor)
            if row is None:
                raise self._no_such_row(text)
            body = to_json(shown(row, self._hidden))
            return Answer(200, body, JSON, [(b"etag", etag.etag(row.version, body))])

        return work

    async def delete(self, call: Call) -> Answer:
        """204: the row is gone."""
        refuse_parameters(call.query)
        return await self._tables.write(self.deleting(call.segments[1], etag.conditions(call)))

    def deleting(self, text: str, wanted: etag.Wanted) -> Work:
        """204: the row is gone. Raises `Problem` 404 for a key that none can have.

        The work raises `Problem` 422 where a row that refers to it cannot do without.
        """
        key = self._key_of(text)
        delete = self._deletions.deleting(self._name, key, lambda version: etag.require_version(wanted, version))

        def work(cursor: Cursor) -> Answer:
            if not delete(cursor):
                raise self._no_such_row(text)
            return Answer(204)

        return work

    def _key_of(self, text: str) -> Any:
        """The key in a path; one that its type cannot have belongs to no row."""
        try:
            return self._key(text)
        except ValueError:
            raise self._no_such_row(text) from None

    def _path(self, call: Call) -> str:
        """The collection's path as the client wrote the model's name, percent-encoded."""
        return f"{_quoted(call.base)}/{self._plural}"

    def _no_such_row(self, text: str) -> Problem:
        return Problem(problems.NO_SUCH_ROW, f"{self._name} has no row {text!r}")


_quoted = lru_cache(1024)(quote)
"""Paths of models, as clients write them."""


class Children:
    """The `has many` end below a row: the rows of `child` whose attribute `via` holds the key of the row."""

    __slots__ = ("_child", "_parent", "_via")

    def __init__(self, parent: EntityEndpoints, child: EntityEndpoints, via: str) -> None:
        self._parent = parent
        self._child = child
        self._via = via

    async def list(self, call: Call) -> Answer:
        """200: a page of rows; 404 when there is no such parent."""
        key = await self._parent.require(call)
        return await self._child.list_below(call, Filter(self._via, "eq", key))


@dataclass(frozen=True, slots=True)
class Rules:
    """What requests to an entity may say, compiled: knows no tables, so that the next revision may take it up."""

    bodies: Bodies
    query: ListQuery
    key: Reader
    formats: Mapping[FormatName, Format]


def compile_rules(linked: LinkedModel, sight: Sight) -> Rules:
    """Build the rules of an entity: from what is in `sight`, as `linked` has it, and no more."""
    entity, options = sight.entity, sight.options
    return Rules(
        bodies=compile_bodies(entity, linked.targets, options),
        query=compile_query(entity, linked.targets, compile_relations(entity, linked), options),
        key=text_reader(entity.key, linked.targets),
        formats=formats(entity),
    )


def compile_entity(  # noqa: PLR0913 - the parts of an entity, put together once
    entity: Entity,
    rules: Rules,
    tables: ModelTables,
    siblings: Mapping[str, Exposed],
    deletions: Deletions,
    *,
    model: str,
) -> EntityEndpoints:
    """Put together what requests to an entity need; `siblings` are all entities of the (folded) model, by name."""
    return EntityEndpoints(
        entity,
        siblings,
        tables,
        model=model,
        bodies=rules.bodies,
        query=rules.query,
        key=rules.key,
        deletions=deletions,
    )
