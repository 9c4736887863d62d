"""What somebody else did to the tables is told, thing by thing, and left as it is."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from tests.helpers import calls_of
from tests.unit.store.conftest import Objects, Query, Written
from tests.unit.store.models import apply, attribute, entity, key, model, record, sentence
from watcherd.errors import StoreUnavailableError
from watcherd.pim.spec import Index, Rule
from watcherd.store import Store, checks, drift

NUMBER = attribute("id", "integer", primary_key=True, required=True, read_only=True)
LOAN = entity(
    "Loan",
    attribute("user", "reference", to="User"),
    attribute("days", "integer"),
    attribute("fee", "decimal", precision=8, scale=2),
    attribute("weight", "float"),
    attribute("tags", is_list=True),
    attribute("note", "json"),
    attribute("since", "date"),
    attribute("group by"),
    constraints=[sentence("days must be greater than 0", Rule.GREATER, "days", bound=Decimal(0))],
    indexes=[Index(attributes=("days", "since")), Index(attributes=("since", "weight"), unique=True)],
    key=NUMBER,
)
USER = entity("User", attribute("name", unique=True), attribute("age", "integer", index=True))
SHOP = model(USER, LOAN)


async def said(store: Store) -> dict[str, list[str]]:
    return {domain: [str(one) for one in found] for domain, found in (await store.drift()).items()}


def name_of(query: Query, kind: str, *, column: str) -> str:
    """The name of the one constraint of a kind that begins with a column."""
    found = query(f"SELECT name FROM watcherd_constraint WHERE kind = '{kind}' AND columns LIKE '[\"{column}\"%'")
    assert len(found) == 1
    return str(found[0][0])


async def test_tables_of_every_kind_are_what_the_catalog_says(store: Store) -> None:
    await apply(store, SHOP)
    await apply(
        store, model(entity("Item", attribute("owner", "reference", to="shop.User")), domain="bar", others=[SHOP])
    )
    assert await store.drift() == {}


async def test_an_empty_database_has_no_drift(store: Store) -> None:
    assert await store.drift() == {}


async def test_no_change_of_ours_is_drift(store: Store) -> None:
    tables = await apply(store, model(USER, LOAN))
    await tables["User"].insert([{"id": key(1), "name": "a"}])
    grown = entity(
        "User", attribute("name"), attribute("born", "date", unique=True), attribute("sister", "reference", to="User")
    )
    plan = await store.plan(model(grown))
    assert plan.rejections == ()
    assert await store.expand(plan, record(model(grown), 2)) == ()
    assert await store.drift() == {}, "Loan, age and the unique name are out of service"
    await store.loosen(plan)
    assert await store.drift() == {}
    renamed = entity("Person", attribute("first", renamed_from="name"), renamed_from="User")
    await apply(store, model(renamed, domain="store", renamed_from="shop"), 3)
    assert await store.drift() == {}
    await store.park("store")
    assert await store.drift() == {}


@pytest.mark.parametrize("meddling", ["ADD COLUMN mine integer", "DROP COLUMN weight"])
async def test_what_is_found_is_left_as_it_is(
    store: Store, query: Query, objects: Objects, written: Written, meddling: str
) -> None:
    await apply(store, model(entity("User", attribute("name"), attribute("weight", "float"))))
    query(f"ALTER TABLE shop__user {meddling}")
    before, then = objects(), written()
    assert len((await store.drift())["shop"]) == 1
    assert (objects(), written()) == (before, then)


async def test_columns_that_came_and_went_are_told(store: Store, query: Query) -> None:
    await apply(store, SHOP)
    query("ALTER TABLE shop__loan ADD COLUMN mine integer")
    query('ALTER TABLE shop__loan DROP COLUMN "group by"')
    assert await said(store) == {
        "shop": ["the column group by of shop__loan is missing", "the column mine of shop__loan is not ours"]
    }


async def test_a_column_of_another_type_is_told(store: Store, query: Query) -> None:
    await apply(store, SHOP)
    query("ALTER TABLE shop__loan DROP COLUMN fee")
    query("ALTER TABLE shop__loan ADD COLUMN fee varchar(20) NOT NULL DEFAULT ''")
    (one,) = (await store.drift())["shop"]
    assert (one.table, one.kind, one.name) == ("shop__loan", "column", "fee")
    assert one.wanted in {"INTEGER", "BIGINT"}
    assert str(one.found).upper() in {
        "VARCHAR(20) NOT NULL",
        "CHARACTER VARYING(20) NOT NULL",
        'CHARACTER VARYING(20) COLLATE "C" NOT NULL',
    }


async def test_indexes_that_came_and_went_are_told(store: Store, query: Query) -> None:
    await apply(store, SHOP)
    unique = name_of(query, "unique", column="name")
    query(f'DROP INDEX "{unique}"')
    query("CREATE INDEX mine ON shop__user (lower(name))")
    assert await said(store) == {
        "shop": ["the index mine of shop__user is not ours", f"the index {unique} of shop__user is missing"]
    }


async def test_an_index_that_no_longer_does_what_it_did_is_told(store: Store, query: Query) -> None:
    await apply(store, SHOP)
    unique, index = name_of(query, "unique", column="name"), name_of(query, "index", column="days")
    query(f'DROP INDEX "{unique}"')
    query(f'CREATE UNIQUE INDEX "{unique}" ON shop__user (name) WHERE age > 3')
    query(f'DROP INDEX "{index}"')
    query(f'CREATE INDEX "{index}" ON shop__loan (since, days)')
    assert await said(store) == {
        "shop": [
            f"the index {index} of shop__loan is (since, days), not (days, since)",
            f"the index {unique} of shop__user is UNIQUE (name) of some rows, not UNIQUE (name)",
        ]
    }


async def test_a_check_that_is_gone_is_told(store: Store, query: Query) -> None:
    await apply(store, SHOP)
    check = name_of(query, "check", column="days")
    await store._database.change(lambda cursor: checks.drop(cursor, {"shop__loan": [check]}))
    assert await said(store) == {"shop": [f"the check {check} of shop__loan is missing"]}


async def test_half_of_a_pair_of_triggers_is_told(store: Store, database_url: str, query: Query) -> None:
    if database_url.startswith("postgresql"):
        pytest.skip("no check is a pair of triggers there")
    await apply(store, SHOP)
    check = name_of(query, "check", column="days")
    await store._database.change(lambda cursor: checks.drop(cursor, {"shop__loan": [check]}))
    query(f'CREATE TRIGGER "{check}_i" BEFORE INSERT ON shop__loan WHEN NEW.days <= 0 BEGIN SELECT 1; END')
    assert await said(store) == {"shop": [f"the check {check}_u of shop__loan is missing"]}


async def test_a_constraint_of_somebody_else_in_a_table_is_told(store: Store, database_url: str, query: Query) -> None:
    if database_url.startswith("postgresql"):
        pytest.skip("ALTER TABLE makes it there, see below")
    await apply(store, SHOP)
    (sql,) = (text for (text,) in query("SELECT sql FROM sqlite_master WHERE name = 'shop__loan'"))
    query("DROP TABLE shop__loan")
    query(f"{sql[:-1]}, CONSTRAINT [of mine] CHECK (days < 9), CHECK (days < 8))")
    found = [one for one in (await said(store))["shop"] if "the check" in one]
    assert found == [
        "the check CHECK (days < 8) of shop__loan is not ours",
        "the check of mine of shop__loan is not ours",
    ]


async def test_a_check_of_somebody_else_is_told(store: Store, database_url: str, query: Query) -> None:
    await apply(store, SHOP)
    query(
        "CREATE TRIGGER mine BEFORE INSERT ON shop__loan BEGIN SELECT 1; END"
        if database_url.startswith("sqlite")
        else "ALTER TABLE shop__loan ADD CONSTRAINT mine CHECK (days < 9)"
    )
    assert await said(store) == {"shop": ["the check mine of shop__loan is not ours"]}


async def test_a_trigger_of_somebody_else_is_told_on_a_server_too(
    store: Store, database_url: str, query: Query
) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("a trigger there is told like a check, see above")
    await apply(store, SHOP)
    query(
        "CREATE TRIGGER mine BEFORE UPDATE ON shop__loan FOR EACH ROW "
        "EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    )
    assert await said(store) == {"shop": ["the check mine of shop__loan is not ours"]}


async def test_a_table_that_is_gone_is_one_difference(store: Store, query: Query) -> None:
    await apply(store, SHOP)
    query("DROP TABLE shop__loan")
    assert await said(store) == {"shop": ["the table shop__loan is missing"]}


async def test_the_tables_of_others_are_nobodys_business(store: Store, query: Query) -> None:
    await apply(store, SHOP)
    query("CREATE TABLE shop__mine (id integer)")
    query("CREATE INDEX mine ON shop__mine (id)")
    assert await store.drift() == {}


async def test_a_foreign_key_that_is_gone_is_told(store: Store, database_url: str, query: Query) -> None:
    await apply(store, SHOP)
    if database_url.startswith("sqlite"):
        made = query(
            "SELECT sql FROM sqlite_master WHERE tbl_name = 'shop__loan' AND sql IS NOT NULL ORDER BY rootpage = 0"
        )
        query("DROP TABLE shop__loan")
        for (sql,) in made:
            query(re.sub(r",\s*FOREIGN KEY.*ON DELETE NO ACTION", "", sql))
    else:
        ((name,),) = query(
            "SELECT conname::text FROM pg_constraint WHERE conrelid = 'shop__loan'::regclass AND contype = 'f'"
        )
        query(f'ALTER TABLE shop__loan DROP CONSTRAINT "{name}"')
    assert await said(store) == {"shop": ["the reference user of shop__loan is missing"]}


async def test_a_foreign_key_that_waits_for_its_table_is_no_drift(
    store: Store, database_url: str, query: Query
) -> None:
    await apply(store, SHOP)
    await apply(
        store, model(entity("Item", attribute("owner", "reference", to="shop.User")), domain="bar", others=[SHOP])
    )
    if database_url.startswith("sqlite"):
        query("DROP TABLE shop__user")
    else:
        query("DROP TABLE shop__user CASCADE")
    assert await said(store) == {"shop": ["the table shop__user is missing"]}


async def test_differences_are_those_of_their_model(store: Store, query: Query) -> None:
    for domain in ("Bar", "foo", "ok"):
        await apply(store, model(entity("Item", attribute("name")), domain=domain))
    query("ALTER TABLE bar__item ADD COLUMN mine integer")
    query("ALTER TABLE foo__item ADD COLUMN mine integer")
    assert await said(store) == {
        "Bar": ["the column mine of bar__item is not ours"],
        "foo": ["the column mine of foo__item is not ours"],
    }


async def test_what_was_undone_is_no_drift_any_more(store: Store, query: Query) -> None:
    await apply(store, SHOP)
    query("ALTER TABLE shop__user ADD COLUMN mine integer")
    assert list(await store.drift()) == ["shop"]
    query("ALTER TABLE shop__user DROP COLUMN mine")
    assert await store.drift() == {}


async def test_a_closed_database_is_not_a_changed_one(store: Store) -> None:
    await store.close()
    with pytest.raises(StoreUnavailableError):
        await store.drift()


async def test_the_cost_of_a_look_grows_with_the_tables_and_no_faster(store: Store) -> None:
    calls = []
    for few in (10, 40):
        for number in range(few):
            await apply(store, model(USER, domain=f"shop-{number}"))
        sight = await store._database.read(drift.look)
        calls.append(calls_of(lambda sight=sight: drift.drift(sight)))
    assert calls[1] < 5 * calls[0]
