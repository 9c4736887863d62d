"""What lies between files: references into other models, and two files that want one domain.

Linking is pure: it is told the other specs and keeps nothing. Which file is whose, and when to try
again, is for the reload to decide.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from watcherd.pim.codes import CODES
from watcherd.pim.diagnostics import Diagnostic, Position, Related
from watcherd.pim.findings import Nearest, quote
from watcherd.pim.linked import NO_CODE, Code, LinkedModel, Target
from watcherd.pim.spec import Entity, EntityRef, ModelSpec, fold

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from watcherd.pim.parsing import Parsed


def link(spec: ModelSpec, models: Mapping[str, ModelSpec], code: Code = NO_CODE) -> LinkedModel | tuple[EntityRef, ...]:
    """Resolve every reference of `spec`; `models` are the other specs by folded name, `code` what its handlers need.

    Answers the references that lead nowhere, sorted, if there are any. A model that `depends_on`
    names, but that nothing refers to, need not be there.
    """
    targets: dict[EntityRef, Target] = {}
    missing: set[EntityRef] = set()
    for reference in {end.target for entity in spec.entities.values() for end in entity.to_one}:
        model = spec if reference.model == spec.name else models.get(reference.model)
        entity = None if model is None else model.entities.get(reference.entity)
        if model is None or entity is None:
            missing.add(reference)
        else:
            targets[reference] = Target(
                ref=reference,
                domain=model.domain,
                plural=entity.plural,
                key=entity.key,
                formerly=former_names(model, entity),
            )
    if missing:
        return tuple(sorted(missing, key=_by_name))
    return LinkedModel(spec=spec, targets=MappingProxyType(targets), code=code)


def former_names(model: ModelSpec, entity: Entity) -> tuple[EntityRef, ...]:
    """Under which other names the entity may have been known, as its file tells it."""
    models = [model.name] if model.renamed_from is None else [model.name, fold(model.renamed_from)]
    names = [entity.name] if entity.renamed_from is None else [entity.name, entity.renamed_from]
    return tuple(EntityRef(one, name) for one in models for name in names)[1:]


def _by_name(reference: EntityRef) -> tuple[str, str]:
    return reference.model, reference.entity


def link_diagnostics(
    parsed: Parsed, missing: Collection[EntityRef], models: Mapping[str, ModelSpec]
) -> tuple[Diagnostic, ...]:
    """Say of every missing reference, at each place that makes it, whether its model or its entity is missing."""
    found = []
    for reference, position in parsed.references:
        if reference not in missing:
            continue
        model = models.get(reference.model)
        if model is None:
            message = (
                f"the model {quote(reference.model)} is not loaded; {quote(reference.entity)} is one of its entities"
            )
            hint = Nearest(reference.model, models, "this file is tried again when that model appears").find()
            found.append(_at(parsed.file, position, "PIM502", message, hint))
        else:
            message = f"the model {quote(model.domain)} has no entity {quote(reference.entity)}"
            found.append(
                _at(parsed.file, position, "PIM503", message, Nearest(reference.entity, model.entities).find())
            )
    return tuple(sorted(found, key=lambda one: (one.line, one.column, one.message)))


def owned_elsewhere(parsed: Parsed, other_file: str, owner: Parsed | None = None) -> Diagnostic:
    """The finding that another file already serves the domain that this file declares; `owner` is that file."""
    message = f"the domain {quote(parsed.domain or '')} is served from {quote(other_file)}"
    hint = "this file takes over when that one goes away; or choose another domain"
    found = _at(parsed.file, parsed.locate("domain"), "PIM501", message, hint)
    if owner is None:
        return found
    place = owner.locate("domain")
    return replace(found, related=(Related(other_file, place.line, place.column, "first declared here"),))


def file_diagnostic(code: str, file: str, detail: str) -> Diagnostic:
    """A finding about the file itself (PIM701 and following), which has no line; `detail` ends the sentence."""
    return _at(file, Position(), code, f"{CODES[code].title[0].lower()}{CODES[code].title[1:]}: {detail}", None)


def _at(file: str, position: Position, code: str, message: str, hint: str | None) -> Diagnostic:
    return Diagnostic(code, CODES[code].severity, file, position.line, position.column, message, hint)
