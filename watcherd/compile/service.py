"""The endpoints of service methods: a body is validated, then the method runs, or 501 says what it lacks.

Owns which bodies a method takes. Does not own how what stands behind it is run (services), nor what
is made of its result (results). A method without anything executable never pretends to have run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_core import CoreSchema, SchemaValidator, core_schema

from watcherd import problems
from watcherd.compile import reading
from watcherd.compile.bodies import required_on_create, unsent_on_create
from watcherd.compile.constraints import Checks, compile_checks
from watcherd.compile.query import refuse_parameters
from watcherd.compile.reading import Location, pointer
from watcherd.compile.rules import Held, broken_rules, compile_method_rules
from watcherd.compile.validators import Targets, any_json, attribute_schema, takes_null
from watcherd.compile.writes import Admit, Performance, Work
from watcherd.pim.flow_types import handler_behind
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Attribute, Entity, Json, Kind, Method, ModelSpec, Parameter, Service
from watcherd.problems import Finding, Problem
from watcherd.wire import Call

_ANY_JSON = core_schema.no_info_plain_validator_function(any_json)


@dataclass(frozen=True, slots=True)
class EntityParameter:
    """What the checks of a parameter need to know of its entity, one of the same model."""

    entity: str
    names: Collection[str]
    checks: Checks
    partial: bool
    defaults: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class MethodBody:
    """What the body of a method may say, compiled: knows no tables, so that the next revision may take it up.

    `defaults` are wire values.
    """

    validator: SchemaValidator
    parameters: tuple[str, ...]
    defaults: Mapping[str, Json]
    entities: Mapping[str, EntityParameter]
    rules: tuple[Held, ...]


Run = Callable[[Call, Mapping[str, Any]], Work | Performance]
"""What runs a method, given the wire values of its parameters."""


@dataclass(frozen=True, slots=True)
class MethodEndpoint:
    """One method: what its body may say, and what runs it, or what it lacks to be run.

    `clock` answers an aware UTC time; `admit` raises `Problem` for a call that its client may not make,
    whatever its body says.
    """

    name: str
    body: MethodBody
    clock: Callable[[], datetime]
    run: Run | None
    lacks: tuple[str, ...]
    admit: Admit

    async def call(self, call: Call) -> Work | Performance:
        """What the method does; 422 when the body is not what it takes, 501 when it cannot run."""
        if self.run is None:
            refuse_parameters(call.query)
        values = self.accepted(await self._body(call))
        if self.run is None:
            raise Problem(
                problems.NOT_IMPLEMENTED,
                f"{self.name} is declared, but nothing executable stands behind it",
                extra={"lacks": list(self.lacks)},
            )
        return self.run(call, values)

    def accepted(self, body: Any) -> dict[str, Any]:
        """The wire values of all parameters; what is not given has its default or null. Raises `Problem` 422."""
        own = self.body
        values, findings = reading.check(own.validator, body, self._known)
        self._add_defaults(values)
        findings += self._broken(values)
        given: dict[str, Any] = dict.fromkeys(own.parameters)
        given |= {name: default.value for name, default in own.defaults.items()}
        given |= values
        if own.rules and not findings:
            findings = broken_rules(own.rules, given, self.clock())
        if findings:
            raise reading.invalid(findings)
        return given

    def _add_defaults(self, values: Mapping[str, Any]) -> None:
        """Give entities that are passed whole the defaults of what they lack, as a create does."""
        for name, parameter in self.body.entities.items():
            given = values.get(name)
            for row in given if isinstance(given, list) else [given]:
                if row is not None:
                    row.update({key: one.value for key, one in parameter.defaults.items() if key not in row})

    async def _body(self, call: Call) -> Any:
        """What was sent; a method without parameters needs nothing, whatever it is said to be."""
        if self.body.parameters:
            return await reading.read_json(call, reading.JSON_ONLY, exact=True)
        body = await call.body()
        if not body:
            return {}
        reading.refuse_others(call, reading.JSON_ONLY)
        return reading.parse(body, exact=True, max_depth=call.max_json_depth)

    def _known(self, place: Location) -> tuple[str, Collection[str]]:
        if not place:
            return self.name, self.body.parameters
        parameter = self.body.entities[str(place[0])]
        return parameter.entity, parameter.names

    def _broken(self, values: Mapping[str, Any]) -> Iterator[Finding]:
        """What sentences find in the entities that were given."""
        for name, parameter in self.body.entities.items():
            given = values.get(name)
            for place, row in enumerate(given) if isinstance(given, list) else [(None, given)]:
                if row is None:
                    continue
                prefix = pointer((name,) if place is None else (name, place))
                for about, check in parameter.checks:
                    if parameter.partial and not about <= row.keys():
                        continue
                    if (broken := check(row)) is not None:
                        yield Finding(prefix + broken.pointer[1:], broken.code, broken.message)


def everybody(_: Call) -> None:
    """Who may call most methods."""


def compile_body(linked: LinkedModel, method: Method) -> MethodBody:
    """Build the validator of a method's body and its rules: from what is in its `MethodSight`, and no more."""
    spec = linked.spec
    own = {parameter.name: parameter for parameter in method.parameters if entity_of(spec, parameter) is not None}
    return MethodBody(
        validator=SchemaValidator(
            core_schema.typed_dict_schema(
                {
                    parameter.name: core_schema.typed_dict_field(
                        _parameter_schema(spec, parameter, linked.targets), required=parameter.required
                    )
                    for parameter in method.parameters
                },
                extra_behavior="forbid",
            )
        ),
        parameters=tuple(parameter.name for parameter in method.parameters),
        defaults={item.name: item.default for item in method.parameters if item.default is not None},
        entities={
            name: _entity_parameter(entity, parameter, linked.targets)
            for name, parameter in own.items()
            if (entity := entity_of(spec, parameter)) is not None
        },
        rules=compile_method_rules(spec, method),
    )


