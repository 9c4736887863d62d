"""The drift alarm tells what is new, once, and never stands in the way of what it watches over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

import pytest

from watcherd import events
from watcherd.drift import DriftAlarm
from watcherd.errors import StoreError
from watcherd.store import Difference, Store
from watcherd.watch import ChangeSet

Drift = Mapping[str, tuple[Difference, ...]]


def missing(*names: str) -> tuple[Difference, ...]:
    return tuple(Difference("t", "column", name, "TEXT", None) for name in names)


class Look:
    """A store of which only the comparison is there: it answers or raises what it is given, in turn."""

    def __init__(self, *answers: Drift | Exception) -> None:
        self.answers = list(answers)

    async def drift(self) -> Drift:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def alarm(look: object) -> tuple[DriftAlarm, list[events.Event]]:
    told: list[events.Event] = []
    return DriftAlarm(cast("Store", look), told.append), told


def full(reason: str) -> ChangeSet:
    return ChangeSet(paths=frozenset(), full=True, reason=reason)


@pytest.mark.parametrize("reason", ["start", "request", "signal"])
async def test_a_full_reload_that_somebody_asked_for_is_an_occasion_to_look(reason: str) -> None:
    watching, told = alarm(Look({"a": missing("x")}))
    await watching.heed(full(reason))
    assert told == [events.SchemaDrifted("a", ("the column x of t is missing",))]


@pytest.mark.parametrize("reason", ["restart", "reconcile", "event"])
async def test_what_the_daemon_reads_again_by_itself_is_no_occasion(reason: str) -> None:
    watching, told = alarm(Look())
    await watching.heed(full(reason))
    assert told == []


async def test_an_order_about_one_model_is_no_occasion() -> None:
    watching, told = alarm(Look())
    await watching.heed(ChangeSet(paths=frozenset(), full=False, reason="request"))
    assert told == []


async def test_what_was_told_is_told_again_when_it_has_changed_and_when_it_is_over() -> None:
    watching, told = alarm(Look({"a": missing("x")}, {"a": missing("x")}, {"a": missing("x", "y")}, {}))
    for _ in range(4):
        await watching.heed(full("request"))
    assert told == [
        events.SchemaDrifted("a", ("the column x of t is missing",)),
        events.SchemaDrifted("a", ("the column x of t is missing", "the column y of t is missing")),
        events.SchemaRestored("a"),
    ]
    assert watching.reasons == ()


async def test_a_line_of_the_log_is_bounded_and_says_how_much_it_leaves_out() -> None:
    names = [f"c{number}" for number in range(13)]
    watching, told = alarm(Look({"a": missing(*names)}))
    await watching.heed(full("start"))
    (event,) = told
    assert isinstance(event, events.SchemaDrifted)
    assert (len(event.differences), event.more, len(watching.of("a"))) == (10, 3, 13)


async def test_the_reason_names_some_models_and_counts_the_others() -> None:
    watching, _ = alarm(Look({f"m{number}": missing("x") for number in range(7)}))
    await watching.heed(full("start"))
    (reason,) = watching.reasons
    assert reason.startswith("somebody else has changed the tables of m0, m1, m2, m3, m4 and 2 more: see ")
    assert reason.endswith("GET /admin/pim/m0")


async def test_a_model_is_found_under_its_folded_name() -> None:
    watching, _ = alarm(Look({"user-management": missing("x")}))
    await watching.heed(full("start"))
    assert watching.of("user_management") == missing("x")
    assert watching.of("other") == ()


@pytest.mark.parametrize("error", [StoreError("no database"), KeyError("a bug of ours")])
async def test_a_look_that_fails_is_told_and_what_was_known_stays(error: Exception) -> None:
    watching, told = alarm(Look({"a": missing("x")}, error))
    await watching.heed(full("start"))
    await watching.heed(full("request"))
    assert told[1:] == [events.DriftUnknown(str(error))]
    assert watching.of("a") == missing("x")


async def test_two_looks_follow_one_another() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Look):
        async def drift(self) -> Drift:
            answer = self.answers.pop(0)
            begun.set()
            await go_on.wait()
            assert not isinstance(answer, Exception)
            return answer

    look = Slow({"a": missing("x")}, {})
    watching, _ = alarm(look)
    first = asyncio.create_task(watching.heed(full("request")))
    await begun.wait()
    second = asyncio.create_task(watching.heed(full("request")))
    await asyncio.sleep(0)
    assert len(look.answers) == 1, "the second has not begun"
    go_on.set()
    await asyncio.gather(first, second)
    assert watching.reasons == ()
