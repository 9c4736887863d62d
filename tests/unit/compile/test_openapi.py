from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate
from pydantic_core import SchemaValidator

from watcherd.compile import PROBLEM_SCHEMA, Options, naming, values
from watcherd.compile.bodies import compile_bodies, created
from watcherd.compile.openapi import describe, document
from watcherd.compile.query import FILTERING, PAGING, VIEWING, compile_query
from watcherd.compile.schemas import attribute_schema, entity_schemas
from watcherd.compile.validators import attribute_schema as core_attribute_schema
from watcherd.cors import Cors
from watcherd.pim.linked import LinkedModel, Target
from watcherd.pim.spec import (
    Attribute,
    Constraint,
    EntityRef,
    Json,
    Kind,
    Method,
    Parameter,
    Rule,
    Service,
    ToMany,
    ValueType,
)
from watcherd.wire import Headers


def everything(name: str) -> list[Attribute]:
    """Attributes of every kind, plain and as lists, with every limit somewhere."""
    kinds = [
        Attribute(name=f"{kind}{'s' if is_list else ''}", kind=kind, is_list=is_list, members=("a", "b"))
        if kind is Kind.ENUM
        else Attribute(name=f"{kind}{'s' if is_list else ''}", kind=kind, is_list=is_list)
        for kind in Kind
        if kind is not Kind.REFERENCE
        for is_list in (False, True)
    ]
    return [
        *kinds,
        Attribute(name="limit", kind=Kind.INTEGER, minimum=Decimal(0), maximum=Decimal("9.5"), default=Json.of(3)),
        Attribute(name="code", kind=Kind.STRING, required=True, pattern="^[A-Z]+$", min_length=1, max_length=9,
                  unique=True, description="A code", example=Json.of("AB")),
        Attribute(name="price", kind=Kind.DECIMAL, scale=2, exclusive_minimum=Decimal(0), multiple_of=Decimal("0.05")),
        Attribute(name="secret", kind=Kind.STRING, write_only=True),
        Attribute(name="seen", kind=Kind.INTEGER, read_only=True),
        Attribute(name="parent", kind=Kind.REFERENCE, reference=EntityRef("shop", name)),
    ]  # fmt: skip


@pytest.fixture
def linked(entity: Callable[..., Any], model: Callable[..., LinkedModel]) -> LinkedModel:
    product = entity(
        "Product",
        *everything("Product"),
        description="Things to sell",
        constraints=(
            Constraint(text="string cannot be empty", rule=Rule.NOT_EMPTY, attributes=("string",)),
            Constraint(text="float must be positive", rule=Rule.GREATER, attributes=("float",), bound=Decimal(0)),
            Constraint(text="text is required", rule=Rule.REQUIRED, attributes=("text",)),
            Constraint(text="be nice", rule=None),
        ),
        to_many=(
            ToMany(name="parts", child=EntityRef("shop", "Product"), via="parent"),
            ToMany(name="only_part", child=EntityRef("shop", "Product"), via="parent", single=True),
        ),
    )
    parameters = (
        Parameter(name="product", type=ValueType(entity=EntityRef("shop", "Product"))),
        Parameter(
            name="changes", type=ValueType(entity=EntityRef("shop", "Product"), is_list=True), partial=True,
            exclude=("code",), required=False, description="What to change",
        ),
        Parameter(name="far", type=ValueType(entity=EntityRef("far", "Thing")), required=False),
        Parameter(name="note", type=ValueType(kind=Kind.STRING), default=Json.of("x"), required=False),
    )  # fmt: skip
    methods = (
        Method(name="list", path="list", parameters=parameters, returns=ValueType(kind=Kind.STRING, is_list=True)),
        Method(name="read", path="read"),
    )
    return model(
        product,
        entity("ProductPage", Attribute(name="n", kind=Kind.INTEGER, primary_key=True, auto_increment=True)),
        entity("图书", Attribute(name="书名", kind=Kind.STRING), plural="图书"),
        entity("图A", plural="图as"),
        title="The shop",
        description="Sells things",
        services={"Product": Service(name="Product", path="product", methods=methods)},
    )


@pytest.fixture
def whole(linked: LinkedModel, options: Options) -> Any:
    return json.loads(document(linked.spec, describe(linked, options).fragment))


def operations(whole: Any) -> dict[str, Any]:
    return {
        operation["operationId"]: operation for methods in whole["paths"].values() for operation in methods.values()
    }


