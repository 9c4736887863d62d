"""Deleting a row: what becomes of the rows that refer to it is a write of theirs.

`on_delete: set_null` empties the references of rows, which is held to all that any other write of
them is: their constraints and rules, in the same transaction, and it is told like one. So does what
refers to rows that a cascade takes along, and so do the rows of other models, through the revision
that serves them. The rows that go with a cascade are deleted, not written: nothing is asked of them,
and it is told of each that it is gone.

Owns which rows these are, and the refusal that names the first that cannot do without. The
references themselves are the database's: what is not found here, such as rows of a model that is
out of service, it empties by itself. Rows are gone through some hundred at a time; of rows that a
cascade takes along the keys are remembered where there are others to be emptied, else no more are
looked for than are told one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from watcherd.compile.bodies import emptied, stamps
from watcherd.compile.conflicts import conflict
from watcherd.compile.reading import invalid, pointer
from watcherd.compile.relations import Dependant, Exposed
from watcherd.errors import ConstraintError
from watcherd.pim.spec import EntityRef, OnDelete
from watcherd.problems import Finding, Problem
from watcherd.store import MAX_TOLD, TOGETHER, Cursor, Row, Rows

Beside = Callable[[str], Mapping[str, Mapping[str, object]]]
"""What a (folded) model and those that refer to it show of their entities, by model, as they serve now."""

Reference = tuple[Dependant, str, OnDelete]
"""One attribute of an entity that refers to another one."""

References = Mapping[EntityRef, tuple[Reference, ...]]


@dataclass(frozen=True, slots=True)
class Walk:
    """What a deletion there may do to others: the references to it, and to all that a cascade from there reaches.

    `empties` says whether there are any that are emptied.
    """

    start: EntityRef
    references: References
    empties: bool

    def cascading(self, ref: EntityRef) -> Iterator[tuple[Dependant, str]]:
        """The references whose rows go with those of an entity."""
        return ((one, attribute) for one, attribute, does in self.references[ref] if does is OnDelete.CASCADE)

    def emptied(self, ref: EntityRef) -> Iterator[tuple[Dependant, str]]:
        """The references that are emptied when rows of an entity go."""
        return ((one, attribute) for one, attribute, does in self.references[ref] if does is OnDelete.SET_NULL)


Doomed = dict[EntityRef, dict[Any, None]]
"""The keys of the rows that go, by entity."""


class Deletions:
    """What deleting rows of a model does, for one revision; `exposed` are its entities by name."""

    def __init__(self, model: str, exposed: Mapping[str, Exposed], beside: Beside) -> None:
        """`model` is folded."""
        self._model = model
        self._exposed = exposed
        self._beside = beside
        self._own = _incoming(exposed)
        self._alone = {name: _walk(EntityRef(model, name), lambda ref: self._own.get(ref, ())) for name in exposed}

    def deleting(self, entity: str, key: object, check: Callable[[int], None]) -> Callable[[Cursor], bool]:
        """`Rows.deleting`, with what it does to the rows that refer to it. Raises `Problem` where those refuse."""
        rows: Rows = self._exposed[entity].rows
        walk = self._alone[entity]
        if self._beside(self._model).keys() - {self._model}:
            walk = _walk(EntityRef(self._model, entity), self._seen)
        return rows.deleting(key, check, None if walk is None else partial(_release, walk))

    def _seen(self, ref: EntityRef) -> tuple[Reference, ...]:
        """The references to an entity as this revision sees them: of its own model, its own."""
        others = (exposed for model, exposed in self._beside(ref.model).items() if model != self._model)
        return (*self._own.get(ref, ()), *(one for exposed in others for one in _incoming(exposed).get(ref, ())))


def _incoming(exposed: Mapping[str, object]) -> dict[EntityRef, list[Reference]]:
    """The references of the entities of a model, by what they refer to."""
    found: dict[EntityRef, list[Reference]] = {}
    for one in exposed.values():
        if isinstance(one, Exposed):
            for attribute, (target, on_delete) in one.dependant.references.items():
                found.setdefault(target, []).append((one.dependant, attribute, on_delete))
    return found


def _walk(start: EntityRef, incoming: Callable[[EntityRef], Iterable[Reference]]) -> Walk | None:
    """What a deletion there may do to others; None where it does nothing."""
    found: dict[EntityRef, tuple[Reference, ...]] = {}
    waiting = [start]
    while waiting:
        ref = waiting.pop()
        if ref not in found:
            found[ref] = tuple(incoming(ref))
            waiting += [one.ref for one, _, on_delete in found[ref] if on_delete is OnDelete.CASCADE]
    does = {on_delete for many in found.values() for _, _, on_delete in many}
    if does <= {OnDelete.RESTRICT}:
        return None
    return Walk(start, found, OnDelete.SET_NULL in does)


def _release(walk: Walk, cursor: Cursor, key: object) -> None:
    """See to the rows that refer to one that is about to be deleted, and to those that go with it."""
    doomed = _doomed(walk, cursor, key)
    if not walk.empties:
        return
    for ref, known in doomed.items():
        keys = list(known)
        for dependant, attribute in walk.emptied(ref):
            for place in range(0, len(keys), TOGETHER):
                _empty(cursor, dependant, attribute, keys[place : place + TOGETHER], doomed)


def _doomed(walk: Walk, cursor: Cursor, key: object) -> Doomed:
    """The rows that go: the one that is deleted, and what a cascade takes along, which is told."""
    doomed: Doomed = {walk.start: {key: None}}
    waiting: list[tuple[EntityRef, list[Any]]] = [(walk.start, [key])]
    while waiting:
        ref, keys = waiting.pop()
        for dependant, attribute in walk.cascading(ref):
            known = doomed.setdefault(dependant.ref, {})
            for some in dependant.rows.referring(cursor, attribute, keys):
                fresh = [one for one in some if one not in known]  # rows may refer to each other in a circle
                known.update(dict.fromkeys(fresh))
                dependant.rows.tell_deleted(cursor, fresh)
                if fresh:
                    waiting.append((dependant.ref, fresh))
                if not walk.empties and len(known) > MAX_TOLD:
                    return _lost(walk, cursor, doomed)
    return doomed


def _lost(walk: Walk, cursor: Cursor, doomed: Doomed) -> Doomed:
    """Tell that more rows go than are told one by one, and look for no others."""
    for ref in walk.references:
        for dependant, _ in walk.cascading(ref):
            dependant.rows.tell_lost(cursor)
    return doomed


def _empty(cursor: Cursor, dependant: Dependant, attribute: str, keys: Sequence[Any], doomed: Doomed) -> None:
    """Empty the references to these rows; all at once where nothing is to be asked of each, and none goes itself."""
    if not (dependant.is_held(attribute) or doomed.get(dependant.ref)):
        dependant.rows.empty_referring(cursor, attribute, keys, stamps(dependant.bodies))
        return
    place = ""

    def change(row: Row) -> Mapping[str, Any] | None:
        nonlocal place
        own = row.values[dependant.bodies.key]
        if own in doomed.get(dependant.ref, ()):
            return None
        place = own
        # All that this row loses, in one write: between two there would be a row that never was meant.
        names = [
            name
            for name, (target, on_delete) in dependant.references.items()
            if on_delete is OnDelete.SET_NULL and row.values[name] in doomed.get(target, ())
        ]
        values, findings = emptied(dependant.bodies, row.values, names)
        if findings:
            raise _refused(dependant, own, invalid(findings))
        return values

    try:
        dependant.rows.change_referring(cursor, attribute, keys, change)
    except ConstraintError as error:
        raise _refused(dependant, place, conflict(error)) from error


def _refused(dependant: Dependant, key: Any, problem: Problem) -> Problem:
    """Why a row cannot be deleted: one that refers to it would not be what it has to be. Pointers name that row."""
    prefix = pointer((dependant.plural, key))
    findings = [Finding(prefix + one.pointer[1:], one.code, one.message) for one in problem.errors]
    entity = dependant.ref.entity
    detail = f"{entity} {str(key)!r} refers to it and cannot do without: {problem.detail}"
    extra = {**problem.extra, "row": {"entity": entity, "key": key}}
    return Problem(problem.type, detail, errors=findings, extra=extra)
