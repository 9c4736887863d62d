"""What a client would notice of a change, and whether it may fail because of it.

Owns the rules, each with its reason. A change is breaking when a request that was accepted may be
refused, or when an answer may lack or hold what it did not before. Compares operations (as the
OpenAPI document names them), attributes, the sentences that are enforced, and methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Attribute, Constraint, Entity, Kind, Method
from watcherd.plan.value import ApiChange, Change
from watcherd.revision import Operation
from watcherd.store import stricter

_SAME_JSON = frozenset({Kind.STRING, Kind.TEXT})
"""Types between which no client can tell a difference."""


Differs = Callable[[Attribute, Attribute], bool]

_BREAKING: tuple[tuple[Differs, str], ...] = (
    (lambda old, new: _type(old) != _type(new), "its values have another type"),
    (lambda old, new: old.reference != new.reference, "it refers to something else"),
    (lambda old, new: _must_send(new) and not _must_send(old), "it is required now: bodies without it are 422"),
    (lambda old, new: old.required and not new.required, "it is optional now: answers may hold null"),
    (lambda old, new: not set(old.members) <= set(new.members), "members were removed: they are 422 now"),
    (lambda old, new: bool(_limits(old, new)), "its limits are narrower: values beyond them are 422 now"),
    (lambda old, new: new.unique and not old.unique, "it is unique now: the same value again is 409"),
    (lambda old, new: new.read_only and not old.read_only, "it is read-only now: other values are 422"),
    (lambda old, new: new.write_only and not old.write_only, "it is write-only now: answers lack it"),
    (lambda old, new: old.on_delete != new.on_delete, "deleting what it refers to does something else to its rows"),
)
_HARMLESS: tuple[tuple[Differs, str], ...] = (
    (lambda old, new: _must_send(old) and not _must_send(new) and new.required, "it need not be sent any more"),
    (lambda old, new: bool(set(new.members) - set(old.members)), "members were added: answers may hold them"),
    (lambda old, new: bool(_limits(new, old)), "its limits are wider"),
    (lambda old, new: old.unique and not new.unique, "it need not be unique any more"),
    (lambda old, new: old.read_only and not new.read_only, "it can be written now"),
    (lambda old, new: old.write_only and not new.write_only, "answers show it now"),
    (lambda old, new: old.default != new.default, "it has another default"),
)


def api_changes(
    old: LinkedModel | None, old_operations: Sequence[Operation], new: LinkedModel, operations: Sequence[Operation]
) -> tuple[ApiChange, ...]:
    """All differences, the breaking ones first; `old` None: nothing was served."""
    found = [*_operations(old_operations, operations)]
    if old is not None:
        if old.spec.name != new.spec.name:
            reason = f"it is served as {new.spec.domain} now: requests to its old paths are 404"
            found.append(ApiChange(change=Change.REMOVED, subject=old.spec.domain, breaking=True, reason=reason))
        for name, entity in new.spec.entities.items():
            # What an edit left as it was is the same object.
            if name in old.spec.entities and old.spec.entities[name] is not entity:
                found += _entity(old.spec.entities[name], entity)
        found += _methods(old, new)
    return tuple(sorted(found, key=lambda change: not change.breaking))


def _operations(old: Sequence[Operation], new: Sequence[Operation]) -> Iterator[ApiChange]:
    before = {f"{one.method} {one.path or '/'}" for one in old}
    after = {f"{one.method} {one.path or '/'}" for one in new}
    for gone in sorted(before - after):
        yield ApiChange(change=Change.REMOVED, subject=gone, breaking=True, reason="requests to it are 404 or 405")
    for added in sorted(after - before):
        yield ApiChange(change=Change.ADDED, subject=added, breaking=False, reason="nobody uses it yet")


def _entity(old: Entity, new: Entity) -> Iterator[ApiChange]:
    for name, attribute in old.attributes.items():
        subject = f"{new.name}.{name}"
        if name in new.attributes:
            yield from _attribute(subject, attribute, new.attributes[name])
        else:
            reason = "answers lack it, and bodies with it are 422"
            renamed = next((one for one in new.attributes.values() if one.renamed_from == name), None)
            if renamed is not None:
                reason = f"it is called {renamed.name} now: {reason}"
            yield ApiChange(change=Change.REMOVED, subject=subject, breaking=True, reason=reason)
    for name, attribute in new.attributes.items():
        if name not in old.attributes:
            must = _must_send(attribute)
            reason = "it has to be sent: bodies without it are 422" if must else "answers have one member more"
            yield ApiChange(change=Change.ADDED, subject=f"{new.name}.{name}", breaking=must, reason=reason)
    yield from _sentences(old, new)
    yield from _rules(old, new)


def _attribute(subject: str, old: Attribute, new: Attribute) -> Iterator[ApiChange]:
    if old is new:
        return
    for rules, breaking in ((_BREAKING, True), (_HARMLESS, False)):
        for differs, reason in rules:
            if differs(old, new):
                yield ApiChange(change=Change.CHANGED, subject=subject, breaking=breaking, reason=reason)


def _sentences(old: Entity, new: Entity) -> Iterator[ApiChange]:
    before, after = ({_demand(one): one.text for one in entity.constraints if one.rule} for entity in (old, new))
    yield from _demands(new.name, "constraint", before, after)


def _rules(old: Entity, new: Entity) -> Iterator[ApiChange]:
    """Rules on an entity, and its states."""
    before, after = ({(one.when, one.condition): one.name for one in entity.rules} for entity in (old, new))
    yield from _demands(new.name, "rule", before, after)
    if new.states is not None and new.states != old.states:
        reason = f"other changes of {new.states.field} are refused: it has states"
        yield ApiChange(change=Change.CHANGED, subject=new.name, breaking=True, reason=reason)
    elif old.states is not None and new.states is None:
        reason = f"every change of {old.states.field} is accepted: it has no states any more"
        yield ApiChange(change=Change.CHANGED, subject=new.name, breaking=False, reason=reason)


def _demands(subject: str, what: str, before: Mapping[Any, str], after: Mapping[Any, str]) -> Iterator[ApiChange]:
    """What is demanded of rows now or no longer; what is demanded -> how people know it."""
    for demand, told in after.items():
        if demand not in before:
            reason = f"writes that break a new {what} are refused: {told}"
            yield ApiChange(change=Change.CHANGED, subject=subject, breaking=True, reason=reason)
    for demand, told in before.items():
        if demand not in after:
            reason = f"a {what} is not enforced any more: {told}"
            yield ApiChange(change=Change.CHANGED, subject=subject, breaking=False, reason=reason)


def _methods(old: LinkedModel, new: LinkedModel) -> Iterator[ApiChange]:
    """Methods that both have; those that came or went are operations."""
    before = {f"{service.name}.{one.name}": one for service in old.spec.services.values() for one in service.methods}
    for service in new.spec.services.values():
        for method in service.methods:
            subject = f"{service.name}.{method.name}"
            if subject in before:
                yield from _method(subject, before[subject], method)


def _method(subject: str, old: Method, new: Method) -> Iterator[ApiChange]:
    def changed(reason: str, *, breaking: bool) -> ApiChange:
        return ApiChange(change=Change.CHANGED, subject=subject, breaking=breaking, reason=reason)

    if old.returns != new.returns:
        yield changed("it returns another type", breaking=True)
    before, after = ({one.name: one for one in method.parameters} for method in (old, new))
    for name, parameter in after.items():
        if name not in before:
            must = parameter.required and parameter.default is None
            demand = "has to be sent" if must else "may be sent"
            yield changed(f"the new parameter {name} {demand}", breaking=must)
        elif parameter.type != before[name].type:
            yield changed(f"the parameter {name} has another type", breaking=True)
        elif parameter.required and not before[name].required:
            yield changed(f"the parameter {name} is required now", breaking=True)
    for name in before.keys() - after.keys():
        yield changed(f"the parameter {name} is gone: bodies with it are 422", breaking=True)


def _must_send(attribute: Attribute) -> bool:
    """Whether a body without it is refused."""
    made_up = attribute.primary_key and attribute.kind is Kind.UUID
    return attribute.required and attribute.default is None and not attribute.server_set and not made_up


def _type(attribute: Attribute) -> tuple[Any, ...]:
    kind = Kind.STRING if attribute.kind in _SAME_JSON else attribute.kind
    return kind, attribute.is_list, attribute.scale if kind is Kind.DECIMAL else None


def _limits(old: Attribute, new: Attribute) -> tuple[str, ...]:
    """In what `new` refuses values that `old` accepts; not what other rules tell."""
    if _type(old) != _type(new):
        return ()
    return tuple(name for name in stricter(old, new) if name not in {"required", "members"})


def _demand(constraint: Constraint) -> tuple[Any, ...]:
    operand = constraint.bound, constraint.bounds, constraint.other, constraint.expression
    return constraint.rule, constraint.attributes, operand
