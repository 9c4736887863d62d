"""The gate: the examples of a model, run against its new revision before anything is swapped.

Owns the scratch database, in which every example finds what it is `given` and nothing else, and the
comparison of what came with what is expected. Never touches a real row: the tables are made anew, in
a file of their own, and events are told to nobody. The tables and the revision are made once and
emptied for each example. A model without examples costs nothing.

References into other models are plain values there: the rows of those are not at hand.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pydantic_core import from_json, to_json

from watcherd.compile import InvalidDefaultError, Options, Seeds, compile_model
from watcherd.compile.options import nobody
from watcherd.errors import StoreError, WatcherdError, words_of
from watcherd.feeds import Feeds
from watcherd.pim import CODES, Diagnostic, Parsed
from watcherd.pim.flow_types import handler_behind
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Attribute, Entity, Example, ModelSpec
from watcherd.problems import Problem
from watcherd.revision import Revision
from watcherd.services import Handlers
from watcherd.store import Record, SchemaPlan, Store
from watcherd.wire import Answer, Call, Message, problem_answer

RUN_SECONDS: Final = 20.0
"""How long all examples of a model may take together."""

_SHOWN: Final = 300


@dataclass(frozen=True, slots=True)
class Place:
    """One example: where it is in the document, and the path of the call that it makes."""

    at: tuple[str | int, ...]
    example: Example
    path: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An example that does not come out as its model says."""

    at: tuple[str | int, ...]
    message: str


def examples(linked: LinkedModel) -> Iterator[Place]:
    """The examples of a model that can run: where handlers may not, those of their methods cannot."""
    spec = linked.spec
    for entity in spec.entities.values():
        for index, example in enumerate(entity.examples):
            yield Place(("entities", entity.name, "examples", index), example, f"/{entity.plural}")
    for service in spec.services.values():
        for method in service.methods:
            if not linked.code.files and handler_behind(method, spec) is not None:
                continue
            for index, example in enumerate(method.examples):
                at = ("services", service.name, "methods", method.name, "examples", index)
                yield Place(at, example, f"/{service.path}/{method.path}")


async def failures(linked: LinkedModel, options: Options, handlers: Handlers) -> tuple[Failure, ...]:
    """The examples that fail, with what was expected and what came. Raises nothing that an example does."""
    places = list(examples(linked))
    if not places:
        return ()
    found: list[Failure] = []
    try:
        async with asyncio.timeout(RUN_SECONDS):
            with tempfile.TemporaryDirectory(prefix="watcherd-examples-") as directory:
                await _run_all(_alone(linked), options, handlers, Path(directory), places, found)
    except TimeoutError:
        found.append(Failure(places[0].at, f"the examples of this model take over {RUN_SECONDS:g} seconds"))
    except (StoreError, InvalidDefaultError) as error:
        found.append(Failure(places[0].at, f"the examples cannot run: {error}"))
    return tuple(found)


def as_diagnostics(found: Sequence[Failure], parsed: Parsed) -> tuple[Diagnostic, ...]:
    """Failures as findings, each at its example."""
    severity = CODES["PIM440"].severity
    places = [(one, parsed.locate(*one.at)) for one in found]
    return tuple(Diagnostic("PIM440", severity, parsed.file, at.line, at.column, one.message) for one, at in places)


async def _run_all(  # noqa: PLR0913, PLR0917 - what a run is about
    linked: LinkedModel,
    options: Options,
    handlers: Handlers,
    directory: Path,
    places: Sequence[Place],
    found: list[Failure],
) -> None:
    quiet = replace(options, feeds=Feeds(), may_trace=nobody)
    store = await Store.open(None, directory, durability="off")
    try:
        plan = await _expanded(store, linked)
        tables = store.bind(plan)
        seeds = Seeds(linked, tables, quiet)
        revision = compile_model(linked, tables, 1, options=quiet, handlers=handlers)
        for place in places:
            await store.empty(plan)
            message = await _run(place, revision, seeds)
            if message is not None:
                name = f"`{place.example.name}`" if place.example.name else "the example"
                found.append(Failure(place.at, f"{name} fails: {message}"))
    finally:
        await store.close()


async def _expanded(store: Store, linked: LinkedModel) -> SchemaPlan:
    """The plan of the model's tables, which are there now."""
    plan = await store.plan(linked)
    spec = linked.spec
    record = Record(model=spec.name, domain=spec.domain, file="", revision=1, source=b"", fingerprint="")
    rejections = plan.rejections or await store.expand(plan, record)
    if rejections:
        raise StoreError(rejections[0].message)
    return plan


