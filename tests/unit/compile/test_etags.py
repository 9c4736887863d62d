from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from watcherd.compile.etag import etag, wanted_versions
from watcherd.store import Cursor, ModelTables

PRODUCT = {"sku": "A1", "price": "12.5"}


@pytest.fixture
async def row(shop: Any) -> tuple[str, str]:
    """Path and tag of a row."""
    made = await shop.post("/products", PRODUCT)
    return f"/products/{made.json['id']}", made.headers["etag"]


async def test_a_tag_is_strong_and_begins_with_the_version(shop: Any, row: tuple[str, str]) -> None:
    path, tag = row
    assert tag.startswith('"1-')
    patched = await shop.patch(path, {"stock": 1})
    assert patched.headers["etag"].startswith('"2-')
    assert (await shop.get(path)).headers["etag"] == patched.headers["etag"]


async def test_a_known_representation_is_304(shop: Any, row: tuple[str, str]) -> None:
    path, tag = row
    for condition in (tag, f"W/{tag}", "*", f'"x", {tag}', f'"a,b" ,{tag}'):
        known = await shop.get(path, if_none_match=condition)
        assert (known.status, known.body, known.headers) == (304, b"", {"etag": tag})
    for condition in ('"1-0000000000000000"', '"x"', "", tag.strip('"')):
        assert (await shop.get(path, if_none_match=condition)).status == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_write_on_the_version_that_was_read_goes_through(shop: Any, row: tuple[str, str], method: str) -> None:
    path, tag = row
    assert (await shop(method, path, PRODUCT, if_match=tag)).status in {200, 204}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_only_the_version_counts_in_if_match(shop: Any, row: tuple[str, str], method: str) -> None:
    """So that a reload, which may show the row differently, fails no write."""
    path, _ = row
    condition = '"9-0123456789abcdef", "1-0123456789abcdef"'
    assert (await shop(method, path, PRODUCT, if_match=condition)).status in {200, 204}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "condition", ['"2-0123456789abcdef"', 'W/"1-0123456789abcdef"', '"1"', '"abc"', "1-0123456789abcdef", ""]
)
async def test_a_write_on_another_version_is_412(shop: Any, row: tuple[str, str], method: str, condition: str) -> None:
    path, tag = row
    refused = await shop(method, path, PRODUCT, if_match=condition)
    assert (refused.status, refused.slug) == (412, "precondition-failed")
    assert (await shop.get(path)).headers["etag"] == tag, "nothing was written"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_any_version_will_do_for_a_star(shop: Any, row: tuple[str, str], method: str) -> None:
    path, _ = row
    assert (await shop(method, path, PRODUCT, if_match="*")).status in {200, 204}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("condition", ["*", " * ", '"1-0123456789abcdef"', 'W/"1-0123456789abcdef"', '"x", {tag}'])
async def test_a_row_that_is_not_to_be_there_is_not_written(
    shop: Any, row: tuple[str, str], method: str, condition: str
) -> None:
    """`If-None-Match: *` on a PUT says: only where there is none. It must not overwrite one that is."""
    path, tag = row
    refused = await shop(method, path, PRODUCT, if_none_match=condition.replace("{tag}", tag))
    assert (refused.status, refused.slug) == (412, "precondition-failed")
    assert (await shop.get(path)).headers["etag"] == tag, "nothing was written"
    refused = await shop(method, path, PRODUCT, if_none_match=condition.replace("{tag}", tag), if_match="*")
    assert refused.status == 412, "both conditions hold"
    await shop.delete(path)
    assert (await shop(method, path, PRODUCT, if_none_match=condition)).status == 404


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_row_at_another_version_than_those_refused_is_written(
    shop: Any, row: tuple[str, str], method: str
) -> None:
    path, tag = row
    assert (await shop(method, path, PRODUCT, if_none_match='"7-0123456789abcdef"', if_match='"8-x"')).status == 412
    assert (await shop(method, path, PRODUCT, if_none_match='"7-0123456789abcdef"', if_match=tag)).status in {200, 204}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_missing_row_is_404_whatever_the_condition(shop: Any, row: tuple[str, str], method: str) -> None:
    path, tag = row
    await shop.delete(path)
    assert (await shop(method, path, PRODUCT, if_match=tag)).status == 404
    assert (await shop(method, path, PRODUCT, if_match="*")).status == 404


async def test_a_changed_row_is_told_before_a_bad_body(shop: Any, row: tuple[str, str]) -> None:
    path, tag = row
    await shop.patch(path, {"stock": 1})
    assert (await shop.put(path, {"sku": 5}, if_match=tag)).status == 412
    assert (await shop.put(path, {"sku": 5})).status == 422
    await shop.delete(path)
    assert (await shop.put(path, {"sku": 5})).status == 404


async def test_of_writes_on_the_same_version_one_wins(shop: Any, row: tuple[str, str]) -> None:
    path, tag = row
    replies = await asyncio.gather(*(shop.patch(path, {"stock": stock}, if_match=tag) for stock in range(20)))
    assert sorted(item.status for item in replies) == [200] + [412] * 19
    assert (await shop.get(path)).headers["etag"].startswith('"2-')


@pytest.mark.parametrize(("method", "body"), [("DELETE", None), ("PATCH", {"stock": 1}), ("PUT", PRODUCT)])
async def test_a_row_that_changes_just_before_it_is_written_is_kept(
    shop: Any, row: tuple[str, str], monkeypatch: pytest.MonkeyPatch, method: str, body: Any
) -> None:
    path, tag = row
    write = ModelTables.write

    async def change_and_write(tables: ModelTables, work: Callable[[Cursor], Any]) -> Any:
        await tables.entities["Product"].update(path.rpartition("/")[2], lambda _: {"stock": 9})
        return await write(tables, work)

    with monkeypatch.context() as patched:
        patched.setattr(ModelTables, "write", change_and_write)
        assert (await shop(method, path, body, if_match=tag)).status == 412
    assert (await shop.get(path)).json["stock"] == 9


@pytest.mark.parametrize("version", [1, 1882545695884493050, 2**63 - 1])
def test_a_tag_names_the_version_that_it_was_made_of_whatever_that_is(version: int) -> None:
    assert wanted_versions(etag(version, b"{}")) == {version}