def parameters_of(whole: Any, operation: str) -> dict[str, Any]:
    """The parameters of an operation by name, references followed."""
    found = [
        whole["components"]["parameters"][item["$ref"].rpartition("/")[2]] if "$ref" in item else item
        for item in operations(whole)[operation]["parameters"]
    ]
    return {item["name"]: item for item in found}


def test_the_document_is_valid_openapi(whole: Any) -> None:
    validate(whole)
    assert whole["info"] == {"title": "The shop", "version": "1.0.0", "description": "Sells things"}
    assert whole["tags"][0] == {"name": "shop", "description": "The shop\n\nSells things"}
    assert whole["components"]["schemas"]["Problem"] == PROBLEM_SCHEMA


def test_a_model_without_entities_has_a_valid_document(model: Callable[..., LinkedModel], options: Options) -> None:
    empty = model(services={"Jobs": Service(name="Jobs", path="jobs", methods=(Method(name="run", path="run"),))})
    validate(json.loads(document(empty.spec, describe(empty, options).fragment)))


def test_every_reference_leads_somewhere(whole: Any) -> None:
    for section in ("schemas", "parameters", "headers"):
        known = whole["components"][section]
        referred = set(re.findall(rf'"#/components/{section}/([^"]+)"', json.dumps(whole)))
        assert referred <= known.keys()
        assert known.keys() - referred == set(), "nothing is described in vain"
        assert all(re.fullmatch(r"[a-zA-Z0-9._-]+", name) for name in known)
    referred = set(re.findall(r'"#/components/responses/([^"]+)"', json.dumps(whole)))
    assert referred <= whole["components"]["responses"].keys()


def test_names_are_unique_and_readable(whole: Any) -> None:
    schemas = whole["components"]["schemas"]
    assert {"shop_Product", "shop_ProductCreate", "shop_Product.Page", "shop_ProductPage", "shop_ProductPagePage"} <= (
        schemas.keys()
    )
    assert "items" in schemas["shop_Product.Page"]["properties"]
    assert sum(name.startswith("shop_xn--") for name in schemas) == 12
    found = operations(whole)
    assert len(found) == sum(len(methods) for methods in whole["paths"].values())
    assert {"shop_index", "shop_openapi", "shop_Product_list", "shop_图书_create", "shop_Product_list_"} <= found.keys()


def test_operations_are_those_of_the_document(linked: LinkedModel, options: Options, whole: Any) -> None:
    described = describe(linked, options)
    assert {(item.method.lower(), f"/api/shop{item.path}", item.operation_id) for item in described.operations} == {
        (method, path, operation["operationId"])
        for path, methods in whole["paths"].items()
        for method, operation in methods.items()
    }
    assert all(item.summary for item in described.operations)


def test_web_pages_of_other_origins_may_send_and_read_every_header_that_the_document_names(whole: Any) -> None:
    found = operations(whole).values()
    answers: list[Any] = [answer for one in found for answer in one["responses"].values()]
    named = {
        name.lower()
        for one in [*answers, *whole["components"]["responses"].values()]
        for name in one.get("headers", ())
    }
    sent = {item["name"].lower() for one in found for item in one.get("parameters", ()) if item.get("in") == "header"}
    cors = Cors.of("*")
    assert named <= listed(cors.headers([]), b"access-control-expose-headers")
    asked = cors.preflight("OPTIONS", [(b"origin", b"https://a.example"), (b"access-control-request-method", b"PUT")])
    assert asked is not None
    assert sent <= listed(asked.headers, b"access-control-allow-headers")


def listed(headers: Headers, name: bytes) -> set[str]:
    return set(dict(headers)[name].decode().split(", "))


def test_operations_are_grouped_by_what_they_are_about(whole: Any) -> None:
    described = [tag["name"] for tag in whole["tags"]]
    assert len(described) == len(set(described)), "the service Product stands beside the entity"
    used = {identity: operation["tags"] for identity, operation in operations(whole).items()}
    assert {tag for tags in used.values() for tag in tags} == set(described)
    assert all(len(tags) == 1 for tags in used.values()), "else it is listed twice, and is in two generated classes"
    assert used["shop_index"] == used["shop_batch"] == used["shop_openapi"] == ["shop"]
    assert {"shop Product", "shop 图书"} <= set(described)
    assert all(tags == ["shop Product"] for identity, tags in used.items() if identity.startswith("shop_Product_"))


