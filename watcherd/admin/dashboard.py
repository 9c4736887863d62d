"""The dashboard: what an operator looks at, at `/` and under `/admin/`.

Owns the routes of its pages and who may see them. The pages are made on the server and keep
themselves up to date: they hear the event stream, ask for themselves again and take over what is
different. Loading, unloading and rolling back are requests to the admin API, rows are read and
written through the models' own API: the dashboard can do nothing that a client cannot.

A browser that has given the admin token has a session (session). Without a token the pages answer
to this machine alone, like the admin API (guard).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import parse_qs, quote

import pydantic_core
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

import watcherd
from watcherd import problems
from watcherd.admin import overview
from watcherd.admin.guard import foreign_page, refusal
from watcherd.admin.model_pages import ModelPages
from watcherd.admin.pages import HEADERS, Pages, root_of
from watcherd.admin.parts import Parts
from watcherd.admin.session import close_session, is_token, open_session
from watcherd.problems import Problem
from watcherd.settings import Settings

MAX_FORM_BYTES = 16 * 1024
SHOWN_RELOADS = 12
"""How many reloads the first page tells of; the others have a page of their own."""

EXAMPLE = """\
domain: todo
title: Things to do
entities:
  - name: Task
    attributes:
      title: {type: string, required: true, max_length: 200}
      done: {type: boolean, default: false}
      due: date
"""
"""The model that an empty directory is shown; it has no finding, which a test looks after."""


def dashboard_routes(parts: Parts) -> list[BaseRoute]:
    """The pages; none is in the OpenAPI document."""
    board = Dashboard(parts)
    door = Door(parts.settings, board.pages)
    models = ModelPages(parts, board.pages)
    pages = {
        "/": board.first,
        "/admin/timeline": board.timeline,
        "/admin/pulse": board.pulse,
        "/admin/models/{name}": models.model,
        "/admin/models/{name}/{tab}": models.model,
        "/admin/file": models.file,
    }
    return [
        *(_route(path, door.guarded(page)) for path, page in pages.items()),
        _route("/admin/login", door.login, "GET", "POST"),
        _route("/admin/logout", door.logout, "POST"),
    ]


Page = Callable[[Request], Awaitable[Response]]


def _route(path: str, page: Page, *methods: str) -> Route:
    return Route(path, page, methods=list(methods) or ["GET"], include_in_schema=False)


class Dashboard:
    """The pages, on the parts of the daemon that they show."""

    def __init__(self, parts: Parts) -> None:
        self.pages = Pages(signed_in=parts.settings.admin_token is not None)
        self._parts = parts

    async def first(self, request: Request) -> Response:
        """Every model, and the last reloads."""
        parts = self._parts
        seen, generation = await overview.look(parts), parts.gateway.table.generation
        every = await overview.rows(seen)
        text, state = request.query_params.get("q", ""), request.query_params.get("state", "")
        found = overview.chosen(every, text, state)
        limit = len(found) if "all" in request.query_params else overview.MOST_ROWS
        counts = Counter(row.state for row in every)
        status, reasons = await parts.health()
        return await self.pages.answer(
            request,
            "dashboard.html",
            {
                "models_directory": str(parts.settings.models),
                "address": str(request.base_url).rstrip("/") + parts.settings.api_prefix,
                "example": EXAMPLE,
                "every": every,
                "rows": found[:limit],
                "hidden": len(found) - len(found[:limit]),
                "text": text,
                "state": state,
                "states": overview.STATES,
                "counts": {known: counts[known] for known in overview.STATES},
                "pulse": await overview.pulse(seen),
                "workers": seen.survey.workers,
                "generation": generation,
                "status": status,
                "reasons": reasons,
                "entries": list(parts.timeline.entries)[:SHOWN_RELOADS],
                "older": max(0, len(parts.timeline.entries) - SHOWN_RELOADS),
            },
        )

    async def timeline(self, request: Request) -> Response:
        """Every reload that is remembered."""
        return await self.pages.answer(request, "timeline.html", {"entries": list(self._parts.timeline.entries)})

    async def pulse(self, _request: Request) -> Response:
        """What the pages ask for every other second, as JSON: figures that change without an event."""
        seen, generation = await overview.look(self._parts), self._parts.gateway.table.generation
        body = await overview.pulse(seen) | {"version": watcherd.__version__, "generation": generation}
        return Response(pydantic_core.to_json(body), media_type="application/json", headers=dict(HEADERS))


class Door:
    """Who comes in, and how a browser gives the token."""

    def __init__(self, settings: Settings, pages: Pages) -> None:
        self._token = settings.admin_token
        self._pages = pages

    def guarded(self, page: Page) -> Page:
        """A page for those who may use the admin API; the others are told how they may."""

        async def answer(request: Request) -> Response:
            problem = refusal(request, self._token)
            if problem is None:
                return await page(request)
            if problem.type is problems.UNAUTHORIZED and request.url.path != "/admin/pulse":
                root, here = root_of(request.url.path), request.url.path
                wanted = quote(here + (f"?{request.url.query}" if request.url.query else ""), safe="/")
                return RedirectResponse(f"{root}admin/login?next={wanted}", status_code=303)
            return await self._refused(request, problem)

        return answer

    async def login(self, request: Request) -> Response:
        """The form, and the session for whoever fills it in rightly."""
        target = _local(request.query_params.get("next", "/"))
        if self._token is None:
            return RedirectResponse(root_of(request.url.path), status_code=303)
        if request.method == "GET":
            return await self._pages.answer(request, "login.html", {"next": target, "wrong": False})
        reason = foreign_page(request)
        if reason is not None:
            return await self._refused(request, Problem(problems.FORBIDDEN, reason))
        if not is_token(await _field(request, "token"), self._token):
            return await self._pages.answer(
                request, "login.html", {"next": target, "wrong": True}, status=HTTPStatus.UNAUTHORIZED
            )
        response = RedirectResponse(root_of(request.url.path) + target.lstrip("/"), status_code=303)
        open_session(request, response, self._token)
        return response

    async def logout(self, request: Request) -> Response:
        """Take the session away."""
        reason = foreign_page(request)
        if reason is not None:
            return await self._refused(request, Problem(problems.FORBIDDEN, reason))
        response = RedirectResponse("login", status_code=303)
        close_session(request, response)
        return response

    async def _refused(self, request: Request, problem: Problem) -> Response:
        return await self._pages.answer(
            request, "refused.html", {"title": problem.type.title, "detail": str(problem)}, status=problem.type.status
        )


def _local(path: str) -> str:
    """A path on this host, or `/`: what stands in an address must not lead elsewhere."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"


async def _field(request: Request, name: str) -> str:
    """A field of a form that was sent as browsers send it. Raises `Problem`."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise Problem(problems.BODY_TOO_LARGE, f"a form has at most {MAX_FORM_BYTES} bytes")
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=16)
    except ValueError:
        raise Problem(problems.BAD_REQUEST, "the form has too many fields") from None
    return fields.get(name, [""])[0]
