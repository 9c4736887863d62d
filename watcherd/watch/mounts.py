"""Which file systems do not tell of every change.

inotify sees what this kernel does. On a network or a host-shared file system somebody else's
kernel does it, and no event comes; these are polled.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_REMOTE: Final = frozenset(
    {
        *("9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "gfs", "gfs2", "glusterfs", "gpfs", "lustre"),
        *("ncpfs", "nfs", "nfs4", "ocfs2", "prl_fs", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs"),
    }
)


def remote_filesystem(root: Path, mountinfo: Path = _MOUNTINFO) -> str | None:
    """Return the type of the file system that `root` is on if inotify cannot be relied upon there, else None.

    Where there is no such table (not Linux), nothing is known to be remote.
    """
    try:
        table = mountinfo.read_text("utf-8", "surrogateescape")
    except OSError:
        return None
    kind = _filesystem_at(os.path.realpath(root), table)
    return kind if kind in _REMOTE or kind.startswith("fuse.") else None


def _filesystem_at(path: str, table: str) -> str:
    """Return the type of the mount that `path` is beneath: the longest mount point, of these the last mounted."""
    best, kind = -1, ""
    for line in table.splitlines():
        # 36 35 98:0 /inside /mount\040point rw,noatime master:1 - ext4 /dev/sda1 rw
        mount, _, source = line.partition(" - ")
        if len(mount.split()) < 5 or not source:  # noqa: PLR2004 - the field of the mount point is the fifth
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), mount.split()[4])
        beneath = path == point or path.startswith(point.rstrip("/") + "/")
        if beneath and len(point) >= best:
            best, kind = len(point), source.split()[0]
    return kind
