"""The models directory: which names in it are models, and how they are read safely.

Owns the allow-list of names, the walk over the directory, and reading a file so that what is
handed out is one consistent content of a regular file inside the directory. Does not watch, does
not parse, and keeps nothing between calls: what is true is the directory, read again.

A file that is there but cannot be read is listed with a diagnostic instead of a content, so that
it is never taken for a deleted one:

- PIM701 not a regular file, PIM702 unreadable, PIM703 too large, PIM704 name is not UTF-8,
  PIM705 leads outside of the directory, PIM706 kept changing while it was read.

Symlinks are followed as long as they stay inside. A directory that can be reached by several
paths is listed once: by its own path when that is visible, else by the first link to it. That also
ends loops, and finds each file of a ConfigMap (`a.yaml -> ..data/a.yaml`, `..data -> ..2026_11/`)
once, as `a.yaml`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from watcherd.errors import ModelsDirectoryError, PathOutsideError
from watcherd.pim.diagnostics import Diagnostic, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

_SUFFIXES: Final = (".yaml", ".yml")
_CODE_SUFFIX: Final = ".py"
_SUFFIXES_WITH_CODE: Final = (*_SUFFIXES, _CODE_SUFFIX)
_READ_ATTEMPTS: Final = 3
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR})
_KINDS: Final = MappingProxyType(
    {
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFLNK: "a symlink that leads to itself",
    }
)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells two states of a file apart without reading it. Times are nanoseconds since 1970."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    def same_file(self, other: Stamp) -> bool:
        """Whether both are stamps of one inode: False after a rename-over."""
        return (self.device, self.inode) == (other.device, other.inode)

    def same_content(self, other: Stamp) -> bool:
        """Whether inode, size and mtime agree; a changed mode or link count is no changed content."""
        return self.same_file(other) and (self.size, self.mtime_ns) == (other.size, other.mtime_ns)


INACCESSIBLE: Final = Stamp(device=0, inode=0, size=-1, mtime_ns=0, ctime_ns=0)
"""The stamp of a path that is perhaps there: what leads to it may not be read."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One model file as it was read.

    `path` is relative to the root, with `/`; bytes that are not UTF-8 are surrogate-escaped, so
    show `display` instead. `content` is None if and only if `diagnostic` says why; `digest` is the
    SHA-256 of the content in hex, or empty. `stamp` is None when nothing about the file is certain.
    """

    path: str
    content: bytes | None
    digest: str
    stamp: Stamp | None
    diagnostic: Diagnostic | None

    @property
    def display(self) -> str:
        """The path as it can be printed on one line and encoded as UTF-8."""
        return display_name(self.path)


@dataclass(frozen=True, slots=True)
class Survey:
    """The directory at a glance, nothing read.

    `stamps` has every path that `scan` would list. `places` are directories and symlinks, hidden
    ones included (but nothing beneath a hidden directory): a change of one may change what lies
    beneath. `linked` says that some file is listed through a symlink, so that it may change
    without an event at its own path. `closed` are directories that could not be listed.
    """

    stamps: Mapping[str, Stamp]
    places: frozenset[str]
    linked: bool
    closed: frozenset[str]

    def is_closed(self, path: str) -> bool:
        """Whether `path` lies beneath a directory that could not be listed."""
        return _lies_beneath(path, self.closed)


def is_model_name(path: str) -> bool:
    """Whether a path relative to the root names a model: `*.yaml` or `*.yml`, nothing hidden.

    As an allow-list it leaves out what editors and tools write beside a file: `4913`, `a.yaml~`,
    `#a.yaml#`, `.#a.yaml`, `.a.yaml.swp`, `a.yaml.tmp`, `a.yaml.bak`, `.a.yaml.Xy12Zq` (rsync).
    """
    return path.endswith(_SUFFIXES) and not any(part.startswith(".") for part in path.split("/"))


def is_code_name(path: str) -> bool:
    """Whether a path relative to the root names Python code that handlers may need: `*.py`, nothing hidden."""
    return path.endswith(_CODE_SUFFIX) and not any(part.startswith(".") for part in path.split("/"))


def display_name(path: str) -> str:
    r"""Return `path` with bytes that are not UTF-8, and control characters, as `\xff` escapes."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def scan(
    root: Path,
    *,
    max_bytes: int,
    known: Mapping[str, SourceFile] = MappingProxyType({}),
    trust_stamps: bool = True,
    code: bool = False,
) -> dict[str, SourceFile]:
    """Read the whole directory: path -> file, sorted by path. See `scanning`."""
    return {
        file.path: file
        for file in scanning(root, max_bytes=max_bytes, known=known, trust_stamps=trust_stamps, code=code)
    }