def test_a_group_says_what_it_is(
    entity: Callable[..., Any], model: Callable[..., LinkedModel], options: Options
) -> None:
    jobs = Service(name="Jobs", path="jobs", description="What is done.", methods=(Method(name="run", path="run"),))
    linked = model(entity("Item", description="A thing."), entity("Note"), services={"Jobs": jobs})
    whole = json.loads(document(linked.spec, describe(linked, options).fragment))
    assert whole["tags"] == [
        {"name": "shop"},
        {"name": "shop Item", "description": "A thing."},
        {"name": "shop Note"},
        {"name": "shop Jobs", "description": "What is done."},
    ]


def test_with_an_empty_prefix_paths_begin_with_the_domain(linked: LinkedModel, options: Options) -> None:
    fragment = describe(linked, replace(options, api_prefix="")).fragment
    assert all(path.startswith("/shop") for path in json.loads(b"{%s}" % fragment.paths))


def test_every_error_has_a_problem_body_and_every_answer_its_headers(whole: Any) -> None:
    for operation in operations(whole).values():
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                assert answer == {"$ref": f"#/components/responses/Problem{status}"}
                assert whole["components"]["responses"][f"Problem{status}"]["content"] == {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                }
            else:
                assert {"X-Request-ID", "Watcherd-Generation", "Watcherd-Revision"} <= answer["headers"].keys()
    problems = whole["components"]["responses"]
    assert all("X-Request-ID" in one["headers"] for one in problems.values())
    assert {name for name, one in problems.items() if "Retry-After" in one["headers"]} == {"Problem409", "Problem503"}
    found = operations(whole)
    assert "ETag" in found["shop_Product_read"]["responses"]["200"]["headers"]
    assert found["shop_openapi"]["responses"]["304"]["headers"].keys() >= {"ETag", "X-Request-ID"}
    assert "ETag" in found["shop_openapi"]["responses"]["200"]["headers"]
    assert "If-None-Match" in names_of(found["shop_openapi"])
    assert "Location" in found["shop_Product_create"]["responses"]["201"]["headers"]
    assert "Link" in found["shop_Product_list"]["responses"]["200"]["headers"]
    assert "501" in found["shop_Product_read_"]["responses"]
    assert "application/merge-patch+json" in found["shop_Product_patch"]["requestBody"]["content"]
    assert found["shop_Product_export"]["responses"]["200"]["content"].keys() == {
        "application/json",
        "text/csv",
        "application/x-ndjson",
    }
    assert found["shop_Product_import"]["requestBody"]["content"].keys() == {"text/csv", "application/x-ndjson"}
    for name, operation in found.items():
        names = names_of(operation)
        is_post = name in {"shop_batch", "shop_Product_list_"} or name.endswith(("_create", "_import", "_read_"))
        assert ("Idempotency-Key" in names) == is_post, name
    exported, listed = names_of(found["shop_Product_export"]), names_of(found["shop_Product_list"])
    assert exported == listed - {"skip", "limit", "count", "cursor", "fields", "expand"} | {"format"}
    assert {"sort", "limit__eq"} <= exported


async def test_an_attribute_called_format_is_filtered_by_its_operators_in_an_export(
    serve: Callable[..., Any], entity: Callable[..., Any], options: Options
) -> None:
    film = entity("Film", Attribute(name="title", kind=Kind.STRING), Attribute(name="format", kind=Kind.STRING))
    client = await serve(film)
    whole = (await client.get("/-/openapi.json")).json
    validate(whole)
    for operation in operations(whole).values():
        placed = [(one["in"], one["name"]) for one in operation.get("parameters", ()) if "name" in one]
        assert len(placed) == len(set(placed)), "a parameter is described twice"
    assert "format" in parameters_of(whole, "shop_Film_list")
    exported = parameters_of(whole, "shop_Film_export")
    assert exported["format"]["schema"]["enum"] == ["json", "csv", "ndjson"]
    assert exported["format__eq"]["schema"] == {"type": "string"}
    await client.post("/films", [{"title": "Solaris", "format": "csv"}, {"title": "Stalker", "format": "35 mm"}])
    rows = (await client.get("/films/-/export?format=json&format__eq=csv")).json
    assert [row["title"] for row in rows] == ["Solaris"]


def names_of(operation: Any) -> set[str]:
    """The names of its parameters, of shared ones too."""
    given = operation.get("parameters", ())
    return {item["name"] if "name" in item else item["$ref"].rpartition(".")[2] for item in given}


