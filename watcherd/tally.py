"""Counts that can be added up: of one process, of several, of one that has gone.

Owns histograms, what one process has counted in its requests, and its form in JSON. Does not own
what is counted when, nor how it is shown (metrics).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

K = TypeVar("K")

REQUEST_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
LAG_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
HOLD_BOUNDS: Final = (0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Upper bounds of the buckets, in seconds."""


class Histogram:
    """Counts by bucket, the last one above all bounds, and their sum in seconds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float], counts: list[int] | None = None, total: float = 0.0) -> None:
        self.bounds = bounds
        self.counts = counts or [0] * (len(bounds) + 1)
        self.total = total

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def copy(self) -> Histogram:
        """What it holds now."""
        return Histogram(self.bounds, self.counts.copy(), self.total)

    def add(self, other: Histogram) -> None:
        """Count what another one of the same bounds has counted."""
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def buckets(self) -> list[tuple[str, float]]:
        """Bound -> how many up to it, as the exposition format wants it."""
        running = 0
        found = []
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            running += count
            found.append((bound, float(running)))
        return found


Labelled = dict[tuple[str, ...], Histogram]


@dataclass(frozen=True, slots=True)
class Tally:
    """What one process has counted: requests by domain, operation and status; its loop; requests cut by drains."""

    requests: Labelled = field(default_factory=dict)
    lag: Histogram = field(default_factory=lambda: Histogram(LAG_BOUNDS))
    drain_timeouts: int = 0
    holds: Mapping[str, Histogram] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For another process."""
        return {
            "requests": [[*key, found.counts, found.total] for key, found in self.requests.items()],
            "lag": [self.lag.counts, self.lag.total],
            "drain_timeouts": self.drain_timeouts,
            "holds": {during: [found.counts, found.total] for during, found in self.holds.items()},
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Tally:
        """What another process has said."""
        requests: Labelled = {
            (domain, operation, status): Histogram(REQUEST_BOUNDS, counts, total)
            for domain, operation, status, counts, total in said["requests"]
        }
        holds = {during: Histogram(HOLD_BOUNDS, *found) for during, found in said["holds"].items()}
        return cls(requests, Histogram(LAG_BOUNDS, *said["lag"]), said["drain_timeouts"], holds)


def total(tallies: Iterable[Tally]) -> Tally:
    """All of them added up, as a tally of its own."""
    requests: Labelled = {}
    holds: dict[str, Histogram] = {}
    lag, drain_timeouts = Histogram(LAG_BOUNDS), 0
    for tally in tallies:
        _add(requests, tally.requests)
        _add(holds, tally.holds)
        lag.add(tally.lag)
        drain_timeouts += tally.drain_timeouts
    return Tally(requests, lag, drain_timeouts, holds)


def _add(sums: dict[K, Histogram], more: Mapping[K, Histogram]) -> None:
    for key, found in more.items():
        if key in sums:
            sums[key].add(found)
        else:
            sums[key] = found.copy()
