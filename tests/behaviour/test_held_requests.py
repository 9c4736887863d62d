"""A request that is held open across each class of change ends on the revision that it began on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import drained, model_text, serving

TEAM = "  - name: Team\n    attributes: {title: string}\n"
BEFORE = model_text("shop", "mail", "team: uuid", extra=TEAM)


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(
            model_text("shop", "mail", "team: uuid", "color: {type: string, default: red}", extra=TEAM), id="additive"
        ),
        pytest.param(
            model_text("shop", "mail: {type: string, unique: true}", "team: uuid", extra=TEAM), id="now unique"
        ),
        pytest.param(
            model_text("shop", "mail", "team: uuid", extra=f"    constraints: [mail cannot be empty]\n{TEAM}"),
            id="check",
        ),
        pytest.param(model_text("shop", "mail", "team: {reference: Team}", extra=TEAM), id="foreign key"),
        pytest.param(
            model_text("shop", "post: {type: string, renamed_from: mail}", "team: uuid", extra=TEAM),
            id="attribute renamed",
        ),
        pytest.param(
            model_text("shop", "mail", "team: uuid", entity="Thing", extra=f"    renamed_from: Item\n{TEAM}"),
            id="entity renamed",
        ),
        pytest.param(
            model_text("store", "mail", "team: uuid", extra=f"{TEAM}renamed_from: shop\n"), id="model renamed"
        ),
        pytest.param(model_text("shop", "team: uuid", extra=TEAM), id="attribute parked"),
        pytest.param(f"domain: shop\nentities:\n{TEAM}", id="entity parked"),
    ],
)
async def test_a_held_request_reads_and_writes_on_its_own_revision(tmp_path: Path, after: str) -> None:
    async with serving(tmp_path, {"shop.yaml": BEFORE}) as walk:
        team = await walk.post("/api/shop/teams", {"title": "t"})
        row = await walk.post("/api/shop/items", {"name": "a", "mail": "old", "team": team["id"]})
        writer, writing = walk.half_sent("/api/shop/items", b'{"name": "b", "mail": "late",')
        changer, changing = walk.half_sent(f"/api/shop/items/{row['id']}", b'{"mail":')
        changer.scope["method"] = "PATCH"
        report = await walk.save("shop.yaml", after)
        assert report.changed, report.refused
        writer.send_body(f'"team": "{team["id"]}"}}'.encode())
        changer.send_body(b'"new"}')
        written, changed = await writing, await changing
        assert (written.status, written.revision, written.json["mail"]) == (201, 1, "late")
        assert (changed.status, changed.revision, changed.json["mail"]) == (200, 1, "new")
        await drained(walk, "shop")
        await walk.save("shop.yaml", BEFORE if "store" not in after else f"{BEFORE}renamed_from: store\n")
        rows = (await walk.get("/api/shop/items?sort=name")).json["items"]
        assert [item["mail"] for item in rows] == ["new", "late"], "what was accepted is served or comes back"
        await drained(walk, "shop")