def test_filters_are_typed_and_reserved_names_take_their_operator(whole: Any) -> None:
    parameters = parameters_of(whole, "shop_Product_list")
    assert parameters["enum"]["schema"] == {"type": "string", "enum": ["a", "b"]}
    assert parameters["limit__eq"]["schema"] == {"type": "integer", "format": "int64"}
    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 0, "maximum": 1000, "default": 100}
    assert parameters["parent"]["schema"] == {"type": "string", "format": "uuid"}
    assert parameters["code"]["schema"] == {"type": "string"}, "limits do not matter for a search"
    assert parameters["price__gte"]["schema"]["format"] == "decimal"
    integers = {"type": "array", "items": {"type": "integer", "format": "int64"}, "minItems": 1}
    assert parameters["integer__in"]["schema"] == integers
    assert parameters["integer__in"]["explode"] is False
    assert parameters["json__isnull"]["schema"] == {"type": "boolean"}
    assert parameters["integers__contains"]["schema"] == {"type": "integer", "format": "int64"}
    assert {"-code", "code"} <= set(parameters["sort"]["schema"]["items"]["enum"])
    assert {"json", "strings"} <= set(parameters["fields"]["schema"]["items"]["enum"])
    assert parameters["expand"]["schema"]["items"]["enum"] == ["parent_row", "parts", "only_part"]
    assert {"cursor", "count", "skip"} <= parameters.keys()
    assert not {"secret", "json", "strings", "id__isnull"} & parameters.keys()
    assert not {"-json", "secret"} & set(parameters["sort"]["schema"]["items"]["enum"])
    assert not {name for name in parameters if name.startswith("secret")}


def test_bounds_and_parts_of_text_are_described_as_any_text(whole: Any) -> None:
    parameters = parameters_of(whole, "shop_Product_list")
    searched = [f"{name}__{operator}" for name in ("email", "url") for operator in ("gte", "lt", "icontains")]
    assert [parameters[name]["schema"] for name in searched] == [{"type": "string"}] * 6
    assert parameters["email"]["schema"] == {"type": "string", "format": "email"}
    assert parameters["enum__in"]["schema"]["items"] == {"type": "string", "enum": ["a", "b"]}
    assert parameters["date__gte"]["schema"]["format"] == "date"


def test_a_parameter_is_described_exactly_when_it_is_understood(
    whole: Any, linked: LinkedModel, options: Options
) -> None:
    entity = linked.spec.entities["Product"]
    query = compile_query(entity, linked.targets, {}, options)
    known = {f"{item.name}__{operator}" for item in query.attributes.values() for operator in item.operators}
    # The plain name stands for `__eq`, unless it means something else.
    short = {name: name.removesuffix("__eq") for name in known if name != "limit__eq"}
    described = parameters_of(whole, "shop_Product_list").keys() - {*FILTERING, *PAGING, *VIEWING}
    assert described == {short.get(name, name) for name in known}


def test_a_row_is_described_with_what_may_be_shown_beside_it(whole: Any) -> None:
    found = parameters_of(whole, "shop_Product_read")
    assert found.keys() == {"id", "fields", "expand", "If-None-Match"}
    view = whole["components"]["schemas"]["shop_ProductView"]
    row = {"$ref": "#/components/schemas/shop_Product"}
    row_or_null = {"anyOf": [row, {"type": "null"}]}
    rows = {"type": "array", "items": row}
    assert view["properties"] == {"parent_row": row_or_null, "parts": rows, "only_part": row_or_null}
    assert "required" not in view


def test_a_list_below_a_row_has_the_parameters_of_its_rows(whole: Any) -> None:
    operation = whole["paths"]["/api/shop/products/{id}/parts"]["get"]
    assert operation["operationId"] == "shop_Product_list_parts"
    assert parameters_of(whole, "shop_Product_list_parts").keys() == (
        parameters_of(whole, "shop_Product_list").keys() | {"id"}
    )
    assert {"200", "400", "404"} <= operation["responses"].keys()
    assert "/api/shop/products/{id}/only-part" not in whole["paths"], "a single row is expanded, not listed"


def test_a_row_of_another_model_is_an_object_of_that_model(
    entity: Callable[..., Any], model: Callable[..., LinkedModel], options: Options
) -> None:
    person = EntityRef("people", "Person")
    linked = model(entity("Order", Attribute(name="buyer", kind=Kind.REFERENCE, reference=person)))
    key = Attribute(name="id", kind=Kind.UUID, primary_key=True)
    linked = replace(linked, targets={person: Target(ref=person, domain="people", plural="persons", key=key)})
    whole = json.loads(document(linked.spec, describe(linked, options).fragment))
    validate(whole)
    shown = whole["components"]["schemas"]["shop_OrderView"]["properties"]["buyer_row"]
    assert shown["anyOf"][0] == {"type": "object", "description": "A Person of the model people."}


