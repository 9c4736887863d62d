"""The edge of the request path: the route table, the swap, entering and leaving revisions.

Owns the ONE reference that requests read (`Gateway.table`), which is replaced and never edited.
Reading it and entering the revision happen with no `await` between them, and leaving happens in
`finally` after the last body byte: so a request sees exactly one revision, and a revision's
in-flight count is true at every moment. Does not own what a model answers (compile), nor the
system routes (the host application), nor when to swap (reload).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

import structlog

from watcherd import problems, prompt
from watcherd.cors import METHODS, Cors
from watcherd.exchange import CACHE, Exchange, Notes, refuse_unread
from watcherd.feeds import Readers
from watcherd.keys import Keys
from watcherd.metrics import Metrics
from watcherd.pim.spec import fold
from watcherd.problems import Problem
from watcherd.prompt import Reply
from watcherd.revision import InFlight, Revision
from watcherd.wire import Answer, AsgiApp, Call, Receive, Scope, Send, as_lines

SYSTEM_SEGMENTS = frozenset(
    {"", "admin", "docs", "redoc", "healthz", "readyz", "metrics", "problems", "static", "openapi.json"}
)
"""First path segments that are never a model, also where the API prefix is empty."""

FOR_ANYBODY: Final = ((CACHE, b"no-cache"),)
"""What caches are told: rows change, and models with them, so whoever keeps an answer asks before it uses it."""

FOR_ONE_READER: Final = ((CACHE, b"private, no-cache"),)
"""The same of what not everybody may read: no cache that others use may keep it."""

FOR_ONE_KEY: Final = (*FOR_ONE_READER, (b"vary", b"authorization, x-api-key"))
"""The same where API keys decide: nor does one client give an answer to another key of its own."""

ANSWERED_WHILE_STOPPING = frozenset({"/healthz", "/readyz"})

TABLE = "watcherd.route_table"
"""The key of the ASGI scope under which the host application finds the table that its request sees."""


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Which revision serves each model, by folded name; `generation` grows with each swap.

    `referrers` are, for models that others refer to, those others; in the middle of a start, `awaited`
    are those of which some are still to be built.
    """

    generation: int = 0
    revisions: Mapping[str, Revision] = field(default_factory=lambda: MappingProxyType({}))
    referrers: Mapping[str, Collection[str]] = field(default_factory=lambda: MappingProxyType({}))
    awaited: Collection[str] = frozenset()

    def neighbour(self, model: str, entity: str) -> object:
        """What a model, by folded name, shows to others of an entity; None when it does not serve.

        Nobody enters the revision for it: what it reads is there as long as the database is open.
        """
        revision = self.revisions.get(model)
        return None if revision is None else revision.exposed.get(entity)

    def beside(self, model: str) -> Mapping[str, Mapping[str, object]]:
        """What a model, by folded name, and those that refer to it show of their entities, by model.

        `Problem` where that is not known yet: who has a say in a deletion must not be left out of it.
        """
        if model in self.awaited:
            detail = f"the daemon is starting: not all models that refer to {model} serve yet"
            raise Problem(problems.UNAVAILABLE, detail, headers={"retry-after": "1"})
        names = (model, *self.referrers.get(model, ()))
        return {name: self.revisions[name].exposed for name in names if name in self.revisions}


@dataclass(frozen=True, slots=True)
class Limits:
    """What requests may cost. `max_in_flight` counts those on models; `stall_timeout` is in seconds."""

    max_in_flight: int = 1000
    max_json_depth: int = 64
    stall_timeout: float = 30.0


