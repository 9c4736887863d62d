"""Boxes and lines between them, placed in layers from top to bottom (after Sugiyama, kept small).

The walk of a placement: lines that would close a circle are turned round, each box goes one layer
below the lowest box that leads to it, lines that pass layers get a point in each, the layers are
ordered so that few lines cross, and boxes move towards what they are joined to. Parts that nothing
joins are placed on their own and set side by side. The same input gives the same drawing.

Knows nothing of what boxes mean. All measures are pixels.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

Point = tuple[float, float]

GAP_X = 36.0
GAP_Y = 56.0
PASS_WIDTH = 14.0
"""The room that a line takes where it passes a layer."""

SWEEPS = 12
WIDEST = 1080.0
"""Parts are set side by side up to this width, then below one another."""


@dataclass(frozen=True, slots=True)
class Box:
    """Where a box has its upper left corner, and its size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """The x in its middle."""
        return self.x + self.width / 2


@dataclass(frozen=True, slots=True)
class Placement:
    """`boxes` by name, `lines` in the order of the edges, each from its tail to its head; the size of the whole."""

    boxes: Mapping[str, Box]
    lines: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def place(
    sizes: Mapping[str, tuple[float, float]],
    edges: Sequence[tuple[str, str]],
    *,
    gap_y: float = GAP_Y,
    widest: float = WIDEST,
) -> Placement:
    """Place boxes of these sizes, and the lines between them; an edge from a box to itself becomes a loop."""
    boxes: dict[str, Box] = {}
    lines: dict[int, tuple[Point, ...]] = {}
    x = y = row_height = whole_width = 0.0
    for part in _parts(sizes, edges):
        within = [number for number, (tail, _) in enumerate(edges) if tail in part]
        placed = _Part({name: sizes[name] for name in part}, [edges[number] for number in within], gap_y).place()
        if x and x + placed.width > widest:
            x, y, row_height = 0.0, y + row_height + gap_y, 0.0
        boxes |= {name: Box(box.x + x, box.y + y, box.width, box.height) for name, box in placed.boxes.items()}
        for number, line in zip(within, placed.lines, strict=True):
            lines[number] = tuple((at_x + x, at_y + y) for at_x, at_y in line)
        x += placed.width + GAP_X
        row_height = max(row_height, placed.height)
        whole_width = max(whole_width, x - GAP_X)
    return Placement(boxes, tuple(lines[number] for number in sorted(lines)), whole_width, y + row_height)


def place_sideways(
    sizes: Mapping[str, tuple[float, float]], edges: Sequence[tuple[str, str]], *, gap: float, highest: float
) -> Placement:
    """The same from left to right; parts are set below one another up to a height."""
    turned = {name: (high, broad) for name, (broad, high) in sizes.items()}
    placed = place(turned, edges, gap_y=gap, widest=highest)
    return Placement(
        {name: Box(box.y, box.x, box.height, box.width) for name, box in placed.boxes.items()},
        tuple(tuple((x, y) for y, x in line) for line in placed.lines),
        placed.height,
        placed.width,
    )


