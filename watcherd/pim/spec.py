"""The model spec: what a model file means, and nothing about how it was written.

Specs are immutable and compare by value, so "the file means the same as before" is `==`:
attributes, rules and flows are read-only mappings, which compare without regard to order;
free-form values are canonical JSON text, so that `1`, `1.0` and `true` stay different.
A spec knows neither positions (those are in `Parsed`) nor other models (`linked`), nor any web
framework or database. What a flow means is `flow_spec`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeVar

from watcherd.pim.flow_spec import Flow

EMPTY: Mapping[str, Any] = MappingProxyType({})
_Value = TypeVar("_Value")


def read_only(values: dict[str, _Value]) -> Mapping[str, _Value]:
    """A mapping of a spec; what is empty is one and the same."""
    return MappingProxyType(values) if values else EMPTY


class Kind(StrEnum):
    """The type of one value; a list of them is `is_list` beside it."""

    STRING = "string"
    TEXT = "text"
    INTEGER = "integer"
    FLOAT = "float"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    DATE = "date"
    TIME = "time"
    JSON = "json"
    UUID = "uuid"
    EMAIL = "email"
    URL = "url"
    ENUM = "enum"
    REFERENCE = "reference"


class OnDelete(StrEnum):
    """What deleting a row does to the rows that refer to it."""

    RESTRICT = "restrict"
    CASCADE = "cascade"
    SET_NULL = "set_null"


@dataclass(frozen=True, slots=True)
class Json:
    """A free-form JSON value as canonical text: immutable, hashable, exact in comparison."""

    text: str

    @classmethod
    def of(cls, value: object) -> Json:
        """Freeze a value made of str, int, float, bool, None, lists and string-keyed dicts."""
        return cls(json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False))

    @property
    def value(self) -> Any:
        """A fresh copy of the value, the caller's to change."""
        return json.loads(self.text)


def fold(name: str) -> str:
    """The one spelling under which a domain is known inside: `-` and `_` are the same name."""
    return name.replace("-", "_")


@dataclass(frozen=True, slots=True)
class EntityRef:
    """An entity by name; `model` is a folded domain, always set, also for the model itself."""

    model: str
    entity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute of an entity, with every default of the language filled in.

    `default` and `example` are JSON values as a client would send them (decimals and times as
    strings); None where there is none. `reference` is set exactly when `kind` is REFERENCE.
    `implied` marks `id`, `created_at` and `updated_at` where the file does not declare them.
    """

    name: str
    kind: Kind
    is_list: bool = False
    required: bool = False
    unique: bool = False
    index: bool = False
    default: Json | None = None
    description: str = ""
    example: Json | None = None
    members: tuple[str, ...] = ()
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    exclusive_minimum: Decimal | None = None
    exclusive_maximum: Decimal | None = None
    precision: int | None = None
    scale: int | None = None
    multiple_of: Decimal | None = None
    primary_key: bool = False
    auto_increment: bool = False
    auto_now_add: bool = False
    auto_now: bool = False
    reference: EntityRef | None = None
    on_delete: OnDelete = OnDelete.RESTRICT
    read_only: bool = False
    write_only: bool = False
    renamed_from: str | None = None
    stable_id: str | None = None
    using: str | None = field(default=None, compare=False)
    """The values of a new type, from the rows of the old one: how to get there, no part of what the model means."""
    implied: bool = False

    def __hash__(self) -> int:
        """Of what most attributes differ in: memories look attributes up more often than anything else."""
        return hash((self.name, self.kind))

    @property
    def server_set(self) -> bool:
        """Whether the server alone writes this attribute (generated key, clock)."""
        return self.implied or self.auto_increment or self.auto_now or self.auto_now_add


class Rule(StrEnum):
    """What an enforced constraint demands; the operand is in `Constraint`."""

    REQUIRED = "required"
    UNIQUE = "unique"
    NOT_EMPTY = "not_empty"
    GREATER = "greater"
    AT_LEAST = "at_least"
    LESS = "less"
    AT_MOST = "at_most"
    BETWEEN = "between"
    MEMBER = "member"
    EMAIL = "email"
    CHECK = "check"


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """One entry of `constraints`.

    `rule` None means that it is shown but not enforced (prose). `attributes` are those it is about
    (several only for UNIQUE and CHECK). The operand of a comparison is `bound` (a number), `bounds`
    (BETWEEN, inclusive) or `other` (an attribute of the same entity), that of CHECK `expression`, a
    condition over the row in the scope of `scopes.check_scope`. `text` is the sentence as written,
    or a sentence made from the mapping; it names the constraint in answers.
    """

    text: str
    rule: Rule | None
    attributes: tuple[str, ...] = ()
    bound: Decimal | None = None
    bounds: tuple[Decimal, Decimal] | None = None
    other: str | None = None
    name: str | None = None
    message: str | None = None
    expression: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRule:
    """One entry of `rules`.

    `condition` (and `when` it applies) are expressions: over the row of the entity `on` (see
    `scopes.rule_scope`), else over the parameters of each method that names the rule. `about` are
    the attributes of `on` that the condition names. Without `condition` it is prose, kept as it is
    written in `free`. `text` says it to people, `code` to clients.
    """

    name: str
    text: str
    on: str | None = None
    when: str | None = None
    condition: str | None = None
    message: str | None = None
    code: str = ""
    about: tuple[str, ...] = ()
    free: Json | None = None

    @property
    def is_prose(self) -> bool:
        """Whether it is shown, but not enforced."""
        return self.condition is None


@dataclass(frozen=True, slots=True, kw_only=True)
class States:
    """The states of an entity: `field` says in which one a row is; rows begin in an `initial` one.

    `moves` are the changes that anybody may make, (from, to); all others are for methods.
    """

    field: str
    initial: tuple[str, ...]
    moves: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """What a method does to the state of a row: of one that is in one of `before` (empty: in any).

    `key` is the parameter that holds the key of the row.
    """

    entity: str
    field: str
    before: tuple[str, ...]
    to: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One example of a method or an entity: with the rows that are `given`, a call or a create comes out so.

    `given` maps entities to rows, `body` is what is sent. Without `status` and `code` any success will
    do; `expected` is a part of the answer.
    """

    name: str = ""
    given: Json = Json("{}")
    body: Json = Json("{}")
    status: int | None = None
    code: str | None = None
    expected: Json | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """One entry of `indexes`."""

    attributes: tuple[str, ...]
    unique: bool = False
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToOne:
    """The end of a relation that carries the key: `attribute` holds the key of `target`.

    `name` is under what `expand` shows the related row. Every reference attribute has one, also
    where no `belongs to` is written.
    """

    name: str
    attribute: str
    target: EntityRef


