"""What workers say of themselves, put together: also where one says nothing, or is not there."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

from watcherd.followers import WorkerSeen
from watcherd.workers.channel import ChannelClosedError, Fields
from watcherd.workers.member import Member, Wanted
from watcherd.workers.survey import added_up, ask_all, surveyed

HELD = ["shop", 2, "GET", "/api/shop/items", 1.5]


def answer(**said: Any) -> Fields:
    return {
        "in_flight": {"shop": 1},
        "held": [HELD],
        "host": 1,
        "streams": 2,
        "usage": [1, 4, 2, 8, 3],
        "cpu": 0.5,
        "memory": 100,
        **said,
    }


def worker(number: int, *, serves: int | None = None, says: Fields | None = None, began: bool = True) -> Member:
    """A worker as its parent knows it, without a process; one that `says` nothing has gone meanwhile."""

    async def survey(_seconds: float) -> Fields:
        if says is None:
            raise ChannelClosedError("gone")
        return says

    at = None if serves is None else Wanted(1, serves, {}, {}, frozenset(), 0)
    process = SimpleNamespace(pid=1000 + number)
    return cast("Member", SimpleNamespace(number=number, process=process, at=at, began=began, survey=survey))


async def test_all_that_have_begun_are_asked_and_who_does_not_answer_is_told_apart() -> None:
    members = [worker(1, says=answer()), worker(2), worker(3, began=False, says=answer())]
    assert [(member.number, said is not None) for member, said in await ask_all(members)] == [(1, True), (2, False)]


def test_sums_are_of_those_that_have_answered_with_what_retired_revisions_hold() -> None:
    answers = [(worker(1), answer()), (worker(2), None), (worker(3), answer(in_flight={}, held=[], memory=50))]
    figures = added_up(answers, workers=2, restarts=4)
    assert figures.in_flight == {"shop": 2}
    assert (figures.host, figures.streams, figures.workers, figures.restarts) == (2, 4, 2, 4)
    assert (figures.waiting, figures.waiting_max, figures.used, figures.connections) == (2, 8, 4, 16)
    assert figures.writer_failures == 6
    assert (figures.cpu, figures.memory) == ({"1": 0.5, "3": 0.5}, {"1": 100, "3": 50})


def test_each_worker_has_a_line_whether_it_serves_begins_hangs_or_is_gone() -> None:
    answers = [(worker(1, serves=7), answer()), (worker(2), answer(in_flight={}, held=[])), (worker(3, serves=6), None)]
    seen = surveyed(answers, 4, Counter({3: 2, 4: 1}))
    assert seen.workers == (
        WorkerSeen(1, 1001, "live", 7, 2, 0),
        WorkerSeen(2, 1002, "starting", None, 0, 0),
        WorkerSeen(3, 1003, "late", 6, 0, 2),
        WorkerSeen(4, None, "gone", None, 0, 1),
    )
    assert seen.in_flight == {"shop": 1}
    [holder] = seen.held["shop", 2]
    assert (holder.worker, holder.method, holder.path, holder.age) == (1, "GET", "/api/shop/items", 1.5)
