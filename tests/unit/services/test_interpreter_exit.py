"""Loaded handlers at the end of the interpreter, when the names of modules are gone before the objects."""

from __future__ import annotations

import subprocess
import sys

_ENDS = """
from watcherd.services import handlers

kept = [handlers.NO_HANDLERS, handlers.Handlers("watcherd_handlers_shop_1", {})]
handlers.MappingProxyType = handlers._unload = None  # as the interpreter does at its end, in an order of its own
"""


def test_an_end_of_the_interpreter_with_handlers_loaded_prints_nothing() -> None:
    ended = subprocess.run([sys.executable, "-c", _ENDS], capture_output=True, text=True, check=True, timeout=120)
    assert ended.stderr == ""
