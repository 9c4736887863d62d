"""What a flow means: its steps, what each of them does, and what comes after it.

A part of the model spec, and as that: immutable, compared by value, without positions. The expressions
in it are texts here; in which scope each is read, `flow_types` knows.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a step does.

    `does` is the key of the format: get, find, create, update, delete, set, each, assert, call, emit,
    raise, return, or when (a decision). `target` is what it does it to: an entity, a method
    (`Service.method`), an event, the code of a refusal. `expression` is the one that it has for
    itself, `values` are those by name, in the order of the file: conditions, attributes, parameters,
    the outcomes of a decision. `key` finds a row; `name` is under what the result is known from then
    on. `guard` is the condition without which the step is passed over; `otherwise` the outcome of a
    decision of which no condition is met.
    """

    does: str
    target: str = ""
    expression: str | None = None
    values: tuple[tuple[str, str], ...] = ()
    key: str | None = None
    name: str | None = None
    guard: str | None = None
    otherwise: str | None = None
    steps: tuple[Step, ...] = ()
    sort: str | None = None
    limit: int | None = None
    optional: bool = False
    message: str | None = None
    code: str | None = None
    status: int | None = None
    pointer: str | None = None


STEP_TYPES = ("start", "action", "decision", "end")
IMPLIED_STEPS = frozenset({"start", "end"})
"""Steps that `next` may name, in any case, though nobody wrote them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a flow; `next` are (outcome or None, id of the next step). Without `binding` it is prose."""

    id: str
    type: str = "action"
    label: str = ""
    description: str = ""
    next: tuple[tuple[str | None, str], ...] = ()
    binding: Binding | None = None

    @property
    def is_marker(self) -> bool:
        """Whether it only marks where a flow begins or ends."""
        return self.binding is None and (self.type in IMPLIED_STEPS or self.id.lower() in IMPLIED_STEPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One flow; a step without a binding is prose, and a flow with such a step cannot run."""

    name: str
    description: str = ""
    diagram: str = ""
    steps: tuple[Step, ...] = ()

    @property
    def prose(self) -> tuple[Step, ...]:
        """The steps that do nothing, although they stand for something to be done."""
        return tuple(step for step in self.steps if step.binding is None and not step.is_marker)

    @property
    def is_executable(self) -> bool:
        """Whether it can run: every step does something, and there is one."""
        return not self.prose and any(step.binding is not None for step in self.steps)
