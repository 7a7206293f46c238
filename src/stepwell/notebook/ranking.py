"""Which rank each box stands in, in which order, and where along it. Pure numbers.

The middle of our own layout, after Sugiyama, Tagawa and Toda (1981): longest-path
ranks, barycentre sweeps against crossings, least-squares places. `layout` turns the
answer into coordinates and arrows.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

from .picture import Picture

NODE_GAP = 18.0
# How many times a cell is moved, all in all: what keeps a cell of a notebook short.
SPREADING = 60_000


@dataclass(slots=True)
class Cell:
    """A node, or a bend of a long arrow; `thick` is its size along its rank.

    A `light` one, which stands for a node elsewhere, hardly pulls at its neighbours.
    """

    name: str
    rank: int
    thick: float
    deep: float
    place: float = 0.0
    light: bool = False
    before: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)


def rank_numbers(picture: Picture) -> dict[str, int]:
    """The longest distance from a source; lone sources stand before their users."""
    ranks = {node.id: 0 for node in picture.nodes}
    after: dict[str, list[str]] = {node.id: [] for node in picture.nodes}
    waiting = dict.fromkeys(ranks, 0)
    for link in picture.links:
        if not link.back:
            after[link.source].append(link.target)
            waiting[link.target] += 1
    sources = [name for name, number in waiting.items() if not number]
    ready = list(sources)
    while ready:
        name = ready.pop()
        for target in after[name]:
            ranks[target] = max(ranks[target], ranks[name] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    for name in reversed(sources):
        if after[name]:
            ranks[name] = max(min(ranks[target] for target in after[name]) - 1, 0)
    return ranks


def cells_of(
    picture: Picture, across: bool
) -> tuple[list[Cell], dict[tuple[str, str], list[int]]]:
    """Make a cell of each node, and of each rank that a long arrow passes.

    Returns:
        The cells, and the cells along each arrow that closes no loop.
    """
    ranks = rank_numbers(picture)
    cells: list[Cell] = []
    index: dict[str, int] = {}
    for node in picture.nodes:
        index[node.id] = len(cells)
        thick, deep = (node.height, node.width) if across else (node.width, node.height)
        cells.append(Cell(node.id, ranks[node.id], thick, deep, light=node.copy))
    chains: dict[tuple[str, str], list[int]] = {}
    for link in picture.links:
        if link.back:
            continue
        chain = [index[link.source]]
        for rank in range(ranks[link.source] + 1, ranks[link.target]):
            cells.append(Cell("", rank, 6.0, 0.0))
            chain.append(len(cells) - 1)
        chain.append(index[link.target])
        for one, two in itertools.pairwise(chain):
            cells[one].after.append(two)
            cells[two].before.append(one)
        chains[link.source, link.target] = chain
    return cells, chains


def ordered(cells: list[Cell]) -> list[list[int]]:
    """Order each rank so that few arrows cross: barycentre sweeps, the best kept."""
    ranks: list[list[int]] = [
        [] for _ in range(max((c.rank for c in cells), default=-1) + 1)
    ]
    for number in _walk(cells):
        ranks[cells[number].rank].append(number)
    best, fewest = [list(rank) for rank in ranks], _crossings(cells, ranks)
    for sweep in range(12):
        if fewest == 0:
            break
        down = sweep % 2 == 0
        spot = {n: i for row in ranks for i, n in enumerate(row)}
        for rank in range(len(ranks)) if down else reversed(range(len(ranks))):
            keys = {}
            for number in ranks[rank]:
                near = cells[number].before if down else cells[number].after
                keys[number] = (
                    sum(spot[n] for n in near) / len(near)
                    if near
                    else float(spot[number])
                )
            ranks[rank].sort(key=keys.__getitem__)
            spot.update((number, i) for i, number in enumerate(ranks[rank]))
        _swap_neighbours(cells, ranks)
        now = _crossings(cells, ranks)
        if now < fewest:
            best, fewest = [list(rank) for rank in ranks], now
    return best


def _walk(cells: list[Cell]) -> list[int]:
    """Depth-first order from the sources: neighbours start out side by side."""
    seen: dict[int, None] = {}
    for root in sorted(range(len(cells)), key=lambda n: (cells[n].rank, n)):
        stack = [root]
        while stack:
            number = stack.pop()
            if number not in seen:
                seen[number] = None
                stack.extend(reversed(cells[number].after))
    return list(seen)


def _crossings(cells: list[Cell], ranks: list[list[int]]) -> int:
    return sum(_crossed(cells, one, two) for one, two in itertools.pairwise(ranks))


def _crossed(cells: list[Cell], upper: Sequence[int], lower: Sequence[int]) -> int:
    spot = {number: i for i, number in enumerate(lower)}
    seen: list[int] = []
    total = 0
    for number in upper:
        ends = [spot[n] for n in cells[number].after]
        total += sum(len(seen) - bisect_right(seen, end) for end in ends)
        for end in ends:
            insort(seen, end)
    return total


def _swap_neighbours(cells: list[Cell], ranks: list[list[int]]) -> None:
    """Let two that stand side by side change places where fewer arrows cross then."""
    spot = {number: i for rank in ranks for i, number in enumerate(rank)}
    sides = [
        (sorted(spot[n] for n in cell.before), sorted(spot[n] for n in cell.after))
        for cell in cells
    ]
    for rank in ranks:
        swapped = False
        for i in range(len(rank) - 1):
            one, two = sides[rank[i]], sides[rank[i + 1]]
            now = _inverted(one[0], two[0]) + _inverted(one[1], two[1])
            if now > _inverted(two[0], one[0]) + _inverted(two[1], one[1]):
                rank[i], rank[i + 1] = rank[i + 1], rank[i]
                swapped = True
        if swapped:
            spot.update((number, i) for i, number in enumerate(rank))
            for near in {n for m in rank for n in cells[m].before + cells[m].after}:
                cell = cells[near]
                sides[near] = (
                    sorted(spot[n] for n in cell.before),
                    sorted(spot[n] for n in cell.after),
                )


def _inverted(left: list[int], right: list[int]) -> int:
    """How many pairs there are of which the left one's arrow ends further right."""
    return sum(len(left) - bisect_right(left, end) for end in right)


