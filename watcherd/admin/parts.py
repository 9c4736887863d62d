"""What the dashboard looks at: the parts of the daemon, as one value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from watcherd.admin.rates import Rates
from watcherd.admin.timeline import Timeline
from watcherd.drain import Drains
from watcherd.followers import Followers
from watcherd.gateway import Gateway
from watcherd.reload import Reloader
from watcherd.settings import Settings

Health = Callable[[], Awaitable[tuple[str, Sequence[str]]]]
"""The daemon's state in a word, and what is not as it should be."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The settings in force, and whom to ask."""

    settings: Settings
    gateway: Gateway
    reloader: Reloader
    drains: Drains
    followers: Followers
    rates: Rates
    timeline: Timeline
    health: Health
