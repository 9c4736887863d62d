"""A declared rename moves names, not data; nothing is ever guessed, and nothing gets two names."""

from __future__ import annotations

import pytest

from tests.unit.store.conftest import Query
from tests.unit.store.models import apply, attribute, entity, key, model, record, refuse, sentence
from watcherd.errors import ConstraintError
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Entity, Rule
from watcherd.store import Row, Rows, Select, StepKind, Store, catalog_tables

MAIL = model(entity("User", attribute("mail", unique=True)))
EMAIL = model(entity("User", attribute("email", unique=True, renamed_from="mail")))


async def values(rows: Rows) -> list[dict[str, object]]:
    return [{n: v for n, v in row.values.items() if n != "id"} for row in (await rows.list(Select())).rows]


async def test_an_attribute_takes_its_data_along_without_any_statement(store: Store) -> None:
    old = (await apply(store, MAIL))["User"]
    await old.insert([{"id": key(1), "mail": "a"}])
    plan = await store.plan(EMAIL)
    assert [(step.kind, step.statements) for step in plan.steps] == [(StepKind.RENAME, ())]
    assert plan.steps[0].describe() == "rename User.mail to email"
    assert (plan.parked, plan.loosen, plan.notices) == ((), (), ())
    new = (await apply(store, EMAIL, 2))["User"]
    assert await new.get(key(1)) == Row(1, {"id": key(1), "email": "a"})


async def test_the_old_revision_goes_on_under_the_old_name(store: Store) -> None:
    old = (await apply(store, MAIL))["User"]
    new = (await apply(store, EMAIL, 2))["User"]
    await old.insert([{"id": key(1), "mail": "a"}])
    await new.insert([{"id": key(2), "email": "b"}])
    await old.update(key(2), lambda _: {"mail": "c"})
    assert await values(new) == [{"email": "a"}, {"email": "c"}]
    assert await values(old) == [{"mail": "a"}, {"mail": "c"}]
    for rows, name in ((old, "mail"), (new, "email")):
        with pytest.raises(ConstraintError, match="already exists"):
            await rows.insert([{"id": key(3), name: "a"}])


async def test_a_name_that_was_never_there_may_come_with_the_rename_that_speaks_of_it(store: Store) -> None:
    """The columns that a change needs may be made ahead of it: they are not what an attribute was called before."""
    old = (await apply(store, model(entity("User", attribute("name")))))["User"]
    await old.insert([{"id": key(1), "name": "x"}])
    both = (attribute("mail", renamed_from="post"), attribute("post", unique=True))
    new = (await apply(store, model(entity("User", attribute("name"), *both)), 2))["User"]
    assert await values(new) == [{"name": "x", "mail": None, "post": None}]
    assert (await store.plan(model(entity("User", attribute("name"), *both)))).changes_schema is False


async def test_the_same_id_is_a_rename(store: Store) -> None:
    old = (await apply(store, model(entity("User", attribute("mail", stable_id="x1")))))["User"]
    await old.insert([{"id": key(1), "mail": "a"}])
    new = (await apply(store, model(entity("User", attribute("email", stable_id="x1"))), 2))["User"]
    assert await values(new) == [{"email": "a"}]


async def test_the_same_id_does_not_take_a_name_that_is_parked_with_data(store: Store) -> None:
    mail = attribute("mail", stable_id="x1")
    rows = (await apply(store, model(entity("User", mail, attribute("email")))))["User"]
    await rows.insert([{"id": key(1), "mail": "a", "email": "b"}])
    await apply(store, model(entity("User", mail)), 2)
    rejection, _ = await refuse(store, model(entity("User", attribute("email", stable_id="x1"))))
    assert (rejection.code, rejection.attribute) == ("PIM610", "email")
    assert "watcherd prune" in str(rejection.hint)
    back = (await apply(store, model(entity("User", attribute("email"))), 3))["User"]
    assert await values(back) == [{"email": "b"}]


async def test_limits_may_change_together_with_the_name(store: Store) -> None:
    old = (await apply(store, MAIL))["User"]
    await old.insert([{"id": key(1), "mail": "long"}])
    short = model(entity("User", attribute("email", unique=True, renamed_from="mail", max_length=2)))
    rejection, _ = await refuse(store, short)
    assert (rejection.code, rejection.attribute) == ("PIM605", "email")
    await old.delete(key(1))
    await apply(store, short, 2)


