"""Service methods that run: what their code is given, how long it may take, how it is loaded and let go.

`handlers` loads the Python files beside models, a copy for each revision; `context` is what a
handler is given; `running` calls it within its bounds, in one transaction. `flows` does the steps of
flows. Does not own what a
request may say (compile), rows (store) nor which files belong to a model (pim).
"""

from watcherd.services.access import EntityAccess, Found, Plain
from watcherd.services.context import AsyncContext, Context, Identity, Refusal
from watcherd.services.flows import Callee, CompiledFlow, compile_flow
from watcherd.services.flows import Run as FlowRun
from watcherd.services.handlers import NO_HANDLERS, HandlerError, Handlers, load_handlers
from watcherd.services.running import Allowance, Invocation, Outcome, Task, run_handler
from watcherd.services.threads import HandlerFailedError, in_thread

__all__ = [
    "NO_HANDLERS",
    "Allowance",
    "AsyncContext",
    "Callee",
    "CompiledFlow",
    "Context",
    "EntityAccess",
    "FlowRun",
    "Found",
    "HandlerError",
    "HandlerFailedError",
    "Handlers",
    "Identity",
    "Invocation",
    "Outcome",
    "Plain",
    "Refusal",
    "Task",
    "compile_flow",
    "in_thread",
    "load_handlers",
    "run_handler",
]
