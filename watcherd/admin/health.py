"""`/healthz` and `/readyz`: whether the process answers, and whether requests should be sent to it.

Owns the routes and the answers. What the daemon is like is the daemon's to say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests should be sent here; `reasons` say why not, or why not fully."""

    status: Literal["starting", "ok", "degraded", "stopping"]
    reasons: tuple[str, ...]
    generation: int


def health_routes(readiness: Callable[[], Awaitable[Readiness]]) -> APIRouter:
    """`/healthz` (the process answers) and `/readyz` (it serves; degraded counts as serving)."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", operation_id="healthz", summary="Whether the process answers at all")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get(
        "/readyz",
        operation_id="readyz",
        summary="Whether requests should be sent here",
        responses={
            503: {"description": "Not yet, or not any more", "content": {"application/json": {"schema": {}}}},
        },
    )
    async def readyz() -> JSONResponse:
        now = await readiness()
        serves = now.status in {"ok", "degraded"}
        return JSONResponse(
            {"status": now.status, "reasons": list(now.reasons), "generation": now.generation},
            status_code=200 if serves else 503,
            headers={} if serves else {"retry-after": "1"},
        )

    return router
