"""What the tests of compile share: specs written short, and a client that calls a revision directly."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from watcherd.compile import Options, compile_model
from watcherd.pim.linked import LinkedModel, Target
from watcherd.pim.spec import Attribute, Entity, EntityRef, Json, Kind, ModelSpec, ToOne
from watcherd.problems import Problem
from watcherd.revision import Revision
from watcherd.store import Record, Store
from watcherd.store.postgres_cursor import PostgresCursor
from watcherd.store.sqlite import SqliteDatabase
from watcherd.wire import Answer, Call, Callers, Message, close_stream, problem_answer

START = datetime(2026, 11, 22, 1, 31, 46, 123456, tzinfo=UTC)


class Clock:
    """A clock that a test sets; each look is a second later than the one before."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    media: str = "application/json"

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def slug(self) -> str:
        """The type of a problem, without its path."""
        return str(self.json["type"]).removeprefix("/problems/")

    @property
    def findings(self) -> dict[str, str]:
        """Pointer -> code, of a problem."""
        return {item["pointer"]: item["code"] for item in self.json.get("errors", [])}

    @property
    def messages(self) -> dict[str, str]:
        return {item["pointer"]: item["message"] for item in self.json.get("errors", [])}


class Client:
    """Calls a revision as the gateway does, and turns problems into replies."""

    def __init__(self, revision: Revision, base: str = "/api/shop") -> None:
        self.revision = revision
        self.base = base
        self.template = ""
        self.max_json_depth = 200
        self.hang_up = asyncio.Event()
        self.callers: Callers | None = None

    async def __call__(
        self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **headers: str
    ) -> Reply:
        """`path` is below the model; a body is JSON, and said to be unless a `content_type` is given ("-": none)."""
        path, _, query = path.partition("?")
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
        if content and b"content-type" not in named:
            named[b"content-type"] = b"application/json"
        named = {name: value for name, value in named.items() if value != b"-"}
        scope = {
            "type": "http",
            "method": method,
            "path": self.base + unquote(path),
            "query_string": query.encode("utf-8"),
            "headers": list(named.items()),
        }

        messages: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

        async def receive() -> Message:
            if not messages:
                await self.hang_up.wait()
                return {"type": "http.disconnect"}
            return messages.pop(0)

        call = Call(
            scope,
            receive,
            base=self.base,
            segments=[unquote(segment) for segment in path.split("/")[1:]],
            request_id="r1",
            max_body_bytes=100_000,
            max_json_depth=self.max_json_depth,
            neighbour=lambda _model, _entity: None,
            callers=self.callers,
        )
        try:
            answer = await self.revision.handle(call)
        except Problem as problem:
            answer = problem_answer(problem, instance=call.path, request_id="r1")
        self.template = call.template
        return await reply(answer)

    async def get(self, path: str, **headers: str) -> Reply:
        return await self("GET", path, **headers)

    async def post(self, path: str, body: Any = None, **headers: str) -> Reply:
        return await self("POST", path, body, **headers)

    async def put(self, path: str, body: Any = None, **headers: str) -> Reply:
        return await self("PUT", path, body, **headers)

    async def patch(self, path: str, body: Any = None, **headers: str) -> Reply:
        return await self("PATCH", path, body, **headers)

    async def delete(self, path: str, **headers: str) -> Reply:
        return await self("DELETE", path, **headers)


async def reply(answer: Answer) -> Reply:
    body = answer.body
    if answer.stream is not None:
        try:
            body = b"".join([chunk async for chunk in answer.stream])
        finally:
            await close_stream(answer.stream)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
    assert len(headers) == len(answer.headers), "a header is sent twice"
    return Reply(answer.status, body, headers, answer.media.decode())


def make_entity(name: str, *attributes: Attribute, plural: str | None = None, **more: Any) -> Entity:
    """An entity with the attributes that every entity has."""
    declared = {item.name: item for item in attributes}
    implied = {"implied": True, "required": True, "read_only": True}
    before: dict[str, Attribute] = {}
    if not any(item.primary_key for item in attributes):
        before["id"] = Attribute(name="id", kind=Kind.UUID, primary_key=True, **implied)
    after = {
        "created_at": Attribute(name="created_at", kind=Kind.DATETIME, auto_now_add=True, **implied),
        "updated_at": Attribute(name="updated_at", kind=Kind.DATETIME, auto_now=True, **implied),
    }
    to_one = tuple(
        ToOne(name=f"{item.name}_row", attribute=item.name, target=item.reference)
        for item in attributes
        if item.reference is not None
    )
    every = before | declared | {key: value for key, value in after.items() if key not in declared}
    return Entity(name=name, plural=plural or f"{name.lower()}s", attributes=every, to_one=to_one, **more)


