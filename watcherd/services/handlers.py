"""The Python files of handlers, loaded: a copy for each revision, gone when the revision is.

Owns the import of them: each copy is a package of its own, under a name that is never used again,
whose modules are compiled from the sources that the revision was made of. Nothing is read from
disk and no byte code is kept, so that what runs is what was saved. Relative imports stay within
the copy, so an old revision and a new one never share a module.

Loading runs the top level of the files: code that the operator trusts, in the daemon's own process.
"""

from __future__ import annotations

import importlib
import itertools
import linecache
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import decode_source
from types import CodeType, MappingProxyType, ModuleType, TracebackType
from typing import Any, Final

from watcherd.errors import WatcherdError, words_of
from watcherd.garbage import left_behind
from watcherd.pim.linked import Code
from watcherd.pim.spec import HandlerRef

PREFIX: Final = "watcherd_handlers_"
"""What the name of every copy's package begins with."""

_numbers = itertools.count(1)


class HandlerError(WatcherdError):
    """A file of handlers cannot be loaded, or lacks a function.

    `file` and `line` say where; `file` None: in the model's file, where `handler` is named.
    """

    def __init__(
        self, message: str, *, handler: HandlerRef, file: str | None = None, line: int = 1, missing: bool = False
    ) -> None:
        super().__init__(message)
        self.handler = handler
        self.file = file
        self.line = line
        self.missing = missing


class Handlers:
    """One loaded copy: its functions by handler. Its modules go with it, or before that by `unload`."""

    def __init__(self, package: str, functions: Mapping[HandlerRef, Callable[..., Any]]) -> None:
        self.package = package
        self.functions = functions
        self._gone: Callable[[], object] | None = None
        if package:
            # For a copy that came too late, or of a model that was refused after all. Not `__del__`,
            # which would also run at the end of the interpreter, when what it calls is gone.
            self._gone = gone = weakref.finalize(self, _unload, package)
            gone.atexit = False

    def unload(self) -> None:
        """Take the modules out of `sys.modules`: what nobody runs any more is freed."""
        self.functions = MappingProxyType({})
        if self._gone is not None:
            self._gone()


NO_HANDLERS: Final = Handlers("", MappingProxyType({}))


def load_handlers(model: str, code: Code, wanted: Iterable[HandlerRef]) -> Handlers:
    """Load a copy of `code` and find the functions in it. Raises `HandlerError`; then nothing is left of it.

    Runs the files: in a thread, since nobody knows for how long.
    """
    package = f"{PREFIX}{model}_{next(_numbers)}"
    _FINDER.add(package, code.files)
    functions: dict[HandlerRef, Callable[..., Any]] = {}
    try:
        for handler in wanted:
            functions[handler] = _function(package, code.path(handler), handler)
    except BaseException:
        _unload(package)
        raise
    return Handlers(package, MappingProxyType(functions))


def _function(package: str, path: str, handler: HandlerRef) -> Callable[..., Any]:
    name = ".".join([package, *path.removesuffix(".py").split("/")])
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        file, line = _place(error, package, path)
        raise HandlerError(f"{file}: {words_of(error)}", handler=handler, file=file, line=line) from error
    found = getattr(module, handler.function, None)
    if not callable(found):
        what = "has no function" if found is None else "has, but cannot call,"
        raise HandlerError(f"{path} {what} {handler.function}", handler=handler, missing=True)
    function: Callable[..., Any] = found
    return function


def _place(error: BaseException, package: str, path: str) -> tuple[str, int]:
    """Where in the copy an error came up: its file, and the line."""
    if isinstance(error, SyntaxError) and error.filename is not None and error.filename.startswith(f"{package}/"):
        return error.filename.removeprefix(f"{package}/"), error.lineno or 1
    found = path, 1
    at: TracebackType | None = error.__traceback__
    while at is not None:
        file = at.tb_frame.f_code.co_filename
        if file.startswith(f"{package}/"):
            found = file.removeprefix(f"{package}/"), at.tb_lineno
        at = at.tb_next
    return found


def _unload(package: str) -> None:
    files = _FINDER.remove(package)
    # A copy of the names first, made in one go: other threads import meanwhile.
    for name in [name for name in list(sys.modules) if name == package or name.startswith(f"{package}.")]:
        # Functions know the names beside them, themselves among these; and the loader is one of the names.
        loader = getattr(sys.modules.pop(name, None), "__loader__", None)
        if isinstance(loader, _Loader):
            left_behind(loader)
    for path in files:
        linecache.cache.pop(f"{package}/{path}", None)


class _Finder(MetaPathFinder):
    """Finds the modules of all copies, by the name of their package."""

    def __init__(self) -> None:
        self._copies: dict[str, Mapping[str, bytes]] = {}
        self._lock = threading.Lock()

    def add(self, package: str, files: Mapping[str, bytes]) -> None:
        with self._lock:
            self._copies[package] = files
            if self not in sys.meta_path:
                sys.meta_path.insert(0, self)

    def remove(self, package: str) -> Mapping[str, bytes]:
        return self._copies.pop(package, {})  # in one go, and without the lock: a collection may call this anywhere

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the signature is Python's
        target: ModuleType | None = None,  # noqa: ARG002 - as above
    ) -> ModuleSpec | None:
        """The module of this name, where it is one of a copy."""
        if not fullname.startswith(PREFIX):
            return None
        package, *parts = fullname.split(".")
        files = self._copies.get(package)
        if files is None:
            return None
        place = "/".join(parts)
        folder = f"{place}/" if parts else ""
        if f"{folder}__init__.py" in files:
            return _spec(fullname, package, f"{folder}__init__.py", files, is_package=True)
        if parts and f"{place}.py" in files:
            return _spec(fullname, package, f"{place}.py", files, is_package=False)
        if not parts or any(file.startswith(folder) for file in files):
            return _spec(fullname, package, None, files, is_package=True)
        return None


def _spec(fullname: str, package: str, file: str | None, files: Mapping[str, bytes], *, is_package: bool) -> ModuleSpec:
    source = b"" if file is None else files[file]
    loader = _Loader(f"{package}/{file or ''}", source, is_package=is_package)
    return ModuleSpec(fullname, loader, origin=loader.file, is_package=is_package)


class _Loader(InspectLoader):
    """Runs one module from its source."""

    def __init__(self, file: str, source: bytes, *, is_package: bool) -> None:
        self.file = file
        self._source = source
        self._is_package = is_package

    def is_package(self, fullname: str) -> bool:  # noqa: ARG002 - the signature is Python's
        return self._is_package

    def get_source(self, fullname: str) -> str:  # noqa: ARG002 - as above
        """For tracebacks: the lines that run, whatever the file says by now."""
        return decode_source(self._source)

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - as above
        return compile(self._source, self.file, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = self.file
        exec(self.get_code(module.__name__), module.__dict__)  # noqa: S102 - this is what handlers are


_FINDER: Final = _Finder()
