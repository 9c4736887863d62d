"""The composition root: what lives how long, and the order in which it ends.

Owns the one TaskGroup, the signals, the start and the stages of a stop. Everything is made here
and handed to who needs it; nothing else in the package holds process-wide state.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog
import uvloop

import watcherd
from watcherd import events, logs, sdnotify, watchdog
from watcherd.admin.api import admin_routes
from watcherd.admin.dashboard import dashboard_routes
from watcherd.admin.docs import docs_routes
from watcherd.admin.events import event_routes, tell, tell_of
from watcherd.admin.health import health_routes
from watcherd.admin.host import make_host
from watcherd.admin.metrics import metrics_routes, state_of
from watcherd.admin.parts import Parts
from watcherd.admin.rates import Rates
from watcherd.admin.timeline import Timeline
from watcherd.composition import (
    deadlines,
    make_gateway,
    make_options,
    open_store,
    patience,
    read_keys,
    reload_keys,
)
from watcherd.drain import Drains
from watcherd.errors import ModelsDirectoryError, StoreError, WatcherdError
from watcherd.feeds import Feed, Feeds, Readers
from watcherd.followers import Followers, Nobody
from watcherd.garbage import keep_for_good, without_collecting
from watcherd.gateway import SYSTEM_SEGMENTS
from watcherd.heartbeat import Heartbeat
from watcherd.intake import Intake
from watcherd.lasting import Troubles, lasting
from watcherd.ledger import World
from watcherd.metrics import Metrics, State
from watcherd.pace import share_with_threads
from watcherd.pim.spec import fold
from watcherd.problems import Problem
from watcherd.progress import tell_how_far
from watcherd.reload import RETRY_SECONDS, Reloader
from watcherd.server import address_of, allow_open_files, bind, for_this_machine, make_server
from watcherd.settings import Settings
from watcherd.signals import Signals
from watcherd.standing import Standing
from watcherd.stop import LastResort, Stop
from watcherd.store import Store
from watcherd.watch import ChangeSet, Watcher
from watcherd.workers.crew import Crew
from watcherd.workers.rows import RowHub

RESERVED_DOMAINS = SYSTEM_SEGMENTS - {"", "openapi.json"}
"""Domains that would hide a system route where the API prefix is empty."""

Greet = Callable[[str, World], None]
"""Told once, when all is ready: the address, and what is known of the models."""


def run(settings: Settings, greet: Greet | None = None) -> int:
    """Serve until told to stop; returns the exit status.

    0 after a stop in time, 1 when a stage of the stop ran over its time or the daemon failed.
    Raises `WatcherdError` where it cannot start.
    """
    logs.show_where_it_ends()
    allow_open_files()
    log = logs.configure(settings.log_format, settings.log_level, shared=settings.workers > 1)
    share_with_threads()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(serve(settings, log, greet))
    finally:
        log.close()


async def serve(settings: Settings, log: logs.Logs, greet: Greet | None = None) -> int:
    """The life of a daemon: bind, open the store, compose, scan, serve, stop.

    `log` is closed where the process has to end without returning from here.
    """
    signals = Signals()
    listener = bind(settings)
    with contextlib.closing(listener):
        store = await open_store(settings, "leading")
        try:
            async with asyncio.TaskGroup() as tasks:
                daemon = Daemon(settings, store, tasks, listener, signals, log, greet)
                exit_status = await daemon.live()
        except* WatcherdError as group:
            raise group.exceptions[0] from group
        finally:
            await store.close(settings.cleanup_timeout)
    return exit_status


class Daemon:
    """The running parts, from the first scan to the last stage of the stop."""

    def __init__(  # noqa: PLR0913, PLR0917 - what was there before it, each made once
        self,
        settings: Settings,
        store: Store,
        tasks: asyncio.TaskGroup,
        listener: socket.socket,
        signals: Signals,
        log: logs.Logs,
        greet: Greet | None = None,
    ) -> None:
        self._settings = settings
        self._greet = greet
        self._store = store
        self._tasks = tasks
        self._listener = listener
        self._signals = signals
        self._last_resort = LastResort(self._publish, log.close)
        self._passed = sdnotify.passed_socket() is not None
        self._started_at = time.monotonic()
        self._scanned = asyncio.Event()
        self._log = structlog.stdlib.get_logger("watcherd")
        self._metrics = Metrics(lambda: () if self._crew is None else (self._crew.tally(),))
        self._keys = read_keys(settings)
        self._readers = Readers(settings.max_streams)
        self._feed = Feed(self._readers)
        hub = RowHub() if settings.workers > 1 else None
        self._feeds = hub or Feeds(settings.max_streams)
        publish = self._publish
        self._watcher = Watcher(
            settings.models,
            reconcile_seconds=settings.reconcile_seconds,
            publish=publish,
            force_polling=settings.force_polling,
            max_bytes=settings.max_file_bytes,
            code=settings.allow_handlers,
        )
        # The gateway needs the host, whose admin API needs the reloader, which needs the gateway.
        self._gateway = make_gateway(
            settings, missing=self._why_missing, metrics=self._metrics, keys=self._keys, feeds=self._feeds
        )
        # With one worker that is this process; with several it answers no client itself.
        self._crew = None
        if hub is not None:
            self._crew = Crew(
                settings,
                listener,
                self._gateway,
                hub,
                publish=publish,
                tell=partial(tell_of, self._feed),
                accept=not self._passed,
            )
        followers = self._crew or Nobody()
        self._drains = Drains(tasks, publish, deadlines(settings), elsewhere=followers.drained if self._crew else None)
        self._reloader = Reloader(
            Intake(
                settings.models,
                max_file_bytes=settings.max_file_bytes,
                reserved_domains=frozenset() if settings.api_prefix else RESERVED_DOMAINS,
                recheck=self._recheck,
                code=settings.allow_handlers,
            ),
            store,
            self._gateway,
            self._drains,
            options=make_options(settings, self._feeds, self._gateway),
            followers=followers,
            publish=publish,
            allow_handlers=settings.allow_handlers,
            closely=self._metrics.loop.closely,
        )
        self._troubles = Troubles()
        self._standing = Standing(
            self._gateway, store, self._watcher, self._reloader, followers, self._scanned, self._troubles, log
        )
        self._timeline = Timeline(lambda: self._reloader.world)
        self._heartbeat = Heartbeat(
            store,
            self._gateway,
            self._drains,
            self._reloader,
            self._scanned,
            behind=lambda: self._watcher.request("restart"),
            publish=publish,
        )
        self._gateway.host = make_host(
            [
                health_routes(self._standing.readiness),
                metrics_routes(self._metrics, self._state, followers),
                event_routes(settings, self._feed),
                admin_routes(settings, self._gateway, self._reloader, self._drains, followers),
            ],
            [*dashboard_routes(self._dashboard_parts(followers)), *docs_routes()],
            needs_key=self._keys is not None,
            missing=self._standing.why_missing,
            closely=self._metrics.loop.closely,
        )
        self._server = make_server(
            self._gateway, patience(settings), self._gateway.refuse_unread, self._gateway.answer_at_once
        )

    async def live(self) -> int:
        """Start, serve until a signal, stop; returns the exit status."""
        await self._store.enter()
        remembered = await self._reloader.recall()
        if not self._settings.models.is_dir() and not remembered:
            raise ModelsDirectoryError(
                f"cannot watch {self._settings.models}: there is no such directory, and the database in "
                f"{self._settings.data_dir} knows no models to serve instead; make it, or name another as --models"
            )
        serving = self._tasks.create_task(self._serve(), name="server")
        serving.add_done_callback(lambda _: self._signals.stop.set())
        self._metrics.loop.start()
        working = [
            self._lasting("watcher", self._watcher.run),
            self._tasks.create_task(self._scan_and_follow(), name="reloads"),
            self._lasting("reloads by SIGHUP", self._reread_at_each_hang_up),
            self._lasting("heartbeat", self._heartbeat.run),
            self._lasting(
                "progress of the start",
                partial(tell_how_far, lambda: self._reloader.progress, self._scanned, self._publish),
            ),
            self._lasting("watchdog", self._tell_that_all_is_well),
        ]
        await self._signals.stop.wait()
        sdnotify.stopping()
        return await Stop(
            self._gateway,
            self._drains,
            self._crew or self._server,
            self._store,
            others=self._crew,
            publish=self._publish,
            graceful_timeout=self._settings.graceful_timeout,
            cleanup_timeout=self._settings.cleanup_timeout,
            hurry=self._signals.hurry,
            stop_accepting=self._passed,
            last_resort=self._last_resort,
        ).run(self._signals.name, working, serving)

    def _lasting(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Something that goes on until the stop, whatever it meets."""
        return self._tasks.create_task(lasting(name, work, self._publish), name=name)

    # -- start --------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Serve, from now on; on a socket that was passed, once there is something to serve.

        There a restart must not be seen: connections wait for this process as they did for the last.
        """
        if self._crew is not None:
            await self._crew.run()
            return
        if self._passed:
            await self._scanned.wait()
        await self._server.serve([self._listener])

    async def _scan_and_follow(self) -> None:
        keep_for_good()  # what was imported and composed
        with without_collecting():
            await self._scan()
            # And the models that were there at the start: with a thousand of them a collection, now or
            # later, would stop all requests for a quarter of a second.
            keep_for_good(collected=False)
        if self._crew is not None:
            await self._crew.all_serve()
        live, rejected = self._standing.counts()
        self._publish(
            events.DaemonStarted(
                watcherd.__version__,
                address_of(self._listener),
                str(self._settings.models),
                live,
                rejected,
                round((time.monotonic() - self._started_at) * 1000, 1),
            )
        )
        if self._settings.admin_token is None and not for_this_machine(self._listener):
            self._publish(events.AdminUnguarded())
        if self._greet is not None:
            self._greet(address_of(self._listener), self._reloader.world)
        sdnotify.ready(self._standing.status())
        self._scanned.set()
        await lasting("reloads", self._follow, self._publish)

    async def _follow(self) -> None:
        """Reload what the watcher sees; what was on its way when that failed is read again."""
        try:
            await self._reloader.follow(self._watcher)
        finally:
            self._watcher.request("restart")

    async def _scan(self) -> None:
        """Put all models into service, some before others. StoreError where none of them could be."""
        while True:
            try:
                await self._reloader.reload(ChangeSet(paths=frozenset(), full=True, reason="start"))
            except StoreError:
                if not self._gateway.table.revisions:
                    raise
                # Some serve: they go on, and so does the start when the database is back, as any reload does.
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _reread_at_each_hang_up(self) -> None:
        """Read everything again for each SIGHUP; several that come during one reload are one more."""
        await self._scanned.wait()
        while True:
            await self._signals.hang_up.wait()
            self._signals.hang_up.clear()
            sdnotify.reloading()
            try:
                await self._reload_keys()
                await self._reloader.reload(ChangeSet(paths=frozenset(), full=True, reason="signal"))
            except StoreError:
                pass  # the reload has told of it
            except Exception:  # noqa: BLE001 - whatever it was, the daemon goes on with what it serves
                self._log.exception("reload.crashed", reason="signal")
            # Whatever came of it: a manager that waits for this would call the reload hung.
            sdnotify.ready(self._standing.status())

    async def _reload_keys(self) -> None:
        if not reload_keys(self._keys, self._log):
            return
        self._gateway.ask_for_keys_again()
        if self._crew is not None:
            await self._crew.reload_keys()

    async def _tell_that_all_is_well(self) -> None:
        interval = sdnotify.watchdog_seconds()
        await self._scanned.wait()
        if interval is not None:
            silence = {} if self._crew is None else {"silence": self._crew.silence}
            await watchdog.keep_telling(interval, self._listener, lambda: self._watcher.health.beat_at, **silence)

    # -- what the parts ask for ---------------------------------------------------------------

    def _publish(self, event: events.Event) -> None:
        getattr(self._log, event.level)(event.name, **event.as_fields())
        if isinstance(event, events.ModelDrained) and fold(event.model) not in self._gateway.table.revisions:
            # Of many that are unloaded at once, the word of this one may still be on its way.
            self._metrics.serves_no_more(event.model)
            self._feeds.forget(fold(event.model))
        self._metrics.heard(event)
        self._troubles.heard(event)
        self._timeline.heard(event)
        tell(self._feed, event)
        if isinstance(event, events.ReloadFinished) and self._scanned.is_set():
            sdnotify.status(self._standing.status())

    def _dashboard_parts(self, followers: Followers) -> Parts:
        async def health() -> tuple[str, Sequence[str]]:
            now = await self._standing.readiness()
            return now.status, now.reasons

        return Parts(
            settings=self._settings,
            gateway=self._gateway,
            reloader=self._reloader,
            drains=self._drains,
            followers=followers,
            rates=Rates(self._metrics.totals),
            timeline=self._timeline,
            health=health,
        )

    def _state(self) -> State:
        return state_of(
            self._gateway,
            self._drains,
            self._reloader.world,
            self._watcher.health,
            self._store,
            streams=self._readers.open + self._feeds.readers.open,
        )

    def _why_missing(self, model: str) -> Problem:
        """As `Standing.why_missing`, which is made after the gateway that asks."""
        return self._standing.why_missing(model)

    def _recheck(self, delay: float, path: str) -> None:
        asyncio.get_running_loop().call_later(delay, self._watcher.request, "recheck", [path])
