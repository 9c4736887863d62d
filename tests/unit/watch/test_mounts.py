"""Telling the file systems that hide changes, from a table as the kernel writes it."""

from pathlib import Path

import pytest

from watcherd.watch.mounts import remote_filesystem

TABLE = """\
22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/root rw
40 22 0:35 / /srv/nfs rw,relatime - nfs4 server:/export rw,vers=4.2
41 40 7:0 / /srv/nfs/local rw,relatime master:2 - xfs /dev/loop0 rw
42 22 0:36 / /srv/with\\040space rw - fuse.sshfs me@host: rw
43 22 0:37 / /over rw - ext4 /dev/sdb rw
44 43 0:38 / /over rw - cifs //server/share rw
45 22 0:39 / /disk rw - fuseblk /dev/sdc1 rw
no line of a table
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", None),
        ("/home/models", None),
        ("/srv/nfs", "nfs4"),
        ("/srv/nfs/models", "nfs4"),
        ("/srv/nfs/local/models", None),
        ("/srv/nfs-but-not-quite", None),
        ("/srv/with space/models", "fuse.sshfs"),
        ("/over/models", "cifs"),
        ("/disk/models", None),
    ],
)
def test_the_longest_and_last_mount_decides(tmp_path: Path, path: str, expected: str | None) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(TABLE)
    assert remote_filesystem(Path(path), table) == expected


def test_without_a_table_nothing_is_remote(tmp_path: Path) -> None:
    assert remote_filesystem(tmp_path, tmp_path / "absent") is None
