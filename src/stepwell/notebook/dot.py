"""DOT text: what is written for the `dot` program, and how its answer is read.

For placing, only sizes are written and only places are read; boxes and arrows are
drawn by `svg`, so a graph looks the same whoever laid it out. Programs that run dot
are met in `graphviz` and `pygraphviz`.
"""

from __future__ import annotations

from .layout import Layout, framed, lies_across
from .paths import Point
from .picture import Picture
from .svg import EDGE, LIGHT, LOOP

INCH = 72.0


def dot_text(picture: Picture) -> str:
    """Write a picture as DOT for any Graphviz, with names, shapes and colours."""
    direction = "LR" if lies_across(picture) else "TB"
    lines = [
        f"digraph {_quoted(picture.name)} {{",
        f'  graph [rankdir={direction} bgcolor="transparent"]',
        '  node [fontname="Helvetica" style="filled,rounded" shape=box penwidth=1.4]',
        f'  edge [color="{EDGE}" arrowsize=0.7]',
    ]
    for node in picture.nodes:
        ink = LIGHT[node.kind]
        label = f"{node.label}  {node.badge}" if node.badge else node.label
        size = "fontsize=13" if node.kind == "step" else "fontsize=11 height=0.3"
        lines.append(
            f"  {node.id} [label={_quoted(label)} "
            f"tooltip={_quoted(node.tip or node.name)} "
            f'fillcolor="{ink.fill}" color="{ink.line}" fontcolor="{ink.text}" {size}]'
        )
    for link in picture.links:
        loop = f' [color="{LOOP}" style=dashed]' if link.back else ""
        label = f" [label={_quoted(link.label)}]" if link.label else ""
        lines.append(f"  {link.source} -> {link.target}{loop}{label}")
    return "\n".join([*lines, "}"]) + "\n"


def skeleton(picture: Picture, across: bool) -> str:
    """The picture as DOT that holds sizes only: short ids, no labels, no loops."""
    out, into = ("e", "w") if across else ("s", "n")
    direction, gap = ("LR", 0.5) if across else ("TB", 0.36)
    lines = [
        f"digraph {{ graph [rankdir={direction} nodesep=0.25 ranksep={gap}]",
        'node [shape=box fixedsize=true label=""] edge [arrowhead=none]',
    ]
    lines += [
        f"{node.id} [width={node.width / INCH:.4f} height={node.height / INCH:.4f}]"
        for node in picture.nodes
    ]
    lines += [
        f"{link.source} -> {link.target} [tailport={out} headport={into}]"
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
    r"""A DOT string: backslashes and quotes escaped, line ends as `\\n`."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + plain.replace("\r", "").replace("\n", "\\n") + '"'
