"""`/openapi.json`: the host's own part and every revision's fragment, joined; `?model=` shows one model alone.

A document is wholly of one generation: it is joined from one route table, the one that its
request saw, and kept until another generation is asked for.
"""

from __future__ import annotations

import secrets
from typing import Any

import pydantic_core
from fastapi import Request, Response

from watcherd import problems
from watcherd.compile.openapi import joined_components
from watcherd.gateway import TABLE, RouteTable
from watcherd.pim.spec import fold
from watcherd.problems import Problem
from watcherd.revision import Revision, joined


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
                raise Problem(problems.NO_SUCH_MODEL, f"no model named {wanted} is served")
        etag = f'"{self._boot}-{table.generation}"'
        headers = {"etag": etag, "cache-control": "no-cache"}
        if etag in [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        text = self.of(table) if revision is None else self.of_model(table.generation, revision)
        return Response(text, media_type="application/json", headers=headers)

    def of_model(self, generation: int, revision: Revision) -> bytes:
        """The document of one model, as JSON text."""
        spec = revision.linked.spec
        info = {"title": spec.title or spec.domain, "version": spec.version or "0", "description": spec.description}
        base = {**self._base, "info": info, "tags": [], "paths": {}}
        return join(base, RouteTable(generation, {revision.model: revision}))

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
            joined([*(fragment.tags for fragment in fragments), _elements(base.get("tags", []))]),
            b'],"paths":{',
            joined([*(fragment.paths for fragment in fragments), _members(base["paths"])[1:]]),
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