def make_model(*entities: Entity, domain: str = "shop", **more: Any) -> LinkedModel:
    """A model whose references all lead into itself."""
    spec = ModelSpec(domain=domain, version="1.0.0", entities={item.name: item for item in entities}, **more)
    targets = {
        EntityRef(spec.name, item.name): Target(
            ref=EntityRef(spec.name, item.name), domain=domain, plural=item.plural, key=item.key
        )
        for item in entities
    }
    return LinkedModel(spec=spec, targets=targets)


@pytest.fixture
def entity() -> Callable[..., Entity]:
    return make_entity


@pytest.fixture
def model() -> Callable[..., LinkedModel]:
    return make_model


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def options(clock: Clock) -> Options:
    return Options(api_prefix="/api", max_body_bytes=100_000, max_rows=4000, clock=clock)


@pytest.fixture
async def store(database_url: str, tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(database_url, tmp_path, durability="normal")
    yield store
    await store.close()


@pytest.fixture
def serve(store: Store, options: Options) -> Callable[..., Awaitable[Client]]:
    """Apply a model to a real database and compile it."""

    async def start(*entities: Entity, linked: LinkedModel | None = None, **more: Any) -> Client:
        linked = linked or make_model(*entities, **more)
        plan = await store.plan(linked)
        rejections = await store.expand(
            plan,
            Record(
                model=linked.spec.name,
                domain=linked.spec.domain,
                file="shop.yaml",
                revision=7,
                source=b"",
                fingerprint="0",
            ),
        )
        assert rejections == ()
        revision = compile_model(linked, store.bind(plan), 7, options=options)
        return Client(revision, f"/api/{linked.spec.domain}")

    return start


def plain(name: str, kind: Kind = Kind.STRING, **more: Any) -> Attribute:
    return Attribute(name=name, kind=kind, **more)


@pytest.fixture
def statements(store: Store) -> Iterator[list[str]]:
    """What readers of the store run, but for the frame of a transaction."""
    run: list[str] = []

    def note(sql: str) -> None:
        if sql.startswith("SELECT"):
            run.append(sql)

    with pytest.MonkeyPatch.context() as patch:
        if isinstance(store._database, SqliteDatabase):
            _trace_sqlite(store._database, note, patch)
        else:
            _trace_postgres(note, patch)
        yield run


def _trace_sqlite(database: SqliteDatabase, note: Callable[[str], None], patch: pytest.MonkeyPatch) -> None:
    readers = database._readers
    connect = readers._connect

    def traced() -> sqlite3.Connection:
        connection = connect()
        connection.set_trace_callback(note)
        return connection

    for connection in readers.connections:
        connection.set_trace_callback(note)
    patch.setattr(readers, "_connect", traced)


def _trace_postgres(note: Callable[[str], None], patch: pytest.MonkeyPatch) -> None:
    original = PostgresCursor.run

    async def traced(cursor: PostgresCursor, sql: str, parameters: Sequence[Any]) -> None:
        note(sql)
        await original(cursor, sql, parameters)

    patch.setattr(PostgresCursor, "run", traced)


@pytest.fixture
async def shop(serve: Callable[..., Awaitable[Client]]) -> Client:
    """Products and the reviews that refer to them."""
    product = make_entity(
        "Product",
        plain("sku", required=True, unique=True, max_length=10),
        plain("price", Kind.DECIMAL, scale=2, required=True),
        plain("stock", Kind.INTEGER),
        plain("status", Kind.ENUM, members=("draft", "active"), required=True),
        plain("details", Kind.JSON),
        plain("tags", is_list=True),
        plain("secret", write_only=True),
        plain("seen", Kind.INTEGER, read_only=True),
    )
    attributes = dict(product.attributes)
    attributes["status"] = replace(attributes["status"], default=Json.of("draft"))
    attributes["seen"] = replace(attributes["seen"], default=Json.of(0))
    product = replace(product, attributes=attributes)
    review = make_entity(
        "Review",
        plain("product", Kind.REFERENCE, reference=EntityRef("shop", "Product"), required=True),
        plain("stars", Kind.INTEGER),
    )
    return await serve(product, review)
