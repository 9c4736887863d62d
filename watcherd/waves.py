"""In which order models are built, and in which waves a start puts them into service.

A model is built after those that it refers to; models that refer to each other in a circle are
built together. A reload of what serves already is one wave: what was saved together is swapped
together. A start is several where it is long, so that neither one huge model nor thousands of
others keep a small one out of service: each wave is one swap, and holds with each of its models all
that it refers to, unless that serves already.

The first wave is as small as pays, and each later one much larger, up to a bound: there are few
waves however many models, and nobody waits long for those that come in the same one.

Owns both orders. Does not own what building is (build), nor the swap (reload).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from watcherd.pim.linked import LinkedModel

FIRST_BYTES: Final = 128 * 1024
"""How much the first wave weighs: about half a second. What weighs less is no wave of its own."""

MOST_BYTES: Final = 2 * 1024 * 1024
"""How much a wave weighs at most: about ten seconds. One huge model may weigh more."""

GROWTH: Final = 3
"""How much more a wave weighs than all before it: at the end of each nothing is built for a moment."""

MODEL_BYTES: Final = 1024
"""What a model weighs beside the bytes of its file: the tables of a small one cost more than its text."""

Step = list[str]
"""Models that can be built side by side."""

Wave = list[Step]
"""The steps after which models can be put into service."""


def one_wave(linked: Mapping[str, LinkedModel]) -> list[Wave]:
    """All models, each in a step after that of what it refers to."""
    if len(linked) == 1:
        return [[list(linked)]]
    return [_steps(linked, _circles(linked))]


def by_size(linked: Mapping[str, LinkedModel], sizes: Mapping[str, int]) -> list[Wave]:
    """The waves of a start, small models first; `sizes` are the bytes of their files.

    A model is as large as the largest that it cannot do without.
    """
    weights: dict[str, int] = {}
    largest: dict[str, int] = {}
    circles = list(_circles(linked))
    for circle in circles:
        needs = {other for model in circle for other in _needs(linked, model)}
        size = max(*(sizes[model] for model in circle), *(largest[other] for other in needs - set(circle)), 0)
        for model in circle:
            largest[model], weights[model] = size, sizes[model] + MODEL_BYTES
    # Of equally large ones those stay first that others need: the sort is stable.
    circles.sort(key=lambda circle: largest[circle[0]])
    return [_steps(linked, wave) for wave in _cut(circles, weights)]


def _cut(circles: list[Step], weights: Mapping[str, int]) -> Iterator[list[Step]]:
    """Cut a sorted list into waves."""
    wave: list[Step] = []
    before, weight, left = 0, 0, sum(weights.values())
    for circle in circles:
        more = sum(weights[model] for model in circle)
        bound = max(FIRST_BYTES, min(GROWTH * before, MOST_BYTES))
        if wave and weight + more > bound and left >= FIRST_BYTES:
            yield wave
            wave, before, weight = [], before + weight, 0
        wave.append(circle)
        weight, left = weight + more, left - more
    yield wave


def _steps(linked: Mapping[str, LinkedModel], circles: Iterator[Step] | list[Step]) -> Wave:
    """Models in steps: what a model of one step refers to is in an earlier one, or in its circle, or not among them."""
    steps: Wave = []
    places: dict[str, int] = {}
    for circle in circles:
        needs = {other for model in circle for other in _needs(linked, model)}
        place = max((places[other] + 1 for other in needs if other in places), default=0)
        places.update(dict.fromkeys(circle, place))
        if place == len(steps):
            steps.append([])
        steps[place] += circle
    return steps


def _needs(linked: Mapping[str, LinkedModel], model: str) -> set[str]:
    """The others among these models that one refers to."""
    return {ref.model for ref in linked[model].targets if ref.model != model and ref.model in linked}


def _circles(linked: Mapping[str, LinkedModel]) -> Iterator[Step]:
    """The models that refer to each other in a circle, every other one by itself; what they refer to comes first."""
    search = _Search(linked)
    for model in linked:
        yield from search.circles_from(model)


class _Search:
    """Tarjan's search, without recursion: a chain of references may be as long as there are models."""

    def __init__(self, linked: Mapping[str, LinkedModel]) -> None:
        self._linked = linked
        self._reached: dict[str, int] = {}
        self._lowest: dict[str, int] = {}  # the first on the path that it leads back to
        self._path: dict[str, None] = {}

    def circles_from(self, start: str) -> Iterator[Step]:
        """The circles that a model leads to and that were not found before."""
        if start in self._reached:
            return
        todo = [(start, self._reach(start))]
        while todo:
            model, others = todo[-1]
            other = next(others, None)
            if other is None:
                todo.pop()
                if todo:
                    self._leads_to(todo[-1][0], self._lowest[model])
                if self._lowest[model] == self._reached[model]:
                    yield self._taken_off(model)
            elif other not in self._reached:
                todo.append((other, self._reach(other)))
            elif other in self._path:
                self._leads_to(model, self._reached[other])

    def _reach(self, model: str) -> Iterator[str]:
        self._reached[model] = self._lowest[model] = len(self._reached)
        self._path[model] = None
        return iter(_needs(self._linked, model))

    def _leads_to(self, model: str, place: int) -> None:
        self._lowest[model] = min(self._lowest[model], place)

    def _taken_off(self, model: str) -> Step:
        """A circle, off the path: from its first model to the end."""
        circle: Step = []
        while model in self._path:
            circle.append(self._path.popitem()[0])
        return circle[::-1]
