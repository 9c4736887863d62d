"""The management API under `/admin`: load, unload, list, show, reload; `evolution` adds plans and rollbacks.

Owns what these requests mean and how they are answered. What they do is a reload like any other
(reload), and who may send them is the guard's.
"""

from __future__ import annotations

import contextlib
import dataclasses
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Body, Depends, Query, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from watcherd import directory, problems
from watcherd.admin import views
from watcherd.admin.bodies import json_alone
from watcherd.admin.evolution import add_evolution_routes
from watcherd.admin.guard import guard
from watcherd.directory import SourceFile
from watcherd.drain import Drains
from watcherd.errors import PathOutsideError, StoreError
from watcherd.followers import Followers
from watcherd.gateway import Gateway
from watcherd.ledger import State, World
from watcherd.pim import parse
from watcherd.pim.spec import fold
from watcherd.problems import Finding, Problem
from watcherd.reload import Order, Reloader
from watcherd.settings import Settings
from watcherd.watch import ChangeSet


def _encodable(text: str) -> str:
    """Refuse lone surrogates: they are valid escapes of JSON, but no file and no model has such a name."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("expected valid Unicode text") from None
    return text


Name = Annotated[str, AfterValidator(_encodable)]


class LoadRequest(BaseModel):
    """Which model to load, from which file; one of the two is enough where the other follows."""

    model_config = ConfigDict(extra="forbid")

    pim_name: Name | None = Field(None, description="the model's domain", examples=["user-management"])
    pim_file: Name | None = Field(
        None, description="the file, relative to the models directory", examples=["user_management.yaml"]
    )
    dry_run: bool = Field(default=False, description="say what would happen, change nothing")


def admin_routes(
    settings: Settings, gateway: Gateway, reloader: Reloader, drains: Drains, followers: Followers
) -> APIRouter:
    """The router of the admin API, guarded."""
    api = Api(settings, gateway, reloader, drains, followers)
    router = APIRouter(
        prefix="/admin",
        tags=["admin"],
        dependencies=[Depends(guard(settings.admin_token))],
        responses={
            401: {"description": "The bearer token is missing or wrong"},
            403: {"description": "No token is set, and the request does not come from this machine"},
        },
    )
    router.add_api_route(
        "/pim/load",
        api.load,
        methods=["POST"],
        operation_id="admin_load",
        summary="Load a model from a file inside the models directory",
        dependencies=[Depends(json_alone)],
        responses={
            404: {"description": "No such file"},
            409: {"description": "Already live"},
            415: {"description": "The body is not JSON"},
            422: {"description": "The file has errors, or is of another model"},
        },
    )
    router.add_api_route(
        "/pim/{name}",
        api.unload,
        methods=["DELETE"],
        operation_id="admin_unload",
        summary="Take a model out of service; its data stays",
        responses={404: {"description": "Not loaded"}, 409: {"description": "Other live models refer to it"}},
    )
    router.add_api_route(
        "/pim",
        api.list_all,
        methods=["GET"],
        operation_id="admin_list",
        summary="Every model file and the state of its model",
    )
    router.add_api_route(
        "/pim/{name}",
        api.show,
        methods=["GET"],
        operation_id="admin_show",
        summary="One model in full",
        responses={404: {"description": "No file speaks for a model of this name"}},
    )
    router.add_api_route(
        "/reload",
        api.reload_all,
        methods=["POST"],
        operation_id="admin_reload",
        summary="Read the whole directory again, now",
        responses={
            202: {"description": "Under way (`wait=false`)"},
            503: {"description": "The directory, or the database, cannot be read now"},
        },
    )
    add_evolution_routes(router, reloader, max_file_bytes=settings.max_file_bytes)
    return router


class Api:
    """The operations, on the parts of the daemon that they are about."""

    def __init__(
        self, settings: Settings, gateway: Gateway, reloader: Reloader, drains: Drains, followers: Followers
    ) -> None:
        self._root = settings.models
        self._max_file_bytes = settings.max_file_bytes
        self._prefix = settings.api_prefix
        self._gateway = gateway
        self._reloader = reloader
        self._drains = drains
        self._followers = followers

    async def load(
        self,
        body: Annotated[LoadRequest | None, Body()] = None,
        pim_name: Annotated[str | None, Query()] = None,
        pim_file: Annotated[str | None, Query()] = None,
        dry_run: Annotated[bool | None, Query()] = None,
    ) -> dict[str, Any]:
        """Put a model (back) into service, as its file says: a rollback ends. The body and the query say the same."""
        await self._reloader.catch_up()
        asked = body or LoadRequest()
        name = asked.pim_name or pim_name
        trial = asked.dry_run if dry_run is None else dry_run
        source = _find(self._root, self._reloader, name, asked.pim_file or pim_file, self._max_file_bytes)
        _check_name(name, source)
        _check_not_live(self._reloader.world, source)
        done = await self._reloader.reload(
            ChangeSet(paths=frozenset({source.path}), full=False, reason="request"),
            Order(load=source.path, dry_run=trial),
        )
        live = next((live for live in done.world.live.values() if live.path == source.path), None)
        if source.path in done.world.refusals or live is None:
            raise _not_valid(done.world, source)
        return {
            "status": "success",
            "result": {
                "pim_name": live.spec.domain,
                "revision": live.revision.number,
                "routes_count": len(live.revision.operations),
                "endpoints": views.endpoints(live.revision, self._prefix),
                "dry_run": trial,
            },
        }

    async def unload(self, name: str, *, force: bool = False) -> dict[str, str]:
        """Take a model out of service, until it is loaded again or its file is gone."""
        await self._reloader.catch_up()
        world, model = self._reloader.world, fold(name)
        if model not in world.live.keys() | world.waiting:
            raise Problem(problems.NO_SUCH_MODEL, f"{name} is not loaded")
        spec = world.live[model].spec if model in world.live else world.specs[model]
        domain, dependants = spec.domain, world.dependants(model)
        if dependants and not force:
            raise Problem(
                problems.IN_USE, f"{', '.join(dependants)} refer to {domain}", extra={"dependants": dependants}
            )
        await self._reloader.reload(ChangeSet(paths=frozenset(), full=False, reason="request"), Order(unload=model))
        return {"status": "success", "message": f"{domain} is out of service; its data and its file stay"}

    async def list_all(self) -> dict[str, Any]:
        """One entry per file."""
        survey = await self._followers.survey()
        return await views.listing(self._reloader.world, self._drains, self._gateway.table.generation, survey)

    async def show(self, name: str) -> dict[str, Any]:
        """One entry in full; of several files of a name, the one that speaks for it."""
        survey = await self._followers.survey()
        world = self._reloader.world
        owner = world.path_of(name)
        if owner is None:
            # The tables of one whose file is gone may have drifted all the same.
            drifted = [dataclasses.asdict(one) for one in self._reloader.drift.of(fold(name))]
            extra = {"drift": drifted} if drifted else None
            raise Problem(problems.NO_SUCH_MODEL, f"no file speaks for a model named {name}", extra=extra)
        drift = self._reloader.drift.of(fold(world.name_of(owner)))
        return views.full(world, owner, self._drains, survey, self._prefix, drift)

    async def reload_all(self, background: BackgroundTasks, response: Response, *, wait: bool = True) -> dict[str, Any]:
        """Answers when it is done, with what changed and what was rejected; with `wait=false` at once."""
        change = ChangeSet(paths=frozenset(), full=True, reason="request")
        if wait:
            done = await self._reloader.reload(change)
            if done.unread is not None:
                raise Problem(
                    problems.UNAVAILABLE, f"{done.unread}; what was read last stays", headers={"retry-after": "5"}
                )
            return views.report(done)
        background.add_task(self._reload_unseen, change)
        response.status_code = HTTPStatus.ACCEPTED
        return {"status": "accepted"}

    async def _reload_unseen(self, change: ChangeSet) -> None:
        with contextlib.suppress(StoreError):  # the reload tells of it
            await self._reloader.reload(change)


def _find(root: Path, reloader: Reloader, name: str | None, file: str | None, max_bytes: int) -> SourceFile:
    """The file to load: the one that is named, or the one that speaks for the model."""
    if file is None:
        if name is None:
            raise _invalid("pim_file", "say which model to load: pim_file, or pim_name of a model with a file")
        file = reloader.world.owners.get(fold(name))
        if file is None:
            raise Problem(problems.NO_SUCH_FILE, f"no file speaks for a model named {name}; name one as pim_file")
    try:
        path = directory.resolve_inside(root, file)
    except PathOutsideError as error:
        raise Problem(problems.OUTSIDE_DIRECTORY, str(error)) from error
    if not directory.is_model_name(path):
        raise _invalid("pim_file", f"{file} is not named like a model file: *.yaml or *.yml, not hidden")
    source = directory.read(root, path, max_bytes=max_bytes)
    if source is None:
        raise Problem(problems.NO_SUCH_FILE, f"the models directory has no file {file}")
    return source


def _check_name(name: str | None, source: SourceFile) -> None:
    if name is None or source.content is None:
        return
    domain = parse(source.content, source.display).domain
    if domain is not None and fold(domain) != fold(name):
        raise _invalid("pim_name", f"{source.display} declares the domain {domain}, not {name}")


def _check_not_live(world: World, source: SourceFile) -> None:
    known = world.files.get(source.path)
    if known is None or known.source.digest != source.digest or world.state_of(source.path) is not State.LIVE:
        return
    raise Problem(problems.ALREADY_LIVE, f"{world.name_of(source.path)} is already served from {source.display}")


def _not_valid(world: World, source: SourceFile) -> Problem:
    refusal = world.refusals.get(source.path)
    found = () if refusal is None else refusal.diagnostics
    errors = sum(item.is_error for item in found)
    return Problem(
        problems.INVALID_MODEL,
        f"{source.display} cannot be served: {errors} error{'' if errors == 1 else 's'}",
        extra={"diagnostics": [views.diagnostic(item) for item in found]},
    )


def _invalid(field: str, message: str) -> Problem:
    return Problem(problems.VALIDATION, message, errors=[Finding(f"#/{field}", "invalid", message)])
