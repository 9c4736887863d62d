"""A write that the database refuses is explained in the words of the model."""

from __future__ import annotations

from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest

from tests.unit.store.conftest import Query
from tests.unit.store.models import ID, apply, attribute, entity, key, model, sentence
from watcherd.errors import ConstraintError, StoreError
from watcherd.pim.spec import Index, OnDelete, Rule
from watcherd.store import Rows, Select, Store


async def test_a_duplicate_names_the_value(store: Store) -> None:
    rows = await apply(store, model(entity("Product", attribute("sku", unique=True), attribute("size", "integer"))))
    products = rows["Product"]
    await products.insert([{"id": key(1), "sku": "A1"}, {"id": key(2), "sku": "A2"}])
    with pytest.raises(ConstraintError, match=r"^sku 'A1' already exists$") as refusal:
        await products.insert([{"id": key(3), "sku": "A1"}])
    assert refusal.value.problem == "unique"
    assert refusal.value.constraint == "sku must be unique"
    assert refusal.value.attributes == ("sku",)
    with pytest.raises(ConstraintError, match=r"^sku 'A1' already exists$"):
        await products.update(key(2), lambda _: {"sku": "A1"})
    with pytest.raises(ConstraintError, match=rf"^id '{key(1)}' already exists$") as refusal:
        await products.insert([{"id": key(1)}])
    assert refusal.value.attributes == ("id",)