class Gateway:
    """The outermost ASGI application.

    `host` answers what is not a model; it is set once, by who composes the two. `missing` says
    why no model of a name is served; `metrics` counts requests when they end. With `keys` requests
    to models need one; `cors` opens models, and nothing else, to other origins;
    `streams` counts the requests to models that are event streams.
    """

    host: AsgiApp

    def __init__(  # noqa: PLR0913 - what a request meets, composed once by the daemon
        self,
        *,
        api_prefix: str,
        max_body_bytes: int,
        missing: Callable[[str], Problem],
        limits: Limits | None = None,
        metrics: Metrics | None = None,
        keys: Keys | None = None,
        cors: Cors | None = None,
        streams: Readers | None = None,
    ) -> None:
        self.table = RouteTable()
        self.stopping = False
        self.last_call = False
        """While stopping: whether connections that are open get one more answer of a model, which closes them."""
        self.host_in_flight: set[InFlight] = set()
        self._prefix = api_prefix + "/"
        self._max_body_bytes = max_body_bytes
        self._missing = missing
        self._limits = limits or Limits()
        self._busy = 0
        self._keys = keys
        self._cors = cors
        self._for_caches = FOR_ANYBODY if keys is None else FOR_ONE_KEY
        self._for_caches_lines = as_lines(self._for_caches)
        self._streams = streams or Readers()
        self._notes = Notes(structlog.stdlib.get_logger("watcherd.gateway"), metrics or Metrics())

    def swap(self, table: RouteTable) -> None:
        """Let every request that comes from now on see `table`. One assignment: the swap."""
        self.table = table

    def beside(self, model: str) -> Mapping[str, Mapping[str, object]]:
        """What a model and those that refer to it show of their entities now; from any thread."""
        return self.table.beside(model)

    def in_flight(self) -> list[InFlight]:
        """Requests in flight on the host and on live revisions (not those on retired ones)."""
        requests = list(self.host_in_flight)
        for revision in self.table.revisions.values():
            requests.extend(revision.in_flight)
        return requests

    def ask_for_keys_again(self) -> None:
        """Ask the streams of models to end, as a reload does: who comes back has to have a key that still opens it."""
        for revision in self.table.revisions.values():
            for request in tuple(revision.in_flight):
                request.ask_to_leave("the API keys have changed")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request from its first byte to its last."""
        if scope["type"] != "http":
            await self.host(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, notes=self._notes, stall_timeout=self._limits.stall_timeout)
        try:
            model, base, segments = self._split(scope)
            if self.stopping and model is not None and self.last_call:
                exchange.close_after()
            elif self.stopping and scope["path"] not in ANSWERED_WHILE_STOPPING:
                await exchange.refuse(_stopping(), self.table.generation)
                return
            if model is None:
                if scope["path"] == "*":
                    await exchange.reply(Answer(204, headers=[(b"allow", METHODS)]), self.table.generation)
                    return
                await self._serve_host(scope, exchange)
                return
            if await self._stopped_at_the_door(scope, exchange, model):
                return
            # No await from here to `enter`: the revision that was read is the one entered.
            table = self.table
            revision = table.revisions.get(fold(model))
            if revision is None:
                await exchange.refuse(self._missing(model), table.generation)
                return
            in_flight = exchange.begin(table.generation, revision)
            revision.enter(in_flight)
            self._busy += 1
            try:
                call = Call(
                    scope,
                    exchange.receive,
                    base=base,
                    segments=segments,
                    request_id=exchange.request_id,
                    max_body_bytes=self._max_body_bytes,
                    max_json_depth=self._limits.max_json_depth,
                    neighbour=table.neighbour,
                    callers=self._keys,
                )
                await exchange.answer(call, revision)
            finally:
                self._busy -= 1
                revision.leave(in_flight)
        finally:
            exchange.end()

    def answer_at_once(self, scope: Scope) -> Reply | None:
        """The answer to a GET that needs no waiting; None for one that has to come in by `__call__`."""
        if self.stopping or self._busy >= self._limits.max_in_flight:
            return None
        model, base, segments = self._split(scope)
        if model is None or (self._keys is not None and self._keys.refusal(scope["headers"], "GET", model) is not None):
            return None
        table = self.table
        revision = table.revisions.get(fold(model))
        if revision is None:
            return None
        return prompt.answer_at_once(
            scope,
            revision,
            table.generation,
            table.neighbour,
            base=base,
            segments=segments,
            notes=self._notes,
            shared=self._for_caches_lines
            if self._cors is None
            else self._for_caches_lines + as_lines(self._cors.headers(scope["headers"])),
        )

    def refuse_unread(self, problem: Problem, client: str, fault: BaseException | None = None) -> Answer:
        """Note what never became a request, whose it was and what failed; who has the connection sends the answer."""
        return refuse_unread(problem, client, self._notes, fault)

    async def _stopped_at_the_door(self, scope: Scope, exchange: Exchange, model: str) -> bool:
        """Answer a request to a model that must not, or need not, come in; False lets it in."""
        sent, method, generation = scope["headers"], scope["method"], self.table.generation
        exchange.shared = (*exchange.shared, *self._for_caches)
        if self._cors is not None:
            exchange.shared = (*exchange.shared, *self._cors.headers(sent))
            preflight = self._cors.preflight(method, sent)
            if preflight is not None:
                await exchange.reply(preflight, generation)
                return True
        refusal = None if self._keys is None else self._keys.refusal(sent, method, model)
        # Streams last, and cost nothing while nothing happens: they have a bound of their own.
        busy = self._busy - self._streams.open
        if refusal is None and busy >= self._limits.max_in_flight:
            refusal = _overloaded(busy)
        if refusal is not None:
            await exchange.refuse(refusal, generation)
        return refusal is not None

    async def _serve_host(self, scope: Scope, exchange: Exchange) -> None:
        table = scope[TABLE] = self.table
        is_admin = scope["path"].startswith("/admin")
        exchange.shared = (*exchange.shared, *(FOR_ONE_READER if is_admin else FOR_ANYBODY))
        in_flight = exchange.begin(table.generation, None)
        self.host_in_flight.add(in_flight)
        try:
            await exchange.pass_to(self.host, max_body_bytes=self._max_body_bytes)
        finally:
            self.host_in_flight.discard(in_flight)

    def _split(self, scope: Scope) -> tuple[str | None, str, list[str]]:
        """The model's name, its base path, and the decoded segments after it; None: the host's."""
        path: str = scope["path"]
        if not path.startswith(self._prefix):
            return None, "", []
        raw: bytes = scope.get("raw_path") or b""
        # Split before decoding: `%2F` in a key is not a separator.
        segments = [unquote(part) for part in raw.decode("latin-1").split("/")] if b"%" in raw else path.split("/")
        depth = self._prefix.count("/")
        if len(segments) <= depth or "/".join(segments[:depth]) != self._prefix[:-1]:
            return None, "", []
        model, rest = segments[depth], segments[depth + 1 :]
        if model == "" or (depth == 1 and model in SYSTEM_SEGMENTS):
            return None, "", []
        while rest and rest[-1] == "":
            rest.pop()
        return model, self._prefix + model, rest


def _stopping() -> Problem:
    return Problem(problems.UNAVAILABLE, "the server is stopping", headers={"retry-after": "1", "connection": "close"})


def _overloaded(in_flight: int) -> Problem:
    """Refused at once: waiting would only make everybody's answers late."""
    return Problem(problems.UNAVAILABLE, f"{in_flight} requests are in flight already", headers={"retry-after": "1"})
