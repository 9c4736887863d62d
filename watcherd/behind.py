"""What stands behind a model's methods, brought in during a reload: its handlers, loaded within a time.

Owns the deadline of loading, and the words about handlers that may
not run. Does not own the loading itself (services) nor when it happens (build).
"""

from __future__ import annotations

import asyncio
from typing import Final

from watcherd.errors import WatcherdError
from watcherd.pim import CODES, CodeFault, Parsed, handlers
from watcherd.pim.diagnostics import Diagnostic, Position
from watcherd.pim.linked import LinkedModel
from watcherd.services import NO_HANDLERS, HandlerError, HandlerFailedError, Handlers, in_thread, load_handlers

LOAD_SECONDS: Final = 10.0
"""How long the files of a model's handlers may take to be loaded."""


class CodeRefusedError(WatcherdError):
    """The handlers of a model cannot be loaded; `fault` says why and where."""

    def __init__(self, fault: CodeFault) -> None:
        super().__init__(fault.message)
        self.fault = fault


async def loaded(linked: LinkedModel) -> Handlers:
    """A copy of a model's handlers of its own; CodeRefusedError.

    In a thread: what their files do when they are loaded is their affair. A copy that comes too late
    is let go by whoever has it last.
    """
    if not linked.code.files:
        return NO_HANDLERS
    wanted = tuple(dict.fromkeys(handlers(linked.spec)))
    loading = in_thread(lambda: load_handlers(linked.spec.name, linked.code, wanted), "watcherd-load")
    try:
        async with asyncio.timeout(LOAD_SECONDS):
            return await loading
    except TimeoutError as error:
        message = f"the handlers were not loaded within {LOAD_SECONDS:g} seconds"
        hint = "what a file does at its top level runs at every reload: let it define, and do nothing"
        raise CodeRefusedError(CodeFault("PIM424", None, Position(), message, hint, wanted[0])) from error
    except HandlerFailedError as error:
        raise CodeRefusedError(CodeFault("PIM424", None, Position(), str(error), None, wanted[0])) from error
    except HandlerError as error:
        raise CodeRefusedError(_fault(error)) from error


def _fault(error: HandlerError) -> CodeFault:
    if error.missing:
        return CodeFault("PIM423", None, Position(), str(error), None, error.handler)
    assert error.file is not None  # noqa: S101 - it is known of what was loaded
    message = str(error).removeprefix(f"{error.file}: ")
    return CodeFault("PIM424", error.file, Position(error.line, 1), message, None, error.handler)


def not_allowed(linked: LinkedModel, parsed: Parsed | None) -> tuple[Diagnostic, ...]:
    """A warning at each handler of a model, where none may run."""
    if parsed is None:
        return ()
    found = []
    for service in linked.spec.services.values():
        for method in service.methods:
            if method.handler is not None:
                at = parsed.locate("services", service.name, "methods", method.name, "handler")
                message = f"{method.handler} does not run: the method answers 501"
                hint = "where you trust the code beside your models, set WATCHERD_ALLOW_HANDLERS=true"
                severity = CODES["PIM425"].severity
                found.append(Diagnostic("PIM425", severity, parsed.file, at.line, at.column, message, hint))
    return tuple(found)
