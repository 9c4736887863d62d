"""What workers say of themselves, put together: sums for the metrics, a line each for the admin API.

Owns asking all of them within a time, and leaving out who does not answer. What a worker counts is its
own to say.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Final

from watcherd.followers import Figures, Holder, Survey, WorkerSeen
from watcherd.store import Usage
from watcherd.workers.channel import CallFailedError, ChannelClosedError, Fields
from watcherd.workers.member import Member

SURVEY_SECONDS: Final = 2.0
"""Whoever has not answered by then is left out of a sum."""

Answers = list[tuple[Member, Fields | None]]
"""Each worker with what it says; None: nothing within the time."""


async def ask_all(members: Iterable[Member]) -> Answers:
    """Ask all that have begun."""
    asked = [member for member in members if member.began]
    answers = await asyncio.gather(*(_ask(member) for member in asked))
    return list(zip(asked, answers, strict=True))


async def _ask(member: Member) -> Fields | None:
    try:
        return await member.survey(SURVEY_SECONDS)
    except (CallFailedError, ChannelClosedError, TimeoutError):
        return None


def added_up(answers: Answers, *, workers: int, restarts: int) -> Figures:
    """What all have in hand; `workers` are those that serve."""
    asked = [(member.number, answer) for member, answer in answers if answer is not None]
    given = [answer for _, answer in asked]
    in_flight: Counter[str] = Counter()
    for answer in given:
        in_flight.update(answer["in_flight"])
        in_flight.update(model for model, *_ in answer["held"])
    usages = [Usage(*answer["usage"]) for answer in given]
    return Figures(
        in_flight=in_flight,
        host=sum(answer["host"] for answer in given),
        streams=sum(answer["streams"] for answer in given),
        waiting=sum(usage.waiting for usage in usages),
        waiting_max=sum(usage.waiting_max for usage in usages),
        used=sum(usage.used for usage in usages),
        connections=sum(usage.connections for usage in usages),
        writer_failures=sum(usage.failures for usage in usages),
        workers=workers,
        restarts=restarts,
        cpu={str(number): answer["cpu"] for number, answer in asked},
        memory={str(number): answer["memory"] for number, answer in asked},
    )


def surveyed(answers: Answers, workers: int, restarts: Counter[int]) -> Survey:
    """What is in flight, and how each of so many workers is; `restarts` by number."""
    seen = {}
    in_flight: Counter[str] = Counter()
    held: dict[tuple[str, int], list[Holder]] = defaultdict(list)
    for member, answer in answers:
        seen[member.number] = _seen(member, answer, restarts[member.number])
        if answer is not None:
            in_flight.update(answer["in_flight"])
            for model, revision, method, path, age in answer["held"]:
                held[model, revision].append(Holder(member.number, method, path, age))
    seats = [
        seen.get(number) or WorkerSeen(number, None, "gone", None, 0, restarts[number])
        for number in range(1, workers + 1)
    ]
    return Survey(tuple(seats), in_flight, {key: tuple(found) for key, found in held.items()})


def _seen(member: Member, answer: Fields | None, restarts: int) -> WorkerSeen:
    state = "late" if answer is None else "starting" if member.at is None else "live"
    generation = None if member.at is None else member.at.generation
    in_flight = 0 if answer is None else sum(answer["in_flight"].values()) + len(answer["held"])
    return WorkerSeen(member.number, member.process.pid, state, generation, in_flight, restarts)
