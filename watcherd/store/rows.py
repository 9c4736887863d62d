"""One entity's rows: reading and writing wire values, with statements compiled when it is bound.

Owns the request path. Names and codecs are those of one revision, so that an older and a newer
one read and write the same table at the same time, each what it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, Protocol

from watcherd.errors import ConstraintError, StoreError
from watcherd.store.cursor import Cursor, IntegrityError, run, run_many
from watcherd.store.reads import ReadRows, Row, RowList
from watcherd.store.refusals import delete_refused, write_refused

Refusals = list[tuple[int, ConstraintError]]
"""Rows that a constraint refused: the place among those that were written together, and why."""

MAX_TOLD: Final = 200
"""Changes of one transaction that are told one by one, fewer than a reader's queue holds; more are told as one."""

TOGETHER: Final = 500
"""Rows that are held in memory while all that refer to others are gone through."""

Release = Callable[[Cursor, Any], None]
"""What is done about the rows that refer to a key before the row of it is deleted."""

RowChange = Literal["created", "updated", "deleted"]


class Listener(Protocol):
    """Who hears of changed rows; must neither block nor raise."""

    def heard(self, kind: RowChange, values: Mapping[str, Any]) -> None:
        """A row was changed: all its wire values, of a deleted one the key alone."""

    def lost(self) -> None:
        """More rows were changed than are told one by one."""


class Rows(ReadRows):
    """The queries of one entity, for one revision."""

    _listener: Listener | None = None

    def listen(self, listener: Listener) -> None:
        """Tell a listener, on the event loop, of every row that is written through here and committed."""
        self._listener = listener

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
            run_many(cursor, self._statements.insert_only, rows)
            refused: Refusals = []
        except IntegrityError:
            cursor.execute("ROLLBACK TO many")
            refused = [
                (place, refusal)
                for place, row in enumerate(rows)
                if (refusal := self._insert_one(cursor, row)) is not None
            ]
        cursor.execute("RELEASE many")
        self.tell_lost(cursor)  # too many to tell one by one: who listens reads them again
        return refused

    async def update(self, key: object, change: Callable[[Row], Mapping[str, Any]]) -> Row | None:
        """Change one row; the row as stored, None when there is none.

        `change` gets the row as it is in the write transaction and answers the wire values to set.
        It runs in the write, in another thread or more than once, so it must be quick and touch
        nothing shared; what it raises is raised here and nothing has changed.
        """
        return await self._database.write(self.updating(key, change))

    def updating(self, key: object, change: Callable[[Row], Mapping[str, Any]]) -> Callable[[Cursor], Row | None]:
        """`update` as a function over a cursor, to be run inside a write together with others."""
        encoded_key = self._encode_key(key)

        def write(cursor: Cursor) -> Row | None:
            stored = run(cursor, self._statements.get_to_change, (encoded_key,)).fetchone()
            if stored is None:
                return None
            return self._changed(cursor, stored, encoded_key, change(self._row(stored)))

        return write

    async def delete(self, key: object) -> bool:
        """Delete one row; False when there is none. ConstraintError when rows refer to it."""
        return await self._database.write(self.deleting(key, lambda _: None))

    def deleting(
        self, key: object, check: Callable[[int], None], release: Release | None = None
    ) -> Callable[[Cursor], bool]:
        """`delete` as a function over a cursor; `check` gets the row's version and raises if it is not to go.

        `release` gets the key as rows that refer to it have it, once nobody else can refer to it any more.
        """
        encoded_key = self._encode_key(key)

        def write(cursor: Cursor) -> bool:
            found = run(cursor, self._statements.version, (encoded_key,)).fetchone()
            if found is None:
                return False
            check(found[0])
            if release is not None:
                release(cursor, self._codecs[self._key].wire(encoded_key))
            try:
                run(cursor, self._statements.delete, (encoded_key,))
            except IntegrityError as error:
                raise delete_refused(cursor, error, self._entity, encoded_key) from error
            self._tell(cursor, "deleted", {self._key: key})
            return True

        return write

    def referring(self, cursor: Cursor, attribute: str, keys: Sequence[Any]) -> Iterator[list[Any]]:
        """The keys of the rows whose attribute has one of `keys`, some at a time; nobody else changes them meanwhile.

        `keys` are at most `TOGETHER`.
        """
        place = self._names.index(self._key)
        decode = self._codecs[self._key].wire
        for found in self._referring(cursor, attribute, keys):
            yield [decode(stored[place]) for stored in found]

    def change_referring(
        self,
        cursor: Cursor,
        attribute: str,
        keys: Sequence[Any],
        change: Callable[[Row], Mapping[str, Any] | None],
    ) -> None:
        """Change each row whose attribute has one of `keys`, as `updating` does; None leaves a row as it is."""
        place = self._names.index(self._key)
        for found in self._referring(cursor, attribute, keys):
            for stored in found:
                values = change(self._row(stored))
                if values is not None:
                    self._changed(cursor, stored, stored[place], values)

    def empty_referring(self, cursor: Cursor, attribute: str, keys: Sequence[Any], values: Mapping[str, Any]) -> None:
        """The same for rows that are all changed alike: their attribute becomes null, and `values` are set."""
        found = True
        while found:
            bound = self._statements.emptying(attribute, keys, values, TOGETHER)
            changed = run(cursor, *bound).fetchall()
            found = bool(changed)
            if self._listener is not None and cursor.after_commit is not None:
                for row in self._rows(changed):
                    self._tell(cursor, "updated", row.values)

    def _referring(self, cursor: Cursor, attribute: str, keys: Sequence[Any]) -> Iterator[list[tuple[Any, ...]]]:
        place = self._names.index(self._key)
        after = None
        while True:
            found = run(cursor, *self._statements.referring(attribute, keys, after, TOGETHER)).fetchall()
            if not found:
                return
            yield found
            after = found[-1][place]

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

    def tell_deleted(self, cursor: Cursor, keys: Sequence[Any]) -> None:
        """Let the listener hear that rows go with others."""
        for key in keys:
            self._tell(cursor, "deleted", {self._key: key})

    def tell_lost(self, cursor: Cursor) -> None:
        """Let the listener hear that more rows change than it hears of."""
        if cursor.after_commit is not None and self._listener is not None:
            cursor.after_commit[self._listener] = self._listener.lost

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
