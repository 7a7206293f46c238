"""DOT text: what is written for the `dot` program, and how its answer is read.

For placing, only sizes are written and only places are read; boxes and arrows are
drawn by `svg`, so a graph looks the same whoever laid it out. Programs that run dot
are met in `graphviz` and `pygraphviz`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .colours import EDGE, GIVEN, LIGHT, LOOP
from .escaping import storable
from .layout import Layout, framed, gap_down, lies_across
from .paths import Point
from .picture import Link, Node, Picture

INCH = 72.0
ARROWHEAD = 7.0
# Pixels that are still drawn twice as fine; a bitmap has its limits.
MOST_FINE = 5000
_GREY = f'"{EDGE}"'


def dot_text(picture: Picture) -> str:
    """Write a picture as DOT for any Graphviz, with names, shapes and colours."""
    direction = "LR" if lies_across(picture) else "TB"
    lines = _head(picture, f"rankdir={direction}")
    lines += [f"  {node.id} [{_look(node)}]" for node in picture.nodes]
    for link in picture.links:
        looks = _ink(link)
        if link.label:
            looks.append(f"label={_quoted(link.label)} fontsize=10 fontcolor={_GREY}")
        look = f" [{' '.join(looks)}]" if looks else ""
        lines.append(f"  {link.source} -> {link.target}{look}")
    return "\n".join([*lines, "}"]) + "\n"


def placed_dot(picture: Picture, layout: Layout) -> str:
    """Write a picture as DOT that says where everything goes, for `neato -n2`.

    One unit of the layout is a point, so that texts have their size.
    """
    fine = 144 if max(layout.width, layout.height) < MOST_FINE else 72

    def at(point: Point) -> str:
        return f"{point[0]:.1f},{layout.height - point[1]:.1f}"

    lines = _head(picture, f"splines=true dpi={fine}")
    for node in picture.nodes:
        size = f"width={node.width / INCH:.3f} height={node.height / INCH:.3f}"
        place = f'pos="{at(layout.centres[node.id])}" {size} fixedsize=true'
        lines.append(f"  {node.id} [{_look(node)} {place}]")
    links = {(link.source, link.target): link for link in picture.links}
    bare = {node.id for node in picture.nodes if node.bare}
    for route in layout.routes:
        looks = _ink(links[route.source, route.target])
        *way, end = route.points
        if route.target in bare:
            looks.append("dir=none")
            course = " ".join(map(at, route.points))
        else:
            # The arrowhead is drawn from the last point to the end.
            course = " ".join([f"e,{at(end)}", *map(at, way), at(_before(way, end))])
        looks.append(f'pos="{course}"')
        lines.append(f"  {route.source} -> {route.target} [{' '.join(looks)}]")
    return "\n".join([*lines, "}"]) + "\n"


def _head(picture: Picture, layout: str) -> list[str]:
    return [
        f"digraph {_quoted(picture.name)} {{",
        f'  graph [{layout} bgcolor="transparent"]',
        '  node [fontname="Helvetica" style="filled,rounded" shape=box penwidth=1.4]',
        f'  edge [color="{EDGE}" arrowsize=0.7]',
    ]


def _look(node: Node) -> str:
    ink = LIGHT[node.kind]
    label = f"{node.label}  {node.badge}" if node.badge else node.label
    look = (
        f"label={_quoted(label)} tooltip={_quoted(node.tip or node.name)} "
        f'fillcolor="{ink.fill}" color="{ink.line}" fontcolor="{ink.text}" '
    )
    look += "fontsize=13" if node.kind == "step" else "fontsize=11 height=0.3"
    if node.kind == "resource":
        look += " shape=cylinder style=filled"
    elif node.bare:
        look += " shape=plaintext style=solid"
    elif node.copy:
        look += ' style="filled,rounded,dashed"'
    return look


def _ink(link: Link) -> list[str]:
    if link.back:
        return [f'color="{LOOP}" style=dashed']
    return [f'color="{GIVEN}" style=dotted'] if link.given else []


def _before(way: Sequence[Point], end: Point) -> Point:
    """A point an arrowhead's length before the end of an arrow."""
    start = next((point for point in reversed(way) if point != end), end)
    far = math.dist(start, end) or 1.0
    part = min(ARROWHEAD / far, 1.0)
    return (end[0] + (start[0] - end[0]) * part, end[1] + (start[1] - end[1]) * part)


def skeleton(picture: Picture, across: bool) -> str:
    """The picture as DOT that holds sizes only: short ids, no labels, no loops."""
    out, into = ("e", "w") if across else ("s", "n")
    direction, gap = ("LR", 0.5) if across else ("TB", gap_down(picture) / INCH)
    lines = [
        f"digraph {{ graph [rankdir={direction} nodesep=0.25 ranksep={gap}]",
        'node [shape=box fixedsize=true label=""] edge [arrowhead=none]',
    ]
    lines += [
        f"{node.id} [width={node.width / INCH:.4f} height={node.height / INCH:.4f}]"
        for node in picture.nodes
    ]
    # Chains stay straight: copies of far events stand beside them.
    copies = {node.id for node in picture.nodes if node.copy}
    weight = " weight=12" if copies else ""
    lines += [
        f"{link.source} -> {link.target} [tailport={out} headport={into}"
        f"{weight if copies.isdisjoint((link.source, link.target)) else ''}]"
        for link in picture.links
        if not link.back
    ]
    return "\n".join([*lines, "}"])


def read_plain(plain: str, picture: Picture, across: bool) -> Layout:
    """Read dot's `plain` format, whose unit is the inch and whose y grows upwards."""
    rows = [line.split() for line in plain.splitlines() if line]
    nodes = {row[1]: _point(row[2], row[3]) for row in rows if row[0] == "node"}
    routes: list[tuple[str, str, list[Point]]] = []
    for row in rows:
        if row[0] == "edge":
            count = int(row[3])
            points = [_point(row[4 + 2 * i], row[5 + 2 * i]) for i in range(count)]
            routes.append((row[1], row[2], points))
    return framed(picture, nodes, routes, across=across)


def _point(x: str, y: str) -> Point:
    return (float(x) * INCH, -float(y) * INCH)


def _quoted(text: str) -> str:
    r"""A DOT string: backslashes and quotes escaped, line ends as `\\n`.

    Ampersands too, because Graphviz reads HTML's entities in labels.
    """
    plain = storable(text).replace("&", "&amp;")
    plain = plain.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + plain.replace("\r", "").replace("\n", "\\n") + '"'
