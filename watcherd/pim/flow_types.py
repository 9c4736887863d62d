"""The expressions of a flow, for one method: which names each step knows, of which types, step by step.

A flow has no types of its own: what a method passes in decides them, so a flow is looked at once
for each method that follows it. A name is known to a step where every way to it binds the name; it
has one type throughout, that of its first binding. The same walk serves the findings of a file and
the making of what runs (`services`): whoever asks says what is done with each expression.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from watcherd.expressions import ANY, BOOL, NULL, Expression, Scope, Type, list_of
from watcherd.pim.flow_spec import IMPLIED_STEPS, Binding, Flow, Step
from watcherd.pim.operators import operators_of
from watcherd.pim.scopes import attribute_type, parameter_scope, row_type, value_type
from watcherd.pim.spec import Attribute, Entity, HandlerRef, Method, ModelSpec, Service, ValueType

Slot = tuple[str | int, ...]
"""Where an expression is: the place of its step (indexes, `do` in between), then the keys to it."""

Compile = Callable[[Slot, str, Scope, Type | None, int, str], Expression | None]
"""Compiles an expression: its slot, text, scope, what it must be; its offset in a longer text, and that text."""

Report = Callable[[str, Slot, str, str | None], None]
"""Tells of a finding: code, slot, message, hint."""

BRACED: Final = re.compile(r"\{([^{}]*)\}")
"""An expression inside of a message."""

OPERATORS: Final = re.compile(r"(.+?)__([a-z]+)")


@dataclass(slots=True)
class Walk:
    """One look at a flow for one method.

    `expressions` are those that were compiled, by slot; `reached` are the steps that can be reached.
    """

    flow: Flow
    method: Method
    entities: Mapping[str, Entity]
    services: Mapping[str, Service]
    compile: Compile
    report: Report
    expressions: dict[Slot, Expression] = field(default_factory=dict)
    reached: tuple[str, ...] = ()
    _types: dict[str, Type] = field(default_factory=dict)
    _parameters: frozenset[str] = frozenset()

    def run(self) -> None:
        """Look at every step that can be reached, in the order of ways from the first."""
        self._types = dict(parameter_scope(self.method.parameters, self.entities))
        self._parameters = frozenset(self._types)
        steps = {step.id: (place, step) for place, step in enumerate(self.flow.steps)}
        known = _known_names(self.flow, self._parameters)
        self.reached = tuple(known)
        for name in known:
            place, step = steps[name]
            if step.binding is not None:
                self._step(("steps", place), step.binding, known[name])
        if self.method.returns is not None:
            for name in known:
                place, step = steps[name]
                if _may_end_here(self.flow, step):
                    at = ("steps", place, "id")
                    message = f"the flow may end after `{step.id}` without the result that {self.method.name} returns"
                    self.report("PIM434", at, message, "end every way with a step that has `return` or `raise`")

    def _step(self, at: Slot, binding: Binding, known: frozenset[str]) -> frozenset[str]:
        """Look at one step; the names that are known after it."""
        scope = {name: self._types[name] for name in known if name in self._types}
        if binding.guard is not None:
            self._expression((*at, "when"), binding.guard, scope, BOOL)
        if binding.key is not None:
            self._expression((*at, "key"), binding.key, scope, None)
        if binding.message is not None:
            for found in BRACED.finditer(binding.message):
                self._expression(
                    (*at, "message", found.start()), found[1], scope, None, (found.start(1), binding.message)
                )
        result = _ACTIONS[binding.does](self, at, binding, scope)
        if binding.does == "each":
            self._each(at, binding, result or ANY, known)
        elif binding.name is not None:
            self._bind((*at, "as"), binding.name, result or ANY)
        return known | names_of(binding)

    def _each(self, at: Slot, binding: Binding, listed: Type, known: frozenset[str]) -> None:
        assert binding.name is not None  # noqa: S101 - an `each` has one
        self._bind((*at, "as"), binding.name, listed.item or ANY)
        inside = known | {binding.name}
        for place, step in enumerate(binding.steps):
            if step.binding is not None:
                inside = self._step((*at, "do", place), step.binding, inside)

    def _bind(self, at: Slot, name: str, type_: Type) -> None:
        if name in self._parameters:
            message = f"`{name}` is a parameter of {self.method.name}"
            self.report("PIM432", at, message, "give the result another name")
        elif self._types.setdefault(name, type_) != type_:
            message = f"`{name}` is {self._types[name]} in another step, and would be {type_} here"
            self.report("PIM432", at, message, "give one of them another name")

    def _expression(
        self, slot: Slot, text: str, scope: Scope, expects: Type | None, inside: tuple[int, str] | None = None
    ) -> Expression | None:
        offset, whole = inside or (0, text)
        made = self.compile(slot, text, scope, expects, offset, whole)
        if made is not None:
            self.expressions[slot] = made
        return made

    def _entity(self, at: Slot, binding: Binding) -> Entity | None:
        entity = self.entities.get(binding.target)
        if entity is None:
            there = ", ".join(self.entities)
            self.report("PIM307", (*at, binding.does), f"there is no entity `{binding.target}`", f"there are {there}")
        return entity

    # -- actions ------------------------------------------------------------------------------

    def get(self, at: Slot, binding: Binding, scope: Scope) -> Type | None:  # noqa: ARG002 - as all actions
        """A row."""
        entity = self._entity(at, binding)
        return None if entity is None else row_type(entity.name, entity.attributes)

    def find(self, at: Slot, binding: Binding, scope: Scope) -> Type | None:
        """Rows."""
        entity = self._entity(at, binding)
        if entity is None:
            return None
        for name, text in binding.values:
            attribute, operator = condition_of(name, entity.attributes)
            if attribute is None:
                self._no_attribute((*at, "where", name), name, entity)
            elif operator not in (known := operators_of(attribute)):
                message = f"`{attribute.name}` has no operator `{operator}`"
                self.report("PIM304", (*at, "where", name), message, f"there are {', '.join(known)}")
            else:
                self._expression((*at, "where", name), text, scope, _compared(attribute, operator))
        for name in (part.strip().removeprefix("-") for part in (binding.sort or "").split(",") if part.strip()):
            if name not in entity.attributes:
                self._no_attribute((*at, "sort"), name, entity)
        return list_of(row_type(entity.name, entity.attributes))

    def write(self, at: Slot, binding: Binding, scope: Scope) -> Type | None:
        """A row that is created or updated."""
        entity = self._entity(at, binding)
        if entity is None:
            return None
        if binding.expression is not None:
            self._expression((*at, "values"), binding.expression, scope, None)
        for name, text in binding.values:
            attribute = entity.attributes.get(name)
            if attribute is None:
                self._no_attribute((*at, "values", name), name, entity)
            else:
                self._expression((*at, "values", name), text, scope, attribute_type(attribute))
        return row_type(entity.name, entity.attributes)

    def delete(self, at: Slot, binding: Binding, scope: Scope) -> Type | None:  # noqa: ARG002 - as all actions
        """Nothing."""
        self._entity(at, binding)
        return None

    def set(self, at: Slot, binding: Binding, scope: Scope) -> Type | None:
        """Values by name; a name that is there already keeps its type."""
        for name, text in binding.values:
            if name in self._parameters:
                message = f"`{name}` is a parameter of {self.method.name}"
                self.report("PIM432", (*at, "set", name), message, "give the value another name")
                continue
            made = self._expression((*at, "set", name), text, scope, self._types.get(name))
            if made is not None:
                self._types.setdefault(name, ANY if made.type == NULL else made.type)
        return None

    def each(self, at: Slot, binding: Binding, scope: Scope) -> Type | None:
        """The list."""
        made = self._expression((*at, "each"), binding.expression or "", scope, None)
        if made is not None and made.type.item is None and made.type not in {ANY, NULL}:
            self.report("PIM312", (*at, "each"), f"`each` goes through a list, and this is {made.type}", None)
        return None if made is None else made.type

    def check(self, at: Slot, binding: Binding, scope: Scope) -> Type | None:
        """A condition."""
        self._expression((*at, "assert"), binding.expression or "", scope, BOOL)
        return None

    def call(self, at: Slot, binding: Binding, scope: Scope) -> Type | None:
        """What the method returns."""
        found = method_of(binding.target, self.services)
        if found is None:
            there = ", ".join(f"{one.name}.{item.name}" for one in self.services.values() for item in one.methods)
            self.report("PIM433", (*at, "call"), f"there is no method `{binding.target}`", f"there are {there}")
            return None
        parameters = {item.name: item for item in found.parameters}
        types = parameter_scope(found.parameters, self.entities)
        for name, text in binding.values:
            if name in parameters:
                wanted = types[name]
                self._expression((*at, "with", name), text, scope, wanted if parameters[name].type.kind else None)
            else:
                message = f"`{binding.target}` has no parameter `{name}`"
                self.report("PIM433", (*at, "with", name), message, f"there are {', '.join(parameters)}")
        given = {name for name, _ in binding.values}
        lacking = [name for name, one in parameters.items() if one.required and name not in given]
        if lacking:
            message = f"`{binding.target}` needs its parameter `{lacking[0]}`"
            self.report("PIM433", (*at, "call"), message, "give it in `with`")
        return _result_type(found.returns, self.entities)

    def named(self, at: Slot, binding: Binding, scope: Scope) -> Type | None:
        """What is emitted or returned."""
        key = "data" if binding.does == "emit" else "return"
        if binding.expression is not None:
            expects = _result_type(self.method.returns, self.entities) if key == "return" else None
            simple = expects is not None and expects.item is None and expects.name != "object"
            self._expression((*at, key), binding.expression, scope, expects if simple else None)
        for name, text in binding.values:
            self._expression((*at, key, name), text, scope, None)
        return None

    def decide(self, at: Slot, binding: Binding, scope: Scope) -> Type | None:
        """The outcomes of a decision."""
        for outcome, text in binding.values:
            self._expression((*at, "when", outcome), text, scope, BOOL)
        return None

    def nothing(self, at: Slot, binding: Binding, scope: Scope) -> Type | None:  # noqa: ARG002 - as all actions
        """A refusal has its message, and nothing else."""
        return None

    def _no_attribute(self, slot: Slot, name: str, entity: Entity) -> None:
        there = ", ".join(entity.attributes)
        self.report("PIM304", slot, f"entity `{entity.name}` has no attribute `{name}`", f"there are {there}")


_ACTIONS: Final[Mapping[str, Callable[[Walk, Slot, Binding, Scope], Type | None]]] = {
    "get": Walk.get,
    "find": Walk.find,
    "create": Walk.write,
    "update": Walk.write,
    "delete": Walk.delete,
    "set": Walk.set,
    "each": Walk.each,
    "assert": Walk.check,
    "call": Walk.call,
    "emit": Walk.named,
    "return": Walk.named,
    "raise": Walk.nothing,
    "when": Walk.decide,
}


def method_of(target: str, services: Mapping[str, Service]) -> Method | None:
    """The method that `Service.method` names."""
    service, _, name = target.rpartition(".")
    methods = services[service].methods if service in services else ()
    return next((method for method in methods if method.name == name), None)


def condition_of(name: str, attributes: Mapping[str, Attribute]) -> tuple[Attribute | None, str]:
    """The attribute and the operator of a condition such as `stock__gte`."""
    found = OPERATORS.fullmatch(name)
    if name in attributes or found is None:
        return attributes.get(name), "eq"
    return attributes.get(found[1]), found[2]


def names_of(binding: Binding) -> frozenset[str]:
    """The names that are known after a step."""
    if binding.does == "each":
        return frozenset()
    named = {name for name, _ in binding.values} if binding.does == "set" else set()
    return frozenset(named | ({binding.name} if binding.name is not None else set()))


def successors(flow: Flow, step: Step) -> tuple[str, ...]:
    """The steps that may follow a step; the implied end is none."""
    if step.binding is not None and step.binding.does in {"return", "raise"} and step.binding.guard is None:
        return ()
    ids = {one.id: one.id for one in flow.steps}
    by_case = {one.id.lower(): one.id for one in flow.steps if one.id.lower() in IMPLIED_STEPS}
    found = (ids.get(name) or by_case.get(name.lower()) for _, name in step.next)
    return tuple(name for name in found if name is not None)


def first_step(flow: Flow) -> Step:
    """Where a flow begins: at its start, else at its first step."""
    return next((one for one in flow.steps if one.type == "start" or one.id.lower() == "start"), flow.steps[0])


def _may_end_here(flow: Flow, step: Step) -> bool:
    """Whether nothing follows a step although it neither returns nor refuses."""
    binding = step.binding
    if binding is not None and binding.does in {"return", "raise"} and binding.guard is None:
        return False
    following = successors(flow, step)
    return len(following) < max(len(step.next), 1)


def _known_names(flow: Flow, parameters: frozenset[str]) -> dict[str, frozenset[str]]:
    """The names that every way to a step binds, by step, in the order of the ways from the first."""
    steps = {step.id: step for step in flow.steps}
    begin = first_step(flow).id
    known: dict[str, frozenset[str]] = {begin: parameters}
    waiting = [begin]
    while waiting:
        name = waiting.pop(0)
        step = steps[name]
        after = known[name] | (names_of(step.binding) if step.binding is not None else frozenset())
        for following in successors(flow, step):
            before = known.get(following)
            now = after if before is None else before & after
            if now != before:
                known[following] = now
                waiting.append(following)
    return known


def _compared(attribute: Attribute, operator: str) -> Type | None:
    """What a condition on an attribute is compared with."""
    if operator == "isnull":
        return BOOL
    own = attribute_type(attribute)
    if operator in {"in", "not_in"}:
        return list_of(own)
    return own.item if own.item is not None else own


def _result_type(returns: ValueType | None, entities: Mapping[str, Entity]) -> Type | None:
    return None if returns is None else value_type(returns, entities)


def walks(flows: Mapping[str, Flow], services: Mapping[str, Service]) -> Iterator[tuple[Flow, Method]]:
    """Every flow with each method that follows it, where it can run."""
    for service in services.values():
        for method in service.methods:
            flow = None if method.flow is None else flows.get(method.flow)
            if flow is not None and flow.is_executable:
                yield flow, method


def called(steps: Sequence[Step]) -> Iterator[str]:
    """The methods that steps call."""
    for step in steps:
        if step.binding is not None:
            if step.binding.does == "call":
                yield step.binding.target
            yield from called(step.binding.steps)


def handler_behind(method: Method, spec: ModelSpec) -> HandlerRef | None:
    """A handler without which a method cannot run: its own, or one that its flow calls, by whatever way.

    What a handler calls, only that knows.
    """
    seen: set[str] = set()
    waiting = [method]
    while waiting:
        one = waiting.pop(0)
        if one.handler is not None:
            return one.handler
        flow = None if one.flow is None else spec.flows.get(one.flow)
        if flow is not None and flow.name not in seen:
            seen.add(flow.name)
            found = (method_of(target, spec.services) for target in called(flow.steps))
            waiting += [each for each in found if each is not None]
    return None
