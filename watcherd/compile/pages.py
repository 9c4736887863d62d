"""What reading an entity's rows shows: pages of them, one row in a view, and what is related to them.

Owns the form of a page, its links, and the choice of what is shown. Does not own what a query may say
(query), nor how related rows stand in an answer (relations).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic_core import to_json

from watcherd import problems
from watcherd.compile.cursor import position, token_after
from watcherd.compile.query import Asked, ListQuery, View, cursor_link, page_links, refused
from watcherd.compile.relations import Exposed, Relation, shown
from watcherd.errors import TooManyRowsError
from watcherd.problems import Finding, Problem
from watcherd.store import Filter, Page, Row, Select
from watcherd.wire import JSON, Answer, Call

Values = Mapping[str, Any]


class Pages:
    """Reads and shows the rows of one entity; made once per revision, holds no state of a request."""

    __slots__ = ("_hidden", "_model", "_query", "_rows", "_siblings")

    def __init__(self, model: str, siblings: Mapping[str, Exposed], own: Exposed, query: ListQuery) -> None:
        """`siblings` are all entities of the (folded) `model`, by name, `own` is the one that is read."""
        self._model = model
        self._siblings = siblings
        self._rows = own.rows
        self._hidden = own.hidden
        self._query = query

    async def answer(self, call: Call, asked: Asked, path: str) -> Answer:
        """200: a page of the rows that were asked for; `path` is where its next page is asked for."""
        select = asked.select
        if asked.at_row is not None:
            select = replace(select, after=await self._position(asked.at_row.key, select))
        exposed = [self._exposed(call, relation) for relation in asked.view.expand]
        page = await self._read_page(select, asked.view, exposed)
        return self._as_page(call, asked, select, page, path, exposed)

    def at_once(self, call: Call, asked: Asked, path: str) -> Answer | None:
        """The same without waiting; None where that cannot be."""
        if asked.at_row is not None or asked.view.expand:
            return None
        page = self._rows.list_at_once(asked.select)
        return None if page is None else self._as_page(call, asked, asked.select, page, path)

    async def row(self, call: Call, key: object, view: View) -> tuple[Row, Values] | None:
        """One row by its key, and what is shown of it; None where there is none."""
        exposed = [self._exposed(call, relation) for relation in view.expand]
        select = Select(filters=(Filter(self._query.key, "eq", key),), limit=1, count=False)
        page = await self._read_page(select, view, exposed)
        return (page.rows[0], self._viewed(page, view, exposed)[0]) if page.rows else None

    def _as_page(  # noqa: PLR0913, PLR0917 - what was asked, and what was found
        self, call: Call, asked: Asked, select: Select, page: Page, path: str, exposed: Sequence[Exposed] = ()
    ) -> Answer:
        query = self._query
        rows = self._viewed(page, asked.view, exposed)
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

    async def _read_page(self, select: Select, view: View, exposed: Sequence[Exposed]) -> Page:
        """The rows of a page, and those that are related to them."""
        related = [relation.related(one) for relation, one in zip(view.expand, exposed, strict=True)]
        try:
            return await self._rows.list(select, related, max_related=self._query.related_limit)
        except TooManyRowsError as error:
            message = f"expand: {error}; ask for fewer rows, or read them below each row"
            raise refused([Finding("expand", "too_many", message)]) from error

    def _exposed(self, call: Call, relation: Relation) -> Exposed:
        """Where the rows of a relation are. Raises `Problem`: 400, 403 where they are not for this client."""
        model, entity = relation.target.model, relation.target.entity
        if model != self._model and not call.may_read(model):
            detail = f"expand={relation.name}: it leads into the model {model}, which the API key may not read"
            raise Problem(problems.NOT_PERMITTED, detail)
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
