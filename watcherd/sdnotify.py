"""Telling the service manager how we are (sd_notify(3)): one datagram a message.

Without `NOTIFY_SOCKET` in the environment every function does nothing.
"""

from __future__ import annotations

import os
import socket
import time


def ready(status: str) -> None:
    """The first scan is done and the socket is bound; `status` is shown by `systemctl status`."""
    _send(f"READY=1\nSTATUS={status}")


def status(text: str) -> None:
    """Change the one-line status."""
    _send(f"STATUS={text}")


def reloading() -> None:
    """A reload that the service manager asked for begins; `ready` ends it."""
    _send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping() -> None:
    """The daemon begins to stop."""
    _send("STOPPING=1")


def _send(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect(address)
        channel.sendall(message.encode())
