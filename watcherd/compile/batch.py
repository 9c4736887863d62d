"""`/-/batch`: several writes to a model's rows in one transaction, all or none.

Owns what an operation looks like and where in the batch a problem belongs. Does not own what an
operation writes: that is the entity's, the same as for a request of its own.

An operation sees what those before it have written, but can name it only by a key that the client
gave itself: there is no way to refer to an earlier answer. Nothing is written unless every
operation succeeds; the first that fails is named, and so is everything that is wrong with bodies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from pydantic_core import SchemaValidator, core_schema, to_json

from watcherd import problems
from watcherd.compile import etag, reading
from watcherd.compile.conflicts import conflict
from watcherd.compile.entity import EntityEndpoints
from watcherd.compile.query import refuse_parameters
from watcherd.compile.reading import Location, nearest, pointer
from watcherd.compile.writes import Work
from watcherd.errors import ConstraintError
from watcherd.problems import Finding, Problem
from watcherd.store import Cursor
from watcherd.wire import Answer, Call

MAX_OPERATIONS = 1000
METHODS = ("POST", "PUT", "PATCH", "DELETE")

_MEMBERS = ("method", "path", "body", "if_match")
_COLLECTION, _ITEM = 1, 2
"""How many segments the paths of rows have."""

_OPERATION = SchemaValidator(
    core_schema.typed_dict_schema(
        {
            "method": core_schema.typed_dict_field(core_schema.literal_schema(list(METHODS))),
            "path": core_schema.typed_dict_field(core_schema.str_schema(strict=True)),
            "body": core_schema.typed_dict_field(core_schema.any_schema(), required=False),
            "if_match": core_schema.typed_dict_field(core_schema.str_schema(strict=True), required=False),
        },
        extra_behavior="forbid",
    )
)


class BatchEndpoint:
    """The batch of one model; `entities` by plural."""

    __slots__ = ("_domain", "_entities")

    def __init__(self, domain: str, entities: Mapping[str, EntityEndpoints]) -> None:
        self._domain = domain
        self._entities = entities

    async def prepare(self, call: Call) -> Work:
        """200: what each operation is answered, in order. Raises `Problem` for the first that cannot be done."""
        refuse_parameters(call.query)
        operations = await reading.read_json(call, reading.JSON_ONLY, exact=True)
        works = await asyncio.to_thread(self._works, operations, call.base)

        def work(cursor: Cursor) -> Answer:
            results = [_result(_perform(*one, cursor, index)) for index, one in enumerate(works)]
            return Answer(200, b'{"results":[%s]}' % b",".join(results))

        return work

    def _works(self, operations: Any, base: str) -> list[tuple[Work, bool]]:
        """What every operation writes, and whether it has a body.

        Raises `Problem` with all findings about their bodies at once. Up to a thousand of them, so it runs in a thread:
        others have their turn meanwhile.
        """
        if not isinstance(operations, list) or len(operations) > MAX_OPERATIONS:
            raise reading.invalid([Finding("#", "type", f"expected an array of at most {MAX_OPERATIONS} operations")])
        works: list[tuple[Work, bool]] = []
        findings: list[Finding] = []
        for index, operation in enumerate(operations):
            if len(findings) > reading.MAX_FINDINGS:
                break
            try:
                works.append((self._work(operation, base), "body" in operation))
            except Problem as problem:
                placed = _placed(problem, index)
                if problem.type is not problems.VALIDATION:
                    raise placed from problem
                findings += placed.errors
        if findings:
            raise reading.invalid(findings)
        return works

    def _work(self, operation: Any, base: str) -> Work:
        """What one operation writes. Raises `Problem`, its pointers below the operation."""
        checked, findings = reading.check(_OPERATION, operation, _known)
        if findings:
            raise reading.invalid(findings)
        method: str = checked["method"]
        segments = [unquote(part) for part in checked["path"].strip("/").split("/")]
        endpoints = self._endpoints(method, segments)
        findings = _misplaced(method, checked)
        if findings:
            raise reading.invalid(findings)
        condition = checked.get("if_match")
        wanted = etag.wanted_versions(None if condition is None else condition.encode("utf-8", "replace"))
        try:
            if method == "POST":
                return endpoints.creating(checked["body"], base)
            if method == "DELETE":
                return endpoints.deleting(segments[1], wanted)
            return endpoints.changing(segments[1], checked["body"], wanted, whole=method == "PUT")
        except Problem as problem:
            raise _below_body(problem) from problem

    def _endpoints(self, method: str, segments: Sequence[str]) -> EntityEndpoints:
        """The entity that an operation is about. Raises `Problem`: 404, 422 where the path has no such method."""
        plural = segments[0]
        endpoints = self._entities.get(plural)
        if endpoints is None:
            hint = nearest(plural, self._entities)
            raise Problem(problems.NO_SUCH_ENTITY, f"{self._domain} has no entity {plural!r}{hint}")
        if len(segments) > _ITEM:
            raise Problem(problems.NO_SUCH_PATH, f"{'/'.join(segments)} is no path of a row")
        if (method == "POST") != (len(segments) == _COLLECTION):
            allowed = "POST" if len(segments) == _COLLECTION else "PUT, PATCH and DELETE"
            raise reading.invalid([Finding("#/method", "method", f"expected {allowed} at this path, not {method}")])
        return endpoints


def _known(place: Location) -> tuple[str, Collection[str]]:
    return "an operation", () if place else _MEMBERS


def _misplaced(method: str, operation: Mapping[str, Any]) -> list[Finding]:
    """Members that an operation lacks, or that mean nothing to it."""
    findings = []
    if method == "DELETE" and "body" in operation:
        findings.append(Finding("#/body", "unknown", "a DELETE has no body"))
    if method != "DELETE" and "body" not in operation:
        findings.append(Finding("#/body", "required", "expected a value, it is required"))
    if method == "POST" and "if_match" in operation:
        findings.append(Finding("#/if_match", "unknown", "there is no row yet whose version could match"))
    return findings


def _perform(work: Work, has_body: bool, cursor: Cursor, index: int) -> Answer:  # noqa: FBT001 - as `_works` pairs them
    try:
        return work(cursor)
    except ConstraintError as error:
        raise _placed(_below_body(conflict(error, has_body=has_body)), index) from error
    except Problem as problem:
        raise _placed(_below_body(problem) if has_body else problem, index) from problem


def _below_body(problem: Problem) -> Problem:
    return _moved(problem, ("body",), problem.detail, problem.extra)


def _placed(problem: Problem, index: int) -> Problem:
    """The problem of one operation as that of the batch."""
    return _moved(problem, (index,), f"operation {index}: {problem.detail}", {**problem.extra, "operation": index})


def _moved(problem: Problem, place: Location, detail: str, extra: Mapping[str, Any]) -> Problem:
    prefix = pointer(place)
    findings = [Finding(prefix + one.pointer[1:], one.code, one.message) for one in problem.errors]
    return Problem(problem.type, detail, errors=findings, headers=problem.headers, extra=extra)


def _result(answer: Answer) -> bytes:
    """The answer to one operation; its body is JSON already."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
    return b'{"status":%d,"headers":%s,"body":%s}' % (answer.status, to_json(headers), answer.body or b"null")
