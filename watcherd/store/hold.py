"""Who has the database: everybody who opens it holds it together; who drops data holds it alone; one daemon leads.

Owns two locks of the operating system, which go with the process, however that ends: one on the
directory of the database, and for the daemon that serves from it, with all its workers, one on a
file beside the database that says which process it is. They know the processes of this machine, as
SQLite does.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Literal

from watcherd.errors import StoreError

Tenure = Literal["shared", "leading", "alone"]
"""How a process has a database: beside others, as the one that plans and applies changes, or with nobody else."""


class Hold:
    """A taken hold on a database; made by `take`, ended by `release`."""

    def __init__(self, *descriptors: int) -> None:
        self._descriptors = descriptors

    @classmethod
    def take(cls, path: Path, tenure: Tenure) -> Hold:
        """Hold the database at `path`; StoreError when somebody else's hold forbids it."""
        path = Path(os.path.realpath(path))  # who comes by a symlink comes to the same files
        try:
            descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StoreError(f"cannot open the directory {path.parent}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if tenure == "alone" else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if not isinstance(error, BlockingIOError):
                raise StoreError(f"cannot lock the directory {path.parent}: {error.strerror}") from error
            why = "another process has it open, such as `watcherd serve`: stop it first"
            if tenure != "alone":
                why = "another process has it for itself, such as `watcherd prune`: try again when it is done"
            raise StoreError(f"cannot use the database {path}: {why}") from error
        if tenure != "leading":
            return cls(descriptor)
        try:
            return cls(descriptor, _lead(path))
        except BaseException:
            os.close(descriptor)
            raise

    def release(self) -> None:
        """Let go; more than once does no harm."""
        descriptors, self._descriptors = self._descriptors, ()
        for descriptor in descriptors:
            os.close(descriptor)


def _lead(path: Path) -> int:
    """Become the one daemon that serves from the database at `path`; the descriptor that holds it. StoreError."""
    lock = path.with_name(f"{path.name}.lock")
    try:
        # The file stays when it is let go: whoever removed it could remove the one that another has just locked.
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"cannot open {lock}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    except OSError as error:
        process = os.pread(descriptor, 20, 0).strip().decode("ascii", "replace")
        os.close(descriptor)
        if not isinstance(error, BlockingIOError):
            raise StoreError(f"cannot lock {lock}: {error.strerror}") from error
        raise StoreError(
            f"cannot serve from the database {path}: another daemon does already"
            f"{f', process {process}' if process else ''}; stop it, or give this one a database of its own "
            "as --data-dir or --database-url"
        ) from error
    return descriptor
