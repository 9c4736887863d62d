"""The host's part of the document: its errors are described as the problems that they are."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from watcherd.admin.described import describe_problems


class Thing(BaseModel):
    name: str


def described() -> dict[str, Any]:
    router = APIRouter()

    @router.get("/things", responses={503: {"content": {"application/json": {}}, "description": "later"}})
    async def find(*, quick: bool = False) -> str:
        return ""

    @router.post("/things", responses={409: {"description": "there is one"}})
    async def make(thing: Thing) -> str:
        return thing.name

    host = FastAPI()
    host.include_router(router)
    base = host.openapi()
    describe_problems(base)
    return base


def test_an_error_that_a_route_declares_is_a_problem() -> None:
    conflict = described()["paths"]["/things"]["post"]["responses"]["409"]

    assert conflict["description"] == "there is one"
    assert list(conflict["content"]) == ["application/problem+json"]


def test_a_body_of_its_own_stays() -> None:
    assert list(described()["paths"]["/things"]["get"]["responses"]["503"]["content"]) == ["application/json"]


def test_what_is_not_valid_is_described_as_the_host_answers_it_and_not_as_fastapi_would() -> None:
    document = described()
    find, make = (document["paths"]["/things"][method]["responses"] for method in ("get", "post"))

    assert find.keys() == {"200", "400", "500", "503"}
    assert make.keys() == {"200", "400", "409", "413", "422", "500", "503"}
    assert make["422"] == {"$ref": "#/components/responses/Problem422"}
    assert document["components"]["schemas"].keys() == {"Thing"}