def _parts(sizes: Mapping[str, object], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    """The names that edges join, part by part, the largest part first; else in the order given."""
    joined: dict[str, set[str]] = defaultdict(set)
    for tail, head in edges:
        joined[tail].add(head)
        joined[head].add(tail)
    seen: set[str] = set()
    parts = []
    for name in sizes:
        if name in seen:
            continue
        found, waiting = {name}, [name]
        while waiting:
            news = joined[waiting.pop()] - found
            found |= news
            waiting += sorted(news)
        seen |= found
        parts.append([one for one in sizes if one in found])
    return sorted(parts, key=len, reverse=True)


class _Part:
    """What is joined: placed once, then let go. Passing points are nodes without a name in `sizes`."""

    def __init__(
        self, sizes: Mapping[str, tuple[float, float]], edges: Sequence[tuple[str, str]], gap_y: float
    ) -> None:
        self._sizes = sizes
        self._edges = edges
        self._gap_y = gap_y
        self._turned = _turned(list(sizes), edges)
        self._chains: dict[int, list[Hashable]] = {}
        self._up: dict[Hashable, list[Hashable]] = defaultdict(list)
        self._down: dict[Hashable, list[Hashable]] = defaultdict(list)
        self._x: dict[Hashable, float] = {}

    def place(self) -> Placement:
        layers = self._layers()
        self._order(layers)
        self._spread(layers)
        return self._drawn(layers)

    # -- layers ---------------------------------------------------------------------------------

    def _directed(self) -> Iterator[tuple[int, str, str]]:
        """The edges from a higher to a lower layer, loops left out."""
        for number, (tail, head) in enumerate(self._edges):
            if tail != head:
                yield (number, head, tail) if number in self._turned else (number, tail, head)

    def _layers(self) -> list[list[Hashable]]:
        depth = _depths(list(self._sizes), [(upper, lower) for _, upper, lower in self._directed()])
        layers: list[list[Hashable]] = [[] for _ in range(max(depth.values(), default=0) + 1)]
        for name in self._sizes:
            layers[depth[name]].append(name)
        for number, upper, lower in self._directed():
            chain: list[Hashable] = [upper]
            for level in range(depth[upper] + 1, depth[lower]):
                layers[level].append((number, level))
                chain.append((number, level))
            chain.append(lower)
            self._chains[number] = chain
            for above, below in itertools.pairwise(chain):
                self._down[above].append(below)
                self._up[below].append(above)
        return layers

    # -- order ----------------------------------------------------------------------------------

    def _order(self, layers: list[list[Hashable]]) -> None:
        """Put each node where its neighbours are on average, down and up in turn; keep the best that was seen."""
        best, fewest = [list(layer) for layer in layers], self._crossings(layers)
        for sweep in range(SWEEPS):
            downwards = sweep % 2 == 0
            beside = self._up if downwards else self._down
            for level in range(len(layers)) if downwards else reversed(range(len(layers))):
                place = {node: index for layer in layers for index, node in enumerate(layer)}
                wanted = {
                    node: sum(place[one] for one in beside[node]) / len(beside[node]) if beside[node] else place[node]
                    for node in layers[level]
                }
                layers[level].sort(key=lambda node: wanted[node])
            crossings = self._crossings(layers)
            if crossings < fewest:
                best, fewest = [list(layer) for layer in layers], crossings
            if not fewest:
                break
        layers[:] = best

    def _crossings(self, layers: Sequence[Sequence[Hashable]]) -> int:
        found = 0
        for upper, lower in itertools.pairwise(layers):
            place = {node: index for index, node in enumerate(lower)}
            ends = [place[below] for node in upper for below in sorted(self._down[node], key=place.__getitem__)]
            found += sum(earlier > later for index, later in enumerate(ends) for earlier in ends[:index])
        return found

    # -- coordinates ----------------------------------------------------------------------------

    def _spread(self, layers: Sequence[Sequence[Hashable]]) -> None:
        """Set the nodes of a layer side by side, then move them towards their neighbours as far as there is room."""
        for layer in layers:
            at = -sum(self._width(node) + GAP_X for node in layer) / 2
            for node in layer:
                self._x[node] = at + self._width(node) / 2
                at += self._width(node) + GAP_X
        for sweep in range(SWEEPS):
            downwards = sweep % 2 == 0
            for layer in layers if downwards else reversed(layers):
                wanted = [self._wanted(node, downwards=downwards) for node in layer]
                self._settle(layer, wanted)

    def _wanted(self, node: Hashable, *, downwards: bool) -> float:
        beside = (self._up if downwards else self._down)[node] or (self._down if downwards else self._up)[node]
        return sum(self._x[one] for one in beside) / len(beside) if beside else self._x[node]

    def _settle(self, layer: Sequence[Hashable], wanted: Sequence[float]) -> None:
        """Between the leftmost and the rightmost places that keep order and distance, as wanted on average."""
        rightmost, leftmost = list(wanted), list(wanted)
        for index in range(1, len(layer)):
            rightmost[index] = max(wanted[index], rightmost[index - 1] + self._apart(layer[index - 1], layer[index]))
        for index in reversed(range(len(layer) - 1)):
            leftmost[index] = min(wanted[index], leftmost[index + 1] - self._apart(layer[index], layer[index + 1]))
        for node, left, right in zip(layer, leftmost, rightmost, strict=True):
            self._x[node] = (left + right) / 2

    def _apart(self, left: Hashable, right: Hashable) -> float:
        return (self._width(left) + self._width(right)) / 2 + GAP_X

    def _width(self, node: Hashable) -> float:
        return self._sizes[node][0] if isinstance(node, str) else PASS_WIDTH

    # -- the drawing ----------------------------------------------------------------------------

    def _drawn(self, layers: Sequence[Sequence[Hashable]]) -> Placement:
        left = min(self._x[node] - self._width(node) / 2 for layer in layers for node in layer)
        boxes: dict[str, Box] = {}
        level_at: dict[Hashable, tuple[float, float]] = {}
        y = 0.0
        for layer in layers:
            height = max((self._sizes[node][1] for node in layer if isinstance(node, str)), default=0.0)
            for node in layer:
                level_at[node] = y, y + height
                if isinstance(node, str):
                    own_width, own_height = self._sizes[node]
                    x = self._x[node] - left - own_width / 2
                    boxes[node] = Box(x, y + (height - own_height) / 2, own_width, own_height)
            y += height + self._gap_y
        lines = tuple(
            _loop(boxes[tail]) if tail == head else self._line(number, boxes, level_at, left)
            for number, (tail, head) in enumerate(self._edges)
        )
        right = max(
            max((box.x + box.width for box in boxes.values()), default=0.0),
            max((x for line in lines for x, _ in line), default=0.0),
        )
        return Placement(boxes, lines, right, max(0.0, y - self._gap_y))

    def _line(
        self, number: int, boxes: Mapping[str, Box], level_at: Mapping[Hashable, tuple[float, float]], left: float
    ) -> tuple[Point, ...]:
        chain = self._chains[number]
        upper, lower = chain[0], chain[-1]
        assert isinstance(upper, str)  # noqa: S101 - a chain begins and ends with a box
        assert isinstance(lower, str)  # noqa: S101 - as above
        points: list[Point] = [(self._port(number, boxes[upper], top=False), boxes[upper].y + boxes[upper].height)]
        for node in chain[1:-1]:
            top, bottom = level_at[node]
            points += [(self._x[node] - left, top), (self._x[node] - left, bottom)]
        points.append((self._port(number, boxes[lower], top=True), boxes[lower].y))
        return tuple(reversed(points)) if number in self._turned else tuple(points)

    def _port(self, number: int, box: Box, *, top: bool) -> float:
        """Where on the edge of a box a line begins or ends: several share it in the order of their other ends."""
        end = -1 if top else 0
        name = self._chains[number][end]
        sharing = sorted(
            (self._x[chain[-2 if top else 1]], other) for other, chain in self._chains.items() if chain[end] == name
        )
        place = [other for _, other in sharing].index(number)
        step = min(28.0, box.width * 0.8 / len(sharing))
        return box.middle + (place - (len(sharing) - 1) / 2) * step


def _loop(box: Box) -> tuple[Point, ...]:
    """A line from the right side of a box back to it."""
    right, middle, reach = box.x + box.width, box.y + box.height / 2, min(14.0, box.height / 3)
    return (
        (right, middle - reach),
        (right + 26, middle - reach),
        (right + 26, middle + reach),
        (right, middle + reach),
    )


def _turned(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> frozenset[int]:
    """The edges that lead back to where a walk along the edges came from; depth first, without recursion."""
    leaving: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for number, (tail, head) in enumerate(edges):
        if tail != head:
            leaving[tail].append((number, head))
    entered = {head for tail, head in edges if tail != head}
    done: set[str] = set()
    turned: set[int] = set()
    # From where nothing leads to first: so a flow's start stays at its top.
    for start in sorted(names, key=lambda name: name in entered):
        if start in done:
            continue
        walk = [(start, iter(leaving[start]))]
        on_walk = {start}
        while walk:
            name, rest = walk[-1]
            for number, head in rest:
                if head in on_walk:
                    turned.add(number)
                elif head not in done:
                    walk.append((head, iter(leaving[head])))
                    on_walk.add(head)
                    break
            else:
                walk.pop()
                on_walk.discard(name)
                done.add(name)
    return frozenset(turned)


def _depths(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """How many edges the longest way to each name has; the edges have no circle."""
    waiting = dict.fromkeys(names, 0)
    leaving: dict[str, list[str]] = defaultdict(list)
    for upper, lower in edges:
        waiting[lower] += 1
        leaving[upper].append(lower)
    depth = dict.fromkeys(names, 0)
    ready = [name for name in names if not waiting[name]]
    while ready:
        upper = ready.pop()
        for lower in leaving[upper]:
            depth[lower] = max(depth[lower], depth[upper] + 1)
            waiting[lower] -= 1
            if not waiting[lower]:
                ready.append(lower)
    return depth
