from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from watcherd.pim.flow_spec import Flow, Step
from watcherd.pim.spec import (
    Attribute,
    Constraint,
    EntityRef,
    Json,
    Kind,
    Method,
    ModelRule,
    Parameter,
    Rule,
    Service,
    ValueType,
)

TODO = EntityRef("shop", "Todo")


def parameter(name: str, kind: Kind | None = None, entity: EntityRef | None = None, **more: Any) -> Parameter:
    is_list = more.pop("is_list", False)
    return Parameter(name=name, type=ValueType(kind=kind, entity=entity, is_list=is_list), **more)


@pytest.fixture
async def client(serve: Any, entity: Any) -> Any:
    todo = entity(
        "Todo",
        Attribute(name="title", kind=Kind.STRING, required=True, max_length=5),
        Attribute(name="rank", kind=Kind.INTEGER),
        constraints=(
            Constraint(text="rank must be positive", rule=Rule.GREATER, attributes=("rank",), bound=Decimal(0)),
        ),
    )
    methods = (
        Method(
            name="addTodos",
            path="add-todos",
            parameters=(
                parameter("first", entity=TODO),
                parameter("rest", entity=TODO, is_list=True, required=False),
                parameter("note", Kind.STRING, required=False, default=Json.of("none")),
                parameter("level", Kind.ENUM, members=("low", "high"), required=False),
            ),
            flow="Todos.add",
            rules=("polite", "unknown", "shaped"),
        ),
        Method(
            name="change",
            path="change",
            parameters=(
                parameter("id", Kind.INTEGER),
                parameter("updates", entity=TODO, exclude=("title",), partial=True),
                parameter("elsewhere", entity=EntityRef("other", "Thing"), required=False),
            ),
        ),
        Method(name="ping", path="ping", flow="nowhere"),
    )
    return await serve(
        todo,
        services={"TodoService": Service(name="TodoService", path="todo-service", methods=methods)},
        flows={
            "Todos.add": Flow(
                name="Todos.add",
                steps=(
                    Step(id="Start", type="start"),
                    Step(id="A", label="Check"),
                    Step(id="B"),
                    Step(id="E", type="end"),
                ),
            )
        },
        rules={
            "polite": ModelRule(name="polite", text="Say please", free=Json.of("Say please")),
            "shaped": ModelRule(name="shaped", text="x", free=Json.of({"then": "x"})),
        },
    )


async def test_a_method_never_pretends_and_lists_what_it_lacks(client: Any) -> None:
    refused = await client.post("/todo-service/add-todos", {"first": {"title": "a"}})
    assert (refused.status, refused.slug) == (501, "not-implemented")
    assert refused.json["lacks"] == [
        "a handler",
        "a binding of step A (Check) of the flow Todos.add",
        "a binding of step B of the flow Todos.add",
        "an expression for the rule polite, which is prose",
        "a rule unknown",
        "an expression for the rule shaped, which is free form",
    ]


async def test_a_method_answers_under_its_declared_name_too(client: Any) -> None:
    for path in ("/TodoService/addTodos", "/todo-service/addTodos", "/todo-service/add-todos/"):
        assert (await client.post(path, {"first": {"title": "a"}})).status == 501
        assert client.template == "/todo-service/add-todos"


async def test_the_body_is_validated_before_anything_else(client: Any) -> None:
    body = {
        "first": {"rank": "1", "titel": "x"},
        "rest": [{"title": "a"}, {"title": "too long", "rank": 0}, {"title": "a", "id": "x"}],
        "level": "middle",
        "nte": 1,
    }
    refused = await client.post("/todo-service/add-todos", body)
    assert refused.status == 422
    assert refused.findings == {
        "#/first/title": "required",
        "#/first/rank": "type",
        "#/first/titel": "unknown",
        "#/rest/1/title": "max_length",
        "#/rest/2/id": "read_only",
        "#/level": "enum",
        "#/nte": "unknown",
    }
    assert "Todo has no 'titel'; did you mean 'title'?" in refused.messages.values()
    assert "TodoService.addTodos has no 'nte'; did you mean 'note'?" in refused.messages.values()


async def test_sentences_hold_for_entities_that_are_given(client: Any) -> None:
    body = {"first": {"title": "a", "rank": 0}, "rest": [{"title": "a"}, {"title": "a", "rank": -1}]}
    refused = await client.post("/todo-service/add-todos", body)
    assert refused.findings == {"#/first/rank": "constraint", "#/rest/1/rank": "constraint"}


async def test_a_partial_entity_needs_nothing_and_lacks_what_is_excluded(client: Any) -> None:
    assert (await client.post("/todo-service/change", {"id": 1, "updates": {}})).status == 501
    assert (await client.post("/todo-service/change", {"id": 1, "updates": {"rank": 0}})).status == 422
    refused = await client.post("/todo-service/change", {"id": 1, "updates": {"title": "a"}})
    assert refused.findings == {"#/updates/title": "unknown"}


async def test_an_entity_of_another_model_is_any_object(client: Any) -> None:
    body = {"id": 1, "updates": {}, "elsewhere": {"any": [1]}}
    assert (await client.post("/todo-service/change", body)).status == 501
    assert (await client.post("/todo-service/change", {**body, "elsewhere": 3})).findings == {"#/elsewhere": "type"}


async def test_null_stands_for_what_is_optional_or_set_by_the_server(client: Any) -> None:
    body = {"first": {"title": "a", "id": None, "created_at": None}, "rest": None, "note": None}
    assert (await client.post("/todo-service/add-todos", body)).status == 501


async def test_a_method_without_parameters_needs_no_body(client: Any) -> None:
    refused = await client.post("/todo-service/ping")
    assert refused.json["lacks"] == ["a handler", "steps of the flow nowhere"]
    assert (await client.post("/todo-service/ping", content_type="application/json")).status == 501
    assert (await client.post("/todo-service/ping", {})).status == 501
    refused = await client.post("/todo-service/ping", {}, content_encoding="gzip", content_type="-")
    assert (refused.status, refused.slug) == (415, "unsupported-media-type")
    assert (await client.post("/todo-service/ping", {"x": 1})).findings == {"#/x": "unknown"}
    assert (await client.post("/todo-service/ping", [])).findings == {"#": "type"}


async def test_a_method_with_parameters_needs_json(client: Any) -> None:
    assert (await client.post("/todo-service/change")).status == 400
    assert (await client.post("/todo-service/change", {}, content_type="text/plain")).status == 415
    assert (await client("GET", "/todo-service/change")).headers["allow"] == "OPTIONS, POST"
