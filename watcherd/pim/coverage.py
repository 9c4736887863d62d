"""How much of a model is enforced or can run, and what of it is prose.

Owns what counts as either. A file may say more than anything holds it to: a sentence that nobody
understands, a rule in words, a method with nothing behind it. Coverage tells it, so that nobody
takes prose for a promise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from watcherd.pim.flow_spec import Flow
from watcherd.pim.flow_types import handler_behind
from watcherd.pim.spec import Method, ModelSpec


@dataclass(frozen=True, slots=True)
class Share:
    """How many there are, and the names of those that are prose."""

    total: int
    prose: tuple[str, ...]

    @property
    def covered(self) -> int:
        """How many are enforced, or can run."""
        return self.total - len(self.prose)


@dataclass(frozen=True, slots=True)
class Coverage:
    """The shares of one model; constraints as `Entity: sentence`, methods as `Service.method`, steps as `flow: id`."""

    constraints: Share
    rules: Share
    methods: Share
    steps: Share

    def as_json(self) -> dict[str, dict[str, object]]:
        """As the admin API and `check --format json` show it."""
        shares = {"constraints": self.constraints, "rules": self.rules, "methods": self.methods, "steps": self.steps}
        return {
            name: {"total": share.total, "covered": share.covered, "prose": list(share.prose)}
            for name, share in shares.items()
        }


def coverage(spec: ModelSpec, *, handlers: bool = True) -> Coverage:
    """The coverage of a model; without `handlers`, what they would run cannot run."""
    constraints = {
        f"{entity.name}: {one.text}": one.rule is not None
        for entity in spec.entities.values()
        for one in entity.constraints
    }
    named = {name for method in _methods(spec).values() for name in method.rules}
    rules = {
        name: not rule.is_prose and (rule.on is not None or name in named) for name, rule in sorted(spec.rules.items())
    }
    methods = {name: _runs(spec, method, handlers=handlers) for name, method in _methods(spec).items()}
    steps = dict(one for flow in spec.flows.values() for one in _steps(flow))
    return Coverage(_share(constraints), _share(rules), _share(methods), _share(steps))


def _share(found: Mapping[str, bool]) -> Share:
    return Share(len(found), tuple(name for name, is_covered in found.items() if not is_covered))


def _methods(spec: ModelSpec) -> dict[str, Method]:
    return {f"{service.name}.{method.name}": method for service in spec.services.values() for method in service.methods}


def _runs(spec: ModelSpec, method: Method, *, handlers: bool) -> bool:
    """Whether a call of a method does something, instead of answering 501."""
    if not handlers and handler_behind(method, spec) is not None:
        return False
    if method.handler is not None:
        return True
    if method.flow is None:
        return method.transition is not None
    return method.flow in spec.flows and spec.flows[method.flow].is_executable


def _steps(flow: Flow) -> Iterator[tuple[str, bool]]:
    """The steps of a flow that stand for something to be done, and whether they say what they do."""
    for step in flow.steps:
        if not step.is_marker:
            yield f"{flow.name}: {step.id}", step.binding is not None
