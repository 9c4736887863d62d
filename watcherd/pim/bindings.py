"""What steps of flows do: the keys of one step to its `Binding`, and every key that does not belong there.

Owns which keys go together. Does not own what the expressions mean (flow_types), nor how steps
follow each other (flows).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from watcherd.pim.document import StepDoc
from watcherd.pim.findings import Nearest, quote
from watcherd.pim.flow_spec import Binding, Step
from watcherd.pim.names import name_fault, nfc

if TYPE_CHECKING:
    from watcherd.pim.document import ActionDoc
    from watcherd.pim.shapes import Draft, Path

ACTIONS: Final = (
    "get", "find", "create", "update", "delete", "set", "each", "assert", "call", "emit", "raise", "return",
)  # fmt: skip
_OF_ENTITIES: Final = frozenset({"get", "find", "create", "update", "delete"})
_KEYS: Final = {
    "get": ("key", "as", "optional"),
    "find": ("where", "sort", "limit", "as"),
    "create": ("values", "as"),
    "update": ("key", "values", "as"),
    "delete": ("key",),
    "set": (),
    "each": ("as", "do"),
    "assert": ("message", "code", "status", "pointer"),
    "call": ("with", "as"),
    "emit": ("data",),
    "raise": ("message", "status", "pointer"),
    "return": (),
    "when": (),
}
_BESIDE: Final = tuple(dict.fromkeys(key for keys in _KEYS.values() for key in keys))
"""Every key that means something beside what a step does."""
_NEEDED: Final = {
    "get": ("key", "as"),
    "find": ("as",),
    "create": ("values",),
    "update": ("key", "values"),
    "delete": ("key",),
    "each": ("as", "do"),
    "raise": ("message",),
}
_ATTRIBUTES: Final = {"assert": "assert_", "raise": "raise_", "return": "return_", "with": "with_", "as": "as_"}
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_RESERVED_EVENTS: Final = frozenset({"reset", "bye"})
_NAMES: Final = frozenset({"now", "true", "false", "null", "in", "self", "old"})


def binding(draft: Draft, path: Path, document: ActionDoc) -> Binding | None:
    """What a step does; None where it is prose, or where what is wrong with it is told."""
    actions = [key for key in ACTIONS if _given(document, key)]
    if not actions and document.when is None:
        _refuse_others(draft, path, document, None, ())
        return None
    if len(actions) > 1:
        message = f"a step does one thing: this one has {', '.join(quote(key) for key in actions)}"
        draft.add("PIM430", (*path, actions[1]), message, "make two steps of it", key=True)
        return None
    does = actions[0] if actions else "when"
    _refuse_others(draft, path, document, does, _KEYS[does])
    missing = [key for key in _NEEDED.get(does, ()) if not _given(document, key)]
    if missing:
        hint = f"a step with `{does}` has {', '.join(f'`{key}`' for key in _NEEDED[does])}"
        draft.add("PIM430", (*path, does), f"{quote(does)} needs {quote(missing[0])} beside it", hint, key=True)
        return None
    return _binding(draft, path, document, does)


def _binding(draft: Draft, path: Path, document: ActionDoc, does: str) -> Binding | None:
    guard = None
    if does != "when" and document.when is not None:
        guard = _alone(draft, (*path, "when"), document.when, "the `when` of an action is one condition")
        if guard is None:
            return None
    name = None if document.as_ is None else nfc(document.as_)
    if name is not None and (fault := name_fault(name) or ("it has a meaning" if name in _NAMES else None)):
        draft.add("PIM203", (*path, "as"), f"{quote(name)} cannot name a result: {fault}")
        return None
    target, expression, values = _parts(draft, path, document, does)
    if not _is_sound(draft, path, document, does, target):
        return None
    return Binding(
        does=does,
        target=target,
        expression=expression,
        values=values,
        key=document.key,
        name=name,
        guard=guard,
        otherwise=_otherwise(draft, path, document) if does == "when" else None,
        steps=_nested(draft, (*path, "do"), document.do),
        sort=document.sort,
        limit=document.limit,
        optional=document.optional,
        message=document.message,
        code=document.code,
        status=document.status,
        pointer=document.pointer,
    )


_Parts = tuple[str, str | None, tuple[tuple[str, str], ...]]


def _parts(draft: Draft, path: Path, document: ActionDoc, does: str) -> _Parts:  # noqa: PLR0911 - one return a form
    """The target, the expression and the named expressions of an action."""
    value = getattr(document, _ATTRIBUTES.get(does, does))
    if does in {"create", "update"} and document.values and document.values[0][0] == "":
        return nfc(value), document.values[0][1], ()
    if does in _OF_ENTITIES:
        named = document.where if does == "find" else document.values
        return nfc(value), None, _named(draft, (*path, "where" if does == "find" else "values"), named)
    if does in {"each", "assert"}:
        return "", value, ()
    if does == "call":
        return nfc(value), None, _named(draft, (*path, "with"), document.with_)
    if does in {"emit", "return"}:
        given = document.data if does == "emit" else value
        alone = given[0][1] if given and given[0][0] == "" else None
        return (value if does == "emit" else ""), alone, () if alone is not None else given or ()
    if does == "raise":
        return value, None, ()
    if does == "when":  # one condition alone is told with the outcomes
        return "", None, value
    return "", None, _named(draft, (*path, does), value)


def _named(draft: Draft, path: Path, given: tuple[tuple[str, str], ...] | None) -> tuple[tuple[str, str], ...]:
    """Expressions that have names; one alone is a finding."""
    if given and given[0][0] == "":
        draft.add("PIM103", path, f"expected a mapping name -> expression for {quote(str(path[-1]))}")
        return ()
    return tuple((nfc(name), text) for name, text in given or ())


def _alone(draft: Draft, path: Path, given: tuple[tuple[str, str], ...], message: str) -> str | None:
    if len(given) == 1 and given[0][0] == "":
        return given[0][1]
    draft.add("PIM430", path, message, "outcomes are for a decision: a step that does nothing else")
    return None


def _is_sound(draft: Draft, path: Path, document: ActionDoc, does: str, target: str) -> bool:
    """Whether codes, events and statuses are what a client can be told."""
    if does in {"emit", "raise"} and (_WORD.fullmatch(target) is None or target in _RESERVED_EVENTS):
        noun = "an event" if does == "emit" else "a refusal"
        hint = "letters, digits, `_`, `.` and `-`, such as `out_of_stock`; what people read is the `message`"
        draft.add("PIM435", (*path, does), f"{quote(target)} cannot name {noun}", hint)
        return False
    if document.code is not None and _WORD.fullmatch(document.code) is None:
        draft.add("PIM435", (*path, "code"), f"{quote(document.code)} cannot be a code", "such as `out_of_stock`")
        return False
    if document.status is not None and not 400 <= document.status < 500:  # noqa: PLR2004 - the client's errors
        message = f"a refusal has a status from 400 to 499, not {document.status}"
        draft.add("PIM435", (*path, "status"), message)
        return False
    return True


def _otherwise(draft: Draft, path: Path, document: ActionDoc) -> str | None:
    """The one outcome in `next` that has no condition; and all that does not agree."""
    assert document.when is not None  # noqa: S101 - that is what a decision is
    if not isinstance(document, StepDoc):
        message = "steps in `do` follow each other: there is nowhere else to go"
        draft.add("PIM431", (*path, "when"), message, "put a condition in the `when` of an action", key=True)
        return None
    conditions = [outcome for outcome, _ in document.when]
    following = [outcome for outcome, _ in document.next if outcome is not None]
    if conditions == [""] or not following:
        message = "a decision names its outcomes: `when` has their conditions, `next` the steps that follow them"
        hint = "such as `when: {enough: product.stock >= quantity}` and `next: {enough: reserve, short: refuse}`"
        draft.add("PIM431", (*path, "when"), message, hint, key=True)
        return None
    for outcome in conditions:
        if outcome not in following:
            message = f"{quote(outcome)} is no outcome that `next` knows"
            draft.add("PIM431", (*path, "when", outcome), message, Nearest(outcome, following), key=True)
            return None
    rest = [outcome for outcome in following if outcome not in conditions]
    if len(rest) != 1:
        what = f"{', '.join(quote(one) for one in rest)} have" if rest else "every outcome has"
        message = f"{what} {'no' if rest else 'a'} condition: of one of them it must be known that it is the rest"
        hint = "leave exactly one outcome of `next` without a condition in `when`: it is taken when none is met"
        draft.add("PIM431", (*path, "next"), message, hint, key=True)
        return None
    return rest[0]


def _nested(draft: Draft, path: Path, documents: list[ActionDoc]) -> tuple[Step, ...]:
    """The steps of `do`, one after the other."""
    steps = []
    for index, document in enumerate(documents):
        at = (*path, index)
        made = binding(draft, at, document)
        if made is None:
            if not any(_given(document, key) for key in (*ACTIONS, "when")):
                draft.add("PIM430", at, "a step in `do` does something", f"one of {', '.join(ACTIONS)}")
            continue
        name = document.id or f"{path[-2]}.{index + 1}"
        steps.append(Step(id=name, label=document.label, description=document.description, binding=made))
    return tuple(steps)


def _refuse_others(draft: Draft, path: Path, document: ActionDoc, does: str | None, allowed: tuple[str, ...]) -> None:
    """A finding for each key that means nothing for what the step does."""
    for key in _BESIDE:
        if key not in allowed and _given(document, key):
            if does is None:
                message, hint = f"{quote(key)} means nothing without what the step does", f"add {', '.join(ACTIONS)}"
            else:
                known = ", ".join(f"`{one}`" for one in allowed)
                message = f"{quote(key)} means nothing beside {quote(does)}"
                hint = f"known here: {known}" if known else "remove it"
            draft.add("PIM430", (*path, key), message, hint, key=True)


def _given(document: ActionDoc, key: str) -> bool:
    value = getattr(document, _ATTRIBUTES.get(key, key))
    return value is not None and value is not False and value != []
