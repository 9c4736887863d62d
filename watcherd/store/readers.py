"""SQLite's connections for reader threads: who reads where, and when which of them looks at the tables anew.

A connection reads the definitions of all tables again before its first statement after any of them has
changed: with a thousand models six milliseconds of a processor. Where several do so at once it takes each of
them a multiple of that, since SQLite has one lock around its memory, and all requests wait meanwhile. So one
does it at a time; a read gets a connection that knows the tables, if any is free; and those that are in use
now and then are brought up to date in the background, so that hardly a request ever has to wait for it.

Whether a connection knows the tables is asked of the database, by a number in the file's first page: other
processes change tables, too. Owns the connections. Does not own the threads, nor the event loop's reader.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

TABLES: Final = "PRAGMA schema_version"
"""The version of the definitions of all tables; answered without reading them."""

LOOK_AGAIN: Final = "SELECT 1 FROM sqlite_schema LIMIT 0"
"""The least that has a connection read the definitions, if it does not know them."""


class _Reader:
    """One connection, the version of the tables that it knows, and whether anybody has used it since it was renewed."""

    __slots__ = ("connection", "known", "used")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.known: int | None = None
        self.used = False

    def tables(self) -> int:
        """How the tables are now."""
        version: int = self.connection.execute(TABLES).fetchone()[0]
        return version

    def learn(self) -> None:
        """Read the definitions, if they are not known. One that changes meanwhile is not taken for known."""
        now = self.tables()
        if now != self.known:
            self.connection.execute(LOOK_AGAIN).fetchall()
            self.known = now


class Readers:
    """The connections. For several threads: as many are made as read at the same time."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._all: list[sqlite3.Connection] = []
        self._idle: list[_Reader] = []
        self._lock = threading.Lock()
        self.learning = threading.Lock()
        """Held by whoever reads definitions: one at a time."""

    @property
    def connections(self) -> tuple[sqlite3.Connection, ...]:
        """All that were made, to be interrupted or closed."""
        with self._lock:
            return tuple(self._all)

    def connected(self) -> sqlite3.Connection:
        """One more, that whoever asks keeps. sqlite3.Error."""
        connection = self._connect()
        with self._lock:
            self._all.append(connection)
        return connection

    @contextmanager
    def lent(self) -> Iterator[sqlite3.Connection]:
        """One that knows the tables, for a read. sqlite3.Error."""
        reader = self._informed() or self._learned()
        reader.used = True
        try:
            yield reader.connection
        finally:
            self._give(reader)

    def renew(self) -> bool:
        """Bring one of those that nobody uses now up to date; False if all are that are worth it. sqlite3.Error.

        Those that read now are left to the end of that, and so are those that nobody has used since the last
        time: of many changes one after the other each would cost them the same. One call renews one, so that
        reads come in between.
        """
        with self.learning:
            reader = self._outdated()
            if reader is None:
                return False
            try:
                reader.learn()
                reader.used = False
            finally:
                self._give(reader)
        return True

    def close(self) -> None:
        """Close all; nothing must be reading."""
        for connection in self.connections:
            connection.close()

    def _learned(self) -> _Reader:
        """One that knows the tables by the time that it is ours: by somebody else's work, or by ours."""
        with self.learning:
            reader = self._informed()  # given back while we waited
            if reader is None:
                reader = self._take() or _Reader(self.connected())
                try:
                    reader.learn()
                except BaseException:
                    self._give(reader)
                    raise
        return reader

    def _informed(self) -> _Reader | None:
        """One that nobody uses and that knows the tables as they are now, if there is one."""
        reader = self._take()
        if reader is None:
            return None
        try:
            now = reader.tables()
        except BaseException:
            self._give(reader)
            raise
        if reader.known == now:
            return reader
        with self._lock:
            self._idle.append(reader)
            return self._taken(lambda one: one.known == now)

    def _outdated(self) -> _Reader | None:
        """One that was used and is not now, and that does not know the tables as they are by now."""
        reader = self._take()
        if reader is None:
            return None
        try:
            now = reader.tables()
        finally:
            self._give(reader)
        with self._lock:
            return self._taken(lambda one: one.used and one.known != now)

    def _take(self) -> _Reader | None:
        """The one that was used last: few are used where few suffice."""
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _taken(self, is_wanted: Callable[[_Reader], bool]) -> _Reader | None:
        """The latest of a kind. For whoever has the lock."""
        for place in reversed(range(len(self._idle))):
            if is_wanted(self._idle[place]):
                return self._idle.pop(place)
        return None

    def _give(self, reader: _Reader) -> None:
        with self._lock:
            self._idle.append(reader)