async def test_a_rename_that_is_in_effect_is_nothing(store: Store) -> None:
    await apply(store, MAIL)
    await apply(store, EMAIL, 2)
    plan = await store.plan(EMAIL)
    assert (plan.steps, plan.changes_schema, plan.rejections) == ((), False, ())
    again = model(entity("User", attribute("email", unique=True, renamed_from="mail"), attribute("mail")))
    await apply(store, again, 3)
    assert (await store.plan(again)).changes_schema is False


async def test_a_rename_that_is_taken_back_is_undone_also_when_the_line_was_removed(store: Store) -> None:
    old = (await apply(store, MAIL))["User"]
    await old.insert([{"id": key(1), "mail": "a"}])
    await apply(store, EMAIL, 2)
    await apply(store, model(entity("User", attribute("email", unique=True))), 3)
    back = (await apply(store, MAIL, 4))["User"]
    assert await values(back) == [{"mail": "a"}]
    again = (await apply(store, EMAIL, 5))["User"]
    assert await values(again) == [{"email": "a"}]


async def test_what_is_parked_follows_a_rename_that_is_declared_later(store: Store) -> None:
    old = (await apply(store, MAIL))["User"]
    await old.insert([{"id": key(1), "mail": "a"}])
    await apply(store, model(entity("User")), 2)
    new = (await apply(store, EMAIL, 3))["User"]
    assert await values(new) == [{"email": "a"}]


MAIL_AND_EMAIL = model(entity("User", attribute("mail"), attribute("email")))


@pytest.mark.parametrize(
    ("history", "renamed", "why"),
    [
        pytest.param(
            [MAIL_AND_EMAIL],
            model(entity("User", attribute("email", renamed_from="mail"))),
            "mail cannot become email: email has stored data of its own",
            id="onto an existing name",
        ),
        pytest.param(
            [MAIL],
            model(entity("User", attribute("mail", unique=True), attribute("email", renamed_from="mail"))),
            "mail is still there",
            id="away from a name that stays",
        ),
    ],
)
async def test_two_attributes_never_get_one_name(
    store: Store, history: list[LinkedModel], renamed: LinkedModel, why: str
) -> None:
    for revision, linked in enumerate(history, start=1):
        await apply(store, linked, revision)
    rejection, _ = await refuse(store, renamed)
    assert (rejection.code, rejection.entity, rejection.attribute) == ("PIM610", "User", "email")
    assert why in rejection.message
    assert "renamed_from: mail" in str(rejection.hint)


async def test_a_rename_never_covers_what_is_stored_under_a_parked_name(store: Store) -> None:
    rows = (await apply(store, MAIL_AND_EMAIL))["User"]
    await rows.insert([{"id": key(1), "mail": "a"}, {"id": key(2), "mail": "b", "email": "c"}])
    await apply(store, model(entity("User", attribute("mail"))), 2)
    rejection, _ = await refuse(store, model(entity("User", attribute("email", renamed_from="mail"))))
    assert (rejection.code, rejection.attribute, rejection.first_ids) == ("PIM610", "email", (key(2),))
    assert "parked as email" in rejection.message
    assert "watcherd prune" in str(rejection.hint)


@pytest.mark.parametrize("default", [None, "none"])
async def test_a_rename_that_was_forgotten_to_be_declared_can_be_made_up_for(store: Store, default: str | None) -> None:
    mail = model(entity("User", attribute("mail"), attribute("name")))
    forgotten = model(entity("User", attribute("email", default=default), attribute("name")))
    declared = model(entity("User", attribute("email", renamed_from="mail", default=default), attribute("name")))
    rows = (await apply(store, mail))["User"]
    await rows.insert([{"id": key(1), "mail": "a", "name": "n"}])
    await apply(store, forgotten, 2)
    await apply(store, mail, 3)
    new = (await apply(store, declared, 4))["User"]
    assert await values(new) == [{"email": "a", "name": "n"}]
    assert (await store.plan(declared)).changes_schema is False
    # What is there returns, and not the empty one of the same name, also after it has been parked.
    await apply(store, model(entity("User", attribute("name"))), 5)
    assert await values((await apply(store, forgotten, 6))["User"]) == [{"email": "a", "name": "n"}]


