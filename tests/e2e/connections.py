"""Connections that do what well-behaved clients do not: stop in the middle, or never read."""

from __future__ import annotations

import asyncio
import signal
import socket

from tests.e2e.process import Process, shown

BODY = b'{"name": "half"}'
SENT = 5
REST = BODY[SENT:]


def place(daemon: Process) -> tuple[str, int]:
    """Where the daemon listens."""
    host, port = daemon.address.removeprefix("http://").rsplit(":", 1)
    return host, int(port)


async def half_a_request(daemon: Process) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request whose body ends after some bytes; `REST` is what is missing."""
    reader, writer = await asyncio.open_connection(*place(daemon))
    await send_half(writer)
    return reader, writer


async def half_a_request_alone(daemon: Process) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The same, the only one that is in flight: it has entered the live revision."""
    reader, writer = await half_a_request(daemon)
    await in_flight(daemon, 1)
    return reader, writer


async def send_half(writer: asyncio.StreamWriter) -> None:
    """The same on a connection that is open already."""
    head = b"POST /api/shop/items HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    writer.write(head + b"content-length: %d\r\n\r\n" % len(BODY) + BODY[:SENT])
    await writer.drain()


async def in_flight(daemon: Process, count: int) -> None:
    """Wait until so many requests are in flight on the live revision, as the admin API shows it."""
    async with daemon.client() as client:
        await shown(client, lambda entry: entry["in_flight"] == count)


async def cut(daemon: Process, reader: asyncio.StreamReader) -> None:
    """Stop the daemon and see how half a request ends that holds the stop over its time."""
    daemon.kill(signal.SIGTERM)
    drained = await daemon.wait_for("shutdown.stage", where=lambda line: line["stage"] == "drain")
    # A worker that stands still is named itself.
    assert any(word in drained["held_by"][0] for word in ("POST /api/shop/items", "no answer"))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 503")
    assert await daemon.ended() == 1


def never_reading(daemon: Process, path: str) -> socket.socket:
    """A request whose answer nobody reads, on a connection with little room for it."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(place(daemon))
    connection.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    return connection
