"""The management API's look at changes: plan one, list the kept revisions, go back to one.

Owns what these requests mean and how they are answered. A plan changes nothing; a rollback is a
reload like any other (reload).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from watcherd import problems
from watcherd.admin import views
from watcherd.admin.bodies import json_alone
from watcherd.compile.values import wire_moment
from watcherd.draft import RollbackRefusedError
from watcherd.ledger import Rollback, World
from watcherd.pim import parse
from watcherd.pim.spec import fold
from watcherd.problems import Problem
from watcherd.reload import Order, Reloader
from watcherd.store import KeptRevision
from watcherd.watch import ChangeSet

YAML_TYPES = ("application/yaml", "text/yaml", "application/x-yaml", "text/plain")
PLANNED_FILE = "plan.yaml"
"""How the findings of a plan name the text that was sent."""


class RollbackRequest(BaseModel):
    """Which of the kept revisions is to serve again."""

    model_config = ConfigDict(extra="forbid")

    revision: int = Field(ge=1, description="the number of a kept revision", examples=[3])


def add_evolution_routes(router: APIRouter, reloader: Reloader, *, max_file_bytes: int) -> None:
    """Add the routes to the guarded ones of the admin API.

    To that router itself: a route of one that is included in it calls itself by the path within that,
    without the prefix, and so would the log and the metrics.
    """
    api = EvolutionApi(reloader, max_file_bytes)
    router.add_api_route(
        "/pim/plan",
        api.plan,
        methods=["POST"],
        operation_id="admin_plan",
        summary="What a model's text would do, with nothing done",
        openapi_extra={
            "requestBody": {
                "required": False,  # an empty text has a finding like any other
                "content": {kind: {"schema": {"type": "string"}} for kind in YAML_TYPES},
            }
        },
        responses={413: {"description": "The text is too large"}, 415: {"description": "The body is not YAML"}},
    )
    router.add_api_route(
        "/pim/{name}/revisions",
        api.revisions,
        methods=["GET"],
        operation_id="admin_revisions",
        summary="The last good revisions of a model",
        responses={404: {"description": "No model of this name was ever served"}},
    )
    router.add_api_route(
        "/pim/{name}/rollback",
        api.roll_back,
        methods=["POST"],
        operation_id="admin_rollback",
        summary="Serve a kept revision again, until the file changes or is loaded",
        dependencies=[Depends(json_alone)],
        responses={
            404: {"description": "No such model in service, or no such revision"},
            409: {"description": "Rows or other models stand in its way, or it serves already"},
            415: {"description": "The body is not JSON"},
        },
    )


class EvolutionApi:
    """The operations, on the reloader that they ask or order."""

    def __init__(self, reloader: Reloader, max_file_bytes: int) -> None:
        self._reloader = reloader
        self._max_file_bytes = max_file_bytes

    async def plan(self, request: Request) -> dict[str, Any]:
        """Findings, changes of the tables and of the API, rows in the way."""
        kind = request.headers.get("content-type", YAML_TYPES[0]).partition(";")[0].strip().lower()
        if kind not in YAML_TYPES:
            raise Problem(problems.UNSUPPORTED_MEDIA_TYPE, f"the body is {kind}: send one of {', '.join(YAML_TYPES)}")
        content = await request.body()
        if len(content) > self._max_file_bytes:
            raise Problem(problems.BODY_TOO_LARGE, f"a model has at most {self._max_file_bytes} bytes")
        return (await self._reloader.preview(content, PLANNED_FILE)).as_json()

    async def revisions(self, name: str) -> dict[str, Any]:
        """Newest first."""
        kept = await self._reloader.kept(fold(name))
        if not kept:
            raise Problem(problems.NO_SUCH_MODEL, f"no model named {name} was ever served")
        live = self._reloader.world.live.get(fold(name))
        serving = None if live is None else live.revision.number
        return {"name": name, "revisions": [_entry(one, serving) for one in kept]}

    async def roll_back(self, name: str, body: RollbackRequest) -> dict[str, Any]:
        """The kept source becomes a new revision; the file stays as it is."""
        model = fold(name)
        kept = next((one for one in await self._reloader.kept(model) if one.revision == body.revision), None)
        order = Order(rollback=_rollback(self._reloader.world, name, body.revision, kept))
        try:
            done = await self._reloader.reload(ChangeSet(paths=frozenset(), full=False, reason="request"), order)
        except RollbackRefusedError as error:
            found = [views.diagnostic(item) for item in error.diagnostics]
            raise Problem(problems.ROLLBACK_REFUSED, str(error), extra={"diagnostics": found}) from error
        if model not in done.world.rolled_back:
            raise Problem(problems.ROLLBACK_REFUSED, f"the file of {name} changed at this very moment; try again")
        live = done.world.live[model]
        return {
            "status": "success",
            "result": {
                "pim_name": live.spec.domain,
                "revision": live.revision.number,
                "of": body.revision,
                "state": done.world.state_of(live.path).value,
            },
        }


def _rollback(world: World, name: str, revision: int, kept: KeptRevision | None) -> Rollback:
    """The order, if the model is in service, the revision is kept and is not what serves."""
    model = fold(name)
    path = world.owners.get(model)
    if path is None or path not in world.files or model in world.unloaded:
        raise Problem(problems.NO_SUCH_MODEL, f"no model named {name} is in service; load it first")
    if kept is None:
        raise Problem(problems.NO_SUCH_REVISION, f"revision {revision} of {name} is not among those that are kept")
    parsed = parse(kept.source, f"{name} revision {revision}")
    if parsed.spec is None or parsed.spec.name != model:
        detail = f"revision {revision} is not a valid model of the domain {name} any more"
        raise Problem(problems.ROLLBACK_REFUSED, detail)
    live = world.live.get(model)
    if live is not None and (live.spec, live.revision.linked.code.files) == (parsed.spec, kept.code.files):
        raise Problem(problems.ROLLBACK_REFUSED, f"revision {revision} of {name} means what is served already")
    return Rollback(kept.source, parsed, world.files[path].source.digest, kept.code)


def _entry(kept: KeptRevision, serving: int | None) -> dict[str, Any]:
    return {
        "revision": kept.revision,
        "serving": kept.revision == serving,
        "file": kept.file,
        "applied_at": wire_moment(datetime.fromisoformat(kept.applied_at)),
        "fingerprint": kept.fingerprint,
        "source": kept.source.decode("utf-8", "replace"),
    }