async def _run(place: Place, revision: Revision, seeds: Seeds) -> str | None:
    """Why one example fails; None when it does not."""
    example = place.example
    try:
        await seeds.fill(example.given.value)
    except WatcherdError as error:
        return f"what it is given cannot be: {_said(error)}"
    answer = await _call(revision, place.path, example.body.value)
    return compare(example, answer.status, from_json(answer.body) if answer.body else None)


def _said(error: WatcherdError) -> str:
    findings = error.errors if isinstance(error, Problem) else ()
    return "; ".join([str(error), *(f"{one.pointer}: {one.message}" for one in findings)])


def compare(example: Example, status: int, got: Any) -> str | None:
    """What differs from what is expected, in words; None where nothing does."""
    came = f"{status} {_text(got)}"
    if example.status is not None and status != example.status:
        return f"expected status {example.status}, got {came}"
    if example.status is None and example.code is None and not 200 <= status < 300:  # noqa: PLR2004 - success
        return f"expected success, got {came}"
    if example.code is not None and example.code not in _codes(got):
        return f"expected the code {example.code}, got {came}"
    if example.expected is not None and (path := _difference(example.expected.value, got, "")) is not None:
        return f"expected {_text(example.expected.value)}, got {came}{f' (they differ at {path})' if path else ''}"
    return None


def _codes(got: Any) -> set[str]:
    """The codes that a problem tells: its own, those of its findings, and its type."""
    if not isinstance(got, dict):
        return set()
    errors = got.get("errors") or []
    found = {got.get("code"), str(got.get("type", "")).rpartition("/")[2], *(one.get("code") for one in errors)}
    return {one for one in found if one}


def _difference(expected: Any, got: Any, path: str) -> str | None:
    """Where what came lacks something of what is expected; None where nothing is lacking."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for name, value in expected.items():
            below = _difference(value, got[name], f"{path}/{name}") if name in got else f"{path}/{name}"
            if below is not None:
                return below
        return None
    if isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        pairs = enumerate(zip(expected, got, strict=True))
        found = (_difference(one, came, f"{path}/{place}") for place, (one, came) in pairs)
        return next((below for below in found if below is not None), None)
    return None if _is_same(expected, got) else path


def _is_same(expected: Any, got: Any) -> bool:
    """Whether two values that hold no others are the same: numbers by what they are, `1` and `1.0`."""
    if type(expected) is type(got):
        return bool(expected == got)
    numbers = isinstance(expected, int | float) and isinstance(got, int | float)
    return numbers and bool not in {type(expected), type(got)} and expected == got


def _text(value: Any) -> str:
    text = to_json(value).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


async def _call(revision: Revision, path: str, body: Any) -> Answer:
    content: Message = {"type": "http.request", "body": to_json(body), "more_body": False}
    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}

    async def receive() -> Message:
        return content

    call = Call(
        scope,
        receive,
        base=f"/{revision.domain}",
        segments=path.split("/")[1:],
        request_id="example",
        max_body_bytes=1024 * 1024,
        neighbour=lambda _model, _entity: None,
    )
    try:
        return await revision.handle(call)
    except Problem as problem:
        return problem_answer(problem, instance=path, request_id="example")
    except Exception as error:  # noqa: BLE001 - whatever a handler raises is what came of the example
        return Answer(500, to_json({"status": 500, "detail": words_of(error)}))


def _alone(linked: LinkedModel) -> LinkedModel:
    """The model without its references into others: they are plain values of the key's type."""
    spec = linked.spec
    foreign = {ref for ref in linked.targets if ref.model != spec.name}
    if not foreign:
        return linked
    entities = {name: _entity_alone(entity, linked) for name, entity in spec.entities.items()}
    own = MappingProxyType({ref: target for ref, target in linked.targets.items() if ref not in foreign})
    alone: ModelSpec = replace(spec, entities=MappingProxyType(entities))
    return replace(linked, spec=alone, targets=own)


def _entity_alone(entity: Entity, linked: LinkedModel) -> Entity:
    attributes = {name: _attribute_alone(item, linked) for name, item in entity.attributes.items()}
    to_one = tuple(end for end in entity.to_one if end.target.model == linked.spec.name)
    return replace(entity, attributes=MappingProxyType(attributes), to_one=to_one)


def _attribute_alone(item: Attribute, linked: LinkedModel) -> Attribute:
    if item.reference is None or item.reference.model == linked.spec.name:
        return item
    key = linked.targets[item.reference].key
    while key.reference is not None and key.reference in linked.targets:
        key = linked.targets[key.reference].key
    return replace(item, kind=key.kind, reference=None)
