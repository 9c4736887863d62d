"""The parts of the walk of a change, put together in one process on real files.

`serving` composes what the daemon composes, without sockets, signals and the watcher: a test says
which paths changed, and waits for the reload that follows from it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watcherd import events
from watcherd.admin.api import admin_routes
from watcherd.admin.host import make_host
from watcherd.compile import Options
from watcherd.connection import AtOnce, Patience
from watcherd.drain import Deadlines, Drains
from watcherd.followers import Followers, Nobody
from watcherd.gateway import Gateway
from watcherd.intake import Intake
from watcherd.pim.spec import fold
from watcherd.problems import NO_SUCH_MODEL, Problem
from watcherd.reload import Order, Reloader
from watcherd.report import Report
from watcherd.revision import Revision
from watcherd.server import make_server
from watcherd.settings import Settings
from watcherd.store import Store
from watcherd.watch import ChangeSet
from watcherd.wire import Message, Scope

MAX_FILE_BYTES = 1024 * 1024


def model_text(domain: str, *attributes: str, entity: str = "Item", extra: str = "") -> str:
    """A model of one entity that has a name and these attributes: `color`, or `member: {type: ...}`."""
    lines = [item if ":" in item else f"{item}: string" for item in ("name", *attributes)]
    inside = "".join(f"      {line}\n" for line in lines)
    return f"domain: {domain}\nentities:\n  - name: {entity}\n    attributes:\n{inside}{extra}"


@dataclass(frozen=True)
class Reply:
    """What came back for a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def generation(self) -> int:
        return int(self.headers["watcherd-generation"])

    @property
    def revision(self) -> int:
        return int(self.headers["watcherd-revision"])


class Client:
    """One request whose body can be sent bit by bit, and whose answer may be waited for."""

    def __init__(self, walk: Walk, method: str, path: str, headers: Mapping[str, str]) -> None:
        raw, _, query = path.partition("?")
        self.scope: Scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": raw,
            "raw_path": raw.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(b"host", b"127.0.0.1"), *((name.encode(), value.encode()) for name, value in headers.items())],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
        }
        self.sent: list[Message] = []
        self.body: asyncio.Queue[Message] = asyncio.Queue()
        self._walk = walk

    def send_body(self, body: bytes = b"", *, more: bool = False) -> None:
        self.body.put_nowait({"type": "http.request", "body": body, "more_body": more})

    async def answer(self) -> Reply:
        async def send(message: Message) -> None:
            self.sent.append(dict(message))

        await self._walk.gateway(self.scope, self.body.get, send)
        headers = {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}
        return Reply(self.sent[0]["status"], headers, b"".join(message.get("body", b"") for message in self.sent))


