"""Reading more rows than memory holds: what a stream of rows is, on either database.

A stream sees one moment of the database for as long as it is open. That costs the database
something (SQLite cannot empty its log, PostgreSQL cannot clean up), and PostgreSQL a connection: so
streams are few, and one whose client takes nothing for `IDLE_SECONDS` is ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

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
