"""A worker: takes connections, answers requests to models, obeys its parent.

Owns the life of one worker process and what it does when it is told to: build, swap, stop. It
decides nothing: which revision serves, and when it ends, is the parent's. Signals that a terminal or
a service manager sends to all of us are the parent's too.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple
from types import MappingProxyType
from typing import Any

import structlog
import uvloop

from watcherd import events, logs, problems
from watcherd.balance import Balance
from watcherd.behind import loaded
from watcherd.compile import compile_model
from watcherd.composition import deadlines, make_gateway, make_options, open_store, patience, read_keys, reload_keys
from watcherd.drain import Drains
from watcherd.errors import WatcherdError
from watcherd.garbage import keep_for_good, tidy
from watcherd.gateway import RouteTable
from watcherd.holds import RELOAD
from watcherd.lasting import lasting
from watcherd.ledger import referred, referrers_of
from watcherd.metrics import Metrics
from watcherd.pace import share_with_threads
from watcherd.pim.spec import fold
from watcherd.problems import UNAVAILABLE, Problem
from watcherd.revision import InFlight, Revision
from watcherd.server import make_server
from watcherd.settings import Settings
from watcherd.stop import SPARE_SECONDS, LastResort, Requests
from watcherd.store import BEAT_SECONDS, DatabaseHealth, Store
from watcherd.workers.channel import Channel, Said
from watcherd.workers.packing import unpack
from watcherd.workers.relay import Relay
from watcherd.workers.rows import RowMirror

EXIT_FAILED = 1

ORPHAN_SECONDS = 1.0
"""How long what is in flight may take to end when the parent has gone: less than a parent needs to start."""


def run(channel: int, listener: int, balance: int) -> int:
    """Live as a worker on three inherited descriptors; returns the exit status."""
    for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(which, signal.SIG_IGN)
    logs.show_where_it_ends()
    share_with_threads()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(live(socket.socket(fileno=channel), socket.socket(fileno=listener), balance))


async def live(ours: socket.socket, listener: socket.socket, shared: int) -> int:
    """From the first word of the parent to the last."""
    channel = await Channel.over(ours)
    told: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
    began: asyncio.Future[Said] = asyncio.get_running_loop().create_future()

    async def begin(said: Said) -> Said:
        told.set_result(said)
        return await began

    channel.calls["begin"] = begin
    reading = asyncio.create_task(channel.run(), name="channel")
    reading.add_done_callback(lambda _: told.cancel())
    await asyncio.wait({told})
    if told.cancelled():
        return EXIT_FAILED
    fields = told.result().fields
    settings = Settings(**fields["settings"])
    log = logs.configure(settings.log_format, settings.log_level, worker=fields["worker"], shared=True)
    try:
        store = await open_store(settings, "shared")
    except WatcherdError as error:
        if not began.done():
            began.set_exception(error)
        await asyncio.wait({reading})
        return EXIT_FAILED
    try:
        async with asyncio.TaskGroup() as tasks:
            balance = Balance(shared, settings.workers, fields["worker"] - 1)
            worker = Worker(settings, store, tasks, channel, listener, balance, log.close)
            if not began.done():  # it is, where the parent has gone meanwhile
                began.set_result(Said({"pid": os.getpid()}))
            return await worker.live(reading, accept=fields["accept"])
    finally:
        await store.close(settings.cleanup_timeout)
        log.close()


class Worker:
    """The running parts of one worker."""

    def __init__(  # noqa: PLR0913, PLR0917 - what was there before it, each made once
        self,
        settings: Settings,
        store: Store,
        tasks: asyncio.TaskGroup,
        channel: Channel,
        listener: socket.socket,
        balance: Balance,
        flush_log: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._tasks = tasks
        self._channel = channel
        self._listener = listener
        self._log = structlog.stdlib.get_logger("watcherd")
        self._last_resort = LastResort(self._publish, flush_log)
        self._metrics = Metrics()
        self._keys = read_keys(settings)
        self._feeds = RowMirror(settings.max_streams, channel)
        self._drains = Drains(tasks, self._publish, deadlines(settings), elsewhere=self._release)
        self._gateway = make_gateway(
            settings, missing=self._why_missing, metrics=self._metrics, keys=self._keys, feeds=self._feeds
        )
        self._gateway.host = Relay(channel)
        self._options = make_options(settings, self._feeds, self._gateway)
        self._requests = Requests(self._gateway, self._drains)
        gateway = self._gateway
        self._server = make_server(
            gateway, patience(settings), gateway.refuse_unread, gateway.answer_at_once, balance=balance
        )
        self._accepting = asyncio.Event()
        self._leaving = asyncio.Event()
        self._builds: dict[int, Revision] = {}
        self._numbers: dict[Revision, int] = {}
        self._rejected: frozenset[str] = frozenset()
        self._starting = True
        self._asked = 0
        self._database = DatabaseHealth(store, self._publish)
        self._memory = _Memory()
        channel.calls |= {
            "prepare": self._prepare,
            "swap": self._swap,
            "survey": self._survey,
            "stopping": self._stopping,
            "drained": self._drained,
            "holders": self._holders,
            "cut": self._cut,
        }
        channel.tells |= {"stop": self._stop, "leave": self._leave, "keys": self._reload_keys}

    async def live(self, reading: asyncio.Task[None], *, accept: bool) -> int:
        """Serve until the parent says otherwise, or is gone; returns the exit status."""
        keep_for_good()  # what was imported and composed
        if accept:
            self._accepting.set()
        serving = self._tasks.create_task(self._serve(), name="server")
        self._metrics.loop.start()
        health = "health of the database"
        looking = self._tasks.create_task(lasting(health, self._look_at_database, self._publish), name=health)
        leaving = asyncio.create_task(self._leaving.wait(), name="leave")
        await asyncio.wait({reading, leaving, serving}, return_when=asyncio.FIRST_COMPLETED)
        told = self._leaving.is_set()
        if reading.done() and (fault := reading.exception()) is not None:
            self._log.error("worker.channel_failed", hint="this worker ends, another one starts", exc_info=fault)
        self._last_resort.end_within(self._settings.cleanup_timeout + SPARE_SECONDS)
        if not told:
            # Nobody says any more who is to serve what. Before the next parent can change anything, what
            # is in flight may end; what does not, is told so.
            self._server.stop_accepting()
            self._requests.ask_to_leave()
            await self._requests.end(ORPHAN_SECONDS)
            await self._requests.cut()
        leaving.cancel()
        looking.cancel()
        self._metrics.loop.stop()
        self._server.should_exit = True
        if self._accepting.is_set():
            await asyncio.wait({serving})
        else:
            serving.cancel()
        await self._drains.close()
        self._channel.close()
        return 0 if told else EXIT_FAILED

    async def _serve(self) -> None:
        await self._accepting.wait()
        await self._server.serve([self._listener])

    # -- revisions ----------------------------------------------------------------------------

    async def _prepare(self, said: Said) -> Said:
        """Build a revision, which may serve from the next swap on."""
        with self._metrics.loop.closely(RELOAD):
            await self._build(said)
        return Said()

    async def _build(self, said: Said) -> None:
        await asyncio.sleep(0)  # requests have their turn between two builds
        build = unpack(said.body)
        functions = await loaded(build.linked)
        tables, before = self._store.bind(build.plan), self._gateway.table.revisions.get(build.linked.spec.name)
        revision = compile_model(
            build.linked, tables, build.number, options=self._options, before=before, handlers=functions
        )
        number = said.fields["build"]
        self._builds[number], self._numbers[revision] = revision, number
        await asyncio.sleep(0)
        tidy()

    async def _swap(self, said: Said) -> Said:
        """Serve a generation: `models` (model -> build) instead of what was, and nothing of `gone`."""
        fields = said.fields
        for number in fields["drop"]:
            del self._numbers[self._builds.pop(number)]
        self._rejected = frozenset(fields["rejected"])
        before = self._gateway.table
        models = dict(before.revisions)
        retired = [models.pop(model) for model in fields["gone"]]
        for model, number in fields["models"].items():
            revision = self._builds.pop(number)
            if model in models:
                retired.append(models[model])
            models[model] = revision
            self._metrics.serves(revision.domain)
        # Nothing is awaited from here on: the swap is one assignment.
        old = {revision.model: referred(revision) for revision in retired}
        news = {model: referred(models[model]) for model in fields["models"]}
        # Of a thousand models few change, and of these few what they refer to.
        referrers = before.referrers if old == news else referrers_of(models.values())
        awaited = frozenset(fields["awaited"])
        self._gateway.swap(RouteTable(fields["generation"], MappingProxyType(models), referrers, awaited))
        for revision in retired:
            if revision.model not in models:
                self._metrics.serves_no_more(revision.domain)
            self._drains.retire(revision)
        if self._starting and not fields["starting"]:
            keep_for_good(collected=False)  # the models that are there at the start, of which some serve
            self._starting = False
            self._accepting.set()
        return Said()

    async def _release(self, revision: Revision) -> None:
        """Tell the parent that a retired revision has drained here."""
        self._channel.tell("released", build=self._numbers.pop(revision))

    def _why_missing(self, model: str) -> Problem:
        if self._starting:
            detail = "the daemon is starting: if there is such a model, it does not serve yet"
            return Problem(UNAVAILABLE, detail, headers={"retry-after": "1"})
        if fold(model) in self._rejected:
            return problems.model_rejected(model)
        return problems.no_such_model(model)

    # -- how it is ----------------------------------------------------------------------------

    async def _survey(self, _said: Said) -> Said:
        """What is in flight, what was counted, and why its database is not as it should be, if it is not."""
        revisions = self._gateway.table.revisions
        draining = self._drains.revisions()
        return Said(
            {
                "generation": self._gateway.table.generation,
                "in_flight": {model: len(one.in_flight) for model, one in revisions.items() if one.in_flight},
                "host": len(self._gateway.host_in_flight),
                "held": [_held(revision, request) for revision in draining for request in revision.in_flight],
                "streams": self._feeds.readers.open,
                "usage": astuple(self._store.usage()),
                "database": self._database.reason,
                "tally": self._metrics.tally().as_json(),
                "cpu": time.process_time(),
                "memory": self._memory.resident(),
            }
        )

    async def _look_at_database(self) -> None:
        """See now and then whether the database is as it should be here: a disk may be full for one process alone."""
        while True:
            await self._database.look()
            await asyncio.sleep(BEAT_SECONDS)

    def _publish(self, event: events.Event) -> None:
        getattr(self._log, event.level)(event.name, **event.as_fields())
        self._metrics.heard(event)
        if isinstance(event, events.ModelDrainTimeout | events.TaskFailed):
            self._channel.tell("event", name=event.name, event=_plain(event.as_fields()))

    def _reload_keys(self, _said: Said) -> None:
        if reload_keys(self._keys, self._log):
            self._gateway.ask_for_keys_again()

    # -- the end ------------------------------------------------------------------------------

    def _stop(self, said: Said) -> None:
        """Refuse new requests, and let streams go."""
        self._requests.refuse_new(last_call=said.fields["stop_accepting"])
        if said.fields["stop_accepting"]:
            self._server.stop_accepting()
        self._asked = self._requests.ask_to_leave()

    async def _stopping(self, _said: Said) -> Said:
        """Answer how many were in flight when the stop began."""
        return Said({"in_flight": self._asked})

    async def _drained(self, _said: Said) -> Said:
        """Answer when what was in flight has ended."""
        await self._requests.end()
        return Said()

    async def _cut(self, _said: Said) -> Said:
        """Cancel what did not end in its time."""
        await self._requests.cut()
        return Said()

    async def _holders(self, _said: Said) -> Said:
        """What is in flight still, one line each."""
        return Said({"requests": self._requests.holders()})

    def _leave(self, _said: Said) -> None:
        self._leaving.set()


class _Memory:
    """The memory that this process has in use, asked of a file that stays open.

    Connections may take every descriptor that there is: who is asked how he is then needs one no less.
    """

    def __init__(self) -> None:
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)

    def resident(self) -> int:
        """Bytes, now."""
        return int(os.pread(self._statm, 200, 0).split()[1]) * resource.getpagesize()


def _held(revision: Revision, request: InFlight) -> list[Any]:
    return [revision.model, revision.number, request.method, request.path, time.monotonic() - request.entered]


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
