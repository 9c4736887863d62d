"""inotify by its system calls: Linux tells of a change within microseconds, on the event loop, without a thread.

Owns the descriptor, which directories are watched (all below the root, also through links), and what
the kernel's events mean. A directory is watched from the moment it is seen; what was made in it before
is for whoever looks at the directory as a whole, which its event is a reason to do.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_ATTRIB: Final = 0x004
_CLOSE_WRITE: Final = 0x008
_MODIFY: Final = 0x002
_MOVED_FROM: Final = 0x040
_MOVED_TO: Final = 0x080
_CREATE: Final = 0x100
_DELETE: Final = 0x200
_DELETE_SELF: Final = 0x400
_MOVE_SELF: Final = 0x800
_UNMOUNT: Final = 0x2000
_Q_OVERFLOW: Final = 0x4000
_IGNORED: Final = 0x8000
_ONLY_DIRECTORIES: Final = 0x0100_0000
_IS_DIRECTORY: Final = 0x4000_0000
_WANTED: Final = (
    _ATTRIB | _CLOSE_WRITE | _MODIFY | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF
)
_GONE: Final = _MOVED_FROM | _DELETE
_OURSELVES: Final = _DELETE_SELF | _MOVE_SELF | _UNMOUNT

_HEAD: Final = struct.Struct("iIII")
_BUFFER_BYTES: Final = 64 * 1024
_FULL: Final = frozenset({errno.ENOSPC, errno.ENOMEM})

_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class RawEvents:
    """Paths relative to the root that had events; the root itself is the empty path.

    `lost`: there were more events than the kernel keeps, so anything may have changed.
    """

    changed: frozenset[str]
    deleted: frozenset[str]
    lost: bool = False


class Inotify:
    """Watches one directory with all below it; whoever made it reads when `fileno` is readable, and closes it."""

    def __init__(self, root: str) -> None:
        """Watch from now on. OSError: ENOSPC when watches are used up, EMFILE instances, ENOENT for a missing root."""
        self._root = root
        self._paths: dict[int, str] = {}
        self._descriptor: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise _error()
        try:
            self._watch("", must=True)
            self._watch_below("", root)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """What to wait for."""
        return self._descriptor

    def close(self) -> None:
        """Give the descriptor and all watches back; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read(self) -> RawEvents:
        """All that has happened since the last time, as one; OSError when the watch is broken."""
        changed: set[str] = set()
        deleted: set[str] = set()
        lost = False
        for mask, folder, name in self._events():
            if mask & _Q_OVERFLOW:
                lost = True
            elif mask & _OURSELVES:
                if folder == "":
                    changed.add("")
                    deleted.add("")
            elif folder is not None and name:
                path = f"{folder}/{name}" if folder else name
                changed.add(path)
                if mask & _GONE:
                    deleted.add(path)
                    if mask & _IS_DIRECTORY:
                        self._forget_below(path)
                elif mask & (_CREATE | _MOVED_TO):
                    self._watch_new(path, is_folder=bool(mask & _IS_DIRECTORY))
        return RawEvents(frozenset(changed), frozenset(deleted), lost)

    def _events(self) -> Iterator[tuple[int, str | None, str]]:
        """Mask, directory (None: watched no more) and name of each event."""
        while True:
            try:
                buffer = os.read(self._descriptor, _BUFFER_BYTES)
            except BlockingIOError:
                return
            place = 0
            while place < len(buffer):
                watch, mask, _, length = _HEAD.unpack_from(buffer, place)
                place += _HEAD.size
                name = os.fsdecode(buffer[place : place + length].rstrip(b"\0"))
                place += length
                yield mask, self._paths.get(watch), name
                if mask & _IGNORED:
                    self._paths.pop(watch, None)

    def _watch_new(self, path: str, *, is_folder: bool) -> None:
        full = f"{self._root}/{path}"
        if (is_folder or self._leads_inside(full)) and self._watch(path):
            self._watch_below(path, full)

    def _forget_below(self, path: str) -> None:
        """A directory went away, perhaps to another name, under which it is watched anew."""
        beneath = f"{path}/"
        for watch, known in list(self._paths.items()):
            if known == path or known.startswith(beneath):
                del self._paths[watch]
                _libc.inotify_rm_watch(self._descriptor, watch)  # gone already, if the directory is

    def _leads_inside(self, full: str) -> bool:
        """Whether it is a link to something below the root: others lead to what is no model."""
        if not os.path.islink(full):  # noqa: PTH114 - text paths, as names need not be UTF-8
            return False
        real, base = os.path.realpath(full), os.path.realpath(self._root)
        return real == base or real.startswith(f"{base}/")

    def _watch_below(self, folder: str, full: str) -> None:
        """Watch every directory below one: each once, however many links lead to it."""
        try:
            with os.scandir(full) as listing:
                entries = [entry.name for entry in listing if self._is_folder(entry)]
        except OSError:
            return  # gone again, or closed to us: nothing in it can be read either
        for name in entries:
            path = f"{folder}/{name}" if folder else name
            if self._watch(path):
                self._watch_below(path, f"{full}/{name}")

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        if entry.is_symlink():
            return self._leads_inside(entry.path)
        return entry.is_dir(follow_symlinks=False)

    def _watch(self, path: str, *, must: bool = False) -> bool:
        """Watch a directory; False if it is watched already under another path, or cannot be."""
        full = f"{self._root}/{path}" if path else self._root
        watch: int = _libc.inotify_add_watch(self._descriptor, os.fsencode(full), _WANTED | _ONLY_DIRECTORIES)
        if watch < 0:
            error = _error()
            if must or error.errno in _FULL:
                raise error
            return False
        known = self._paths.setdefault(watch, path)
        return known == path


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
