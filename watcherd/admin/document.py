"""`/openapi.json`: the host's own part and every revision's fragment, joined; `?model=` shows one model alone.

A document is wholly of one generation: it is made from one route table, the one that its request
saw, and its pieces, which are the revisions' own, are kept until another generation is asked for. It
is put together with pauses and sent a slice at a time: that of a thousand models has tens of megabytes,
and nobody else waits.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final

import pydantic_core
from fastapi import Request, Response

from watcherd.compile.etag import is_known
from watcherd.compile.openapi import joined_components, listed
from watcherd.gateway import TABLE, RouteTable
from watcherd.holds import DOCUMENT, Closely, nobody_looks
from watcherd.pace import Pauses
from watcherd.pim.spec import fold
from watcherd.problems import Problem, no_such_model
from watcherd.revision import Revision
from watcherd.wire import Receive, Scope, Send

SLICE_BYTES: Final = 512 * 1024
BATCH_PIECES: Final = 200
"""So many pieces are found between two looks at the clock."""


@dataclass(frozen=True, slots=True)
class Text:
    """A document as pieces of its JSON text, and how many bytes these have together."""

    pieces: Sequence[bytes]
    length: int


Missing = Callable[[str], Problem]


class Document:
    """The document of the newest generation that somebody asked for.

    `base` is the host application's own document: admin, health and problem pages. `missing` says
    why no model of a name is served.
    """

    def __init__(self, base: dict[str, Any], missing: Missing = no_such_model, closely: Closely = nobody_looks) -> None:
        self._base = base
        self._missing = missing
        self._closely = closely
        # Generations count from zero at every start: the tag must not be that of an earlier one.
        self._boot = secrets.token_hex(4)
        self._made = (-1, Text((), 0))
        self._making = asyncio.Lock()

    async def respond(self, request: Request) -> Response:
        """The document of the generation that this request sees; 304 if the client has it.

        `model` in the query leaves the other models and the host's own operations out. Raises
        `Problem` for a model that is not served.
        """
        table: RouteTable = request.scope[TABLE]
        revision = None
        if "model" in request.query_params:
            wanted = request.query_params["model"]
            revision = table.revisions.get(fold(wanted))
            if revision is None:
                raise self._missing(wanted)
        etag = f'"{self._boot}-{table.generation}"'
        headers = {"etag": etag, "cache-control": "no-cache"}
        known = request.headers.get("if-none-match")
        if known is not None and is_known(known.encode("latin-1"), etag.encode("ascii")):
            return Response(status_code=304, headers=headers)
        text = await (self.of(table) if revision is None else self.of_model(table.generation, revision))
        return InSlices(text, headers, self._closely)

    async def of_model(self, generation: int, revision: Revision) -> Text:
        """The document of one model."""
        spec = revision.linked.spec
        info = {"title": spec.title or spec.domain, "version": spec.version or "0", "description": spec.description}
        base = {**self._base, "info": info, "tags": [], "paths": {}}
        return await _gathered(pieces_of(base, RouteTable(generation, {revision.model: revision})))

    async def of(self, table: RouteTable) -> Text:
        """The document of a route table; who asks for the same one meanwhile waits for it."""
        async with self._making:
            generation, text = self._made
            if generation != table.generation:
                with self._closely(DOCUMENT):
                    text = await _gathered(pieces_of(self._base, table))
                if table.generation > generation:
                    self._made = (table.generation, text)
            return text


def pieces_of(base: dict[str, Any], table: RouteTable) -> Iterator[bytes]:
    """The host's document and the fragments of a route table, models in order of name; nothing is copied."""
    fragments = [table.revisions[model].openapi for model in sorted(table.revisions)]
    head = {
        "openapi": base["openapi"],
        "info": base["info"],
        "x-watcherd-generation": table.generation,
    }
    paths = chain.from_iterable(fragment.texts("own_paths") for fragment in fragments)
    tags = chain.from_iterable(fragment.texts("own_tags") for fragment in fragments)
    yield _members(head)
    yield b',"tags":['
    yield from listed(chain(tags, [_elements(base.get("tags", []))]))
    yield b'],"paths":{'
    yield from listed(chain(paths, [_members(base["paths"])[1:]]))
    yield b'},"components":'
    yield from joined_components(fragments, base.get("components", {}))
    yield b"}"


async def _gathered(pieces: Iterator[bytes]) -> Text:
    """All pieces, found with pauses for others: of a thousand models it takes ten milliseconds."""
    pauses = Pauses()
    found: list[bytes] = []
    length = 0
    while batch := list(islice(pieces, BATCH_PIECES)):
        found += batch
        length += sum(map(len, batch))
        await pauses.take()
    return Text(found, length)


class InSlices(Response):
    """An answer of many pieces, put together to slices worth sending; others have their turn in between.

    Starlette's own way to stream an answer would import what it needs when the first one asks: ten milliseconds.
    """

    def __init__(self, text: Text, headers: dict[str, str], closely: Closely = nobody_looks) -> None:
        super().__init__(headers={**headers, "content-length": str(text.length)}, media_type="application/json")
        self._pieces = text.pieces
        self._closely = closely

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it; a client that goes away is noticed by what is sent."""
        with self._closely(DOCUMENT):
            await self._send(send)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        held: list[bytes] = []
        size = 0
        for piece in self._pieces:
            held.append(piece)
            size += len(piece)
            if size >= SLICE_BYTES:
                await send({"type": "http.response.body", "body": b"".join(held), "more_body": True})
                held.clear()
                size = 0
                await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b"".join(held)})


def _members(value: dict[str, Any]) -> bytes:
    """An object's JSON text without its closing brace."""
    return pydantic_core.to_json(value)[:-1]


def _elements(value: list[Any]) -> bytes:
    return pydantic_core.to_json(value)[1:-1]
