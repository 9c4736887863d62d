"""The watchdog: a sign of life to the service manager, as long as there is life.

Owns what counts as well: the event loop runs (else this task does not), a request to ourselves is
answered through the socket that clients use, and the watcher was seen alive. A watcher that polls,
or waits for its directory, is well: killing the daemon would not bring a directory back. Does not
own the protocol (sdnotify), nor what follows from silence: the manager kills, and starts again.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import structlog

from watcherd import sdnotify
from watcherd.connection import FULL

BEAT_SECONDS = 5.0
"""A watcher is not called silent before this, however short the interval is."""

_REQUEST = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nuser-agent: watcherd-watchdog\r\nconnection: close\r\n\r\n"


async def keep_telling(
    interval: float,
    listener: socket.socket,
    beat_at: Callable[[], float],
    silence: Callable[[], str | None] = lambda: None,
) -> None:
    """Say that all is well, at half the interval (seconds), for ever; say in the log why not.

    `listener` is the socket that is served; `beat_at` is when the watcher was last seen alive, on
    the clock of the event loop; `silence` says who else gives no sign of life, if anybody.
    """
    log = structlog.stdlib.get_logger("watcherd.watchdog")
    family, address = listener.family, listener.getsockname()
    while True:
        began = asyncio.get_running_loop().time()
        reason = _silence(beat_at(), max(interval, BEAT_SECONDS)) or silence()
        reason = reason or await _no_answer(family, address, interval / 4)
        if reason is None:
            sdnotify.well()
        else:
            log.error("watchdog.silent", reason=reason)
        await asyncio.sleep(max(0.0, began + interval / 2 - asyncio.get_running_loop().time()))


def _silence(beat_at: float, most: float) -> str | None:
    age = asyncio.get_running_loop().time() - beat_at
    return f"the watcher has given no sign of life for {age:.1f} s" if age > most else None


async def _no_answer(family: socket.AddressFamily, address: Any, seconds: float) -> str | None:
    """Send a request to ourselves; why it was not answered well, None if it was."""
    try:
        async with asyncio.timeout(seconds):
            answer = await _ask(family, address)
    except TimeoutError:
        return f"a request to ourselves was not answered within {seconds:g} s"
    except OSError as error:
        return f"a request to ourselves failed: {error.strerror or error}"
    first = answer.split(b"\r\n", 1)[0]
    if b" 200 " in first or FULL.encode() in answer:
        return None  # whoever says that it is full lives, and to end it would cut everybody
    return f"a request to ourselves was answered {first.decode('latin-1').strip()!r}"


async def _ask(family: socket.AddressFamily, address: Any) -> bytes:
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as connection:
        loop = asyncio.get_running_loop()
        # Of an address that means all of this machine's, the kernel takes the loopback one.
        await loop.sock_connect(connection, address)
        await loop.sock_sendall(connection, _REQUEST)
        return await loop.sock_recv(connection, 4096)
