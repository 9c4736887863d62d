"""How many connections each of several processes has, so that they take new ones evenly.

Owns a few numbers in memory that the processes share, one for each of them, which it alone writes.
Connections that are kept alive stay where they are for good: of a crowd that comes at once, the
process that wakes up first would take all, and serve them alone from then on. So a process that has
more than another leaves the next one to that one, for a moment: it may be busy, or hang.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import MutableSet
from typing import Final, TypeVar, cast

T = TypeVar("T")

LEAVE_SECONDS: Final = 0.001
"""How long a connection is left to a process that has fewer."""

_ABSENT: Final = -1
_SLACK: Final = 8
"""An eighth more than another is even enough."""


class Balance:
    """The numbers of `seats` processes; `seat` is the place of this one, None where it takes no connections."""

    def __init__(self, descriptor: int, seats: int, seat: int | None = None) -> None:
        self.descriptor = descriptor
        self._counts = memoryview(mmap.mmap(descriptor, 4 * seats)).cast("i")
        self._seat = seat

    @classmethod
    def among(cls, seats: int) -> Balance:
        """New numbers, for processes that are not there yet."""
        descriptor = os.memfd_create("watcherd-connections")
        os.ftruncate(descriptor, 4 * seats)
        balance = cls(descriptor, seats)
        for seat in range(seats):
            balance.absent(seat)
        return balance

    def absent(self, seat: int) -> None:
        """The process of a seat takes no connections, or is gone."""
        self._counts[seat] = _ABSENT

    def have(self, connections: int) -> None:
        """Tell the others how many this process has."""
        if self._seat is not None:
            self._counts[self._seat] = connections

    def expect(self) -> None:
        """Tell the others of one that this process has just taken, and will count when it begins."""
        if self._seat is not None:
            self._counts[self._seat] += 1

    def is_my_turn(self) -> bool:
        """Whether no other process has clearly fewer."""
        if self._seat is None:
            return True
        fewest = min((count for count in self._counts if count != _ABSENT), default=0)
        return self._counts[self._seat] <= fewest + fewest // _SLACK


class Counted(set[T], MutableSet[T]):
    """The connections of a process, which tells how many they are whenever that changes."""

    def __init__(self, balance: Balance) -> None:
        super().__init__()
        self._balance = balance
        balance.have(0)

    def add(self, item: T) -> None:
        """One more."""
        super().add(item)
        self._balance.have(len(self))

    def discard(self, item: object) -> None:
        """One fewer."""
        super().discard(cast("T", item))
        self._balance.have(len(self))
