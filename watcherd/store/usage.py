"""How busy a database is, for the metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """`waiting` requests of at most `waiting_max` (SQLite: writes for the one writer), `used` of `connections`."""

    waiting: int
    waiting_max: int
    used: int
    connections: int
