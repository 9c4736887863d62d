"""Operators and pages against a model of both in Python: the same rows, in the same order, on any database."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.postgres import Postgres
from tests.unit.store.models import apply, attribute, entity, key, model
from watcherd.errors import StoreError, TooManyRowsError
from watcherd.store import Filter, Related, Rows, Select, Store, ordering
from watcherd.store.operators import OPERATORS, folded, padded

LETTERS = "aAbBßsS%_\\*[]'\"éÉe\u0301İiıσςΣ双🎈\ud7ff\ue000\U0010ffff"
TEXTS = st.text(st.sampled_from(LETTERS), max_size=4)
MOMENTS = st.datetimes().map(lambda value: value.isoformat(timespec="microseconds") + "Z")
DECIMALS = st.decimals(-1000, 1000, places=2).map(lambda value: f"{value:f}".replace("-0.00", "0.00"))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS,
    "integer": st.integers(-3, 3) | st.sampled_from([-(2**63), 2**63 - 1, 2**53, 2**53 + 1]),
    "float": st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.1, -0.0, 0.0, 5e-324, 1e308]),
    "decimal": DECIMALS,
    "boolean": st.booleans(),
    "datetime": MOMENTS,
    "enum": st.sampled_from(["a", "B", "b"]),
}
COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, asked: value == asked,
    "gt": lambda value, asked: value > asked,
    "gte": lambda value, asked: value >= asked,
    "lt": lambda value, asked: value < asked,
    "lte": lambda value, asked: value <= asked,
    "in": lambda value, asked: value in asked,
    "contains": lambda value, asked: asked in value,
    "icontains": lambda value, asked: caseless(asked) in caseless(value),
    "startswith": lambda value, asked: value.startswith(asked),
    "endswith": lambda value, asked: value.endswith(asked),
}
TEXT_ONLY = {"contains", "icontains", "startswith", "endswith"}


def caseless(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower().upper())


def comparable(kind: str, value: Any) -> Any:
    """A wire value as Python orders it; text by code points, which is what Python does."""
    return Decimal(value) if kind == "decimal" else value


def finds(kind: str, operator: str, value: Any, asked: Any) -> bool:
    """What an operator means."""
    if operator == "is_null":
        return value is None
    if operator == "is_not_null":
        return value is not None
    if operator in {"ne", "not_in"}:
        return not finds(kind, {"ne": "eq", "not_in": "in"}[operator], value, asked)
    if value is None:
        return False
    wanted = [comparable(kind, one) for one in asked] if isinstance(asked, list) else comparable(kind, asked)
    return COMPARED[operator](comparable(kind, value), wanted)


class Laid:
    """A table with a column of every kind, on a loop of its own: hypothesis calls no coroutines."""

    def __init__(self, database_url: str, directory: Path) -> None:
        self.runner = asyncio.Runner()
        self.run = self.runner.run
        self.store = self.run(Store.open(database_url, directory, durability="normal"))
        columns = [attribute(kind, kind, **({"scale": 2} if kind == "decimal" else {})) for kind in VALUES]
        lists = [
            attribute(f"{kind}s", kind, is_list=True, **({"scale": 2} if kind == "decimal" else {})) for kind in VALUES
        ]
        self.rows: Rows = self.run(apply(self.store, model(entity("Thing", *columns, *lists))))["Thing"]

    def fill(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Replace what is there; the rows get keys."""
        for row in self.run(self.rows.list(Select())).rows:
            self.run(self.rows.delete(row.values["id"]))
        made = [{"id": key(place), **row} for place, row in enumerate(rows)]
        return [row.values for row in self.run(self.rows.insert(made))]

    def ids(self, **query: Any) -> list[str]:
        return [row.values["id"] for row in self.run(self.rows.list(Select(**query))).rows]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def laid(request: pytest.FixtureRequest) -> Iterator[Laid]:
    with TemporaryDirectory() as directory:
        url = f"sqlite:///{directory}/watcherd.db"
        if request.param == "postgresql":
            server: Postgres = request.getfixturevalue("postgres")
            url = server.url(server.new_schema())
        table = Laid(url, Path(directory))
        with table.runner:
            yield table
            table.run(table.store.close())


