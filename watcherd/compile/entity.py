"""The endpoints of one entity: list, create, read, replace, patch, delete, and the lists below a row.

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
from watcherd.compile.cursor import position, token_after
from watcherd.compile.options import Options
from watcherd.compile.query import (
    Asked,
    ListQuery,
    View,
    compile_query,
    cursor_link,
    page_links,
    read_query,
    read_view,
    refuse_parameters,
    refused,
)
from watcherd.compile.relations import Exposed, Relation, compile_relations, shown
from watcherd.compile.values import Reader, text_reader
from watcherd.errors import ConstraintError, TooManyRowsError
from watcherd.pim.spec import Entity, LinkedModel
from watcherd.problems import Finding, Problem
from watcherd.store import Filter, Page, Row, Select
from watcherd.wire import JSON, Answer, Call

Values = Mapping[str, Any]


class EntityEndpoints:
    """One entity's operations on its rows; made once per revision, holds no state of a request."""

    __slots__ = ("_bodies", "_hidden", "_key", "_model", "_name", "_plural", "_query", "_rows", "_siblings")

    def __init__(  # noqa: PLR0913 - the parts of an entity, put together once
        self,
        entity: Entity,
        siblings: Mapping[str, Exposed],
        *,
        model: str,
        bodies: Bodies,
        query: ListQuery,
        key: Reader,
    ) -> None:
        own = siblings[entity.name]
        self._name = entity.name
        self._plural = quote(entity.plural)
        self._rows = own.rows
        self._hidden = own.hidden
        self._siblings = siblings
        self._model = model
        self._bodies = bodies
        self._query = query
        self._key = key

    async def list(self, call: Call) -> Answer:
        """200: a page of rows."""
        return await self._answer_page(call, read_query(self._query, call.query), self._path(call))

    async def list_below(self, call: Call, within: Filter) -> Answer:
        """200: a page of the rows that belong to a row of another entity, at the path of the call."""
        asked = read_query(self._query, call.query, within)
        parent, key, children = call.segments[:3]
        path = "/".join([quote(call.base), *(quote(segment, safe="") for segment in (parent, key, children))])
        return await self._answer_page(call, asked, path)

    async def _answer_page(self, call: Call, asked: Asked, path: str) -> Answer:
        query = self._query
        select = asked.select
        if asked.at_row is not None:
            select = replace(select, after=await self._position(asked.at_row.key, select))
        page, rows = await self._read_page(call, select, asked.view)
        skip, limit = select.skip, select.limit or 0
        token = token_after(page.rows[-1], select, query.owner, query.key) if page.more and page.rows else None
        body = to_json(
            {
                "items": rows,
                "total": page.total,
                "skip": skip,
                "limit": limit,
                "next": token,
            }
        )
        link = b""
        if asked.by_cursor:
            link = cursor_link(path, call.query, token) if token is not None else b""
        elif skip or token is not None:
            more = token is not None or (page.total is not None and skip + len(page.rows) < page.total)
            link = page_links(path, call.query, skip=skip, limit=limit, more=more)
        return Answer(200, body, JSON, [(b"link", link)] if link else ())

    async def _read_page(self, call: Call, select: Select, view: View) -> tuple[Page, Sequence[Values]]:
        """A page, and its rows as they were asked for."""
        exposed = [self._exposed(call, relation) for relation in view.expand]
        related = [relation.related(one) for relation, one in zip(view.expand, exposed, strict=True)]
        try:
            page = await self._rows.list(select, related, max_related=self._query.related_limit)
        except TooManyRowsError as error:
            message = f"expand: {error}; ask for fewer rows, or read them below each row"
            raise refused([Finding("expand", "too_many", message)]) from error
        return page, self._viewed(page, view, exposed)

    def _exposed(self, call: Call, relation: Relation) -> Exposed:
        """Where the rows of a relation are."""
        model, entity = relation.target.model, relation.target.entity
        found = self._siblings[entity] if model == self._model else call.neighbour(model, entity)
        if not isinstance(found, Exposed):
            message = f"expand={relation.name}: it leads into the model {model}, which is not in service"
            raise refused([Finding("expand", "not_served", message)])
        return found

    async def _position(self, key: object, select: Select) -> tuple[Any, ...]:
        row = await self._rows.get(key)
        if row is None:
            raise refused([Finding("cursor", "gone", "cursor: the row that it stands at is gone; begin again")])
        return position(row, select, self._query.key)

    def _viewed(self, page: Page, view: View, exposed: Sequence[Exposed]) -> Sequence[Values]:
        if view.fields is None and not view.expand:
            return [shown(row, self._hidden) for row in page.rows]
        viewed = []
        for row in page.rows:
            values = shown(row, self._hidden)
            picked = dict(values) if view.fields is None else {name: values[name] for name in view.fields}
            for relation, one in zip(view.expand, exposed, strict=True):
                picked[relation.name] = relation.shown(row, page.related[relation.name], one)
            viewed.append(picked)
        return viewed

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
        body = to_json(shown(row, self._hidden))
        key = quote(str(row.values[self._bodies.key]), safe="")
        location = f"{self._path(call)}/{key}".encode("ascii")
        return Answer(201, body, JSON, [(b"location", location), (b"etag", etag.etag(row.version, body))])

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
        return Answer(201, to_json({"items": [shown(row, self._hidden) for row in rows]}))

    async def read(self, call: Call) -> Answer:
        """200: the row; 304 when the client has it already."""
        view = read_view(self._query, call.query) if call.query else None
        key = self._key_of(call)
        if view is None:
            # The shortest way, for what is asked most.
            row = await self._rows.get(key)
            values = None if row is None else shown(row, self._hidden)
        else:
            one = Select(filters=(Filter(self._query.key, "eq", key),), limit=1, count=False)
            page, rows = await self._read_page(call, one, view)
            row, values = (page.rows[0], rows[0]) if page.rows else (None, None)
        if row is None:
            raise self._no_such_row(call)
        body = to_json(values)
        tag = etag.etag(row.version, body)
        if etag.is_known(call.header(b"if-none-match"), tag):
            return Answer(304, headers=[(b"etag", tag)])
        return Answer(200, body, JSON, [(b"etag", tag)])

    async def require(self, call: Call) -> Any:
        """The key in the path, of a row that exists. Raises `Problem` 404."""
        key = self._key_of(call)
        if await self._rows.get(key) is None:
            raise self._no_such_row(call)
        return key

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
        body = to_json(shown(row, self._hidden))
        return Answer(200, body, JSON, [(b"etag", etag.etag(row.version, body))])

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

    def _no_such_row(self, call: Call) -> Problem:
        return Problem(problems.NO_SUCH_ROW, f"{self._name} has no row {call.segments[1]!r}")


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


def compile_entity(
    entity: Entity, linked: LinkedModel, siblings: Mapping[str, Exposed], options: Options
) -> EntityEndpoints:
    """Build everything that requests to an entity need; `siblings` are all entities of the model, by name."""
    return EntityEndpoints(
        entity,
        siblings,
        model=linked.spec.name,
        bodies=compile_bodies(entity, linked.targets, options),
        query=compile_query(entity, linked.targets, compile_relations(entity, linked), options),
        key=text_reader(entity.key, linked.targets),
    )
