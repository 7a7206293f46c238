"""The arrows that close loops: round the outside of whatever lies between.

They leave a box forwards, go round in a lane of their own on the nearer side, and
enter from behind, so that a loop reads as one. Used with every layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .paths import Point, add_corner, add_line
from .picture import Picture

LANE_GAP = 16.0
ROUND = 12.0
Box = tuple[float, float, float, float]


def loop_routes(
    picture: Picture,
    centres: Mapping[str, Point],
    routes: Sequence[tuple[str, str, Sequence[Point]]],
    *,
    across: bool,
) -> list[tuple[str, str, list[Point]]]:
    """Route every link that closes a loop, short ones inside long ones.

    Args:
        picture: The nodes and links.
        centres: Where the nodes are.
        routes: The other arrows, which lanes keep clear of.
        across: Whether the graph runs from left to right.
    """

    def turned(point: Point) -> Point:
        return point if across else (point[1], point[0])

    boxes: dict[str, Box] = {}
    for node in picture.nodes:
        main, cross = turned(centres[node.id])
        deep, thick = turned((node.width, node.height))
        boxes[node.id] = (
            main - deep / 2,
            main + deep / 2,
            cross - thick / 2,
            cross + thick / 2,
        )
    taken = list(boxes.values())
    for *_, points in routes:
        taken += [(p[0], p[0], p[1], p[1]) for p in map(turned, points)]
    found = []
    backs = [link for link in picture.links if link.back]
    backs.sort(key=lambda k: abs(boxes[k.source][0] - boxes[k.target][0]))
    for turn, link in enumerate(backs):
        tail, head = boxes[link.source], boxes[link.target]
        reach = 13.0 + turn % 3 * 4
        out = (
            max(b[1] for b in boxes.values() if b[0] < tail[1] and b[1] > tail[0])
            + reach
        )
        back = (
            min(b[0] for b in boxes.values() if b[0] < head[1] and b[1] > head[0])
            - reach
        )
        low, high = min(out, back) - 4, max(out, back) + 4
        between = [b for b in taken if b[1] >= low and b[0] <= high]
        above = min(b[2] for b in between) - LANE_GAP
        below = max(b[3] for b in between) + LANE_GAP
        start, end = (
            (tail[1], (tail[2] + tail[3]) / 2),
            (head[0], (head[2] + head[3]) / 2),
        )
        lane = (
            below
            if 2 * below - start[1] - end[1] <= start[1] + end[1] - 2 * above
            else above
        )
        path = around(start, out, lane, back, end)
        taken.append((low, high, lane, lane))
        found.append((link.source, link.target, [turned(p) for p in path]))
    return found


def around(
    start: Point, out: float, lane: float, back: float, end: Point
) -> list[Point]:
    """Go from `start` on to `out`, along `lane` back to `back`, and on to `end`."""
    bend = min(ROUND, abs(lane - start[1]) / 2, abs(lane - end[1]) / 2)
    leaving = bend if lane > start[1] else -bend
    coming = bend if lane > end[1] else -bend
    along = min(ROUND, abs(out - back) / 2)
    inset = min(ROUND, out - start[0], end[0] - back)
    path = [start]
    add_line(path, (out - inset, start[1]))
    add_corner(path, (out, start[1]), (out, start[1] + leaving))
    add_line(path, (out, lane - leaving))
    add_corner(path, (out, lane), (out - along, lane))
    add_line(path, (back + along, lane))
    add_corner(path, (back, lane), (back, lane - coming))
    add_line(path, (back, end[1] + coming))
    add_corner(path, (back, end[1]), (back + inset, end[1]))
    add_line(path, end)
    return path