async def test_an_entity_whose_rename_was_forgotten_can_be_renamed_after_all(store: Store) -> None:
    user = entity("User", attribute("name"))
    rows = (await apply(store, model(user, entity("Loan"))))["User"]
    await rows.insert([{"id": key(1), "name": "a"}])
    forgotten = model(entity("Person", attribute("name")), entity("Loan"))
    await apply(store, forgotten, 2)
    await apply(store, model(user, entity("Loan")), 3)
    declared = model(entity("Person", attribute("name"), renamed_from="User"), entity("Loan"))
    new = await apply(store, declared, 4)
    assert await values(new["Person"]) == [{"name": "a"}]
    assert (await store.plan(declared)).changes_schema is False
    await apply(store, model(entity("Loan")), 5)
    assert await values((await apply(store, forgotten, 6))["Person"]) == [{"name": "a"}]


async def test_a_model_whose_rename_was_forgotten_can_be_renamed_after_all(store: Store) -> None:
    user = entity("User", attribute("name"))
    rows = (await apply(store, model(user)))["User"]
    await rows.insert([{"id": key(1), "name": "a"}])
    await apply(store, model(user, domain="store"))
    declared = model(user, domain="store", renamed_from="shop")
    new = await apply(store, declared, 2)
    assert await values(new["User"]) == [{"name": "a"}]
    plan = await store.plan(declared)
    assert (plan.changes_schema, plan.rejections, plan.steps) == (False, (), ())
    await apply(store, model(entity("Other"), domain="store"), 3)
    assert await values((await apply(store, model(user, domain="store"), 4))["User"]) == [{"name": "a"}]


async def test_an_entity_that_may_have_been_renamed_is_asked_about(store: Store) -> None:
    await apply(store, model(entity("User", attribute("name"), attribute("phone"))))
    plan = await store.plan(model(entity("Person", attribute("name"), attribute("phone"), attribute("mail"))))
    (notice,) = plan.notices
    assert (notice.code, notice.entity, notice.attribute) == ("PIM612", "Person", None)
    assert "renamed_from: User" in str(notice.hint)
    assert (plan.rejections, plan.parked) == ((), ("User",))


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(entity("Person", attribute("given"), attribute("phone", "integer")), id="nothing in common"),
        pytest.param(entity("Person"), id="no attributes"),
    ],
)
async def test_an_entity_that_is_another_one_is_not_asked_about(store: Store, new: Entity) -> None:
    await apply(store, model(entity("User", attribute("name"), attribute("phone"))))
    assert (await store.plan(model(new))).notices == ()


async def test_rows_that_refer_to_what_may_have_been_renamed_need_not_be_deleted(store: Store) -> None:
    loan = entity("Loan", attribute("user", "reference", to="User"))
    rows = await apply(store, model(entity("User", attribute("name")), loan))
    await rows["User"].insert([{"id": key(1), "name": "a"}])
    await rows["Loan"].insert([{"id": key(1), "user": key(1)}])
    loan = entity("Loan", attribute("user", "reference", to="Person"))
    rejection, _ = await refuse(store, model(entity("Person", attribute("name")), loan))
    assert rejection.code == "PIM608"
    assert str(rejection.hint).startswith("if Person is User under another name, write `renamed_from: User` with it")


async def test_a_rename_to_another_type_is_rejected(store: Store) -> None:
    await apply(store, MAIL)
    rejection, _ = await refuse(store, model(entity("User", attribute("email", "integer", renamed_from="mail"))))
    assert (rejection.code, rejection.attribute) == ("PIM601", "email")


async def test_the_key_can_be_renamed(store: Store) -> None:
    old = (await apply(store, model(entity("User", attribute("code", primary_key=True), key=None))))["User"]
    (row,) = await old.insert([{"code": "a"}])
    renamed = model(entity("User", attribute("sku", primary_key=True, renamed_from="code"), key=None))
    new = (await apply(store, renamed, 2))["User"]
    assert await new.get("a") == Row(row.version, {"sku": "a"})


