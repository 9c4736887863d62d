"""`/openapi.json`: the host's own part and every revision's fragment, joined.

A document is wholly of one generation: it is joined from one route table, the one that its
request saw, and kept until another generation is asked for.
"""

from __future__ import annotations

import secrets
from typing import Any

import pydantic_core
from fastapi import Request, Response

from watcherd.compile.openapi import joined_components
from watcherd.gateway import TABLE, RouteTable


class Document:
    """The joined document of the newest generation that somebody asked for.

    `base` is the host application's own document: admin, health and problem pages.
    """

    def __init__(self, base: dict[str, Any]) -> None:
        self._base = base
        # Generations count from zero at every start: the tag must not be that of an earlier one.
        self._boot = secrets.token_hex(4)
        self._joined: tuple[int, bytes] = (-1, b"")

    async def respond(self, request: Request) -> Response:
        """The document of the generation that this request sees; 304 if the client has it."""
        table: RouteTable = request.scope[TABLE]
        etag = f'"{self._boot}-{table.generation}"'
        headers = {"etag": etag, "cache-control": "no-cache"}
        if etag in [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        return Response(self.of(table), media_type="application/json", headers=headers)

    def of(self, table: RouteTable) -> bytes:
        """The document of a route table, as JSON text."""
        generation, joined = self._joined
        if generation != table.generation:
            joined = join(self._base, table)
            if table.generation > generation:
                self._joined = (table.generation, joined)
        return joined


def join(base: dict[str, Any], table: RouteTable) -> bytes:
    """Join the host's document and the fragments of a route table, models in order of name."""
    fragments = [table.revisions[model].openapi for model in sorted(table.revisions)]
    head = {
        "openapi": base["openapi"],
        "info": base["info"],
        "x-watcherd-generation": table.generation,
    }
    return b"".join(
        [
            _members(head),
            b',"tags":[',
            _joined([*(fragment.tags for fragment in fragments), _elements(base.get("tags", []))]),
            b'],"paths":{',
            _joined([*(fragment.paths for fragment in fragments), _members(base["paths"])[1:]]),
            b'},"components":',
            joined_components(fragments, base.get("components", {})),
            b"}",
        ]
    )


def _members(value: dict[str, Any]) -> bytes:
    """An object's JSON text without its closing brace."""
    return pydantic_core.to_json(value)[:-1]


def _elements(value: list[Any]) -> bytes:
    return pydantic_core.to_json(value)[1:-1]


def _joined(parts: list[bytes]) -> bytes:
    return b",".join(part for part in parts if part)
