"""Reading one entity's rows: by key, and in pages; see `rows` for writing them.

Owns the reads of the request path: what is read on the event loop's thread and what in another
one, and what a page holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, TypeVar

from watcherd.errors import TooManyRowsError
from watcherd.store.at_once import AtOnce, TooMuchError, is_small
from watcherd.store.codecs import Codec
from watcherd.store.cursor import Cursor, run
from watcherd.store.database import Database
from watcherd.store.layout import StoredEntity
from watcherd.store.queries import MAX_KEYS, Bound, Select, Statements
from watcherd.store.stream import RowStream

T = TypeVar("T")

MAX_AT_ONCE: Final = 100
MAX_SKIPPED_AT_ONCE: Final = 2_000
"""Rows of a list that is read on the event loop's thread, and rows before it."""

_WIDE: Final = 4096
"""Characters in a row from which on lists of such rows are left to the threads."""

_MAX_BOUND: Final = 64

_QUICK: Final = frozenset({"eq", "ne", "lt", "lte", "gt", "gte", "in", "is_null", "is_not_null"})
"""Operators that take about as long for every value."""


class Row(NamedTuple):
    """One row: `values` are the wire values of all attributes, in attribute order, the reader's to change."""

    version: int
    values: dict[str, Any]


RowList = list[Row]
"""Under another name, since `Rows` has a method `list`."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a list query answers.

    `total` is None where it was not asked for; `more` says whether rows follow. `related` holds,
    by the name of each relation and the value that they share, the rows that were asked for beside.
    """

    rows: RowList
    total: int | None
    more: bool = False
    related: Mapping[str, Mapping[Any, RowList]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Related:
    """Rows to be read beside a page: those of `rows` whose attribute `far` has the value of `near` in the page."""

    name: str
    rows: ReadRows
    near: str
    far: str


class ReadRows:
    """The rows of one entity as one revision sees them."""

    def __init__(
        self,
        database: Database,
        entity: StoredEntity,
        columns: Mapping[str, str],
        codecs: Mapping[str, Codec],
        statements: Statements,
    ) -> None:
        self._are_wide = False
        self._bound: dict[int, tuple[Select, tuple[Bound, Bound]]] = {}
        self._database = database
        self._entity = entity
        self._codecs = codecs
        self._names = tuple(columns)
        self._key = entity.key.name
        self._encode_key = codecs[self._key].stored
        self._statements = statements
        self._get = self._statements.get
        self._decoders = tuple((name, one.decode) for name, one in codecs.items() if one.decode is not None)
        self._encoders = tuple((name, codecs[name].encode) for name in self._names)

    async def get(self, key: object) -> Row | None:
        """The row of this key. StoreError, StoreUnavailableError."""
        stored = await self._database.fetch_row(self._get, (self._encode_key(key),))
        return None if stored is None else self._row(stored)

    async def list(self, query: Select, related: Sequence[Related] = (), *, max_related: int = 0) -> Page:
        """The rows that a query finds, and their number, in the same state of the database.

        One row more than asked for is looked at, and the count is left out where that tells it. The
        `related` rows take one more query a relation; TooManyRowsError when one finds over `max_related`.
        """
        page = None if related else self.list_at_once(query)
        if page is None and not related and self._is_short(query) and await self._database.awake():
            page = self.list_at_once(query)
        if page is not None:
            return page
        select, count = self._select(query)

        def read(cursor: Cursor) -> Page:
            page = self._page(cursor, query, select, lambda: run(cursor, *count).fetchone()[0])
            beside = {one.name: one.rows.sharing(cursor, one, page.rows, max_related) for one in related}
            return replace(page, related=beside) if beside else page

        now = self._database.at_once
        before = None if now is None else _version(now)
        page = await self._database.read(read)
        if now is not None and before is not None and page.total is not None:
            with suppress(TooMuchError):
                now.remember(count, page.total, before)
        return page

    def getting(self, key: object) -> Callable[[Cursor], Row | None]:
        """`get` as a function over a cursor, to be run inside a transaction."""
        encoded = self._encode_key(key)

        def read(cursor: Cursor) -> Row | None:
            stored = run(cursor, self._get, (encoded,)).fetchone()
            return None if stored is None else self._row(stored)

        return read

    def finding(self, query: Select) -> Callable[[Cursor], RowList]:
        """The rows that a query finds, as a function over a cursor."""
        select, _ = self._statements.select(query)

        def read(cursor: Cursor) -> RowList:
            return self._rows(run(cursor, *select).fetchall())

        return read

    def get_at_once(self, key: object) -> Row | None:
        """The row of this key, where `answers_at_once`. StoreError, also where that would have to wait."""
        assert self._database.at_once is not None  # noqa: S101 - the caller has asked
        stored = self._database.at_once.fetch_row(self._get, (self._encode_key(key),))
        return None if stored is None else self._row(stored)

    def list_at_once(self, query: Select) -> Page | None:
        """The same as `list`, where that takes no longer than asking a thread for it; else None. StoreError."""
        now = self._database.at_once
        if now is None or not self._is_short(query):
            return None
        select, count = self._select(query)
        try:
            page = now.read(
                select.sql,
                lambda cursor: self._page(cursor, query, select, lambda: now.count(cursor, *count)),
            )
        except TooMuchError:
            return None
        self._are_wide = any(_is_wide(row) for row in page.rows[:1])
        return page

    @property
    def answers_at_once(self) -> bool:
        """Whether a read by key is tried without waiting."""
        return self._database.at_once is not None

    def _is_short(self, query: Select) -> bool:
        """Whether a query may be tried on the event loop: what SQLite cannot bound by its steps is not."""
        return (
            query.limit is not None
            and query.limit <= MAX_AT_ONCE
            and query.skip <= MAX_SKIPPED_AT_ONCE
            and not self._are_wide
            and all(one.operator in _QUICK for one in query.filters)
        )

    def _select(self, query: Select) -> tuple[Bound, Bound]:
        """The statements of a query; those of the very same objects, which callers keep, are remembered."""
        known = self._bound.get(id(query))
        if known is not None and known[0] is query:
            return known[1]
        bound = self._bind(query)
        if query.after is None and is_small(bound[0].parameters):
            if len(self._bound) >= _MAX_BOUND:
                del self._bound[next(iter(self._bound))]
            self._bound[id(query)] = (query, bound)
        return bound

    def _bind(self, query: Select) -> tuple[Bound, Bound]:
        return self._statements.select(replace(query, limit=query.limit + 1) if query.limit else query)

    def _page(self, cursor: Cursor, query: Select, select: Bound, count: Callable[[], int]) -> Page:
        found: RowList = []
        if query.limit != 0:
            found = self._rows(run(cursor, *select).fetchall())
        rows = found[: query.limit]
        more = len(found) > len(rows)
        total = None
        if query.count:
            total = _told(query, len(rows), more=more)
            if total is None:
                total = count()
        return Page(rows, total, more)

    async def stream(self, query: Select) -> RowStream:
        """The rows that a query finds, all as of one moment, a slice at a time: see `slice`."""
        select, _ = self._statements.select(query)
        return await self._database.stream(*select)

    async def slice(self, stream: RowStream, most: int, convert: Callable[[RowList], T]) -> T | None:
        """What `convert` makes of the next rows, in a reader's thread; None at the end."""
        return await stream.slice(most, lambda stored: convert(self._rows(stored)))

    def sharing(self, cursor: Cursor, relation: Related, near: Sequence[Row], limit: int) -> dict[Any, RowList]:
        """The rows here that are related to others, by the value that they share, in order of the key."""
        wanted = _distinct(row.values[relation.near] for row in near)
        found: dict[Any, RowList] = {}
        room = limit
        for place in range(0, len(wanted), MAX_KEYS):
            bound = self._statements.related(relation.far, wanted[place : place + MAX_KEYS], room + 1)
            for stored in run(cursor, *bound).fetchall():
                row = self._row(stored)
                found.setdefault(row.values[relation.far], []).append(row)
                room -= 1
            if room < 0:
                raise TooManyRowsError(f"{relation.name} finds over {limit} rows of {self._entity.name}")
        return found

    def _rows(self, stored: Sequence[tuple[Any, ...]]) -> RowList:
        """Many rows: attribute by attribute, which takes two thirds of the time."""
        names = self._names
        found = [dict(zip(names, one, strict=False)) for one in stored]
        for name, decode in self._decoders:
            for values in found:
                value = values[name]
                if value is not None:
                    values[name] = decode(value)
        return [Row(one[-1], values) for one, values in zip(stored, found, strict=True)]

    def _row(self, stored: tuple[Any, ...]) -> Row:
        # The version is the last column, beyond the names: zip leaves it out.
        values = dict(zip(self._names, stored, strict=False))
        for name, decode in self._decoders:
            value = values[name]
            if value is not None:
                values[name] = decode(value)
        return Row(stored[-1], values)


def _version(now: AtOnce) -> int | None:
    """The version of the data; None where it cannot be told without waiting."""
    try:
        return now.version()
    except TooMuchError:
        return None


def _distinct(values: Iterable[Any]) -> list[Any]:
    """The values that there are, once each; those of a list one by one."""
    found: dict[Any, None] = {}
    for value in values:
        found.update(dict.fromkeys(value if isinstance(value, list) else (value,)))
    found.pop(None, None)
    return list(found)


def _is_wide(row: Row) -> bool:
    return sum(len(value) for value in row.values.values() if isinstance(value, str | list | dict)) > _WIDE


def _told(query: Select, found: int, *, more: bool) -> int | None:
    """How many rows there are, where the page says it: it is the last one and holds any."""
    if more or query.after is not None or query.limit == 0 or (query.skip and not found):
        return None
    return query.skip + found
