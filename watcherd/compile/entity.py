"""The endpoints of one entity: list, create, read, replace, patch, delete.

Owns the order of what happens in a request to an entity and its answers' headers. Does not own
what a body may say (bodies), what a query may say (query), nor how rows are kept (store).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from pydantic_core import to_json

from watcherd import problems
from watcherd.compile import etag, reading
from watcherd.compile.bodies import Bodies, changed, compile_bodies, created, read
from watcherd.compile.conflicts import conflict
from watcherd.compile.options import Options
from watcherd.compile.query import ListQuery, compile_query, page_links, read_query, refuse_parameters
from watcherd.compile.validators import Targets
from watcherd.compile.values import Reader, text_reader
from watcherd.compile.writes import Work
from watcherd.errors import ConstraintError
from watcherd.pim.spec import Entity
from watcherd.problems import Finding, Problem
from watcherd.store import Cursor, ModelTables, Row
from watcherd.wire import JSON, Answer, Call

Values = Mapping[str, Any]
Change = Callable[[Row], Values]
Wanted = Collection[int] | None
"""The row versions that a write may be based on; None: any."""


class EntityEndpoints:
    """One entity's operations on its rows; made once per revision, holds no state of a request."""

    __slots__ = ("_bodies", "_hidden", "_key", "_name", "_plural", "_query", "_rows", "_tables")

    def __init__(self, entity: Entity, tables: ModelTables, *, bodies: Bodies, query: ListQuery, key: Reader) -> None:
        self._name = entity.name
        self._plural = quote(entity.plural)
        self._rows = tables.entities[entity.name]
        self._tables = tables
        self._bodies = bodies
        self._query = query
        self._key = key
        self._hidden = frozenset(item.name for item in entity.attributes.values() if item.write_only)

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
        raw = call.query
        select = read_query(self._query, raw)
        skip, limit = select.skip, select.limit or 0
        if not select.count:
            # Without a total, one row more than asked for tells whether there is a next page.
            select = replace(select, limit=limit + 1)
        page = await self._rows.list(select)
        rows = page.rows[:limit]
        more = len(page.rows) > len(rows) if page.total is None else skip + len(rows) < page.total
        body = to_json(
            {
                "items": [self._shown(row) for row in rows],
                "total": page.total,
                "skip": skip,
                "limit": limit,
                # A token to go on from, once there are cursors; until then `Link` leads on.
                "next": None,
            }
        )
        link = page_links(self._path(call), raw, skip=skip, limit=limit, more=more) if more or skip else b""
        return Answer(200, body, JSON, [(b"link", link)] if link else ())

    async def create(self, call: Call) -> Work:
        """201: the new row, or the new rows of an array: all or none."""
        refuse_parameters(call.query)
        body = await reading.read_json(call, reading.JSON_ONLY, exact=self._bodies.exact)
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
            shown = to_json(self._shown(row))
            key = quote(str(row.values[self._bodies.key]), safe="")
            # The path as the client wrote the model's name, percent-encoded.
            location = f"{quote(base)}/{self._plural}/{key}".encode("ascii")
            return Answer(201, shown, JSON, [(b"location", location), (b"etag", etag.etag(row.version, shown))])

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
        if findings:
            raise reading.invalid(findings)
        insert = self._rows.inserting(batch)

        def work(cursor: Cursor) -> Answer:
            try:
                rows = insert(cursor)
            except ConstraintError as error:
                raise conflict(error, batch=True) from error
            return Answer(201, to_json({"items": [self._shown(row) for row in rows]}))

        return work

    async def read(self, call: Call) -> Answer:
        """200: the row; 304 when the client has it already."""
        if call.query:
            refuse_parameters(call.query)
        text = call.segments[1]
        row = await self._rows.get(self._key_of(text))
        if row is None:
            raise self._no_such_row(text)
        shown = to_json(self._shown(row))
        tag = etag.etag(row.version, shown)
        if etag.is_known(call.header(b"if-none-match"), tag):
            return Answer(304, headers=[(b"etag", tag)])
        return Answer(200, shown, JSON, [(b"etag", tag)])

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
        wanted = etag.wanted_versions(call.header(b"if-match"))
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

    def changing(self, text: str, body: Any, wanted: Wanted, *, whole: bool) -> Work:
        """200: the row, replaced as a whole or merged with a patch. Raises `Problem` 404 for a key that none can have.

        `text` is the key as it stands in a path, `wanted` the versions that the write may be based on.
        """
        change, _ = self._change(body, wanted, whole=whole)
        return self._updating(text, self._key_of(text), change)

    def _change(self, body: Any, wanted: Wanted, *, whole: bool) -> tuple[Change, bool]:
        """What a body makes of a row, and whether it is valid so far: if not, the change raises."""
        bodies = self._bodies
        sent, known = read(bodies, body, bodies.required - {bodies.key} if whole else frozenset())

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
            shown = to_json(self._shown(row))
            return Answer(200, shown, JSON, [(b"etag", etag.etag(row.version, shown))])

        return work

    async def delete(self, call: Call) -> Answer:
        """204: the row is gone."""
        refuse_parameters(call.query)
        return await self._tables.write(self.deleting(call.segments[1], etag.wanted_versions(call.header(b"if-match"))))

    def deleting(self, text: str, wanted: Wanted) -> Work:
        """204: the row is gone. Raises `Problem` 404 for a key that none can have."""
        delete = self._rows.deleting(self._key_of(text), lambda version: etag.require_version(wanted, version))

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
        return f"{quote(call.base)}/{self._plural}"

    def _shown(self, row: Row) -> Values:
        if not self._hidden:
            return row.values
        return {name: value for name, value in row.values.items() if name not in self._hidden}

    def _no_such_row(self, text: str) -> Problem:
        return Problem(problems.NO_SUCH_ROW, f"{self._name} has no row {text!r}")


def compile_entity(entity: Entity, tables: ModelTables, targets: Targets, options: Options) -> EntityEndpoints:
    """Build everything that requests to an entity need."""
    return EntityEndpoints(
        entity,
        tables,
        bodies=compile_bodies(entity, targets, options),
        query=compile_query(entity, targets, options),
        key=text_reader(entity.key, targets),
    )
