"""Service methods that run: what their code is given, how long it may take, how it is loaded and let go.

`handlers` loads the Python files beside models, a copy for each revision; `context` is what a
handler is given; `running` calls it within its bounds, in one transaction. `flows` goes through the
`steps` of flows, each flow in `runs` of its own; `calls` is how methods call each other. Does not own
what a request may say (compile), rows (store) nor which files belong to a model (pim).
"""

from watcherd.services.access import EntityAccess, Found, Plain
from watcherd.services.calls import Calls, Target, plain_values
from watcherd.services.context import AsyncContext, Context, Core, Identity, Refusal
from watcherd.services.flows import CompiledFlow, compile_flow
from watcherd.services.handlers import NO_HANDLERS, HandlerError, Handlers, load_handlers
from watcherd.services.running import Allowance, Code, Invocation, Outcome, Task, handler, run_code
from watcherd.services.runs import Run as FlowRun
from watcherd.services.runs import on_cursor
from watcherd.services.threads import HandlerFailedError, in_thread

__all__ = [
    "NO_HANDLERS",
    "Allowance",
    "AsyncContext",
    "Calls",
    "Code",
    "CompiledFlow",
    "Context",
    "Core",
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
    "Target",
    "Task",
    "compile_flow",
    "handler",
    "in_thread",
    "load_handlers",
    "on_cursor",
    "plain_values",
    "run_code",
]
