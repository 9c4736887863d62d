"""Collections look at few objects together, however much is made; what stays is kept for good in pieces."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import model_text, serving
from watcherd import garbage

SLACK = 1000
"""Objects that the test itself and the machinery around it make between two looks."""


class Thing:
    """Refers to itself, or not."""

    def __init__(self, *, cyclic: bool = False) -> None:
        self.me = self if cyclic else None


@pytest.fixture
def looked_at() -> Iterator[list[int]]:
    """How many objects each collection looks at, from a state in which there are none."""
    sizes: list[int] = []

    def note(phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            sizes.append(sum(len(gc.get_objects(generation=age)) for age in range(info["generation"] + 1)))

    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    garbage._left_behind.clear()  # by handlers of other tests
    gc.set_threshold(garbage.YOUNG_OBJECTS, 20, 20)
    gc.callbacks.append(note)
    try:
        yield sizes
    finally:
        gc.callbacks.remove(note)
        gc.set_threshold(*before)
        gc.unfreeze()


def test_few_new_objects_are_no_occasion(looked_at: list[int]) -> None:
    kept = [Thing() for _ in range(garbage.PIECE_OBJECTS // 2)]
    garbage.tidy()
    assert looked_at == []
    assert kept


def test_what_stays_is_looked_at_in_pieces_and_then_never_again(looked_at: list[int]) -> None:
    kept: list[Thing] = []
    for _ in range(100):
        kept += [Thing() for _ in range(1000)]
        garbage.tidy()
    assert len(looked_at) > 20
    assert max(looked_at) < garbage.SETTLED_OBJECTS + 2 * garbage.PIECE_OBJECTS + SLACK
    assert gc.get_freeze_count() > 90_000


def test_garbage_is_freed_before_anything_is_kept_for_good(looked_at: list[int]) -> None:
    kept: list[Thing] = []
    freed: list[int] = []
    for number in range(20):
        weakref.finalize(Thing(cyclic=True), freed.append, number)
        kept += [Thing() for _ in range(garbage.PIECE_OBJECTS)]
        garbage.tidy()
    assert looked_at
    assert freed == list(range(20))


def test_what_is_kept_for_good_and_left_behind_is_freed_when_it_is_much(looked_at: list[int]) -> None:
    freed: list[int] = []
    things = [Thing(cyclic=True) for _ in range(garbage.MOST_LEFT_BEHIND)]
    for number, thing in enumerate(things):
        weakref.finalize(thing, freed.append, number)
    del thing
    gc.freeze()
    while things:
        assert not garbage.tidy()
        garbage.left_behind(things.pop())
    looked_at.clear()
    assert garbage.tidy()
    assert sorted(freed) == list(range(garbage.MOST_LEFT_BEHIND))
    assert gc.get_freeze_count() > 0, "what is needed is kept for good again"
    looked_at.clear()
    assert not garbage.tidy()
    assert looked_at == []


def test_what_was_not_kept_is_freed_without_a_look_at_all(looked_at: list[int]) -> None:
    gone: list[int] = []
    for number in range(garbage.MOST_LEFT_BEHIND):
        thing = Thing(cyclic=True)
        weakref.finalize(thing, gone.append, number)
        garbage.left_behind(thing)
        del thing
    assert garbage.tidy()
    assert len(gone) == garbage.MOST_LEFT_BEHIND
    assert max(looked_at) < garbage.SETTLED_OBJECTS + SLACK


def test_what_somebody_holds_is_not_asked_after_again(looked_at: list[int]) -> None:
    held = [Thing() for _ in range(garbage.MOST_LEFT_BEHIND)]
    for thing in held:
        garbage.left_behind(thing)
    assert garbage.tidy()
    looked_at.clear()
    assert not garbage.tidy()
    assert looked_at == []


def test_nothing_is_looked_at_while_a_start_builds(looked_at: list[int]) -> None:
    with garbage.without_collecting():
        kept = [Thing() for _ in range(2 * garbage.PIECE_OBJECTS)]
        garbage.tidy()
        assert looked_at == []
    assert kept


async def test_a_reload_of_many_models_is_looked_at_in_pieces(tmp_path: Path, looked_at: list[int]) -> None:
    files = {f"m{number}.yaml": model_text(f"m{number}", "color") for number in range(40)}
    async with serving(tmp_path, files) as walk:
        garbage.keep_for_good()
        looked_at.clear()
        for attribute in ("size", "weight"):
            for path in files:
                walk.write(path, model_text(path.removesuffix(".yaml"), attribute))
            report = await walk.see(*files)
            assert len(report.swapped) == 40
    assert len(looked_at) > 4, "with fewer models than this nothing has to be parted"
    assert max(looked_at) < garbage.SETTLED_OBJECTS + 2 * garbage.PIECE_OBJECTS + SLACK


def test_what_a_start_has_made_is_not_looked_through_when_it_is_over(looked_at: list[int]) -> None:
    with garbage.without_collecting():
        made = [Thing() for _ in range(2 * garbage.YOUNG_OBJECTS)]
        garbage.keep_for_good(collected=False)
    made += [Thing() for _ in range(1000)]
    assert looked_at == []
    assert gc.isenabled()
