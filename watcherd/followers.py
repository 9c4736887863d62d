"""What a reload has to know of processes that serve beside this one; with one process, nothing.

Owns the protocol, the values that tell of the others, and what stands for "nobody". The processes
themselves are `workers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from watcherd.errors import WatcherdError
from watcherd.ledger import World
from watcherd.pim.spec import EMPTY
from watcherd.revision import Revision
from watcherd.store import SchemaPlan


class FollowerError(WatcherdError):
    """A process that serves could not build a revision; it must then serve nowhere."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A request in flight in a worker; `age` in seconds."""

    worker: int
    method: str
    path: str
    age: float


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """One worker, as the admin API shows it.

    `state` is `live` (it serves `generation`), `starting`, `late` (it has not answered in time) or
    `gone` (there is no process now); `restarts` since the daemon began.
    """

    worker: int
    pid: int | None
    state: str
    generation: int | None
    in_flight: int
    restarts: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What workers hold now: `in_flight` on live revisions by folded model; `held` by model and number."""

    workers: tuple[WorkerSeen, ...] = ()
    in_flight: Mapping[str, int] = field(default_factory=lambda: EMPTY)
    held: Mapping[tuple[str, int], tuple[Holder, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def busy(self, revision: Revision) -> int:
        """How many requests are in flight on a live revision, in this process and in the workers."""
        return len(revision.in_flight) + self.in_flight.get(revision.model, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What workers have in hand now, added up.

    `in_flight` by folded model, retired revisions too; `host` are requests that are not to models;
    `waiting` to `writer_failures` are those of the database. `cpu` (seconds) and `memory` (bytes) by worker.
    """

    in_flight: Mapping[str, int]
    host: int
    streams: int
    waiting: int
    waiting_max: int
    used: int
    connections: int
    writer_failures: int
    workers: int
    restarts: int
    cpu: Mapping[str, float]
    memory: Mapping[str, float]


class Followers(Protocol):
    """The processes that serve beside this one; `alone` where there are none."""

    alone: bool

    def reasons(self, database: str | None) -> tuple[str, ...]:
        """Why fewer of them serve than should, and what they say of the database but `database`, which is known."""

    async def prepare(self, revision: Revision, plan: SchemaPlan) -> None:
        """Have every one of them build a revision that may serve next. FollowerError when one cannot."""

    async def follow(self, generation: int, world: World) -> None:
        """Have every one of them serve a generation; returns when all do. They are told before it first waits."""

    async def drained(self, revision: Revision) -> None:
        """Return when none of them holds a retired revision any more."""

    async def survey(self) -> Survey:
        """Ask every one of them how it is."""

    async def figures(self) -> Figures | None:
        """Ask every one of them what it has in hand and has counted; None where there are none."""


class Nobody:
    """No other process: what one asks of all of them is done."""

    alone = True

    def reasons(self, database: str | None) -> tuple[str, ...]:  # noqa: ARG002 - nobody says it again
        """Nobody to say why."""
        return ()

    async def prepare(self, revision: Revision, plan: SchemaPlan) -> None:
        """Nobody to build it."""

    async def follow(self, generation: int, world: World) -> None:
        """Nobody to follow."""

    async def drained(self, revision: Revision) -> None:
        """Nobody to hold it."""

    async def survey(self) -> Survey:
        """Nobody to ask."""
        return Survey()

    async def figures(self) -> Figures | None:
        """Nobody to ask."""
        return None
