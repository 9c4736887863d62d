"""What `/metrics` shows: counted as it happens, rendered when somebody asks.

Owns the counts of requests and reloads, the names of all metrics, and the bound of
their labels: operations are templates, never paths, and the labels of a model go when it has gone.
What can be looked up (the generation, what is in flight) is not counted here: whoever renders
hands over a `State`. Does not own the route (admin).

Counting costs a request two dictionary look-ups and a bisection: everything is on the event
loop's thread, so there are no locks, and the objects of the client library are made from a
snapshot when a scrape wants them, in a thread.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from watcherd import events
from watcherd.holds import Holds
from watcherd.pim.spec import fold
from watcherd.tally import REQUEST_BOUNDS, Histogram, Labelled, Tally, total

NOBODY = "-"
"""The label of what belongs to no model, and of a path that matches nothing."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

RELOAD_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)
"""Upper bounds of the buckets of reloads, in seconds."""

_REFUSED, _FAILED = 400, 500
"""The first statuses that say that the client, and that the server, was wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is true at the moment of a scrape. `in_flight` and `draining` count by domain.

    Times are seconds since the epoch, None if never.
    """

    generation: int = 0
    revisions: Mapping[str, int] = field(default_factory=dict)
    in_flight: Mapping[str, int] = field(default_factory=dict)
    draining: Mapping[str, int] = field(default_factory=dict)
    rejected: int = 0
    streams: int = 0
    watch_restarts: int = 0
    watch_last_event: float | None = None
    watch_last_reconcile: float | None = None
    database_waiting: int = 0
    database_waiting_max: int = 0
    database_used: int = 0
    database_connections: int = 0
    database_writer_failures: int = 0
    workers: int = 1
    worker_restarts: int = 0
    worker_cpu: Mapping[str, float] = field(default_factory=dict)
    worker_memory: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Total:
    """How many requests have ended since the start, and how many of them with a 4xx or a 5xx."""

    requests: int = 0
    refused: int = 0
    failed: int = 0

    def plus(self, status: int, count: int) -> Total:
        """With so many more that were answered with a status."""
        failed = count if status >= _FAILED else 0
        refused = count if _REFUSED <= status < _FAILED else 0
        return Total(self.requests + count, self.refused + refused, self.failed + failed)


