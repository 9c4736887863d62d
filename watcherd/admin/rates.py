"""Requests and errors per second, by model: how fast the counts of `metrics` grow.

Owns the last few looks at the counts, taken when somebody asks, so that a daemon that nobody looks
at does nothing for it. Does not own the counts.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from watcherd.metrics import Total

WINDOW_SECONDS = 10.0
"""Over how long a rate is taken, where somebody has looked that long."""

SPACING_SECONDS = 1.0
"""Looks that are closer together than this are one."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Per second: all requests, those answered 4xx, those answered 5xx."""

    requests: float = 0.0
    refused: float = 0.0
    failed: float = 0.0

    def __add__(self, other: Rate) -> Rate:
        return Rate(self.requests + other.requests, self.refused + other.refused, self.failed + other.failed)


class Rates:
    """Remembers looks at the counts over the last seconds."""

    def __init__(self, totals: Callable[[], Mapping[str, Total]], clock: Callable[[], float] = time.monotonic) -> None:
        self._totals = totals
        self._clock = clock
        self._looks: deque[tuple[float, Mapping[str, Total]]] = deque()

    def now(self) -> Mapping[str, Rate] | None:
        """The rate of each model that had requests since the oldest look; None when this is the first look."""
        moment, totals = self._clock(), self._totals()
        # Of the looks that are old enough only the newest is wanted: a rate is about now.
        while len(self._looks) > 1 and moment - self._looks[1][0] >= WINDOW_SECONDS:
            self._looks.popleft()
        since, before = self._looks[0] if self._looks else (moment, totals)
        if not self._looks or moment - self._looks[-1][0] >= SPACING_SECONDS:
            self._looks.append((moment, totals))
        seconds = moment - since
        if seconds < SPACING_SECONDS:
            return None
        rates = {domain: _rate(before.get(domain, Total()), total, seconds) for domain, total in totals.items()}
        return {domain: rate for domain, rate in rates.items() if rate.requests}


def _rate(before: Total, after: Total, seconds: float) -> Rate:
    """The counts of a model that went and came back begin anew: what they have is what was new."""
    if after.requests < before.requests:
        before = Total()
    return Rate(
        (after.requests - before.requests) / seconds,
        (after.refused - before.refused) / seconds,
        (after.failed - before.failed) / seconds,
    )
