"""The shape of a model file, as pydantic models: which keys exist and what may stand under each.

The same models validate the positioned tree and make the published JSON Schema, to which `schema`
adds what each key is for. They say nothing of meaning (whether a default fits its type, whether an
entity exists): that is for the modules after this one. How single values may be written is `notation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    model_validator,
)

from watcherd.pim.nodes import ListNode, MapNode, ScalarNode
from watcherd.pim.notation import (
    Expressions,
    Flag,
    Free,
    FreeMap,
    Names,
    Next,
    Number,
    RuleText,
    Text,
    Texts,
    Whole,
    by_name,
    wrong,
)

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

_SENTENCE = "\uffffsentence"  # not a character: nobody writes it as a key


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
        raise wrong(cls.EXPECTED)

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
        BeforeValidator(by_name, json_schema_input_type=dict[str, AttributeDoc] | list[AttributeDoc]),
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
        BeforeValidator(by_name, json_schema_input_type=dict[str, ParameterDoc] | list[ParameterDoc]),
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
