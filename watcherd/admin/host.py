"""The host application: FastAPI, for everything that is not a model.

Owns how its parts are put together, how its errors become problem bodies, and that HEAD and OPTIONS
are answered wherever HTTP expects it. No route of a model is ever added here: models are served by
the gateway from their revisions.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pydantic_core
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route

import watcherd
from watcherd import problems
from watcherd.admin.described import describe_problems
from watcherd.admin.document import Document, Missing
from watcherd.compile.operations import SECURITY_SCHEMES
from watcherd.errors import StoreError, WatcherdError
from watcherd.exchange import REQUEST_ID
from watcherd.holds import Closely, nobody_looks
from watcherd.problems import CATALOGUE, Finding, Problem, no_such_model
from watcherd.wire import PROBLEM_JSON, AsgiApp, Message, Receive, Scope, Send

DESCRIPTION = """\
The APIs of all models that are in service now, and the management API of the daemon.
This document changes with the models: `x-watcherd-generation` says which state it describes."""


METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
"""What a path may allow beside OPTIONS."""


def make_host(
    routers: list[APIRouter],
    pages: list[BaseRoute],
    *,
    needs_key: bool = False,
    missing: Missing = no_such_model,
    closely: Closely = nobody_looks,
) -> FastAPI:
    """The host application. `pages` are routes that the OpenAPI document does not describe.

    With `needs_key` the document says how the models' API keys are sent; `missing` says why no model
    of a name is served; the document is made while the event loop is looked at `closely`.
    """
    host = FastAPI(title="watcherd", openapi_url=None, docs_url=None, redoc_url=None)
    host.add_middleware(_HeadAsGet)
    host.include_router(_problem_pages())
    for router in routers:
        host.include_router(router)
    base = get_openapi(title="watcherd", version=watcherd.__version__, description=DESCRIPTION, routes=host.routes)
    describe_problems(base)
    if needs_key:
        base.setdefault("components", {})["securitySchemes"] = dict(SECURITY_SCHEMES)
    document = Document(base, missing, closely)
    host.router.routes.extend([Route("/openapi.json", document.respond, methods=["GET"]), *pages])
    _answer_errors_as_problems(host)
    return host


class _HeadAsGet:
    """Lets every route that answers GET answer HEAD: FastAPI's own know only what they declare."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        # In a copy: the server must go on knowing that no body follows, and the log what was asked.
        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive, send_head)
        finally:
            scope.update({"route": as_get["route"]} if "route" in as_get else {})


def _problem_pages() -> APIRouter:
    """What every problem's `type` leads to: its explanation."""
    router = APIRouter(prefix="/problems", tags=["problems"])

    @router.get("", operation_id="problems", summary="Every type of problem that this server answers with")
    async def list_problems() -> list[dict[str, Any]]:
        return [_explained(item) for item in CATALOGUE.values()]

    @router.get(
        "/{slug}",
        operation_id="problem",
        summary="What a type of problem means",
        responses={404: {"description": "There is no such type"}},
    )
    async def show_problem(slug: str) -> dict[str, Any]:
        if slug not in CATALOGUE:
            raise Problem(problems.NO_SUCH_PATH, f"there is no problem type {slug}; GET /problems lists them")
        return _explained(CATALOGUE[slug])

    return router


def _explained(item: problems.ProblemType) -> dict[str, Any]:
    return {"type": item.path, "status": item.status, "title": item.title, "explanation": item.explanation}


def _answer_errors_as_problems(host: FastAPI) -> None:
    @host.exception_handler(WatcherdError)
    async def expected(request: Request, error: WatcherdError) -> Response:
        if isinstance(error, Problem):
            return _problem(request, error)
        if isinstance(error, StoreError):
            return _problem(request, Problem(problems.UNAVAILABLE, str(error), headers={"retry-after": "1"}))
        raise error

    @host.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        if isinstance(error.__cause__, Problem):
            return _problem(request, error.__cause__)  # FastAPI takes what reading a body raised for a 400
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            return _wrong_method(request, _allowed(host, request))
        missing = error.status_code == HTTPStatus.NOT_FOUND
        kind = problems.NO_SUCH_PATH if missing else problems.BAD_REQUEST
        detail = f"nothing is served at {request.url.path}" if missing else str(error.detail)
        return _problem(request, Problem(kind, detail, headers=dict(error.headers or {})))

    @host.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        found = error.errors()
        if any(item["type"] == "json_invalid" for item in found):
            return _problem(request, Problem(problems.MALFORMED_JSON, "the body is not JSON"))
        in_query = all(item["loc"][0] in {"query", "path"} for item in found)
        kind = problems.INVALID_QUERY if in_query else problems.VALIDATION
        findings = [Finding(_pointer(item["loc"]), item["type"], item["msg"]) for item in found]
        detail = "; ".join(f"{finding.pointer}: {finding.message}" for finding in findings)
        return _problem(request, Problem(kind, detail, errors=findings))

    @host.exception_handler(Exception)
    async def failed(request: Request, _error: Exception) -> Response:
        # Starlette raises the exception again after this answer, and the gateway logs it.
        detail = "the server failed to answer; its log has a line with this request id"
        return _problem(request, Problem(problems.INTERNAL, detail))


def _wrong_method(request: Request, allowed: str) -> Response:
    """405, or what an OPTIONS asks for: routes are made for the other methods alone."""
    if request.method == "OPTIONS":
        return Response(status_code=204, headers={"allow": allowed})
    detail = f"{request.method} is not allowed here; there are {allowed}"
    return _problem(request, Problem(problems.METHOD_NOT_ALLOWED, detail, headers={"allow": allowed}))


def _allowed(host: FastAPI, request: Request) -> str:
    """The methods of a path, over all of its routes: each of them knows its own alone."""
    full = [
        method
        for method in METHODS
        if any(
            route.matches({**request.scope, "method": "GET" if method == "HEAD" else method})[0] is Match.FULL
            for route in host.routes
        )
    ]
    return ", ".join(sorted([*full, "OPTIONS"]))


def _pointer(location: tuple[int | str, ...]) -> str:
    """Where a finding is: a JSON pointer into the body, or the name of a parameter."""
    where, *parts = location
    # A lone surrogate is a valid escape of JSON, and in no encoding of an answer.
    rest = [str(part).encode("utf-8", "backslashreplace").decode() for part in parts]
    return "#" + "".join(f"/{part}" for part in rest) if where == "body" else ".".join(rest)


def _problem(request: Request, problem: Problem) -> Response:
    body = problem.body(instance=request.url.path, request_id=request.scope.get(REQUEST_ID, ""))
    return Response(
        pydantic_core.to_json(body),
        status_code=problem.type.status,
        media_type=PROBLEM_JSON.decode(),
        headers=problem.headers,
    )
