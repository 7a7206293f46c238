"""A long and narrow graph in rows, read like text: from left to right, then below.

Without this, a chain of ten steps would be a column as tall as three screens. Only a
graph with a waist can be folded: a place that one arrow passes and no loop. Rows are
placed by our own layout, whoever places other graphs: they are simple.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from .layout import GAP_ACROSS, MARGIN, WIDEST, Layout, Route, place
from .loops import ROUND, around
from .paths import Point
from .picture import Link, Node, Picture
from .ranking import rank_numbers

INDENT = 14.0
LANE = 22.0
# About how tall a rank is in a graph that runs downwards.
RANK_DOWN = 60.0


def folded(picture: Picture) -> Layout | None:
    """Place a picture in rows.

    Returns:
        The layout; None where there is no way to fold it, or nothing won by it.
    """
    ranks = rank_numbers(picture)
    last = max(ranks.values(), default=0)
    waists = _waists(picture, ranks)
    steps = {node.id for node in picture.steps}
    begins_well = {rank for rank, link in waists.items() if link.target in steps}
    ends = _rows(_widths(picture, ranks), sorted(waists), begins_well)
    if ends is None or len(ends) < 2:
        return None
    rows: list[Layout] = []
    first = 0
    for end in ends:
        rows.append(_row(picture, ranks, first, end))
        first = end + 1
    sizes = {node.id: node.width for node in picture.nodes}
    layout = _stacked(rows, [waists[end] for end in ends if end != last], sizes)
    return layout if layout.height < (last + 1) * RANK_DOWN else None


def _waists(picture: Picture, ranks: dict[str, int]) -> dict[int, Link]:
    """The ranks after which one arrow goes on and no loop, with that arrow."""
    passing: dict[int, list[Link]] = {}
    for link in picture.links:
        low, high = sorted((ranks[link.source], ranks[link.target]))
        for rank in range(low, high):
            passing.setdefault(rank, []).append(link)
    found = {}
    for rank, links in passing.items():
        link = links[0]
        ends = (ranks[link.source], ranks[link.target])
        if len(links) == 1 and not link.back and ends == (rank, rank + 1):
            found[rank] = link
    return found


def _widths(picture: Picture, ranks: dict[str, int]) -> list[float]:
    widths = [0.0] * (max(ranks.values(), default=0) + 1)
    for node in picture.nodes:
        widths[ranks[node.id]] = max(widths[ranks[node.id]], node.width)
    return widths


def _rows(
    widths: Sequence[float], waists: Sequence[int], begins_well: Set[int]
) -> list[int] | None:
    """The last rank of each row: few rows, about equally long, none too wide.

    A shortest path over the waists, where a row costs the square of what it leaves
    empty, and a little where the next one would not begin with a step.
    """
    edges = [0.0]
    for width in widths:
        edges.append(edges[-1] + width + GAP_ACROSS)
    stops = [-1, *waists, len(widths) - 1]
    best: list[tuple[float, int]] = [(0.0, -1)]
    room = WIDEST - 2 * MARGIN - 2 * INDENT
    for i in range(1, len(stops)):
        found = (float("inf"), -1)
        for j in range(i - 1, -1, -1):
            wide = edges[stops[i] + 1] - edges[stops[j] + 1] - GAP_ACROSS
            if wide > room:
                break
            empty = 1.0 + ((room - wide) / room) ** 2
            if stops[i] in waists and stops[i] not in begins_well:
                empty += 0.1
            found = min(found, (best[j][0] + empty, j))
        best.append(found)
    if best[-1][0] == float("inf"):
        return None
    ends, at = [], len(stops) - 1
    while at > 0:
        ends.append(stops[at])
        at = best[at][1]
    return ends[::-1]


def _row(picture: Picture, ranks: dict[str, int], first: int, end: int) -> Layout:
    nodes: tuple[Node, ...] = tuple(
        node for node in picture.nodes if first <= ranks[node.id] <= end
    )
    names = {node.id for node in nodes}
    links = tuple(k for k in picture.links if k.source in names and k.target in names)
    return place(replace(picture, nodes=nodes, links=links), across=True)


def _stacked(
    rows: Sequence[Layout], between: Sequence[Link], widths: Mapping[str, float]
) -> Layout:
    """Put rows under each other and join them by arrows that go round."""
    centres: dict[str, Point] = {}
    routes: list[Route] = []
    tops: list[float] = []
    top = 0.0
    for row in rows:
        tops.append(top)

        def moved(point: Point, top: float = top) -> Point:
            return (round(point[0] + INDENT, 1), round(point[1] + top, 1))

        centres.update((name, moved(point)) for name, point in row.centres.items())
        routes += [
            replace(route, points=tuple(map(moved, route.points)))
            for route in row.routes
        ]
        top += row.height - 2 * MARGIN + LANE
    height = top - LANE + 2 * MARGIN
    for row, below, link in zip(rows, tops[1:], between, strict=False):
        tail, head = centres[link.source], centres[link.target]
        path = around(
            (tail[0] + widths[link.source] / 2, tail[1]),
            row.width - MARGIN + INDENT + ROUND,
            below + MARGIN - LANE / 2,
            MARGIN + INDENT - ROUND - 6,
            (head[0] - widths[link.target] / 2, head[1]),
        )
        points = tuple((round(x, 1), round(y, 1)) for x, y in path)
        routes.append(Route(link.source, link.target, points))
    return Layout(
        width=max(row.width for row in rows) + 2 * INDENT,
        height=round(height, 1),
        centres=centres,
        routes=tuple(routes),
        across=True,
    )