def spread(cells: list[Cell], ranks: list[list[int]]) -> None:
    """Slide cells along their ranks to their neighbours, keeping order and gaps."""
    for rank in ranks:
        _settle(cells, rank, {number: (0.0, 1.0) for number in rank})
    for sweep in range(min(90, max(24, SPREADING // max(len(cells), 1)))):
        down = sweep % 2 == 0
        for rank in ranks if down else reversed(ranks):
            wishes = {}
            for number in rank:
                cell = cells[number]
                near = cell.before if down else cell.after
                if sweep >= 12:
                    near = cell.before + cell.after
                # Bends that follow each other pull hard: long arrows are straight.
                pulls = [_pull(cell, cells[n]) for n in near]
                total = sum(pulls)
                if not near:
                    wishes[number] = (cell.place, 0.5)
                    continue
                towards = sum(
                    cells[n].place * p for n, p in zip(near, pulls, strict=True)
                )
                wishes[number] = (towards / total, total)
            _settle(cells, rank, wishes)


def _pull(cell: Cell, other: Cell) -> float:
    if cell.light or other.light:
        return 0.02
    return 1.0 if cell.name or other.name else 40.0


def _settle(
    cells: list[Cell], rank: list[int], wishes: dict[int, tuple[float, float]]
) -> None:
    """Nearest places to the wishes (weighted least squares) that keep order and gaps.

    With the gaps taken out this is isotonic regression: pool adjacent violators.
    """
    offsets: list[float] = []
    at = 0.0
    for i, number in enumerate(rank):
        if i:
            at += (cells[rank[i - 1]].thick + cells[number].thick) / 2 + NODE_GAP
        offsets.append(at)
    pools: list[tuple[float, float, int]] = []
    for number, offset in zip(rank, offsets, strict=True):
        mean, weight, size = wishes[number][0] - offset, wishes[number][1], 1
        while pools and pools[-1][0] > mean:
            other, heavy, many = pools.pop()
            mean = (mean * weight + other * heavy) / (weight + heavy)
            weight, size = weight + heavy, size + many
        pools.append((mean, weight, size))
    flat = [mean for mean, _, size in pools for _ in range(size)]
    for number, offset, mean in zip(rank, offsets, flat, strict=True):
        cells[number].place = mean + offset