async def test_an_entity_takes_its_table_its_parked_columns_and_its_references_along(
    store: Store, query: Query
) -> None:
    loan = entity("Loan", attribute("user", "reference", to="User"))
    old = await apply(store, model(entity("User", attribute("name"), attribute("phone")), loan))
    await old["User"].insert([{"id": key(1), "name": "a", "phone": "1"}])
    await old["Loan"].insert([{"id": key(1), "user": key(1)}])
    await apply(store, model(entity("User", attribute("name")), loan), 2)
    renamed_loan = entity("Loan", attribute("user", "reference", to="Person"))
    linked = model(entity("Person", attribute("name"), renamed_from="User"), renamed_loan)
    plan = await store.plan(linked)
    assert [step.describe() for step in plan.steps] == ["rename User to Person"]
    new = await apply(store, linked, 3)
    assert await values(new["Person"]) == [{"name": "a"}]
    with pytest.raises(ConstraintError, match="Loan still refer"):
        await new["Person"].delete(key(1))
    full = model(entity("Person", attribute("name"), attribute("phone"), renamed_from="User"), renamed_loan)
    assert await values((await apply(store, full, 4))["Person"]) == [{"name": "a", "phone": "1"}]
    assert query("SELECT count(*) FROM watcherd_entity") == [(2,)]


@pytest.mark.parametrize("parked", [True, False])
async def test_two_entities_never_get_one_name(store: Store, parked: bool) -> None:
    rows = await apply(store, model(entity("User"), entity("Person")))
    await rows["Person"].insert([{"id": key(1)}])
    if parked:
        await apply(store, model(entity("User")), 2)
    rejection, _ = await refuse(store, model(entity("Person", renamed_from="User")))
    assert (rejection.code, rejection.entity, rejection.attribute) == ("PIM610", "Person", None)
    assert "watcherd prune" in str(rejection.hint) or not parked


async def test_an_entity_whose_rename_is_taken_back_is_there_again(store: Store) -> None:
    rows = (await apply(store, model(entity("User"))))["User"]
    await rows.insert([{"id": key(1)}])
    await apply(store, model(entity("Person", renamed_from="User")), 2)
    back = (await apply(store, model(entity("User")), 3))["User"]
    assert await back.get(key(1)) is not None


async def test_a_model_takes_its_tables_its_parked_ones_and_its_revisions_along(store: Store) -> None:
    old = await apply(store, model(entity("User", attribute("name")), entity("Loan")))
    await old["User"].insert([{"id": key(1), "name": "a"}])
    await old["Loan"].insert([{"id": key(1)}])
    await apply(store, model(entity("User", attribute("name"))), 2)
    linked = model(entity("User", attribute("name")), domain="store", renamed_from="shop")
    plan = await store.plan(linked)
    assert plan.renamed_model == "shop"
    assert [step.describe() for step in plan.steps] == ["rename the model shop to store"]
    new = await apply(store, linked, 3)
    assert await values(new["User"]) == [{"name": "a"}]
    assert [one.revision for one in await store.revisions("store")] == [3, 2, 1]
    known = await store.catalog()
    assert (set(known), known["store"].renamed_from, known["store"].next_revision) == ({"store"}, "shop", 4)
    assert (await store.plan(linked)).changes_schema is False
    both = model(entity("User", attribute("name")), entity("Loan"), domain="store", renamed_from="shop")
    assert (await (await apply(store, both, 4))["Loan"].list(Select())).total == 1


async def test_a_new_model_may_take_the_name_that_another_has_left(store: Store) -> None:
    await apply(store, model(entity("User")))
    renamed = model(entity("User"), domain="store", renamed_from="shop")
    await apply(store, renamed, 2)
    await apply(store, model(entity("User")))
    plan = await store.plan(renamed)
    assert (plan.rejections, plan.changes_schema, plan.renamed_model) == ((), False, None)


