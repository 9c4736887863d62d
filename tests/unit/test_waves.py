"""The order in which models are built, and the waves of a start: closed under references, small ones first, few."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from watcherd.pim.linked import LinkedModel, Target
from watcherd.pim.spec import EntityRef, ModelSpec
from watcherd.waves import FIRST_BYTES, GROWTH, MODEL_BYTES, MOST_BYTES, Wave, by_size, one_wave

SMALL = 300
"""The bytes of a small model."""


def linked(**needs: Iterable[str]) -> dict[str, LinkedModel]:
    """Models that refer to others, by name; their targets are not looked into."""
    return {
        model: LinkedModel(
            spec=ModelSpec(domain=model), targets={EntityRef(one, "Item"): cast("Target", None) for one in others}
        )
        for model, others in needs.items()
    }


def many(count: int) -> tuple[dict[str, LinkedModel], dict[str, int]]:
    models = linked(**{f"m{number}": () for number in range(count)})
    return models, dict.fromkeys(models, SMALL)


def models_of(wave: Wave) -> set[str]:
    return set(itertools.chain.from_iterable(wave))


def sizes_of(waves: list[Wave]) -> list[int]:
    return [sum(len(step) for step in wave) for wave in waves]


def test_a_start_of_a_hundred_small_models_is_one_wave() -> None:
    assert sizes_of(by_size(*many(100))) == [100]
    assert by_size({}, {}) == [[]]


def test_the_waves_of_a_long_start_grow_so_that_there_are_few() -> None:
    sizes = sizes_of(by_size(*many(10_000)))
    assert sum(sizes) == 10_000
    assert sizes[0] == FIRST_BYTES // (SMALL + MODEL_BYTES)
    for place, size in enumerate(sizes):
        assert size <= max(sizes[0], GROWTH * sum(sizes[:place]))
        assert size <= MOST_BYTES // (SMALL + MODEL_BYTES)
    assert len(sizes) <= 10
    assert len(by_size(*many(1_000))) == 3


def test_a_huge_model_keeps_no_small_one_waiting() -> None:
    models = linked(huge=(), one=(), two=("one",), three=("huge",))
    waves = by_size(models, {"huge": 4 * FIRST_BYTES, "one": SMALL, "two": SMALL, "three": SMALL})
    assert waves == [[["one"], ["two"]], [["huge"], ["three"]]]


def test_what_is_left_over_is_no_wave_of_its_own() -> None:
    models = linked(large=(), larger=(), small=())
    sizes = {"large": FIRST_BYTES - 3 * MODEL_BYTES, "larger": FIRST_BYTES - 2 * MODEL_BYTES, "small": SMALL}
    assert by_size(models, sizes) == [[["small", "large", "larger"]]]
    assert by_size(models, sizes | {"larger": FIRST_BYTES}) == [[["small", "large"]], [["larger"]]]


def test_models_that_refer_to_each_other_in_a_circle_come_together_and_nobody_else_with_them() -> None:
    models = linked(a=("b",), b=("c",), c=("a",), after=("a", "alone"), alone=(), itself=("itself",))
    [wave] = one_wave(models)
    assert [set(step) for step in wave] == [{"a", "b", "c", "alone", "itself"}, {"after"}]
    sizes = dict.fromkeys(models, SMALL) | {"b": FIRST_BYTES}
    assert [models_of(wave) for wave in by_size(models, sizes)] == [{"alone", "itself"}, {"a", "b", "c", "after"}]


def test_a_chain_of_references_may_be_as_long_as_there_are_models() -> None:
    models = linked(m0=(), **{f"m{number}": (f"m{number - 1}",) for number in range(1, 5_000)})
    backwards = dict(reversed(models.items()))
    [wave] = one_wave(backwards)
    assert wave == [[f"m{number}"] for number in range(5_000)]
    sizes = {model: SMALL + number for number, model in enumerate(backwards)}
    assert list(itertools.chain.from_iterable(by_size(backwards, sizes))) == wave


NAMES = st.sampled_from([f"m{number}" for number in range(12)])


@given(
    needs=st.dictionaries(NAMES, st.sets(NAMES, max_size=3), min_size=1),
    heavy=st.sets(NAMES),
)
def test_every_wave_holds_what_its_models_refer_to_unless_one_before_does(
    needs: Mapping[str, set[str]], heavy: set[str]
) -> None:
    models = linked(**needs)
    sizes = {model: 2 * FIRST_BYTES if model in heavy else SMALL for model in models}
    waves = by_size(models, sizes)
    assert sorted(itertools.chain(*itertools.chain(*waves))) == sorted(models)
    there: set[str] = set()
    for wave in waves:
        for step in wave:
            for model in step:
                others = {one for one in needs[model] if one in models and one not in there | {model}}
                # Only of its own circle may something be built at the same time.
                assert all(model in reach(needs, one) and one in models_of(wave) for one in others)
            there.update(step)
    light = {model for model in models if not (reach(needs, model) | {model}) & heavy}
    if light:  # those that can do without any heavy one are first
        assert models_of(waves[0]) == light


def reach(needs: Mapping[str, set[str]], model: str) -> set[str]:
    """All that a model needs, through others too, of those that there are."""
    found: set[str] = set()
    todo = [model]
    while todo:
        new = {one for one in needs[todo.pop()] if one in needs} - found
        found |= new
        todo += new
    return found