def scanning(
    root: Path,
    *,
    max_bytes: int,
    known: Mapping[str, SourceFile] = MappingProxyType({}),
    trust_stamps: bool = True,
    code: bool = False,
) -> Iterator[SourceFile]:
    """Read the whole directory, each file when it is asked for, sorted by path; with `code` the Python files too.

    What there is to read is found out when the first one is asked for. A file of `known` that has not
    changed is the same object again. `trust_stamps` tells that from its stamp alone; without it the file
    is read and the digests are compared, which also finds what network file systems, and two writes
    within one tick of the clock, hide from stamps. Files of `known` beneath a directory that cannot be
    listed stay listed, as unreadable.

    Raises:
        ModelsDirectoryError: the root is missing or cannot be listed.

    """
    base = os.path.realpath(root)
    tree = _walk(base, _SUFFIXES_WITH_CODE if code else _SUFFIXES)
    unlisted = {path: os.path.realpath(f"{base}/{path}") for path in known if _lies_beneath(path, tree.closed)}
    for path, real in sorted({**unlisted, **tree.files}.items()):
        before = known.get(path)
        if before is not None and before.stamp is not None and trust_stamps and _look(real) == before.stamp:
            yield before
        elif (file := _read(base, path, real, max_bytes)) is not None:
            yield before if before == file else file


def read(root: Path, path: str, *, max_bytes: int) -> SourceFile | None:
    """Read one file; None when nothing is there.

    Raises:
        ModelsDirectoryError: the root itself is missing, which says nothing about its files.

    """
    base = os.path.realpath(root)
    file = _read(base, path, os.path.realpath(f"{base}/{path}"), max_bytes)
    if file is None and not os.path.isdir(base):  # noqa: PTH112 - no Path needed
        message = f"cannot read {display_name(path)}: the models directory {display_name(base)} is missing"
        raise ModelsDirectoryError(message)
    return file


def look(root: Path, path: str) -> Stamp | None:
    """Return the stamp of one file without reading it; None when nothing is there."""
    return _look(f"{root}/{path}")


def survey(root: Path, *, code: bool = False) -> Survey:
    """Look at the whole directory without reading a file; with `code` at the Python files too.

    Raises:
        ModelsDirectoryError: the root is missing or cannot be listed.

    """
    tree = _walk(os.path.realpath(root), _SUFFIXES_WITH_CODE if code else _SUFFIXES)
    stamps = {path: stamp for path, real in tree.files.items() if (stamp := _look(real)) is not None}
    return Survey(stamps=stamps, places=frozenset(tree.places), linked=tree.linked, closed=frozenset(tree.closed))


def resolve_inside(root: Path, path: str) -> str:
    """Return `path`, as a client gave it, as a path relative to the root; the file need not exist.

    Raises:
        PathOutsideError: it is empty, absolute, has a `..`, or a symlink in it leads outside.

    """
    parts = PurePosixPath(path).parts
    if not parts or "\0" in path or path.startswith("/") or ".." in parts:
        message = f"cannot use the path {display_name(path)!r}: give one inside the models directory, without '..'"
        raise PathOutsideError(message)
    base = os.path.realpath(root)
    relative = "/".join(parts)
    if not _is_inside(base, os.path.realpath(f"{base}/{relative}")):
        message = f"cannot use the path {display_name(path)!r}: a symlink in it leads outside of the models directory"
        raise PathOutsideError(message)
    return relative


@dataclass(slots=True)
class _Tree:
    """What a walk finds: `files` maps each listed path to where it really is; for the rest see `Survey`."""

    files: dict[str, str] = field(default_factory=dict)
    places: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)
    linked: bool = False
    suffixes: tuple[str, ...] = _SUFFIXES


def _walk(base: str, suffixes: tuple[str, ...]) -> _Tree:
    """Visit every directory once: the real ones first, then those that only a link leads to."""
    tree = _Tree(suffixes=suffixes)
    visited: set[tuple[int, int]] = set()
    folders: deque[tuple[str, str]] = deque([("", base)])
    links: deque[tuple[str, str]] = deque()
    while folders or links:
        prefix, real = (folders or links).popleft()
        for entry in _list_folder(tree, prefix, real, visited):
            path = f"{prefix}/{entry.name}" if prefix else entry.name
            folder = _note_entry(tree, base, path, f"{real}/{entry.name}", entry)
            if folder is not None:
                (links if entry.is_symlink() else folders).append((path, folder))
    return tree