async def test_a_model_never_gets_the_name_of_one_that_has_data(store: Store) -> None:
    await apply(store, model(entity("User")))
    rows = await apply(store, model(entity("User"), domain="store"))
    await rows["User"].insert([{"id": key(1)}])
    rejection, _ = await refuse(store, model(entity("User"), domain="store", renamed_from="shop"))
    assert (rejection.code, rejection.entity, rejection.rows) == ("PIM610", None, 1)
    assert "1 row in the way" in rejection.message
    assert "parked as User" in rejection.message


async def test_references_of_other_models_follow_a_rename_also_before_it_is_applied(store: Store) -> None:
    people = model(entity("User"), domain="people")
    loan = entity("Loan", attribute("person", "reference", to="people.User"))
    rows = await apply(store, people)
    await rows["User"].insert([{"id": key(1)}])
    loans = (await apply(store, model(loan, domain="library", others=[people])))["Loan"]
    await loans.insert([{"id": key(1), "person": key(1)}])

    crm = model(entity("Person", renamed_from="User"), domain="crm", renamed_from="people")
    renamed_loan = entity("Loan", attribute("person", "reference", to="crm.Person"))
    library = model(renamed_loan, domain="library", others=[crm])
    for linked in (library, crm):  # the wrong way round, as in a cycle
        plan = await store.plan(linked)
        assert plan.rejections == ()
        assert await store.expand(plan, record(linked, 2)) == ()
    assert (await store.plan(library)).changes_schema is False
    with pytest.raises(ConstraintError, match="Loan still refer"):
        await store.bind(await store.plan(crm)).entities["Person"].delete(key(1))


async def test_constraints_are_explained_in_the_words_of_the_newest_model(store: Store) -> None:
    def linked(name: str, old: str | None) -> LinkedModel:
        rule = sentence(f"{name} cannot be empty", Rule.NOT_EMPTY, name)
        return model(entity("User", attribute(name, renamed_from=old), constraints=[rule]))

    await apply(store, linked("mail", None))
    plan = await store.plan(linked("email", "mail"))
    assert [step.kind for step in plan.steps] == [StepKind.RENAME]
    new = (await apply(store, linked("email", "mail"), 2))["User"]
    with pytest.raises(ConstraintError, match="email cannot be empty"):
        await new.insert([{"id": key(1), "email": ""}])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([attribute("mail"), attribute("x")], [attribute("x"), attribute("email")], id="similar name"),
        pytest.param([attribute("first"), attribute("x")], [attribute("given"), attribute("x")], id="same place"),
    ],
)
async def test_what_may_be_a_rename_is_asked_about_and_not_guessed(
    store: Store, before: list[object], after: list[object]
) -> None:
    await apply(store, model(entity("User", *before)))  # type: ignore[arg-type]
    plan = await store.plan(model(entity("User", *after)))  # type: ignore[arg-type]
    (notice,) = plan.notices
    assert (notice.code, notice.entity) == ("PIM612", "User")
    assert "renamed_from" in str(notice.hint)
    assert (plan.rejections, len(plan.parked)) == ((), 1)


async def test_what_has_another_type_or_another_name_and_place_is_not_asked_about(store: Store) -> None:
    await apply(store, model(entity("User", attribute("mail"), attribute("x"))))
    plan = await store.plan(model(entity("User", attribute("email", "integer"), attribute("x"), attribute("zzz"))))
    assert plan.notices == ()


async def test_a_catalog_of_the_first_version_is_brought_to_this_one(store: Store, query: Query) -> None:
    rows = (await apply(store, MAIL))["User"]
    await rows.insert([{"id": key(1), "mail": "a"}])
    for table, column in (
        ("watcherd_entity", "renamed_from"),
        ("watcherd_model", "renamed_from"),
        ("watcherd_model", "overrides"),
        ("watcherd_revision", "code"),
    ):
        query(f"ALTER TABLE {table} DROP COLUMN {column}")
    for table in ("watcherd_process", "watcherd_hold"):
        query(f"DROP TABLE {table}")
    query("UPDATE watcherd_catalog SET version = 1")
    await store._database.write(catalog_tables.create)
    assert query("SELECT version FROM watcherd_catalog") == [(catalog_tables.CATALOG_VERSION,)]
    assert await values((await apply(store, EMAIL, 2))["User"]) == [{"email": "a"}]
