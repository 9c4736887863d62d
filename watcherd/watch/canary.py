"""The canary: a file made in the watched directory and removed, to see whether its event arrives.

inotify can be had on mounts that never tell of a change: some container and overlay file systems,
and others that `mounts` does not know by name. A directory that cannot be written is none of our
business: nothing is proved then, and the reconcile finds what events do not tell.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def new_name() -> str:
    """A name that is no model's, no other process's, and hidden from people."""
    return f".watcherd-canary-{secrets.token_hex(4)}"


def fly(root: Path, name: str) -> bool:
    """Make the file and remove it; False if it cannot be made. Empty, and gone in a moment."""
    path = root / name
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError:
        return False
    with contextlib.suppress(FileNotFoundError):  # somebody who tidies up was quicker
        path.unlink()
    return True
