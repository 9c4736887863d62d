"""Reading more rows than memory holds: what a stream of rows is, on either database.

A stream sees one moment of the database for as long as it is open. That costs the database
something (SQLite cannot empty its log, PostgreSQL cannot clean up), and PostgreSQL a connection: so
streams are few, and one whose client takes nothing for `IDLE_SECONDS` is ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from watcherd.errors import StoreUnavailableError

MAX_STREAMS: Final = 4
IDLE_SECONDS: Final = 60.0

T = TypeVar("T")


class RowStream(Protocol):
    """One open read; used by one task, and closed by it."""

    async def slice(self, most: int, convert: Callable[[list[tuple[Any, ...]]], T]) -> T | None:
        """What `convert` makes of the next rows, in a thread; None at the end.

        StoreUnavailableError when the client took nothing for too long, or the database is closing.
        """

    async def aclose(self) -> None:
        """End the read wherever it is, and let go of what it holds."""


class Openable(RowStream, Protocol):
    """A stream that its database has made, and nobody reads yet."""

    async def open(self, sql: str, parameters: tuple[Any, ...]) -> None:
        """Begin the read."""


S = TypeVar("S", bound=Openable)


async def opened(make: Callable[[], S], streams: set[S], sql: str, parameters: tuple[Any, ...]) -> S:
    """One more of the open `streams`; it takes itself from them when it is closed.

    StoreUnavailableError when too many are open already.
    """
    if len(streams) >= MAX_STREAMS:
        raise StoreUnavailableError(f"{MAX_STREAMS} exports are running already")
    stream = make()
    streams.add(stream)
    try:
        await stream.open(sql, parameters)
    except BaseException:
        await stream.aclose()
        raise
    return stream
