"""What bodies the management API takes: JSON alone, and none where the query says it all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import model_text, serving

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("path", ["/admin/pim/load", "/admin/pim/shop/rollback"])
@pytest.mark.parametrize("kind", [FORM, "text/plain", "multipart/form-data; boundary=x"])
async def test_another_type_than_json_is_415(path: str, kind: str, tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": model_text("shop")}) as walk:
        refused = await walk.send("POST", path, b'{"pim_file": "shop.yaml", "revision": 1}', kind)
        assert (refused.status, refused.json["type"]) == (415, "/problems/unsupported-media-type")
        assert "application/json" in refused.json["detail"]


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "application/merge-patch+json"]
)
async def test_json_by_any_name_is_read(kind: str, tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": model_text("shop")}) as walk:
        assert (await walk.send("POST", "/admin/pim/load", b'{"pim_file": "shop.yaml"}', kind)).status == 409


async def test_without_a_body_its_type_does_not_matter(tmp_path: Path) -> None:
    async with serving(tmp_path, {"shop.yaml": model_text("shop")}) as walk:
        answer = await walk.call("POST", "/admin/pim/load?pim_file=shop.yaml", content_type=FORM, content_length="0")
        assert answer.status == 409
