"""The endpoints of one entity: list, create, read, replace, patch, delete.

Owns the order of what happens in a request to an entity and its answers' headers. Does not own
what a body may say (bodies), what a query may say (query), nor how rows are kept (store).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from watcherd.errors import ConstraintError
from watcherd.pim.spec import Entity
from watcherd.problems import Finding, Problem
from watcherd.store import Row, Rows
from watcherd.wire import JSON, Answer, Call

Values = Mapping[str, Any]


class EntityEndpoints:
    """One entity's operations on its rows; made once per revision, holds no state of a request."""

    __slots__ = ("_bodies", "_hidden", "_key", "_name", "_plural", "_query", "_rows")

    def __init__(self, entity: Entity, rows: Rows, *, bodies: Bodies, query: ListQuery, key: Reader) -> None:
        self._name = entity.name
        self._plural = quote(entity.plural)
        self._rows = rows
        self._bodies = bodies
        self._query = query
        self._key = key
        self._hidden = frozenset(item.name for item in entity.attributes.values() if item.write_only)

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

    async def create(self, call: Call) -> Answer:
        """201: the new row, or the new rows of an array: all or none."""
        refuse_parameters(call.query)
        body = await reading.read_json(call, reading.JSON_ONLY, exact=self._bodies.exact)
        if isinstance(body, list):
            return await self._create_all(body)
        values, findings = created(self._bodies, body)
        if findings:
            raise reading.invalid(findings)
        [row] = await self._rows.insert([values])
        shown = to_json(self._shown(row))
        key = quote(str(row.values[self._bodies.key]), safe="")
        location = f"{self._path(call)}/{key}".encode("ascii")
        return Answer(201, shown, JSON, [(b"location", location), (b"etag", etag.etag(row.version, shown))])

    async def _create_all(self, items: Sequence[Any]) -> Answer:
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
        try:
            rows = await self._rows.insert(batch) if batch else []
        except ConstraintError as error:
            raise conflict(error, batch=True) from error
        return Answer(201, to_json({"items": [self._shown(row) for row in rows]}))

    async def read(self, call: Call) -> Answer:
        """200: the row; 304 when the client has it already."""
        if call.query:
            refuse_parameters(call.query)
        row = await self._rows.get(self._key_of(call))
        if row is None:
            raise self._no_such_row(call)
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
        key = self._key_of(call)
        wanted = etag.wanted_versions(call.header(b"if-match"))
        bodies = self._bodies
        body = await reading.read_json(call, accepted, exact=bodies.exact)
        sent, known = read(bodies, body, bodies.required - {bodies.key} if whole else frozenset())

        def change(row: Row) -> Values:
            """What to set, decided on the row as it is inside the write."""
            etag.require_version(wanted, row.version)
            values, findings = changed(bodies, row.values, sent, known, whole=whole)
            if findings:
                raise reading.invalid(findings)
            return values

        if known:
            # Nothing will be written; but a missing or changed row is told before what is wrong
            # with the body, and what only the row can tell belongs to the findings.
            row = await self._rows.get(key)
            if row is not None:
                change(row)
        else:
            row = await self._rows.update(key, change)
        if row is None:
            raise self._no_such_row(call)
        shown = to_json(self._shown(row))
        return Answer(200, shown, JSON, [(b"etag", etag.etag(row.version, shown))])

    async def delete(self, call: Call) -> Answer:
        """204: the row is gone."""
        refuse_parameters(call.query)
        key = self._key_of(call)
        wanted = etag.wanted_versions(call.header(b"if-match"))
        version: int | None = None
        if wanted is not None:
            row = await self._rows.get(key)
            if row is None:
                raise self._no_such_row(call)
            etag.require_version(wanted, row.version)
            # The store compares once more, inside the write.
            version = row.version
        if not await self._rows.delete(key, version=version):
            raise self._no_such_row(call)
        return Answer(204)

    def _key_of(self, call: Call) -> Any:
        """The key in the path; one that its type cannot have belongs to no row."""
        try:
            return self._key(call.segments[1])
        except ValueError:
            raise self._no_such_row(call) from None

    def _path(self, call: Call) -> str:
        """The collection's path as the client wrote the model's name, percent-encoded."""
        return f"{quote(call.base)}/{self._plural}"

    def _shown(self, row: Row) -> Values:
        if not self._hidden:
            return row.values
        return {name: value for name, value in row.values.items() if name not in self._hidden}

    def _no_such_row(self, call: Call) -> Problem:
        return Problem(problems.NO_SUCH_ROW, f"{self._name} has no row {call.segments[1]!r}")


def compile_entity(entity: Entity, rows: Rows, targets: Targets, options: Options) -> EntityEndpoints:
    """Build everything that requests to an entity need."""
    return EntityEndpoints(
        entity,
        rows,
        bodies=compile_bodies(entity, targets, options),
        query=compile_query(entity, targets, options),
        key=text_reader(entity.key, targets),
    )
