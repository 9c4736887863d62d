"""The Python files beside models: which of them a model's handlers need, and what is wrong with them.

Pure, as all of `pim`: sources are read as text, nothing of them runs here. A handler's file brings
the files that it imports by relative imports, at any depth of its code, and those theirs; any
other import is of what is installed. That a function exists is looked for among what a file binds
at its top level; whoever loads it has the last word.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from watcherd.pim.codes import CODES
from watcherd.pim.diagnostics import Diagnostic, Position
from watcherd.pim.findings import quote
from watcherd.pim.linked import NO_CODE, Code
from watcherd.pim.spec import HandlerRef, ModelSpec

if TYPE_CHECKING:
    from watcherd.pim.parsing import Parsed

MAX_FILES = 200
"""Files that the handlers of one model may need."""


@dataclass(frozen=True, slots=True)
class CodeFault:
    """What is wrong with a file of code, at a line of it; `file` None: it is a handler's own `file` that is missing."""

    code: str
    file: str | None
    position: Position
    message: str
    hint: str | None = None
    handler: HandlerRef | None = None


@dataclass(frozen=True, slots=True)
class _Import:
    """`from ..shared import rates`: level 2, module `shared`, name `rates`."""

    level: int
    module: str
    name: str
    position: Position


@dataclass(frozen=True, slots=True)
class _Looked:
    """What one source says: its relative imports, what it binds, or where it is no Python."""

    imports: tuple[_Import, ...] = ()
    binds: frozenset[str] = frozenset()
    open_ended: bool = False
    fault: tuple[Position, str] | None = None

    def may_bind(self, name: str) -> bool:
        """Whether there may be something of this name; where it cannot be seen, there may."""
        return self.fault is not None or self.open_ended or name in self.binds


_REMEMBERED: Final = 256
_LATELY: dict[bytes, _Looked] = {}


def handlers(spec: ModelSpec) -> Iterator[HandlerRef]:
    """Every handler that a model names."""
    for service in spec.services.values():
        for method in service.methods:
            if method.handler is not None:
                yield method.handler


def gather(spec: ModelSpec, folder: str, sources: Mapping[str, bytes]) -> Code | tuple[CodeFault, ...]:
    """The sources that the handlers of a model need; or everything that is wrong with them.

    `folder` is where the model's file is, relative to the models directory, empty for that itself;
    `sources` are all files of code there are, by path.
    """
    gathering = _Gathering(sources)
    for ref in handlers(spec):
        path = Code(folder).path(ref)
        gathering.want(path, CodeFault("PIM421", None, Position(), f"there is no file {quote(path)}", handler=ref))
        looked = look(sources.get(path, b""))
        if path in sources and not looked.may_bind(ref.function):
            message = f"{quote(path)} has no function {quote(ref.function)}"
            gathering.faults.append(CodeFault("PIM423", None, Position(), message, handler=ref))
    gathering.follow()
    if gathering.faults:
        unique = dict.fromkeys(gathering.faults)
        return tuple(sorted(unique, key=lambda one: (one.file or "", one.position.line, one.message)))
    return Code(folder, MappingProxyType(gathering.found)) if gathering.found else NO_CODE


class _Gathering:
    """The closure of what files need: each with the fault that it is if there is no such file."""

    def __init__(self, sources: Mapping[str, bytes]) -> None:
        self.found: dict[str, bytes] = {}
        self.faults: list[CodeFault] = []
        self._sources = sources
        self._wanted: dict[str, CodeFault] = {}

    def want(self, path: str, missing: CodeFault) -> None:
        """Note that a file is needed."""
        if path not in self.found:
            self._wanted.setdefault(path, missing)

    def follow(self) -> None:
        """Take in what is needed, and what that needs."""
        while self._wanted:
            path, missing = self._wanted.popitem()
            if path not in self._sources:
                self.faults.append(missing)
            elif len(self.found) >= MAX_FILES:
                self.faults.append(CodeFault("PIM421", path, Position(), f"the handlers need over {MAX_FILES} files"))
                return
            else:
                self._take(path)

    def _take(self, path: str) -> None:
        self.found[path] = self._sources[path]
        for package in _packages(path):
            if package in self._sources:
                self.want(package, CodeFault("PIM421", path, Position(), f"there is no {package}"))
        looked = look(self._sources[path])
        if looked.fault is not None:
            position, message = looked.fault
            self.faults.append(CodeFault("PIM422", path, position, message))
        for one in looked.imports:
            needed = _needed(path, one, self._sources)
            if isinstance(needed, CodeFault):
                self.faults.append(needed)
                continue
            for file in needed:
                self.want(file, CodeFault("PIM421", path, one.position, f"there is no {file}"))