class Metrics:
    """Everything that is counted. Used on the event loop's thread alone.

    `others` tells what other processes of the same daemon have counted, or had before they went.
    """

    def __init__(self, others: Callable[[], Iterable[Tally]] = tuple) -> None:
        self._others = others
        self.loop = Holds()
        self._requests: dict[str, dict[tuple[str, int], Histogram]] = {}
        self._names: dict[str, str] = {}
        self._live: set[str] = set()
        self._reloads: Labelled = {}
        self._changes: dict[str, int] = defaultdict(int)
        self._task_failures: dict[str, int] = defaultdict(int)
        self._drain_timeouts = 0

    def request_ended(self, domain: str, operation: str, status: int, seconds: float) -> None:
        """Count one request. `operation` is a method and a template, or `NOBODY`."""
        requests = self._requests.get(domain)
        if requests is None:
            requests = self._requests[domain] = {}
        histogram = requests.get((operation, status))
        if histogram is None:
            histogram = requests[operation, status] = Histogram(REQUEST_BOUNDS)
        histogram.observe(seconds)

    def heard(self, event: events.Event) -> None:
        """Count what is published."""
        match event:
            case events.ReloadStarted():
                self._changes[event.reason] += 1
            case events.ReloadFinished():
                self._reload_ended(event)
            case events.ReloadFailed():
                self._observe_reload("all", "failed", event.ms)
            case events.ModelLoaded() | events.ModelSwapped():
                self.serves(event.model)
            case events.ModelUnloaded():
                self.serves_no_more(event.model)
            case events.ModelDrained():
                # Its last request has ended and was counted: of a model that is gone, nothing comes after.
                if fold(event.model) not in self._live:
                    self._forget(self._names.pop(fold(event.model), event.model))
            case events.ModelDrainTimeout():
                self._drain_timeouts += 1
            case events.TaskFailed():
                self._task_failures[event.task] += 1
            case _:
                pass

    def totals(self) -> dict[str, Total]:
        """What was counted, by domain; its cost grows with the operations that were used."""
        found: dict[str, Total] = {}
        for (domain, _, status), histogram in self._of_all().requests.items():
            found[domain] = found.get(domain, Total()).plus(int(status), sum(histogram.counts))
        return found

    def tally(self) -> Tally:
        """What was counted so far, copied."""
        requests: Labelled = {
            (model, operation, str(status)): histogram.copy()
            for model, found in self._requests.items()
            for (operation, status), histogram in found.items()
        }
        holds = {during: found.copy() for during, found in self.loop.holds.items()}
        return Tally(requests, self.loop.lag.copy(), self._drain_timeouts, holds)

    def _of_what_serves(self, other: Tally) -> Tally:
        """Another process's tally without the models that are gone, which it may not know yet."""
        served = {NOBODY, *self._names.values()}
        requests = {key: found for key, found in other.requests.items() if key[0] in served}
        return replace(other, requests=requests)

    def _of_all(self) -> Tally:
        """What all processes have counted."""
        return total([self.tally(), *(self._of_what_serves(other) for other in self._others())])

    async def render(self, accept: str, state: State) -> tuple[bytes, str]:
        """The exposition and its content type, in the format that the client accepts."""
        snapshot = _Snapshot(list(self._families(state, self._of_all())))
        encode, content_type = choose_encoder(accept)
        return await asyncio.to_thread(_encoded, encode, snapshot), content_type

    def serves(self, domain: str) -> None:
        """A model is in service. It may come back in its other spelling: the labels of the former go."""
        model = fold(domain)
        self._live.add(model)
        former = self._names.get(model)
        if former is not None and former != domain:
            self._forget(former)
        self._names[model] = domain

    def serves_no_more(self, domain: str) -> None:
        """A model is out of service; its labels go when its last request has ended."""
        self._live.discard(fold(domain))

    def _forget(self, domain: str) -> None:
        self._requests.pop(domain, None)

    def _reload_ended(self, event: events.ReloadFinished) -> None:
        outcome = "rejected" if event.rejected else "changed" if event.swapped or event.unloaded else "unchanged"
        self._observe_reload("all", outcome, event.ms)
        for stage, ms in event.stages.items():
            self._observe_reload(stage, outcome, ms)

    def _observe_reload(self, stage: str, outcome: str, ms: float) -> None:
        self._reloads.setdefault((stage, outcome), Histogram(RELOAD_BOUNDS)).observe(ms / 1000)

    # -- what a scrape gets -------------------------------------------------------------------

    def _families(self, state: State, counted: Tally) -> Iterator[_Family]:
        """Everything, copied: a thread renders it while the loop counts on."""
        labels, requests = ("model", "operation", "status"), counted.requests
        yield _Family("watcherd_request_seconds", "From the first byte to the last", labels, histograms=requests)
        reloads: Labelled = {key: histogram.copy() for key, histogram in self._reloads.items()}
        yield _Family("watcherd_reload_seconds", "Reloads by stage", ("stage", "outcome"), histograms=reloads)
        lag: Labelled = {(): counted.lag}
        yield _Family("watcherd_event_loop_lag_seconds", "How late the event loop wakes a task", (), histograms=lag)
        holds: Labelled = {(during,): found for during, found in counted.holds.items()}
        yield _Family("watcherd_event_loop_hold_seconds", "How long it does one thing", ("during",), histograms=holds)
        yield _counter("watcherd_watch_changes", "Change sets by reason", self._changes, "reason")
        yield _counter("watcherd_watch_restarts", "Failures of the watcher", state.watch_restarts)
        yield _counter("watcherd_task_failures", "Tasks that failed and began again", self._task_failures, "task")
        yield _counter("watcherd_drain_timeouts", "Retired revisions that were cut short", counted.drain_timeouts)
        yield _gauge("watcherd_workers", "Processes that answer requests", state.workers)
        yield _counter("watcherd_worker_restarts", "Workers that ended and were replaced", state.worker_restarts)
        if state.worker_cpu:  # of a single process the client library tells it
            yield _counter("watcherd_worker_cpu_seconds", "Processor time of a worker", state.worker_cpu, "worker")
            yield _gauge("watcherd_worker_resident_bytes", "Memory of a worker", state.worker_memory, "worker")
        yield _gauge("watcherd_generation", "The number of the route table", state.generation)
        yield _gauge("watcherd_model_revision", "The revision that serves", state.revisions, "model")
        yield _gauge("watcherd_models_rejected", "Files whose content is refused", state.rejected)
        yield _gauge("watcherd_requests_in_flight", "Requests that have not ended", state.in_flight, "model")
        yield _gauge("watcherd_streams_open", "Event streams", state.streams)
        yield _gauge("watcherd_revisions_draining", "Retired revisions in use", state.draining, "model")
        yield _gauge("watcherd_revisions_live", "Revisions that serve", len(state.revisions))
        yield _gauge(
            "watcherd_watch_last_event_timestamp_seconds", "When the watcher last saw a change", state.watch_last_event
        )
        yield _gauge(
            "watcherd_watch_last_reconcile_timestamp_seconds",
            "When the whole directory was last read",
            state.watch_last_reconcile,
        )
        yield _gauge("watcherd_database_waiting", "What waits for the database", state.database_waiting)
        yield _gauge("watcherd_database_waiting_max", "The bound of that queue", state.database_waiting_max)
        yield _gauge("watcherd_database_connections_used", "Connections in use", state.database_used)
        yield _gauge("watcherd_database_connections", "Connections at most", state.database_connections)
        failures = state.database_writer_failures
        yield _counter("watcherd_database_writer_failures", "Times that what writes ended by a fault", failures)