def _list_folder(tree: _Tree, prefix: str, real: str, visited: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
    try:
        status = os.stat(real)  # noqa: PTH116 - walks are on the way of every reload: text paths are quicker
        if (status.st_dev, status.st_ino) in visited:
            return []
        visited.add((status.st_dev, status.st_ino))
        with os.scandir(real) as listing:
            return sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        if not prefix:
            message = f"cannot list the models directory {display_name(real)}: {error.strerror}"
            raise ModelsDirectoryError(message) from error
        if error.errno not in _ABSENT:
            tree.closed.add(prefix)
        return []


def _note_entry(tree: _Tree, base: str, path: str, real: str, entry: os.DirEntry[str]) -> str | None:
    """Note what the entry is; return the directory to go on in, if it is or leads to one."""
    is_link = entry.is_symlink()
    is_folder = not is_link and entry.is_dir(follow_symlinks=False)
    if is_link or is_folder:
        tree.places.add(path)
    if entry.name.startswith("."):
        return None
    if is_link:
        real = os.path.realpath(real)
        is_folder = os.path.isdir(real) and _is_inside(base, real)  # noqa: PTH112 - as in _list_folder
    if entry.name.endswith(tree.suffixes):
        tree.files[path] = real
    tree.linked = tree.linked or (is_link and (is_folder or path in tree.files))
    return real if is_folder else None


def _look(real: str) -> Stamp | None:
    try:
        return _stamp(os.stat(real))  # noqa: PTH116 - as in _list_folder
    except OSError as error:
        if error.errno not in _ABSENT:
            return INACCESSIBLE
    try:
        return _stamp(os.lstat(real))  # a symlink to nothing is something, and has its diagnostic
    except OSError:
        return None


def _read(base: str, path: str, real: str, max_bytes: int) -> SourceFile | None:
    """Read `real`, to which `path` leads, until two looks at it agree."""
    if not _is_utf8(path):
        present = _look(real) is not None
        return _refusal(path, "PIM704", "the file name is not UTF-8", hint="rename the file") if present else None
    for _ in range(_READ_ATTEMPTS):
        try:
            file = _read_once(base, path, real, max_bytes)
        except OSError as error:
            if error.errno in _ABSENT:
                return _unless_dangling(base, path)
            if error.errno != errno.ELOOP:  # this one became a symlink since it was resolved
                return _refusal(path, "PIM702", f"the file cannot be read: {error.strerror}")
            file = None
        if file is not None:
            return file
        real = os.path.realpath(f"{base}/{path}")
    return _refusal(path, "PIM706", "the file kept changing while it was read", hint="it is read again when it rests")


def _read_once(base: str, path: str, real: str, max_bytes: int) -> SourceFile | None:
    """Read the file, or say what it is instead of one; None when it changed meanwhile."""
    if not _is_inside(base, real):
        hint = "move its target into the models directory, or copy it"
        return _refusal(path, "PIM705", "the symlink leads outside of the models directory", hint=hint)
    before = os.lstat(real)  # before opening: to open a device may already do something
    if not stat.S_ISREG(before.st_mode):
        return _not_regular(path, before)
    if before.st_size > max_bytes:
        return _too_large(path, before, max_bytes)
    content, opened = _read_bytes(real, max_bytes)
    after = os.lstat(real)
    stamp = _stamp(after)
    unmoved = stamp.same_content(_stamp(before)) and stamp.same_content(_stamp(opened))
    if not (unmoved and len(content) == after.st_size and os.path.realpath(real) == real):
        return None
    digest = hashlib.sha256(content).hexdigest()
    return SourceFile(path=path, content=content, digest=digest, stamp=stamp, diagnostic=None)


def _read_bytes(real: str, max_bytes: int) -> tuple[bytes, os.stat_result]:
    """Return the content, cut after `max_bytes` + 1, and what was really opened; devices and pipes are not read."""
    with open(os.open(real, _OPEN_FLAGS), "rb") as file:  # noqa: PTH123 - only `os.open` takes these flags
        opened = os.fstat(file.fileno())
        return (file.read(max_bytes + 1) if stat.S_ISREG(opened.st_mode) else b""), opened


def _unless_dangling(base: str, path: str) -> SourceFile | None:
    """Tell a symlink to nothing, which is listed, from an absent file, which is not."""
    try:
        os.lstat(f"{base}/{path}")
    except OSError:
        return None
    return _refusal(path, "PIM702", "the symlink leads to nothing", hint="create its target, or remove the symlink")


def _not_regular(path: str, status: os.stat_result) -> SourceFile:
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
    return _refusal(path, "PIM701", f"this is {kind}, not a regular file", stamp=_stamp(status))


def _too_large(path: str, status: os.stat_result, max_bytes: int) -> SourceFile:
    message = f"the file has {status.st_size} bytes, more than the {max_bytes} that a model may have"
    return _refusal(path, "PIM703", message, hint="split the model into several files", stamp=_stamp(status))


def _refusal(path: str, code: str, message: str, *, hint: str | None = None, stamp: Stamp | None = None) -> SourceFile:
    diagnostic = Diagnostic(
        code=code, severity=Severity.ERROR, file=display_name(path), line=1, column=1, message=message, hint=hint
    )
    return SourceFile(path=path, content=None, digest="", stamp=stamp, diagnostic=diagnostic)


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
    )


def _is_inside(base: str, real: str) -> bool:
    return real.startswith(base if base.endswith("/") else base + "/")


def _is_utf8(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _lies_beneath(path: str, folders: AbstractSet[str]) -> bool:
    return bool(folders) and any(parent in folders for parent in _parents(path))


def _parents(path: str) -> Iterator[str]:
    end = path.rfind("/")
    while end > 0:
        yield path[:end]
        end = path.rfind("/", 0, end)