def compile_method(  # noqa: PLR0913, PLR0917 - the parts of a method, put together once
    linked: LinkedModel,
    service: Service,
    method: Method,
    body: MethodBody,
    clock: Callable[[], datetime],
    run: Run | None = None,
    admit: Admit = everybody,
) -> MethodEndpoint:
    """Put together what calls of a method need, and gather what it lacks where nothing runs it."""
    lacks = () if run is not None else tuple(_lacks(linked.spec, method))
    return MethodEndpoint(f"{service.name}.{method.name}", body, clock, run, lacks, admit)


def is_executable(linked: LinkedModel, method: Method) -> bool:
    """Whether something runs a method: its code, or a transition that is all it does."""
    return has_code(linked, method) or (
        method.transition is not None and method.handler is None and method.flow is None
    )


def has_code(linked: LinkedModel, method: Method) -> bool:
    """Whether code stands behind a method: its handler, where those may run, or a flow whose steps all do something."""
    if method.handler is not None:
        return bool(linked.code.files)
    flow = None if method.flow is None else linked.spec.flows.get(method.flow)
    if flow is None or not flow.is_executable:
        return False
    return bool(linked.code.files) or handler_behind(method, linked.spec) is None


def any_has_code(linked: LinkedModel) -> bool:
    """Whether code stands behind any method of a model."""
    return any(has_code(linked, method) for service in linked.spec.services.values() for method in service.methods)


def entity_of(spec: ModelSpec, parameter: Parameter) -> Entity | None:
    """The entity of this model that a parameter holds; of another model's only the name is known."""
    ref = parameter.type.entity
    return spec.entities.get(ref.entity) if ref is not None and ref.model == spec.name else None


def given_attributes(entity: Entity, parameter: Parameter) -> tuple[Attribute, ...]:
    """The attributes that a parameter may hold: those of a create body, less what is excluded."""
    left_out = unsent_on_create(entity) | set(parameter.exclude)
    return tuple(item for item in entity.attributes.values() if item.name not in left_out)


def required_attributes(entity: Entity, parameter: Parameter) -> frozenset[str]:
    """The attributes that a parameter must hold."""
    return frozenset() if parameter.partial else required_on_create(entity) - set(parameter.exclude)


def as_attribute(parameter: Parameter) -> Attribute:
    """A parameter of a plain kind, seen as an attribute."""
    return Attribute(
        name=parameter.name,
        kind=parameter.type.kind or Kind.JSON,
        is_list=parameter.type.is_list,
        required=parameter.required,
        default=parameter.default,
        description=parameter.description,
        members=parameter.members,
    )


def _parameter_schema(spec: ModelSpec, parameter: Parameter, targets: Targets) -> CoreSchema:
    if parameter.type.entity is None:
        return attribute_schema(as_attribute(parameter), targets, nullable=not parameter.required)
    entity = entity_of(spec, parameter)
    schema = (
        core_schema.dict_schema(values_schema=_ANY_JSON, strict=True)
        if entity is None
        else _entity_schema(entity, parameter, targets)
    )
    if parameter.type.is_list:
        schema = core_schema.list_schema(schema, strict=True)
    return schema if parameter.required else core_schema.nullable_schema(schema)


def _entity_schema(entity: Entity, parameter: Parameter, targets: Targets) -> CoreSchema:
    required = required_attributes(entity, parameter)
    fields = {
        item.name: core_schema.typed_dict_field(
            attribute_schema(item, targets, nullable=takes_null(item)), required=item.name in required
        )
        for item in given_attributes(entity, parameter)
    }
    # As in a create body, null says that what the server sets is not given.
    for name in unsent_on_create(entity).difference(parameter.exclude):
        fields[name] = core_schema.typed_dict_field(core_schema.none_schema(), required=False)
    return core_schema.typed_dict_schema(fields, extra_behavior="forbid")


def _entity_parameter(entity: Entity, parameter: Parameter, targets: Targets) -> EntityParameter:
    names = tuple(item.name for item in given_attributes(entity, parameter))
    checks = tuple((about, check) for about, check in compile_checks(entity, targets) if about <= set(names))
    given = () if parameter.partial else given_attributes(entity, parameter)
    defaults = {item.name: item.default for item in given if item.default is not None}
    return EntityParameter(entity.name, names, checks, parameter.partial, defaults)


def _lacks(spec: ModelSpec, method: Method) -> Iterator[str]:
    flow = None if method.flow is None else spec.flows.get(method.flow)
    runs = method.handler is not None or (flow is not None and flow.is_executable)
    needed = handler_behind(method, spec) if runs else None
    if needed is not None:
        whose = "its handler" if method.handler is not None else "the handler"
        yield f"leave to run {whose} {needed}: set WATCHERD_ALLOW_HANDLERS=true"
        return
    yield "a handler"
    if method.flow is not None:
        steps = () if flow is None else flow.prose
        if not steps:
            yield f"steps of the flow {method.flow}"
        for step in steps:
            label = step.label or step.description
            yield f"a binding of step {step.id}{f' ({label})' if label else ''} of the flow {method.flow}"
    for name in method.rules:
        rule = spec.rules.get(name)
        if rule is None:
            yield f"a rule {name}"
        elif rule.is_prose:
            form = "prose" if rule.free is None or isinstance(rule.free.value, str) else "free form"
            yield f"an expression for the rule {name}, which is {form}"
