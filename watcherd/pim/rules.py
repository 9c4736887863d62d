"""Rules: sentences, which are shown, and mappings with an `assert`, which are enforced.

A rule `on` an entity speaks of its rows, at every write; one without speaks of the parameters of
each method that names it. A mapping without `assert`, `on` and `when` is free-form, as other
engines write them: it is shown like a sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from watcherd.pim.findings import Nearest, quote
from watcherd.pim.flows import free_json
from watcherd.pim.names import nfc
from watcherd.pim.nodes import MapNode, ScalarNode
from watcherd.pim.scopes import attributes_in, checked_expression, parameter_scope, rule_scope
from watcherd.pim.spec import ModelRule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcherd.pim.relations import EntityParts
    from watcherd.pim.shapes import Draft, Path
    from watcherd.pim.spec import Attribute, Entity, Method, Service

KEYS: Final = ("on", "when", "assert", "message", "code", "description")
_TELLING: Final = frozenset({"on", "when", "assert"})
"""The keys that make a mapping a rule to be enforced."""
_TAKEN: Final = "state"


def model_rules(draft: Draft, parts: Mapping[str, EntityParts]) -> dict[str, ModelRule]:
    """All rules by name."""
    found = {}
    for name, node in draft.document.rules.items():
        path: Path = ("rules", name)
        if isinstance(node, MapNode) and not _TELLING.isdisjoint(node):
            rule = _enforced(draft, path, name, node, parts)
            if rule is None:
                draft.broken.add(("rule", name))
            else:
                found[name] = rule
        else:
            free = free_json(draft, path, node)
            text = free.value if isinstance(free.value, str) else _told(free.value) or free.text
            found[name] = ModelRule(name=name, text=text, free=free)
    return found


def entity_rules(rules: Mapping[str, ModelRule], entity: str) -> tuple[ModelRule, ...]:
    """The rules on one entity, in order of their names: the order of a mapping means nothing."""
    return tuple(rule for _, rule in sorted(rules.items()) if rule.on == entity and not rule.is_prose)


def check_method_rules(
    draft: Draft, rules: Mapping[str, ModelRule], services: Mapping[str, Service], entities: Mapping[str, Entity]
) -> None:
    """Hold the rules that speak of parameters against each method that names them; a rule nobody names is idle."""
    methods = [method for service in services.values() for method in service.methods]
    for name, rule in rules.items():
        if rule.on is not None or rule.condition is None:
            continue
        naming = [method for method in methods if name in method.rules]
        if not naming and not draft.has_broken("service"):
            message = f"the rule {quote(name)} applies to nothing: it is `on` no entity, and no method names it"
            draft.add(
                "PIM410", ("rules", name), message, "say `on: Entity`, or name it in a method's `rules`", key=True
            )
        for method in naming:
            _check_parameters(draft, ("rules", name), rule, method, entities)


def _check_parameters(
    draft: Draft, path: Path, rule: ModelRule, method: Method, entities: Mapping[str, Entity]
) -> None:
    scope = parameter_scope(method.parameters, entities)
    for key, text in (("when", rule.when), ("assert", rule.condition)):
        if text is not None:
            checked_expression(draft, (*path, key), text, scope, among=f" (a parameter of {method.name})")


def _told(value: object) -> str:
    """What a free-form rule says of itself."""
    if isinstance(value, dict):
        for key in ("description", "message", "text"):
            if isinstance(value.get(key), str):
                return str(value[key])
    return ""


def _enforced(draft: Draft, path: Path, name: str, node: MapNode, parts: Mapping[str, EntityParts]) -> ModelRule | None:
    before = draft.findings.errors
    texts = _texts(draft, path, name, node)
    if "assert" not in node:
        draft.add("PIM102", path, f"rule {quote(name)} has no `assert`", key=True)
    on = nfc(texts["on"]) if "on" in texts else None
    about: tuple[str, ...] = ()
    if on is not None and on not in parts:
        if not draft.is_broken("entity", on):
            draft.add("PIM307", (*path, "on"), f"there is no entity {quote(on)}", Nearest(on, parts))
    elif on is not None and not draft.has_broken("attribute", on):
        about = _check_row(draft, path, texts, on, parts[on].attributes)
    if draft.findings.errors > before or "assert" not in texts:
        return None
    return ModelRule(
        name=name,
        text=texts.get("description") or texts.get("message") or texts["assert"],
        on=on,
        when=texts.get("when"),
        condition=texts["assert"],
        message=texts.get("message"),
        code=texts.get("code", name),
        about=about,
    )


def _texts(draft: Draft, path: Path, name: str, node: MapNode) -> dict[str, str]:
    """The keys of a rule, each a text; what is not known, or is none, is a finding."""
    texts = {}
    for key, value in node.items():
        if key.startswith("x-"):
            continue
        if key not in KEYS:
            hint = Nearest(key, KEYS, f"known here: {', '.join(KEYS)}")
            draft.add("PIM101", (*path, key), f"rule {quote(name)} has no key {quote(key)}", hint, key=True)
        elif not isinstance(value, ScalarNode) or value.kind == "null":
            draft.add("PIM103", (*path, key), f"expected a text for {quote(key)}")
        elif key == "code" and value.text == _TAKEN:
            draft.add("PIM103", (*path, key), f"expected another code: {quote(_TAKEN)} is for changes of states")
        else:
            texts[key] = value.text
    return texts


def _check_row(
    draft: Draft, path: Path, texts: Mapping[str, str], entity: str, attributes: Mapping[str, Attribute]
) -> tuple[str, ...]:
    """The attributes that a rule on an entity demands something of."""
    scope = rule_scope(entity, attributes)
    if "when" in texts:
        checked_expression(draft, (*path, "when"), texts["when"], scope)
    if "assert" not in texts:
        return ()
    condition = checked_expression(draft, (*path, "assert"), texts["assert"], scope)
    return () if condition is None else attributes_in(condition, attributes)