quick = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@given(st.data())
@quick
@pytest.mark.parametrize("kind", list(VALUES))
def test_every_operator_finds_what_it_says(laid: Laid, kind: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | VALUES[kind], min_size=1, max_size=6))
    there = [value for value in values if value is not None]
    asked = data.draw(st.sampled_from(there) | VALUES[kind] if there else VALUES[kind])
    many = data.draw(st.lists(VALUES[kind], max_size=5))
    rows = laid.fill([{kind: value} for value in values])
    for operator in OPERATORS.keys() - {"has_item"}:
        if operator in TEXT_ONLY and kind != "string":
            continue
        wanted = [asked, *many] if operator.endswith("in") and operator not in TEXT_ONLY else asked
        found = laid.ids(filters=(Filter(kind, operator, wanted),))
        assert found == [row["id"] for row in rows if finds(kind, operator, row[kind], wanted)], (operator, wanted)


@given(st.data())
@quick
@pytest.mark.parametrize("kind", list(VALUES))
def test_a_list_contains_what_is_in_it(laid: Laid, kind: str, data: st.DataObject) -> None:
    lists = data.draw(st.lists(st.none() | st.lists(VALUES[kind], max_size=4), min_size=1, max_size=4))
    there = [item for one in lists for item in one or ()]
    asked = data.draw(st.sampled_from(there) | VALUES[kind] if there else VALUES[kind])
    rows = laid.fill([{f"{kind}s": one} for one in lists])
    found = laid.ids(filters=(Filter(f"{kind}s", "has_item", asked),))
    assert found == [row["id"] for row in rows if asked in (row[f"{kind}s"] or ())]


@given(st.data())
@quick
def test_pages_by_cursor_are_the_list_cut_into_pieces(laid: Laid, data: st.DataObject) -> None:
    row = st.fixed_dictionaries({kind: st.none() | values for kind, values in VALUES.items()})
    rows = laid.fill(data.draw(st.lists(row, max_size=8)))
    names = data.draw(st.lists(st.sampled_from([*VALUES, "id"]), max_size=3, unique=True))
    sort = tuple((name, data.draw(st.booleans())) for name in names)
    limit = data.draw(st.integers(1, 4))

    wanted = sorted(rows, key=lambda one: one["id"])
    for name, descending in reversed(ordering(sort, "id")):
        wanted.sort(key=lambda one, name=name: rank(name, one[name]), reverse=descending)  # type: ignore[misc]
    assert laid.ids(sort=sort) == [one["id"] for one in wanted]

    found: list[str] = []
    after = None
    for _ in range(len(rows) + 1):
        page = laid.run(laid.rows.list(Select(sort=sort, limit=limit, after=after)))
        found += [one.values["id"] for one in page.rows]
        if not page.more:
            break
        after = tuple(page.rows[-1].values[name] for name, _ in ordering(sort, "id"))
    assert found == [one["id"] for one in wanted]


def rank(name: str, value: Any) -> tuple[bool, Any]:
    """Null before every value."""
    return (False, 0) if value is None else (True, comparable(name, value))


async def test_a_page_goes_on_where_it_stopped_whatever_happens_in_between(store: Store) -> None:
    rows = (await apply(store, model(entity("Thing", attribute("name")))))["Thing"]
    await rows.insert([{"id": key(number), "name": "abcdef"[number]} for number in range(6)])
    first = await rows.list(Select(sort=(("name", False),), limit=2))
    await rows.delete(first.rows[-1].values["id"])
    await rows.insert([{"id": key(10), "name": "a"}, {"id": key(11), "name": "bb"}])
    page = await rows.list(Select(sort=(("name", False),), limit=2, after=("b", key(1))))
    assert [row.values["name"] for row in page.rows] == ["bb", "c"]
    assert page.total == 7


async def steps(store: Store, rows: Rows, query: Select) -> list[str]:
    """How SQLite finds the rows of a query."""
    bound, _ = rows._statements.select(query)
    plan = await store._database.read(
        lambda cursor: cursor.execute(f"EXPLAIN QUERY PLAN {bound.sql}", bound.parameters).fetchall()
    )
    return [step[-1] for step in plan]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("sort", [(), (("name", False),), (("name", False), ("size", True))])
