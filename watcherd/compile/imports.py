"""`/{plural}/-/import`: rows from CSV or NDJSON, all or none, or those that are valid.

Owns the walk of an import. Does not own what a row may be (bodies: the validator of a create) nor
how rows are stored. While the body comes, each line is read and validated in a thread, and what is
valid is set aside in a temporary file, in stored form: memory stays flat, and a slow client holds
nothing that others need. Then one write inserts all of it. Other writes wait for that one and for
nothing else: some seconds for a million rows. Readers never wait.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from pydantic_core import to_json

from watcherd import problems
from watcherd.compile import reading
from watcherd.compile.bodies import Bodies, created
from watcherd.compile.gathered import MAX_REFUSED, Gathered
from watcherd.compile.idempotency import PostEndpoint
from watcherd.compile.lines import Line, Lines
from watcherd.compile.options import Options
from watcherd.compile.query import parameters, refused
from watcherd.compile.reading import pointer
from watcherd.compile.tabular import CsvReader, NdjsonReader, ReadLine
from watcherd.compile.validators import Targets
from watcherd.compile.writes import Work
from watcherd.errors import ConstraintError
from watcherd.pim.spec import Entity
from watcherd.problems import Finding, Problem
from watcherd.store import Cursor, ModelTables
from watcherd.wire import Answer, Call

CSV = "text/csv"
NDJSON = "application/x-ndjson"

_IN_MEMORY = 1024 * 1024
"""Bytes that are set aside before the file is one on the disk."""


class ImportEndpoint:
    """The import of one entity."""

    __slots__ = ("_bodies", "_entity", "_name", "_options", "_rows", "_tables", "_targets")

    def __init__(  # noqa: PLR0913 - the parts of one entity, put together once
        self, name: str, entity: Entity, tables: ModelTables, targets: Targets, *, bodies: Bodies, options: Options
    ) -> None:
        """`name` is the path with the folded model's name, under which answers are kept."""
        self._name = name
        self._entity = entity
        self._tables = tables
        self._rows = tables.entities[entity.name]
        self._targets = targets
        self._bodies = bodies
        self._options = options

    async def answer(self, call: Call) -> Answer:
        """200: how many rows came in. Raises `Problem`: 400, 413, 415, 422 with the lines that are refused."""
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as aside:
            prepare = partial(self._prepare, Gathered(aside, wanted_partly=_wanted_partly(call.query)))
            post = PostEndpoint(
                self._name, prepare, self._tables, self._options.clock, max_bytes=self._options.max_import_bytes
            )
            return await post.answer(call)

    async def _prepare(self, gathered: Gathered, call: Call) -> Work:
        """Read and validate the whole body, setting aside what is valid."""
        media = _media(call)
        read: ReadLine
        if media == CSV:
            read = CsvReader(self._entity, self._targets, max_depth=call.max_json_depth)
        else:
            read = NdjsonReader(self._bodies, max_depth=call.max_json_depth)
        lines = Lines(quoted=media == CSV, most_bytes=call.max_body_bytes)
        async with aclosing(call.chunks(self._options.max_import_bytes)) as chunks:
            async for chunk in chunks:
                await asyncio.to_thread(self._gather, gathered, read, lines.feed(chunk))
        await asyncio.to_thread(self._gather, gathered, read, lines.end())
        gathered.flush()
        if gathered.refusals.count and not gathered.wanted_partly:
            raise gathered.refusals.problem()
        return partial(self._insert, gathered)

    def _gather(self, gathered: Gathered, read: ReadLine, lines: Sequence[Line]) -> None:
        for number, raw in lines:
            body, findings = read(raw)
            if body is None and not findings:
                continue  # a header
            row: Mapping[str, Any] = {}
            if not findings:
                row, findings = created(self._bodies, body)
            if findings:
                gathered.refusals.add(number, findings)
            else:
                gathered.accept(number, self._rows.encoded(row))

    def _insert(self, gathered: Gathered, cursor: Cursor) -> Answer:
        """Insert what was set aside; runs in the write, and from the beginning when that is run again."""
        imported, refusals, partly = 0, gathered.refusals.copy(), gathered.wanted_partly
        for batch in gathered.batches():
            rejected = self._rows.insert_encoded(cursor, [stored for _, stored in batch])
            imported += len(batch) - len(rejected)
            for place, error in rejected:
                refusals.add(batch[place][0], _findings(error))
            if refusals.count >= MAX_REFUSED and not partly:
                break
        if refusals.count and not partly:
            raise refusals.problem()
        return Answer(200, to_json({"imported": imported, **(refusals.report() if partly else {})}))


def _findings(error: ConstraintError) -> list[Finding]:
    """What a constraint has against a line."""
    places = [pointer((name,)) for name in error.attributes] or [pointer(())]
    return [Finding(place, error.problem, str(error)) for place in places]


def _wanted_partly(query: bytes) -> bool:
    """The parameter `partial`. Raises `Problem` 400 for another one, or another value."""
    given = parameters(query)
    findings = [Finding(name, "unknown", f"there is no parameter {name}; there is partial")
                for name, _ in given if name != "partial"]  # fmt: skip
    if len(given) > 1 and not findings:
        findings.append(Finding("partial", "repeated", "partial is given more than once"))
    findings += [
        Finding("partial", "value", f"partial={value}: expected true or false")
        for name, value in given
        if name == "partial" and value not in {"true", "false"}
    ]
    if findings:
        raise refused(findings)
    return ("partial", "true") in given


def _media(call: Call) -> str:
    """The content type. Raises `Problem` 415 where it is not said, or is neither of the two, or is compressed."""
    sent = (call.header(b"content-type") or b"").decode("latin-1")
    media, _, rest = sent.partition(";")
    media = media.strip().lower()
    charset = rest.lower().partition("charset=")[2].partition(";")[0].strip(' "')
    if media not in {CSV, NDJSON} or charset not in {"", "utf-8", "us-ascii"}:
        raise Problem(problems.UNSUPPORTED_MEDIA_TYPE, f"send the body as {CSV} or {NDJSON} in UTF-8, not as {sent!r}")
    reading.refuse_encoded(call)
    return media
