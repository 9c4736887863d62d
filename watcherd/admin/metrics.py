"""`/metrics`: what was counted, together with what can be looked up now.

Owns the route and where each value of a `State` comes from. What is counted, and how it is
written, is `metrics`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Header, Response

from watcherd.drain import Drains
from watcherd.followers import Figures, Followers
from watcherd.gateway import Gateway
from watcherd.ledger import World
from watcherd.metrics import NOBODY, Metrics, State
from watcherd.pim.spec import fold
from watcherd.store import Store
from watcherd.watch.health import Health


def metrics_routes(metrics: Metrics, state: Callable[[], State], followers: Followers) -> APIRouter:
    """The one route, unguarded like the health checks: no value of a row or a setting is in it.

    It shows the whole: this process and its `followers`.
    """
    router = APIRouter(tags=["health"])

    @router.get(
        "/metrics",
        operation_id="metrics",
        summary="Figures for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def show(accept: Annotated[str, Header()] = "") -> Response:
        figures = await followers.figures()
        now = state() if figures is None else _of_the_whole(state(), figures)
        text, content_type = await metrics.render(accept, now)
        return Response(text, media_type=content_type)

    return router


def state_of(  # noqa: PLR0913 - every part that can be asked
    gateway: Gateway, drains: Drains, world: World, health: Health, store: Store, *, streams: int
) -> State:
    """What is true now."""
    revisions = gateway.table.revisions.values()
    in_flight = Counter({revision.domain: len(revision.in_flight) for revision in revisions})
    draining: Counter[str] = Counter()
    for revision in drains.revisions():
        draining[revision.domain] += 1
        in_flight[revision.domain] += len(revision.in_flight)
    in_flight[NOBODY] = len(gateway.host_in_flight)
    usage = store.usage()
    return State(
        generation=gateway.table.generation,
        revisions={revision.domain: revision.number for revision in revisions},
        in_flight=in_flight,
        draining=draining,
        rejected=len(world.refusals),
        streams=streams,
        watch_restarts=health.restarts,
        watch_last_event=_epoch(health.last_event_at),
        watch_last_reconcile=_epoch(health.last_reconcile_at),
        database_waiting=usage.waiting,
        database_waiting_max=usage.waiting_max,
        database_used=usage.used,
        database_connections=usage.connections,
        database_writer_failures=usage.failures,
    )


def _of_the_whole(state: State, figures: Figures) -> State:
    """What is true of all processes: requests are the workers', and each has connections of its own."""
    in_flight = {domain: figures.in_flight.get(fold(domain), 0) + here for domain, here in state.in_flight.items()}
    return replace(
        state,
        in_flight=in_flight | {NOBODY: figures.host},  # what this process has of them, it has from a worker
        streams=state.streams + figures.streams,
        database_waiting=state.database_waiting + figures.waiting,
        database_waiting_max=state.database_waiting_max + figures.waiting_max,
        database_used=state.database_used + figures.used,
        database_connections=state.database_connections + figures.connections,
        database_writer_failures=state.database_writer_failures + figures.writer_failures,
        workers=figures.workers,
        worker_restarts=figures.restarts,
        worker_cpu=figures.cpu,
        worker_memory=figures.memory,
    )


def _epoch(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