@pytest.mark.parametrize("facts", [{"unique": True}, {"index": True}, {"primary_key": True, "required": True}])
@pytest.mark.parametrize("characters", [3_200, 12_800])
async def test_a_value_that_is_too_long_for_an_index_is_named(
    store: Store, database_url: str, facts: dict[str, bool], characters: int
) -> None:
    """SQLite has no such bound."""
    code = attribute("code", **facts)
    linked = model(entity("Product", attribute("note"), code, key=None if code.primary_key else ID))
    rows = (await apply(store, linked))["Product"]
    long = "".join(f"{sha256(bytes([place])).hexdigest()}" for place in range(characters // 64))
    row = {"id": key(1), "code": long, "note": 2 * long} if not code.primary_key else {"code": long, "note": 2 * long}
    if database_url.startswith("sqlite"):
        await rows.insert([row])
        return
    with pytest.raises(ConstraintError, match=r"^code is too long for the index that it is in") as refusal:
        await rows.insert([row])
    assert (refusal.value.problem, refusal.value.attributes) == ("check", ("code",))
    await rows.insert([{**row, "code": "a"}])
    assert [one.values["code"] for one in (await rows.list(Select())).rows] == ["a"]


async def test_values_that_must_be_unique_together_are_named_together(store: Store) -> None:
    index = Index(attributes=("firstName", "age"), unique=True, name="who")
    rows = await apply(
        store, model(entity("User", attribute("firstName"), attribute("age", "integer"), indexes=[index]))
    )
    await rows["User"].insert([{"id": key(1), "firstName": "a", "age": 1}, {"id": key(2), "firstName": "a", "age": 2}])
    with pytest.raises(ConstraintError, match=r"^firstName 'a' and age 1 already exist together$") as refusal:
        await rows["User"].update(key(2), lambda _: {"age": 1})
    assert (refusal.value.constraint, refusal.value.attributes) == ("who", ("firstName", "age"))


async def test_a_broken_sentence_is_the_message(store: Store) -> None:
    told = [
        sentence("price must be positive", Rule.GREATER, "price", bound=Decimal(0)),
        sentence("price must be at least cost", Rule.AT_LEAST, "price", other="cost", name="margin"),
        sentence("ends after it starts", Rule.GREATER, "ends", other="starts"),
    ]
    attributes = [
        attribute("price", "decimal", scale=2),
        attribute("cost", "integer"),
        attribute("starts", "date"),
        attribute("ends", "date"),
    ]
    products = (await apply(store, model(entity("Product", *attributes, constraints=told))))["Product"]
    await products.insert([{"id": key(1), "price": "5.00", "cost": 5, "starts": "2026-01-01", "ends": "2026-01-02"}])
    cases: list[tuple[dict[str, Any], str, tuple[str, ...]]] = [
        ({"price": "0", "cost": None}, "price must be positive", ("price",)),
        ({"price": "4.99"}, "margin", ("price", "cost")),
        ({"cost": 6}, "margin", ("price", "cost")),
        ({"starts": "2026-01-02"}, "ends after it starts", ("ends", "starts")),
    ]
    for change, label, involved in cases:
        with pytest.raises(ConstraintError) as refusal:
            await products.update(key(1), lambda _, change=change: change)  # type: ignore[misc]  # bound in the loop
        assert (refusal.value.problem, refusal.value.constraint) == ("check", label)
        assert refusal.value.attributes == involved
    with pytest.raises(ConstraintError, match="price must be positive"):
        await products.insert([{"id": key(2), "price": "-1"}])
    await products.insert([{"id": key(2)}])


async def test_a_column_may_be_called_like_a_word_of_sql(store: Store) -> None:
    names = ("true", "false", "null", "rowid", "check", "new")
    told = [sentence(f"{name} must be positive", Rule.GREATER, name, bound=Decimal(0)) for name in names]
    things = entity("Thing", *(attribute(name, "integer") for name in names), constraints=told)
    rows = (await apply(store, model(things)))["Thing"]
    await rows.insert([{"id": key(1)}, {"id": key(2), **dict.fromkeys(names, 1)}])
    for name in names:
        with pytest.raises(ConstraintError, match=f"{name} must be positive"):
            await rows.update(key(1), lambda _, name=name: {name: 0})  # type: ignore[misc]  # bound in the loop
        with pytest.raises(ConstraintError, match=f"{name} must be positive"):
            await rows.insert([{"id": key(3), name: 0}])


async def test_an_old_revision_is_told_the_new_sentence(store: Store) -> None:
    old = (await apply(store, model(entity("Product", attribute("price", "integer")))))["Product"]
    told = sentence("price must be positive", Rule.GREATER, "price", bound=Decimal(0))
    await apply(store, model(entity("Product", attribute("price", "integer"), constraints=[told])), 2)
    with pytest.raises(ConstraintError, match="price must be positive") as refusal:
        await old.insert([{"id": key(1), "price": 0}])
    assert refusal.value.attributes == ("price",)


@pytest.fixture
async def shelf(store: Store) -> dict[str, Rows]:
    return await apply(
        store,
        model(
            entity("Author", attribute("rank", "decimal", scale=1, primary_key=True), key=None),
            entity("Book", attribute("author", "reference", to="Author")),
            entity("Note", attribute("author", "reference", to="Author", on_delete=OnDelete.CASCADE)),
            entity("Star", attribute("author", "reference", to="Author", on_delete=OnDelete.SET_NULL)),
        ),
    )


async def test_a_reference_to_nothing_names_the_value(shelf: dict[str, Rows]) -> None:
    await shelf["Author"].insert([{"rank": "1.5"}])
    await shelf["Book"].insert([{"id": key(1), "author": "1.5"}, {"id": key(2), "author": None}])
    with pytest.raises(ConstraintError, match=r"^author '2.5' does not exist$") as refusal:
        await shelf["Book"].insert([{"id": key(3), "author": "2.5"}])
    assert (refusal.value.problem, refusal.value.attributes) == ("foreign-key", ("author",))
    assert refusal.value.constraint == "author refers to Author"
    with pytest.raises(ConstraintError, match=r"^author '2.5' does not exist$"):
        await shelf["Book"].update(key(1), lambda _: {"author": "2.5"})


async def test_deleting_a_row_does_to_those_that_refer_to_it_what_the_model_says(shelf: dict[str, Rows]) -> None:
    await shelf["Author"].insert([{"rank": "1.5"}])
    await shelf["Book"].insert([{"id": key(1), "author": "1.5"}])
    await shelf["Note"].insert([{"id": key(1), "author": "1.5"}])
    await shelf["Star"].insert([{"id": key(1), "author": "1.5"}])
    with pytest.raises(ConstraintError, match=r"^rows of Book still refer to it$") as refusal:
        await shelf["Author"].delete("1.5")
    assert (refusal.value.problem, refusal.value.constraint) == ("foreign-key", "Book")
    assert await shelf["Note"].get(key(1)) is not None
    await shelf["Book"].delete(key(1))
    assert await shelf["Author"].delete("1.5")
    assert await shelf["Note"].get(key(1)) is None
    star = await shelf["Star"].get(key(1))
    assert star is not None
    assert star.values["author"] is None


async def test_a_deletion_that_fails_further_down_says_so(store: Store) -> None:
    tables = await apply(
        store,
        model(
            entity("A"),
            entity("B", attribute("a", "reference", to="A", on_delete=OnDelete.CASCADE)),
            entity("C", attribute("b", "reference", to="B")),
        ),
    )
    await tables["A"].insert([{"id": key(1)}])
    await tables["B"].insert([{"id": key(1), "a": key(1)}])
    await tables["C"].insert([{"id": key(1), "b": key(1)}])
    with pytest.raises(ConstraintError, match="rows that would go with it are still referred to"):
        await tables["A"].delete(key(1))


async def test_rows_out_of_service_that_still_refer_are_named_as_such(store: Store) -> None:
    author = entity("Author")
    tables = await apply(store, model(author, entity("Book", attribute("author", "reference", to="Author"))))
    await tables["Author"].insert([{"id": key(1)}])
    await tables["Book"].insert([{"id": key(1), "author": key(1)}])
    left = await apply(store, model(author), 2)
    with pytest.raises(ConstraintError, match="rows of Book still refer to it in author, which is out of service"):
        await left["Author"].delete(key(1))


THEIR_TRIGGER = {
    "sqlite": ["CREATE TRIGGER theirs BEFORE DELETE ON shop__thing BEGIN SELECT RAISE(ABORT, 'not theirs'); END"],
    "postgresql": [
        "CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not theirs'; END $$",
        "CREATE TRIGGER theirs BEFORE DELETE ON shop__thing FOR EACH ROW EXECUTE FUNCTION theirs()",
    ],
}


async def test_a_refusal_that_the_catalog_cannot_explain_is_a_refusal_all_the_same(
    store: Store, query: Query, database_url: str
) -> None:
    told = sentence("n must be positive", Rule.GREATER, "n", bound=Decimal(0))
    attributes = (attribute("n", "integer"), attribute("m", unique=True))
    rows = (await apply(store, model(entity("Thing", *attributes, constraints=[told]))))["Thing"]
    query("DELETE FROM watcherd_constraint")
    with pytest.raises(ConstraintError, match="it breaks a constraint: ck__shop__thing__n"):
        await rows.insert([{"id": key(1), "n": 0}])
    await rows.insert([{"id": key(1), "m": "x"}])
    with pytest.raises(ConstraintError, match="already exists") as refusal:
        await rows.insert([{"id": key(2), "m": "x"}])
    assert refusal.value.problem == "unique"
    for statement in THEIR_TRIGGER["postgresql" if database_url.startswith("postgresql") else "sqlite"]:
        query(statement)
    with pytest.raises(StoreError, match="not theirs"):
        await rows.delete(key(1))


async def test_a_value_of_a_newer_attribute_is_not_known_to_an_old_revision(store: Store) -> None:
    old = (await apply(store, model(entity("Thing"))))["Thing"]
    await apply(store, model(entity("Thing", attribute("m", default="x", unique=True))), 2)
    await old.insert([{"id": key(1)}])
    with pytest.raises(ConstraintError, match=r"^m already exists$"):
        await old.insert([{"id": key(2)}])
