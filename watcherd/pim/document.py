"""The shape of a model file, as pydantic models: which keys exist and what may stand under each.

The same models validate the positioned tree and make the published JSON Schema, to which `schema`
adds what each key is for. They say nothing of meaning (whether a default fits its type, whether an
entity exists): that is for the modules after this one. Scalars arrive as written, because
`version: 1.0` and a member `NO` are text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    PlainValidator,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from watcherd.pim.findings import quote
from watcherd.pim.nodes import ListNode, MapNode, Node, ScalarNode, is_true, number_of

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

    from watcherd.pim.findings import Findings

_SENTENCE = "\uffffsentence"  # not a character: nobody writes it as a key
_MOST_DIGITS = 40
_LARGEST_WHOLE = 2**31 - 1


def _wrong(expected: str, hint: str | None = None) -> PydanticCustomError:
    return PydanticCustomError("shape", "expected {expected}", {"expected": expected, "hint": hint})


def _text(value: object) -> str:
    if isinstance(value, ScalarNode) and value.kind != "null":
        return value.text
    raise _wrong("a text")


def _flag(value: object) -> bool:
    if isinstance(value, ScalarNode):
        if value.kind == "boolean":
            return is_true(value)
        if value.text.casefold() in {"yes", "on", "true"}:
            raise _wrong("true or false", "write `true`: in YAML 1.2 this is text")
        if value.text.casefold() in {"no", "off", "false"}:
            raise _wrong("true or false", "write `false`: in YAML 1.2 this is text")
    raise _wrong("true or false")


def _whole(value: object) -> int:
    if isinstance(value, ScalarNode) and value.kind == "integer":
        number = number_of(value)
        if number is not None and 0 <= number <= _LARGEST_WHOLE:
            return int(number)
    raise _wrong("a whole number, 0 or more")


def _number(value: object) -> ScalarNode:
    if isinstance(value, ScalarNode):
        number = number_of(value)
        if number is not None:
            exponent = number.as_tuple().exponent
            if number.adjusted() < _MOST_DIGITS and isinstance(exponent, int) and exponent >= -_MOST_DIGITS:
                return value
            raise _wrong(f"a number of at most {_MOST_DIGITS} digits")
    raise _wrong("a number")


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, ListNode) and all(isinstance(item, ScalarNode) for item in value):
        return tuple(item.text for item in value if isinstance(item, ScalarNode))
    raise _wrong("a list of texts")


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, ScalarNode) and value.kind != "null":
        return tuple(name.strip() for name in value.text.split(","))
    return _texts(value)


def _next(value: object) -> tuple[tuple[str | None, str], ...]:
    if isinstance(value, ScalarNode):
        return ((None, value.text),)
    if isinstance(value, ListNode) and all(isinstance(item, ScalarNode) for item in value):
        return tuple((None, item.text) for item in value if isinstance(item, ScalarNode))
    if isinstance(value, MapNode) and all(isinstance(item, ScalarNode) for item in value.values()):
        return tuple(sorted((key, item.text) for key, item in value.items() if isinstance(item, ScalarNode)))
    raise _wrong("the id of a step, a list of ids, or a mapping outcome -> id")


def _expressions(value: object) -> tuple[tuple[str, str], ...]:
    """Name -> expression, in the order of the file; one expression alone has the empty name."""
    if isinstance(value, ScalarNode) and value.kind != "null":
        return (("", value.text),)
    if isinstance(value, MapNode) and all(isinstance(item, ScalarNode) for item in value.values()):
        return tuple((key, item.text) for key, item in value.items() if isinstance(item, ScalarNode))
    raise _wrong("an expression, or a mapping name -> expression")


def _free_map(value: object) -> MapNode:
    if isinstance(value, MapNode):
        return value
    raise _wrong("a mapping")


def _sentence_or_map(value: object) -> Node:
    if isinstance(value, MapNode) or (isinstance(value, ScalarNode) and value.kind != "null"):
        return value
    raise _wrong("a sentence or a mapping")


def _free(value: object) -> object:
    return value


def _by_name(value: object, info: ValidationInfo) -> object:
    """A list of mappings with a `name` each, as the mapping name -> mapping that it means."""
    if not isinstance(value, ListNode):
        return value
    findings = cast("Findings", info.context)
    named = MapNode(value.start, value.end)
    for item in value:
        name = item.get("name") if isinstance(item, MapNode) else None
        if not isinstance(name, ScalarNode) or name.kind == "null":
            findings.add(
                "PIM102", item.span, "this item has no `name`", "each item of the list is a mapping with a `name`"
            )
        elif name.text in named:
            first = findings.source.related(named.keys_at[name.text], "first written here")
            findings.add("PIM204", name.span, f"{quote(name.text)} is here twice", related=(first,))
        else:
            named[name.text] = item
            named.keys_at[name.text] = name.span
    return named


Text = Annotated[str, PlainValidator(_text, json_schema_input_type=str | int | float | bool)]
Flag = Annotated[bool, PlainValidator(_flag, json_schema_input_type=bool)]
Whole = Annotated[int, PlainValidator(_whole, json_schema_input_type=Annotated[int, Field(ge=0)])]
Number = Annotated[ScalarNode, PlainValidator(_number, json_schema_input_type=int | float)]
Texts = Annotated[tuple[str, ...], PlainValidator(_texts, json_schema_input_type=list[str | int | float | bool | None])]
Names = Annotated[tuple[str, ...], PlainValidator(_names, json_schema_input_type=str | list[str])]
Next = Annotated[
    tuple[tuple[str | None, str], ...],
    PlainValidator(_next, json_schema_input_type=str | list[str] | dict[str, str]),
]
Expressions = Annotated[
    tuple[tuple[str, str], ...],
    PlainValidator(
        _expressions,
        json_schema_input_type=str | int | float | bool | dict[str, str | int | float | bool | None],
    ),
]
FreeMap = Annotated[MapNode, PlainValidator(_free_map, json_schema_input_type=dict[str, Any])]
RuleText = Annotated[Any, PlainValidator(_sentence_or_map, json_schema_input_type=str | dict[str, Any])]
Free = Annotated[Any, PlainValidator(_free, json_schema_input_type=Any)]


class Part(BaseModel):
    """A mapping of the format: unknown keys are errors, `x-` keys and keys without a value are as if absent.

    `SHORTHAND` is the key that a bare value stands for, where one may stand in place of the mapping.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
    SHORTHAND: ClassVar[str | None] = None
    EXPECTED: ClassVar[str] = "a mapping"

    @model_validator(mode="wrap")
    @classmethod
    def _once(cls, value: object, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """What a node was found to say is kept with it: it is taken up again with the node (see `pieces`)."""
        if not isinstance(value, MapNode | ScalarNode):
            return validate(value)
        if type(value.document) is not cls:
            value.document = validate(value)
        return value.document

    @model_validator(mode="before")
    @classmethod
    def _entries(cls, value: object) -> object:
        if isinstance(value, MapNode):
            return {
                key: item
                for key, item in value.items()
                if not ((isinstance(item, ScalarNode) and item.kind == "null") or key.startswith("x-"))
            }
        is_bare = isinstance(value, ListNode) or (isinstance(value, ScalarNode) and value.kind != "null")
        if cls.SHORTHAND is not None and is_bare:
            return {cls.SHORTHAND: value}
        raise _wrong(cls.EXPECTED)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        reference = handler(core_schema)
        schema = handler.resolve_ref_schema(reference)
        properties = schema.get("properties", {})
        bare = properties.get(cls.SHORTHAND)
        properties.pop(_SENTENCE, None)
        schema["patternProperties"] = {"^x-": {}}
        if bare is not None:
            full = dict(schema)
            schema.clear()
            schema["anyOf"] = [{key: bare[key] for key in ("type", "anyOf") if key in bare}, full]
        return reference


class AttributeDoc(Part):
    """An attribute of an entity."""

    SHORTHAND = "type"
    EXPECTED = "a type or a mapping"

    name: Text | None = None
    type: Text | None = None
    required: Flag = False
    unique: Flag = False
    index: Flag = False
    default: Free = None
    description: Text = ""
    example: Free = None
    enum: Texts | None = None
    values: Texts | None = None
    enum_values: Texts | None = None
    min_length: Whole | None = None
    max_length: Whole | None = None
    pattern: Text | None = None
    minimum: Number | None = None
    min: Number | None = None
    maximum: Number | None = None
    max: Number | None = None
    exclusive_minimum: Number | None = None
    exclusive_maximum: Number | None = None
    precision: Whole | None = None
    scale: Whole | None = None
    multiple_of: Number | None = None
    primary_key: Flag = False
    auto_increment: Flag = False
    auto_now_add: Flag = False
    auto_now: Flag = False
    reference: Text | None = None
    reference_entity: Text | None = None
    on_delete: Text | None = None
    read_only: Flag = False
    write_only: Flag = False
    renamed_from: Text | None = None
    using: Text | None = None
    id: Text | None = None


class ConstraintDoc(Part):
    """A constraint: a sentence, `{unique: [...]}` or `{check: ...}`."""

    SHORTHAND = _SENTENCE
    EXPECTED = "a sentence or a mapping"

    sentence: Text | None = Field(default=None, validation_alias="\uffffsentence")
    unique: Names | None = None
    check: Text | None = None
    name: Text | None = None
    message: Text | None = None


class IndexDoc(Part):
    """An index: `email`, `"a, b"`, `[a, b]` or the mapping."""

    SHORTHAND = "fields"
    EXPECTED = "attribute names or a mapping"

    fields: Names
    unique: Flag = False
    name: Text | None = None


class RelationshipDoc(Part):
    """A relationship: a sentence, or a mapping with one of the four kinds."""

    SHORTHAND = _SENTENCE
    EXPECTED = "a sentence or a mapping"

    sentence: Text | None = Field(default=None, validation_alias="\uffffsentence")
    belongs_to: Text | None = None
    references: Text | None = None
    has_many: Text | None = None
    has_one: Text | None = None
    via: Text | None = None
    name: Text | None = None
    description: Text = ""


class StatesDoc(Part):
    """The states of an entity: the attribute that says them, or the mapping."""

    SHORTHAND = "field"
    EXPECTED = "the name of an attribute or a mapping"

    field: Text
    initial: Names = ()
    transitions: dict[str, Names] = Field(default_factory=dict)


class ExpectDoc(Part):
    """What comes of an example."""

    status: Whole | None = None
    code: Text | None = None
    body: Free = None


class ExampleDoc(Part):
    """An example, which a new revision has to stand before it serves."""

    name: Text = ""
    given: FreeMap | None = None
    call: FreeMap | None = None
    create: FreeMap | None = None
    expect: ExpectDoc = Field(default_factory=lambda: ExpectDoc.model_validate(MapNode(0, 0)))


class EntityDoc(Part):
    """An entity."""

    name: Text
    plural: Text | None = None
    description: Text = ""
    renamed_from: Text | None = None
    attributes: Annotated[
        dict[str, AttributeDoc],
        BeforeValidator(_by_name, json_schema_input_type=dict[str, AttributeDoc] | list[AttributeDoc]),
    ] = Field(default_factory=dict)
    constraints: list[ConstraintDoc] = Field(default_factory=list)
    indexes: list[IndexDoc] = Field(default_factory=list)
    relationships: list[RelationshipDoc] = Field(default_factory=list)
    examples: list[ExampleDoc] = Field(default_factory=list)
    states: StatesDoc | None = None


class ParameterDoc(Part):
    """A parameter of a method."""

    SHORTHAND = "type"
    EXPECTED = "a type or a mapping"

    name: Text | None = None
    type: Text | None = None
    required: Flag | None = None
    optional: Flag | None = None
    default: Free = None
    description: Text = ""
    enum: Texts | None = None
    values: Texts | None = None
    enum_values: Texts | None = None
    exclude: Names = ()
    partial: Flag = False


class TransitionDoc(Part):
    """What a method does to the state of a row."""

    entity: Text
    field: Text | None = None
    from_: Names = Field(validation_alias="from")
    to: Text
    key: Text | None = None


class MethodDoc(Part):
    """A method of a service."""

    name: Text
    description: Text = ""
    parameters: Annotated[
        dict[str, ParameterDoc],
        BeforeValidator(_by_name, json_schema_input_type=dict[str, ParameterDoc] | list[ParameterDoc]),
    ] = Field(default_factory=dict)
    returns: Text | None = None
    return_type: Text | None = None
    flow: Text | None = None
    rules: Names = ()
    handler: Text | None = None
    examples: list[ExampleDoc] = Field(default_factory=list)
    transition: TransitionDoc | None = None


class ServiceDoc(Part):
    """A service."""

    name: Text
    description: Text = ""
    methods: list[MethodDoc] = Field(default_factory=list)


class ActionDoc(Part):
    """A step inside of `do`: one key says what it does."""

    id: Text | None = None
    label: Text = ""
    description: Text = ""
    when: Expressions | None = None
    get: Text | None = None
    find: Text | None = None
    create: Text | None = None
    update: Text | None = None
    delete: Text | None = None
    set: Expressions | None = None
    each: Text | None = None
    assert_: Text | None = Field(default=None, alias="assert")
    call: Text | None = None
    emit: Text | None = None
    raise_: Text | None = Field(default=None, alias="raise")
    return_: Expressions | None = Field(default=None, alias="return")
    key: Text | None = None
    where: Expressions | None = None
    values: Expressions | None = None
    with_: Expressions | None = Field(default=None, alias="with")
    data: Expressions | None = None
    as_: Text | None = Field(default=None, alias="as")
    do: list[ActionDoc] = Field(default_factory=list)
    sort: Text | None = None
    limit: Whole | None = None
    optional: Flag = False
    message: Text | None = None
    code: Text | None = None
    status: Whole | None = None
    pointer: Text | None = None


class StepDoc(ActionDoc):
    """A step of a flow: for people alone, or with one key that says what it does."""

    id: Text
    type: Text = "action"
    next: Next = ()


class FlowDoc(Part):
    """A flow."""

    description: Text = ""
    diagram: Text = ""
    steps: list[StepDoc] = Field(default_factory=list)


class ModelDoc(Part):
    """A domain model: one file of a watcherd models directory."""

    domain: Text
    title: Text = ""
    renamed_from: Text | None = None
    version: Text = ""
    description: Text = ""
    depends_on: Names = ()
    entities: list[EntityDoc] = Field(default_factory=list)
    services: list[ServiceDoc] = Field(default_factory=list)
    flows: dict[str, FlowDoc] = Field(default_factory=dict)
    rules: dict[str, RuleText] = Field(default_factory=dict)
    metadata: FreeMap | None = None
