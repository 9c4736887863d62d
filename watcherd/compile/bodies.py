"""What clients may send for one entity, and the row that comes of it: create, replace, patch.

Owns required attributes, defaults, what the server sets, what cannot be changed, and the order in
which findings are gathered: all of them at once. Does not own JSON (reading), types (validators)
or sentences (constraints).

What the server sets (`id`, `created_at`, `updated_at`, `read_only`) is refused in a body of a
create, except as null or as the value it will get anyway; in a replace or a patch it is accepted
when it equals what is stored, so that a client may send back what it has read. A replace leaves it
as it is, and so it does what is write-only and was not sent: whoever sends back what it has read
cannot send that, and must not lose it. Null empties it. A declared key must be sent on create, but for
a declared UUID: without one it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_core import SchemaValidator

from watcherd.compile import reading, values
from watcherd.compile.constraints import Checks, compile_checks
from watcherd.compile.options import Options
from watcherd.compile.reading import Location, pointer
from watcherd.compile.rules import EntityRules, compile_entity_rules, row_values
from watcherd.compile.states import StateGuard, compile_states
from watcherd.compile.validators import Targets, body_schema
from watcherd.errors import WatcherdError
from watcherd.pim.spec import EMPTY, Attribute, Entity, Kind
from watcherd.problems import Finding

Values = Mapping[str, Any]

_NOBODY: frozenset[str] = frozenset()


class InvalidDefaultError(WatcherdError):
    """A default that its own attribute would refuse from a client, which only linking can show.

    Such as a reference by default to a key that is no key of the entity that it leads to.
    """

    def __init__(self, entity: str, attribute: str, default: object, reason: str) -> None:
        super().__init__(f"{entity}.{attribute} cannot have the default {default!r}: {reason}")
        self.entity = entity
        self.attribute = attribute


@dataclass(frozen=True, slots=True, kw_only=True)
class Bodies:
    """One entity's rules for bodies, compiled.

    `required` must be sent by create, and by replace what of it is no key and not `hidden`, which nobody can read and
    send back; `blank` are the wire values of a row of which
    nothing was sent; `locked` cannot be changed by a client, `unsent` cannot be given on create;
    `stamps_create` and `stamps_write` are the attributes that get the time of day; `documents`
    are JSON attributes, which a patch merges. `exact` says that long numbers keep their digits;
    a create takes at most `max_rows` at once.
    """

    owner: str
    validator: SchemaValidator
    names: tuple[str, ...]
    key: str
    required: frozenset[str]
    hidden: frozenset[str]
    blank: Values
    locked: frozenset[str]
    unsent: frozenset[str]
    stamps_create: tuple[tuple[str, Kind], ...]
    stamps_write: tuple[tuple[str, Kind], ...]
    documents: frozenset[str]
    exact: bool
    max_rows: int
    makes_key: bool
    checks: Checks
    rules: EntityRules
    states: StateGuard | None
    clock: Callable[[], datetime]
    make_id: Callable[[], str]

    def known(self, place: Location) -> tuple[str, Collection[str]]:
        """The attributes that exist: a body has one level."""
        return self.owner, () if place else self.names


def compile_bodies(entity: Entity, targets: Targets, options: Options) -> Bodies:
    """Build everything that the bodies of an entity need."""
    attributes = tuple(entity.attributes.values())
    key = entity.key
    unsent = unsent_on_create(entity)
    made = {key.name} if makes_key(key) else set()
    validator = SchemaValidator(body_schema(attributes, targets, locked=unsent | made))
    written = [item for item in attributes if item.auto_now]
    return Bodies(
        owner=entity.name,
        validator=validator,
        names=tuple(entity.attributes),
        key=key.name,
        required=required_on_create(entity),
        hidden=frozenset(item.name for item in attributes if item.write_only),
        blank=dict.fromkeys(name for name in entity.attributes if name != key.name) | _defaults(entity, validator),
        locked=unsent | {key.name},
        unsent=unsent,
        stamps_create=tuple((item.name, item.kind) for item in attributes if item.auto_now or item.auto_now_add),
        stamps_write=tuple((item.name, item.kind) for item in written),
        documents=frozenset(item.name for item in attributes if item.kind is Kind.JSON and not item.is_list),
        exact=any(values.resolve(item, targets).kind is Kind.DECIMAL for item in attributes),
        max_rows=options.max_rows,
        makes_key=makes_key(key),
        checks=compile_checks(entity, targets),
        rules=compile_entity_rules(entity),
        states=compile_states(entity),
        clock=options.clock,
        make_id=options.make_id,
    )


def _defaults(entity: Entity, validator: SchemaValidator) -> dict[str, Any]:
    """The defaults as wire values. Raises `InvalidDefaultError`."""
    declared = {item.name: item.default.value for item in entity.attributes.values() if item.default is not None}
    found, findings = reading.check(validator, declared, lambda _: (entity.name, ()))
    if findings:
        name = findings[0].pointer.split("/")[1]
        raise InvalidDefaultError(entity.name, name, declared[name], findings[0].message)
    return found


def unsent_on_create(entity: Entity) -> frozenset[str]:
    """The attributes that a client cannot give: the server sets them, or nobody does."""
    return frozenset(item.name for item in entity.attributes.values() if item.server_set or item.read_only)


def makes_key(key: Attribute) -> bool:
    """Whether a key that was not sent is made here, not by the database."""
    return key.kind is Kind.UUID and not key.auto_increment


def required_on_create(entity: Entity) -> frozenset[str]:
    """The attributes that a client must give on create; on replace neither the key nor what is write-only."""
    unsent = unsent_on_create(entity)
    return frozenset(
        item.name
        for item in entity.attributes.values()
        if (item.required or item.primary_key)
        and item.default is None
        and item.name not in unsent
        and not (item.primary_key and makes_key(item))
    )


def created(
    bodies: Bodies, body: Any, place: Location = (), *, fixed: Values = EMPTY
) -> tuple[dict[str, Any], list[Finding]]:
    """The row that a body creates, and all findings about it; `place` is where it stands in a batch.

    `fixed` are values of what the server sets, where those are known already.
    """
    sent, findings = read(bodies, body, bodies.required)
    if not isinstance(body, dict):
        return {}, _at(place, findings)
    for name in sorted(bodies.unsent & sent.keys()):
        value = sent.pop(name)
        if value is not None and value != bodies.blank.get(name):
            findings.append(Finding(pointer((name,)), "read_only", "is set by the server, expected it to be left out"))
    row = {**bodies.blank, **sent}
    if bodies.makes_key and row.get(bodies.key) is None:
        row[bodies.key] = bodies.make_id()
    _stamp(row, bodies.stamps_create, bodies.clock)
    row.update(fixed)
    _add_broken(bodies, row, None, findings)
    if bodies.states is not None and (wrong := bodies.states.begun(row)) is not None:
        _add_state(wrong, findings)
    return row, _at(place, findings)


def read(bodies: Bodies, body: Any, required: Collection[str]) -> tuple[dict[str, Any], list[Finding]]:
    """What a body sends, and the findings that need no row; with findings, the rest that is valid."""
    sent, findings = reading.check(bodies.validator, body, bodies.known)
    if findings:
        if not isinstance(body, dict) or len(findings) > reading.MAX_FINDINGS:
            return {}, findings
        blamed = _blamed(findings)
        rest = {name: value for name, value in body.items() if name not in blamed}
        sent, _ = reading.check(bodies.validator, rest, bodies.known)
    if not required <= body.keys():
        findings += [
            Finding(pointer((name,)), "required", "expected a value, it is required")
            for name in bodies.names
            if name in required and name not in body
        ]
    return sent, findings


def changed(
    bodies: Bodies, stored: Values, sent: Values, known: Sequence[Finding], *, whole: bool
) -> tuple[dict[str, Any], list[Finding]]:
    """The wire values to set on a stored row, and all findings, `known` ones first."""
    findings = list(known)
    findings += [
        Finding(pointer((name,)), "read_only", "cannot be changed, expected the stored value or none")
        for name in sorted(bodies.locked & sent.keys())
        if sent[name] != stored.get(name)
    ]
    change = {name: value for name, value in sent.items() if name not in bodies.locked}
    if whole:
        kept = bodies.locked | bodies.hidden
        if bodies.states is not None:
            kept |= {bodies.states.field}
        change = {name: value for name, value in bodies.blank.items() if name not in kept} | change
    else:
        for name in bodies.documents & change.keys():
            change[name] = merge(stored.get(name), change[name])
    _stamp(change, bodies.stamps_write, bodies.clock)
    row = {**stored, **change}
    _add_broken(bodies, row, stored, findings)
    if bodies.states is not None and (wrong := bodies.states.moved(stored, row)) is not None:
        _add_state(wrong, findings)
    return change, findings


def moved(bodies: Bodies, stored: Values, field: str, state: str) -> tuple[dict[str, Any], list[Finding]]:
    """The wire values that a transition sets on a stored row, and what constraints and rules find."""
    change: dict[str, Any] = {field: state}
    _stamp(change, bodies.stamps_write, bodies.clock)
    findings: list[Finding] = []
    _add_broken(bodies, {**stored, **change}, stored, findings)
    return change, findings


def emptied(bodies: Bodies, stored: Values, names: Collection[str]) -> tuple[dict[str, Any], list[Finding]]:
    """The wire values to set on a stored row that loses what it refers to, and what constraints and rules find."""
    change: dict[str, Any] = dict.fromkeys(names)
    _stamp(change, bodies.stamps_write, bodies.clock)
    findings: list[Finding] = []
    _add_broken(bodies, {**stored, **change}, stored, findings)
    return change, findings


def stamps(bodies: Bodies) -> dict[str, Any]:
    """What every write of a row sets."""
    change: dict[str, Any] = {}
    _stamp(change, bodies.stamps_write, bodies.clock)
    return change


def merge(stored: Any, patch: Any) -> Any:
    """RFC 7396: an object merges into an object, null removes a member, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(stored) if isinstance(stored, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def _stamp(row: dict[str, Any], stamps: tuple[tuple[str, Kind], ...], clock: Callable[[], datetime]) -> None:
    if not stamps:
        return
    moment = values.wire_moment(clock())
    for name, kind in stamps:
        if kind is Kind.DATE:
            row[name] = moment[:10]
        elif kind is Kind.TIME:
            row[name] = moment[11:26]
        else:
            row[name] = moment


def _add_broken(bodies: Bodies, row: dict[str, Any], old: Values | None, findings: list[Finding]) -> None:
    """Add what constraints and rules find in a row, except about attributes of which something worse is known."""
    blamed = _blamed(findings) if findings else _NOBODY
    for name in blamed:
        row[name] = None  # so that no sentence compares another attribute with it
    findings += [
        broken for about, check in bodies.checks if about.isdisjoint(blamed) and (broken := check(row)) is not None
    ]
    if bodies.rules:
        values, now = row_values(row, old), bodies.clock()
        findings += [
            broken
            for about, rule in bodies.rules
            if about.isdisjoint(blamed) and (broken := rule(values, now)) is not None
        ]


def _add_state(wrong: Finding, findings: list[Finding]) -> None:
    """Add what is wrong with a state, unless it is none in the first place."""
    if all(one.pointer != wrong.pointer for one in findings):
        findings.append(wrong)


def _blamed(findings: Collection[Finding]) -> frozenset[str]:
    # The names of attributes are identifiers: nothing in them is escaped in a pointer.
    return frozenset(item.pointer.split("/")[1] for item in findings if "/" in item.pointer)


def _at(place: Location, findings: list[Finding]) -> list[Finding]:
    if not place or not findings:
        return findings
    prefix = pointer(place)
    return [Finding(prefix + item.pointer[1:], item.code, item.message) for item in findings]