def code_diagnostics(parsed: Parsed, faults: Iterable[CodeFault]) -> tuple[Diagnostic, ...]:
    """Faults as findings: at the line of the code, or at the `handler` that names what is missing."""
    found = []
    for fault in faults:
        inside = fault.file is not None
        places = [fault.position] if inside else _places(parsed, fault.handler)
        message = f"{fault.file}: {fault.message}" if inside else fault.message
        for at in places:
            severity, file = CODES[fault.code].severity, fault.file or parsed.file
            found.append(Diagnostic(fault.code, severity, file, at.line, at.column, message, fault.hint))
    return tuple(found)


def _packages(path: str) -> Iterator[str]:
    """The files that Python runs before a module: those of the packages that it is in, whether or not they exist."""
    folders = path.split("/")[:-1]
    for depth in range(len(folders) + 1):
        yield "/".join([*folders[:depth], "__init__.py"])


def _places(parsed: Parsed, handler: HandlerRef | None) -> Iterator[Position]:
    """Where a model names a handler; each method that does."""
    spec = parsed.spec
    for service in spec.services.values() if spec is not None else ():
        for method in service.methods:
            if handler is None or method.handler == handler:
                yield parsed.locate("services", service.name, "methods", method.name, "handler")


def look(source: bytes) -> _Looked:
    """Read one source; what was said of the same bytes lately is remembered, they themselves are not."""
    digest = sha256(source).digest()
    known = _LATELY.pop(digest, None)
    looked = _look(source) if known is None else known
    _LATELY[digest] = looked
    while len(_LATELY) > _REMEMBERED:
        del _LATELY[next(iter(_LATELY))]
    return looked


def _look(source: bytes) -> _Looked:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape in a string is the author's business
            tree = ast.parse(source)
    except SyntaxError as error:
        return _Looked(fault=(Position(error.lineno or 1, error.offset or 1), f"this is not valid Python: {error.msg}"))
    except (ValueError, RecursionError, MemoryError) as error:
        return _Looked(fault=(Position(), f"this is not valid Python: {error}"))
    imports = [
        _Import(node.level, node.module or "", alias.name, Position(node.lineno, node.col_offset + 1))
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    ]
    binds: set[str] = set()
    open_ended = _bind(tree.body, binds)
    return _Looked(tuple(imports), frozenset(binds), open_ended)


def _bind(body: list[ast.stmt], binds: set[str]) -> bool:
    """Gather what statements bind at the top level; True when they may bind more than can be seen."""
    open_ended = False
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            binds.add(node.name)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            binds.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
            open_ended |= any(alias.name == "*" for alias in node.names)
            continue
        binds.update(
            name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
        )
        for name in ("body", "orelse", "finalbody"):
            open_ended |= _bind(getattr(node, name, []), binds)
        for handler in getattr(node, "handlers", []):
            open_ended |= _bind(handler.body, binds)
        open_ended |= any(isinstance(one, ast.Call) and _is_globals(one) for one in ast.walk(node))
    return open_ended


def _is_globals(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id in {"globals", "setattr", "exec"}


def _needed(path: str, one: _Import, sources: Mapping[str, bytes]) -> tuple[str, ...] | CodeFault:
    """The files that a relative import brings: a module, or a package with perhaps a module of it."""
    folders = path.split("/")[:-1]
    up = one.level - 1
    if up > len(folders):
        return CodeFault("PIM421", path, one.position, "this relative import leads out of the models directory")
    target = "/".join([*folders[: len(folders) - up], *(one.module.split(".") if one.module else [])])
    if one.module and f"{target}.py" in sources:
        return (f"{target}.py",)
    below = f"{target}/{one.name}" if target else one.name
    package = f"{target}/__init__.py" if target else "__init__.py"
    found = [file for file in (package, f"{below}.py", f"{below}/__init__.py") if file in sources]
    if found or any(file.startswith(f"{below}/") for file in sources):
        return tuple(found)
    written = f"from {'.' * one.level}{one.module} import {one.name}"
    tried = f"{target}.py" if one.module else f"{below}.py"
    return CodeFault("PIM421", path, one.position, f"`{written}`: there is no file {quote(tried)}")
