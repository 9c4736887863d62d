"""Talking with the service manager: how we are (sd_notify(3)), and the socket that it may pass.

Owns the two protocols and nothing else: when a message is due is the daemon's business, and what
counts as well is the watchdog's. One datagram a message. Without `NOTIFY_SOCKET` in the
environment every message goes nowhere, and without `LISTEN_FDS` nothing was passed.
"""

from __future__ import annotations

import os
import socket
import time

import structlog

from watcherd.errors import SettingsError

FIRST_PASSED = 3
"""Passed descriptors follow standard error (sd_listen_fds(3))."""

SEND_SECONDS = 1.0
"""A manager that does not read for this long loses a message; the event loop waits no longer."""


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


def extend(seconds: float) -> None:
    """A start or a stop is under way and may take this long from now on."""
    _send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")


def well() -> None:
    """All is well: the watchdog's interval begins again."""
    _send("WATCHDOG=1")


def watchdog_seconds() -> float | None:
    """How long we may be silent before the manager ends us; None if it does not watch this process."""
    interval = _number("WATCHDOG_USEC")
    if not interval or _number("WATCHDOG_PID") not in {None, os.getpid()}:
        return None
    return interval / 1_000_000


def passed_socket() -> int | None:
    """The descriptor of the socket that the manager listens on for us; None if there is none.

    Variables that are meant for another process, such as our parent, count for nothing. Raises
    SettingsError where there are several: it would be a guess which of them to leave unanswered.
    """
    count = _number("LISTEN_FDS")
    if not count or _number("LISTEN_PID") != os.getpid():
        return None
    if count > 1:
        raise SettingsError(
            f"cannot listen on {count} passed sockets: watcherd serves on one; leave one Listen... line in the unit"
        )
    os.set_inheritable(FIRST_PASSED, False)  # noqa: FBT003 - it takes no keywords
    return FIRST_PASSED


def _number(variable: str) -> int | None:
    text = os.environ.get(variable, "")
    return int(text) if text.isascii() and text.isdigit() else None


def _send(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(SEND_SECONDS)
            channel.connect(address)
            channel.sendall(message.encode())
    except OSError as error:
        # Who serves does not stop because nobody listens to how it is.
        structlog.stdlib.get_logger("watcherd.sdnotify").warning(
            "notify.failed", message=message.split("\n", 1)[0], error=str(error)
        )