class Walk:
    """The running parts; `data` is where the database is, `models` the directory of model files."""

    def __init__(
        self,
        models: Path,
        store: Store,
        tasks: asyncio.TaskGroup,
        deadlines: Deadlines,
        *,
        handlers: bool,
        followers: Followers | None = None,
    ) -> None:
        settings = Settings(models=models)
        self.models = models
        self.store = store
        self.events: list[events.Event] = []
        self.rechecks: list[tuple[float, str]] = []
        self.drains = Drains(tasks, self.events.append, deadlines)
        self.gateway = Gateway(
            api_prefix="/api",
            max_body_bytes=100_000,
            missing=lambda name: Problem(NO_SUCH_MODEL, f"no model named {name} is served"),
        )
        self.intake = Intake(
            models,
            max_file_bytes=MAX_FILE_BYTES,
            reserved_domains=frozenset(),
            recheck=lambda delay, path: self.rechecks.append((delay, path)),
            code=handlers,
        )
        self.reloader = Reloader(
            self.intake,
            store,
            self.gateway,
            self.drains,
            options=Options(beside=self.gateway.beside),
            publish=self.events.append,
            allow_handlers=handlers,
            followers=followers,
        )
        self.gateway.host = make_host([admin_routes(settings, self.gateway, self.reloader, self.drains, Nobody())], [])

    # -- files ----------------------------------------------------------------------------------

    def write(self, path: str, text: str) -> None:
        """Save as most editors do: a new file that is renamed over the old one."""
        temporary = self.models / f".{path}.tmp"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.models / path)

    def write_in_place(self, path: str, text: str) -> None:
        (self.models / path).write_text(text, encoding="utf-8")

    def delete(self, path: str) -> None:
        (self.models / path).unlink()

    # -- reloads --------------------------------------------------------------------------------

    async def start(self) -> Report:
        """What a start does: remember, then read everything."""
        await self.reloader.recall()
        return await self.reload_all("start")

    async def reload_all(self, reason: str = "request", gone: frozenset[str] | None = None) -> Report:
        """Look at everything; without a word on it, what is missing is `gone` by what the watcher would have said."""
        if gone is None:
            gone = frozenset(path for path in self.reloader.world.files if not (self.models / path).exists())
        return await self.reloader.reload(ChangeSet(paths=frozenset(), full=True, reason=reason, gone=gone))

    async def see(self, *paths: str) -> Report:
        """Reload what the watcher would have seen change, once it has settled."""
        gone = frozenset(path for path in paths if not (self.models / path).exists())
        return await self.reloader.reload(ChangeSet(paths=frozenset(paths), full=False, reason="event", gone=gone))

    async def save(self, path: str, text: str) -> Report:
        self.write(path, text)
        return await self.see(path)

    async def remove(self, *paths: str) -> Report:
        for path in paths:
            self.delete(path)
        return await self.see(*paths)

    async def unload(self, model: str) -> Report:
        return await self.reloader.reload(
            ChangeSet(paths=frozenset(), full=False, reason="request"), Order(unload=fold(model))
        )

    async def load(self, path: str) -> Report:
        return await self.reloader.reload(
            ChangeSet(paths=frozenset({path}), full=False, reason="request"), Order(load=path)
        )

    # -- requests -------------------------------------------------------------------------------

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        client = Client(self, method, path, {name.replace("_", "-"): value for name, value in headers.items()})
        if body is not None:
            client.scope["headers"].append((b"content-type", b"application/json"))
        client.send_body(b"" if body is None else json.dumps(body).encode())
        return await asyncio.create_task(client.answer())  # as a server does: one task, one context a request

    async def send(self, method: str, path: str, body: bytes, kind: str) -> Reply:
        """A request whose body is not JSON."""
        client = Client(self, method, path, {"content-type": kind})
        client.send_body(body)
        return await asyncio.create_task(client.answer())

    async def get(self, path: str, **headers: str) -> Reply:
        return await self.call("GET", path, **headers)

    async def post(self, path: str, body: Any) -> dict[str, Any]:
        """Store a row; the row as it is shown."""
        reply = await self.call("POST", path, body)
        assert reply.status == 201, reply.body
        row: dict[str, Any] = reply.json
        return row

    def half_sent(self, path: str, beginning: bytes = b'{"name":') -> tuple[Client, asyncio.Task[Reply]]:
        """A request that is in flight until the rest of its body is sent."""
        client = Client(self, "POST", path, {"content-type": "application/json"})
        client.send_body(beginning, more=True)
        return client, asyncio.create_task(client.answer())

    async def listed(self, file: str) -> dict[str, Any]:
        """What `GET /admin/pim` says of a file."""
        reply = await self.get("/admin/pim")
        entries: list[dict[str, Any]] = reply.json["pims"]
        return next(entry for entry in entries if entry["file"] == file)

    async def state(self, file: str) -> str:
        return str((await self.listed(file))["state"])

    async def codes(self, file: str) -> list[str]:
        return [item["code"] for item in (await self.listed(file))["diagnostics"]]

    # -- what serves ----------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        return self.gateway.table.generation

    def revision(self, model: str) -> Revision:
        return self.gateway.table.revisions[model]


@asynccontextmanager
async def serving(
    tmp_path: Path,
    files: Mapping[str, str] | None = None,
    *,
    deadlines: Deadlines | None = None,
    database_url: str | None = None,
    handlers: bool = False,
    followers: Followers | None = None,
    start: bool = True,
) -> AsyncIterator[Walk]:
    """A walk that has started, on `tmp_path/models` (with `files` written first) and `tmp_path/data` or a database.

    Entered again with the same path it is the next process on the same database. `followers` are told of each
    swap; without `start` it is left to the test.
    """
    models = tmp_path / "models"
    if files is not None:
        models.mkdir(exist_ok=True)
        for path, text in files.items():
            (models / path).write_text(text, encoding="utf-8")
    store = await Store.open(database_url, tmp_path / "data", durability="normal")
    try:
        # Entered by hand, so that what a test raises comes out as it is, in no group.
        tasks = await asyncio.TaskGroup().__aenter__()
        walk = Walk(models, store, tasks, deadlines or Deadlines(), handlers=handlers, followers=followers)
        try:
            if start:
                await walk.start()
            yield walk
        finally:
            await walk.drains.close()
            await tasks.__aexit__(None, None, None)
    finally:
        await store.close()


@asynccontextmanager
async def listening(gateway: Gateway, *, at_once: AtOnce | None = None) -> AsyncIterator[tuple[str, int]]:
    """The server on a real socket, in front of a gateway; where it listens."""
    server = make_server(gateway, Patience(), gateway.refuse_unread, at_once or gateway.answer_at_once)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = asyncio.create_task(server.serve([listener]))
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            await running


@asynccontextmanager
async def counting_rounds() -> AsyncIterator[Callable[[], int]]:
    """How many rounds the event loop has made so far: what happens in one keeps requests out meanwhile."""
    rounds = 0

    async def count() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    try:
        yield lambda: rounds
    finally:
        counting.cancel()


def descriptors() -> Counter[str]:
    """What this process has open, by what it leads to; another thread may close it before it is looked at."""
    found: Counter[str] = Counter()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found[str(link.readlink())] += 1
    return found


async def drained(walk: Walk, model: str) -> None:
    """Wait until no retired revision of a model is in use, and what followed from it is done."""
    while walk.drains.draining(model) or walk.drains._running:
        await asyncio.gather(*walk.drains._running, return_exceptions=True)


def calls_of(work: Callable[[], object]) -> int:
    """How many functions of Python are called by work in this thread: a cost that does not depend on the machine."""
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls
