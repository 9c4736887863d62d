"""How busy a database is, and how busy it may get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_WAITING: Final = 4096
"""What may wait for a database unless somebody says how much."""


@dataclass(frozen=True, slots=True)
class Usage:
    """`waiting` requests of at most `waiting_max` (SQLite: writes for the one writer), `used` of `connections`.

    `failures` counts how often what writes has ended of the unforeseen, and was begun again.
    """

    waiting: int
    waiting_max: int
    used: int
    connections: int
    failures: int = 0
