"""Where the boxes and arrows of a picture go, in pure Python.

It needs nothing installed and never fails, so a graph always appears. Ranks and
places along them are in `ranking`, the arrows that close loops in `loops`. Graphviz's
own placing is in `graphviz`; both give a `Layout`, which `svg` draws.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .loops import loop_routes
from .paths import Point, add_bend, add_line
from .picture import Picture
from .ranking import Cell, cells_of, ordered, rank_numbers, spread

GAP_ACROSS = 38.0
GAP_DOWN = 28.0
GAP_CLOSE = 17.0
MARGIN = 14.0
WIDEST = 1150.0


@dataclass(frozen=True, slots=True)
class Route:
    """One drawn arrow: a start point, then cubic Bézier triples."""

    source: str
    target: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Places for a picture: the centre of each node and a route for each link."""

    width: float
    height: float
    centres: dict[str, Point]
    routes: tuple[Route, ...]
    across: bool


def lies_across(picture: Picture) -> bool:
    """Say whether left-to-right fits a notebook's width, so that the cell stays low."""
    ranks = rank_numbers(picture)
    widest: dict[int, float] = {}
    for node in picture.nodes:
        rank = ranks[node.id]
        widest[rank] = max(widest.get(rank, 0.0), node.width)
    return (
        sum(widest.values()) + GAP_ACROSS * max(len(widest) - 1, 0) + 2 * MARGIN
        <= WIDEST
    )


def gap_down(picture: Picture) -> float:
    """The room between ranks that lie under each other."""
    return GAP_CLOSE if any(node.bare for node in picture.nodes) else GAP_DOWN


def place(picture: Picture, *, across: bool | None = None) -> Layout:
    """Place a picture.

    Args:
        picture: Sized nodes and links.
        across: True for left to right, False for top to bottom, None to choose.

    Returns:
        A layout in which no two nodes overlap, all lies inside the frame, and every
        link has a route. The same picture always gives the same layout.
    """
    sideways = lies_across(picture) if across is None else across
    cells, chains = cells_of(picture, sideways)
    ranks = ordered(cells)
    spread(cells, ranks)
    return _drawn(picture, cells, ranks, chains, sideways)


def framed(
    picture: Picture,
    centres: Mapping[str, Point],
    routes: Sequence[tuple[str, str, Sequence[Point]]],
    *,
    across: bool,
) -> Layout:
    """Add the arrows that close loops, and shift all into a frame at the origin."""
    routes = [*routes, *loop_routes(picture, centres, routes, across=across)]
    spots = [point for *_, points in routes for point in points]
    for node in picture.nodes:
        x, y = centres[node.id]
        spots.append((x - node.width / 2, y - node.height / 2))
        spots.append((x + node.width / 2, y + node.height / 2))
    left = min((x for x, _ in spots), default=0.0) - MARGIN
    top = min((y for _, y in spots), default=0.0) - MARGIN

    def shift(point: Point) -> Point:
        return (round(point[0] - left, 1), round(point[1] - top, 1))

    return Layout(
        width=round(max((x for x, _ in spots), default=0.0) - left + MARGIN, 1),
        height=round(max((y for _, y in spots), default=0.0) - top + MARGIN, 1),
        centres={name: shift(point) for name, point in centres.items()},
        routes=tuple(
            Route(s, t, tuple(shift(p) for p in path)) for s, t, path in routes
        ),
        across=across,
    )


def _drawn(
    picture: Picture,
    cells: list[Cell],
    ranks: list[list[int]],
    chains: dict[tuple[str, str], list[int]],
    across: bool,
) -> Layout:
    """Turn ranks and places into coordinates and arrows.

    An arrow bends only between ranks, and passes a rank straight, at a place of its
    own; so it never runs through a box.
    """
    deep = [max((cells[n].deep for n in rank), default=0.0) for rank in ranks]
    gap = GAP_ACROSS if across else gap_down(picture)
    middle: list[float] = []
    at = 0.0
    for depth in deep:
        middle.append(at + depth / 2)
        at += depth + gap
    routes: list[tuple[str, str, list[Point]]] = []
    for (source, target), chain in chains.items():
        tail, head = cells[chain[0]], cells[chain[-1]]
        path: list[Point] = [(middle[tail.rank] + tail.deep / 2, tail.place)]
        for one, two in itertools.pairwise(chain):
            here, there = cells[one], cells[two]
            add_line(path, (middle[here.rank] + deep[here.rank] / 2, here.place))
            add_bend(path, (middle[there.rank] - deep[there.rank] / 2, there.place))
        add_line(path, (middle[head.rank] - head.deep / 2, head.place))
        routes.append((source, target, path))

    def turned(point: Point) -> Point:
        return point if across else (point[1], point[0])

    return framed(
        picture,
        {c.name: turned((middle[c.rank], c.place)) for c in cells if c.name},
        [
            (source, target, [turned(p) for p in path])
            for source, target, path in routes
        ],
        across=across,
    )
