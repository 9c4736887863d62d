"""A change that needs a look at a million rows: readers of the same model go on, writers wait or are told to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import Walk, model_text, serving
from watcherd.store import apply
from watcherd.store.cursor import Cursor
from watcherd.store.plan import Rejection, Scan

ON_BOTH_DATABASES = True

ROWS = 1_000_000
BEFORE = model_text("shop", "code", "size: integer")
STRICTER = model_text(
    "shop",
    "code: {type: string, required: true, unique: true, pattern: '^c[0-9]+$', max_length: 20}",
    "color: {type: string, default: red}",
    "size: integer",
    extra="    constraints: [code cannot be empty]\n",
)
ANOTHER_TYPE = model_text("shop", "code", "size: {type: decimal, scale: 2, index: true}")
FILL = f"""
INSERT INTO shop__item (id, name, size, code)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
SELECT '00000000-0000-7000-8000-' || CAST(100000000000 + i AS TEXT), 'n', i, 'c' || CAST(i AS TEXT) FROM n
"""


class Looks:
    """How often the rows were looked at, and whether they are now; told from the threads that look."""

    def __init__(self, original: Callable[[Cursor, tuple[Scan, ...]], tuple[Rejection, ...]]) -> None:
        self._original = original
        self.begun = 0
        self.running = False

    def look(self, cursor: Cursor, scans: tuple[Scan, ...]) -> tuple[Rejection, ...]:
        self.begun += 1
        self.running = True
        try:
            return self._original(cursor, scans)
        finally:
            self.running = False


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("after", "shown"),
    [
        pytest.param(STRICTER, {"code": "c1", "color": "red"}, id="stricter"),
        pytest.param(ANOTHER_TYPE, {"code": "c1", "size": "1.00"}, id="another type"),
    ],
)
async def test_readers_go_on_and_no_writer_fails_while_a_million_rows_are_looked_at(
    tmp_path: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    after: str,
    shown: dict[str, str],
) -> None:
    async with serving(tmp_path, {"shop.yaml": BEFORE}, database_url=database_url) as walk:
        await walk.store._database.change(lambda cursor: cursor.execute(FILL) and None)
        looks = Looks(apply.rows_in_the_way)
        monkeypatch.setattr(apply, "rows_in_the_way", looks.look)
        change = asyncio.create_task(walk.save("shop.yaml", after))
        reading = asyncio.create_task(_read(walk, change, looks))
        writing = asyncio.create_task(_write(walk, change))
        report = await change
        within, longest = await reading
        answers = await writing
        with capsys.disabled():
            kind = database_url.partition(":")[0]
            counted = {status: answers.count(status) for status in set(answers)}
            figures = f"longest read {longest * 1000:.0f} ms, reads within each look {within}, writes {counted}"
            print(f"\n{kind}, {ROWS} rows: {figures}")  # noqa: T201 - the figure is what one looks for

        assert report.swapped == ("shop",), report.refused
        # Once for the plan and once in the transaction: reads began and ended within both.
        assert set(within) == {1, 2}
        assert min(within.values()) > 10
        assert set(answers) <= {201, 503}, answers
        assert 201 in answers
        row = (await walk.get("/api/shop/items?limit=1&sort=id")).json["items"][0]
        assert {name: row[name] for name in shown} == shown


async def _read(walk: Walk, change: asyncio.Task[object], looks: Looks) -> tuple[dict[int, int], float]:
    """Read a row and a page again and again; how many reads were whole within each look, and the longest."""
    within: dict[int, int] = {}
    longest = 0.0
    while not change.done():
        for path in ("/api/shop/items/00000000-0000-7000-8000-100000000001", "/api/shop/items?limit=10&count=none"):
            look = looks.begun if looks.running else None
            begun = time.perf_counter()
            reply = await walk.get(path)
            longest = max(longest, time.perf_counter() - begun)
            assert reply.status == 200, reply.body
            if look is not None and look == looks.begun and looks.running:
                within[look] = within.get(look, 0) + 1
        await asyncio.sleep(0)
    return within, longest


async def _write(walk: Walk, change: asyncio.Task[object]) -> list[int]:
    """Write one row after another, as the revision in service wants it; what was answered."""
    answers = []
    while not change.done():
        body = {"name": "w", "code": f"c{2 * ROWS + len(answers)}"}
        answers.append((await walk.call("POST", "/api/shop/items", body)).status)
    return answers