def test_schemas_say_what_people_want_to_know(whole: Any) -> None:
    schemas = whole["components"]["schemas"]
    product, create = schemas["shop_Product"], schemas["shop_ProductCreate"]
    assert create["properties"]["code"] == {
        "title": "Code",
        "type": "string",
        "minLength": 1,
        "maxLength": 9,
        "pattern": "^[A-Z]+$",
        "description": "A code",
        "examples": ["AB"],
    }
    assert create["properties"]["limit"]["default"] == 3
    assert create["properties"]["secret"]["writeOnly"] is True
    assert create["required"] == ["text", "code"]
    assert create["additionalProperties"] is False
    assert not {"id", "created_at", "seen"} & create["properties"].keys()
    assert product["properties"]["id"] == {"title": "Id", "type": "string", "format": "uuid", "readOnly": True}
    assert "secret" not in product["properties"]
    assert product["required"] == list(product["properties"])
    assert product["properties"]["parent"]["description"] == "The key of a Product."
    assert "default" not in schemas["shop_ProductPatch"]["properties"]["limit"]
    assert schemas["shop_ProductReplace"]["properties"]["seen"]["readOnly"] is True


def test_sentences_are_shown_and_those_that_nobody_enforces_apart(whole: Any) -> None:
    create = whole["components"]["schemas"]["shop_ProductCreate"]
    assert create["description"] == (
        "Things to sell\n\nConstraints:\n- string cannot be empty\n- float must be positive\n- text is required\n\n"
        "Not enforced:\n- be nice"
    )
    assert create["properties"]["string"]["minLength"] == 1
    assert create["properties"]["float"]["exclusiveMinimum"] == 0


@pytest.mark.parametrize(
    ("rule", "limits", "keywords"),
    [
        (Rule.AT_LEAST, {"bound": Decimal(3)}, {"minimum": 3}),
        (Rule.AT_LEAST, {"bound": Decimal(-3)}, {"minimum": 0}),
        (Rule.AT_MOST, {"bound": Decimal("7.5")}, {"maximum": 7.5}),
        (Rule.AT_MOST, {"bound": Decimal(70)}, {"maximum": 9}),
        (Rule.GREATER, {"bound": Decimal(3)}, {"exclusiveMinimum": 3}),
        (Rule.LESS, {"bound": Decimal(3)}, {"exclusiveMaximum": 3}),
        (Rule.BETWEEN, {"bounds": (Decimal(1), Decimal(2))}, {"minimum": 1, "maximum": 2}),
        (Rule.GREATER, {"other": "m"}, {}),
    ],
)
def test_sentences_narrow_what_the_schema_allows(
    entity: Callable[..., Any], model: Callable[..., LinkedModel], rule: Rule, limits: Any, keywords: Any
) -> None:
    numbers = [Attribute(name=name, kind=Kind.INTEGER, minimum=Decimal(0), maximum=Decimal(9)) for name in ("n", "m")]
    constraint = Constraint(text="it holds", rule=rule, attributes=("n",), **limits)
    linked = model(entity("Thing", *numbers, constraints=(constraint,)))
    shown = entity_schemas(linked, linked.spec.entities["Thing"])["Create"]["properties"]["n"]
    expected = {"minimum": 0, "maximum": 9} | keywords
    assert {name: shown[name] for name in shown.keys() - {"title", "type", "format"}} == expected


def test_an_email_sentence_gives_the_schema_a_format(
    entity: Callable[..., Any], model: Callable[..., LinkedModel]
) -> None:
    constraint = Constraint(text="s must be a valid email", rule=Rule.EMAIL, attributes=("s",))
    linked = model(entity("Thing", Attribute(name="s", kind=Kind.STRING), constraints=(constraint,)))
    shown = entity_schemas(linked, linked.spec.entities["Thing"])["Create"]["properties"]["s"]
    assert shown == {"title": "S", "type": ["string", "null"], "format": "email"}


