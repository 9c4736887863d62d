"""`/{plural}/-/export`: all rows that a query finds, streamed as CSV, JSON or NDJSON.

Owns the formats and the life of the stream. Does not own filters and order (query) nor the
snapshot (store). The rows are those of one moment, however long the client takes; they are read and
written a slice at a time in a reader's thread, so that memory stays flat and the loop free. The
request keeps its revision until the last byte; a client that goes away ends it.

CSV has the attribute names as its header, null as an empty cell, empty text as `""`, lists and json
as JSON text. Write-only attributes are never shown. An import reads what an export wrote.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import quote, urlencode

from pydantic_core import to_json

from watcherd.compile import csv_text
from watcherd.compile.query import RESERVED, ListQuery, is_scalar, parameters, read_query, refused
from watcherd.pim.spec import Entity
from watcherd.problems import Finding
from watcherd.store import Row, Rows, RowStream
from watcherd.wire import JSON, Answer, Call, ClientGoneError

CSV = b"text/csv; charset=utf-8; header=present"
NDJSON = b"application/x-ndjson"

PAGES = frozenset({"skip", "limit", "count", "cursor", "fields", "expand"})
"""Parameters of lists that an export does not have: it answers all rows, whole."""

TAKEN = RESERVED | {"format"}
"""Names that mean something else than an attribute: one that is called so is filtered by its operators only."""

_SLICE_BYTES = 256 * 1024
_FIRST_ROWS, _MOST_ROWS = 50, 2000

FormatName = Literal["json", "csv", "ndjson"]
Render = Callable[[list[Row]], bytes]


@dataclass(frozen=True, slots=True)
class Format:
    """How rows are written: `head` before all, `between` slices, `tail` after all."""

    media: bytes
    render: Render
    head: bytes = b""
    between: bytes = b""
    tail: bytes = b""


class ExportEndpoint:
    """The export of one entity."""

    __slots__ = ("_formats", "_plural", "_query", "_rows")

    def __init__(self, plural: str, rows: Rows, query: ListQuery, made: Mapping[FormatName, Format]) -> None:
        """`made` is what `formats` answers."""
        self._plural = plural
        self._rows = rows
        self._query = query
        self._formats = made

    async def answer(self, call: Call) -> Answer:
        """200: a stream of rows. Raises `Problem` 400; 503 when too many exports run."""
        name, raw = self._format(call.query)
        select = replace(read_query(self._query, raw).select, skip=0, limit=None, count=False)
        stream = await self._rows.stream(select)
        file = quote(f"{self._plural}.{name}")
        disposition = f"attachment; filename*=UTF-8''{file}"
        if self._plural.isascii():
            disposition = f'attachment; filename="{self._plural}.{name}"'
        headers = [(b"content-disposition", disposition.encode("ascii")), (b"cache-control", b"no-store")]
        format_ = self._formats[name]
        return Answer(200, b"", format_.media, headers, Export(call, self._rows, stream, format_))

    def _format(self, raw: bytes) -> tuple[FormatName, bytes]:
        """The format, and the query string without it. Raises `Problem` 400."""
        given = parameters(raw)
        findings = [
            Finding(name, "unknown", f"there is no parameter {name} here: an export has every row, whole")
            for name, _ in given
            if name in PAGES
        ]
        named = [value for name, value in given if name == "format"]
        if len(named) > 1:
            findings.append(Finding("format", "repeated", "format is given more than once"))
        known: dict[str, FormatName] = {name: name for name in self._formats}
        name = known.get(named[0] if named else "json")
        if name is None:
            message = f"format={named[0]}: expected one of {', '.join(self._formats)}"
            findings.append(Finding("format", "value", message))
        if findings or name is None:
            raise refused(findings)
        return name, urlencode([pair for pair in given if pair[0] != "format"]).encode("ascii")


class Export:
    """One export under way: an iterator over the chunks of its body, to be closed by whoever sends it."""

    def __init__(self, call: Call, rows: Rows, stream: RowStream, format_: Format) -> None:
        self._call = call
        self._rows = rows
        self._stream = stream
        self._format = format_
        self._gone: asyncio.Task[None] | None = None
        self._chunks = self._read()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """The next chunk. Raises `ClientGoneError` when nobody is there to read it."""
        return await anext(self._chunks)

    async def aclose(self) -> None:
        """End it wherever it is; also one that was never begun."""
        if self._gone is not None:
            self._gone.cancel()
            await asyncio.gather(self._gone, return_exceptions=True)
        await self._chunks.aclose()
        await self._stream.aclose()

    async def _read(self) -> AsyncGenerator[bytes, None]:
        # The server drops in silence what is sent to a client that is gone: it has to be asked.
        self._gone = asyncio.create_task(self._call.gone(), name="export: client")
        format_, lead, most = self._format, b"", _FIRST_ROWS
        yield format_.head
        while (chunk := await self._rows.slice(self._stream, most, format_.render)) is not None:
            if self._gone.done():
                raise ClientGoneError
            yield lead + chunk
            lead = format_.between
            most = max(1, min(_MOST_ROWS, most * _SLICE_BYTES // len(chunk)))
        yield format_.tail


def formats(entity: Entity) -> Mapping[FormatName, Format]:
    """Every format that an entity is exported in."""
    shown = tuple(item.name for item in entity.attributes.values() if not item.write_only)
    hidden = len(shown) < len(entity.attributes)
    cells = tuple(
        (item.name, _scalar_cell if is_scalar(item) else _json_cell)
        for item in entity.attributes.values()
        if not item.write_only
    )

    def values(row: Row) -> Mapping[str, Any]:
        return {name: row.values[name] for name in shown} if hidden else row.values

    def csv(rows: list[Row]) -> bytes:
        lines = [csv_text.write_line([cell(row.values[name]) for name, cell in cells]) for row in rows]
        return "".join(lines).encode()

    return {
        "json": Format(
            JSON, lambda rows: b",\n".join([to_json(values(row)) for row in rows]), b"[\n", b",\n", b"\n]\n"
        ),
        "csv": Format(CSV, csv, csv_text.write_line(shown).encode()),
        "ndjson": Format(NDJSON, lambda rows: b"".join([to_json(values(row)) + b"\n" for row in rows])),
    }


def _scalar_cell(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return to_json(value).decode()


def _json_cell(value: Any) -> str | None:
    return None if value is None else to_json(value).decode()
