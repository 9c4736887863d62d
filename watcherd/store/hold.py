"""Who has the database: everybody who opens it holds it together; who drops data holds it alone.

Owns a lock of the operating system on the directory of the database: it goes with the process,
however that ends, and leaves no file behind. It knows the processes of this machine, as SQLite does.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from watcherd.errors import StoreError


class Hold:
    """A taken hold on a database; made by `take`, ended by `release`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, path: Path, *, alone: bool) -> Hold:
        """Hold the database at `path`; StoreError when somebody else's hold forbids it."""
        try:
            descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StoreError(f"cannot open the directory {path.parent}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            why = "another process has it open, such as `watcherd serve`: stop it first"
            if not alone:
                why = "another process has it for itself, such as `watcherd prune`: try again when it is done"
            raise StoreError(f"cannot use the database {path}: {why}") from error
        return cls(descriptor)

    def release(self) -> None:
        """Let go; more than once does no harm."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
