"""What inotify would have told: differences between two readings of the directory, by content.

Digests are compared, not times: where polling is needed, times are what is least to be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from watcherd import directory


def digests(root: Path, *, max_bytes: int, code: bool = False) -> dict[str, str]:
    """Read every model file: path -> digest, or the code of the diagnostic why there is none.

    With `code` the Python files too.

    Raises:
        ModelsDirectoryError: the root is missing or cannot be listed.

    """
    files = directory.scan(root, max_bytes=max_bytes, code=code).items()
    return {path: file.digest or (file.diagnostic.code if file.diagnostic else "") for path, file in files}


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> frozenset[str]:
    """Return the paths that came, went, or have another content."""
    return frozenset(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
