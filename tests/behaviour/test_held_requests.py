"""A request that is held open across each class of change ends on the revision that it began on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.helpers import drained, model_text, serving
from watcherd.followers import Nobody
from watcherd.ledger import World
from watcherd.stop import Requests

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


class Late(Nobody):
    """Another process that takes its time to follow."""

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self.follows = asyncio.Event()
        self.follows.set()

    async def follow(self, generation: int, world: World) -> None:
        self.told.set()
        await self.follows.wait()


async def test_a_request_is_known_to_a_stop_and_to_administrators_from_the_swap_on_whatever_follows_first(
    tmp_path: Path, database_url: str
) -> None:
    late = Late()
    async with serving(tmp_path, {"shop.yaml": BEFORE}, database_url=database_url, followers=late) as walk:
        begun, answering = walk.half_sent("/api/shop/items", b'{"name":')
        while not walk.revision("shop").in_flight:
            await asyncio.sleep(0)
        late.told.clear()
        late.follows.clear()
        saving = asyncio.create_task(walk.save("shop.yaml", shop("mail", "team: uuid", "color")))
        await late.told.wait()
        assert walk.revision("shop").number == 2
        assert [held["held_by"][0]["path"] for held in (await walk.listed("shop.yaml"))["draining"]] == [
            "/api/shop/items"
        ]
        requests = Requests(walk.gateway, walk.drains)
        requests.refuse_new(last_call=False)
        assert requests.ask_to_leave() == 1
        ending = asyncio.create_task(requests.end())
        late.follows.set()
        await saving
        assert not ending.done()
        begun.send_body(b'"a"}')
        reply = await answering
        assert (reply.status, reply.revision) == (201, 1)
        await ending
        await drained(walk, "shop")
        assert [event.revision for event in walk.events if event.name == "model.drained"] == [1]