async def test_an_index_finds_where_the_next_page_begins(store: Store, sort: tuple[tuple[str, bool], ...]) -> None:
    thing = entity("Thing", attribute("name", index=True), attribute("size", "integer"))
    rows = (await apply(store, model(thing)))["Thing"]
    after = tuple({"name": "n", "size": 1, "id": key(1)}[name] for name, _ in ordering(sort, "id"))
    plan = await steps(store, rows, Select(sort=sort, limit=5, after=after))
    assert plan[0].startswith("SEARCH")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_beginning_of_a_text_is_found_by_an_index(store: Store) -> None:
    rows = (await apply(store, model(entity("Thing", attribute("name", index=True)))))["Thing"]
    plan = await steps(store, rows, Select(filters=(Filter("name", "startswith", "a%"),)))
    assert plan[0].startswith("SEARCH")
    assert "name>? AND name<?" in plan[0]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Straße", "STRASSE"),
        ("É", "e\u0301"),
        ("ΣΑΣ", "σας"),
        ("İ", "i\u0307"),
        ("\u212a", "k"),
        ("ẞ", "ss"),
        ("ŉ", "\u02bcN"),
        ("双", "双"),
        ("", ""),
    ],
)
def test_case_and_composition_do_not_matter(text: str, same: str) -> None:
    assert folded(text) == folded(same)


def test_an_accent_is_no_letter_of_its_own() -> None:
    assert "E" not in str(folded("é"))
    assert folded(None) is None


@pytest.mark.parametrize(("count", "length"), [(1, 1), (2, 2), (3, 4), (5, 8), (1000, 1024)])
def test_few_lengths_of_lists_make_few_statements(count: int, length: int) -> None:
    values = list(range(count))
    assert len(padded(values)) == length
    assert set(padded(values)) == set(values)


async def test_an_operator_that_does_not_exist_is_refused(store: Store) -> None:
    rows = (await apply(store, model(entity("Thing", attribute("name")))))["Thing"]
    with pytest.raises(StoreError, match="operator 'near'"):
        await rows.list(Select(filters=(Filter("name", "near", "x"),)))
    with pytest.raises(StoreError, match="no such attribute"):
        await rows.list(Select(filters=(Filter("nope", "eq", "x"),)))


async def test_related_rows_are_read_beside_a_page_by_the_value_that_they_share(store: Store) -> None:
    box = entity("Box", attribute("name"))
    thing = entity(
        "Thing", attribute("box", "reference", to="Box"), attribute("boxes", "reference", to="Box", is_list=True)
    )
    tables = await apply(store, model(box, thing))
    boxes, things = tables["Box"], tables["Thing"]
    await boxes.insert([{"id": key(number), "name": f"b{number}"} for number in range(3)])
    await things.insert(
        [{"id": key(number + 10), "box": key(number // 2), "boxes": [key(2), key(0)]} for number in range(4)]
    )
    await things.insert([{"id": key(20)}])

    to_one, listed = Related("box", boxes, "box", "id"), Related("boxes", boxes, "boxes", "id")
    page = await things.list(Select(), [to_one, listed], max_related=2)
    assert {value: [row.values["name"] for row in rows] for value, rows in page.related["box"].items()} == {
        key(0): ["b0"],
        key(1): ["b1"],
    }
    assert page.related["boxes"].keys() == {key(0), key(2)}

    to_many = Related("things", things, "id", "box")
    page = await boxes.list(Select(), [to_many], max_related=4)
    assert [row.values["id"] for row in page.related["things"][key(1)]] == [key(12), key(13)]
    assert (await boxes.list(Select(limit=0), [to_many], max_related=4)).related == {"things": {}}
    with pytest.raises(TooManyRowsError, match="things finds over 3 rows of Thing"):
        await boxes.list(Select(), [to_many], max_related=3)


async def test_the_total_is_told_by_the_last_page_and_counted_otherwise(store: Store) -> None:
    rows = (await apply(store, model(entity("Thing", attribute("name")))))["Thing"]
    await rows.insert([{"id": key(number), "name": "ab"[number % 2]} for number in range(5)])
    for query in (
        {},
        {"limit": 2},
        {"limit": 5},
        {"skip": 3},
        {"skip": 9},
        {"limit": 0},
        {"limit": 2, "skip": 4},
        {"after": (key(2),)},
    ):
        page = await rows.list(Select(**query))  # type: ignore[arg-type]
        assert page.total == 5, query
    assert (await rows.list(Select(skip=9, filters=(Filter("name", "eq", "a"),)))).total == 3
    assert (await rows.list(Select(limit=2))).more
    assert not (await rows.list(Select(limit=5))).more
    assert not (await rows.list(Select(limit=0))).more