@dataclass(frozen=True, slots=True)
class _Family:
    """One metric, copied: histograms, or values with the kind of a counter or a gauge."""

    name: str
    text: str
    labels: tuple[str, ...]
    histograms: Labelled | None = None
    values: Mapping[tuple[str, ...], float] = field(default_factory=dict)
    counts: bool = False

    def metric(self) -> Metric:
        """The client library's form of it."""
        if self.histograms is not None:
            family = HistogramMetricFamily(self.name, self.text, labels=self.labels)
            for key, histogram in self.histograms.items():
                family.add_metric(key, buckets=histogram.buckets(), sum_value=histogram.total)
            return family
        make = CounterMetricFamily if self.counts else GaugeMetricFamily
        plain = make(self.name, self.text, labels=self.labels)
        for labels, value in self.values.items():
            plain.add_metric(labels, value)
        return plain


def _gauge(name: str, text: str, value: Mapping[str, float] | float | None, label: str = "") -> _Family:
    return _Family(name, text, (label,) if label else (), values=_values(value))


def _counter(name: str, text: str, value: Mapping[str, float] | float | None, label: str = "") -> _Family:
    return _Family(name, text, (label,) if label else (), values=_values(value), counts=True)


def _values(value: Mapping[str, float] | float | None) -> dict[tuple[str, ...], float]:
    """By labels; None (never happened) has no value at all."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {(key,): number for key, number in value.items()}
    return {(): value}


class _Snapshot(Collector):
    """What the client library asks for the metrics."""

    def __init__(self, families: Sequence[_Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return (family.metric() for family in self._families)


def _encoded(encode: object, snapshot: _Snapshot) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(snapshot)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    assert callable(encode)  # noqa: S101 - the library's own
    text: bytes = encode(registry)
    return text
