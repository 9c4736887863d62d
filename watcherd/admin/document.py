"""`/openapi.json`: the host's own part and every revision's fragment, joined; `?model=` shows one model alone.

A document is wholly of one generation: it is made from one route table, the one that its request
saw, and its pieces, which are the revisions' own, are kept until another generation is asked for. It
is sent a slice at a time: that of a thousand models has tens of megabytes, and nobody else waits.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import chain
from typing import Any, Final

import pydantic_core
from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from watcherd import problems
from watcherd.compile.openapi import joined_components, listed
from watcherd.gateway import TABLE, RouteTable
from watcherd.pim.spec import fold
from watcherd.problems import Problem
from watcherd.revision import Revision

SLICE_BYTES: Final = 512 * 1024


Missing = Callable[[str], Problem]


def no_such_model(model: str) -> Problem:
    """Nobody knows more of a model that is not served."""
    return Problem(problems.NO_SUCH_MODEL, f"no model named {model} is served")


class Document:
    """The document of the newest generation that somebody asked for.

    `base` is the host application's own document: admin, health and problem pages. `missing` says
    why no model of a name is served.
    """

    def __init__(self, base: dict[str, Any], missing: Missing = no_such_model) -> None:
        self._base = base
        self._missing = missing
        # Generations count from zero at every start: the tag must not be that of an earlier one.
        self._boot = secrets.token_hex(4)
        self._made: tuple[int, Sequence[bytes]] = (-1, ())

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
        if etag in [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        pieces = self.of(table) if revision is None else self.of_model(table.generation, revision)
        headers["content-length"] = str(sum(map(len, pieces)))
        return StreamingResponse(_slices(pieces), media_type="application/json", headers=headers)

    def of_model(self, generation: int, revision: Revision) -> Sequence[bytes]:
        """The document of one model, as the pieces of its JSON text."""
        spec = revision.linked.spec
        info = {"title": spec.title or spec.domain, "version": spec.version or "0", "description": spec.description}
        base = {**self._base, "info": info, "tags": [], "paths": {}}
        return pieces_of(base, RouteTable(generation, {revision.model: revision}))

    def of(self, table: RouteTable) -> Sequence[bytes]:
        """The document of a route table, as the pieces of its JSON text."""
        generation, pieces = self._made
        if generation != table.generation:
            pieces = pieces_of(self._base, table)
            if table.generation > generation:
                self._made = (table.generation, pieces)
        return pieces


def pieces_of(base: dict[str, Any], table: RouteTable) -> Sequence[bytes]:
    """The host's document and the fragments of a route table, models in order of name; nothing is copied."""
    fragments = [table.revisions[model].openapi for model in sorted(table.revisions)]
    head = {
        "openapi": base["openapi"],
        "info": base["info"],
        "x-watcherd-generation": table.generation,
    }
    paths = chain.from_iterable(fragment.texts("own_paths") for fragment in fragments)
    return [
        _members(head),
        b',"tags":[',
        *listed([*(fragment.tags for fragment in fragments), _elements(base.get("tags", []))]),
        b'],"paths":{',
        *listed([*paths, _members(base["paths"])[1:]]),
        b'},"components":',
        *joined_components(fragments, base.get("components", {})),
        b"}",
    ]


async def _slices(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    """Pieces put together to slices worth sending; others have their turn in between."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= SLICE_BYTES:
            yield b"".join(held)
            held.clear()
            size = 0
            await asyncio.sleep(0)
    yield b"".join(held)


def _members(value: dict[str, Any]) -> bytes:
    """An object's JSON text without its closing brace."""
    return pydantic_core.to_json(value)[:-1]


def _elements(value: list[Any]) -> bytes:
    return pydantic_core.to_json(value)[1:-1]
