"""One entity's rows: reading and writing wire values, with statements compiled when it is bound.

Owns the request path. Names and codecs are those of one revision, so that an older and a newer
one read and write the same table at the same time, each what it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar

from watcherd.errors import ConstraintError, PreconditionError, StoreError, TooManyRowsError
from watcherd.store.at_once import TooMuchError
from watcherd.store.codecs import Codec
from watcherd.store.cursor import Cursor, IntegrityError, run
from watcherd.store.database import Database
from watcherd.store.layout import StoredEntity
from watcherd.store.queries import MAX_KEYS, Bound, Select, Statements
from watcherd.store.refusals import delete_refused, write_refused
from watcherd.store.stream import RowStream

T = TypeVar("T")


class Row(NamedTuple):
    """One row: `values` are the wire values of all attributes, in attribute order, the reader's to change."""

    version: int
    values: dict[str, Any]


RowList = list[Row]
"""Under another name, since `Rows` has a method `list`."""

Refusals = list[tuple[int, ConstraintError]]
"""Rows that a constraint refused: the place among those that were written together, and why."""


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
    rows: Rows
    near: str
    far: str


MAX_TOLD: Final = 200
"""Changes of one transaction that are told one by one, fewer than a reader's queue holds; more are told as one."""

MAX_AT_ONCE: Final = 100
MAX_SKIPPED_AT_ONCE: Final = 2_000
"""Rows of a list that is read on the event loop's thread, and rows before it."""

_WIDE: Final = 4096
"""Characters in a row from which on lists of such rows are left to the threads."""

_QUICK: Final = frozenset({"eq", "ne", "lt", "lte", "gt", "gte", "in", "is_null", "is_not_null"})
"""Operators that take about as long for every value."""

RowChange = Literal["created", "updated", "deleted"]


class Listener(Protocol):
    """Who hears of changed rows; must neither block nor raise."""

    def heard(self, kind: RowChange, values: Mapping[str, Any]) -> None:
        """A row was changed: all its wire values, of a deleted one the key alone."""

    def lost(self) -> None:
        """More rows were changed than are told one by one."""


