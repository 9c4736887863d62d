"""What a database is to the rest of the store, and which one an address means.

Owns the protocol that `sqlite` and `postgres` implement, and the reading of addresses. Everything
that runs on a database is a function over a cursor (see `cursor`), so there is one copy of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

from watcherd.errors import StoreError
from watcherd.store import backup
from watcherd.store.at_once import AtOnce
from watcherd.store.cursor import Cursor
from watcherd.store.dialect import Dialect
from watcherd.store.hold import Tenure
from watcherd.store.session import Body
from watcherd.store.sqlite import Durability, SqliteDatabase
from watcherd.store.stream import RowStream
from watcherd.store.usage import MAX_WAITING, Usage

FILE_NAME: Final = "watcherd.db"
POSTGRESQL_SCHEME: Final = "postgresql+asyncpg"

T = TypeVar("T")


class Database(Protocol):
    """Open connections to one database. All raise StoreUnavailableError when it cannot answer now."""

    @property
    def dialect(self) -> Dialect:
        """What SQL has to look like there."""

    @property
    def shown(self) -> str:
        """Its address for people, without a password."""

    @property
    def at_once(self) -> AtOnce | None:
        """What answers a short read without waiting; None where every read waits for a server."""

    async def awake(self) -> bool:
        """Wait until `at_once` knows the tables again, where they have changed; whether that was waited for."""

    async def fetch_row(self, sql: str, parameters: tuple[Any, ...]) -> Any:
        """The first row of a read by key, or None; the shortest way there is."""

    async def read(self, read: Callable[[Cursor], T]) -> T:
        """Run a read that sees one state of the database."""

    async def stream(self, sql: str, parameters: tuple[Any, ...]) -> RowStream:
        """The rows of a query as of one moment, a slice at a time; whoever asks for it closes it.

        StoreUnavailableError when too many are open already.
        """

    async def write(self, write: Callable[[Cursor], T]) -> T:
        """Run a write in a transaction and answer when it is committed.

        It may be run again when it was rolled back for another's sake, so it must not keep
        anything from one run to the next. What it raises is raised here, and nothing has changed.
        """

    async def transact(self, write: Callable[[Cursor], T]) -> T:
        """The same for a write that decides by what it reads: as if nobody else were there.

        ContendedError when it was undone for another's sake, again and again.
        """

    async def interact(self, body: Body[T]) -> T:
        """What `body` answers, in a transaction of many steps; see `session.interact`."""

    async def change(
        self,
        change: Callable[[Cursor], T],
        *,
        apart: bool = False,
        from_files: bool = False,
        at_once: Callable[[Cursor], T] | None = None,
    ) -> T:
        """The same for what changes the schema: one at a time over all processes.

        `apart`: tables may have to be made again, see `remake`. `from_files`: all that it writes follows
        from the model files, so that the disk may get it after the answer. `at_once`: the same, where it takes
        next to nothing and need not be waited for; it raises TooMuchError where it does not.
        """

    async def back_up(self) -> Path | None:
        """Copy the whole database while nobody writes it; None where whoever drops something has to save it."""

    def usage(self) -> Usage:
        """How busy it is now."""

    async def health(self) -> str | None:
        """Why the database does not answer now; None when it does."""

    async def close(self, timeout: float = ...) -> None:  # noqa: ASYNC109 - a deadline for what runs, not for the caller
        """Finish what runs within `timeout` seconds, then end all connections."""


async def open_database(  # noqa: PLR0913 - all that is to be said of a database, once
    database_url: str | None,
    data_dir: Path,
    *,
    durability: Durability,
    max_waiting: int = MAX_WAITING,
    tenure: Tenure = "shared",
    in_line: bool = False,
) -> Database:
    """The database at the address, else SQLite in the data directory. StoreError when it cannot be opened.

    `tenure` does not matter on a server, which is for all: there one asks `holders`. Nor does `in_line`, for a process
    that is one of several that write: a server has its own order.
    """
    if database_url is not None and urlsplit(database_url).scheme == POSTGRESQL_SCHEME:
        # The driver takes a while to import, and most daemons have no use for it.
        from watcherd.store.postgres import PostgresDatabase  # noqa: PLC0415 - see above

        return await PostgresDatabase.open(database_url, max_waiting=max_waiting)
    path = database_path(database_url, data_dir)
    return SqliteDatabase(path, durability=durability, max_waiting=max_waiting, tenure=tenure, in_line=in_line)


def database_exists(database_url: str | None, data_dir: Path) -> bool:
    """Whether there is a file to look at; of a server it is found out by connecting. StoreError for a bad address."""
    if database_url is None:
        return (data_dir / FILE_NAME).is_file()
    return urlsplit(database_url).scheme == POSTGRESQL_SCHEME or database_path(database_url, data_dir).is_file()


def save_copy(database_url: str | None, data_dir: Path, target: Path | None = None) -> Path:
    """Copy the SQLite database, also while a daemon uses it, to `target` or `backups` beside it. StoreError."""
    if database_url is not None and urlsplit(database_url).scheme == POSTGRESQL_SCHEME:
        raise StoreError("a PostgreSQL database is saved by its own means, such as pg_dump")
    path = database_path(database_url, data_dir) if database_exists(database_url, data_dir) else None
    if path is None:
        raise StoreError(f"there is no database in {data_dir}: name the directory of one as --data-dir")
    return backup.back_up(path, target)


def database_path(database_url: str | None, data_dir: Path) -> Path:
    """Where the file is; the data directory is made when it is in there. StoreError if it cannot be used."""
    if database_url is None:
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the data directory {data_dir}: {error.strerror}") from error
        return data_dir / FILE_NAME
    url = urlsplit(database_url)
    if url.scheme != "sqlite" or url.netloc or len(url.path) < len("/x"):
        # The rest of the address may hold a password.
        raise StoreError(
            f"cannot use a database with the scheme {url.scheme!r}: it has to be sqlite:///path/to/file "
            f"or {POSTGRESQL_SCHEME}://user@host/database"
        )
    return Path(url.path[1:])
