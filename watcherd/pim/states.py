"""States of an entity, and the transitions of methods between them.

`states` names the attribute that says in which state a row is, in what states rows begin, and
which changes anybody may make; every other change is for methods with a `transition`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from watcherd.pim.findings import Nearest, quote
from watcherd.pim.names import nfc
from watcherd.pim.spec import Kind, States, Transition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from watcherd.pim.document import MethodDoc, StatesDoc, TransitionDoc
    from watcherd.pim.relations import EntityParts
    from watcherd.pim.shapes import Draft, Path
    from watcherd.pim.spec import Attribute, Parameter, ValueType


def states(draft: Draft, path: Path, document: StatesDoc, entity: EntityParts) -> States | None:
    """The states of an entity; None where they are an error."""
    attribute = _state_attribute(draft, (*path, "field"), path, document.field, entity)
    if attribute is None:
        return None
    initial = tuple(dict.fromkeys(nfc(one) for one in document.initial))
    if not initial and attribute.default is None:
        hint = f"such as `initial: {attribute.members[0]}`, or a default for {quote(attribute.name)}"
        draft.add("PIM412", path, "the states say in none of them a row begins", hint, key=True)
        return None
    sound = _known(draft, (*path, "initial"), initial, attribute)
    moves: list[tuple[str, tuple[str, ...]]] = []
    for before, after in sorted(document.transitions.items()):
        at = (*path, "transitions", before)
        following = tuple(sorted({nfc(one) for one in after}))
        sound = _known(draft, at, [nfc(before)], attribute, key=True) and sound
        sound = _known(draft, at, following, attribute) and sound
        moves.append((nfc(before), following))
    if not sound:
        return None
    default = () if attribute.default is None else (str(attribute.default.value),)
    return States(field=attribute.name, initial=initial or default, moves=tuple(moves))


def transition(  # noqa: PLR0913, PLR0917 - what a transition has to agree with
    draft: Draft,
    path: Path,
    document: MethodDoc,
    parameters: Iterable[Parameter],
    returns: ValueType | None,
    entities: Mapping[str, EntityParts],
) -> Transition | None:
    """The transition of a method; None where there is none, or it is an error."""
    written = document.transition
    if written is None:
        return None
    at = (*path, "transition")
    name = nfc(written.entity)
    entity = entities.get(name)
    if entity is None:
        if not draft.is_broken("entity", name):
            draft.add("PIM307", (*at, "entity"), f"there is no entity {quote(name)}", Nearest(name, entities))
        return None
    field = written.field if written.field is not None else _declared_field(entity)
    if field is None:
        draft.add("PIM102", at, f"transition has no `field`, and {quote(name)} no `states`", key=True)
        return None
    attribute = _state_attribute(draft, (*at, "field"), at, field, entity)
    if attribute is None:
        return None
    before = tuple(sorted({nfc(one) for one in written.from_}))
    to = nfc(written.to)
    sound = _known(draft, (*at, "from"), before, attribute)
    sound = _known(draft, (*at, "to"), [to], attribute) and sound
    if returns is not None and (returns.entity is None or returns.entity.entity != name or returns.is_list):
        draft.add("PIM412", at, f"a method with a transition returns the {quote(name)} or nothing", key=True)
        sound = False
    key = _key_parameter(draft, at, written, entity, parameters)
    return Transition(entity=name, field=attribute.name, before=before, to=to, key=key) if sound and key else None


def _declared_field(entity: EntityParts) -> str | None:
    return None if entity.document.states is None else entity.document.states.field


def _state_attribute(draft: Draft, at: Path, otherwise: Path, name: str, entity: EntityParts) -> Attribute | None:
    """The enum that says in which state a row is."""
    at = at if draft.node(at) is not None else otherwise
    attribute = entity.attributes.get(nfc(name))
    if attribute is None:
        if not draft.is_broken("attribute", entity.name, nfc(name)):
            message = f"entity {quote(entity.name)} has no attribute {quote(name)}"
            draft.add("PIM304", at, message, Nearest(name, entity.attributes))
        return None
    if attribute.kind is not Kind.ENUM or attribute.is_list or attribute.primary_key:
        draft.add("PIM412", at, f"a state is an enum, and {quote(name)} is none")
        return None
    return attribute


def _known(draft: Draft, path: Path, names: Iterable[str], attribute: Attribute, *, key: bool = False) -> bool:
    """Whether all of these are states; each that is none is a finding."""
    unknown = [name for name in names if name not in attribute.members]
    for name in unknown:
        message = f"{quote(name)} is no state: it is no member of {quote(attribute.name)}"
        draft.add("PIM412", path, message, Nearest(name, attribute.members), key=key)
    return not unknown


def _key_parameter(
    draft: Draft, path: Path, written: TransitionDoc, entity: EntityParts, parameters: Iterable[Parameter]
) -> str | None:
    """The parameter that holds the key of the row: the one that is named, or that is called like it."""
    names = [one.name for one in parameters if one.type.kind is not None and not one.type.is_list]
    if written.key is not None:
        found = [nfc(written.key)] if nfc(written.key) in names else []
    else:
        folded = {name.replace("_", "").lower(): name for name in names}
        wanted = (f"{entity.name}id", f"{entity.name}key", entity.name, "id", "key")
        found = [folded[one.lower()] for one in wanted if one.lower() in folded]
    if not found:
        first = entity.name[:1].lower() + entity.name[1:]
        hint = f"add a parameter such as `{first}Id: uuid`, or name it with `key:`"
        at = (*path, "key") if written.key is not None else path
        draft.add(
            "PIM412", at, f"no parameter holds the key of the {quote(entity.name)}", hint, key=written.key is None
        )
        return None
    return found[0]