class Rows:
    """The queries of one entity, for one revision."""

    def __init__(
        self,
        database: Database,
        entity: StoredEntity,
        columns: Mapping[str, str],
        codecs: Mapping[str, Codec],
        statements: Statements,
    ) -> None:
        self._listener: Listener | None = None
        self._are_wide = False
        self._database = database
        self._entity = entity
        self._columns = columns
        self._codecs = codecs
        self._names = tuple(columns)
        self._key = entity.key.name
        self._encode_key = codecs[self._key].stored
        self._statements = statements
        self._get = self._statements.get
        self._decoders = tuple((name, one.decode) for name, one in codecs.items() if one.decode is not None)
        self._encoders = tuple((name, codecs[name].encode) for name in self._names)

    def listen(self, listener: Listener) -> None:
        """Tell a listener, on the event loop, of every row that is written through here and committed."""
        self._listener = listener

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
        if page is not None:
            return page
        select, count = self._select(query)

        def read(cursor: Cursor) -> Page:
            page = self._page(cursor, query, select, lambda: run(cursor, *count).fetchone()[0])
            beside = {one.name: one.rows.sharing(cursor, one, page.rows, max_related) for one in related}
            return replace(page, related=beside) if beside else page

        now = self._database.at_once
        before = None if now is None else now.version()
        page = await self._database.read(read)
        if now is not None and before is not None and page.total is not None:
            now.remember(count, page.total, before)
        return page

    def get_at_once(self, key: object) -> Row | None:
        """The row of this key, where `answers_at_once`. StoreError."""
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
        """Whether a read by key never waits."""
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
        return self._statements.select(replace(query, limit=query.limit + 1) if query.limit else query)

    def _page(self, cursor: Cursor, query: Select, select: Bound, count: Callable[[], int]) -> Page:
        found: RowList = []
        if query.limit != 0:
            found = [self._row(stored) for stored in run(cursor, *select).fetchall()]
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
        return await stream.slice(most, lambda stored: convert([self._row(one) for one in stored]))

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

    async def insert(self, rows: Sequence[Mapping[str, Any]]) -> RowList:
        """Insert all or none, and answer the rows as stored, in order.

        Values by attribute name; what is missing is null, and an integer key that is missing is
        numbered by the database. ConstraintError when one of them breaks a constraint, with its
        place among `rows`; StoreError for a name that the entity does not have.
        """
        return await self._database.write(self.inserting(rows))

    def inserting(self, rows: Sequence[Mapping[str, Any]]) -> Callable[[Cursor], RowList]:
        """`insert` as a function over a cursor, to be run inside a write together with others."""
        encoded = [self.encoded(row) for row in rows]

        def write(cursor: Cursor) -> RowList:
            inserted = []
            for place, values in enumerate(encoded):
                try:
                    stored = run(cursor, self._statements.insert, values).fetchone()
                except IntegrityError as error:
                    by_name = dict(zip(self._names, values, strict=True))
                    refusal = write_refused(cursor, error, self._entity, rows[place], by_name)
                    if isinstance(refusal, ConstraintError):
                        refusal.row = place
                    raise refusal from error
                inserted.append(self._row(stored))
                self._tell(cursor, "created", inserted[-1].values)
            return inserted

        return write

    def insert_encoded(self, cursor: Cursor, rows: Sequence[Sequence[Any]]) -> Refusals:
        """Insert many rows as `encoded` made them, inside a write; answers those that were refused.

        All others are in, in order. One savepoint around all of them while nothing is refused, one
        for each row once something is.
        """
        cursor.execute("SAVEPOINT many")
        try:
            for row in rows:
                run(cursor, self._statements.insert_only, row)
            refused: Refusals = []
        except IntegrityError:
            cursor.execute("ROLLBACK TO many")
            refused = [
                (place, refusal)
                for place, row in enumerate(rows)
                if (refusal := self._insert_one(cursor, row)) is not None
            ]
        cursor.execute("RELEASE many")
        if cursor.after_commit is not None and self._listener is not None:
            # Too many to tell one by one: who listens reads them again.
            cursor.after_commit[self._listener] = self._listener.lost
        return refused

    async def update(
        self, key: object, change: Callable[[Row], Mapping[str, Any]], *, version: int | None = None
    ) -> Row | None:
        """Change one row; the row as stored, None when there is none.

        `change` gets the row as it is in the write transaction and answers the wire values to set.
        It runs in the write, in another thread or more than once, so it must be quick and touch
        nothing shared; what it raises is raised here and nothing has changed. PreconditionError
        when the row is not at `version`.
        """

        def checked(row: Row) -> Mapping[str, Any]:
            self._check_version(key, row.version, version)
            return change(row)

        return await self._database.write(self.updating(key, checked))

    def updating(self, key: object, change: Callable[[Row], Mapping[str, Any]]) -> Callable[[Cursor], Row | None]:
        """`update` as a function over a cursor, to be run inside a write together with others."""
        encoded_key = self._encode_key(key)

        def write(cursor: Cursor) -> Row | None:
            stored = run(cursor, self._statements.get_to_change, (encoded_key,)).fetchone()
            if stored is None:
                return None
            return self._changed(cursor, stored, encoded_key, change(self._row(stored)))

        return write

    async def delete(self, key: object, *, version: int | None = None) -> bool:
        """Delete one row; False when there is none. ConstraintError when rows refer to it, PreconditionError."""
        return await self._database.write(self.deleting(key, lambda found: self._check_version(key, found, version)))

    def deleting(self, key: object, check: Callable[[int], None]) -> Callable[[Cursor], bool]:
        """`delete` as a function over a cursor; `check` gets the row's version and raises if it is not to go."""
        encoded_key = self._encode_key(key)

        def write(cursor: Cursor) -> bool:
            found = run(cursor, self._statements.version, (encoded_key,)).fetchone()
            if found is None:
                return False
            check(found[0])
            try:
                run(cursor, self._statements.delete, (encoded_key,))
            except IntegrityError as error:
                raise delete_refused(cursor, error, self._entity, encoded_key) from error
            self._tell(cursor, "deleted", {self._key: key})
            return True

        return write

    def _changed(self, cursor: Cursor, old: tuple[Any, ...], key: object, values: Mapping[str, Any]) -> Row:
        """Write what a change answered; the key itself stays."""
        self._refuse_unknown(tuple(values))
        # In the order of the columns: that is how the statement takes them.
        names = tuple(name for name in self._names if name in values and name != self._key)
        if self._key in values and self._encode_key(values[self._key]) != key:
            raise StoreError(f"cannot change {self._key}: it is the primary key of {self._entity.name}")
        stored = [self._codecs[name].stored(values[name]) for name in names]
        statement = self._statements.update(names)
        try:
            new = run(cursor, statement.sql, (*stored, key)).fetchone()
        except IntegrityError as error:
            merged = {**self._row(old).values, **values}
            by_name = {**dict(zip(self._names, old, strict=False)), **dict(zip(names, stored, strict=True))}
            raise write_refused(cursor, error, self._entity, merged, by_name) from error
        row = self._row(new)
        self._tell(cursor, "updated", row.values)
        return row

    def _tell(self, cursor: Cursor, kind: RowChange, values: Mapping[str, Any]) -> None:
        """Let the listener hear of a change once it is committed."""
        told, listener = cursor.after_commit, self._listener
        if listener is None or told is None:
            return
        if len(told) < MAX_TOLD:
            told[len(told)] = partial(listener.heard, kind, values)
        else:
            told[listener] = listener.lost

    def _insert_one(self, cursor: Cursor, row: Sequence[Any]) -> ConstraintError | None:
        """Insert a row in stored form, or say why not; an error that is no constraint's is raised."""
        cursor.execute("SAVEPOINT one_of_many")
        refusal = None
        try:
            run(cursor, self._statements.insert_only, row)
        except IntegrityError as error:
            by_name = dict(zip(self._names, row, strict=True))
            found = write_refused(cursor, error, self._entity, self._row((*row, 0)).values, by_name)
            if not isinstance(found, ConstraintError):
                raise found from error
            refusal = found
            cursor.execute("ROLLBACK TO one_of_many")
        cursor.execute("RELEASE one_of_many")
        return refusal

    def encoded(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """One row in stored form, a value for every column: text, numbers or None. StoreError for what cannot be."""
        if not row.keys() <= self._codecs.keys():
            self._refuse_unknown(tuple(row))
        values = []
        for name, encode in self._encoders:
            value = row.get(name)
            values.append(value if value is None or encode is None else encode(value))
        return tuple(values)

    def _refuse_unknown(self, names: tuple[str, ...]) -> None:
        unknown = [name for name in names if name not in self._codecs]
        if unknown:
            raise StoreError(f"cannot write {', '.join(unknown)}: {self._entity.name} has no such attribute")

    def _check_version(self, key: object, found: int, expected: int | None) -> None:
        if expected is not None and found != expected:
            raise PreconditionError(f"{self._entity.name} {key} is at version {found}, not {expected}")

    def _row(self, stored: tuple[Any, ...]) -> Row:
        # The version is the last column, beyond the names: zip leaves it out.
        values = dict(zip(self._names, stored, strict=False))
        for name, decode in self._decoders:
            value = values[name]
            if value is not None:
                values[name] = decode(value)
        return Row(stored[-1], values)


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
