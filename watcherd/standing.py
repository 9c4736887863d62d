"""How the daemon stands, and in what words it says so: to `/readyz`, the service manager, and whoever misses a model.

Owns which of several reasons counts, and the words for the whole. Does not own how any part is: each
part knows that of itself.
"""

from __future__ import annotations

import asyncio

from watcherd import problems
from watcherd.admin.health import Readiness
from watcherd.followers import Followers
from watcherd.gateway import Gateway
from watcherd.lasting import Troubles
from watcherd.ledger import State
from watcherd.logs import Logs
from watcherd.pim.spec import fold
from watcherd.problems import UNAVAILABLE, Problem
from watcherd.reload import Reloader
from watcherd.store import Store
from watcherd.watch import Watcher, WatchState


class Standing:
    """Looks at the parts when it is asked; keeps nothing. `scanned` is set at the end of the start."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that it looks at, each once
        self,
        gateway: Gateway,
        store: Store,
        watcher: Watcher,
        reloader: Reloader,
        followers: Followers,
        scanned: asyncio.Event,
        troubles: Troubles,
        log: Logs,
    ) -> None:
        self._gateway = gateway
        self._store = store
        self._watcher = watcher
        self._reloader = reloader
        self._followers = followers
        self._scanned = scanned
        self._troubles = troubles
        self._log = log

    async def readiness(self) -> Readiness:
        """Whether requests should be sent here, and what is not as it should be.

        The database is looked at too: without it every request is a 503, but it comes back by itself.
        """
        generation = self._gateway.table.generation
        if self._gateway.stopping:
            return Readiness("stopping", ("the daemon is stopping",), generation)
        if not self._scanned.is_set():
            return Readiness("starting", (self._not_yet(),), generation)
        database = await self._store.health()
        reasons = (*self._without_database(), *self._followers.reasons(database))
        if database is not None:
            reasons = (*reasons, database)
        return Readiness("degraded" if reasons else "ok", reasons, generation)

    def _without_database(self) -> tuple[str, ...]:
        """What is not as it should be in what this process watches and reloads."""
        health = self._watcher.health
        reasons = health.reasons
        if health.state is not WatchState.WATCHING and not reasons:
            reasons = (f"the watcher is {health.state.value}",)
        if self._reloader.failure is not None:
            reasons = (*reasons, self._reloader.failure)
        if self._log.failure is not None:
            reasons = (*reasons, f"the log cannot be written: {self._log.failure}")
        return (*reasons, *self._reloader.drift.reasons, *self._troubles.reasons)

    def why_missing(self, model: str) -> Problem:
        """Why no model of this name is served."""
        if not self._scanned.is_set():
            # Whether there is one is not known yet: a 404 would be taken for an answer.
            return Problem(UNAVAILABLE, self._not_yet(), headers={"retry-after": "1"})
        world = self._reloader.world
        path = world.owners.get(fold(model))
        if path is not None and path in world.files and world.state_of(path) is State.REJECTED:
            return problems.model_rejected(model)
        return problems.no_such_model(model)

    def _not_yet(self) -> str:
        """Why not all is served during the start."""
        failure = "" if self._reloader.failure is None else f"; {self._reloader.failure}"
        return f"the daemon is starting: {self._reloader.progress}{failure}"

    def counts(self) -> tuple[int, int]:
        """How many models serve, and how many files are refused."""
        world = self._reloader.world
        return len(world.live), len(world.refusals)

    def status(self) -> str:
        """The same in a few words."""
        live, rejected = self.counts()
        return f"{live} models live, {rejected} rejected"
