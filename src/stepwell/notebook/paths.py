"""Arrows as cubic Bézier points, built piece by piece. Only geometry."""

from __future__ import annotations

Point = tuple[float, float]


def add_line(path: list[Point], end: Point) -> None:
    """Go on straight to `end`."""
    start = path[-1]
    if start != end:
        path += [_towards(start, end, 1 / 3), _towards(start, end, 2 / 3), end]


def add_bend(path: list[Point], end: Point) -> None:
    """Go on to `end` in an S that leaves and arrives along the first axis."""
    start = path[-1]
    half = (end[0] - start[0]) * 0.55
    path += [(start[0] + half, start[1]), (end[0] - half, end[1]), end]


def add_corner(path: list[Point], corner: Point, end: Point) -> None:
    """Go on to `end` round a corner."""
    start = path[-1]
    path += [_towards(start, corner, 0.55), _towards(end, corner, 0.55), end]


def _towards(start: Point, end: Point, part: float) -> Point:
    return (
        start[0] + (end[0] - start[0]) * part,
        start[1] + (end[1] - start[1]) * part,
    )