@dataclass(frozen=True, slots=True, kw_only=True)
class ToMany:
    """The other end: rows of `child` whose attribute `via` holds this row's key.

    `single` marks `has one`. `name` is under what `expand` shows the rows.
    """

    name: str
    child: EntityRef
    via: str
    single: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """One entity; `attributes` holds the implied ones too: key first, times last.

    `digest` is kept by `canonical`, which makes it.
    """

    name: str
    plural: str
    description: str = ""
    renamed_from: str | None = None
    attributes: Mapping[str, Attribute]
    constraints: tuple[Constraint, ...] = ()
    rules: tuple[ModelRule, ...] = ()
    states: States | None = None
    indexes: tuple[Index, ...] = ()
    to_one: tuple[ToOne, ...] = ()
    to_many: tuple[ToMany, ...] = ()
    examples: tuple[Example, ...] = ()
    digest: str | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def key(self) -> Attribute:
        """The primary key."""
        return next(attribute for attribute in self.attributes.values() if attribute.primary_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueType:
    """The type of a parameter or a result: a kind, or an entity, or a list of one of them."""

    kind: Kind | None = None
    entity: EntityRef | None = None
    is_list: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a method. With an entity type the body is that entity's create body."""

    name: str
    type: ValueType
    required: bool = True
    default: Json | None = None
    description: str = ""
    exclude: tuple[str, ...] = ()
    partial: bool = False
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HandlerRef:
    """A Python function that runs a method: `file` is relative to the model file's folder, with `/`."""

    file: str
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.function}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method of a service; `path` is its kebab-case segment. `returns` None: nothing."""

    name: str
    path: str
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    returns: ValueType | None = None
    flow: str | None = None
    rules: tuple[str, ...] = ()
    handler: HandlerRef | None = None
    examples: tuple[Example, ...] = ()
    transition: Transition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service; `path` is its kebab-case segment."""

    name: str
    path: str
    description: str = ""
    methods: tuple[Method, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One parsed, validated model.

    `domain` is the name as declared, `name` the folded one under which it is known inside.
    `depends_on` are folded names of other models: those declared and those found in references.
    """

    domain: str
    title: str = ""
    version: str = ""
    description: str = ""
    renamed_from: str | None = None
    depends_on: frozenset[str] = frozenset()
    entities: Mapping[str, Entity] = field(default_factory=lambda: EMPTY)
    services: Mapping[str, Service] = field(default_factory=lambda: EMPTY)
    flows: Mapping[str, Flow] = field(default_factory=lambda: EMPTY)
    rules: Mapping[str, ModelRule] = field(default_factory=lambda: EMPTY)
    metadata: Json = Json("{}")

    @property
    def name(self) -> str:
        """The folded domain."""
        return fold(self.domain)
