"""Linux's inotify, by three functions of the C library: the one module that calls them.

A descriptor of the kernel's that is readable as soon as something has happened: an event loop hears
of it at once, and nothing runs while nothing happens. Knows no tree, only single directories;
names that are not UTF-8 come as Python names such files everywhere, with surrogates.
"""

from __future__ import annotations

import ctypes
import os
import struct
from enum import IntFlag
from typing import Final, NamedTuple

_EVENT: Final = struct.Struct("iIII")
_BYTES_AT_ONCE: Final = 16 * 1024
"""About 400 events, which take half a millisecond: of a flood, the event loop takes such a part at a time."""


class Mask(IntFlag):
    """What happened, and how to watch: the kernel's numbers."""

    MODIFY = 0x2
    ATTRIB = 0x4
    CLOSE_WRITE = 0x8
    MOVED_FROM = 0x40
    MOVED_TO = 0x80
    CREATE = 0x100
    DELETE = 0x200
    DELETE_SELF = 0x400
    MOVE_SELF = 0x800
    UNMOUNT = 0x2000
    OVERFLOW = 0x4000
    IGNORED = 0x8000
    ONLYDIR = 0x0100_0000
    DONT_FOLLOW = 0x0200_0000
    ISDIR = 0x4000_0000


class Happened(NamedTuple):
    """One event: of which watch, what, and the name in its directory, empty for the directory itself."""

    watch: int
    mask: int
    name: str


class Inotify:
    """One inotify instance. OSError wherever the kernel refuses."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def fileno(self) -> int:
        """For the event loop."""
        return self._descriptor

    def add(self, path: str, mask: int) -> int:
        """Watch a directory; returns the number that its events have. One directory has one, whatever its paths."""
        return self._checked(self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), ctypes.c_uint32(mask)))

    def remove(self, watch: int) -> None:
        """Watch a directory no longer."""
        self._checked(self._libc.inotify_rm_watch(self._descriptor, watch))

    def read(self) -> list[Happened]:
        """What has happened, without waiting: the oldest events, and all of them unless there are very many."""
        try:
            data = os.read(self._descriptor, _BYTES_AT_ONCE)
        except BlockingIOError:
            return []
        found, at = [], 0
        while at < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size
            name = data[at : at + length].rstrip(b"\0")
            at += length
            found.append(Happened(watch, mask, os.fsdecode(name)))
        return found

    def close(self) -> None:
        """Give the descriptor back; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @staticmethod
    def _checked(answer: int) -> int:
        if answer < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return answer