def test_rows_fit_their_own_schema(linked: LinkedModel, options: Options) -> None:
    entity = linked.spec.entities["Product"]
    row, findings = created(
        compile_bodies(entity, linked.targets, options),
        {"code": "A", "text": "t", "price": 1, "decimal": "0.1", "date": "2026-01-01", "json": [1], "decimals": [1, 2]},
    )
    assert findings == []
    checker = Draft202012Validator(entity_schemas(linked, entity)[""], format_checker=FORMATS)
    checker.validate({name: value for name, value in row.items() if name != "secret"})


FORMATS = FormatChecker(formats=())


def _is_int64(value: Any) -> bool:
    """Integers of 64 bits; of those written as fractions, the ones that are exact."""
    if isinstance(value, float):
        return abs(value) <= 2**53
    return not isinstance(value, int) or -(2**63) <= value < 2**63


for name, kind in {"date-time": Kind.DATETIME, "date": Kind.DATE, "uuid": Kind.UUID,
                   "email": Kind.EMAIL, "uri": Kind.URL}.items():  # fmt: skip

    def holds(value: Any, read: values.Reader = values.READERS[kind]) -> bool:
        if isinstance(value, str):
            read(value)
        return True

    FORMATS.checks(name, raises=ValueError)(holds)
FORMATS.checks("int64")(_is_int64)
FORMATS.checks("decimal")(lambda value: isinstance(value, str) or _places(value) <= values.DEFAULT_SCALE)


def _places(value: Any) -> int:
    """Decimal places: what no keyword of JSON Schema says exactly about a number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0
    exponent = Decimal(str(value)).normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return max(-exponent, 0) if abs(value) < 10**12 else 99


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.integers()
    | st.floats(-10, 10)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["", "a", "AB", "ABCDEFGHIJ", "1.5", "-0", "0.1234567", "1e3", "2026-11-22", "01:31:00", "a@b.co"]
    )
    | st.sampled_from(["2026-11-22T01:31:46Z", "019311f0-1c2b-7d3e-8f40-5a6b7c8d9e0f", "https://a.example/", "b"])
    | st.text(max_size=3).filter(lambda text: not {"\x00", "\n"} & set(text))
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=2), SCALARS, max_size=2)
# The `$` of Python, which checks the patterns here, lets a line feed pass; that of ECMA 262 does not.
# A decimal with a scale or a step is narrower than what a schema says of a JSON number.
SCHEMATIC = [item for item in everything("Product") if item.kind is not Kind.REFERENCE and item.name != "price"]


@given(VALUES, st.sampled_from(SCHEMATIC), st.booleans())
def test_what_the_schema_accepts_the_validator_accepts(value: Any, item: Attribute, nullable: bool) -> None:
    schema = attribute_schema(item, {}, "in", nullable=nullable)
    if Draft202012Validator(schema, format_checker=FORMATS).is_valid(value):
        wire = SchemaValidator(core_attribute_schema(item, {}, nullable=nullable)).validate_python(value)
        out = attribute_schema(item, {}, "out", nullable=nullable)
        Draft202012Validator(out, format_checker=FORMATS).validate(wire)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("lastLogin", "Last login"), ("last_login", "Last login"), ("HTTPServer", "HTTP server"), ("书名", "书名")],
)
def test_titles_read_like_words(name: str, shown: str) -> None:
    assert naming.title(name) == shown


def test_names_have_the_article_that_they_sound_like() -> None:
    names = ["Author", "Item", "Order", "Upload", "Entry", "Hour", "User", "Unit", "URL", "Event", "OneTimeKey", "Hold"]
    shown = " ".join(naming.one(name) for name in [*names, "书"])
    assert shown == (
        "an Author an Item an Order an Upload an Entry an Hour a User a Unit a URL an Event a OneTimeKey a Hold a 书"
    )
    assert naming.one("Author", "A") == "An Author"


def test_where_models_need_a_key_every_operation_says_so(linked: LinkedModel, options: Options) -> None:
    asking = replace(options, needs_key=True)
    open_ = json.loads(document(linked.spec, describe(linked, options).fragment))
    closed = json.loads(document(linked.spec, describe(linked, asking).fragment, needs_key=True))

    validate(closed)
    assert closed["components"]["securitySchemes"].keys() == {"ApiKey", "BearerKey"}
    for path in closed["paths"].values():
        for operation in path.values():
            assert operation["security"] == [{"ApiKey": []}, {"BearerKey": []}]
            assert operation["responses"].keys() >= {"401", "403"}
    assert "securitySchemes" not in open_["components"]
    assert not any("security" in operation for path in open_["paths"].values() for operation in path.values())
