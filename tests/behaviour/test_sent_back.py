"""A client that reads a row and sends it back loses nothing: not what it may not write, nor what it cannot read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Walk, model_text, serving

ON_BOTH_DATABASES = True

HIDDEN = ", write_only: true"
PEOPLE = model_text(
    "people",
    "title: {type: string, required: true}",
    f"password: {{type: string, required: true, min_length: 3{HIDDEN}}}",
    f"pin: {{type: string, default: '0000'{HIDDEN}}}",
    f"hint: {{type: string{HIDDEN}}}",
    "seen: {type: integer, default: 0, read_only: true}",
    entity="Person",
)
SECRETS = {"password": "hush", "pin": "1234", "hint": "the usual"}
ROWS = "/api/people/people"


async def made(walk: Walk) -> dict[str, Any]:
    row = await walk.post(ROWS, {"title": "Dr", **SECRETS})
    assert not SECRETS.keys() & row.keys()
    return row


async def secrets_of(walk: Walk, row: dict[str, Any]) -> dict[str, Any]:
    """What is stored, as the model shows it once nothing is write-only any more."""
    await walk.save("people.yaml", PEOPLE.replace(HIDDEN, ""))
    shown = (await walk.get(f"{ROWS}/{row['id']}")).json
    return {name: shown[name] for name in SECRETS}


@pytest.mark.parametrize("way", ["PUT", "PATCH", "batch"])
async def test_what_cannot_be_read_outlives_that_the_row_is_sent_back(tmp_path: Path, way: str) -> None:
    async with serving(tmp_path, {"people.yaml": PEOPLE}) as walk:
        row = await made(walk)
        path = f"{ROWS}/{row['id']}"
        if way == "batch":
            operation = {"method": "PUT", "path": f"/people/{row['id']}", "body": row | {"title": "Prof"}}
            answer = await walk.call("POST", "/api/people/-/batch", [operation])
        else:
            answer = await walk.call(way, path, row | {"title": "Prof"})
        assert answer.status == 200, answer.json
        assert (await walk.get(path)).json["title"] == "Prof"
        assert await secrets_of(walk, row) == SECRETS


async def test_what_cannot_be_read_is_replaced_by_what_is_sent_and_emptied_by_null(tmp_path: Path) -> None:
    async with serving(tmp_path, {"people.yaml": PEOPLE}) as walk:
        row = await made(walk)
        answer = await walk.call("PUT", f"{ROWS}/{row['id']}", {**row, "password": "new", "hint": None})
        assert answer.status == 200
        assert await secrets_of(walk, row) == {"password": "new", "pin": "1234", "hint": None}


async def test_what_cannot_be_read_is_held_to_what_holds_for_it(tmp_path: Path) -> None:
    async with serving(tmp_path, {"people.yaml": PEOPLE}) as walk:
        row = await made(walk)
        for wrong in (None, "x"):
            refused = await walk.call("PUT", f"{ROWS}/{row['id']}", {**row, "password": wrong})
            assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "#/password")
        assert (await walk.call("PUT", f"{ROWS}/{row['id']}", {})).json["errors"][0]["pointer"] == "#/title"
        assert (await walk.call("POST", ROWS, {"title": "Dr"})).json["errors"][0]["pointer"] == "#/password"
        assert await secrets_of(walk, row) == SECRETS


async def test_the_document_says_that_a_replacement_need_not_send_what_cannot_be_read(tmp_path: Path) -> None:
    async with serving(tmp_path, {"people.yaml": PEOPLE}) as walk:
        schemas = json.loads(b"{%b}" % walk.revision("people").openapi.schemas)
        named = {name.rpartition("_")[2]: schema for name, schema in schemas.items()}
        assert set(named["PersonReplace"]["required"]) == {"title"}
        assert set(named["PersonCreate"]["required"]) == {"title", "password"}
        assert "write-only stays as it is" in named["PersonReplace"]["description"]
