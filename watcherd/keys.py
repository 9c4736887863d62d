"""API keys: who may read or write which models, where the daemon asks for it.

Owns the form of a key and of a line of the key file, the comparison, and what a key may do. A key
is 256 random bits, so that a plain hash of it is as good as a slow one and costs a request two
microseconds; the file holds hashes alone. Does not own the admin token (admin).

A line is `NAME sha256:HEX read=GLOBS write=GLOBS`: globs of model names with `*` and `?`, joined by
commas. Who may write may read. Blank lines and what follows a `#` are left out.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from watcherd import problems
from watcherd.errors import SettingsError
from watcherd.pim.spec import fold
from watcherd.problems import Problem
from watcherd.wire import Headers

PREFIX = "wk_"
"""What every key begins with, so that people and scanners of repositories know one when they see it."""

READING = frozenset({"GET", "HEAD", "OPTIONS"})

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_GLOB = re.compile(r"[\w*?-]+")


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its name for people, the hash of its text, and the models that it opens."""

    name: str
    digest: bytes
    read: re.Pattern[str]
    write: re.Pattern[str]

    def may(self, model: str, *, write: bool) -> bool:
        """Whether it opens a (folded) model."""
        if self.write.fullmatch(model):
            return True
        return not write and self.read.fullmatch(model) is not None


class Keys:
    """The keys in force; `load` replaces them all at once, or not at all."""

    def __init__(self, file: Path | None, text: str | None) -> None:
        """Keys from a file and from text. Raises SettingsError."""
        self._file = file
        self._text = text
        self._keys: tuple[Key, ...] = ()
        self.load()

    def load(self) -> None:
        """Read the file again. Raises SettingsError, and then the keys are what they were."""
        lines: list[tuple[str, str]] = []
        if self._file is not None:
            try:
                content = self._file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"cannot read the API keys in {self._file}: {error}") from error
            lines += [(f"line {number} of {self._file}", line) for number, line in enumerate(content.splitlines(), 1)]
        if self._text is not None:
            entries = re.split(r"[\n;]", self._text)
            lines += [(f"entry {number} of api_keys", entry) for number, entry in enumerate(entries, 1)]
        self._keys = tuple(_distinct(_parsed(lines)))

    def name(self, headers: Headers) -> str | None:
        """The name of the key that is sent; None for one that is not known."""
        found = self._sent(headers)
        return None if found is None else found.name

    def may_read(self, headers: Headers, model: str) -> bool:
        """Whether the key that is sent opens a model."""
        found = self._sent(headers)
        return found is not None and found.may(fold(model), write=False)

    def refusal(self, headers: Headers, method: str, model: str) -> Problem | None:
        """Why a request may not reach a model: 401 without a key that is known, 403 with one that may not."""
        given = _given(headers)
        if given is None:
            return _unauthorized("send an API key as `Authorization: Bearer ...` or `X-API-Key: ...`")
        found = self._find(given)
        if found is None:
            return _unauthorized("the API key is not known")
        write = method not in READING
        if not found.may(fold(model), write=write):
            return Problem(
                problems.NOT_PERMITTED, f"the API key {found.name} may not {'write' if write else 'read'} {model}"
            )
        return None

    def _sent(self, headers: Headers) -> Key | None:
        """The key that is sent; None without one that is known."""
        given = _given(headers)
        return None if given is None else self._find(given)

    def _find(self, given: bytes) -> Key | None:
        digest = hashlib.sha256(given).digest()
        found: Key | None = None
        for key in self._keys:  # all of them, whichever it is: the time tells nothing
            if hmac.compare_digest(digest, key.digest):
                found = key
        return found


def make_key(name: str, read: Iterable[str], write: Iterable[str]) -> tuple[str, str]:
    """A new key and the line for the file. Raises SettingsError where the line would not be read."""
    key = PREFIX + secrets.token_urlsafe(32)
    parts = [name, f"sha256:{hashlib.sha256(key.encode('ascii')).hexdigest()}"]
    parts += [f"{verb}={','.join(globs)}" for verb, globs in (("read", tuple(read)), ("write", tuple(write))) if globs]
    line = " ".join(parts)
    _parse(line, "the new key")
    return key, line


def _parsed(lines: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Key]]:
    for where, line in lines:
        content = line.partition("#")[0].strip()
        if content:
            yield where, _parse(content, where)


def _distinct(found: Iterable[tuple[str, Key]]) -> Iterator[Key]:
    names: set[str] = set()
    digests: set[bytes] = set()
    for where, key in found:
        if key.name in names or key.digest in digests:
            raise SettingsError(f"cannot use {where}: the API key {key.name} is there twice")
        names.add(key.name)
        digests.add(key.digest)
        yield key


def _parse(line: str, where: str) -> Key:
    """One line. What is wrong is said without showing it: it may be a key that was pasted in place of its hash."""
    name, *rest = line.split()
    if not _NAME.fullmatch(name) or name.startswith(PREFIX) or not rest:
        raise SettingsError(f"cannot use {where}: expected NAME sha256:HEX read=GLOBS write=GLOBS")
    hashed = _HASH.fullmatch(rest[0])
    if hashed is None:
        raise SettingsError(f"cannot use {where}: the second word has to be sha256: and 64 hexadecimal digits")
    globs: dict[str, list[str]] = {}
    for part in rest[1:]:
        verb, equals, names = part.partition("=")
        if verb not in {"read", "write"} or not equals or verb in globs:
            raise SettingsError(f"cannot use {where}: after the hash there is read=... and write=..., each once")
        globs[verb] = names.split(",")
    if not globs or not all(_GLOB.fullmatch(glob) for names in globs.values() for glob in names):
        raise SettingsError(f"cannot use {where}: models are names with * and ?, joined by commas")
    return Key(name, bytes.fromhex(hashed[1]), _pattern(globs.get("read", [])), _pattern(globs.get("write", [])))


def _pattern(globs: Iterable[str]) -> re.Pattern[str]:
    """What the globs match, as one pattern over folded names; of none: nothing."""
    wild = {"*": ".*", "?": "."}
    choices = ["".join(wild.get(char) or re.escape(char) for char in fold(glob)) for glob in globs]
    return re.compile("|".join(choices) if choices else r"(?!)")


def _given(headers: Headers) -> bytes | None:
    for name, value in headers:
        if name == b"x-api-key":
            return value.strip()
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            if scheme.lower() == b"bearer":
                return token.strip()
    return None


def _unauthorized(detail: str) -> Problem:
    return Problem(problems.UNAUTHORIZED, detail, headers={"www-authenticate": 'Bearer realm="watcherd"'})
