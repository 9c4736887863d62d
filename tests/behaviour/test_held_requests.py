"""A request that is held open across each class of change ends on the revision that it began on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import drained, model_text, serving

ON_BOTH_DATABASES = True

TEAM = "  - name: Team\n    attributes: {title: string}\n"


def shop(*attributes: str, domain: str = "shop", size: str = "integer", entity: str = "Item", extra: str = "") -> str:
    return model_text(domain, *attributes, f"size: {size}", entity=entity, extra=f"{extra}{TEAM}")


BEFORE = shop("mail", "team: uuid")


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(shop("mail", "team: uuid", "color: {type: string, default: red}"), id="additive"),
        pytest.param(shop("mail: {type: string, unique: true}", "team: uuid"), id="now unique"),
        pytest.param(shop("mail", "team: uuid", extra="    constraints: [mail cannot be empty]\n"), id="check"),
        pytest.param(shop("mail", "team: {reference: Team}"), id="foreign key"),
        pytest.param(shop("post: {type: string, renamed_from: mail}", "team: uuid"), id="attribute renamed"),
        pytest.param(shop("mail", "team: uuid", entity="Thing", extra="    renamed_from: Item\n"), id="entity renamed"),
        pytest.param(f"{shop('mail', 'team: uuid', domain='store')}renamed_from: shop\n", id="model renamed"),
        pytest.param(shop("team: uuid"), id="attribute parked"),
        pytest.param(shop("mail", "team: uuid", size="{type: decimal, scale: 2}"), id="another type"),
        pytest.param(f"domain: shop\nentities:\n{TEAM}", id="entity parked"),
    ],
)
async def test_a_held_request_reads_and_writes_on_its_own_revision(
    tmp_path: Path, database_url: str, after: str
) -> None:
    async with serving(tmp_path, {"shop.yaml": BEFORE}, database_url=database_url) as walk:
        team = await walk.post("/api/shop/teams", {"title": "t"})
        row = await walk.post("/api/shop/items", {"name": "a", "mail": "old", "team": team["id"], "size": 1})
        writer, writing = walk.half_sent("/api/shop/items", b'{"name": "b", "mail": "late", "size": 2,')
        changer, changing = walk.half_sent(f"/api/shop/items/{row['id']}", b'{"size": 3, "mail":')
        changer.scope["method"] = "PATCH"
        report = await walk.save("shop.yaml", after)
        assert report.changed, report.refused
        writer.send_body(f'"team": "{team["id"]}"}}'.encode())
        changer.send_body(b'"new"}')
        written, changed = await writing, await changing
        assert (written.status, written.revision, written.json["mail"]) == (201, 1, "late")
        assert (changed.status, changed.revision, changed.json["mail"]) == (200, 1, "new")
        assert (written.json["size"], changed.json["size"]) == (2, 3)
        await drained(walk, "shop")
        await walk.save("shop.yaml", BEFORE if "store" not in after else f"{BEFORE}renamed_from: store\n")
        rows = (await walk.get("/api/shop/items?sort=name")).json["items"]
        assert [item["mail"] for item in rows] == ["new", "late"], "what was accepted is served or comes back"
        assert [item["size"] for item in rows] == [3, 2]
        await drained(walk, "shop")
