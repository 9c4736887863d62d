"""What an operation writes: decided when its body is read, done in a transaction, answered from there.

A `Work` runs in the writer's thread, alone or together with others: that of a batch with its
neighbours, that of a request with an idempotency key with the record of its answer. So it knows
nothing of requests, and what it raises takes back everything that was written with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from watcherd.store import Cursor
from watcherd.wire import Answer, Call

Work = Callable[[Cursor], Answer]
"""Writes, and answers what its client is told. Raises `Problem` and `ConstraintError`."""

Keep = Callable[[Cursor, Answer], None]
"""Writes the record of an answer, in the transaction that the answer is about."""


@dataclass(frozen=True, slots=True)
class Performance:
    """What takes more than one step in its transaction, and may wait in between: the code behind a method.

    `perform` does it and answers once all is committed, with the record of the answer where one is to be kept.
    """

    perform: Callable[[Keep | None], Awaitable[Answer]]


Prepare = Callable[[Call], Awaitable[Work | Performance]]
"""Reads a request. Raises `Problem` for what needs no transaction to be refused."""

Admit = Callable[[Call], object]
"""Raises `Problem` for a request that its client may not send, before anything of its body is read."""
