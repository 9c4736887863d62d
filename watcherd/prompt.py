"""Requests that are answered at once: while their head is read, with no task, no messages and no waiting.

Most requests read a row by its key or a short page, which takes SQLite microseconds; the way through
a task, its wake-up and the messages of ASGI would cost several times as much. Owns what such an
answer has in common with all others: the system headers, and the note of its end. Does not own which
requests may be answered so (connection), which revision does it (gateway), nor what cannot be told at
once: whatever is refused takes the usual way, and is refused there.

Nothing else runs between the look at the route table and the last byte that is handed to the
transport. So such a request sees one revision without being counted in: nobody could see the count.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from watcherd.errors import StoreError
from watcherd.exchange import Notes, identify, system_lines
from watcherd.problems import Problem
from watcherd.revision import Revision
from watcherd.wire import Answer, Call, Message, Neighbour, Scope


class Reply(NamedTuple):
    """A complete answer, and further header lines as they stand on the wire, each with its end."""

    answer: Answer
    lines: bytes


async def nothing() -> Message:
    """The body of a request that has none."""
    return {"type": "http.request", "body": b"", "more_body": False}


def answer_at_once(  # noqa: PLR0913 - what a request meets, as in the gateway
    scope: Scope,
    revision: Revision,
    generation: int,
    neighbour: Neighbour,
    *,
    base: str,
    segments: list[str],
    notes: Notes,
    shared: bytes,
) -> Reply | None:
    """The answer of a revision to a GET; None where it has to take the usual way. Must not be awaited on the way.

    `shared` are further header lines.
    """
    started = time.monotonic()
    sender = identify(scope)
    call = Call(
        scope,
        nothing,
        base=base,
        segments=segments,
        request_id=sender.request_id,
        max_body_bytes=0,
        neighbour=neighbour,
    )
    try:
        answer = revision.at_once(call)
    except (Problem, StoreError):
        return None  # the usual way finds the same, and tells of it
    if answer is None:
        return None
    notes.ended(
        domain=revision.domain,
        method="GET",
        template=call.template,
        path=base + call.template,
        status=answer.status,
        seconds=time.monotonic() - started,
        size=len(answer.body),
        request_id=sender.request_id,
        model=revision.domain,
        revision=revision.number,
        generation=generation,
        **sender.trace,
    )
    return Reply(answer, system_lines(sender.request_id, generation, revision, shared))
